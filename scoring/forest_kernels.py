"""Margins of a forest, bit-equal to XGBoost's, and the score of a margin.

Source of the layout: perfect trees by heap index need no branch and no child pointers (Asadi, Lin
and de Vries 2014, predication); eight trees are walked side by side so that their loads overlap. A
block of rows meets each group of trees while the group is in the first-level cache.
"""

import numpy as np
from numpy.typing import NDArray

from scoring.jit import Int, kernel

GROUP_TREES = 8  # trees walked side by side; forests are padded to a multiple of it
FEATURE_BITS = 5  # of a node; so at most 32 features
_BLOCK_ROWS = 32  # rows whose keys (8 kB) are kept while the trees pass by
_FEATURE_MASK = (1 << FEATURE_BITS) - 1
_WIDTH = 1 << FEATURE_BITS
_MINUS_ZERO = -(1 << 31)
_MAGNITUDE = (1 << 31) - 1


@kernel
def score_margins(
    features: NDArray[np.float32],
    idx: NDArray[np.int32],
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    depth: int,
    base: float,
    margins: NDArray[np.float32],
) -> None:
    """Write the margin (log odds) of the rows of ``idx``.

    A node is ``key << 5 | feature`` where key is the bits of its float32 threshold made an integer
    of the same order, so one load and one integer comparison decide a step. Leaves are added in the
    order of the trees, as XGBoost does, hence the same float32 bits.

    Parameters: features f32[n, up to 32] without NaN (a NaN would go right, XGBoost's default
    direction is not kept); idx i32[k]; nodes i64[trees << depth], heap index from 1 in each tree;
    leaves f32[trees << depth]; depth 1-8; base = margin before the first tree; margins f32[n], rows
    of idx written.
    """
    keys = np.empty((_BLOCK_ROWS, _WIDTH), np.int64)
    bits = features.view(np.int32)
    start = np.float32(base)
    size = 1 << depth
    for first in range(0, len(idx), _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, len(idx) - first)
        for k in range(count):
            row = idx[first + k]
            margins[row] = start
            for column in range(features.shape[1]):
                value = np.int64(bits[row, column])
                if value == _MINUS_ZERO:  # -0 and 0 are one number
                    value = np.int64(0)
                key = value ^ ((value >> 63) & _MAGNITUDE)
                keys[k, column] = (key << FEATURE_BITS) | _FEATURE_MASK
        for a in range(0, len(nodes), GROUP_TREES * size):
            b, c, d, e = a + size, a + 2 * size, a + 3 * size, a + 4 * size
            f, g, h = a + 5 * size, a + 6 * size, a + 7 * size
            for k in range(count):
                own = keys[k]
                i = j = p = q = r = s = t = u = 1
                for _ in range(depth):
                    i = _step(own, nodes[a + i], i)
                    j = _step(own, nodes[b + j], j)
                    p = _step(own, nodes[c + p], p)
                    q = _step(own, nodes[d + q], q)
                    r = _step(own, nodes[e + r], r)
                    s = _step(own, nodes[f + s], s)
                    t = _step(own, nodes[g + t], t)
                    u = _step(own, nodes[h + u], u)
                row = idx[first + k]
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


@kernel
def _step(own: NDArray[np.int64], node: Int, place: Int) -> Int:
    """Return the child of heap place ``place`` that the row's ``own`` keys choose."""
    return 2 * place + np.int64(own[node & _FEATURE_MASK] >= node)
