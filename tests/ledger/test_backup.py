"""Backups: verified, restored whole or to a point, never over anything."""

import json
from pathlib import Path

import numpy as np
import pytest

from ledger.backup import MANIFEST, BackupError, backup, restore
from ledger.errors import NoJournalError
from ledger.snapshot import snapshot_seqs, write_snapshot
from ledger.stores.file import FileStore
from ledger.vault import Vault
from tests.ledger.journals import append, opened, read_all, records_from

TINY = 16 * 1024


@pytest.fixture
def ledger(tmp_path: Path) -> tuple[Path, FileStore]:
    """Return a folder whose engine has it open: five batches, a snapshot after the third."""
    data = tmp_path / "data"
    store = opened(data, segment_bytes=TINY)
    Vault.open(data).close()
    for number, count in enumerate((3, 4, 5, 6, 7)):
        append(store, count)
        if number == 2:
            write_snapshot(data, 12, store.position, {"rows": np.arange(5)})
    return data, store


def test_a_whole_restore_is_the_same_ledger(ledger: tuple[Path, FileStore], tmp_path: Path) -> None:
    """Made while the store is open; the copy has its records and goes on from there."""
    data, store = ledger
    manifest = backup(data, tmp_path / "copy")
    assert (manifest["records"], manifest["last_record"], manifest["batches"]) == (25, 25, 5)
    append(store, 2)
    store.close()
    facts = restore(tmp_path / "copy", tmp_path / "new")
    assert facts["last_record"] == 25
    assert read_all(tmp_path / "new").tobytes() == read_all(data)[:25].tobytes()
    assert snapshot_seqs(tmp_path / "new") == [12]
    again = opened(tmp_path / "new", segment_bytes=TINY)
    assert again.position.seq == 26
    append(again, 1)
    again.close()
    names = {path.name for path in (tmp_path / "copy").rglob("*")}
    assert not names & {"vault.key", "proof.key", "admin.token", "lock"}


@pytest.mark.parametrize(("until", "last"), [(3, 3), (6, 3), (7, 7), (12, 12), (24, 18), (99, 25)])
def test_restore_to_a_record(
    ledger: tuple[Path, FileStore], tmp_path: Path, until: int, last: int
) -> None:
    """It ends with the last batch that holds nothing later; snapshots after it are left out."""
    data, store = ledger
    backup(data, tmp_path / "copy")
    store.close()
    assert restore(tmp_path / "copy", tmp_path / "n", until_record=until, dry_run=True) == restore(
        tmp_path / "copy", tmp_path / "new", until_record=until
    )
    assert len(read_all(tmp_path / "new")) == last
    assert snapshot_seqs(tmp_path / "new") == ([12] if last >= 12 else [])
    assert not (tmp_path / "n").exists()
    again = opened(tmp_path / "new", segment_bytes=TINY)
    assert append(again, 2) == 0
    again.close()


def test_restore_to_a_time(tmp_path: Path) -> None:
    """Engine time of the records decides."""
    store = opened(tmp_path / "data", segment_bytes=TINY)
    Vault.open(tmp_path / "data").close()
    for number in range(4):
        records = records_from(1 + 2 * number, 2)
        records["ts_ns"] = 1_000 * (number + 1)
        append(store, 2, records=records)
    store.close()
    backup(tmp_path / "data", tmp_path / "copy")
    facts = restore(tmp_path / "copy", tmp_path / "new", until_ns=3_500)
    assert facts["last_record"] == 6
    with pytest.raises(BackupError, match="choose a later point"):
        restore(tmp_path / "copy", tmp_path / "other", until_ns=999)


def test_nothing_is_written_over(ledger: tuple[Path, FileStore], tmp_path: Path) -> None:
    """A folder with anything in it is refused, by both."""
    data, store = ledger
    store.close()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(BackupError, match="not empty"):
        backup(data, tmp_path / "full")
    backup(data, tmp_path / "copy")
    with pytest.raises(BackupError, match="not empty"):
        restore(tmp_path / "copy", data)


def test_a_damaged_or_foreign_backup_is_refused(
    ledger: tuple[Path, FileStore], tmp_path: Path
) -> None:
    """Each file is compared with its hash; a manifest of another format is named."""
    data, store = ledger
    store.close()
    copy = tmp_path / "copy"
    backup(data, copy)
    for path in sorted(p for p in copy.rglob("*") if p.is_file() and p.name != MANIFEST):
        whole = path.read_bytes()
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:] if whole else b"x")
        with pytest.raises(BackupError, match=path.name):
            restore(copy, tmp_path / "new")
        path.write_bytes(whole)
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**manifest, "format": "de39-backup/2"}))
    with pytest.raises(BackupError, match="de39-backup/2"):
        restore(copy, tmp_path / "new")
    (copy / MANIFEST).unlink()
    with pytest.raises(BackupError, match="no finished backup"):
        restore(copy, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_empty_ledger_has_nothing_to_back_up(tmp_path: Path) -> None:
    """It says so."""
    opened(tmp_path / "data").close()
    with pytest.raises(NoJournalError, match="nothing to back up"):
        backup(tmp_path / "data", tmp_path / "copy")
