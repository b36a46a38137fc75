"""The published protocol: who is trained on, who is tested, and what the tables say."""

import os
from pathlib import Path

import duckdb
import numpy as np
import pytest

from bench import handbook
from bench.data_sets import data_set
from bench.handbook import DAY_S, Recipe, Split
from bench.stream import load_stream
from bench.traffic import Traffic
from engine.errors import ProblemFoundError

PLACE = "fdh_simulated/transactions.parquet"
REFERENCE = "fdh_simulated/reference_features_2days.parquet"


def _stream() -> Path:
    path = data_set(PLACE)
    if not path.exists():
        pytest.skip(f"the handbook's stream is not at {path}")
    return path


def _traffic(rows: list[tuple[int, int, int]]) -> Traffic:
    """Return payments (day, card, fraud) of 10.00 at one terminal."""
    days, cards, frauds = (np.array(column) for column in zip(*rows, strict=True))
    return Traffic(
        days * DAY_S, cards, cards * 0, np.full(len(rows), 1_000), frauds, handbook.DAY_S
    )


def test_known_cards_leave_the_test() -> None:
    """A fraud of the training days or known by then removes its card; a later one does not."""
    rows = [(0, 0, 1), (0, 1, 0), (0, 2, 0), (1, 3, 1), (2, 4, 1)]
    rows += [(day, card, int(card == 4)) for day in (2, 3) for card in range(5)]
    train, test = handbook.split_rows(_traffic(sorted(rows)), Split(0, 1, 1, 2))
    ordered = sorted(rows)
    assert [ordered[row][1] for row in train] == [0, 1, 2]
    assert [ordered[row][:2] for row in test] == [
        (2, 1), (2, 2), (2, 3), (2, 4), (2, 4), (3, 1), (3, 2), (3, 4),
    ]  # fmt: skip


def test_days_without_fraud_are_refused() -> None:
    """A span that cannot be learnt from is named with its sizes."""
    with pytest.raises(ProblemFoundError, match="training of days 1 to 4 has 1 payments and 0"):
        handbook.split_rows(_traffic([(0, 0, 1), (1, 1, 0), (4, 2, 1)]), Split(1, 1, 1, 2))


def test_folds_end_within_the_stream() -> None:
    """Folds are one test span apart and the last one ends with the stream."""
    traffic = _traffic([(0, 0, 1), (9, 1, 0)])
    assert [fold.train_from for fold in handbook.folds(Split(0, 2, 2, 2), traffic)] == [0, 2, 4]


def test_split_and_features_are_the_published_ones() -> None:
    """Split sizes, and all 15 features of both reference days to 1e-6."""
    path = _stream()
    traffic = load_stream(path)
    train, test = handbook.split_rows(traffic, Split(115))
    fraud = traffic.scenario > 0
    assert (len(train), int(fraud[train].sum())) == (67_240, 598)
    assert (len(test), int(fraud[test].sum())) == (58_264, 385)
    columns = duckdb.read_parquet(str(data_set(REFERENCE))).fetchnumpy()
    rows = np.asarray(columns.pop("TRANSACTION_ID"))
    wanted = np.stack([np.asarray(column, np.float64) for column in columns.values()], axis=1)
    found = handbook.published_features(traffic)[rows]
    assert wanted.shape == (19_064, len(handbook.PUBLISHED))
    assert float(np.abs(found - wanted).max()) <= 1e-6


@pytest.mark.skipif(
    "DE39_HANDBOOK" not in os.environ, reason="trains ten forests; DE39_HANDBOOK=1 runs it"
)
def test_published_table_and_our_own_features() -> None:
    """The published row to .002; the engine's own features past their bars over four folds."""
    traffic = load_stream(_stream())
    published = handbook.published_features(traffic).astype(np.float32)
    trial = handbook.trial(published, traffic, Split(115), handbook.DEFAULTS, threads=2)
    single = trial.quality
    assert single.auc == pytest.approx(0.862, abs=0.002)
    assert single.ap == pytest.approx(0.639, abs=0.002)
    assert single.cp100 == pytest.approx(0.273, abs=0.002)
    own = handbook.own_features(traffic)
    found = [
        handbook.trial(own, traffic, fold, handbook.CHOSEN, threads=2).quality
        for fold in handbook.folds(Split(115), traffic)
    ]
    assert np.mean([one.auc for one in found]) >= 0.88
    assert np.mean([one.ap for one in found]) >= 0.72
    assert np.mean([one.cp100 for one in found]) >= 0.31


def test_a_trial_is_repeatable() -> None:
    """The same days and recipe give the same margins."""
    rng = np.random.default_rng(2)
    days = np.sort(rng.integers(0, 8, 2_000))
    traffic = Traffic(
        days * DAY_S,
        rng.integers(0, 400, 2_000),
        rng.integers(0, 40, 2_000),
        rng.integers(100, 9_000, 2_000),
        (rng.random(2_000) < 0.1).astype(np.uint8),
        0,
    )
    features = handbook.published_features(traffic, 1).astype(np.float32)
    trials = [
        handbook.trial(features, traffic, Split(1, 2, 1, 2), Recipe(5, 0.3, 3), threads=1)
        for _ in range(2)
    ]
    assert trials[0][1].tolist() == trials[1][1].tolist()
    assert 0 <= trials[0][0].cp100 <= 1
