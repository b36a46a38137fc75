"""Reasons: the lines that lost most against their best bin, at most four."""

import numpy as np

from scoring.adverse_action import Reason, notice, reasons_of
from scoring.credit_features import NAMES, REASONS
from scoring.credit_limit import TEXTS, Bound
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


def test_a_notice_tells_bounds_first_and_never_more_than_four() -> None:
    """A bound that is the score is told by what cost the points; nothing is told twice."""
    lost = [Reason(f"r{n}", 9 - n, f"text {n}") for n in range(4)]
    assert notice((Bound.AGE, Bound.SCORE), lost[:2]) == (TEXTS[Bound.AGE], "text 0", "text 1")
    assert notice((Bound.SCORE, Bound.HISTORY), lost) == ("text 0", "text 1", "text 2", "text 3")
    assert notice((Bound.SCORE,), []) == (TEXTS[Bound.SCORE],)
    assert notice((Bound.SCORE_FELL, Bound.SCORE), lost[:1]) == ("text 0",)
    assert notice((Bound.NONE,), lost) == ()
    many = (Bound.IDENTITY, Bound.SANCTIONS, Bound.AGE, Bound.FRAUD_CASE, Bound.HISTORY)
    assert notice(many, lost) == tuple(TEXTS[bound] for bound in many[:4])
