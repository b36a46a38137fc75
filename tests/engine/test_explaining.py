"""Reasons of record beside an engine: exact, durable, bounded, and never in its way."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest

from engine import explaining as module
from engine.explain_commands import _reproduced
from engine.explaining import Explaining, is_wanted
from engine.history import PAYMENT_KINDS
from engine.inquiry import _rules_explained, is_about
from engine.metrics import BuildInfo, Counter, Gauge, Metrics
from engine.reason_store import FILE, Captured, ReasonStore, Recorded
from engine.rules.language import parse
from engine.rules.program import program_from_file
from engine.rules.trail import NOTHING
from ledger.record import Flag
from scoring.features import FEATURES
from scoring.registry import Model, model_bytes, model_from_bytes
from scoring.shapley import Explainer
from scoring.train import score_rows
from tests.support.labelled import Labelled
from tests.support.small_engine import MODEL, SmallEngine
from tests.system.process import eventually

pytestmark = pytest.mark.kernels
RULES = """
rule D01 post decline(59) "refused" when amount >= 60.00
rule V01 post review "looked at" when amount >= 30.00
"""


class Kept:
    """An engine, what was captured of each of its batches, and all that was noted."""

    def __init__(self, folder: Path, find: Callable[[int], Model | None] | None = None) -> None:
        engine = SmallEngine(limit_minor=10**9, program=program_from_file(parse(RULES)))
        self.live = Labelled(engine)
        self.metrics, self.notes = Metrics(BuildInfo("", "")), list[str]()
        self.explaining = Explaining(
            ReasonStore(folder), find or (lambda _: None), self.metrics, self.notes.append
        )

    def pay(self, count: int, seed: int = 1) -> Captured:
        """Pay in one batch; return what needs reasons."""
        self.live.pay(Random(seed), count, [])
        authorizer, records = self.live.engine.authorizer, self.live.parts[-1]
        captured = self.explaining.capture(authorizer.work, count, records, authorizer.model)
        assert captured is not None
        return captured

    def made(self) -> int:
        """Return how many payments are explained."""
        return int(self.metrics.counters[Counter.REASONS_MADE])


def test_what_is_captured_is_what_was_scored(tmp_path: Path) -> None:
    """Refused and reviewed payments, no others; rows give the hash and score of the record."""
    kept = Kept(tmp_path)
    captured = kept.pay(60)
    records = kept.live.parts[-1]
    wanted = (records["result"] >= 100) | (records["flags"] & Flag.REVIEW != 0)
    assert 0 < wanted.sum() < 60
    assert captured.records.tolist() == records["seq"][wanted].tolist()
    assert captured.checks.tolist() == records["customer"][wanted].tolist()
    assert score_rows(MODEL, captured.features)[1].tolist() == records["score"][wanted].tolist()
    kept.explaining.store.close()


def test_nothing_is_captured_without_a_model(tmp_path: Path) -> None:
    """What nobody scored has no reasons of a score."""
    kept = Kept(tmp_path)
    authorizer = kept.live.engine.authorizer
    authorizer.scorer.model = None
    kept.live.pay(Random(1), 9, [])
    assert kept.explaining.capture(authorizer.work, 9, kept.live.parts[-1], None) is None
    assert kept.explaining.capture(authorizer.work, 9, kept.live.parts[-1], MODEL) is None
    assert not is_wanted(np.array([301]), np.array([Flag.REVIEW]), np.array([0])).any()
    kept.explaining.store.close()


def test_reasons_are_made_and_exact(tmp_path: Path) -> None:
    """What the thread writes is what the explainer says, and is counted."""
    kept = Kept(tmp_path)
    captured = kept.pay(60)
    kept.explaining.start()
    kept.explaining.take(captured)
    assert eventually(lambda: kept.made() == len(captured.records), 60.0)
    found = kept.explaining.store.find(captured.records)
    explainer = Explainer(MODEL.forest)
    wanted = explainer.values(captured.features)
    for at, number in enumerate(captured.records.tolist()):
        assert found[number].adds.tolist() == wanted[at].tolist()
        assert (found[number].model, found[number].expected) == (MODEL.version, explainer.expected)
    assert kept.metrics.gauges[Gauge.REASONS_WAITING] == 0
    kept.explaining.close()
    assert kept.notes == []


def test_what_waits_outlives_a_stop(tmp_path: Path) -> None:
    """A stop keeps what was taken; the next start explains it, the model found by its version."""
    kept = Kept(tmp_path)
    captured = kept.pay(40)
    kept.explaining.take(captured)
    kept.explaining._stop.set()
    kept.explaining.start()  # runs into the stop: it only keeps what is queued
    kept.explaining.close()
    assert kept.made() == 0
    again = Kept(tmp_path, find=lambda version: MODEL if version == MODEL.version else None)
    again.explaining.start()
    assert eventually(lambda: again.made() == len(captured.records), 60.0)
    again.explaining.close()


def test_a_model_that_nobody_has_is_said_once(tmp_path: Path) -> None:
    """Its payments wait; those of another model go on."""
    meta = msgspec.structs.replace(MODEL.meta, name="other")
    other = model_from_bytes(model_bytes(MODEL.forest, MODEL.cuts, MODEL.mcc_risk, meta))
    kept = Kept(tmp_path)
    known = kept.pay(20)
    lost = Captured(other.version, known.records + 1000, known.checks, known.features)
    kept.explaining.take(lost)
    kept.explaining.take(known)
    kept.explaining.start()
    assert eventually(lambda: kept.made() == len(known.records), 60.0)
    assert eventually(lambda: kept.notes)
    kept.explaining.take(known)  # nothing new: looked at again all the same
    kept.explaining.close()
    assert kept.notes == [f"reasons: model {other.version:08x} is not kept; its payments wait"]
    store = ReasonStore(tmp_path)
    assert store.waiting_count() == len(lost.records)
    store.close()


def test_past_the_bounds_rows_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue and a full file drop whole batches and say how many."""
    kept = Kept(tmp_path)
    captured = kept.pay(40)
    count = len(captured.records)
    monkeypatch.setattr(module, "QUEUE_ROWS_MAX", count)
    monkeypatch.setattr(module, "WAITING_ROWS_MAX", 0)
    kept.explaining.take(captured)
    kept.explaining.take(captured)
    assert kept.metrics.counters[Counter.REASONS_DROPPED] == count
    kept.explaining.start()
    assert eventually(lambda: kept.metrics.counters[Counter.REASONS_DROPPED] == 2 * count)
    kept.explaining.close()
    assert kept.made() == 0


def test_the_file_stays_within_its_bound(tmp_path: Path) -> None:
    """The oldest payments go, those that wait among them; the newest stay, and all is counted."""
    kept = Kept(tmp_path)
    first = kept.pay(40)
    of_one = np.repeat(first.features[:1], 500, axis=0)
    bound = kept.explaining.store.used_bytes() + (1 << 20)
    kept.explaining.bytes_max = bound
    for start in range(1, 20_001, 500):
        records = np.arange(start, start + 500)
        kept.explaining._queue.append(Captured(5, records, records.astype(np.uint32), of_one))
        kept.explaining._keep()
        assert kept.explaining.store.used_bytes() <= bound
    forgotten = int(kept.metrics.counters[Counter.REASONS_FORGOTTEN])
    assert 0 < forgotten < 20_000
    assert kept.explaining._waiting_rows == kept.explaining.store.waiting_count()
    assert kept.explaining.store.waiting_count() == 20_000 - forgotten
    oldest = kept.explaining.store.waiting(1)
    assert oldest is not None
    assert oldest.records.tolist() == [forgotten + 1]
    kept.explaining.store.close()


def test_a_lowered_bound_is_reached_in_small_steps(tmp_path: Path) -> None:
    """A file that is too large at the start gets smaller beside the traffic, none is refused."""
    kept = Kept(tmp_path)
    first = kept.pay(40)
    store = kept.explaining.store
    records = np.arange(1_000, 4_000)
    rows = np.repeat(first.features[:1], 3_000, axis=0)
    store.add(Captured(5, records, records.astype(np.uint32), rows))
    kept.explaining.bytes_max = store.used_bytes() // 2
    kept.explaining.start()
    assert eventually(lambda: store.used_bytes() <= kept.explaining.bytes_max, 60.0)
    kept.explaining.close()
    forgotten = int(kept.metrics.counters[Counter.REASONS_FORGOTTEN])
    assert forgotten % module._FORGOTTEN_A_STEP == 0
    assert 3_000 > forgotten > 1_000


def test_a_bound_below_an_empty_file_ends(tmp_path: Path) -> None:
    """One byte keeps nothing, and the thread comes to rest."""
    kept = Kept(tmp_path)
    kept.explaining.bytes_max = 1
    captured = kept.pay(40)
    kept.explaining.take(captured)
    assert not kept.explaining._turn()
    assert kept.metrics.counters[Counter.REASONS_FORGOTTEN] == len(captured.records)
    assert kept.explaining.store.waiting_count() == 0
    kept.explaining.store.close()


def test_a_file_that_fails_costs_reasons_only(tmp_path: Path) -> None:
    """It is said once, what was on its way is counted, and the thread ends when told."""
    kept = Kept(tmp_path)
    captured = kept.pay(40)
    with sqlite3.connect(tmp_path / FILE) as beside:
        beside.execute("ALTER TABLE reason RENAME TO elsewhere")
    beside.close()
    kept.explaining.take(captured)
    kept.explaining.start()
    assert eventually(lambda: len(kept.notes) > 0)
    kept.explaining.close()
    assert all("reasons.db: cannot be" in note for note in kept.notes)
    assert kept.metrics.counters[Counter.REASONS_DROPPED] == len(captured.records)


def test_rows_that_do_not_come_out_again_are_not_explained(tmp_path: Path) -> None:
    """A replay without the journal's beginning makes other features: the hash tells."""
    kept = Kept(tmp_path)
    captured = kept.pay(60)
    records = kept.live.parts[-1]
    records = records[np.isin(records["seq"], captured.records.astype(np.uint64))]
    own, rows = _reproduced(MODEL, records, captured.features)
    assert own.tobytes() == records.tobytes()
    assert rows.tobytes() == captured.features.tobytes()
    changed = captured.features.copy()
    changed[2, 5] += 1.0
    own, rows = _reproduced(MODEL, records, changed)
    assert own["seq"].tolist() == np.delete(records["seq"], 2).tolist()
    assert len(rows) == len(own)
    kept.explaining.store.close()


def test_reasons_of_another_history_are_not_shown(tmp_path: Path) -> None:
    """After a restore the same record number may be another payment: hash or model differ."""
    kept = Kept(tmp_path)
    record = kept.live.records[0].copy()
    record["model_version"], record["customer"] = 5, 6
    adds = np.zeros(len(FEATURES))
    for model, check, own in ((5, 6, True), (5, 7, False), (4, 6, False)):
        assert is_about(Recorded(model, check, adds.astype(np.float32), adds, 0.0), record) == own
    kept.explaining.store.close()


def test_every_feature_is_kept(tmp_path: Path) -> None:
    """A row is as wide as the feature list."""
    kept = Kept(tmp_path)
    assert kept.pay(20).features.shape[1] == len(FEATURES)
    kept.explaining.store.close()


def _seen_by(kept: Kept, count: int) -> Captured:
    """Pay in one batch; return what is kept, what rules saw included."""
    kept.live.pay(Random(1), count, [])
    authorizer, records = kept.live.engine.authorizer, kept.live.parts[-1]
    rules = authorizer.state.rules
    captured = kept.explaining.capture(
        authorizer.work, count, records, authorizer.scorer.model, rules
    )
    assert captured is not None
    return captured


@pytest.mark.parametrize("has_model", [True, False])
def test_what_rules_saw_is_kept_of_the_same_payments(tmp_path: Path, *, has_model: bool) -> None:
    """With a model and without: of what was refused or reviewed, and shown with its amount."""
    kept = Kept(tmp_path)
    authorizer = kept.live.engine.authorizer
    if not has_model:
        authorizer.scorer.model = None
    captured = _seen_by(kept, 60)
    records = kept.live.parts[-1]
    records = records[np.isin(records["kind"], PAYMENT_KINDS)]
    wanted = (records["result"] >= 100) | (records["flags"] & Flag.REVIEW != 0)
    assert captured.seen is not None
    assert captured.seen.records.tolist() == records["seq"][wanted].tolist()
    assert len(captured.records) == (len(captured.seen.records) if has_model else 0)
    assert captured.payment_count == len(captured.seen.records)
    kept.explaining.take(captured)
    kept.explaining.start()
    store = kept.explaining.store
    assert eventually(lambda: len(store.find_seen(captured.seen.records)) == wanted.sum(), 60.0)
    found = store.find_seen(captured.seen.records)
    for record in records:
        told = _rules_explained(record, authorizer.program, found.get(int(record["seq"])), NOTHING)
        amount = int(record["amount_minor"])
        names = [n for n, least in (("D01", 6_000), ("V01", 3_000)) if amount >= least]
        assert [one.rule for one in told.rules] == names if told else not names
        for one in told.rules if told else ():
            (predicate,) = one.predicates
            assert predicate.values == {"amount": f"{amount / 100:.2f}"}
            assert predicate.units == {"amount": "major units of 840"}
    kept.explaining.close()


def test_why_nothing_is_shown_is_said(tmp_path: Path) -> None:
    """Another history, another set, an approved payment: each says so; no hit says nothing."""
    kept = Kept(tmp_path)
    captured = _seen_by(kept, 60)
    assert captured.seen is not None
    program, records = kept.live.engine.authorizer.program, kept.live.parts[-1]
    seen = captured.seen.row(0)
    (record,) = records[records["seq"] == captured.seen.records[0]]
    assert _rules_explained(record, program, seen, NOTHING).note == ""
    other = program_from_file(parse(RULES.replace("60.00", "61.00")))
    assert _rules_explained(record, other, seen, NOTHING).note == (
        f"the rule set {program.version:08x} is not known any more"
    )
    assert _rules_explained(record, program, None, NOTHING).note.startswith(
        "no values are kept of this"
    )
    moved, approved, plain = record.copy(), record.copy(), record.copy()
    moved["ts_ns"] += 1
    assert _rules_explained(moved, program, seen, NOTHING).note.startswith(
        "no values are kept of this"
    )
    approved["result"], approved["flags"] = 0, 0
    note = _rules_explained(approved, program, None, NOTHING).note
    assert note.startswith("values are kept of refused and reviewed payments only; ")
    assert note.endswith(f"--authorization '#{record['seq']}' replays the journal")
    plain["hits_lo"] = 0
    assert _rules_explained(plain, program, None, NOTHING) is None
    kept.explaining.store.close()
