"""SHELL: which payments have their label, without reading the journal at each request.

One SQLite file in the data folder: the labelled records, and up to which place of the journal it
knows of all labels. The engine is the only one that writes labels, so while it runs the file is
brought up to the place where it began, once, and told of each label after. It is no part of a
backup and can be removed at any time: the journal is then read through once.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import StorageFailure
from ledger.errors import LedgerError, RotError
from ledger.journal import Position, position_from_json
from ledger.record import Kind
from ledger.stores.place import scan_journal

FILE = "labels.db"
_TABLES = """
CREATE TABLE IF NOT EXISTS labelled (record INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS place (id INTEGER PRIMARY KEY CHECK (id = 1), position TEXT NOT NULL);
"""
_ASKED_AT_ONCE = 500
_BEFORE_ALL = Position()


class LabelBook:
    """The file; one thread at a time uses it. Raises StorageFailure with one line.

    Parameters
    ----------
    data
        The data folder.
    begun
        Where the journal stood when this engine began to write.
    """

    def __init__(self, data: Path, begun: Position) -> None:
        self._data = data
        self._begun = begun
        self._path = data / FILE
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._is_current = False
        self._unsaved: set[int] = set()  # noted while the file took nothing

    def labelled(self, records: NDArray[np.int64]) -> set[int]:
        """Return which of these records have a label."""
        with self._lock, self._told():
            db = self._current()
            found = self._unsaved & {int(record) for record in records}
            for first in range(0, len(records), _ASKED_AT_ONCE):
                part = [int(record) for record in records[first : first + _ASKED_AT_ONCE]]
                places = ",".join("?" * len(part))
                text = f"SELECT record FROM labelled WHERE record IN ({places})"  # noqa: S608
                with closing(db.execute(text, part)) as rows:
                    found.update(row[0] for row in rows)
            return found

    def note(self, records: NDArray[np.int64]) -> None:
        """Note labels that are durable; what the file does not take is remembered."""
        with self._lock:
            self._unsaved.update(records.tolist())
            try:
                with self._told():
                    self._put(self._current(), np.array(sorted(self._unsaved), np.int64), None)
                self._unsaved.clear()
            except StorageFailure:
                return

    def close(self, end: Position) -> None:
        """Note that all labels up to ``end`` are known, if they are, and close the file."""
        with self._lock:
            try:
                with self._told():
                    if not self._unsaved and (self._is_current or self._knows_all()):
                        self._put(self._opened(), np.zeros(0, np.int64), end)
            finally:
                if self._db is not None:
                    self._db.close()
                    self._db = None

    def _current(self) -> sqlite3.Connection:
        """Return the open file, which knows every label from before this engine began."""
        db = self._opened()
        if not self._is_current:
            try:
                self._catch_up(db)
            except RotError:  # it may be of another history: a restored folder, say
                with db:
                    db.execute("DELETE FROM labelled")
                    db.execute("DELETE FROM place")
                self._catch_up(db)
            self._is_current = True
        return db

    def _catch_up(self, db: sqlite3.Connection) -> None:
        place = self._place(db)
        if place.batch_no >= self._begun.batch_no and not _is_same(place, self._begun):
            raise RotError("labels.db is ahead", batch_no=place.batch_no, segment=FILE, offset=0)
        if not _is_same(place, self._begun):
            for batch in scan_journal(self._data, start=place if place.head.strip(b"\0") else None):
                chosen = batch.records[batch.records["kind"] == Kind.LABEL]
                if len(chosen):
                    self._put(db, chosen["ref_seq"].astype(np.int64), None)
                if batch.after.batch_no >= self._begun.batch_no:
                    break
        self._put(db, np.zeros(0, np.int64), self._begun)

    def _knows_all(self) -> bool:
        """Whether nothing lies between the file's place and the begin: a stop left it so."""
        return _is_same(self._place(self._opened()), self._begun)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what can go wrong into one line."""
        try:
            yield
        except (sqlite3.Error, OSError, LedgerError) as problem:
            raise StorageFailure(f"{self._path}: {problem}") from None

    def _place(self, db: sqlite3.Connection) -> Position:
        with closing(db.execute("SELECT position FROM place")) as rows:
            row = rows.fetchone()
        try:
            return _BEFORE_ALL if row is None else position_from_json(json.loads(row[0]))
        except (ValueError, KeyError, TypeError):
            raise StorageFailure(f"{self._path}: is damaged; remove it") from None

    def _put(
        self, db: sqlite3.Connection, records: NDArray[np.int64], place: Position | None
    ) -> None:
        """Write labels, and up to where they are all, in one transaction."""
        with db:
            db.execute("BEGIN IMMEDIATE")
            rows = [(int(record),) for record in records]
            db.executemany("INSERT OR IGNORE INTO labelled VALUES (?)", rows)
            if place is not None:
                text = json.dumps(place.to_json())
                db.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (text,))

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            try:
                self._path.chmod(0o600)
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=NORMAL")
                db.executescript(_TABLES)
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db


def _is_same(one: Position, other: Position) -> bool:
    """Return whether both lie between the same two batches; a store may say segments otherwise."""
    return (one.batch_no, one.head) == (other.batch_no, other.head)
