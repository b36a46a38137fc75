"""Reasons for a refused or reduced credit line: where most points were lost, in plain words.

At most four, the ones that lost most against the best bin of their characteristic (12 CFR 1002,
comment 9(b)(2)-1: no more than four are likely to help). Gates and caps of the limit policy have
their own reasons (``scoring.credit_limit``) and come first. Not for a payment that is refused as
fraud: that gets a response code.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scoring.credit_features import REASONS
from scoring.credit_limit import TEXTS, Bound
from scoring.scorecard import Scorecard

REASONS_MAX = 4
# "Your score is too low" says nothing that a customer could act on: what cost the points is told.
_OF_THE_SCORE = (Bound.SCORE, Bound.SCORE_FELL)


class Reason(NamedTuple):
    """One reason: the characteristic, the points it lost, and what the customer is told."""

    name: str
    lost: int
    text: str


def reasons_of(card: Scorecard, points: NDArray[np.int64]) -> tuple[Reason, ...]:
    """Return up to four reasons, most points lost first, of one account's points i64[k].

    Ties are told in the order of the card. An account that earned the best points everywhere has
    lost none and has no reason.
    """
    lost = [
        (max(line.points) - int(earned), line.name)
        for line, earned in zip(card.characteristics, points, strict=True)
    ]
    ranked = sorted((item for item in lost if item[0] > 0), key=lambda item: -item[0])
    return tuple(Reason(name, by, REASONS[name]) for by, name in ranked[:REASONS_MAX])


def notice(bounds: Sequence[Bound], of_score: Sequence[Reason]) -> tuple[str, ...]:
    """Return the texts of a notice about a line refused, lowered or not raised; at most four.

    Parameters: what bound the line, in order, and the reasons of the score. Those stand for a bound
    that is the score itself; where there are none, as without a scorecard, that bound is told.
    """
    texts: list[str] = []
    for bound in bounds:
        if bound in _OF_THE_SCORE and of_score:
            texts += [reason.text for reason in of_score]
        elif bound is not Bound.NONE:
            texts.append(TEXTS[bound])
    return tuple(dict.fromkeys(texts))[:REASONS_MAX]
