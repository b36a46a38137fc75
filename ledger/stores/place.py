"""Where the journal of a data folder is: in its files, in its own PostgreSQL, or in another one.

The folder remembers it in ``journal/database`` (0600, for a dsn holds a password), so commands that
only know the folder find the journal, and no engine begins a second one beside it.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ledger.disk import Disk, OsDisk, storage_errors, write_exact
from ledger.errors import StorageError, StoreSettingsError
from ledger.journal import Batch, Position, Records
from ledger.lookup import batches_with
from ledger.postgres.server import EmbeddedServer
from ledger.postgres.table_reader import TableReader
from ledger.record import RECORD
from ledger.segment import DATABASE_NAME, SEGMENT_BYTES, journal_folder, segment_indexes
from ledger.stores.base import JournalReader
from ledger.stores.epoch import read_epoch
from ledger.stores.file import FileStore, open_file_store
from ledger.stores.file_reader import FileReader
from ledger.stores.postgres import Patience, PostgresStore
from ledger.stores.postgres_load import load_postgres
from ledger.stores.postgres_open import Opening, open_postgres_store

Store = FileStore | PostgresStore


class StoreChoice(NamedTuple):
    """What the configuration says of the store."""

    is_postgres: bool = False
    dsn: str = ""  # "" = the embedded server of the data folder
    replica_count: int = 0
    patience: Patience = Patience()
    segment_bytes: int = SEGMENT_BYTES  # of the file store


class Place(NamedTuple):
    """A database that holds the journal of a folder."""

    dsn: str  # "" = the embedded server of the folder


def open_store(
    data: Path,
    choice: StoreChoice,
    *,
    start: Position | None = None,
    at_least_seq: int = 0,
    on_batch: Callable[[Batch], None] = lambda _: None,
    on_end: Callable[[Position, JournalReader], None] = lambda _end, _reader: None,
    note: Callable[[str], None] = lambda _: None,
) -> Store:
    """Open or make the journal of ``data``, whose lock the caller holds.

    Parameters
    ----------
    start, at_least_seq, on_batch
        See ``open_file_store``.
    on_end
        Called with the end that was found and a reader of the journal, before anything is changed;
        it may raise.
    note
        Told what an operator should see, one line each.

    Raises
    ------
    StoreSettingsError
        The journal of this folder is in the other store.
    LedgerError
        See the stores.
    """
    place = read_place(data)
    if not choice.is_postgres:
        if place is not None:
            raise StoreSettingsError(
                f'the journal of {data} is in PostgreSQL: set ledger.store = "postgres"'
            )
        files = FileReader(data)
        return open_file_store(
            data,
            start=None if start is None else files.located(start),
            at_least_seq=at_least_seq,
            on_batch=on_batch,
            on_end=lambda end: on_end(end, files),
            is_locked=True,
            segment_bytes=choice.segment_bytes,
        )
    if segment_indexes(OsDisk(), data):
        raise StoreSettingsError(
            f'the journal of {data} is in files: set ledger.store = "file", or begin with an '
            "empty data folder"
        )
    if place is not None and bool(place.dsn) != bool(choice.dsn):
        is_in = "the database that ledger.dsn named before" if place.dsn else "its own PostgreSQL"
        raise StoreSettingsError(f"the journal of {data} is in {is_in}: set ledger.dsn as it was")
    server = None if choice.dsn else EmbeddedServer(data)
    dsn = choice.dsn if server is None else server.dsn
    with closing(TableReader(dsn)) as rows:
        try:
            store = open_postgres_store(
                data,
                Opening(dsn, choice.replica_count, choice.patience),
                start=start,
                at_least_seq=at_least_seq,
                on_batch=on_batch,
                on_end=lambda end: on_end(end, rows),
                note=note,
                on_close=(lambda: None) if server is None else server.close,
            )
        except BaseException:
            if server is not None:
                server.close()
            raise
    write_place(data, Place(choice.dsn))
    return store


def read_place(data: Path) -> Place | None:
    """Return the database of the folder's journal, or None if it is in files."""
    path = journal_folder(data) / DATABASE_NAME
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Place(str(fields["dsn"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise StorageError(
            f"{path} is damaged: remove it and start the engine with its configuration"
        ) from None


def write_place(data: Path, place: Place) -> None:
    """Remember where the journal of the folder is, durably."""
    if read_place(data) == place:
        return
    disk = OsDisk()
    path = journal_folder(data) / DATABASE_NAME
    aside = path.with_suffix(".tmp")
    with storage_errors("writing", path):
        handle = disk.open(aside, create=True)
        try:
            write_exact(disk, handle, json.dumps(place._asdict()).encode(), 0, aside)
            disk.fdatasync(handle)
        finally:
            disk.close(handle)
        disk.rename(aside, path)
        disk.fsync_dir(path.parent)


@contextmanager
def database_of(data: Path) -> Iterator[str]:
    """Give the dsn of the folder's database; an embedded server runs at least until the end.

    ``DE39_LEDGER__DSN`` goes before what the folder remembers. Raises ``StorageError`` where the
    journal is in files.
    """
    place = read_place(data)
    if place is None:
        raise StorageError(f"the journal of {data} is in files, not in a database")
    if place.dsn:
        yield os.environ.get("DE39_LEDGER__DSN") or place.dsn
        return
    server = EmbeddedServer(data)
    try:
        yield server.dsn
    finally:
        server.close()


def open_reader(data: Path, disk: Disk | None = None) -> JournalReader:
    """Open the journal of the folder for reading, wherever it is; an engine may be writing.

    Parameters
    ----------
    data
        The data folder. A database must hold the journal of the cluster that it remembers.
    disk
        The file system of a journal in files.

    Raises
    ------
    StorageError, StoreUnavailable
        Where the journal is cannot be read, or its embedded server does not start.
    """
    place = read_place(data)
    if place is None:
        return FileReader(data, disk)
    known = read_epoch(OsDisk(), data)
    cluster = None if known is None else known.cluster
    if place.dsn:
        return TableReader(os.environ.get("DE39_LEDGER__DSN") or place.dsn, cluster)
    server = EmbeddedServer(data)
    return TableReader(server.dsn, cluster, on_close=server.close)


def scan_journal(data: Path, *, start: Position | None = None) -> Iterator[Batch]:
    """Iterate over the batches of the folder's journal, wherever it is; an engine may be writing.

    Parameters
    ----------
    data
        The data folder.
    start
        Between two batches; None = the first that is there.
    """
    with closing(open_reader(data)) as reader:
        yield from reader.scan(start)


def load_journal(source: Path, data: Path, end: Position, choice: StoreChoice) -> None:
    """Put the batches of the segment files of ``source``, up to ``end``, into a database.

    It must hold no journal of this partition. All of it is there afterwards, read back and checked,
    or nothing. The folder ``data`` then remembers where its journal is.

    Raises
    ------
    StoreSettingsError, StoreUnavailable, RotError
        See ``load_postgres``.
    """
    server = None if choice.dsn else EmbeddedServer(data)
    try:
        opening = Opening(
            choice.dsn if server is None else server.dsn, choice.replica_count, choice.patience
        )
        load_postgres(data, opening, source, end)
    finally:
        if server is not None:
            server.close()
    write_place(data, Place(choice.dsn))


def beginning_of(data: Path) -> Position | None:
    """Return where the folder's journal begins since older batches were archived; None = at 1."""
    with closing(open_reader(data)) as reader:
        return reader.beginning()


def records_at(data: Path, numbers: NDArray[np.int64], end_seq: int) -> Records:
    """Return the records of these numbers, RECORD[k], rising; what is not there is left out.

    In files the headers of the segments concerned are walked, and only the batches that hold one of
    the records are read. In a database everything from the oldest record asked for is.

    Parameters
    ----------
    numbers
        Of durable records, in any order.
    end_seq
        The number after the newest durable record.
    """
    wanted = np.unique(numbers)
    wanted = wanted[(wanted > 0) & (wanted < end_seq)]
    if not len(wanted):
        return np.zeros(0, RECORD)
    if read_place(data) is None:
        batches = batches_with(data, wanted)
    else:
        start = start_of_newest(data, end_seq - int(wanted[0]))
        batches = takewhile(
            lambda batch: batch.header.first_seq <= wanted[-1], scan_journal(data, start=start)
        )
    parts = [_chosen(batch, wanted) for batch in batches]
    return np.concatenate(parts) if parts else np.zeros(0, RECORD)


def _chosen(batch: Batch, wanted: NDArray[np.int64]) -> Records:
    """Return those records of a batch that are ``wanted``, which rises; numbers have no gaps."""
    first, count = batch.header.first_seq, batch.header.record_count
    low, high = np.searchsorted(wanted, (first, first + count)).tolist()
    return batch.records[wanted[low:high] - first]


def start_of_newest(data: Path, count: int) -> Position | None:
    """Return a place at or before the newest ``count`` records of a journal in a database.

    None = the first batch that is there.
    """
    with closing(open_reader(data)) as reader:
        if not isinstance(reader, TableReader):
            raise StorageError("only for a journal in a database")
        return reader.before_newest(count)
