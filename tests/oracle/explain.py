"""Path attribution and feature hashes, from their texts."""

import struct
from typing import Any

import numpy as np


def expected(tree: dict[str, Any], node: int) -> float:
    """Return a node's margin: its leaf, or its children's by what training sent to each."""
    left, right = tree["left_children"][node], tree["right_children"][node]
    if left == -1:
        return float(tree["split_conditions"][node])
    cover = tree["sum_hessian"]
    total = cover[left] + cover[right]
    return (cover[left] * expected(tree, left) + cover[right] * expected(tree, right)) / total


def contributions(trees: list[dict[str, Any]], row: list[float]) -> list[float]:
    """Return what each feature adds: at each split the change of the expected margin."""
    found = [0.0] * len(row)
    for tree in trees:
        node = 0
        while tree["left_children"][node] != -1:
            feature = tree["split_indices"][node]
            is_left = np.float32(row[feature]) < np.float32(tree["split_conditions"][node])
            after = tree["left_children" if is_left else "right_children"][node]
            found[feature] += expected(tree, after) - expected(tree, node)
            node = after
    return found


def feature_check(row: list[float]) -> int:
    """Return FNV-1a over the float32 words, 32 bits, never 0."""
    check = 0x811C9DC5
    for value in row:
        (word,) = struct.unpack("<I", struct.pack("<f", value))
        check = ((check ^ word) * 0x01000193) % 2**32
    return max(check, 1)
