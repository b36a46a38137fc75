"""Labels count when they arrive, on the merchant of their payment, and never before."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.label_events import Label
from engine.replay import Replayer
from tests.support.effort import examples
from tests.support.labelled import Labelled, played
from tests.support.small_engine import HASH_KEY, TABLES, SmallEngine

pytestmark = pytest.mark.kernels


def test_a_report_raises_its_merchant_alone() -> None:
    """One report is one fraud on the merchant that was paid; a confirmation is none."""
    live = Labelled()
    live.pay(Random(1), 12, [])
    row = int(live.payments()[0])
    before = live.engine.state.merchant_velocity.copy()
    live.label(row, Label.GENUINE)
    assert live.engine.state.merchant_velocity.tobytes() == before.tobytes()
    live.label(row, Label.FRAUD)
    after = live.engine.state.merchant_velocity
    changed = np.flatnonzero(after["frauds_15d"] != before["frauds_15d"])
    hashes = live.engine.state.merchants[changed]
    assert hashes.tolist() == [live.records[row]["merchant"]]
    assert after["frauds_15d"][changed].tolist() == [1.0]


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(0, 10**6))
def test_no_feature_looks_ahead(seed: int) -> None:
    """Until a label arrives every record is the same byte for byte; after it, features differ."""
    with_label, without = Labelled(), Labelled()
    for live in (with_label, without):
        live.pay(Random(seed), 15, [4])
    assert with_label.records.tobytes() == without.records.tobytes()
    row = int(with_label.payments()[0])
    with_label.label(row, Label.FRAUD)
    for live in (with_label, without):
        live.pay(Random(seed + 1), 20, [3, 5])
    told, untold = with_label.parts[-1], without.parts[-1]
    there = told["merchant"] == with_label.records[row]["merchant"]
    assert (told["customer"] != untold["customer"])[there].all()
    assert (told["customer"] == untold["customer"])[~there].all()


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 9), max_size=8), st.integers(1, 40))
def test_any_cut_and_replay_give_the_same(seed: int, cuts: list[int], chunk: int) -> None:
    """Labels between batches: any cut is the same records, and replay is the live state."""
    live = played(seed, cuts)
    assert live.records.tobytes() == played(seed, []).records.tobytes()
    again = SmallEngine(limit_minor=10**9)
    Replayer(again.state, TABLES, HASH_KEY, chunk=chunk).apply(
        live.records[len(again.events) :], []
    )
    for name, array in live.engine.state.arrays().items():
        assert array.tobytes() == again.state.arrays()[name].tobytes(), name
