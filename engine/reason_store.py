"""SHELL: the file of reasons of record: why a payment was declined or sent to review, exactly.

One row a payment, by its record number: model, hash of the feature row as in the ledger record, the
feature row, and what each feature adds; without the last, it waits. Beside it stands what rules saw
where one held: columns, lists, and the version of the set. The records have no room for either and
the journal can make them again (``de39 model explain --missing``, ``de39 rules explain``), so the
file is not part of a backup. One SQLite file in the data folder; threads of the engine and commands
beside it may use it at once.
"""

import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import StorageFailure
from engine.rules.seen import LAYOUT, Seen, SeenRows
from scoring.features import FEATURES

FILE = "reasons.db"
VERSION = 2  # of the file: 1 = reasons alone (such files say 0), 2 = what rules saw too
_TABLES = """
CREATE TABLE IF NOT EXISTS reason (
    record INTEGER PRIMARY KEY,
    model INTEGER NOT NULL,
    checked INTEGER NOT NULL,
    features BLOB NOT NULL,
    adds BLOB,
    expected REAL
);
CREATE INDEX IF NOT EXISTS waiting ON reason (record) WHERE adds IS NULL;
CREATE TABLE IF NOT EXISTS seen (
    record INTEGER PRIMARY KEY,
    ts_ns INTEGER NOT NULL,
    version INTEGER NOT NULL,
    layout INTEGER NOT NULL,
    hits BLOB NOT NULL,
    columns BLOB NOT NULL,
    bits BLOB NOT NULL,
    members BLOB NOT NULL
);
"""
_ADD = """
INSERT INTO reason (record, model, checked, features) VALUES (?, ?, ?, ?)
ON CONFLICT (record) DO UPDATE SET
    model = excluded.model, checked = excluded.checked, features = excluded.features, adds = NULL
WHERE model != excluded.model OR checked != excluded.checked
"""
_ADD_SEEN = "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# Up to ? payments of the lowest record numbers, whichever kinds of row they have.
_OLDEST = """
SELECT count(*), max(record) FROM (
    SELECT record FROM (SELECT record FROM reason ORDER BY record LIMIT :most)
    UNION SELECT record FROM (SELECT record FROM seen ORDER BY record LIMIT :most)
    ORDER BY record LIMIT :most
)
"""
Row = tuple[Any, ...]
_ASKED_AT_ONCE = 500  # SQLite takes at least 999 variables


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """Payments as they were scored, in order of their records.

    ``records`` i64[n] are record numbers, ``checks`` u32[n] hashes of the rows, ``features``
    f32[n, k]; ``model`` is the version that scored them, 0 = none did and n is 0. ``seen`` is what
    rules saw of the payments of the same batch on which one held; None = of none.
    """

    model: int
    records: NDArray[np.int64]
    checks: NDArray[np.uint32]
    features: NDArray[np.float32]
    seen: SeenRows | None = None

    @property
    def row_count(self) -> int:
        """Rows of both kinds: a payment may have one of each."""
        return len(self.records) + (0 if self.seen is None else len(self.seen.records))

    @property
    def payment_count(self) -> int:
        """Payments that have a row of either kind."""
        seen = self.records[:0] if self.seen is None else self.seen.records
        return len(np.union1d(self.records, seen))


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A row that is whole: ``features`` f32[k], ``adds`` f64[k], log odds over ``expected``."""

    model: int
    check: int
    features: NDArray[np.float32]
    adds: NDArray[np.float64]
    expected: float


class ReasonStore:
    """The file; every method waits for the disk. Raises StorageFailure with one line."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            self._path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")  # what a crash takes is made again
            self._upgrade()
        except (sqlite3.Error, OSError) as problem:
            raise StorageFailure(f"{self._path}: cannot be opened: {problem}") from None

    def _upgrade(self) -> None:
        """Give the file, new or older, the tables of this version; what is in it stays."""
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found > VERSION:
            raise StorageFailure(
                f"{self._path}: is of version {found}, this program knows {VERSION}: "
                "move it away, or use the program that wrote it"
            )
        if found < VERSION:
            self._db.executescript(f"{_TABLES} PRAGMA user_version = {VERSION};")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, captured: Captured) -> None:
        """Keep payments to be explained; one that is there already stays as it is.

        A row of another payment, left there by another history of the folder, is replaced.
        """
        rows = [
            (int(record), captured.model, int(check), features.astype("<f4").tobytes())
            for record, check, features in zip(
                captured.records, captured.checks, captured.features, strict=True
            )
        ]
        self._write(_ADD, rows)

    def add_seen(self, seen: SeenRows) -> None:
        """Keep what rules saw; what another history of the folder left there is replaced."""
        columns = seen.columns.astype("<i2").tobytes()
        rows = [
            (
                int(seen.records[at]),
                int(seen.ts_ns[at]),
                seen.version,
                LAYOUT,
                seen.hits[at].astype("<u8").tobytes(),
                columns,
                seen.bits[at].astype("<u8").tobytes(),
                seen.members[at].astype("<i2").tobytes(),
            )
            for at in range(len(seen.records))
        ]
        self._write(_ADD_SEEN, rows)

    def find_seen(self, records: NDArray[np.int64]) -> dict[int, Seen]:
        """Return what rules saw of these payments, by record number.

        Rows whose columns have other numbers, of another version of the program, are passed over.
        """
        fields = "record, version, ts_ns, hits, columns, bits, members"
        found: dict[int, Seen] = {}
        for record, version, ts_ns, *blobs in self._rows_of(
            records, fields, f"AND layout = {LAYOUT}", "seen"
        ):
            kinds = ("<u8", "<i2", "<u8", "<i2")
            hits, columns, bits, members = map(_numbers, blobs, kinds)
            if len(columns) != len(bits):
                raise StorageFailure(f"{FILE}: {len(bits)} values for {len(columns)} columns")
            found[int(record)] = Seen(version, ts_ns, hits, columns, bits, members)
        return found

    def put(self, records: NDArray[np.int64], adds: NDArray[np.float64], expected: float) -> None:
        """Write what each feature adds, f64[n, k], to the rows of ``records``."""
        rows = [
            (parts.astype("<f8").tobytes(), expected, int(record))
            for record, parts in zip(records, adds, strict=True)
        ]
        self._write("UPDATE reason SET adds = ?, expected = ? WHERE record = ?", rows)

    def waiting(self, most: int, without: Iterable[int] = ()) -> Captured | None:
        """Return up to ``most`` rows of one model that wait, the oldest first; None = none.

        Rows of the models ``without`` are passed over.
        """
        passed = ",".join(str(int(model)) for model in without)
        found = self._read(
            "SELECT record, model, checked, features FROM reason WHERE adds IS NULL"  # noqa: S608
            f" AND model NOT IN ({passed}) ORDER BY record LIMIT ?",
            (most,),
        )
        if not found:
            return None
        chosen = [row for row in found if row[1] == found[0][1]]
        return Captured(
            found[0][1],
            np.array([row[0] for row in chosen], np.int64),
            np.array([row[2] for row in chosen], np.uint32),
            np.stack([_floats(row[3], "<f4") for row in chosen]),
        )

    def waiting_count(self) -> int:
        """Return how many rows wait."""
        return int(self._read("SELECT count(*) FROM reason WHERE adds IS NULL", ())[0][0])

    def used_bytes(self) -> int:
        """Return the bytes of the file that hold something.

        Pages that were freed are left out, since the next rows go there, and so is the log that
        SQLite keeps beside the file, some MB.
        """
        pages, free, size = (
            int(self._read(f"PRAGMA {name}", ())[0][0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def forget_oldest(self, most: int) -> tuple[int, int]:
        """Remove up to ``most`` payments, those of the lowest record numbers.

        Returns (payments that went, those of them that waited).
        """
        try:
            with self._lock, self._db:
                self._db.execute("BEGIN IMMEDIATE")
                went, last = self._db.execute(_OLDEST, {"most": most}).fetchone()
                (waited,) = self._db.execute(
                    "SELECT count(*) FROM reason WHERE adds IS NULL AND record <= ?", (last,)
                ).fetchone()
                for table in ("reason", "seen"):
                    self._db.execute(f"DELETE FROM {table} WHERE record <= ?", (last,))  # noqa: S608
        except sqlite3.Error as problem:
            raise StorageFailure(f"{self._path}: cannot be written: {problem}") from None
        return int(went), int(waited)

    def known(
        self, records: NDArray[np.int64], models: NDArray[np.uint32], checks: NDArray[np.uint32]
    ) -> NDArray[np.bool_]:
        """Return which of these payments have a row of their own, whole or not."""
        found = set(self._rows_of(records, "record, model, checked", ""))
        rows = zip(records.tolist(), models.tolist(), checks.tolist(), strict=True)
        return np.array([row in found for row in rows], np.bool_)

    def find(self, records: NDArray[np.int64]) -> dict[int, Recorded]:
        """Return the rows of these payments that are whole, by record number."""
        fields = "record, model, checked, features, adds, expected"
        return {
            row[0]: Recorded(
                row[1], row[2], _floats(row[3], "<f4"), _floats(row[4], "<f8"), float(row[5])
            )
            for row in self._rows_of(records, fields, "AND adds IS NOT NULL")
        }

    def _rows_of(
        self, records: NDArray[np.int64], fields: str, more: str, table: str = "reason"
    ) -> list[Row]:
        found: list[Row] = []
        for first in range(0, len(records), _ASKED_AT_ONCE):
            part = [int(record) for record in records[first : first + _ASKED_AT_ONCE]]
            places = ",".join("?" * len(part))
            text = f"SELECT {fields} FROM {table} WHERE record IN ({places}) {more}"  # noqa: S608
            found += self._read(text, part)
        return found

    def _read(self, text: str, values: Iterable[object]) -> list[Row]:
        try:
            with self._lock, closing(self._db.execute(text, tuple(values))) as rows:
                return rows.fetchall()
        except sqlite3.Error as problem:
            raise StorageFailure(f"{self._path}: cannot be read: {problem}") from None

    def _write(self, text: str, rows: list[Row]) -> None:
        """Write all rows or none."""
        try:
            with self._lock, self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(text, rows)
        except sqlite3.Error as problem:
            raise StorageFailure(f"{self._path}: cannot be written: {problem}") from None


def _floats(data: bytes, kind: str) -> NDArray[Any]:
    values = _numbers(data, kind)
    if len(values) != len(FEATURES):
        raise StorageFailure(f"{FILE}: a row has {len(values)} values, not {len(FEATURES)}")
    return values


def _numbers(data: bytes, kind: str) -> NDArray[Any]:
    if len(data) % np.dtype(kind).itemsize:
        raise StorageFailure(f"{FILE}: a row of {len(data)} bytes is damaged")
    return np.frombuffer(data, kind).astype(kind[1:])
