"""Rot of every byte of a small journal: detected, and told from a torn tail.

``DE39_FAULT_ROUNDS`` of 1,000 and more flips each single bit, else one value a byte.
"""

import pytest

from ledger.errors import LedgerError, RotError
from ledger.recovery import Scan
from ledger.segment import segment_path
from tests.ledger.fake_disk import FakeDisk
from tests.ledger.journals import DATA, append, opened

PAGE = 4096
TINY = 16 * 1024
SECTOR = 512


def journal_of(counts: list[int]) -> FakeDisk:
    """Return a disk with a closed journal of batches of ``counts`` records, a page each."""
    disk = FakeDisk()
    store = opened(DATA, disk, segment_bytes=TINY)
    for count in counts:
        append(store, count)
    store.close()
    return disk


def content(disk: FakeDisk, index: int = 1) -> bytearray:
    """Return the bytes of a segment, to be changed in place."""
    return disk.names_now[segment_path(DATA, index)].now


def read(disk: FakeDisk) -> tuple[int, bool, LedgerError | None]:
    """Return how many records are read, whether a torn tail follows, and what is reported."""
    scan = Scan(DATA, disk=disk)
    count = 0
    try:
        for batch in scan:
            count += len(batch.records)
    except LedgerError as error:
        return count, False, error
    return count, scan.torn is not None, None


def test_every_byte_of_a_small_journal(fault_rounds: int) -> None:
    """Header page and batches: rot, at the right page. Past the end: what is there stays."""
    counts = [5, 3]
    disk = journal_of(counts)
    data = content(disk)
    used = PAGE * 3
    changes = [1 << bit for bit in range(8)] if fault_rounds >= 1000 else [0x40]
    for at in range(TINY):
        for change in changes:
            data[at] ^= change
            count, is_torn, error = read(disk)
            data[at] ^= change
            if at < used:
                assert isinstance(error, RotError), at
                assert (error.segment, error.offset) == ("00000001.seg", at // PAGE * PAGE)
                assert count == sum(counts[: max(0, at // PAGE - 1)])
            elif at < used + SECTOR:
                assert isinstance(error, RotError), at  # a header there is neither whole nor absent
            else:
                assert (count, is_torn, error) == (sum(counts), True, None)
    assert read(disk) == (sum(counts), False, None)


def test_truncation_at_every_byte() -> None:
    """A segment has the size that its header states; any other is rot."""
    disk = journal_of([5, 3])
    file = disk.names_now[segment_path(DATA, 1)]
    whole = bytes(file.now)
    for size in range(TINY):
        file.now = bytearray(whole[:size])
        assert isinstance(read(disk)[2], RotError), size


@pytest.mark.parametrize(("source", "target"), [(1, 2), (2, 1), (1, 3), (3, 1), (0, 1), (1, 0)])
def test_a_misdirected_write(source: int, target: int) -> None:
    """A page that was written over another one is found out, wherever it came from."""
    disk = journal_of([5, 3, 4])
    data = content(disk)
    page = bytes(data[source * PAGE : (source + 1) * PAGE])
    data[target * PAGE : (target + 1) * PAGE] = page
    count, is_torn, error = read(disk)
    assert isinstance(error, RotError)
    assert not is_torn
    assert count <= 8


def test_swapped_batches_and_a_page_of_another_segment() -> None:
    """Order and place are part of the chain."""
    disk = journal_of([5, 3, 4, 2])
    data, second = content(disk), content(disk, 2)
    data[PAGE : 2 * PAGE], data[2 * PAGE : 3 * PAGE] = (
        data[2 * PAGE : 3 * PAGE],
        data[PAGE : 2 * PAGE],
    )
    assert isinstance(read(disk)[2], RotError)
    disk = journal_of([5, 3, 4, 2])
    data, second = content(disk), content(disk, 2)
    second[PAGE : 2 * PAGE] = data[PAGE : 2 * PAGE]
    assert isinstance(read(disk)[2], RotError)


def test_an_old_copy_of_the_last_segment_is_shorter_and_whole() -> None:
    """The one thing no reader can see by itself: whoever remembers more must say so."""
    early = journal_of([5, 3])
    disk = journal_of([5, 3, 4])
    content(disk)[:] = content(early)
    assert read(disk) == (8, False, None)
    with pytest.raises(RotError, match="ends at record 8, 12 was durable"):
        list(Scan(DATA, at_least_seq=12, disk=disk))
