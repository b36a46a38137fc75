"""Reasons of record: equal to XGBoost's TreeSHAP and to the definition; they sum to the margin."""

from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scoring.errors import ModelError
from scoring.features import FEATURES
from scoring.forest import forest_from_booster
from scoring.reasons import TEXTS
from scoring.registry import default_model_path, load_model
from scoring.shapley import Explainer, reasons_of
from scoring.train import score_rows
from tests.oracle import shapley as oracle
from tests.oracle.forest import trees_of
from tests.support.effort import examples

pytestmark = pytest.mark.kernels
AS_XGBOOST = 1e-5  # it adds in float32


def _booster(seed: int, features: int, depth: int, trees: int, **more: Any) -> Any:
    rng = np.random.default_rng(seed)
    rows = np.round(rng.normal(size=(600, features)), 1).astype(np.float32)  # ties at thresholds
    labels = rows[:, 0] + rows[:, -1] * rows[:, features // 2] + rng.normal(size=600) > 1
    options = {
        "objective": "binary:logistic", "max_depth": depth, "base_score": 0.5, "nthread": 1,
        "min_child_weight": 0.0, **more,
    }  # fmt: skip
    return xgboost.train(options, xgboost.DMatrix(rows, labels), trees), rows


def _check(booster: Any, rows: NDArray[np.float32]) -> None:
    """Values, expected margin and sum are XGBoost's."""
    explainer = Explainer(forest_from_booster(booster))
    data = xgboost.DMatrix(rows)
    theirs = booster.predict(data, pred_contribs=True)
    ours = explainer.values(rows)
    np.testing.assert_allclose(ours, theirs[:, :-1], rtol=0, atol=AS_XGBOOST)
    np.testing.assert_allclose(explainer.expected, theirs[0, -1], rtol=0, atol=AS_XGBOOST)
    margins = booster.predict(data, output_margin=True)
    sums = ours.sum(axis=1) + explainer.expected
    np.testing.assert_allclose(sums, margins, rtol=0, atol=AS_XGBOOST)


@settings(max_examples=examples(40), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    features=st.integers(2, 9),
    depth=st.integers(1, 8),
    trees=st.integers(1, 12),
    base_score=st.sampled_from([0.5, 0.1]),
    objective=st.sampled_from(["binary:logistic", "reg:logistic", "binary:logitraw"]),
)
def test_values_equal_xgboost(
    seed: int, features: int, depth: int, trees: int, base_score: float, objective: str
) -> None:
    """Few features make a path meet the same one twice; depth 8 is the deepest forest kept."""
    booster, rows = _booster(
        seed, features, depth, trees, base_score=base_score, objective=objective
    )
    _check(booster, rows[:70])


def test_a_forest_as_large_as_the_shipped_one() -> None:
    """A hundred trees of depth 6 on 38 features."""
    booster, rows = _booster(1, len(FEATURES), 6, 100)
    _check(booster, rows)


@settings(max_examples=examples(15), deadline=None)
@given(seed=st.integers(0, 10**6), features=st.integers(1, 5), depth=st.integers(1, 5))
def test_values_equal_the_definition(seed: int, features: int, depth: int) -> None:
    """Every coalition asked one by one gives the same, to the precision of float32 shares."""
    booster, rows = _booster(seed, features, depth, 3)
    found = Explainer(forest_from_booster(booster)).values(rows[:3])
    wanted = [oracle.values(trees_of(booster), row.tolist()) for row in rows[:3]]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_unused_features_add_nothing() -> None:
    """A feature that no tree reads has no part in any score."""
    booster, rows = _booster(4, 9, 1, 1)
    found = Explainer(forest_from_booster(booster)).values(rows[:50])
    assert np.count_nonzero(found.any(axis=0)) == 1


def test_the_shipped_model_sums_to_its_margins() -> None:
    """Expected margin and values of any row give the margin that the score is made from."""
    model, rng = load_model(default_model_path()), np.random.default_rng(3)
    rows = np.abs(rng.normal(scale=40.0, size=(200, len(FEATURES)))).astype(np.float32)
    explainer = Explainer(model.forest)
    margins, _ = score_rows(model, rows)
    sums = explainer.values(rows).sum(axis=1) + explainer.expected
    np.testing.assert_allclose(sums, margins, rtol=0, atol=AS_XGBOOST)


def test_reasons_are_the_strongest_that_raise() -> None:
    """Most first, at most four, none that lowers; each with value and text."""
    adds = np.zeros(len(FEATURES))
    adds[[3, 5, 7, 9, 11, 13]] = 0.5, 2.0, -3.0, 1.0, 0.75, 0.25
    row = np.arange(len(FEATURES), dtype=np.float32)
    found = reasons_of(row, adds)
    assert [(one.feature, one.value, one.adds) for one in found] == [
        (FEATURES[at].name, float(at), float(adds[at])) for at in (5, 9, 11, 3)
    ]
    assert all(one.text == TEXTS[one.feature] for one in found)
    assert reasons_of(row, -np.abs(adds)) == []


def test_what_cannot_be_explained_is_refused() -> None:
    """Missing values and rows of another width."""
    booster, rows = _booster(2, 4, 2, 2)
    with pytest.raises(ModelError, match="missing values"):
        Explainer(forest_from_booster(booster, missing=True))
    with pytest.raises(ModelError, match="rows have 3 features, the model 4"):
        Explainer(forest_from_booster(booster)).values(rows[:, :3])
