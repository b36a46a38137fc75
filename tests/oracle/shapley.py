"""Shapley values of a tree ensemble from their definition: every coalition of features."""

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np


def expected(tree: dict[str, Any], row: list[float], known: frozenset[int], node: int = 0) -> float:
    """Return a tree's margin when only the features ``known`` of the row may be read."""
    left, right = tree["left_children"][node], tree["right_children"][node]
    if left == -1:
        return float(tree["split_conditions"][node])
    feature = tree["split_indices"][node]
    if feature in known:
        below = np.float32(row[feature]) < np.float32(tree["split_conditions"][node])
        return expected(tree, row, known, left if below else right)
    cover = tree["sum_hessian"]
    share = cover[left] / (cover[left] + cover[right])
    parts = (expected(tree, row, known, child) for child in (left, right))
    return sum(w * part for w, part in zip((share, 1 - share), parts, strict=True))


def values(trees: list[dict[str, Any]], row: list[float]) -> list[float]:
    """Return each feature's mean gain over all orders in which the features may become known."""
    count = len(row)
    found = []
    for feature in range(count):
        others, total = [f for f in range(count) if f != feature], 0.0
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for chosen in combinations(others, size):
                before, after = frozenset(chosen), frozenset((*chosen, feature))
                gain = sum(expected(t, row, after) - expected(t, row, before) for t in trees)
                total += weight * gain
        found.append(total)
    return found
