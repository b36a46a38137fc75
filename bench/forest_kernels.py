"""Other ways to walk the same forest: what ``scoring.forest_kernels`` was chosen among.

All take packed nodes as ``scoring.forest_kernels.score_margins`` does and must give the same bits.
Sources: predicated perfect trees and their interleaving, Asadi, Lin and de Vries 2014; rows in
lockstep (V-PREDICATION), the same; quantised thresholds, Ye et al. 2018 (RapidScorer); QuickScorer,
Lucchese et al. 2015.
"""

import numpy as np
from numpy.typing import NDArray

from ledger.jit import Int, allocating_kernel, kernel
from scoring.forest_kernels import COLUMN_BITS

_MASK = (1 << COLUMN_BITS) - 1
_LOCKSTEP = 8
_RANK_BITS = 7  # of a quantised node: the column below the rank


@kernel
def one_tree_at_a_time(
    keys: NDArray[np.int64],
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    depth: int,
    base: float,
    margins: NDArray[np.float32],
) -> None:
    """Take each row through tree after tree; keys i64[n, columns], margins f32[n] out."""
    size = 1 << depth
    for k in range(len(keys)):
        total = np.float32(base)
        for a in range(0, len(nodes), size):
            place = 1
            for _ in range(depth):
                place = _step(keys[k], nodes[a + place], place)
            total += leaves[a + place - size]
        margins[k] = total


@kernel
def four_trees(
    keys: NDArray[np.int64],
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    depth: int,
    base: float,
    margins: NDArray[np.float32],
) -> None:
    """Walk four trees side by side, row by row."""
    size = 1 << depth
    for k in range(len(keys)):
        own, total = keys[k], np.float32(base)
        for a in range(0, len(nodes), 4 * size):
            b, c, d = a + size, a + 2 * size, a + 3 * size
            i = j = p = q = 1
            for _ in range(depth):
                i = _step(own, nodes[a + i], i)
                j = _step(own, nodes[b + j], j)
                p = _step(own, nodes[c + p], p)
                q = _step(own, nodes[d + q], q)
            total += leaves[a + i - size]
            total += leaves[b + j - size]
            total += leaves[c + p - size]
            total += leaves[d + q - size]
        margins[k] = total


@allocating_kernel
def rows_in_lockstep(
    keys: NDArray[np.int64],
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    depth: int,
    base: float,
    margins: NDArray[np.float32],
) -> None:
    """Take eight rows through one tree, level by level, then through the next tree."""
    size = 1 << depth
    places = np.empty(_LOCKSTEP, np.int64)
    for first in range(0, len(keys), _LOCKSTEP):
        count = min(_LOCKSTEP, len(keys) - first)
        margins[first : first + count] = np.float32(base)
        for a in range(0, len(nodes), size):
            places[:] = 1
            for _ in range(depth):
                for k in range(count):
                    node = nodes[a + places[k]]
                    step = np.int64(keys[first + k, node & _MASK] >= node)
                    places[k] = 2 * places[k] + step
            for k in range(count):
                margins[first + k] += leaves[a + places[k] - size]


@kernel
def quantised(
    ranks: NDArray[np.int32],
    small_nodes: NDArray[np.int32],
    leaves: NDArray[np.float32],
    depth: int,
    base: float,
    margins: NDArray[np.float32],
) -> None:
    """Walk eight trees side by side on four-byte nodes: ranks i32[n, columns] of ``rank_rows``."""
    size = 1 << depth
    for k in range(len(ranks)):
        own, total = ranks[k], np.float32(base)
        for first in range(0, len(small_nodes), 8 * size):
            a, b, c, d = first, first + size, first + 2 * size, first + 3 * size
            e, f, g, h = a + 4 * size, b + 4 * size, c + 4 * size, d + 4 * size
            i = j = p = q = r = s = t = u = 1
            for _ in range(depth):
                i = _small_step(own, small_nodes[a + i], i)
                j = _small_step(own, small_nodes[b + j], j)
                p = _small_step(own, small_nodes[c + p], p)
                q = _small_step(own, small_nodes[d + q], q)
                r = _small_step(own, small_nodes[e + r], r)
                s = _small_step(own, small_nodes[f + s], s)
                t = _small_step(own, small_nodes[g + t], t)
                u = _small_step(own, small_nodes[h + u], u)
            total += leaves[a + i - size]
            total += leaves[b + j - size]
            total += leaves[c + p - size]
            total += leaves[d + q - size]
            total += leaves[e + r - size]
            total += leaves[f + s - size]
            total += leaves[g + t - size]
            total += leaves[h + u - size]
        margins[k] = total


@kernel
def _step(own: NDArray[np.int64], node: Int, place: Int) -> Int:
    return 2 * place + np.int64(own[node & _MASK] >= node)


@kernel
def _small_step(own: NDArray[np.int32], node: Int, place: Int) -> Int:
    return 2 * place + np.int64(own[node & ((1 << _RANK_BITS) - 1)] >= node)


@kernel
def rank_rows(
    keys: NDArray[np.int64],
    cuts: NDArray[np.int64],
    starts: NDArray[np.int64],
    ranks: NDArray[np.int32],
) -> None:
    """Write how many of a column's thresholds lie at or under each key, packed as nodes are.

    Parameters: keys i64[n, columns]; cuts i64, the nodes of each column rising, column after
    column; starts i64[columns + 1] where each begins; ranks i32[n, columns] out.
    """
    for k in range(len(keys)):
        for column in range(keys.shape[1]):
            low, high = starts[column], starts[column + 1]
            key = (keys[k, column] & ~np.int64(_MASK)) | column
            while low < high:
                middle = (low + high) >> 1
                if cuts[middle] <= key:
                    low = middle + 1
                else:
                    high = middle
            rank = low - starts[column]
            ranks[k, column] = np.int32((rank << _RANK_BITS) | ((1 << _RANK_BITS) - 1))


@allocating_kernel
def quick_scorer(
    keys: NDArray[np.int64],
    cuts: NDArray[np.int64],
    starts: NDArray[np.int64],
    trees: NDArray[np.int32],
    masks: NDArray[np.uint64],
    leaves: NDArray[np.float32],
    depth: int,
    base: float,
    margins: NDArray[np.float32],
) -> None:
    """Rule out leaves by the thresholds a row passes, column by column; depth up to 6.

    Parameters: cuts and starts as in ``rank_rows`` (equal thresholds kept); trees i32 and masks u64
    of each cut: the leaves of its tree that stay when the row goes right there.
    """
    size = 1 << depth
    count = len(leaves) // size
    alive = np.empty(count, np.uint64)
    for k in range(len(keys)):
        alive[:] = ~np.uint64(0)
        for column in range(keys.shape[1]):
            key = (keys[k, column] & ~np.int64(_MASK)) | column
            for at in range(starts[column], starts[column + 1]):
                if cuts[at] > key:
                    break
                alive[trees[at]] &= masks[at]
        total = np.float32(base)
        for tree in range(count):
            total += leaves[tree * size + _lowest(alive[tree])]
        margins[k] = total


@kernel
def _lowest(word: np.uint64) -> Int:
    """Return the place of the lowest set bit, by halving."""
    place = np.int64(0)
    for shift in (32, 16, 8, 4, 2, 1):
        if word & ((np.uint64(1) << np.uint64(shift)) - np.uint64(1)) == np.uint64(0):
            word = word >> np.uint64(shift)
            place += shift
    return place
