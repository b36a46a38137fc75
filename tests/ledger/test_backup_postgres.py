"""Backups of a journal in PostgreSQL, and restores from either store into either."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from engine.rebuild import rebuild
from ledger.backup import BackupError, backup, restore
from ledger.errors import NoJournalError, RotError, StoreSettingsError, StoreUnavailable
from ledger.journal import bytes_of
from ledger.stores.place import StoreChoice, open_store, read_place, scan_journal
from ledger.vault import Vault
from ledger.verify import verify
from tests.ledger.journals import append, records_from
from tests.ledger.test_place import TRAFFIC
from tests.support.disk_engine import BOUNDS, DiskEngine, import_of
from tests.support.draws import stream
from tests.support.postgres import Database, place_for_servers, remove, require_programs
from tests.support.streams import Player

_FILES = StoreChoice(segment_bytes=1 << 20)


def played(data: Path, choice: StoreChoice) -> str:
    """Play traffic into a folder, with a snapshot in its middle; return the hash of the state."""
    with DiskEngine(data, BOUNDS, choice) as engine:
        engine.register(import_of(3, 2))
        engine.drain()
        engine.partition.snapshot()
    with DiskEngine(data, BOUNDS, choice) as engine:
        player = Player(engine, (False, True))
        player.play(stream(Random(3), TRAFFIC, 120), [5] * 30)
        engine.commit(player)
        engine.drain()
        return engine.hash()


def other_database(database: Database, number: int = 0) -> StoreChoice:
    """Return another, empty database of the same server."""
    name = f"{database.name}_restored_{number}"
    database.server.execute(f"CREATE DATABASE {name}")
    return StoreChoice(is_postgres=True, dsn=Database(database.server, name).dsn)


def key_of(data: Path) -> np.ndarray:
    """Return the folder's hash key."""
    with Vault.open(data) as vault:
        return np.frombuffer(vault.keys.hash_key, np.uint64).copy()


def all_bytes(data: Path) -> list[bytes]:
    """Return the bytes of each batch of a folder's journal, wherever it is."""
    return [bytes_of(batch) for batch in scan_journal(data)]


def copy_key(data: Path, to: Path) -> None:
    """Bring the vault's key, which no backup holds."""
    (to / "vault.key").write_bytes((data / "vault.key").read_bytes())
    (to / "vault.key").chmod(0o600)


@pytest.mark.parametrize("source", ["files", "rows"])
@pytest.mark.parametrize("target", ["files", "rows"])
def test_any_store_is_restored_into_any(
    database: Database, tmp_path: Path, source: str, target: str
) -> None:
    """Same batches, same state; the snapshot holds, replay agrees, and the engine goes on."""
    rows = StoreChoice(is_postgres=True, dsn=database.dsn)
    live = played(tmp_path / "data", rows if source == "rows" else _FILES)
    manifest = backup(tmp_path / "data", tmp_path / "copy")
    wanted = all_bytes(tmp_path / "data")
    assert (manifest["batches"], len(wanted)) == (len(wanted), len(wanted))
    new, choice = tmp_path / "new", other_database(database) if target == "rows" else _FILES
    facts = restore(tmp_path / "copy", new, into=choice)
    assert facts["last_record"] == manifest["last_record"]
    assert all_bytes(new) == wanted
    assert (read_place(new) is not None) == (target == "rows")
    copy_key(tmp_path / "data", new)
    told = rebuild(new, key_of(new))
    assert (told["state_hash"], told["ok"], len(told["compared"])) == (live, True, 1)
    assert rebuild(new, key_of(new), from_record=10**6)["state_hash"] == live
    with DiskEngine(new, BOUNDS, choice) as engine:
        assert engine.hash() == live
        assert 0 < engine.partition.replayed_count < manifest["last_record"]
        engine.register(import_of(1, 1, first=40))
        assert engine.partition.store.writer.epoch > 2
        live = engine.hash()
    assert rebuild(new, key_of(new))["state_hash"] == live


def test_a_backup_of_a_table_is_the_same_each_time(database: Database, tmp_path: Path) -> None:
    """Segment files have no luck in them: two copies of one journal are equal byte for byte."""
    played(tmp_path / "data", StoreChoice(is_postgres=True, dsn=database.dsn))
    for name in ("one", "two"):
        backup(tmp_path / "data", tmp_path / name)
    one, two = (sorted((tmp_path / name / "journal").iterdir()) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert {path.name for path in one} == {"00000001.seg"}
    manifest = json.loads((tmp_path / "one" / "backup.json").read_text())
    assert not {name for name in manifest["files"] if "key" in name or "database" in name}


@pytest.mark.parametrize("target", ["files", "rows"])
def test_restore_to_a_point(database: Database, tmp_path: Path, target: str) -> None:
    """To a record or a time: the last batch that holds nothing later, in either store."""
    data = tmp_path / "data"
    data.mkdir()
    Vault.open(data).close()
    store = open_store(data, StoreChoice(is_postgres=True, dsn=database.dsn))
    for number, count in enumerate((3, 4, 5, 6)):
        records = records_from(store.position.seq, count)
        records["ts_ns"] = 1_000 * (number + 1)
        append(store, count, records=records)
    wanted = all_bytes(data)
    backup(data, tmp_path / "copy")
    store.close()
    for number, (point, batches) in enumerate(
        (({"until_record": 7}, 2), ({"until_record": 11}, 2), ({"until_ns": 3_500}, 3))
    ):
        new = tmp_path / str(number)
        choice = other_database(database, number) if target == "rows" else _FILES
        dry = restore(tmp_path / "copy", new, into=choice, dry_run=True, **point)
        assert not new.exists()
        assert restore(tmp_path / "copy", new, into=choice, **point) == dry
        assert all_bytes(new) == wanted[:batches]
        again = open_store(new, choice)
        assert (again.position.batch_no, again.writer.epoch) == (batches + 1, 2)
        append(again, 2)
        again.close()
        assert verify(new)["records"] == dry["last_record"] + 2


def test_what_cannot_be_restored_is_named(database: Database, tmp_path: Path) -> None:
    """A database with a journal, a damaged copy, no server: one reason each, nothing is put in."""
    rows = StoreChoice(is_postgres=True, dsn=database.dsn)
    played(tmp_path / "data", rows)
    backup(tmp_path / "data", tmp_path / "copy")
    count = database.fetchval("SELECT count(*) FROM de39.batch")
    with pytest.raises(StoreSettingsError, match="holds a journal of partition 0 already"):
        restore(tmp_path / "copy", tmp_path / "new", into=rows)
    assert database.fetchval("SELECT count(*) FROM de39.batch") == count
    away = StoreChoice(is_postgres=True, dsn=f"postgresql://x:S3cret@/d?host={tmp_path}")
    with pytest.raises(StoreUnavailable, match=str(tmp_path)) as caught:
        restore(tmp_path / "copy", tmp_path / "away", into=away)
    assert "S3cret" not in str(caught.value)
    assert read_place(tmp_path / "away") is None
    path = tmp_path / "copy" / "journal" / "00000001.seg"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BackupError, match=r"00000001\.seg differs"):
        restore(tmp_path / "copy", tmp_path / "rot", into=rows)


def test_a_damaged_table_is_not_backed_up(database: Database, tmp_path: Path) -> None:
    """The batch is named; a journal without one has nothing to back up."""
    data, rows = tmp_path / "data", StoreChoice(is_postgres=True, dsn=database.dsn)
    data.mkdir()
    Vault.open(data).close()
    open_store(data, rows).close()
    with pytest.raises(NoJournalError, match="nothing to back up"):
        backup(data, tmp_path / "none")
    store = open_store(data, rows)
    for count in (3, 4, 5):
        append(store, count)
    store.close()
    database.execute(
        "ALTER TABLE de39.batch DISABLE TRIGGER USER;"
        "UPDATE de39.batch SET bytes = set_byte(bytes, 400, get_byte(bytes, 400) # 4)"
        " WHERE batch_no = 2"
    )
    with pytest.raises(RotError, match=r"batch 2 .*body differs"):
        backup(data, tmp_path / "copy")
    assert not (tmp_path / "copy" / "backup.json").exists()
    assert not verify(data)["ok"]


def test_into_an_embedded_database(tmp_path: Path) -> None:
    """Without a dsn the new folder gets a PostgreSQL of its own, and remembers it."""
    require_programs()
    place = place_for_servers()
    try:
        live = played(tmp_path / "data", _FILES)
        backup(tmp_path / "data", tmp_path / "copy")
        new = place / "new"
        restore(tmp_path / "copy", new, into=StoreChoice(is_postgres=True))
        copy_key(tmp_path / "data", new)
        assert rebuild(new, key_of(new))["state_hash"] == live
        with DiskEngine(new, BOUNDS, StoreChoice(is_postgres=True)) as engine:
            assert engine.hash() == live
        assert not (new / "postgres" / "cluster" / "postmaster.pid").exists()
    finally:
        remove(place)
