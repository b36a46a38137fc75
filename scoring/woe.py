"""Weight of evidence: a characteristic cut into bins whose bad rate only rises or only falls.

A bin's weight is ln(share of the bad in it / share of the good in it), so a positive weight is bad
news. Bins start as quantiles; neighbours whose rates run against the direction are pooled (as in
isotonic regression, Ayer et al. 1955), then bins with too few rows join their nearer neighbour. NaN
means "there was nothing to measure" and has a bin of its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS_MAX = 20
SHARE_MIN = 0.03  # of the measured rows a bin must hold
_SMOOTHING = 0.5  # of counts, so that a bin without bad rows has a finite weight


@dataclass(frozen=True, slots=True)
class Bins:
    """Upper edges of the bins (the last is infinite), then one bin more for NaN.

    ``weights`` has one entry a bin, NaN's last; ``value`` is the information value.
    """

    edges: tuple[float, ...]
    weights: tuple[float, ...]
    value: float


def bin_of(values: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the bin of each value: the first whose edge is not below it; len(edges) for NaN."""
    place = np.searchsorted(np.array(edges), values, side="left").astype(np.int64)
    place[np.isnan(values)] = len(edges)
    return place


def fit_bins(values: NDArray[np.float64], bad: NDArray[np.uint8]) -> Bins:
    """Return the bins of values f64[n] against bad u8[n], in the direction that tells more."""
    known = ~np.isnan(values)
    edges = _quantiles(values[known])
    found = [_pooled(values[known], bad[known], edges, direction) for direction in (1, -1)]
    return max((_weighed(values, bad, one) for one in found), key=lambda bins: bins.value)


def _quantiles(values: NDArray[np.float64]) -> list[float]:
    if not len(values):
        return [float("inf")]
    points = np.linspace(0.0, 1.0, BINS_MAX + 1)[1:-1]
    inner = np.unique(np.quantile(values, points, method="higher"))
    return [float(edge) for edge in inner if edge < values.max()] + [float("inf")]


def _pooled(
    values: NDArray[np.float64], bad: NDArray[np.uint8], edges: list[float], direction: int
) -> tuple[float, ...]:
    """Return the edges left when rates run in ``direction`` (1 rising) and no bin is thin."""
    place = bin_of(values, tuple(edges))
    rows = np.bincount(place, minlength=len(edges)).astype(np.float64)
    bads = np.bincount(place, weights=bad, minlength=len(edges))
    blocks: list[tuple[float, float, float]] = []
    for block in zip(edges, rows.tolist(), bads.tolist(), strict=False):
        blocks.append(block)
        while len(blocks) > 1 and direction * (_rate(blocks[-2]) - _rate(blocks[-1])) >= 0:
            _join(blocks, len(blocks) - 2)
    while len(blocks) > 1:
        thin = min(range(len(blocks)), key=lambda at: blocks[at][1])
        if blocks[thin][1] >= SHARE_MIN * len(values):
            break
        _join(blocks, _nearer(blocks, thin))
    return tuple(block[0] for block in blocks)


def _rate(block: tuple[float, float, float]) -> float:
    return block[2] / block[1] if block[1] else 0.0


def _join(blocks: list[tuple[float, float, float]], at: int) -> None:
    """Make one block of ``at`` and the one after it."""
    _, rows, bads = blocks[at]
    edge, more_rows, more_bads = blocks.pop(at + 1)
    blocks[at] = (edge, rows + more_rows, bads + more_bads)


def _nearer(blocks: list[tuple[float, float, float]], thin: int) -> int:
    """Return the first of the two blocks to join: the thin one and the neighbour most like it."""
    if thin == 0 or thin == len(blocks) - 1:
        return max(thin - 1, 0)
    before = abs(_rate(blocks[thin]) - _rate(blocks[thin - 1]))
    after = abs(_rate(blocks[thin]) - _rate(blocks[thin + 1]))
    return thin - 1 if before <= after else thin


def _weighed(values: NDArray[np.float64], bad: NDArray[np.uint8], edges: tuple[float, ...]) -> Bins:
    count = len(edges) + 1
    place = bin_of(values, edges)
    bads = np.bincount(place, weights=bad, minlength=count)
    goods = np.bincount(place, minlength=count) - bads
    bad_share = (bads + _SMOOTHING) / (bads.sum() + _SMOOTHING)
    good_share = (goods + _SMOOTHING) / (goods.sum() + _SMOOTHING)
    weights = np.where(bads + goods > 0, np.log(bad_share / good_share), 0.0)
    value = float(((bad_share - good_share) * weights)[bads + goods > 0].sum())
    return Bins(edges, tuple(weights.tolist()), value)
