"""Swaps between batches, challengers in shadow, reasons."""

from collections.abc import Callable
from random import Random

import msgspec
import numpy as np
import pytest

from engine import scorer as scorer_module
from engine.decision import Decision
from engine.items import Setting, StandIn
from ledger.record import Flag, Kind
from scoring.registry import Model, model_bytes, model_from_bytes
from tests.support.labelled import Labelled
from tests.support.small_engine import MODEL

pytestmark = pytest.mark.kernels


def _other(name: str = "other") -> Model:
    """Return the shipped model under another name, so with another hash."""
    meta = msgspec.structs.replace(MODEL.meta, name=name)
    return model_from_bytes(model_bytes(MODEL.forest, MODEL.cuts, MODEL.mcc_risk, meta))


def test_each_record_names_the_model_that_scored_it() -> None:
    """A hundred swaps between batches lose no answer and change only the version."""
    steady, swapped, models = Labelled(), Labelled(), (MODEL, _other())
    for turn in range(100):
        swapped.engine.authorizer.scorer.model = models[turn % 2]
        for live in (steady, swapped):
            live.pay(Random(turn), 3, [])
    versions = swapped.records["model_version"][swapped.payments()]
    assert len(versions) == 300
    assert versions.reshape(100, 3).tolist() == [[models[t % 2].version] * 3 for t in range(100)]
    same = swapped.records
    same["model_version"][swapped.payments()] = MODEL.version
    assert same.tobytes() == steady.records.tobytes()


def test_challengers_change_nothing() -> None:
    """Records are the same with a challenger beside; its scores are counted like the champion's."""
    from engine.scorer import Challenger

    alone, watched = Labelled(), Labelled()
    challenger = Challenger(_other())
    watched.engine.authorizer.scorer.challengers[challenger.model.version] = challenger
    for live in (alone, watched):
        live.pay(Random(4), 40, [7])
    assert watched.records.tobytes() == alone.records.tobytes()
    assert challenger.counts.sum() == 40
    assert challenger.counts.tolist() == watched.engine.authorizer.scorer.counts.tolist()


def test_without_a_model_nothing_is_scored() -> None:
    """The record says so: no score, no version, no hash, no reasons; rules and limits decide."""
    live = Labelled()
    live.engine.authorizer.scorer.model = None
    live.pay(Random(4), 10, [])
    records = live.parts[-1]
    assert set(records["score"].tolist()) == {65_535}
    for name in ("model_version", "customer", "reasons"):
        assert not records[name].any()
    assert set(records["response"].tolist()) == {int.from_bytes(b"00", "little")}


def test_high_scores_have_reasons() -> None:
    """Payments from 5 % on, or that a rule acts on, name up to four features, each once."""
    live = Labelled()
    live.pay(Random(6), 60, [], wait_s=60)
    records = live.parts[-1]
    told = records["reasons"] != 0
    assert told.any()
    assert told[records["score"] >= 500].all()
    for packed in records["reasons"][told].tolist():
        numbers = [n for n in packed.to_bytes(4, "little") if n]
        assert len(set(numbers)) == len(numbers)
        assert max(numbers) <= 38
    assert np.unique(records["customer"]).size > 50


def test_drift_is_against_the_model_in_force() -> None:
    """A hundred like payments have moved from training; a new model starts to count anew."""
    live = Labelled()
    scorer = live.engine.authorizer.scorer
    assert scorer.drift() == {}
    live.pay(Random(8), 100, [5] * 20)
    found = scorer.drift()
    assert len(found) == 39
    assert found["cnp"] >= 0.0
    assert found["merchant_n_15d"] > 0.25  # three merchants only
    assert int(scorer.bins[-1].sum()) == 100
    scorer.model = _other()
    assert scorer.drift() == {}


def _payments_of(live: Labelled) -> np.ndarray:
    """Return the payments among the last records; holds may have ended between them."""
    records = live.parts[-1]
    return records[records["kind"] == Kind.AUTHORIZE]


@pytest.mark.parametrize(
    ("policy", "floor_minor", "refuses"),
    [
        (StandIn.RULES, 0, lambda amounts: amounts < 0),
        (StandIn.DECLINE, 0, lambda amounts: amounts > 0),
        (StandIn.FLOOR, 3_000, lambda amounts: amounts > 3_000),
    ],
)
def test_a_scorer_that_fails_is_no_yes(
    monkeypatch: pytest.MonkeyPatch,
    policy: StandIn,
    floor_minor: int,
    refuses: Callable[[np.ndarray], np.ndarray],
) -> None:
    """What the stand-in does not take is refused, what it takes is marked; no score, no hash."""
    live = Labelled()
    settings = live.engine.authorizer.settings
    settings[Setting.STAND_IN], settings[Setting.FLOOR_MINOR] = policy, floor_minor

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a broken scorer")

    with monkeypatch.context() as patched:
        patched.setattr(scorer_module, "_scored", broken)
        live.pay(Random(4), 40, [7, 9])
    records = _payments_of(live)
    assert len(records) == 40
    refused = refuses(records["amount_minor"])
    assert (records["flags"] & Flag.STAND_IN != 0).all()
    assert set(records["score"].tolist()) == {65_535}
    assert not records["customer"].any()
    assert (records["result"] == Decision.STAND_IN_DECLINED).tolist() == refused.tolist()
    assert not (records["response"][refused] == int.from_bytes(b"00", "little")).any()
    assert live.engine.authorizer.scorer.failures > 0
    live.pay(Random(5), 10, [])
    records = _payments_of(live)
    assert (records["score"] <= 10_000).all()
    assert not (records["flags"] & Flag.STAND_IN).any()


def test_a_scorer_out_of_use_is_not_asked() -> None:
    """The setting is read by matching, which marks, and by the scoring stage, which passes."""
    live = Labelled()
    live.engine.authorizer.settings[Setting.SCORER_OFF] = 1
    live.pay(Random(4), 10, [])
    assert (_payments_of(live)["flags"] & Flag.STAND_IN != 0).all()
    assert set(_payments_of(live)["score"].tolist()) == {65_535}
