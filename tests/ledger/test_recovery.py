"""Reading back: every byte counts, and damage is told from an unfinished write."""

import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.disk import OsDisk
from ledger.errors import (
    ForeignJournalError,
    FormatVersionError,
    LedgerError,
    NoJournalError,
    RotError,
)
from ledger.journal import Blob, Position
from ledger.recovery import Scan, scan_running
from ledger.segment import segment_path
from tests.ledger.fake_disk import FakeDisk
from tests.ledger.journals import DATA, append, opened, read_all, records_from
from tests.oracle.journal import read_journal
from tests.support.effort import examples

TINY = 16 * 1024
PAGE = 4096


def journal_of(counts: list[int], segment_bytes: int = TINY) -> FakeDisk:
    """Return a disk with a closed journal of batches of ``counts`` records."""
    disk = FakeDisk()
    store = opened(DATA, disk, segment_bytes=segment_bytes)
    for count in counts:
        append(store, count)
    store.close()
    return disk


def bytes_of(disk: FakeDisk, index: int) -> bytearray:
    """Return the content of a segment, to be changed in place."""
    return disk.names_now[segment_path(DATA, index)].now


def damage(disk: FakeDisk) -> LedgerError | None:
    """Return what reading the journal says."""
    try:
        for _ in Scan(DATA, disk=disk):
            pass
    except LedgerError as error:
        return error
    return None


@settings(max_examples=examples(25))
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    operator=st.binary(min_size=1, max_size=40),
)
def test_second_reader_finds_the_same(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], operator: bytes
) -> None:
    """A reader with the standard library only reads the same records, blobs and heads."""
    data = tmp_path_factory.mktemp("journal")
    store = opened(data, segment_bytes=TINY)
    for count in counts:
        append(store, count, [Blob(count - 1, 1, operator)])
    head = store.position.head
    store.close()
    batches = list(Scan(data))
    theirs = read_journal(data)
    assert [b.records.tobytes() for b in batches] == [b"".join(b.records) for b in theirs]
    assert [[tuple(x) for x in b.blobs] for b in batches] == [b.blobs for b in theirs]
    assert [b.head for b in batches] == [b.head for b in theirs]
    assert theirs[-1].head == head
    expected = np.concatenate([records_from(b.header.first_seq, len(b.records)) for b in batches])
    assert (read_all(data) == expected).all()


def test_change_of_any_byte_is_reported_and_never_shortens() -> None:
    """Each byte in use or of the next header: rot, named. Further on: nothing is cut."""
    counts = [1, 3, 2, 2]
    disk = journal_of(counts)
    rng = np.random.default_rng(7)
    for index in (1, 2):
        content = bytes_of(disk, index)
        used = PAGE * (4 if index == 1 else 2)
        guarded = used + (0 if index == 1 else 512)
        dense = [n for page in range(0, used, PAGE) for n in range(page, page + 900)]
        for at in dense + list(range(0, len(content), 61)):
            change = int(rng.integers(1, 256))
            content[at] ^= change
            error = damage(disk)
            if at < guarded:
                assert isinstance(error, RotError), at
                assert error.segment == f"{index:08d}.seg"
                assert error.offset == at // PAGE * PAGE
            else:
                assert error is None
                assert len(read_all(DATA, disk)) == sum(counts)
            content[at] ^= change
    assert damage(disk) is None


def test_zeroed_sector_with_a_batch_after_it_is_rot() -> None:
    """An unfinished batch can only be the last one; with more after it, bytes were lost."""
    for index, sector in ((1, 0), (1, 1), (2, 0)):
        disk = journal_of([5, 5, 5, 5, 5])
        at = PAGE + sector * 512
        bytes_of(disk, index)[at : at + 512] = bytes(512)
        error = damage(disk)
        assert isinstance(error, RotError)
        assert "follows" in str(error)
        assert error.batch_no == (1 if index == 1 else 4)


def test_zeroed_batch_before_a_newer_segment_is_rot() -> None:
    """A newer segment proves that everything before it was durable."""
    disk = journal_of([5, 5, 5, 5])
    bytes_of(disk, 1)[3 * PAGE :] = bytes(PAGE)
    error = damage(disk)
    assert isinstance(error, RotError)
    assert "missing" in str(error)
    bytes_of(disk, 1)[3 * PAGE + 700] = 1
    error = damage(disk)
    assert isinstance(error, RotError)
    assert "newer segment" in str(error)


def test_known_record_that_is_gone_is_rot() -> None:
    """A cleanly zeroed tail is seen by whoever remembers a later record."""
    disk = journal_of([5, 5])
    bytes_of(disk, 1)[2 * PAGE : 3 * PAGE] = bytes(PAGE)
    assert damage(disk) is None
    with pytest.raises(RotError, match="ends at record 5, 10 was durable"):
        list(Scan(DATA, at_least_seq=10, disk=disk))


def test_truncated_segment_is_rot() -> None:
    """A segment has the size its header says, zeros included."""
    for size in (0, 100, PAGE, 2 * PAGE, TINY - 1):
        disk = journal_of([5, 5])
        del bytes_of(disk, 1)[size:]
        assert isinstance(damage(disk), RotError)


def test_swapped_batches_are_rot() -> None:
    """Batches in the wrong order are not read on."""
    disk = journal_of([5, 5, 5])
    content = bytes_of(disk, 1)
    content[PAGE : 2 * PAGE], content[2 * PAGE : 3 * PAGE] = (
        content[2 * PAGE : 3 * PAGE],
        content[PAGE : 2 * PAGE],
    )
    error = damage(disk)
    assert isinstance(error, RotError)
    assert "batch 2 stands where batch 1 should" in str(error)


def test_batch_of_another_history_is_rot() -> None:
    """A valid batch with the right number from another history does not fit the chain."""
    disk, other = journal_of([5, 5]), journal_of([6, 5])
    bytes_of(disk, 1)[2 * PAGE : 3 * PAGE] = bytes_of(other, 1)[2 * PAGE : 3 * PAGE]
    error = damage(disk)
    assert isinstance(error, RotError)
    assert "chain" in str(error)


def test_old_copy_of_a_segment_is_rot() -> None:
    """A segment put back from an earlier copy is too short for the one after it."""
    early, disk = journal_of([5, 5]), journal_of([5, 5, 5, 5])
    bytes_of(disk, 1)[:] = bytes_of(early, 1)
    assert isinstance(damage(disk), RotError)


def test_misplaced_or_missing_segment_is_rot() -> None:
    """A segment under another name, or a gap in the names, is named."""
    disk = journal_of([5] * 8)
    bytes_of(disk, 2)[:] = bytes_of(disk, 1)
    assert "file holds segment 1" in str(damage(disk))
    disk = journal_of([5] * 8)
    disk.unlink(segment_path(DATA, 2))
    error = damage(disk)
    assert isinstance(error, RotError)
    assert error.segment == "00000002.seg"
    disk.unlink(segment_path(DATA, 1))
    assert "00000001.seg" in str(damage(disk))


def test_damaged_journal_is_not_changed_by_opening_it() -> None:
    """Opening for writing refuses rot and leaves every segment byte as it was."""
    disk = journal_of([5, 5])
    bytes_of(disk, 1)[PAGE + 300] ^= 1
    before = bytes(bytes_of(disk, 1))
    with pytest.raises(RotError):
        opened(DATA, disk)
    assert bytes_of(disk, 1) == before


def test_newer_format_is_told_apart_from_damage() -> None:
    """A valid header of a later format asks for the newer program."""
    for at in (0, PAGE):
        disk = journal_of([5])
        content = bytes_of(disk, 1)
        struct.pack_into("<H", content, at + 8, 2)
        struct.pack_into("<I", content, at + 252, zlib.crc32(content[at : at + 252]))
        error = damage(disk)
        assert isinstance(error, FormatVersionError)
        assert "newer de39" in str(error)


def test_batch_of_another_cluster_is_foreign() -> None:
    """A staging batch in a production journal is called what it is."""
    disk = journal_of([5])
    content = bytes_of(disk, 1)
    content[PAGE + 16] ^= 1
    struct.pack_into("<I", content, PAGE + 252, zlib.crc32(content[PAGE : PAGE + 252]))
    assert isinstance(damage(disk), ForeignJournalError)


def test_folder_without_a_journal_is_named(tmp_path: Path) -> None:
    """Reading where nothing is says where it looked."""
    with pytest.raises(NoJournalError, match=str(tmp_path)):
        list(Scan(tmp_path))


@settings(max_examples=examples(30))
@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=8), data=st.data())
def test_reading_from_any_position_gives_the_rest(counts: list[int], data: st.DataObject) -> None:
    """Every position a scan passes is a place to start the next one."""
    disk = journal_of(counts)
    batches = list(Scan(DATA, disk=disk))
    at = data.draw(st.integers(0, len(batches) - 1))
    rest = list(Scan(DATA, start=batches[at].after, disk=disk))
    assert [b.head for b in rest] == [b.head for b in batches[at + 1 :]]


def test_start_outside_the_journal_is_rot() -> None:
    """A snapshot of another or a longer journal is not read on from."""
    disk = journal_of([5, 5])
    end = list(Scan(DATA, disk=disk))[-1].after
    for start in (
        end._replace(segment=4),
        end._replace(offset=TINY * 2),
        Position(segment=1, offset=2 * PAGE, batch_no=2, seq=6),
    ):
        with pytest.raises(RotError):
            list(Scan(DATA, start=start, disk=disk))


@pytest.mark.parametrize("counts", [[], [5], [5, 5], [9000], [5, 5, 5]])
def test_start_of_another_journal_or_a_later_one_is_rot(counts: list[int]) -> None:
    """What stands before the start is what the start goes on from, or nothing is read."""
    size = 16 * 1024 * 1024
    end = list(Scan(DATA, disk=journal_of([5, 5], size)))[-1].after
    with pytest.raises(RotError, match=r"another journal, or an older copy|not in it"):
        list(Scan(DATA, start=end, disk=journal_of(counts, size)))


@pytest.mark.parametrize("count", [1, 3000, 20_000])
def test_start_behind_a_batch_of_any_size(count: int) -> None:
    """The batch before is found however far back its header stands."""
    disk = journal_of([5, count], 16 * 1024 * 1024)
    end = list(Scan(DATA, disk=disk))[-1].after
    assert list(Scan(DATA, start=end, disk=disk)) == []


def test_reader_beside_a_running_writer_sees_whole_batches(tmp_path: Path) -> None:
    """Scans while batches are appended see a gapless beginning of the journal, never damage."""
    store = opened(tmp_path, segment_bytes=256 * 1024)
    append(store, 200)
    writer = threading.Thread(target=lambda: [append(store, 200) for _ in range(60)])
    writer.start()
    while writer.is_alive():
        seen = np.concatenate([batch.records["seq"] for batch in scan_running(tmp_path)])
        assert (seen == np.arange(1, len(seen) + 1)).all()
    store.close()
    assert sum(len(batch.records) for batch in scan_running(tmp_path)) == 61 * 200


def test_real_disk_reads_up_to_the_end(tmp_path: Path) -> None:
    """Reading past the end gives what is there."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    disk = OsDisk()
    handle = disk.open(path)
    buffer = bytearray(8)
    assert disk.read_into(handle, memoryview(buffer), 1) == 2
    assert buffer[:2] == b"bc"
    disk.close(handle)
