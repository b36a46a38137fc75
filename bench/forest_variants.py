"""The forest in other layouts, each as a function from rows to margins; see the kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.forest_kernels import (
    four_trees,
    one_tree_at_a_time,
    quantised,
    quick_scorer,
    rank_rows,
    rows_in_lockstep,
)
from scoring.forest import Forest
from scoring.forest_kernels import COLUMN_BITS, row_keys

Scorer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_MASK = (1 << COLUMN_BITS) - 1


def variants(forest: Forest) -> dict[str, Scorer]:
    """Return each layout by name; a scorer takes rows f32[n, k] and gives margins f32[n]."""
    arrays = (forest.nodes, forest.leaves, forest.depth, forest.base)
    found: dict[str, Scorer] = {
        "one tree at a time": lambda rows: _walked(one_tree_at_a_time, rows, arrays),
        "four trees side by side": lambda rows: _walked(four_trees, rows, arrays),
        "rows in lockstep": lambda rows: _walked(rows_in_lockstep, rows, arrays),
        "quantised thresholds": _quantised(forest),
    }
    if forest.depth <= 6:
        found["QuickScorer"] = _quick(forest)
    return found


def _walked(walk: Any, rows: NDArray[np.float32], arrays: Any) -> NDArray[np.float32]:
    margins = np.empty(len(rows), np.float32)
    _keyed(walk_keys(rows), walk, arrays, margins)
    return margins


def walk_keys(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the keys i64[n, k] of rows f32[n, k]."""
    keys = np.empty(rows.shape, np.int64)
    row_keys(rows, keys)
    return keys


def _keyed(keys: NDArray[np.int64], walk: Any, arrays: Any, margins: NDArray[np.float32]) -> None:
    walk(keys, *arrays, margins)


def _cuts(forest: Forest) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct nodes of each column, rising, and where each column starts."""
    inner = _inner(forest)
    nodes = np.unique(forest.nodes[inner])
    nodes = nodes[np.lexsort((nodes, nodes & _MASK))]
    starts = np.searchsorted(nodes & _MASK, np.arange(forest.feature_count + 1))
    return nodes, starts.astype(np.int64)


def _inner(forest: Forest) -> NDArray[np.int64]:
    """Return the places that are nodes: place 0 of each tree is not one."""
    places = np.arange(len(forest.nodes))
    return places[places % (1 << forest.depth) != 0]


def _quantised(forest: Forest) -> Scorer:
    cuts, starts = _cuts(forest)
    columns = (forest.nodes & _MASK).astype(np.int64)
    ranks = np.zeros(len(forest.nodes), np.int64)
    for column in range(forest.feature_count):
        chosen = columns == column
        own = cuts[starts[column] : starts[column + 1]]
        ranks[chosen] = np.searchsorted(own, forest.nodes[chosen], side="left") + 1
    small = ((ranks << COLUMN_BITS) | columns).astype(np.int32)

    def score(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        margins, ranked = np.empty(len(rows), np.float32), np.empty(rows.shape, np.int32)
        rank_rows(walk_keys(rows), cuts, starts, ranked)
        quantised(ranked, small, forest.leaves, forest.depth, forest.base, margins)
        return margins

    return score


def _quick(forest: Forest) -> Scorer:
    size = 1 << forest.depth
    places = _inner(forest)
    nodes = forest.nodes[places]
    order = np.lexsort((nodes, nodes & _MASK))
    places, nodes = places[order], nodes[order]
    starts = np.searchsorted(nodes & _MASK, np.arange(forest.feature_count + 1)).astype(np.int64)
    masks = np.array([_right_mask(int(place % size), forest.depth) for place in places], np.uint64)
    trees = (places // size).astype(np.int32)

    def score(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        margins = np.empty(len(rows), np.float32)
        quick_scorer(
            walk_keys(rows), nodes, starts, trees, masks, forest.leaves, forest.depth,
            forest.base, margins,
        )  # fmt: skip
        return margins

    return score


def _right_mask(place: int, depth: int) -> int:
    """Return the leaves left when a row goes right at heap ``place``: all but its left half."""
    level = place.bit_length() - 1
    below = depth - level - 1
    first = ((2 * place) << below) - (1 << depth)
    return ((1 << 64) - 1) & ~(((1 << (1 << below)) - 1) << first)
