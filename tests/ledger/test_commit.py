"""Group commit: order, grouping, bounds, and silence after the first failure."""

import errno
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.commit import CommitJob, Committer
from ledger.errors import (
    CommitQueueFull,
    StaleWriterError,
    StorageError,
    UnknownOutcomeError,
)
from ledger.journal import (
    BatchEncoder,
    Blob,
    Position,
    Writer,
    advanced,
    head_of,
    header_from_bytes,
)
from ledger.record import RECORD
from ledger.recovery import Scan
from ledger.stores.base import Expect, Outcome
from tests.ledger.fake_disk import FakeDisk
from tests.ledger.journals import CLUSTER, DATA, commit_all, opened, read_all, records_from
from tests.support.effort import examples


class HeldStore:
    """A store whose appends wait for ``gate`` and answer ``outcome``."""

    def __init__(self, outcome: Outcome = Outcome.OK) -> None:
        self.writer = Writer(CLUSTER, 0, 1, bytes(16))
        self.max_batch_bytes = 1 << 20
        self.position = Position()
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.outcome = outcome

    def append(self, batch: memoryview, expect: Expect) -> Outcome:  # noqa: ARG002
        """Wait, then answer."""
        self.entered.set()
        assert self.gate.wait(30)
        return self.outcome

    def close(self) -> None:
        """Nothing is held."""


def jobs_of(counts: list[int], start: int = 1) -> list[CommitJob]:
    """Return jobs of ``counts`` records, numbered on."""
    seqs = np.cumsum([start, *counts]).tolist()
    return [
        CommitJob(records_from(seq, count), 5, token=seq)
        for seq, count in zip(seqs, counts, strict=False)
    ]


@settings(max_examples=examples(30))
@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_any_grouping_gives_the_same_records(counts: list[int]) -> None:
    """However jobs fall into batches, the journal holds their records in order, all reported."""
    disk = FakeDisk()
    store = opened(DATA, disk, segment_bytes=1 << 20)
    jobs = jobs_of(counts)
    acknowledged, failures = commit_all(store, jobs)
    assert acknowledged == jobs
    assert failures == []
    expected = [job.records for job in jobs]
    assert (read_all(DATA, disk) == np.concatenate(expected)).all()
    ends = [job.position.seq for job in jobs if job.position is not None]
    assert all(end >= seq for end, seq in zip(ends, np.cumsum([1, *counts])[1:], strict=True))


def test_jobs_that_wait_share_one_batch() -> None:
    """While one group is written the rest gather and go together, blobs with their records."""
    store = HeldStore()
    done: list[list[CommitJob]] = []
    committer = Committer(store, done.append, lambda _: None)
    first, *rest = jobs_of([2, 3, 4, 5])
    committer.submit(first)
    assert store.entered.wait(30)
    for job in rest:
        committer.submit(job)
    assert committer.depth == 4
    assert committer.held_bytes == 14 * RECORD.itemsize
    store.gate.set()
    committer.close()
    assert done == [[first], rest]
    assert (committer.depth, committer.held_bytes) == (0, 0)
    assert committer.stats.group_records[:2].tolist() == [2, 12]
    assert committer.stats.group_jobs[:2].tolist() == [1, 3]
    assert (committer.stats.append_ns[:2] > 0).all()


def test_what_is_hashed_ahead_gives_the_same_records() -> None:
    """Long jobs are encoded by the second thread while one is written; order and bytes hold."""
    store = HeldStore()
    written: list[bytes] = []
    append = store.append

    def keep(batch: memoryview, expect: Expect) -> Outcome:
        outcome = append(batch, expect)
        written.append(bytes(batch))
        header = header_from_bytes(bytes(batch[:256]))
        assert header is not None
        store.position = advanced(store.position, header, head_of(batch), len(batch))
        return outcome

    store.append = keep
    done: list[CommitJob] = []
    committer = Committer(store, done.extend, lambda _: None)
    jobs = jobs_of([100, 200, 1, 300, 400])
    committer.submit(jobs[0])
    assert store.entered.wait(30)
    for job in jobs[1:]:
        committer.submit(job)
    store.gate.set()
    committer.close()
    assert done == jobs
    at, expected = Position(), []
    for part in (jobs[:1], jobs[1:]):
        encoder = BatchEncoder(store.writer)
        batch = bytes(encoder.encode([(job.records, ()) for job in part], at, 5))
        expected.append(batch)
        header = header_from_bytes(batch)
        assert header is not None
        at = advanced(at, header, head_of(batch), len(batch))
    assert written == expected


def test_full_groups_wait_encoded() -> None:
    """While one group is written the next are encoded and finished; each is as if made alone."""
    store = HeldStore()
    written: list[bytes] = []
    answer = store.append

    def keep(batch: memoryview, expect: Expect) -> Outcome:
        outcome = answer(batch, expect)
        written.append(bytes(batch))
        store.position = _after(written[-1], store.position)
        return outcome

    store.append = keep
    done: list[list[CommitJob]] = []
    committer = Committer(store, done.append, lambda _: None, group_records_max=300)
    jobs = jobs_of([100, 200, 100, 250, 300, 90, 90, 90, 299])
    committer.submit(jobs[0])
    assert store.entered.wait(30)
    for job in jobs[1:]:
        committer.submit(job)
    store.gate.set()
    committer.close()
    groups = [jobs[:1], jobs[1:3], jobs[3:4], jobs[4:5], jobs[5:8], jobs[8:]]
    assert done == groups
    at = Position()
    for group, batch in zip(groups, written, strict=True):
        parts = [(job.records, ()) for job in group]
        assert batch == bytes(BatchEncoder(store.writer).encode(parts, at, 5))
        at = _after(batch, at)


def _after(batch: bytes, at: Position) -> Position:
    header = header_from_bytes(batch)
    assert header is not None
    return advanced(at, header, head_of(batch), len(batch))


def test_trouble_of_the_second_thread_stops_the_committer() -> None:
    """A job that cannot be encoded ahead fails the committer once, after what was written."""
    store = HeldStore()
    done: list[CommitJob] = []
    failures: list[Exception] = []
    committer = Committer(store, done.extend, failures.append)
    jobs = jobs_of([1, 200])
    committer.submit(jobs[0])
    assert store.entered.wait(30)

    def full(*_: object) -> None:
        raise MemoryError

    committer._gathering.encoder.add = full
    committer.submit(jobs[1])
    store.gate.set()
    committer.close()
    assert done == jobs[:1]
    assert [type(error) for error in failures] == [MemoryError]


def test_blob_rows_follow_their_records(tmp_path: Path) -> None:
    """A blob's row is counted in the batch once jobs are joined."""
    store = opened(tmp_path)
    jobs = jobs_of([3, 2, 4])
    for job in jobs:
        job.blobs = [Blob(1, 1, b"operator %d" % job.token)]
    commit_all(store, jobs)
    store.close()
    found = {
        int(batch.records["seq"][blob.row]): blob.data
        for batch in Scan(tmp_path)
        for blob in batch.blobs
    }
    assert found == {2: b"operator 1", 5: b"operator 4", 7: b"operator 6"}


def test_barrier_is_reported_after_what_came_before() -> None:
    """A job without records waits for the ones before it and writes nothing itself."""
    disk = FakeDisk()
    store = opened(DATA, disk)
    jobs = [*jobs_of([3]), CommitJob(np.zeros(0, RECORD), 5)]
    acknowledged, _ = commit_all(store, jobs)
    assert acknowledged == jobs
    assert len(list(Scan(DATA, disk=disk))) == 1
    assert jobs[1].position == store.position


def test_queue_is_bounded_and_submit_never_blocks() -> None:
    """Past the bound a job is refused at once, and there is room again when it has drained."""
    store = HeldStore()
    committer = Committer(store, lambda _: None, lambda _: None, queue_jobs_max=3)
    jobs = jobs_of([1] * 4)
    for job in jobs[:3]:
        assert committer.has_room
        committer.submit(job)
    assert not committer.has_room
    with pytest.raises(CommitQueueFull):
        committer.submit(jobs[3])
    store.gate.set()
    committer.close()
    assert committer.has_room
    with pytest.raises(StorageError, match="stopped"):
        committer.submit(jobs[3])


def test_closing_without_draining_drops_what_waits() -> None:
    """Only the group being written is finished."""
    store = HeldStore()
    done: list[CommitJob] = []
    committer = Committer(store, done.extend, lambda _: None)
    first, second = jobs_of([1, 1])
    committer.submit(first)
    assert store.entered.wait(30)
    committer.submit(second)
    threading.Thread(target=store.gate.set).start()
    committer.close(drain=False)
    assert first in done


@pytest.mark.parametrize(
    ("outcome", "error"),
    [(Outcome.STALE, StaleWriterError), (Outcome.UNKNOWN, UnknownOutcomeError)],
)
def test_outcome_that_is_not_ok_stops(outcome: Outcome, error: type[StorageError]) -> None:
    """Stale or unknown is never acknowledged."""
    store = HeldStore(outcome)
    store.gate.set()
    acknowledged, failures = commit_all(store, jobs_of([1, 1, 1]))
    assert acknowledged == []
    assert [type(failure) for failure in failures] == [error]


@pytest.mark.parametrize("failure", [errno.EIO, errno.ENOSPC, "short"])
def test_nothing_is_acknowledged_after_a_disk_failure(failure: int | str) -> None:
    """Whichever disk call fails: told once, and what was acknowledged is in the journal."""
    for call in range(12):
        disk = FakeDisk()
        store = opened(DATA, disk, segment_bytes=16 * 1024)
        disk.fail_at = disk.calls + call
        disk.failure = failure
        jobs = jobs_of([12] * 12)
        acknowledged, failures = commit_all(store, jobs)
        assert acknowledged == jobs[: len(acknowledged)]
        assert len(failures) == (len(acknowledged) < len(jobs))
        assert all(isinstance(error, StorageError) for error in failures)
        found = disk.after_power_loss(lambda _: False)
        assert len(read_all(DATA, found)) >= 12 * len(acknowledged)


def test_error_in_the_callback_is_a_failure_too() -> None:
    """If answers cannot be handed on, the engine must hear of it."""
    failures: list[Exception] = []
    told = threading.Event()

    def broken(_: list[CommitJob]) -> None:
        raise RuntimeError("loop is closed")

    def on_failure(error: Exception) -> None:
        failures.append(error)
        told.set()

    committer = Committer(opened(DATA, FakeDisk()), broken, on_failure)
    committer.submit(jobs_of([1])[0])
    assert told.wait(30)
    committer.close()
    assert str(failures[0]) == "loop is closed"
    assert committer.failure is failures[0]


def test_job_that_cannot_be_written_is_refused_at_the_door() -> None:
    """Gaps, foreign arrays, stray blobs and over-long jobs never reach the thread."""
    committer = Committer(opened(DATA, FakeDisk()), lambda _: None, lambda _: None)
    gap = records_from(1, 3)
    gap["seq"][2] = 9
    for records, blobs in (
        (records_from(2, 1), ()),
        (gap, ()),
        (records_from(1, 4)[::2], ()),
        (np.zeros(3), ()),
        (records_from(1, 1), [Blob(1, 1, b"")]),
        (records_from(1, 1), [Blob(0, 1, bytes(401))]),
        (records_from(1, 400), ()),
    ):
        with pytest.raises(ValueError, match=r"job|blob|next"):
            committer.submit(CommitJob(records, 5, blobs))
    committer.submit(CommitJob(records_from(1, 1), 5))
    committer.close()
