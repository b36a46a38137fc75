"""Training on a stream: reproducible, honest about time, better than chance on a public stream."""

from pathlib import Path

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from scoring.errors import ModelError
from scoring.kernels import score_margins
from scoring.payment import PAYMENT
from scoring.registry import Model, model_bytes
from scoring.train import compute_features, learn_mcc_risk, train_model

HANDBOOK = Path(__file__).resolve().parents[3] / "shared" / "data" / "fdh_simulated"
EPOCH_S = 1_522_540_800  # 2018-04-01 00:00:00 UTC, where the handbook's seconds start


def _stream(count: int = 4_000) -> tuple[NDArray[np.void], NDArray[np.uint8]]:
    """Return payments of 50 cards and labels that follow the amount, with noise."""
    rng = np.random.default_rng(5)
    payments = np.zeros(count, PAYMENT)
    payments["t_s"] = EPOCH_S + np.sort(rng.integers(0, 20 * 86_400, count))
    payments["amount_minor"] = rng.integers(100, 30_000, count)
    payments["card"], payments["merchant"] = rng.integers(1, 51, (2, count))
    payments["mcc"] = rng.choice([5_411, 5_999, 4_829], count)
    payments["exponent"] = 2
    risk = np.where(payments["amount_minor"] > 25_000, 0.4, 0.02)
    return payments, (rng.random(count) < risk).astype(np.uint8)


def _trained(seed: int = 1) -> Model:
    payments, labels = _stream()
    features = compute_features(payments, None, 51, 51, 1, labels=labels)[0]
    return train_model(features, labels, payments, seed=seed, trees=10, depth=3)


def test_same_input_gives_the_same_file() -> None:
    """Twice the same data and seed are the same bytes."""
    first, second = _trained(), _trained()
    assert first.sha256 == second.sha256
    assert model_bytes(first.forest, first.cuts, first.mcc_risk, first.meta) == model_bytes(
        second.forest, second.cuts, second.mcc_risk, second.meta
    )


def test_held_out_part_is_later_and_measured() -> None:
    """The last quarter is not trained on and gives the measures."""
    model = _trained()
    assert model.meta.rows == 3_000
    assert model.meta.metrics["held_out_rows"] == 1_000
    assert model.meta.metrics["roc_auc"] > 0.7
    assert model.meta.trained_to_s < EPOCH_S + 20 * 86_400
    assert len(model.meta.thresholds) == 5


def test_progress_is_told() -> None:
    """Both long parts report what is done of how many."""
    payments, labels = _stream(500)
    told: list[tuple[str, int, int]] = []

    def note(what: str, done: int, total: int) -> None:
        told.append((what, done, total))

    features = compute_features(payments, None, 51, 51, 1, progress=note)[0]
    train_model(features, labels, payments, seed=1, trees=2, depth=2, progress=note)
    assert told == [("features", 500, 500), ("trees", 1, 2), ("trees", 2, 2)]


def test_category_risk_comes_from_its_payments() -> None:
    """A category seen often keeps its rate, one never seen has the overall rate."""
    payments = np.zeros(100_000, PAYMENT)
    payments["mcc"][:50_000] = 4_829
    labels = np.zeros(100_000, np.uint8)
    labels[:5_000] = 1
    risk = learn_mcc_risk(payments, labels)
    assert risk[4_829] == pytest.approx(0.1, abs=0.001)
    assert risk[1] == pytest.approx(0.05)


def test_bad_streams_are_refused() -> None:
    """Unsorted payments, rows past the state and flags of another length say so."""
    payments, labels = _stream(200)
    with pytest.raises(ModelError, match="not sorted"):
        compute_features(payments[::-1].copy(), None, 51, 51, 1)
    with pytest.raises(ModelError, match="card 50 is past the 10 rows"):
        compute_features(payments, None, 10, 51, 1)
    with pytest.raises(ModelError, match="100 flags for 200 payments"):
        compute_features(payments, labels[:100], 51, 51, 1)


def test_nothing_to_learn_is_refused() -> None:
    """Without frauds there is no model."""
    payments, labels = _stream(200)
    features = compute_features(payments, None, 51, 51, 1)[0]
    with pytest.raises(ModelError, match="0 frauds"):
        train_model(features, labels * 0, payments, seed=1)


def test_finds_fraud_in_the_handbook_stream() -> None:
    """Three weeks of the public stream give a model far above its fraud rate."""
    if not HANDBOOK.exists():
        pytest.skip(f"the handbook's stream is not at {HANDBOOK}")
    # Frauds follow cards and terminals for weeks, so whole cards are kept and the days are early.
    query = "select * from '{}' where t_seconds < 56 * 86400 and customer_id % 4 = 0"
    columns = duckdb.sql(query.format(HANDBOOK / "transactions.parquet")).fetchnumpy()
    payments = np.zeros(len(columns["t_seconds"]), PAYMENT)
    payments["t_s"] = EPOCH_S + columns["t_seconds"]
    payments["amount_minor"] = columns["amount_cents"]
    payments["card"] = columns["customer_id"] + 1
    payments["merchant"] = columns["terminal_id"] + 1
    payments["exponent"] = 2
    labels = (np.asarray(columns["fraud_scenario"]) > 0).astype(np.uint8)
    features = compute_features(payments, None, 5_001, 10_001, 1, labels=labels)[0]
    last = payments["t_s"] >= EPOCH_S + 28 * 86_400
    model = train_model(features[last], labels[last], payments[last], seed=1, trees=30, depth=4)
    metrics = model.meta.metrics
    assert metrics["average_precision"] > 20 * metrics["fraud_rate"]
    assert metrics["roc_auc"] > 0.75
    _assert_scores_rows(model, features)


def _assert_scores_rows(model: Model, features: NDArray[np.float32]) -> None:
    margins = np.full(1_000, np.nan, np.float32)
    forest, idx = model.forest, np.arange(1_000, dtype=np.int32)
    score_margins(features, idx, forest.nodes, forest.leaves, forest.depth, forest.base, margins)
    assert np.isfinite(margins).all()
