"""Snapshots of a live state: due by time or records, named when durable, equal to a replay."""

import os
from pathlib import Path

import pytest

from engine.snapshots import Snapshots
from ledger.snapshot import load_latest, snapshot_seqs
from tests.support.disk_engine import DiskEngine, import_of


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
