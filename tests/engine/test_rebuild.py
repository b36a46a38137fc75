"""The state made again from the journal has the hash of every snapshot and of the live state."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.rebuild import RebuildError, rebuild
from engine.snapshots import meta_of
from ledger.disk import OsDisk
from ledger.errors import NoJournalError
from ledger.recovery import SegmentFile
from ledger.segment import segment_path, write_archived_mark
from ledger.snapshot import snapshot_folder, write_snapshot
from ledger.vault import Vault
from tests.ledger.test_snapshot import as_written_by_format
from tests.support.disk_engine import BOUNDS, DiskEngine, import_of


def key_of(data: Path) -> np.ndarray:
    """Return the folder's hash key."""
    with Vault.open(data) as vault:
        return np.frombuffer(vault.keys.hash_key, np.uint64).copy()


@pytest.fixture
def ledger(tmp_path: Path) -> tuple[Path, str]:
    """Make a folder with three snapshots and a tail; return it and the live hash."""
    for number in range(3):
        with DiskEngine(tmp_path) as engine:
            engine.register(import_of(3, 1, first=1 + 10 * number))
            engine.drain()
            engine.partition.snapshot()
    with DiskEngine(tmp_path) as engine:
        engine.register(import_of(2, 1, first=50))
        live = engine.hash()
    return tmp_path, live


def test_from_the_start_and_from_each_snapshot(ledger: tuple[Path, str]) -> None:
    """Every way gives the live hash; each newer snapshot on the way is compared."""
    data, live = ledger
    for begin, first, compared in ((None, 0, 3), (6, 6, 2), (13, 12, 1), (18, 18, 0)):
        facts = rebuild(data, key_of(data), from_record=begin)
        assert (facts["from_record"], facts["last_record"]) == (first, 22)
        assert (facts["state_hash"], facts["ok"]) == (live, True)
        assert [one["ok"] for one in facts["compared"]] == [True] * compared


def test_a_snapshot_in_the_middle_of_a_batch(ledger: tuple[Path, str]) -> None:
    """One that was taken while its batch was on its way is compared at its own record."""
    data, live = ledger
    with DiskEngine(data) as engine:
        start = engine.partition.store.position
        engine.register(import_of(1, 1, first=60))
        state, seq = engine.state, engine.state.next_seq - 1
        arrays = {name: rows.copy() for name, rows in state.arrays().items()}
        engine.register(import_of(1, 1, first=70))
        engine.drain()
        write_snapshot(data, seq, start, arrays, meta_of(state))
        live = engine.hash()
    facts = rebuild(data, key_of(data))
    assert (facts["state_hash"], facts["ok"]) == (live, True)
    assert {"record": seq, "ok": True} in facts["compared"]


def test_a_snapshot_that_is_not_the_fold_is_told(ledger: tuple[Path, str]) -> None:
    """A changed balance in a snapshot with a good hash of its own is found by the fold."""
    data, _ = ledger
    with DiskEngine(data) as engine:
        state = engine.state
        arrays = {name: rows.copy() for name, rows in state.arrays().items()}
        arrays["accounts"]["otb_minor"][1] += 1
        position = engine.partition.store.position
        write_snapshot(data, state.next_seq - 1, position, arrays, meta_of(state))
    facts = rebuild(data, key_of(data))
    assert not facts["ok"]
    assert facts["compared"][-1] == {"record": 22, "ok": False}


def test_archived_segments_need_a_snapshot(ledger: tuple[Path, str]) -> None:
    """A fold then begins with the oldest snapshot; without any, nothing opens."""
    data, live = ledger
    disk = OsDisk()
    file = SegmentFile(disk, segment_path(data, 1))
    file.close()
    write_archived_mark(disk, data, file.header.start)
    facts = rebuild(data, key_of(data))
    assert (facts["from_record"], facts["state_hash"], facts["ok"]) == (6, live, True)
    for path in snapshot_folder(data).glob("*.snap"):
        path.unlink()
    with pytest.raises(NoJournalError, match="no snapshot covers them"):
        rebuild(data, key_of(data))
    with pytest.raises(NoJournalError, match="bring the segments back"):
        DiskEngine(data)


def test_snapshots_of_another_format_are_passed_over(ledger: tuple[Path, str]) -> None:
    """What an older program wrote is no damage: named, not compared; a start reads the journal."""
    data, live = ledger
    as_written_by_format(1, max(snapshot_folder(data).glob("*.snap")))
    facts = rebuild(data, key_of(data))
    assert (facts["other_snapshots"], facts["damaged_snapshots"], facts["ok"]) == ([18], [], True)
    assert [one["record"] for one in facts["compared"]] == [6, 12]
    with DiskEngine(data) as engine:
        assert engine.hash() == live
        assert engine.partition.replayed_count == 22 - 12
        assert any(
            "has snapshot format 1, this program reads format 4" in note for note in engine.notes
        )


def test_what_is_missing_is_named(ledger: tuple[Path, str]) -> None:
    """A damaged snapshot is listed; without any, the table sizes must be given."""
    data, live = ledger
    newest = max(snapshot_folder(data).glob("*.snap"))
    newest.write_bytes(b"rot")
    facts = rebuild(data, key_of(data))
    assert (facts["damaged_snapshots"], facts["ok"]) == ([18], False)
    for path in snapshot_folder(data).glob("*.snap"):
        path.unlink()
    with pytest.raises(RebuildError, match="give --config"):
        rebuild(data, key_of(data))
    assert rebuild(data, key_of(data), replace(BOUNDS))["state_hash"] == live
