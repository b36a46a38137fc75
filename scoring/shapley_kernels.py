"""Exact Shapley values of a forest's margin: what TreeSHAP computes, from its definition.

The game of Lundberg, Erion and Lee (2018, "path-dependent"): a feature that is not known follows
both sides of a split, weighted by what training sent there. A leaf is a box: it is reached when
each feature on its path lies in its interval. With the features S known, a leaf of value v is worth
v times the shares of the features outside S, if all of S lie in their intervals, else nothing. So a
feature outside its interval (cold) and one inside (hot) of m features have the values below, in
which z is the share of a feature, P the product of the cold ones, e_k(..) the elementary symmetric
polynomial of the hot ones and w(s) = s! (m - s - 1)! / m! the weight of a coalition of s:

    cold:  -v P sum_s w(s) e_(h-s)(all h hot ones)
    hot:   v P (1 - z) sum_s w(s) e_(h-1-s)(the other hot ones)

No division by a share, so a share of 0 is nothing special. Sums are float64.
"""

import numpy as np
from numpy.typing import NDArray

from scoring.jit import Int, allocating_kernel, kernel

FEATURES_MAX = 8  # on the path of a leaf: DEPTH_MAX splits


@allocating_kernel
def shapley_values(
    keys: NDArray[np.int64],
    starts: NDArray[np.int32],
    columns: NDArray[np.uint8],
    lows: NDArray[np.int64],
    highs: NDArray[np.int64],
    shares: NDArray[np.float64],
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write what each feature adds to the margin of each row, over the expected margin.

    Parameters: keys i64[n, k] of ``row_keys``; leaf i has the features starts[i] to starts[i + 1]:
    columns u8, lows <= key < highs i64, shares f64; values f64[leaves]; weights f64[9, 9], w(s) of
    m features at [m, s]; out f64[n, k], written.
    """
    hot, cold = np.empty(FEATURES_MAX, np.int64), np.empty(FEATURES_MAX, np.int64)
    sums = np.empty(FEATURES_MAX + 1, np.float64)
    for row in range(len(keys)):
        out[row] = 0.0
        for leaf in range(len(values)):
            first, last = np.int64(starts[leaf]), np.int64(starts[leaf + 1])
            count = last - first
            hot_count = cold_count = 0
            worth = values[leaf]
            for at in range(first, last):
                key = keys[row, columns[at]]
                if lows[at] <= key < highs[at]:
                    hot[hot_count] = at
                    hot_count += 1
                else:
                    cold[cold_count] = at
                    cold_count += 1
                    worth *= shares[at]
            if worth == 0.0:
                continue
            if cold_count:
                _multiply(shares, hot, hot_count, -1, sums)
                lost = worth * _weighted(sums, hot_count, count, weights)
                for i in range(cold_count):
                    out[row, columns[cold[i]]] -= lost
            for i in range(hot_count):
                at = hot[i]
                _multiply(shares, hot, hot_count, i, sums)
                won = worth * _weighted(sums, hot_count - 1, count, weights)
                out[row, columns[at]] += won * (1.0 - shares[at])


@kernel
def _multiply(
    shares: NDArray[np.float64],
    hot: NDArray[np.int64],
    count: Int,
    without: Int,
    sums: NDArray[np.float64],
) -> None:
    """Write e_0, e_1, ... of the shares of ``hot``, one left out: the product of (1 + z x)."""
    sums[0] = 1.0
    size = 0
    for i in range(count):
        if i == without:
            continue
        share = shares[hot[i]]
        size += 1
        sums[size] = 0.0
        for k in range(size, 0, -1):
            sums[k] += share * sums[k - 1]


@kernel
def _weighted(
    sums: NDArray[np.float64], degree: Int, count: Int, weights: NDArray[np.float64]
) -> float:
    """Return the sum over s of w(s) e_(degree - s), coalitions of ``count`` features."""
    total = 0.0
    for known in range(degree + 1):
        total += weights[count, known] * sums[degree - known]
    return total
