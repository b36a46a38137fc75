"""Every layout that the scorer was chosen among gives XGBoost's margins bit for bit."""

import numpy as np
import pytest
import xgboost

from bench.forest_variants import variants
from scoring.forest import forest_from_booster

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize("depth", [1, 3, 6, 8])
def test_layouts_equal_xgboost(depth: int) -> None:
    """Ties, zeros of both signs and any number of rows."""
    rng = np.random.default_rng(depth)
    rows = np.round(rng.normal(size=(1_003, 9)), 1).astype(np.float32)
    rows[rng.random(rows.shape) < 0.1] = -0.0
    labels = rows.sum(axis=1) + rng.normal(size=len(rows)) > 0
    options = {"objective": "binary:logistic", "max_depth": depth, "nthread": 1, "base_score": 0.3}
    booster = xgboost.train(options, xgboost.DMatrix(rows, labels), 21)
    expected = booster.inplace_predict(rows, predict_type="margin")
    found = variants(forest_from_booster(booster))
    assert ("QuickScorer" in found) == (depth <= 6)
    for name, scorer in found.items():
        assert scorer(rows).tobytes() == expected.tobytes(), name
