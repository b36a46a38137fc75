"""A boosted forest as flat arrays: made from a trained XGBoost booster, read by the kernels.

Promise: margins are XGBoost's own, bit for bit. NaN is a missing value to a forest made for it and
not allowed otherwise. Not supported, and refused by name: categorical splits, other boosters than
trees, several outputs, depth over DEPTH_MAX, more features than a node has bits for. XGBoost is not
imported here.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.errors import ModelError
from scoring.forest_kernels import COLUMN_BITS, GROUP_TREES

DEPTH_MAX = 8  # a perfect tree has 2^depth leaves: 200 trees of depth 8 are 600 kB, past the cache
CUT_COUNT = 10_000
_NO_CHILD = -1


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Padded perfect trees; see ``score_margins`` for the meaning of a node.

    ``nodes`` i64[padded << depth] and ``leaves`` f32[padded << depth], tree after tree, padded to a
    multiple of GROUP_TREES with trees whose leaves are 0; ``base`` is a float32 value; ``shares``
    f32[padded << depth] is, of what training sent to a node, the part that went left; ``means``
    f32[padded << depth], made from it, the expected margin of each node: both for reasons. A forest
    for ``missing`` values is scored by ``score_margins_missing``.
    """

    nodes: NDArray[np.int64]
    leaves: NDArray[np.float32]
    depth: int
    base: float
    tree_count: int
    feature_count: int
    shares: NDArray[np.float32]
    missing: bool = False
    means: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "means", _means(self.leaves, self.shares, self.depth))


def forest_from_booster(booster: Any, *, missing: bool = False) -> Forest:
    """Return the forest of a trained ``xgboost.Booster``, for rows with ``missing`` values or not.

    Raises ModelError if it holds anything that padded numeric trees cannot say exactly.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    if learner["gradient_booster"]["name"] != "gbtree":
        raise ModelError(f"booster is {learner['gradient_booster']['name']}, need gbtree")
    model = learner["gradient_booster"]["model"]
    shape = learner["learner_model_param"]
    if int(shape["num_class"]) > 1 or int(shape.get("num_target", "1")) != 1:
        raise ModelError("booster has several outputs, need one")
    feature_count = int(shape["num_feature"])
    most = (1 << COLUMN_BITS) >> missing
    if not 1 <= feature_count <= most:
        raise ModelError(f"booster has {feature_count} features, at most {most} fit")
    base = _base_margin(learner["objective"]["name"], shape["base_score"])
    return _padded(model["trees"], feature_count, base, missing=missing)


def sigmoid_cuts(slope: float = 1.0, offset: float = 0.0) -> NDArray[np.float32]:
    """Return f32[10000]: margins at which sigmoid(slope * margin + offset) rounds to k + 1 points.

    Slope and offset are those of Platt's calibration; 1 and 0 leave the model's own probability.
    """
    if not slope > 0.0:
        raise ModelError(
            f"calibration slope is {slope}, must be over 0 to keep the order of scores"
        )
    points = (np.arange(CUT_COUNT) + 0.5) / CUT_COUNT
    return ((np.log(points / (1.0 - points)) - offset) / slope).astype(np.float32)


def node_of(threshold: NDArray[np.float32], feature: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return packed nodes: threshold bits as an integer of the same order, then the feature."""
    bits = (threshold + np.float32(0.0)).view(np.int32).astype(np.int64)
    key = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (key << COLUMN_BITS) | feature


def _base_margin(objective: str, base_score: str) -> float:
    """Return the margin before the first tree as XGBoost computes it, in float32."""
    score = np.float32(base_score.strip("[]"))
    if objective == "binary:logitraw":
        return float(score)
    if objective not in {"binary:logistic", "reg:logistic"}:
        raise ModelError(f"objective is {objective}, need binary:logistic")
    if not 0.0 < score < 1.0:
        raise ModelError(f"base_score is {score}, must lie between 0 and 1")
    one = np.float32(1.0)
    # In float64, then rounded, as the logf of the C library does; NumPy's float32 log may be off.
    return float(np.float32(-math.log(one / score - one))) + 0.0


def _padded(
    trees: list[dict[str, Any]], feature_count: int, base: float, *, missing: bool
) -> Forest:
    depth = max((_depth(tree) for tree in trees), default=0)
    if depth > DEPTH_MAX:
        raise ModelError(f"booster has trees of depth {depth}, at most {DEPTH_MAX} is kept")
    depth = max(depth, 1)
    padded = math.ceil(max(len(trees), 1) / GROUP_TREES) * GROUP_TREES
    feature = np.zeros((padded, 1 << depth), np.int64)
    threshold = np.zeros((padded, 1 << depth), np.float32)
    leaves = np.zeros((padded, 1 << depth), np.float32)
    shares = np.full((padded, 1 << depth), 0.5, np.float32)
    for number, tree in enumerate(trees):
        if any(tree["split_type"]):
            raise ModelError(f"tree {number} has a categorical split, need numeric splits")
        left_columns = feature_count if missing else 0
        _fill(tree, depth, left_columns, feature[number], threshold[number], leaves[number])
        _fill_shares(tree, shares[number])
    if feature.max() >= feature_count << missing or not np.isfinite(leaves).all():
        raise ModelError("booster names an unknown feature or has a leaf that is not finite")
    nodes = node_of(threshold.ravel(), feature.ravel())
    return Forest(
        nodes, leaves.ravel(), depth, base, len(trees), feature_count, shares.ravel(), missing
    )


def _depth(tree: dict[str, Any]) -> int:
    """Return the number of steps to the deepest leaf."""
    deepest, waiting = 0, [(0, 0)]
    while waiting:
        node, steps = waiting.pop()
        deepest = max(deepest, steps)
        if tree["left_children"][node] != _NO_CHILD:
            waiting.append((tree["left_children"][node], steps + 1))
            waiting.append((tree["right_children"][node], steps + 1))
    return deepest


def _fill(
    tree: dict[str, Any],
    depth: int,
    left_columns: int,
    feature: NDArray[np.int64],
    threshold: NDArray[np.float32],
    leaves: NDArray[np.float32],
) -> None:
    """Write one tree; a leaf above the last level fills every place below it.

    A node whose default is left reads its feature ``left_columns`` further on.
    """
    waiting = [(0, 1, 0)]
    while waiting:
        node, place, steps = waiting.pop()
        left = tree["left_children"][node]
        if left == _NO_CHILD:
            below = depth - steps
            first = (place << below) - (1 << depth)
            leaves[first : first + (1 << below)] = tree["split_conditions"][node]
            continue
        feature[place] = tree["split_indices"][node]
        if tree["default_left"][node]:
            feature[place] += left_columns
        threshold[place] = tree["split_conditions"][node]
        waiting.append((left, 2 * place, steps + 1))
        waiting.append((tree["right_children"][node], 2 * place + 1, steps + 1))


def _fill_shares(tree: dict[str, Any], shares: NDArray[np.float32]) -> None:
    """Write which part of a node's training rows (their hessians) went left; 0.5 where none did."""
    cover, waiting = tree["sum_hessian"], [(0, 1)]
    while waiting:
        node, place = waiting.pop()
        left, right = tree["left_children"][node], tree["right_children"][node]
        if left == _NO_CHILD:
            continue
        total = float(cover[left]) + float(cover[right])
        if total > 0.0:
            shares[place] = float(cover[left]) / total
        waiting += [(left, 2 * place), (right, 2 * place + 1)]


def _means(
    leaves: NDArray[np.float32], shares: NDArray[np.float32], depth: int
) -> NDArray[np.float32]:
    """Return the expected margin of each node: its leaves, weighted by what training sent there."""
    size = 1 << depth
    exact = np.zeros((len(leaves) // size, 2 * size), np.float64)
    exact[:, size:] = leaves.reshape(-1, size)
    part = shares.reshape(-1, size).astype(np.float64)
    for level in range(depth - 1, -1, -1):
        first, last = 1 << level, 2 << level
        below, left = exact[:, 2 * first : 2 * last], part[:, first:last]
        exact[:, first:last] = left * below[:, ::2] + (1.0 - left) * below[:, 1::2]
    return exact[:, :size].astype(np.float32).ravel()
