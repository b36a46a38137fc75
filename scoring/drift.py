"""Has the traffic moved away from what the model was trained on? The population stability index.

PSI = sum over bins of (share now - share then) * ln(share now / share then). Under 0.1 nothing has
moved, from 0.1 on look, over 0.25 act (the usual reading in credit scoring; Siddiqi 2006). Bins are
the tenths of training; counting is a kernel, so it may be done on every payment.
"""

import math

import numpy as np
from numpy.typing import NDArray

from scoring.features import FEATURES
from scoring.jit import kernel
from scoring.registry import Spread

TENTHS = 10
LOOK, ACT = 0.1, 0.25
SCORE = "score"
_SHARE_MIN = 1e-4  # of a bin nobody is in, so that its logarithm is finite
_SAMPLE_MAX = 200_000  # rows that edges are taken from


def spreads_of(features: NDArray[np.float32], scores: NDArray[np.uint16]) -> tuple[Spread, ...]:
    """Return the spread of every feature f32[n, k] and of the scores u16[m], in this order."""
    step = max(len(features) // _SAMPLE_MAX, 1)
    columns = [features[::step, column] for column in range(features.shape[1])]
    names = [feature.name for feature in FEATURES] + [SCORE]
    return tuple(
        _spread(name, column)
        for name, column in zip(names, [*columns, scores.astype(np.float32)], strict=True)
    )


def edges_of(spreads: tuple[Spread, ...]) -> NDArray[np.float32]:
    """Return f32[k, 9]: inner edges for ``count_bins``, padded with infinity."""
    edges = np.full((len(spreads), TENTHS - 1), np.inf, np.float32)
    for row, spread in enumerate(spreads):
        edges[row, : len(spread.edges)] = spread.edges
    return edges


@kernel
def count_bins(
    features: NDArray[np.float32],
    scores: NDArray[np.uint16],
    idx: NDArray[np.int32],
    edges: NDArray[np.float32],
    counts: NDArray[np.int64],
) -> None:
    """Add the rows of ``idx`` to the bins of every feature and, last, of the score.

    Parameters: features f32[n, k]; scores u16[n], over 10,000 = not scored, not counted; idx
    i32[m]; edges f32[k + 1, 9] rising; counts i64[k + 1, 10], added to.
    """
    width = features.shape[1]
    for at in range(len(idx)):
        row = idx[at]
        for column in range(width):
            value, place = features[row, column], 0
            while place < edges.shape[1] and value > edges[column, place]:
                place += 1
            counts[column, place] += 1
        if scores[row] <= 10_000:
            place = 0
            while place < edges.shape[1] and scores[row] > edges[width, place]:
                place += 1
            counts[width, place] += 1


def psi(spread: Spread, counts: NDArray[np.int64]) -> float:
    """Return the index of bins i64[10] against training; NaN when nothing was counted."""
    total = int(counts.sum())
    if total == 0:
        return math.nan
    now = np.maximum(counts[: len(spread.shares)] / total, _SHARE_MIN)
    then = np.maximum(np.array(spread.shares), _SHARE_MIN)
    return float(((now - then) * np.log(now / then)).sum())


def _spread(name: str, column: NDArray[np.float32]) -> Spread:
    """Return the tenths of a column; equal edges are one, so few values make few bins."""
    inner = np.quantile(column, np.linspace(0.0, 1.0, TENTHS + 1)[1:-1], method="higher")
    inner = np.unique(inner.astype(np.float32))
    inner = inner[inner < column.max()]
    place = np.searchsorted(inner, column, side="left")
    shares = np.bincount(place, minlength=len(inner) + 1) / max(len(column), 1)
    return Spread(name, tuple(inner.tolist()), tuple(np.round(shares, 6).tolist()))
