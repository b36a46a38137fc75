"""Snapshots of a live state: due by time or records, named when durable, equal to a replay."""

import os
from pathlib import Path
from random import Random

import pytest

from engine.rule_events import rules_event
from engine.rules.book import Source
from engine.rules.language import parse
from engine.rules.program import program_from_file
from engine.snapshots import Snapshots, meta_of
from ledger.snapshot import load_latest, snapshot_seqs, write_snapshot
from tests.support.disk_engine import DiskEngine, import_of
from tests.support.draws import SECONDS_S, Traffic, stream
from tests.support.small_engine import START_NS
from tests.support.streams import Player

_TRAFFIC = Traffic(
    cards=6, accounts=3, events=False, gaps_s=SECONDS_S, stans=40, merchants=9, ids=True
)


def taken(engine: DiskEngine, snapshots: Snapshots) -> int:
    """Take one and wait until it has its name; return its last record."""
    seq = snapshots.begin()
    assert seq == engine.state.next_seq - 1
    os.waitid(os.P_PID, snapshots._child.pid, os.WEXITED | os.WNOWAIT)
    engine.drain()
    snapshots.further()
    return seq


def test_live_state_snapshot_and_replay_are_one(tmp_path: Path) -> None:
    """The hash in the snapshot is the live state's; an engine that starts from it has it too."""
    notes: list[str] = []
    with DiskEngine(tmp_path) as engine:
        engine.register(import_of(4, 2))
        store = engine.partition.store
        snapshots = Snapshots(engine.state, store, tmp_path, 0, 5, notes.append)
        assert snapshots.is_due
        live = engine.hash()
        seq = taken(engine, snapshots)
        assert (snapshots.last_seq, snapshots.taken, snapshots.is_due) == (seq, 1, False)
        assert snapshots.pause_ns > 0
    found = load_latest(tmp_path)
    assert found is not None
    assert (found.seq, found.state_hash) == (seq, live)
    with DiskEngine(tmp_path) as engine:
        assert engine.partition.replayed_count == 0
        assert engine.hash() == live
        engine.register(import_of(3, 1, first=20))
        live = engine.hash()
    with DiskEngine(tmp_path) as engine:
        assert engine.partition.replayed_count == 6
        assert engine.hash() == live
    assert notes == []


def test_one_at_a_time_and_a_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one waits for the first; one that cannot begin is counted, the engine goes on."""
    notes: list[str] = []
    with DiskEngine(tmp_path) as engine:
        engine.register(import_of(2, 1))
        snapshots = Snapshots(engine.state, engine.partition.store, tmp_path, 0, 1, notes.append)
        assert snapshots.begin() > 0
        assert (snapshots.begin(), snapshots.is_due) == (0, False)
        snapshots.close()

        def refuse() -> int:
            raise OSError(12, "no memory")

        monkeypatch.setattr(os, "fork", refuse)
        assert snapshots.begin() == 0
        assert (snapshots.failures, snapshots.is_busy) == (1, False)
    assert "fork failed (no memory)" in notes[0]
    assert snapshot_seqs(tmp_path) == []


def test_a_snapshot_finds_the_records_that_the_counts_of_rules_lack(tmp_path: Path) -> None:
    """Counts have durable records only, the state has all: a start adds what lies between."""
    program = program_from_file(parse('rule A pre tag a "a" when amount >= 0.00'))
    with DiskEngine(tmp_path) as engine:
        counts = engine.partition.counts
        snapshots = Snapshots(
            engine.state, engine.partition.store, tmp_path, 0, 5, pytest.fail, counts
        )
        engine.register(import_of(3, 2))
        engine.change(rules_event(program, Source.OPERATOR, "ann", "", START_NS))
        counts.changed(engine.state.rules)
        player = Player(engine, (False, True))
        player.play(stream(Random(1), _TRAFFIC, 80), [7] * 20)
        engine.commit(player)
        engine.drain()
        records = player.played.all_records()
        counts.count(records[: len(records) // 2])
        snapshots.note_place()
        taken(engine, snapshots)
        counts.count(records[len(records) // 2 :])
        hits = int(counts.hits[0])
        assert hits > 30
    with DiskEngine(tmp_path) as engine:
        assert engine.partition.replayed_count == 0
        found = engine.partition.counts
        assert (found.hits[0], found.last_s[0]) == (hits, counts.last_s[0])
        assert found.seq == engine.state.next_seq - 1
        engine.partition.snapshot()
    kept = load_latest(tmp_path)
    assert kept is not None
    assert kept.meta["rule_counts"]["rules"][0][:3] == ["A", "tag", hits]


def test_a_snapshot_of_before_has_no_counts(tmp_path: Path) -> None:
    """They begin with it; nothing is refused."""
    with DiskEngine(tmp_path) as engine:
        engine.register(import_of(2, 1))
        engine.drain()
        state = engine.state
        meta = meta_of(state)
        place = engine.partition.store.position
        write_snapshot(tmp_path, state.next_seq - 1, place, state.arrays(), meta)
    with DiskEngine(tmp_path) as engine:
        assert engine.partition.counts.labels == ()
        assert engine.partition.counts.seq == engine.state.next_seq - 1
