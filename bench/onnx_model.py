"""A booster as an ONNX model: one TreeEnsembleRegressor that adds up leaves, written by hand."""

import json
from typing import Any

from scoring.forest import forest_from_booster


def onnx_model(booster: Any) -> bytes:
    """Return the bytes of a model from ``rows`` f32[n, k] to margins f32[n, 1]."""
    import onnx
    from onnx import TensorProto, helper

    forest = forest_from_booster(booster)
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_values",
            "nodes_truenodeids", "nodes_falsenodeids", "nodes_missing_value_tracks_true",
            "target_treeids", "target_nodeids", "target_ids", "target_weights",
        )
    }  # fmt: skip
    for number, tree in enumerate(learner["gradient_booster"]["model"]["trees"]):
        _add_tree(columns, number, tree)
    parts: Any = columns
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["rows"],
        ["margins"],
        domain="ai.onnx.ml",
        n_targets=1,
        base_values=[forest.base],
        post_transform="NONE",
        **parts,
    )
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, forest.feature_count])
    margins = helper.make_tensor_value_info("margins", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph([node], "forest", [rows], [margins])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _add_tree(columns: dict[str, list[Any]], number: int, tree: dict[str, Any]) -> None:
    for node, left in enumerate(tree["left_children"]):
        is_leaf = left == -1
        columns["nodes_treeids"].append(number)
        columns["nodes_nodeids"].append(node)
        columns["nodes_featureids"].append(0 if is_leaf else tree["split_indices"][node])
        columns["nodes_modes"].append("LEAF" if is_leaf else "BRANCH_LT")
        columns["nodes_values"].append(0.0 if is_leaf else tree["split_conditions"][node])
        columns["nodes_truenodeids"].append(0 if is_leaf else left)
        columns["nodes_falsenodeids"].append(0 if is_leaf else tree["right_children"][node])
        columns["nodes_missing_value_tracks_true"].append(int(tree["default_left"][node]))
        if is_leaf:
            columns["target_treeids"].append(number)
            columns["target_nodeids"].append(node)
            columns["target_ids"].append(0)
            columns["target_weights"].append(tree["split_conditions"][node])
