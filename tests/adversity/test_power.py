"""Power loss with any part of what was not synced: what was acknowledged is there afterwards.

A disk in memory keeps synced bytes and any chosen subset of the un-synced pieces of 512 bytes or
4 KiB. A short run is tried at every call with every subset; long ones are drawn at random, with
several losses one after the other. ``DE39_FAULT_ROUNDS=1000`` runs longer.
"""

import random

import pytest

from ledger.journal import Position
from ledger.recovery import Scan
from ledger.stores.file import FileStore
from tests.ledger.fake_disk import FakeDisk, PowerCut
from tests.ledger.journals import DATA, append, opened, records_from

TINY = 16 * 1024
SUBSETS_MAX = 512


def run(disk: FakeDisk, counts: list[int]) -> list[Position]:
    """Open and append batches of ``counts`` until the power fails; return the durable ends."""
    ends: list[Position] = []
    try:
        store: FileStore = opened(DATA, disk, segment_bytes=TINY)
        ends.append(store.position)
        for count in counts:
            append(store, count)
            ends.append(store.position)
    except PowerCut:
        pass
    return ends


def check(found: FakeDisk, ends: list[Position], counts: list[int]) -> None:
    """The journal ends at the last acknowledged batch or one batch later; every byte is right."""
    if not ends:
        return
    scan = Scan(DATA, disk=found)
    for batch in scan:
        expected = records_from(batch.header.first_seq, len(batch.records))
        assert batch.records.tobytes() == expected.tobytes()
    done = len(ends) - 1
    allowed = {ends[-1].batch_no, ends[-1].batch_no + (done < len(counts))}
    assert scan.end.batch_no in allowed
    if scan.end.batch_no == ends[-1].batch_no:
        assert scan.end.head == ends[-1].head


@pytest.mark.parametrize("piece", [512, 4096])
def test_every_subset_at_every_call_of_a_short_run(piece: int) -> None:
    """All subsets of up to nine pieces, every prefix of the name changes, at each call."""
    counts = [3, 1, 14, 2]
    whole = FakeDisk(piece)
    run(whole, counts)
    for call in range(whole.calls + 1):
        disk = FakeDisk(piece)
        disk.fail_at, disk.failure = call, "stop"
        ends = run(disk, counts)
        pieces = disk.unsynced_pieces()
        subsets = range(1 << pieces) if 1 << pieces <= SUBSETS_MAX else _some(pieces, call)
        for mask in subsets:
            for names in range(len(disk.name_changes) + 1):
                found = disk.after_power_loss(lambda n, mask=mask: bool(mask >> n & 1), names)
                check(found, ends, counts)


def _some(pieces: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    ends = [0, (1 << pieces) - 1]
    return ends + [draw.getrandbits(pieces) for _ in range(40)]


@pytest.mark.timeout(7200)  # for as many rounds as are asked for
def test_random_losses_one_after_the_other(fault_rounds: int) -> None:
    """Each round: several lives of one journal, each cut anywhere, with any subset surviving."""
    for number in range(fault_rounds):
        draw = random.Random(number)
        disk = FakeDisk(draw.choice((512, 4096)))
        acknowledged = Position()
        for _ in range(draw.randint(2, 6)):
            counts = [draw.randint(1, 45) for _ in range(draw.randint(1, 12))]
            disk.fail_at, disk.failure = disk.calls + draw.randint(0, 40), "stop"
            ends = run(disk, counts)
            if ends:
                check_grown(acknowledged, ends[0])
                acknowledged = ends[-1]
            bits = draw.getrandbits(4096)
            names = draw.randint(0, len(disk.name_changes))
            disk = disk.after_power_loss(lambda n, bits=bits: bool(bits >> n % 4096 & 1), names)
        disk.fail_at = -1
        store = opened(DATA, disk, segment_bytes=TINY)
        check_grown(acknowledged, store.position)
        for batch in Scan(DATA, disk=disk):
            expected = records_from(batch.header.first_seq, len(batch.records))
            assert batch.records.tobytes() == expected.tobytes()


def check_grown(acknowledged: Position, found: Position) -> None:
    """Nothing acknowledged is missing; at most the one batch in flight came on top."""
    assert 0 <= found.batch_no - acknowledged.batch_no <= 1
    if found.batch_no == acknowledged.batch_no:
        assert found.head == acknowledged.head
