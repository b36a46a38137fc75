"""The journal run again makes every stored score and feature hash, and measures a challenger."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.replay import Replayer
from engine.rescore import Rescorer, ScoreCheck, features_for, scores_of
from tests.support.effort import examples
from tests.support.labelled import played
from tests.support.small_engine import HASH_KEY, MODEL, TABLES, SmallEngine

pytestmark = pytest.mark.kernels


@settings(max_examples=examples(12), deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 9), max_size=8), st.integers(1, 40))
def test_every_score_and_hash_comes_out_again(seed: int, cuts: list[int], chunk: int) -> None:
    """Any cut of the live run and of the replay, labels among the payments."""
    live = played(seed, cuts)
    again, check = SmallEngine(limit_minor=10**9), ScoreCheck([MODEL])
    rescorer = Rescorer(again.state, TABLES, HASH_KEY, check, chunk=chunk)
    rescorer.apply(live.records[len(again.events) :], [])
    count = len(live.payments())
    assert count == 45
    assert check.agreement == (count, count, count, 0)
    assert check.first_difference == 0
    for name, array in live.engine.state.arrays().items():
        assert array.tobytes() == again.state.arrays()[name].tobytes(), name


def test_a_changed_amount_is_noticed() -> None:
    """A score that does not come out again is named by its record."""
    live = played(3, [])
    check = ScoreCheck([MODEL])

    def changed(records: np.ndarray, features: np.ndarray) -> None:
        features = features.copy()
        features[7, 0] += 1.0
        check(records, features)

    again = SmallEngine(limit_minor=10**9)
    Rescorer(again.state, TABLES, HASH_KEY, changed).apply(live.records[len(again.events) :], [])
    assert check.agreement.hashes < 45
    assert check.first_difference == int(live.records[live.payments()[7]]["seq"])


def test_unknown_models_are_counted() -> None:
    """Scores of a model that is not given are counted as such and not as wrong."""
    live, check = played(3, []), ScoreCheck([])
    again = SmallEngine(limit_minor=10**9)
    Rescorer(again.state, TABLES, HASH_KEY, check).apply(live.records[len(again.events) :], [])
    assert check.agreement == (45, 0, 0, 45)


def test_rows_of_a_model_have_its_own_categories() -> None:
    """Features are made once; the category column is each model's table."""
    records = played(3, []).records
    records = records[records["customer"] != 0]
    rows = features_for(MODEL, records, np.zeros((len(records), 38), np.float32))
    assert rows[:, 29].tolist() == MODEL.mcc_risk[records["mcc"]].tolist()
    assert scores_of(MODEL, rows).max() <= 10_000


def test_the_plain_replay_reads_the_same_labels() -> None:
    """Replay with and without features is one state."""
    live = played(5, [2])
    states = []
    for kind in (Replayer, lambda *a: Rescorer(*a, lambda *_: None)):
        again = SmallEngine(limit_minor=10**9)
        kind(again.state, TABLES, HASH_KEY).apply(live.records[len(again.events) :], [])
        states.append(b"".join(array.tobytes() for array in again.state.arrays().values()))
    assert states[0] == states[1]
