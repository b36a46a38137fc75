"""A journal read: files and table give the same batches and places, and name what is wrong."""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from ledger.errors import ForeignJournalError, NoJournalError, RotError, StoreUnavailable
from ledger.journal import Batch, BatchEncoder, Blob, Position, Writer, bytes_of, head_of
from ledger.postgres.table_reader import TableReader
from ledger.stores.base import JournalReader
from ledger.stores.file_reader import FileReader
from ledger.stores.place import StoreChoice, load_journal, open_reader
from tests.ledger.journals import CLUSTER, append, opened, records_from
from tests.support.postgres import Database

COUNTS = [3, 1, 40, 0, 2, 90, 1, 1, 5, 17, 300, 2]
TINY = 16 * 1024
OTHER = bytes(reversed(CLUSTER))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with twelve batches of two epochs in several segments."""
    data = tmp_path / "files"
    for half in (COUNTS[:6], COUNTS[6:]):
        store = opened(data, segment_bytes=TINY * 8)
        for count in half:
            append(store, count, blobs=[Blob(0, 1, b"somebody")] if count > 1 else ())
        store.close()
    return data


@pytest.fixture
def both(files: Path, tmp_path: Path, database: Database) -> Iterator[list[JournalReader]]:
    """Return readers of one journal in files and in a table."""
    *_, last = FileReader(files).scan()
    rows = tmp_path / "rows"
    rows.mkdir()
    load_journal(files, rows, last.after, StoreChoice(is_postgres=True, dsn=database.dsn))
    with closing(open_reader(files)) as one, closing(open_reader(rows)) as other:
        assert isinstance(other, TableReader)
        yield [one, other]


def told(batch: Batch) -> tuple[bytes, bytes, tuple[object, ...]]:
    """Return all that a batch says, whichever store it is out of."""
    return bytes_of(batch), batch.head, batch.after[:4]


def test_the_same_batches_come_out(both: list[JournalReader]) -> None:
    """Whole, from each place, and a few at a time; bytes, heads and places are equal."""
    one, other = both
    wanted = [told(batch) for batch in one.scan()]
    assert [told(batch) for batch in other.scan()] == wanted
    assert [batch.header.record_count for batch in one.scan()] == COUNTS
    ends = [batch.after for batch in one.scan()]
    for number, at in enumerate(ends, 1):
        for reader in both:
            assert [told(b) for b in reader.scan(at)] == wanted[number:]
            assert [told(b) for b in reader.scan(at, 2)] == wanted[number : number + 2]
    for reader in both:
        assert [told(b) for b in reader.scan(None, 9)] == wanted[:9]
        assert list(reader.scan(None, 0)) == []
        assert reader.beginning() is None


def test_places_of_one_store_are_places_of_the_other(both: list[JournalReader]) -> None:
    """A snapshot names a place; it is found again wherever the journal was brought."""
    one, other = both
    batches = list(one.scan())
    for batch in other.scan():
        left = [told(b) for b in batches[batch.header.batch_no :]]
        assert [told(b) for b in one.scan(batch.after)] == left
    wrong = batches[3].after._replace(segment=0, head=bytes(32))
    with pytest.raises(RotError, match="no place for batch 5"):
        list(one.scan(wrong))
    with pytest.raises(RotError, match="chain"):
        list(other.scan(wrong))
    for reader in both:  # a snapshot that is ahead of its journal
        with pytest.raises(RotError):
            list(reader.scan(Position(99, 999, 3, bytes(32))))


def test_any_record_and_batch_is_found_from_its_place(both: list[JournalReader]) -> None:
    """The place is at or before it, and reading from there comes to it."""
    for reader in both:
        batches = list(reader.scan())
        for seq in range(1, sum(COUNTS) + 1, 7):
            start = reader.before_record(seq)
            assert start is not None
            assert start.seq <= seq
            assert any(seq in batch.records["seq"] for batch in reader.scan(start))
        for batch in batches:
            start = reader.before_batch(batch.header.batch_no)
            found = [told(b) for b in reader.scan(start)]
            assert told(batch) in found
        end = reader.before_batch(len(batches) + 1)
        assert end is not None
        assert end.batch_no <= len(batches) + 1


def test_a_table_finds_the_very_batch(both: list[JournalReader]) -> None:
    """By its number or one of its records: the place is that of the batch before."""
    _, other = both
    batches = list(other.scan())
    for before, batch in zip([None, *batches], batches, strict=False):
        wanted = Position() if before is None else before.after
        assert other.before_batch(batch.header.batch_no) == wanted
        if batch.header.record_count:
            assert other.before_record(batch.after.seq - 1) == wanted


def rows_of(database: Database) -> None:
    """Let the test change what nobody may."""
    database.execute("ALTER TABLE de39.batch DISABLE TRIGGER USER")


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("epoch", "epoch + 1"),
        ("first_seq", "first_seq + 1"),
        ("record_count", "record_count - 1"),
        ("head", "set_byte(head, 5, 7)"),
        ("head", "substr(head, 1, 31)"),
    ],
)
def test_an_altered_column_is_named(
    both: list[JournalReader], database: Database, column: str, change: str
) -> None:
    """Columns are for people, so what they say must be so: batch and column are in the error."""
    rows_of(database)
    database.execute(f"UPDATE de39.batch SET {column} = {change} WHERE batch_no = 3")
    for count in (None, 12):
        with pytest.raises(RotError, match=f"batch 3 .*column {column} of its row differs"):
            list(both[1].scan(None, count))


def test_a_missing_row_is_named(both: list[JournalReader], database: Database) -> None:
    """In the middle by the batch that stands there, at the end by the head row."""
    rows_of(database)
    database.execute("DELETE FROM de39.batch WHERE batch_no IN (4, 12)")
    for count in (None, 12):
        with pytest.raises(RotError, match="batch 5 stands where batch 4 should"):
            list(both[1].scan(None, count))
    after = list(both[0].scan())[3].after
    with pytest.raises(RotError, match=r"batch 12 .*batches end at record 460, .* record 462"):
        list(both[1].scan(after))
    with pytest.raises(RotError, match="batch 4 is missing"):
        both[1].before_batch(5)
    database.execute("UPDATE de39.head SET seq = 461, batch_no = 12, head = set_byte(head, 0, 1)")
    with pytest.raises(RotError, match="head row has another head or epoch than batch 11"):
        list(both[1].scan(after))


def forged(at: Position, count: int, writer: Writer, first_seq: int | None = None) -> bytes:
    """Return a whole batch for the place ``at`` by another writer."""
    at = at if first_seq is None else at._replace(seq=first_seq)
    return bytes(BatchEncoder(writer).encode([(records_from(at.seq, count), ())], at, 5))


@pytest.mark.parametrize(
    ("writer", "first_seq", "error", "text"),
    [
        (Writer(CLUSTER, 0, 1, bytes(16)), None, RotError, "is of epoch 1, the one .* of epoch 2"),
        (Writer(CLUSTER, 0, 2, bytes(16)), 500, RotError, "record 500, record 463 comes next"),
        (Writer(OTHER, 0, 2, bytes(16)), None, ForeignJournalError, f"batch 13.*{OTHER.hex()}"),
        (Writer(CLUSTER, 3, 2, bytes(16)), None, ForeignJournalError, "batch 13.*partition 3"),
    ],
    ids=["epoch", "gap", "cluster", "partition"],
)
def test_a_batch_of_somebody_else_is_named(
    both: list[JournalReader],
    database: Database,
    writer: Writer,
    first_seq: int | None,
    error: type[Exception],
    text: str,
) -> None:
    """A fenced writer's epoch, a gap, another journal's batch: its hash and the chain hold."""
    *_, last = both[1].scan()
    raw = forged(last.after, 2, writer, first_seq)
    seq = first_seq or last.after.seq
    database.execute(
        f"INSERT INTO de39.batch VALUES (0, 13, {writer.epoch}, {seq}, 2,"
        f" '\\x{head_of(raw).hex()}', '\\x{raw.hex()}')"
    )
    with pytest.raises(error, match=text):
        list(both[1].scan())


def test_a_database_of_another_journal_is_refused(
    both: list[JournalReader], database: Database, tmp_path: Path
) -> None:
    """The folder remembers its cluster: a dsn that leads elsewhere is named before any batch."""
    with closing(TableReader(database.dsn, OTHER)) as reader:
        for count in (None, 1):
            with pytest.raises(ForeignJournalError, match=f"{CLUSTER.hex()}.*{OTHER.hex()}"):
                list(reader.scan(None, count))
    with (
        closing(TableReader(database.dsn, CLUSTER, 7)) as reader,
        pytest.raises(NoJournalError, match="no journal of partition 7"),
    ):
        reader.standing()


def test_reading_goes_on_beside_a_writer(both: list[JournalReader], database: Database) -> None:
    """What is committed after a reader looked is there when it looks again; a cut link heals."""
    reader = both[1]
    *_, last = reader.scan()
    raw = forged(last.after, 2, Writer(CLUSTER, 0, 2, bytes(16)))
    insert = f"""INSERT INTO de39.batch VALUES (0, 13, 2, {last.after.seq}, 2,
        '\\x{head_of(raw).hex()}', '\\x{raw.hex()}');
        UPDATE de39.head SET batch_no = 14, seq = seq + 2, head = '\\x{head_of(raw).hex()}'"""
    assert list(reader.scan(last.after, 5)) == []
    database.execute(insert)
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with suppress(StoreUnavailable):  # its connection has gone
        list(reader.scan(last.after, 5))
    found = list(reader.scan(last.after, 5))
    assert [batch.header.batch_no for batch in found] == [13]
    assert np.array_equal(found[0].records, records_from(463, 2))
