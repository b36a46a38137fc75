"""Reasons: the lines that lost most against their best bin, at most four."""

import numpy as np

from scoring.adverse_action import reasons_of
from scoring.credit_features import NAMES, REASONS
from scoring.scorecard import Characteristic, Scorecard

CARD = Scorecard(
    "test",
    500,
    tuple(Characteristic(name, (0.0, None), (30, 10, 20)) for name in NAMES[:5]),
    10,
    2,
)


def test_most_points_lost_first() -> None:
    """20 lost comes before 10, ties in the order of the card, four in all."""
    found = reasons_of(CARD, np.array([20, 10, 30, 10, 20]))
    assert [(reason.name, reason.lost) for reason in found] == [
        (NAMES[1], 20),
        (NAMES[3], 20),
        (NAMES[0], 10),
        (NAMES[4], 10),
    ]
    assert all(reason.text == REASONS[reason.name] for reason in found)


def test_the_best_account_has_none() -> None:
    """Nothing lost is no reason; five lines lost are told as four."""
    assert reasons_of(CARD, np.full(5, 30)) == ()
    assert len(reasons_of(CARD, np.full(5, 10))) == 4
