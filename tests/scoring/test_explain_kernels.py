"""Contributions equal the oracle and XGBoost's own; hashes equal the oracle."""

from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scoring.features import FEATURES
from scoring.forest import forest_from_booster
from scoring.kernels import contributions, explain_rows, feature_checks
from scoring.reasons import TEXTS
from tests.oracle import explain as oracle
from tests.oracle.forest import trees_of
from tests.support.effort import examples

pytestmark = pytest.mark.kernels
VERDICT = np.dtype([("action", "u1"), ("review", "u1")])


def _model(seed: int = 1) -> tuple[Any, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(800, 7)).astype(np.float32)
    labels = rows[:, 0] + rows[:, 1] * rows[:, 2] + rng.normal(size=800) > 1
    options = {"objective": "binary:logistic", "max_depth": 5, "base_score": 0.5, "nthread": 1}
    return xgboost.train(options, xgboost.DMatrix(rows, labels), 21), rows


def _contributions(booster: Any, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    forest, found = forest_from_booster(booster), np.zeros(rows.shape)
    idx = np.arange(len(rows), dtype=np.int32)
    contributions(rows, idx, forest.nodes, forest.leaves, forest.means, forest.depth, found)
    return found


def test_contributions_equal_oracle_and_xgboost() -> None:
    """To float32 accuracy of the means; they add up to margin less expectation."""
    booster, rows = _model()
    found = _contributions(booster, rows[:100])
    wanted = [oracle.contributions(trees_of(booster), row.tolist()) for row in rows[:100]]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    theirs = booster.predict(xgboost.DMatrix(rows[:100]), pred_contribs=True, approx_contribs=True)
    np.testing.assert_allclose(found, theirs[:, :-1], atol=1e-4)


def test_reasons_are_the_strongest_over_zero() -> None:
    """Most first; quiet rows that no rule acts on have none."""
    booster, rows = _model()
    forest, parts = forest_from_booster(booster), _contributions(booster, rows)
    scores, verdicts = np.full(len(rows), 400, np.uint16), np.zeros(len(rows), VERDICT)
    scores[::2] = 600
    verdicts["review"][1] = 1
    reasons, idx = np.zeros(len(rows), np.uint32), np.arange(len(rows), dtype=np.int32)
    explain_rows(
        rows, idx, scores, verdicts, forest.nodes, forest.leaves, forest.means, forest.depth,
        reasons,
    )  # fmt: skip
    for row in range(len(rows)):
        told = [n - 1 for n in int(reasons[row]).to_bytes(4, "little") if n]
        if row % 2 and row != 1:
            assert told == []
            continue
        order = np.argsort(-parts[row], kind="stable")
        assert told == [int(c) for c in order[:4] if parts[row][c] > 0]


@settings(max_examples=examples(50))
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40))
def test_hashes_equal_the_oracle(values: list[float]) -> None:
    """Any row of finite and infinite numbers, -0 told from 0."""
    rows, checks = np.array([values], np.float32), np.zeros(1, np.uint32)
    feature_checks(rows, np.zeros(1, np.int32), checks)
    assert int(checks[0]) == oracle.feature_check(values)


def test_every_feature_has_a_text() -> None:
    """Reasons are shown in words."""
    assert list(TEXTS) == [feature.name for feature in FEATURES]
    assert len(set(TEXTS.values())) == len(TEXTS)
