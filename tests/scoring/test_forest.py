"""Margins equal XGBoost's bit for bit; boosters that padded trees cannot say are refused."""

from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scoring.errors import ModelError
from scoring.forest import forest_from_booster, sigmoid_cuts
from scoring.kernels import score_bp, score_margins, score_margins_missing
from tests.oracle import forest as oracle
from tests.support.effort import examples

pytestmark = pytest.mark.kernels
ROWS = 3_000


def _data(columns: int, seed: int = 7) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features with ties, zeros of both signs and huge values, and noisy labels."""
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(ROWS, columns)) * 10.0 ** rng.integers(-3, 6, columns)).astype(
        "f4"
    )
    features[rng.random(features.shape) < 0.2] = 0.0
    features[rng.random(features.shape) < 0.2] = -0.0
    features[:, 0] = np.round(features[:, 0])
    signal = np.sign(features).sum(axis=1) + rng.normal(size=ROWS)
    return features, (signal > 1.0).astype(np.float32)


def _booster(
    features: NDArray[np.float32], labels: NDArray[np.float32], rounds: int, **options: Any
) -> Any:
    parameters = {"objective": "binary:logistic", "nthread": 1, "base_score": 0.5, **options}
    return xgboost.train(parameters, xgboost.DMatrix(features, labels), rounds)


def _margins(booster: Any, features: NDArray[np.float32]) -> NDArray[np.float32]:
    forest = forest_from_booster(booster)
    margins = np.full(len(features), np.nan, np.float32)
    idx = np.random.default_rng(1).permutation(len(features)).astype(np.int32)
    for part in (idx[:1], idx[1:40], idx[40:]):
        score_margins(
            features, part, forest.nodes, forest.leaves, forest.depth, forest.base, margins
        )
    return margins


@pytest.mark.parametrize(
    ("depth", "rounds", "columns", "base_score", "method"),
    [
        (1, 1, 1, 0.5, "exact"),
        (2, 7, 5, 0.3, "hist"),
        (3, 100, 30, 0.5, "exact"),
        (6, 9, 30, 0.0083, "hist"),
        (6, 64, 32, 0.5, "hist"),
        (8, 17, 12, 0.77, "exact"),
        (0, 16, 30, 0.2, "lossguide"),
    ],
)
def test_margins_equal_xgboost(
    depth: int, rounds: int, columns: int, base_score: float, method: str
) -> None:
    """Every row's margin has the bits of inplace_predict, at any batch size and order."""
    features, labels = _data(columns)
    options: dict[str, Any] = {"tree_method": method, "max_depth": depth, "base_score": base_score}
    if method == "lossguide":
        options |= {"tree_method": "hist", "grow_policy": method, "max_leaves": 8, "max_depth": 7}
    booster = _booster(features, labels, rounds, **options)
    expected = booster.inplace_predict(features, predict_type="margin")
    np.testing.assert_array_equal(_margins(booster, features), expected)


def test_margins_equal_the_oracle() -> None:
    """The kernel equals the naive walk of every tree."""
    features, labels = _data(6)
    booster = _booster(features, labels, 12, max_depth=4)
    trees, base = oracle.trees_of(booster), forest_from_booster(booster).base
    expected = [oracle.margin(trees, base, row.tolist()) for row in features[:200]]
    assert _margins(booster, features)[:200].tolist() == expected


@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40))
def test_score_equals_the_oracle(values: list[float]) -> None:
    """A score is the number of cuts at or below the margin: the probability in points, rounded."""
    cuts = sigmoid_cuts()
    margins = np.array(values, np.float32)
    found = np.zeros(len(margins), np.uint16)
    score_bp(margins, np.arange(len(margins), dtype=np.int32), cuts, found)
    assert found.tolist() == [oracle.score_bp(cuts.tolist(), float(m)) for m in margins]
    np.testing.assert_allclose(found, 10_000 / (1 + np.exp(-margins.astype(np.float64))), atol=0.51)


def test_too_deep_is_refused() -> None:
    """Trees past depth 8 would not fit the cache."""
    features, labels = _data(8)
    booster = _booster(features, labels, 2, max_depth=11, min_child_weight=0)
    with pytest.raises(ModelError, match="depth"):
        forest_from_booster(booster)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"booster": "gblinear"}, "gblinear"),
        ({"booster": "dart"}, "dart"),
        ({"objective": "reg:squarederror"}, "reg:squarederror"),
        ({"objective": "multi:softmax", "num_class": 3}, "several outputs"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_other_boosters_are_refused(options: dict[str, Any], message: str) -> None:
    """What is no forest of one probability is refused by name."""
    features, labels = _data(4)
    booster = _booster(features, labels, 2, **options)
    with pytest.raises(ModelError, match=message):
        forest_from_booster(booster)


def test_too_many_features_are_refused() -> None:
    """A node has room for 128 columns; with missing values a feature takes two."""
    features, labels = _data(129)
    with pytest.raises(ModelError, match="129 features, at most 128"):
        forest_from_booster(_booster(features, labels, 1))
    with pytest.raises(ModelError, match="70 features, at most 64"):
        forest_from_booster(_booster(features[:, :70], labels, 1), missing=True)


def _random_model(rng: np.random.Generator) -> tuple[Any, int]:
    """Return a booster of random shape, objective and base score, and how many columns it reads."""
    columns = int(rng.integers(1, 41))
    features = rng.normal(size=(1_500, columns)).astype(np.float32)
    features[rng.random(features.shape) < rng.choice([0.0, 0.1, 0.5])] = np.nan
    features[rng.random(features.shape) < 0.1] = 0.0
    signal = np.nan_to_num(features).sum(axis=1) + rng.normal(size=len(features))
    options = {
        "objective": str(rng.choice(["binary:logistic", "reg:logistic", "binary:logitraw"])),
        "base_score": float(rng.choice([0.5, 0.01, 0.3, 0.9])),
        "tree_method": str(rng.choice(["hist", "exact", "approx"])),
        "max_depth": int(rng.integers(1, 9)),
        "eta": float(rng.choice([0.05, 0.3, 1.0])),
        "min_child_weight": float(rng.choice([0.0, 1.0, 5.0])),
        "seed": int(rng.integers(1_000)),
    }
    labels = (signal > 1.0).astype(np.float32)
    return _booster(features, labels, int(rng.integers(1, 60)), **options), columns


def test_a_million_rows_equal_xgboost() -> None:
    """50 random models, each on 20,000 rows with missing, huge, equal and infinite values."""
    rng = np.random.default_rng(20_26)
    rows = 0
    models = examples(50)
    for _ in range(models):
        booster, columns = _random_model(rng)
        features = rng.normal(size=(20_000, columns)).astype(np.float32)
        features *= 10.0 ** rng.integers(-2, 3, columns).astype(np.float32)
        for value, share in ((np.nan, 0.2), (0.0, 0.1), (-0.0, 0.1), (1e30, 0.01), (-1e30, 0.01)):
            features[rng.random(features.shape) < share] = value
        expected = booster.inplace_predict(features, predict_type="margin")
        forest = forest_from_booster(booster, missing=True)
        margins, idx = np.zeros(len(features), np.float32), np.arange(len(features), dtype=np.int32)
        arrays = forest.nodes, forest.leaves, forest.depth, forest.base
        score_margins_missing(features, idx, *arrays, margins)
        assert margins.tobytes() == expected.tobytes()
        whole = features[~np.isnan(features).any(axis=1)]
        forest = forest_from_booster(booster)
        found = np.zeros(len(whole), np.float32)
        score_margins(whole, idx[: len(whole)], forest.nodes, *arrays[1:], found)
        assert found.tobytes() == booster.inplace_predict(whole, predict_type="margin").tobytes()
        rows += len(features)
    assert rows == 20_000 * models


def test_missing_values_equal_the_oracle() -> None:
    """The kernel for missing values equals the naive walk with XGBoost's default directions."""
    features, labels = _data(6)
    features[np.random.default_rng(3).random(features.shape) < 0.3] = np.nan
    booster = _booster(features, labels, 12, max_depth=4)
    forest = forest_from_booster(booster, missing=True)
    margins, idx = np.zeros(200, np.float32), np.arange(200, dtype=np.int32)
    score_margins_missing(
        features, idx, forest.nodes, forest.leaves, forest.depth, forest.base, margins
    )
    trees = oracle.trees_of(booster)
    expected = [oracle.margin(trees, forest.base, row.tolist()) for row in features[:200]]
    assert margins.tolist() == expected


def test_categorical_splits_are_refused() -> None:
    """A split on a set of categories is no threshold."""
    features, labels = _data(2)
    features[:, 0] = np.abs(features[:, 0]) % 40
    data = xgboost.DMatrix(
        np.floor(features), labels, feature_types=["c", "q"], enable_categorical=True
    )
    parameters = {"objective": "binary:logistic", "tree_method": "hist", "max_cat_to_onehot": 1}
    booster = xgboost.train(parameters, data, 3)
    with pytest.raises(ModelError, match="categorical"):
        forest_from_booster(booster)


def test_calibration_must_keep_the_order() -> None:
    """A slope that is not over 0 would turn scores around."""
    with pytest.raises(ModelError, match="slope"):
        sigmoid_cuts(slope=0.0)
