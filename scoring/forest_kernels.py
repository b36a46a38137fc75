"""Margins of a forest, bit-equal to XGBoost's, and the score of a margin.

Source of the layout: perfect trees by heap index need no branch and no child pointers (Asadi, Lin
and de Vries 2014, predication); eight trees are walked side by side so that their loads overlap. A
block of rows meets each group of trees while the group is in the first-level cache.
"""

import numpy as np
from numpy.typing import NDArray

from scoring.jit import Int, allocating_kernel, kernel

GROUP_TREES = 8  # trees walked side by side; forests are padded to a multiple of it
COLUMN_BITS = 7  # of a node; so at most 128 columns of keys
_BLOCK_ROWS = 32  # rows whose keys (10 kB for 38 features) are kept while the trees pass by
_COLUMN_MASK = (1 << COLUMN_BITS) - 1
_MINUS_ZERO = -(1 << 31)
_MAGNITUDE = (1 << 31) - 1
_INFINITE = 0x7F800000  # bits of a float32 infinity; what lies beyond is NaN
_ABOVE_ALL = (1 << 31) << COLUMN_BITS | _COLUMN_MASK
_BELOW_ALL = -_ABOVE_ALL - 1
_ONE, _TWO, _THREE, _FOUR = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)


@allocating_kernel
def score_margins(
    features: NDArray[np.float32],
    idx: NDArray[np.int32],
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    depth: int,
    base: float,
    margins: NDArray[np.float32],
) -> None:
    """Write the margin (log odds) of the rows of ``idx``, which hold no NaN.

    A node is ``key << 7 | column`` where key is the bits of its float32 threshold made an integer
    of the same order, so one load and one integer comparison decide a step. Leaves are added in the
    order of the trees, as XGBoost does, hence the same float32 bits.

    Parameters: features f32[n, up to 128] (a NaN would be ordered by its bits); idx i32[k]; nodes
    i64[trees << depth], heap index from 1 in each tree; leaves f32[trees << depth]; depth 1-8; base
    = margin before the first tree; margins f32[n], rows of idx written.
    """
    width = features.shape[1]
    keys = np.empty((min(_BLOCK_ROWS, len(idx)), width), np.int64)
    bits = features.view(np.int32)
    for first in range(0, len(idx), _BLOCK_ROWS):
        rows = idx[first : first + _BLOCK_ROWS]
        for k in range(len(rows)):
            for column in range(width):
                keys[k, column] = _key(np.int64(bits[rows[k], column]))
        _walk(keys, rows, nodes, leaves, depth, base, margins)


@allocating_kernel
def score_margins_missing(
    features: NDArray[np.float32],
    idx: NDArray[np.int32],
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    depth: int,
    base: float,
    margins: NDArray[np.float32],
) -> None:
    """Do ``score_margins`` for rows in which NaN is a missing value: it takes the default side.

    A forest made for missing values reads the columns after the features where a node's default is
    left: there a missing value lies below every threshold, in its own column above all.
    """
    width = features.shape[1]
    keys = np.empty((min(_BLOCK_ROWS, len(idx)), 2 * width), np.int64)
    bits = features.view(np.int32)
    for first in range(0, len(idx), _BLOCK_ROWS):
        rows = idx[first : first + _BLOCK_ROWS]
        for k in range(len(rows)):
            for column in range(width):
                value = np.int64(bits[rows[k], column])
                if value & _MAGNITUDE > _INFINITE:
                    keys[k, column] = _ABOVE_ALL
                    keys[k, width + column] = _BELOW_ALL
                else:
                    keys[k, column] = _key(value)
                    keys[k, width + column] = keys[k, column]
        _walk(keys, rows, nodes, leaves, depth, base, margins)


@allocating_kernel
def row_keys(features: NDArray[np.float32], keys: NDArray[np.int64]) -> None:
    """Write the keys i64[n, k] of rows f32[n, k] without NaN."""
    bits = features.view(np.int32)
    for row in range(len(features)):
        for column in range(features.shape[1]):
            keys[row, column] = _key(np.int64(bits[row, column]))


@kernel
def _key(bits: Int) -> Int:
    """Return the integer by which a float32 of these ``bits`` is compared with nodes."""
    if bits == _MINUS_ZERO:  # -0 and 0 are one number
        bits = np.int64(0)
    return ((bits ^ ((bits >> 63) & _MAGNITUDE)) << COLUMN_BITS) | _COLUMN_MASK


@kernel
def _walk(
    keys: NDArray[np.int64],
    rows: NDArray[np.int32],
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    depth: int,
    base: float,
    margins: NDArray[np.float32],
) -> None:
    """Take a block of rows through every tree, GROUP_TREES side by side."""
    # Places are unsigned: a signed index would be asked each time whether it counts from the end.
    start, size = np.float32(base), np.uint64(1 << depth)
    for k in range(len(rows)):
        margins[rows[k]] = start
    for group in range(0, len(nodes), GROUP_TREES << depth):
        a = np.uint64(group)
        b, c, d, e = a + size, a + size * _TWO, a + size * _THREE, a + size * _FOUR
        f, g, h = e + size, e + size * _TWO, e + size * _THREE
        for k in range(len(rows)):
            own = keys[k]
            i = j = p = q = r = s = t = u = _ONE
            for _ in range(depth):
                i = _step(own, nodes[a + i], i)
                j = _step(own, nodes[b + j], j)
                p = _step(own, nodes[c + p], p)
                q = _step(own, nodes[d + q], q)
                r = _step(own, nodes[e + r], r)
                s = _step(own, nodes[f + s], s)
                t = _step(own, nodes[g + t], t)
                u = _step(own, nodes[h + u], u)
            row = rows[k]
            total = margins[row]
            total += leaves[a + i - size]
            total += leaves[b + j - size]
            total += leaves[c + p - size]
            total += leaves[d + q - size]
            total += leaves[e + r - size]
            total += leaves[f + s - size]
            total += leaves[g + t - size]
            total += leaves[h + u - size]
            margins[row] = total


@kernel
def _step(own: NDArray[np.int64], node: Int, place: np.uint64) -> Int:
    """Return the child of heap place ``place`` that the row's ``own`` keys choose."""
    return place + place + np.uint64(own[np.uint64(node & _COLUMN_MASK)] >= node)


@kernel
def score_bp(
    margins: NDArray[np.float32],
    idx: NDArray[np.int32],
    cuts: NDArray[np.float32],
    out: NDArray[np.uint16],
) -> None:
    """Write the score of the rows of ``idx``: fraud probability in basis points, 0 to 10,000.

    The score is how many of the cuts lie at or below the margin, found by halving.

    Parameters: margins f32[n]; idx i32[k]; cuts f32[10000] rising; out u16[n], rows of idx written.
    """
    for k in range(len(idx)):
        margin = margins[idx[k]]
        low, high = 0, len(cuts)
        while low < high:
            middle = (low + high) >> 1
            if cuts[middle] <= margin:
                low = middle + 1
            else:
                high = middle
        out[idx[k]] = np.uint16(low)
