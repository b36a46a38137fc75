"""Naive forest: walk every tree of XGBoost's JSON for one row, add the leaves in order."""

import json
from typing import Any

import numpy as np

Tree = dict[str, Any]


def trees_of(booster: Any) -> list[Tree]:
    """Return the trees of a booster as its JSON gives them."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    trees: list[Tree] = learner["gradient_booster"]["model"]["trees"]
    return trees


def margin(trees: list[Tree], base: float, row: list[float]) -> np.float32:
    """Return base + leaves, each sum in float32; below the threshold goes left, NaN the default."""
    total = np.float32(base)
    for tree in trees:
        node = 0
        while tree["left_children"][node] != -1:
            threshold = np.float32(tree["split_conditions"][node])
            value = np.float32(row[tree["split_indices"][node]])
            is_left = tree["default_left"][node] if np.isnan(value) else value < threshold
            node = tree["left_children" if is_left else "right_children"][node]
        total = np.float32(total + np.float32(tree["split_conditions"][node]))
    return total


def score_bp(cuts: list[float], score: float) -> int:
    """Return how many cuts lie at or below the margin."""
    return sum(cut <= score for cut in cuts)
