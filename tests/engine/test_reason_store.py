"""The file of reasons of record: what is added waits, what is put is found, nothing twice."""

import sqlite3
import stat
from pathlib import Path

import numpy as np
import pytest

from engine.errors import StorageFailure
from engine.reason_store import FILE, VERSION, Captured, ReasonStore
from engine.rules.seen import SeenRows
from scoring.features import FEATURES

WIDTH = len(FEATURES)
# The file as it was before it had a version.
OLDER = """
CREATE TABLE reason (
    record INTEGER PRIMARY KEY, model INTEGER NOT NULL, checked INTEGER NOT NULL,
    features BLOB NOT NULL, adds BLOB, expected REAL
);
CREATE INDEX waiting ON reason (record) WHERE adds IS NULL;
"""


def captured(first: int, count: int, model: int = 7) -> Captured:
    """Return rows that are told apart by their record number."""
    records = np.arange(first, first + count, dtype=np.int64)
    features = np.repeat(records[:, None], WIDTH, axis=1).astype(np.float32)
    return Captured(model, records, records.astype(np.uint32) + 1, features)


def seen_rows(*records: int) -> SeenRows:
    """Return what rules saw of payments: columns 3 and 8, one list asked, two words of hits."""
    count = len(records)
    bits = np.array([[record, 2**64 - 1] for record in records], np.uint64)
    hits = np.array([[1 << 63, record] for record in records], np.uint64)
    stamps = np.array(records, np.int64) * 10**9
    columns, members = np.array([3, 8], np.int16), np.full((count, 1), ~4, np.int16)
    return SeenRows(0xFFFF0001, numbers(*records), stamps, hits, columns, bits, members)


def numbers(*records: int) -> np.ndarray:
    """Return record numbers as the store takes them."""
    return np.array(records, np.int64)


def test_rows_wait_until_they_are_put(tmp_path: Path) -> None:
    """The oldest first and of one model; what is whole is found with every value."""
    store = ReasonStore(tmp_path)
    store.add(captured(20, 3))
    store.add(captured(10, 2, model=9))
    assert store.waiting_count() == 5
    part = store.waiting(10)
    assert part is not None
    assert (part.model, part.records.tolist(), part.checks.tolist()) == (9, [10, 11], [11, 12])
    part = store.waiting(2, without=[9])
    assert part is not None
    assert part.records.tolist() == [20, 21]
    adds = np.arange(2 * WIDTH, dtype=np.float64).reshape(2, WIDTH)
    store.put(part.records, adds, -3.5)
    found = store.find(numbers(20, 21, 22, 10, 99))
    assert sorted(found) == [20, 21]
    assert (found[21].model, found[21].check, found[21].expected) == (7, 22, -3.5)
    assert found[21].adds.tolist() == adds[1].tolist()
    assert found[21].features.tolist() == [21.0] * WIDTH
    asked = numbers(20, 22, 99, 20, 20)
    models, checks = np.array([7, 7, 7, 8, 7]), np.array([21, 23, 100, 21, 22])
    assert store.known(asked, models, checks).tolist() == [True, True, False, False, False]
    assert store.waiting_count() == 3
    assert store.waiting(9, without=[7, 9]) is None


def test_what_is_there_stays(tmp_path: Path) -> None:
    """A payment that comes a second time changes nothing; another of its number replaces it."""
    store = ReasonStore(tmp_path)
    store.add(captured(5, 1))
    store.put(numbers(5), np.ones((1, WIDTH)), 0.0)
    store.add(captured(5, 2))
    assert store.find(numbers(5))[5].model == 7
    assert store.waiting_count() == 1
    store.add(captured(5, 1, model=8))
    assert store.find(numbers(5)) == {}
    assert store.waiting_count() == 2
    part = store.waiting(9)
    assert part is not None
    assert (part.model, part.records.tolist()) == (8, [5])


def test_it_outlives_its_process_and_is_private(tmp_path: Path) -> None:
    """Another opening, also at the same time, reads it; others may not."""
    store = ReasonStore(tmp_path)
    store.add(captured(1, 600))
    other = ReasonStore(tmp_path)
    every = captured(1, 600)
    assert other.known(every.records, np.full(600, 7), every.checks).all()
    other.put(numbers(600), np.zeros((1, WIDTH)), 1.0)
    assert list(store.find(np.arange(1, 601))) == [600]
    for one in (store, other):
        one.close()
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    """No database, a lost table, a row of other features: said with the name of the file."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(StorageFailure, match=r"reasons[.]db: cannot be opened"):
        ReasonStore(tmp_path / "a")
    store = ReasonStore(tmp_path)
    store.add(captured(1, 1))
    with sqlite3.connect(tmp_path / FILE) as beside:
        beside.execute("UPDATE reason SET features = x'00000000'")
    with pytest.raises(StorageFailure, match="a row has 1 values, not 38"):
        store.waiting(1)
    with sqlite3.connect(tmp_path / FILE) as beside:
        beside.execute("DROP TABLE reason")
    beside.close()
    with pytest.raises(StorageFailure, match=r"reasons[.]db: cannot be read"):
        store.waiting_count()
    with pytest.raises(StorageFailure, match=r"reasons[.]db: cannot be written"):
        store.add(captured(2, 1))


def test_what_rules_saw_is_found_as_it_was(tmp_path: Path) -> None:
    """Every bit of it, by record; a row of another history of the folder gives way."""
    store = ReasonStore(tmp_path)
    store.add_seen(seen_rows(5, 6))
    store.add_seen(seen_rows(6))
    found = store.find_seen(numbers(4, 5, 6))
    assert sorted(found) == [5, 6]
    assert (found[5].version, found[5].ts_ns) == (0xFFFF0001, 5 * 10**9)
    assert found[5].places == [63, 64, 66]
    assert found[5].columns.tolist() == [3, 8]
    assert found[5].bits.tolist() == [5, 2**64 - 1]
    assert found[5].members.tolist() == [~4]
    assert store.waiting_count() == 0
    with sqlite3.connect(tmp_path / FILE) as beside:
        beside.execute("UPDATE seen SET layout = layout + 1 WHERE record = 5")
        beside.execute("UPDATE seen SET bits = x'0000000000000000' WHERE record = 6")
    beside.close()
    assert store.find_seen(numbers(5)) == {}
    with pytest.raises(StorageFailure, match="1 values for 2 columns"):
        store.find_seen(numbers(6))
    store.close()


def test_an_older_file_opens_and_takes_both(tmp_path: Path) -> None:
    """What was in it stays, what rules saw comes beside it, and it says its version."""
    with sqlite3.connect(tmp_path / FILE) as older:
        older.executescript(OLDER)
        row = np.full(WIDTH, 1.5, "<f4").tobytes()
        older.execute("INSERT INTO reason VALUES (20, 7, 21, ?, NULL, NULL)", (row,))
    older.close()
    for _ in range(2):
        store = ReasonStore(tmp_path)
        part = store.waiting(9)
        assert part is not None
        assert (part.records.tolist(), part.features.tolist()) == ([20], [[1.5] * WIDTH])
        store.add_seen(seen_rows(20))
        assert list(store.find_seen(numbers(20))) == [20]
        store.close()
    with sqlite3.connect(tmp_path / FILE) as beside:
        assert beside.execute("PRAGMA user_version").fetchone() == (VERSION,)
    beside.close()


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    """A program that does not know it says so and writes nothing."""
    with sqlite3.connect(tmp_path / FILE) as newer:
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    with pytest.raises(
        StorageFailure, match=r"reasons[.]db: is of version 3, this program knows 2"
    ):
        ReasonStore(tmp_path)


def test_the_oldest_payments_are_forgotten(tmp_path: Path) -> None:
    """By record number, both kinds of rows together; what waited of them is told."""
    store = ReasonStore(tmp_path)
    store.add(captured(10, 4))
    store.add_seen(seen_rows(9, 11, 12, 20))
    store.put(numbers(11), np.zeros((1, WIDTH)), 0.0)
    assert store.forget_oldest(3) == (3, 1)  # 9, 10 and 11, of which 10 waited
    part = store.waiting(9)
    assert part is not None
    assert part.records.tolist() == [12, 13]
    assert sorted(store.find_seen(numbers(9, 11, 12, 20))) == [12, 20]
    assert store.find(numbers(10, 11)) == {}
    assert store.forget_oldest(9) == (3, 2)
    assert store.forget_oldest(9) == (0, 0)
    store.close()


def test_freed_pages_are_used_again(tmp_path: Path) -> None:
    """What is removed counts no more, and the file does not grow by what comes in its place."""
    store = ReasonStore(tmp_path)
    empty = store.used_bytes()
    store.add(captured(1, 2_000))
    full, size = store.used_bytes(), (tmp_path / FILE).stat().st_size
    assert full > empty + 2_000 * 4 * WIDTH
    assert store.forget_oldest(1_000) == (1_000, 1_000)
    assert store.used_bytes() < 0.6 * full
    for first in range(3_000, 8_000, 1_000):
        store.add(captured(first, 1_000))
        store.forget_oldest(1_000)
    store.close()
    assert (tmp_path / FILE).stat().st_size <= max(1.1 * full, size)
