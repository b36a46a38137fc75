"""The file store: fence, segments, locks, and what a crash or a failing disk leaves."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import (
    ForeignJournalError,
    NoJournalError,
    RotError,
    StorageError,
    StorageInUse,
)
from ledger.journal import BatchEncoder, Position
from ledger.recovery import Scan
from ledger.segment import segment_path
from ledger.stores.base import Expect, Outcome
from ledger.stores.file import lock_folder, open_file_store
from tests.ledger.fake_disk import FakeDisk, PowerCut
from tests.ledger.journals import CLUSTER, DATA, append, opened, read_all, records_from
from tests.support.effort import examples

TINY = 16 * 1024
COUNTS = (1, 25, 3, 40, 2)  # a page, two, one, two, one: the third and fifth begin new segments


def test_records_come_back_after_reopening(tmp_path: Path) -> None:
    """What was appended over several segments is read back, in order, at the next opening."""
    store = opened(tmp_path, segment_bytes=TINY)
    for count in COUNTS:
        assert append(store, count) is Outcome.OK
    end = store.position
    store.close()
    seen: list[int] = []
    store = open_file_store(tmp_path, on_batch=lambda b: seen.extend(b.records["seq"].tolist()))
    store.close()
    assert seen == list(range(1, 72))
    assert store.position == end
    assert end.segment > 1


def test_files_are_private(tmp_path: Path) -> None:
    """Only the owner may read the journal."""
    data = tmp_path / "data"
    opened(data).close()
    assert data.stat().st_mode & 0o777 == 0o700
    for path in data.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_epoch_rises_at_each_opening() -> None:
    """Two openings never write under one epoch, even when the epoch file is lost."""
    disk = FakeDisk()
    store = opened(DATA, disk)
    append(store, 1)
    assert store.writer.epoch == 1
    assert opened(DATA, disk).writer.epoch == 2
    store = opened(DATA, disk)
    append(store, 1)
    disk.unlink(DATA / "journal" / "epoch")
    assert opened(DATA, disk).writer.epoch == 4


def test_stale_expectation_writes_nothing() -> None:
    """A writer that is wrong about epoch, sequence or head is told so."""
    disk = FakeDisk()
    store = opened(DATA, disk)
    append(store, 2)
    at = store.position
    batch = BatchEncoder(store.writer).encode([(records_from(at.seq, 1), ())], at, 0)
    calls = disk.calls
    for expect in (
        Expect(store.writer.epoch + 1, at.seq, at.head),
        Expect(store.writer.epoch, at.seq - 1, at.head),
        Expect(store.writer.epoch, at.seq, bytes(32)),
    ):
        assert store.append(batch, expect) is Outcome.STALE
    assert disk.calls == calls


def test_wrong_batch_is_refused() -> None:
    """A batch that is not the next one, or too long, is the caller's mistake."""
    store = opened(DATA, FakeDisk(), segment_bytes=TINY)
    with pytest.raises(ValueError, match="over the bound"):
        append(store, 100)
    other = BatchEncoder(store.writer).encode([(records_from(1, 1), ())], Position(batch_no=2), 0)
    with pytest.raises(ValueError, match="follows"):
        store.append(other, Expect(1, 1, bytes(32)))


def test_folder_in_use_names_the_holder(tmp_path: Path) -> None:
    """A second process is refused with the first one's process id; it may read all the same."""
    store = opened(tmp_path)
    append(store, 3)
    code = (
        "import sys; from pathlib import Path; from ledger.stores.file import open_file_store\n"
        "from ledger.errors import StorageInUse\n"
        "try: open_file_store(Path(sys.argv[1]))\n"
        "except StorageInUse as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert f"in use by process {os.getpid()}" in done.stdout
    assert len(read_all(tmp_path)) == 3
    store.close()
    os.close(lock_folder(tmp_path))


def test_caller_may_hold_the_lock(tmp_path: Path) -> None:
    """An engine locks the folder first and then opens the journal in it."""
    lock = lock_folder(tmp_path)
    open_file_store(tmp_path, is_locked=True, segment_bytes=TINY).close()
    with pytest.raises(StorageInUse):
        lock_folder(tmp_path)
    os.close(lock)


def test_segments_are_written_ahead_in_the_background(tmp_path: Path) -> None:
    """The spare segment of the background thread is used, and none is left behind."""
    store = open_file_store(tmp_path, segment_bytes=TINY)
    for _ in range(12):
        append(store, 5)
    store.close()
    store.close()
    assert len(read_all(tmp_path)) == 60
    assert not list(tmp_path.rglob("*.tmp"))


def test_foreign_journal_is_refused() -> None:
    """A folder of another cluster or partition is not touched."""
    disk = FakeDisk()
    opened(DATA, disk).close()
    with pytest.raises(ForeignJournalError, match="cluster"):
        open_file_store(DATA, cluster=bytes(16), disk=disk)
    with pytest.raises(ForeignJournalError, match="partition"):
        open_file_store(DATA, partition=1, disk=disk)


def test_lost_segments_are_not_taken_for_a_new_journal() -> None:
    """An epoch file or a snapshot without segments means that segments were lost."""
    disk = FakeDisk()
    opened(DATA, disk).close()
    disk.unlink(segment_path(DATA, 1))
    with pytest.raises(NoJournalError):
        opened(DATA, disk)
    with pytest.raises(NoJournalError, match="snapshot"):
        open_file_store(DATA, at_least_seq=5, disk=FakeDisk())


def test_damaged_epoch_file_is_named() -> None:
    """A damaged epoch file says that it may be deleted."""
    disk = FakeDisk()
    opened(DATA, disk).close()
    disk.names_now[DATA / "journal" / "epoch"].now[3] ^= 1
    with pytest.raises(RotError, match="deleted"):
        opened(DATA, disk)


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (errno.EIO, "input/output error"),
        (errno.ENOSPC, "disk full"),
        ("short", "short write"),
    ],
)
def test_first_failure_ends_the_store(failure: int | str, text: str) -> None:
    """Whichever call fails, in a batch or at the turn of a segment, nothing is taken after."""
    for call in range(12):
        disk = FakeDisk()
        store = opened(DATA, disk, segment_bytes=TINY)
        disk.fail_at = disk.calls + call
        disk.failure = failure
        durable, error = 0, None
        for _ in range(8):
            try:
                append(store, 20)
                durable += 20
            except StorageError as found:
                error = found
                break
        if error is None:
            assert failure == "short"  # the call was a sync or rename, which cannot be short
            continue
        assert text in str(error)
        calls = disk.calls
        with pytest.raises(StorageError, match="stopped after an earlier error"):
            append(store, 1)
        assert disk.calls == calls
        store.close()
        disk.fail_at = -1
        assert len(read_all(DATA, disk)) >= durable


def crashed(fail_at: int) -> tuple[FakeDisk, int]:
    """Run the scenario until the power fails; return the disk and how much was acknowledged."""
    disk = FakeDisk()
    disk.fail_at = fail_at
    disk.failure = "stop"
    acknowledged = 0
    try:
        store = opened(DATA, disk, segment_bytes=TINY)
        for count in COUNTS:
            append(store, count)
            acknowledged += count
    except PowerCut:
        pass
    return disk, acknowledged


def calls_of_scenario() -> int:
    """Return how many disk calls the scenario makes."""
    return crashed(-1)[0].calls


def check_recovery(found: FakeDisk, acknowledged: int) -> None:
    """Reopen: the acknowledged records are there, the batch in flight whole or not at all."""
    steps = np.cumsum((0, *COUNTS)).tolist()
    store = opened(DATA, found, segment_bytes=TINY)
    records = read_all(DATA, found)
    following = [step for step in steps if step > acknowledged][:1]
    assert len(records) in [acknowledged, *following]
    position = 0
    for count in COUNTS:
        part = records[position : position + count]
        position += count
        assert (part == records_from(position - count + 1, count)[: len(part)]).all()
    append(store, 2)
    assert len(read_all(DATA, found)) == len(records) + 2


def test_power_loss_at_any_call_keeps_what_was_acknowledged() -> None:
    """For each call: none, all, every other and single pieces of the un-synced bytes survive."""
    for call in range(calls_of_scenario() + 1):
        disk, acknowledged = crashed(call)
        choices: list[Callable[[int], bool]] = [
            lambda _: False,
            lambda _: True,
            lambda n: n % 2 == 0,
            lambda n: n % 2 == 1,
        ]
        for piece in range(disk.unsynced_pieces()):
            choices.append(lambda n, piece=piece: n == piece)
            choices.append(lambda n, piece=piece: n != piece)
        for keep in choices[: 40 if disk.unsynced_pieces() < 40 else 4]:
            for names in {0, len(disk.name_changes)}:
                check_recovery(disk.after_power_loss(keep, names), acknowledged)


@settings(max_examples=examples(60))
@given(data=st.data())
def test_power_loss_with_any_subset_and_a_second_crash(data: st.DataObject) -> None:
    """Any subset of pieces, then a second power loss anywhere in the recovery."""
    disk, acknowledged = crashed(data.draw(st.integers(0, calls_of_scenario())))
    mask = data.draw(st.integers(0, 2**64 - 1))
    found = disk.after_power_loss(lambda n: bool(mask >> n % 64 & 1))
    found.fail_at = data.draw(st.integers(0, 8))
    found.failure = "stop"
    try:
        opened(DATA, found, segment_bytes=TINY)
    except PowerCut:
        second = data.draw(st.integers(0, 2**64 - 1))
        found = found.after_power_loss(lambda n: bool(second >> n % 64 & 1))
    found.fail_at = -1
    check_recovery(found, acknowledged)


def test_torn_tail_is_cut_and_reported() -> None:
    """The fact is there for the log: which file, where, how much."""
    disk = FakeDisk()
    store = opened(DATA, disk)
    append(store, 3)
    disk.fail_at = disk.calls + 1
    disk.failure = "stop"
    with pytest.raises(PowerCut):
        append(store, 40)
    found = disk.after_power_loss(lambda n: n % 3 == 0)
    torn = opened(DATA, found).torn
    assert torn is not None
    assert (torn.segment, torn.offset, torn.batch_no) == ("00000001.seg", 8192, 2)
    scan = Scan(DATA, disk=found)
    assert sum(len(batch.records) for batch in scan) == 3
    assert scan.torn is None


def test_last_batch_is_synced_again_before_its_answers_can_go_out() -> None:
    """A batch found in memory only is written and synced at opening: it survives a cut."""
    disk = FakeDisk()
    store = opened(DATA, disk)
    append(store, 3)
    disk.fail_at = disk.calls + 1
    disk.failure = errno.EIO
    with pytest.raises(StorageError):
        append(store, 5)
    disk.fail_at = -1
    for file in disk.names_now.values():
        file.pieces.clear()  # the kernel takes the pages for clean after the failed sync
    reopened = opened(DATA, disk)
    assert reopened.position.seq == 9
    found = disk.after_power_loss(lambda _: False)
    assert len(read_all(DATA, found)) == 8
    assert opened(DATA, found).writer.cluster == CLUSTER
