"""Where a folder's journal is: remembered, found by every command, never begun twice."""

from pathlib import Path
from random import Random

import pytest

from engine.ledger_commands import fold_of
from ledger.errors import NoJournalError, StorageError, StoreSettingsError
from ledger.export import export
from ledger.recovery import Scan
from ledger.stores.place import (
    StoreChoice,
    database_of,
    read_place,
    scan_journal,
    start_of_newest,
)
from ledger.verify import tail, verify
from tests.support.disk_engine import BOUNDS, DiskEngine, import_of
from tests.support.draws import SECONDS_S, Traffic, stream
from tests.support.postgres import Database, place_for_servers, remove, require_programs
from tests.support.streams import Player

TRAFFIC = Traffic(cards=6, accounts=3, events=False, gaps_s=SECONDS_S, stans=40, merchants=9)


def used(data: Path, choice: StoreChoice | None, snapshot: bool = False, seed: int = 1) -> str:
    """Play the same traffic into a folder; return the hash of the state."""
    with DiskEngine(data, BOUNDS, choice) as engine:
        engine.register(import_of(3, 2))
        player = Player(engine, (False, True))
        player.play(stream(Random(seed), TRAFFIC, 150), [7] * 30)
        engine.commit(player)
        engine.drain()
        if snapshot:
            engine.partition.snapshot()
        return engine.hash()


def test_an_engine_over_a_database_opens_again(database: Database, tmp_path: Path) -> None:
    """From rows alone and from a snapshot: the state it was closed with."""
    choice = StoreChoice(is_postgres=True, dsn=database.dsn)
    expected = used(tmp_path, choice, snapshot=True)
    with DiskEngine(tmp_path, BOUNDS, choice) as engine:
        assert engine.hash() == expected
        assert engine.partition.replayed_count == 0
    for file in (tmp_path / "snapshots").iterdir():
        file.unlink()
    with DiskEngine(tmp_path, BOUNDS, choice) as engine:
        assert engine.hash() == expected
        assert engine.partition.replayed_count > 50


def test_commands_find_the_journal_by_the_folder(database: Database, tmp_path: Path) -> None:
    """verify, tail and export tell of a database what they tell of files."""
    used(tmp_path / "files", None)
    used(tmp_path / "rows", StoreChoice(is_postgres=True, dsn=database.dsn))
    told = []
    for name in ("files", "rows"):
        data = tmp_path / name
        facts = verify(data, fold_of(data))
        assert facts["ok"]
        assert facts["state_hash"]
        last = [row["seq"] for row in tail(data, 5)]
        count = export(data, "csv", tmp_path / f"{name}.csv")
        told.append((facts["records"], facts["approved"], facts["declined"], last, count))
    assert told[0] == told[1]
    assert told[0][3] == list(range(told[0][0] - 4, told[0][0] + 1))


def test_one_folder_has_one_journal(database: Database, tmp_path: Path) -> None:
    """The other store is refused before anything is written, and says what to set."""
    files, rows = tmp_path / "files", tmp_path / "rows"
    choice = StoreChoice(is_postgres=True, dsn=database.dsn)
    used(files, None)
    used(rows, choice)
    with pytest.raises(StoreSettingsError, match=r'ledger.store = "file"'):
        DiskEngine(files, BOUNDS, choice)
    with pytest.raises(StoreSettingsError, match=r'ledger.store = "postgres"'):
        DiskEngine(rows)
    with pytest.raises(StoreSettingsError, match=r"set ledger.dsn as it was"):
        DiskEngine(rows, BOUNDS, StoreChoice(is_postgres=True))
    assert list(scan_journal(files, start=None))[-1].after.seq > 1
    with pytest.raises(NoJournalError, match="is in PostgreSQL"):
        list(Scan(rows))
    with pytest.raises(StorageError, match="in files"), database_of(files):
        pass
    with pytest.raises(StorageError, match="only for a journal in a database"):
        start_of_newest(files, 1)


def test_what_is_remembered_is_private(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dsn holds a password: nobody else reads it; a variable goes before it; rot is named."""
    used(tmp_path, StoreChoice(is_postgres=True, dsn=database.dsn))
    path = tmp_path / "journal" / "database"
    assert path.stat().st_mode & 0o077 == 0
    with database_of(tmp_path) as dsn:
        assert dsn == database.dsn
    monkeypatch.setenv("DE39_LEDGER__DSN", "postgresql://other/db")
    with database_of(tmp_path) as dsn:
        assert dsn == "postgresql://other/db"
    path.write_text("{", encoding="ascii")
    with pytest.raises(StorageError, match="damaged"):
        read_place(tmp_path)


def test_an_embedded_server_needs_nothing(tmp_path: Path) -> None:
    """Without a dsn the folder has a PostgreSQL of its own, which runs while it is used."""
    require_programs()
    data = place_for_servers() / "data"
    choice = StoreChoice(is_postgres=True)
    try:
        expected = used(data, choice)
        assert not (data / "postgres" / "cluster" / "postmaster.pid").exists()
        assert verify(data, fold_of(data))["state_hash"] == expected
        with DiskEngine(data, BOUNDS, choice) as engine:
            assert engine.hash() == expected
            assert verify(data, fold_of(data))["ok"]
        assert not (data / "postgres" / "cluster" / "postmaster.pid").exists()
    finally:
        remove(data.parent)
