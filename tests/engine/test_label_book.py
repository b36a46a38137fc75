"""The book of labels knows what the journal knows, reads it once, and survives what may come."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from engine import label_book as module
from engine.errors import StorageFailure
from engine.label_book import FILE, LabelBook
from ledger.record import Kind
from ledger.stores.file import FileStore
from tests.ledger.journals import append, opened, records_from


def write(store: FileStore, labels: list[int], others: int = 20) -> None:
    """Append a batch of payments and of labels about earlier records."""
    records = records_from(store.position.seq, others + len(labels))
    records["kind"] = Kind.AUTHORIZE
    for place, about in enumerate(labels):
        records["kind"][place * 2], records["ref_seq"][place * 2] = Kind.LABEL, about
    append(store, len(records), records=records)


def asked(book: LabelBook, *numbers: int) -> set[int]:
    """Ask for record numbers."""
    return book.labelled(np.array(numbers, np.int64))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Return a journal with labels of records 3, 5 and 30."""
    made = opened(tmp_path)
    for labels in ([], [3], [5, 30]):
        write(made, labels)
    return made


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows with each reading of the journal: where it began."""
    begun: list[object] = []
    scan = module.scan_journal

    def counted(data: Path, *, start: object = None) -> object:
        begun.append(start)
        return scan(data, start=start)

    monkeypatch.setattr(module, "scan_journal", counted)
    return begun


def test_labels_of_the_journal_are_known_after_one_reading(
    tmp_path: Path, store: FileStore, scans: list[object]
) -> None:
    """More than SQLite takes at once may be asked; new labels are noted without reading."""
    book = LabelBook(tmp_path, store.position)
    assert asked(book, 3, 4, 5, *range(100, 2_000)) == {3, 5}
    write(store, [7])  # this engine's own label, told by note
    book.note(np.array([7]))
    assert asked(book, 7, 30) == {7, 30}
    assert len(scans) == 1
    book.close(store.position)


def test_after_a_stop_nothing_is_read(
    tmp_path: Path, store: FileStore, scans: list[object]
) -> None:
    """A stop notes where the journal stands; the next start begins there, also when unused."""
    book = LabelBook(tmp_path, store.position)
    asked(book, 1)
    write(store, [8])
    book.note(np.array([8]))
    book.close(store.position)
    unused = LabelBook(tmp_path, store.position)
    write(store, [], 50)
    unused.close(store.position)
    store.close()
    again = opened(tmp_path)
    book = LabelBook(tmp_path, again.position)
    assert asked(book, 3, 8, 9) == {3, 8}
    book.close(again.position)
    assert len(scans) == 1


def test_after_a_crash_the_gap_is_read(
    tmp_path: Path, store: FileStore, scans: list[object]
) -> None:
    """Labels that were durable and not noted are found from the last noted place on."""
    book = LabelBook(tmp_path, store.position)
    asked(book, 1)
    place = store.position
    write(store, [9])  # and then it ends, nothing noted, nothing closed
    book = LabelBook(tmp_path, store.position)
    assert asked(book, 9, 3) == {9, 3}
    assert [start and start.batch_no for start in scans] == [None, place.batch_no]


def test_a_new_folder_has_nothing_to_read(tmp_path: Path, scans: list[object]) -> None:
    """An empty journal has no labels, whatever comes later."""
    store = opened(tmp_path)
    book = LabelBook(tmp_path, store.position)
    write(store, [])
    assert asked(book, 3) == set()
    book.close(store.position)
    assert scans == []


def test_a_book_of_another_history_is_made_again(tmp_path: Path, store: FileStore) -> None:
    """The journal of a restore is shorter or another one: what the book says is forgotten."""
    book = LabelBook(tmp_path, store.position)
    book.note(np.array([77]))
    book.close(store.position)
    other = tmp_path / "other"
    shorter = opened(other)
    write(shorter, [2])
    for name in (FILE, FILE + "-wal"):
        if (tmp_path / name).exists():
            shutil.copy(tmp_path / name, other / name)
    book = LabelBook(other, shorter.position)
    assert asked(book, 2, 3, 77) == {2}
    for labels in ([], [4], [5], [6]):
        write(shorter, labels)
    longer = LabelBook(other, shorter.position)
    assert asked(longer, 2, 3, 4, 5, 6, 77) == {2, 4, 5, 6}


def test_a_file_that_fails_is_one_line_and_forgets_nothing(
    tmp_path: Path, store: FileStore
) -> None:
    """What could not be written is remembered; a stop then leaves the gap to be read again."""
    book = LabelBook(tmp_path, store.position)
    asked(book, 1)
    with sqlite3.connect(tmp_path / FILE) as beside:
        beside.execute("ALTER TABLE labelled RENAME TO elsewhere")
    beside.close()
    write(store, [11])
    book.note(np.array([11]))
    with pytest.raises(StorageFailure, match=r"labels[.]db: no such table"):
        asked(book, 11)
    with sqlite3.connect(tmp_path / FILE) as beside:
        beside.execute("ALTER TABLE elsewhere RENAME TO labelled")
    beside.close()
    assert asked(book, 11, 12) == {11}
    book.close(store.position)
    assert asked(LabelBook(tmp_path, store.position), 11, 12, 5) == {11, 5}
    (tmp_path / FILE).write_bytes(b"no database" * 99)
    with pytest.raises(StorageFailure, match=r"labels[.]db: "):
        asked(LabelBook(tmp_path, store.position), 1)
