"""Segment files made as copies are those that a file store cuts, and it goes on behind them."""

import errno
from pathlib import Path

import pytest

from ledger.disk import OsDisk
from ledger.errors import StorageError
from ledger.journal import PAGE_BYTES, Blob, bytes_of
from ledger.recovery import Scan, SegmentFile
from ledger.segment import segment_indexes, segment_path
from ledger.segment_copy import SegmentWriter, copy_segments
from tests.ledger.fake_disk import FakeDisk
from tests.ledger.journals import DATA, append, opened

SIZE = 32 * 1024


def journal(data: Path) -> Path:
    """Make a journal of several segments, with blobs and an empty batch."""
    store = opened(data, segment_bytes=SIZE)
    for count in (3, 0, 1, 60, 100, 2, 140, 5, 1, 1, 90):
        append(store, count, blobs=[Blob(0, 1, b"operator")] if count % 2 else ())
    store.close()
    return data


def starts(data: Path) -> list[tuple[object, ...]]:
    """Return what the header of each segment says of its place."""
    found = []
    for index in segment_indexes(OsDisk(), data):
        file = SegmentFile(OsDisk(), segment_path(data, index))
        file.close()
        found.append(tuple(file.header.start))
    return found


def test_the_cuts_and_bytes_are_those_of_the_store(tmp_path: Path) -> None:
    """Same segments, same batches in them byte for byte, no zeros behind; and it is written on."""
    data, copy = journal(tmp_path / "data"), tmp_path / "copy"
    with SegmentWriter(copy, segment_bytes=SIZE) as writer:
        for batch in Scan(data):
            writer.add(batch)
    assert starts(copy) == starts(data)
    for index in segment_indexes(OsDisk(), data):
        whole, mine = (segment_path(place, index).read_bytes() for place in (data, copy))
        assert whole[PAGE_BYTES:].rstrip(b"\0") == mine[PAGE_BYTES:].rstrip(b"\0")
        assert not whole[len(mine) :].strip(b"\0")
    scan = Scan(copy)
    assert [bytes_of(batch) for batch in scan] == [bytes_of(batch) for batch in Scan(data)]
    assert (scan.end, scan.torn, writer.records) == (writer.end, None, scan.end.seq - 1)
    store = opened(copy, segment_bytes=SIZE)
    append(store, 7)
    store.close()
    again = Scan(copy)
    assert [batch.header.epoch for batch in again][-1] == 2
    assert again.end.seq == writer.end.seq + 7


def test_a_batch_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    """Another store takes larger batches than a small segment would."""
    data = journal(tmp_path / "data")
    with SegmentWriter(tmp_path / "copy", segment_bytes=2 * PAGE_BYTES) as writer:
        for batch in Scan(data):
            writer.add(batch)
    assert len(segment_indexes(OsDisk(), tmp_path / "copy")) == 11
    assert [b.head for b in Scan(tmp_path / "copy")] == [b.head for b in Scan(data)]


def test_a_copy_may_end_anywhere(tmp_path: Path) -> None:
    """Files copied up to a place hold what is before it and zeros to their length."""
    data = journal(tmp_path / "data")
    for number, batch in enumerate(Scan(data)):
        copy_segments(data, tmp_path / str(number), batch.after)
        scan = Scan(tmp_path / str(number))
        assert len(list(scan)) == number + 1
        assert (scan.end, scan.torn) == (batch.after, None)


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EIO, "short"])
def test_a_disk_that_refuses_leaves_no_segment(failure: int | str, tmp_path: Path) -> None:
    """Whatever write, sync or rename fails: what has a name is whole, and the error says which."""
    batches = list(Scan(journal(tmp_path / "data")))
    calls, fail_at = 1, -1  # the first round fails nothing and counts
    while fail_at < calls:
        disk = FakeDisk()
        disk.fail_at, disk.failure, failed = fail_at, failure, False
        try:
            with SegmentWriter(DATA, segment_bytes=SIZE, disk=disk) as writer:
                for batch in batches:
                    writer.add(batch)
        except StorageError:
            failed = True
        assert not disk._open
        found = [b.head for b in Scan(DATA, disk=disk)] if segment_indexes(disk, DATA) else []
        assert found == [batch.head for batch in batches][: len(found)]
        assert failed or len(found) == len(batches)
        calls, fail_at = max(calls, disk.calls), fail_at + 1
    assert calls > len(batches)
