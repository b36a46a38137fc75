"""The reasons of record of a score: exact Shapley values, and the strongest of them.

Exact values cost a hundred times what path attribution costs (``scoring.explain_kernels``), so they
are made off the hot path. They are XGBoost's own (``pred_contribs``) to float32 accuracy, and with
the expected margin they sum to the margin.
"""

from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import NDArray

from scoring.errors import ModelError
from scoring.explain_kernels import REASONS_MAX
from scoring.features import FEATURES
from scoring.forest import DEPTH_MAX, Forest
from scoring.forest_kernels import COLUMN_BITS, GROUP_TREES, row_keys
from scoring.reasons import TEXTS
from scoring.shapley_kernels import FEATURES_MAX, shapley_values

_MASK = (1 << COLUMN_BITS) - 1
_LOWEST, _HIGHEST = -(1 << 62), 1 << 62  # beyond every key
_BLOCK_ROWS = 64

assert FEATURES_MAX == DEPTH_MAX


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature of a row: its value, and what it adds to the log odds over what is expected."""

    feature: str
    value: float
    adds: float
    text: str


class Explainer:
    """The leaves of one forest as boxes; made once a model, some 50 ms for 100 trees of depth 6.

    Raises ModelError for a forest that takes missing values: no model file holds one.
    """

    def __init__(self, forest: Forest) -> None:
        if forest.missing:
            raise ModelError("a forest for missing values has no reasons of record")
        boxes = [box for tree in range(forest.tree_count) for box in _boxes(forest, tree)]
        sides = [side for box in boxes for side in box.sides]
        self.feature_count = forest.feature_count
        self._values = np.array([box.value for box in boxes])
        self._starts = np.cumsum([0] + [len(box.sides) for box in boxes]).astype(np.int32)
        self._columns = np.array([side.column for side in sides], np.uint8)
        self._lows = np.array([side.low for side in sides], np.int64)
        self._highs = np.array([side.high for side in sides], np.int64)
        self._shares = np.array([side.share for side in sides])
        self._weights = _weights()
        worth = [box.value * float(np.prod([s.share for s in box.sides])) for box in boxes]
        self.expected = forest.base + sum(worth)

    def values(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what each feature adds to the margin over ``expected``, f64[n, k], log odds.

        Parameters: rows f32[n, k] without NaN.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        if rows.shape[1] != self.feature_count:
            raise ModelError(f"rows have {rows.shape[1]} features, the model {self.feature_count}")
        out = np.zeros(rows.shape, np.float64)
        keys = np.zeros((_BLOCK_ROWS, rows.shape[1]), np.int64)
        for first in range(0, len(rows), _BLOCK_ROWS):
            part = rows[first : first + _BLOCK_ROWS]
            row_keys(part, keys)
            shapley_values(
                keys[: len(part)],
                self._starts,
                self._columns,
                self._lows,
                self._highs,
                self._shares,
                self._values,
                self._weights,
                out[first : first + _BLOCK_ROWS],
            )
        return out


def reasons_of(
    features: NDArray[np.float32], adds: NDArray[np.float64], most: int = REASONS_MAX
) -> list[Reason]:
    """Return the features that raise the score most, the strongest first, at most ``most``.

    Parameters: features f32[k] and what each adds f64[k], in the order of FEATURES.
    """
    order = np.argsort(-adds, kind="stable")[:most].tolist()
    names = [feature.name for feature in FEATURES]
    return [
        Reason(names[at], float(features[at]), float(adds[at]), TEXTS[names[at]])
        for at in order
        if adds[at] > 0.0
    ]


def compile_kernels() -> None:
    """Compile the kernels on one row of one small tree."""
    size = 2 * GROUP_TREES
    leaves = np.arange(size, dtype=np.float32)
    forest = Forest(np.zeros(size, np.int64), leaves, 1, 0.0, 1, 1, np.full(size, 0.5, np.float32))
    Explainer(forest).values(np.zeros((1, 1), np.float32))


@dataclass(slots=True)
class _Side:
    """The interval of one feature that leads to a leaf, and the share of training inside it."""

    column: int
    low: int = _LOWEST
    high: int = _HIGHEST
    share: float = 1.0


@dataclass(slots=True)
class _Box:
    value: float
    sides: list[_Side]


def _boxes(forest: Forest, tree: int) -> list[_Box]:
    """Return the leaves of a tree; a subtree whose leaves are all alike is one leaf."""
    size = 1 << forest.depth
    nodes = forest.nodes[tree * size : (tree + 1) * size].tolist()
    shares = forest.shares[tree * size : (tree + 1) * size].tolist()
    leaves = forest.leaves[tree * size : (tree + 1) * size].astype(np.float64).tolist()
    worth: list[float | None] = [None] * size + leaves  # of a subtree; None = it has several
    for place in range(size - 1, 0, -1):
        left, right = worth[2 * place], worth[2 * place + 1]
        worth[place] = left if left == right else None
    found: list[_Box] = []
    waiting: list[tuple[int, list[_Side]]] = [(1, [])]
    while waiting:
        place, sides = waiting.pop()
        value = worth[place]
        if value is not None:
            found.append(_Box(value, sides))
            continue
        node, share = nodes[place], shares[place]
        waiting += [(2 * place + right, _narrowed(sides, node, share, right)) for right in (0, 1)]
    return found


def _narrowed(sides: list[_Side], node: int, left_share: float, right: int) -> list[_Side]:
    """Return the intervals after a split; ``node`` is the threshold's key with the column in it."""
    column = node & _MASK
    kept = [side for side in sides if side.column != column]
    own = next((side for side in sides if side.column == column), _Side(column))
    if right:
        kept.append(_Side(column, max(own.low, node), own.high, own.share * (1.0 - left_share)))
    else:
        kept.append(_Side(column, own.low, min(own.high, node), own.share * left_share))
    return kept


def _weights() -> NDArray[np.float64]:
    """Return w(s) of m features at [m, s]: s! (m - s - 1)! / m!, 0 where there is none."""
    found = np.zeros((FEATURES_MAX + 1, FEATURES_MAX + 1))
    for m in range(1, FEATURES_MAX + 1):
        for s in range(m):
            found[m, s] = factorial(s) * factorial(m - s - 1) / factorial(m)
    return found
