"""SHELL: messages that the host must deliver: kept in a file until the other side has answered.

A message is stored before it is sent the first time, and each try before it leaves, with the STAN
and the time that all tries share: a restart goes on where it was, as a repeat. One SQLite file in
the data folder; its own thread calls it, never the event loop. No card data is stored: ``check``
refuses fields that the dialect hides.
"""

import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.errors import StorageFailure
from engine.wire.dialect import Dialect
from ledger.pan import hide_pans

FILE = "outbox.db"
_KEPT_MAX = 100_000  # messages done with, of which the oldest are forgotten
_TABLE = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    line TEXT NOT NULL,
    mti TEXT NOT NULL,
    fields TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    next_ns INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    code TEXT NOT NULL DEFAULT '',
    operator TEXT NOT NULL,
    created_ns INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS waiting ON message (line, id) WHERE state = 'waiting';
"""
_COLUMNS = "id, line, mti, fields, tries, next_ns, state, code, operator, created_ns"


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it is kept. ``state``: waiting, delivered, refused or given_up."""

    id: int
    line: str
    mti: str  # of the first try
    fields: Mapping[int, str]
    tries: int
    next_ns: int  # not sent before, Unix ns
    state: str
    code: str  # DE39 of the last answer
    operator: str
    created_ns: int

    @property
    def mti_of_try(self) -> str:
        """The type of the next try: a repeat from the second on."""
        return self.mti if self.tries == 0 else f"{int(self.mti) | 1:04d}"


class Outbox:
    """The file; every method waits for the disk and may be called from any one thread at a time."""

    def __init__(self, folder: Path, messages_max: int) -> None:
        self._path = folder / FILE
        self._max = messages_max
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            self._path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLE)
        except (sqlite3.Error, OSError) as problem:
            raise StorageFailure(f"{self._path}: cannot be opened: {problem}") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def put(
        self, line: str, mti: str, fields: Mapping[int, str], operator: str, now_ns: int
    ) -> int | None:
        """Keep a message, durable on return; its number, or None when there is no room."""
        text = msgspec.json.encode({str(n): v for n, v in fields.items()}).decode()
        with self._lock:
            if self._count("waiting") >= self._max:
                return None
            done = self._db.execute(
                "INSERT INTO message (line, mti, fields, next_ns, operator, created_ns)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (line, mti, text, now_ns, operator, now_ns),
            )
            self._forget_old()
            return done.lastrowid

    def first(self, line: str) -> Stored | None:
        """Return the message of a line that is next: they are delivered in order."""
        with self._lock:
            return self._one("WHERE state = 'waiting' AND line = ? ORDER BY id LIMIT 1", (line,))

    def note_try(self, number: int) -> None:
        """Count a try, before it leaves."""
        self._set("tries = tries + 1", number)

    def note_wait(self, number: int, next_ns: int, code: str) -> None:
        """Try again at ``next_ns``."""
        self._set("next_ns = ?, code = ?", number, next_ns, code)

    def note_end(self, number: int, state: str, code: str) -> None:
        """Note that nothing more is tried: delivered, refused or given_up."""
        self._set("state = ?, code = ?", number, state, code)

    def listed(self, most: int, state: str | None = None) -> list[Stored]:
        """Return the newest messages, of one state where it is given."""
        with self._lock:
            where = "WHERE state = ? " if state else ""
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM message {where}ORDER BY id DESC LIMIT ?",  # noqa: S608
                (state, most) if state else (most,),
            )
            with closing(rows):
                return [_stored(row) for row in rows.fetchall()]

    def count(self, state: str) -> int:
        """Return how many messages are in a state."""
        with self._lock:
            return self._count(state)

    def _count(self, state: str) -> int:
        row = self._db.execute("SELECT count(*) FROM message WHERE state = ?", (state,)).fetchone()
        return int(row[0])

    def _one(self, where: str, values: tuple[object, ...]) -> Stored | None:
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM message {where}",  # noqa: S608 - a text of this file
            values,
        ).fetchone()
        return None if row is None else _stored(row)

    def _set(self, what: str, number: int, *values: object) -> None:
        with self._lock:
            self._db.execute(
                f"UPDATE message SET {what} WHERE id = ?",  # noqa: S608 - a text of this file
                (*values, number),
            )

    def _forget_old(self) -> None:
        self._db.execute(
            "DELETE FROM message WHERE state != 'waiting' AND id <= "
            "(SELECT max(id) FROM message) - ?",
            (_KEPT_MAX,),
        )


def check(dialect: Dialect, fields: Mapping[int, str]) -> str | None:
    """Return why these fields may not be stored, or None: card data never goes into the file."""
    for number, value in fields.items():
        field = dialect.fields.get(number)
        if field is None:
            return f"DE{number}: not in dialect {dialect.name}"
        if field.sensitivity in ("pan", "track", "pin"):
            return f"DE{number}: {field.sensitivity} data is never kept in the outbox"
        if hide_pans(value) != value:
            return f"DE{number}: holds what looks like a card number"
    return None


def _stored(row: tuple[object, ...]) -> Stored:
    number, line, mti, fields, *rest = row
    values = {int(n): v for n, v in msgspec.json.decode(str(fields)).items()}
    return Stored(number, line, mti, values, *rest)  # type: ignore[arg-type]  # as the table keeps them
