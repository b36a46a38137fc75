"""Group commit: one thread that makes jobs durable in the order they were handed in.

While one group is being synced the next jobs gather; the thread then takes all that wait, up to a
bound, as one journal batch with one write and one sync. Nothing waits on a timer, so an idle engine
answers in about one sync and a loaded one in at most two. Where much gathers, a second thread
copies and hashes it meanwhile, so that the chain costs next to nothing over the bare write. In a
staged store a third thread waits for the groups while the next ones are sent, in order. After
the first failure nothing is acknowledged any more: the engine stops and recovery tells what is in
the journal.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ledger.errors import CommitQueueFull, StaleWriterError, StorageError, UnknownOutcomeError
from ledger.journal import (
    BatchEncoder,
    Blob,
    Position,
    Records,
    batch_bytes,
    blob_bytes,
    blob_is_valid,
    head_of,
)
from ledger.priority import raise_priority
from ledger.record import RECORD
from ledger.stores.base import Expect, Outcome, StagedStore, Store

GROUP_RECORDS_MAX = 8192  # 1.5 MiB: a longer group would make its first answer wait for the last
QUEUE_JOBS_MAX = 1024
QUEUE_BYTES_MAX = 64 * 1024 * 1024
AHEAD_BYTES = 16 * 1024  # less than this is hashed sooner than another thread wakes up
FLUSHING_MAX = 4  # groups of a staged store that are sent and not durable
_RING = 4096


@dataclass(slots=True, eq=False)
class CommitJob:
    """Records of one pipeline batch; the job owns them until it is durable.

    A job without records is a barrier: it is reported durable after all before it.

    Attributes
    ----------
    records
        ``RECORD[n]``, C-contiguous, ``seq`` set and following the job before; not changed later.
    ts_ns
        Engine time of the batch, Unix ns.
    blobs
        Blobs of these records, rows counted within the job.
    token
        Whatever the caller wants back.
    position
        Set when durable: the end of the journal after the journal batch that holds the job.
    """

    records: Records
    ts_ns: int
    blobs: Sequence[Blob] = ()
    token: object = None
    position: Position | None = None


@dataclass(slots=True, eq=False)
class _Group:
    """Jobs that will be one journal batch."""

    encoder: BatchEncoder
    jobs: list[CommitJob] = field(default_factory=list)
    added_count: int = 0  # jobs whose records are in the encoder already
    record_count: int = 0
    blob_bytes: int = 0
    started_ns: int = 0
    batch: memoryview | None = None  # its bytes, once finished
    after: Position | None = None  # what follows it, then; its segment and offset are not known
    _finished_for: tuple[int, bytes] = (0, b"")

    @property
    def bytes_held(self) -> int:
        """Return the record and blob bytes of the jobs."""
        return self.record_count * RECORD.itemsize + self.blob_bytes

    def take(self, job: CommitJob) -> None:
        """Make ``job`` the last of the group."""
        self.jobs.append(job)
        self.record_count += len(job.records)
        self.blob_bytes += blob_bytes(job.blobs)
        self.batch = None

    def encode_next(self) -> None:
        """Copy and hash the first job that is not in the encoder yet."""
        job = self.jobs[self.added_count]
        if len(job.records):
            self.encoder.add(job.records, job.blobs)
        self.added_count += 1

    def finish(self, at: Position) -> memoryview:
        """Return the bytes of the batch that it is at ``at``; made only if they are not yet."""
        place = (at.batch_no, at.head)
        if self.batch is None or place != self._finished_for:
            self.batch = self.encoder.finish(at, max(job.ts_ns for job in self.jobs))
            self._finished_for = place
            self.after = Position(
                at.batch_no + 1, at.seq + self.record_count, 0, head_of(self.batch)
            )
        return self.batch


class CommitStats:
    """What the thread measured, in rings of 4,096 entries; ``group_count`` says how far they are.

    Entry of group g (from 0) is at ``g % 4096``. Written by the thread only, read by anyone.
    """

    def __init__(self) -> None:
        self.group_count = 0
        self.record_count = 0
        self.append_ns = np.zeros(_RING, np.int64)  # write and sync of one group, ns
        self.group_records = np.zeros(_RING, np.int64)
        self.group_jobs = np.zeros(_RING, np.int64)

    def add(self, duration_ns: int, records: int, jobs: int) -> None:
        """Note one group."""
        at = self.group_count % _RING
        self.append_ns[at] = duration_ns
        self.group_records[at] = records
        self.group_jobs[at] = jobs
        self.record_count += records
        self.group_count += 1


class Committer:
    """Runs the commit thread of one store.

    Parameters
    ----------
    store
        Opened for writing; only this thread calls its ``append``. The caller closes it.
    on_durable
        Called from the thread with the jobs of each group, in order, once they are durable.
    on_failure
        Called from the thread once, with what went wrong; no ``on_durable`` comes after.
    group_records_max, queue_jobs_max, queue_bytes_max
        Bounds of a group and of what may wait.
    """

    def __init__(
        self,
        store: Store,
        on_durable: Callable[[list[CommitJob]], None],
        on_failure: Callable[[Exception], None],
        *,
        group_records_max: int = GROUP_RECORDS_MAX,
        queue_jobs_max: int = QUEUE_JOBS_MAX,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        self.stats = CommitStats()
        self._store = store
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._group_records_max = group_records_max
        self._jobs_max = queue_jobs_max
        self._bytes_max = queue_bytes_max
        lock = threading.Lock()
        self._ready = threading.Condition(lock)  # the commit thread waits for it
        self._ahead = threading.Condition(lock)  # the gathering thread does
        self._waiting: deque[CommitJob] = deque()
        self._waiting_bytes = 0
        self._full: deque[_Group] = deque()  # encoded, and the next job did not fit
        self._gathering = _Group(BatchEncoder(store.writer))
        # With these one group can be written, one be full and one gather.
        self._encoders = [BatchEncoder(store.writer) for _ in range(2)]
        self._is_writing = False
        self._writing_since_ns = 0
        self._is_adding = False
        self._after = store.position  # after all groups that are closed, written or not
        self._next_seq = store.position.seq
        self._jobs_held = 0  # waiting and being written
        self._bytes_held = 0
        self._failure: Exception | None = None
        self._trouble: Exception | None = None  # of the gathering thread
        self._is_closing = False
        self._staged = store if isinstance(store, StagedStore) else None
        self._flushing: deque[_Group] = deque()  # sent, and not reported yet
        self._flushed = threading.Condition(lock)
        self._is_sending = True
        self._threads = [
            threading.Thread(target=self._run, name="commit", daemon=True),
            threading.Thread(target=self._run_ahead, name="commit-ahead", daemon=True),
        ]
        if self._staged is not None:
            flusher = threading.Thread(target=self._run_flush, name="commit-flush", daemon=True)
            self._threads.append(flusher)
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Return how many jobs wait or are being written."""
        return self._jobs_held

    @property
    def held_bytes(self) -> int:
        """Return the record and blob bytes of those jobs."""
        return self._bytes_held

    @property
    def has_room(self) -> bool:
        """Return whether ``submit`` takes a job now; when not, stop reading requests."""
        return self._jobs_held < self._jobs_max and self._bytes_held < self._bytes_max

    @property
    def writing_s(self) -> float:
        """Return for how long the group at hand has been on its way to the disk; 0 = none is."""
        since_ns = self._writing_since_ns
        return (time.monotonic_ns() - since_ns) / 1e9 if since_ns else 0.0

    @property
    def failure(self) -> Exception | None:
        """Return what stopped the thread, or None."""
        return self._failure

    def submit(self, job: CommitJob) -> None:
        """Hand in ``job``; never blocks.

        Raises
        ------
        CommitQueueFull
            Over a bound; nothing was taken. ``has_room`` was not asked.
        StorageError
            The thread has failed or is closing; nothing was taken.
        ValueError
            Sequence numbers do not follow, or the job is not one that can be written.
        """
        size = self._checked_size(job)
        with self._ready:
            if self._failure is not None or self._is_closing:
                raise StorageError("the committer has stopped: no more records are taken")
            if not self.has_room:
                raise CommitQueueFull("commit queue is full: ask has_room before submit")
            if len(job.records):
                self._check_sequence(job)
            self._waiting.append(job)
            self._waiting_bytes += size
            self._jobs_held += 1
            self._bytes_held += size
            self._next_seq += len(job.records)
            if not self._is_writing:
                self._ready.notify()
            elif self._waiting_bytes >= AHEAD_BYTES:
                self._ahead.notify()

    def close(self, *, drain: bool = True) -> None:
        """Stop the thread, after everything handed in is durable or, without ``drain``, now.

        The group being written is finished in any case. The store stays open.
        """
        with self._ready:
            self._is_closing = True
            if not drain:
                self._drop()
            self._ready.notify()
            self._ahead.notify()
        for thread in self._threads:
            thread.join()

    def _checked_size(self, job: CommitJob) -> int:
        records = job.records
        if records.dtype != RECORD or records.ndim != 1 or not records.flags.c_contiguous:
            raise ValueError("a job takes a contiguous one-dimensional array of RECORD")
        if not all(blob_is_valid(blob, len(records)) for blob in job.blobs):
            raise ValueError("a blob names a row outside its job or is over 400 bytes")
        blobs_size = blob_bytes(job.blobs)
        if batch_bytes(len(records), blobs_size) > self._store.max_batch_bytes:
            message = f"job of {len(records)} records is longer than a journal batch can be"
            raise ValueError(message)
        return records.nbytes + blobs_size

    def _check_sequence(self, job: CommitJob) -> None:
        first = int(job.records["seq"][0])
        last = int(job.records["seq"][-1])
        if first != self._next_seq or last != first + len(job.records) - 1:
            message = f"records {first} to {last} handed in, {self._next_seq} comes next"
            raise ValueError(message)

    def _run(self) -> None:
        """Write and sync group after group: the commit thread."""
        raise_priority()
        try:
            while group := self._next_group():
                if self._commit(group):
                    self._report([group], self._store.position)
                group.encoder.clear()
                self._encoders.append(group.encoder)
        except Exception as error:  # whatever it is, the engine must stop
            self._fail(error)
        with self._ready:
            self._is_sending = False
            self._flushed.notify_all()

    def _run_flush(self) -> None:
        """Wait for the groups that were sent ahead, and report them in order."""
        staged = self._staged
        assert staged is not None, "only a staged store has this thread"
        try:
            while groups := self._next_to_flush():
                _require_ok(staged.flush(), staged.position)
                self._report(groups, staged.position)
                with self._ready:
                    for group in groups:
                        self._flushing.remove(group)
                    self._writing_since_ns = time.monotonic_ns() if self._flushing else 0
                    self._flushed.notify_all()
        except Exception as error:  # as above
            self._fail(error)

    def _next_to_flush(self) -> list[_Group]:
        """Return the groups that were sent, waiting for one; none when no more will be."""
        with self._ready:
            while not self._flushing and self._is_sending:
                self._flushed.wait()
            return [] if self._failure is not None else list(self._flushing)

    def _fail(self, error: Exception) -> None:
        """Stop with the first error; the others only follow from it."""
        with self._ready:
            is_first = self._failure is None
            self._failure = self._failure or error
            self._drop()
            self._ahead.notify()
            self._ready.notify()
            self._flushed.notify_all()
        if is_first:
            self._on_failure(error)

    def _report(self, groups: list[_Group], position: Position) -> None:
        """Tell that ``groups`` are durable and let go of their jobs."""
        now_ns = time.perf_counter_ns()
        for group in groups:
            for job in group.jobs:
                job.position = position
            if group.record_count:
                self.stats.add(now_ns - group.started_ns, group.record_count, len(group.jobs))
            self._on_durable(group.jobs)
            self._release(group)

    def _run_ahead(self) -> None:
        """Copy and hash what gathers while the commit thread waits for the disk."""
        raise_priority(1)  # the next group cannot be written before this is done
        try:
            while group := self._next_to_add():
                group.encode_next()
                if self._may_be_whole(group):
                    group.finish(self._after)
                self._added(None)
        except Exception as error:  # the commit thread says so: it knows what it has reported
            self._added(error)

    def _may_be_whole(self, group: _Group) -> bool:
        """Return whether nothing that waits now will join ``group``."""
        with self._ready:
            return group.record_count > 0 and not (self._waiting and self._fits(group))

    def _added(self, trouble: Exception | None) -> None:
        with self._ready:
            self._trouble = trouble
            self._is_adding = False
            self._ready.notify()

    def _drop(self) -> None:
        """Forget what is not being written; the lock is held."""
        self._waiting.clear()
        self._waiting_bytes = 0
        self._full.clear()
        self._gathering = _Group(BatchEncoder(self._store.writer))

    def _next_group(self) -> _Group | None:
        """Return the next jobs, waiting for one; None when closed and nothing is left."""
        with self._ready:
            self._is_writing = False
            while not self._full and (
                self._is_adding or not (self._waiting or self._gathering.jobs or self._trouble)
            ):
                if self._is_closing and not self._is_adding:
                    return None
                self._ready.wait()
            if self._trouble is not None:
                raise self._trouble
            group = self._full.popleft() if self._full else self._gathered()
            self._is_writing = True
            if self._waiting_bytes >= AHEAD_BYTES:
                self._ahead.notify()
        while group.added_count < len(group.jobs):
            group.encode_next()
        return group

    def _gathered(self) -> _Group:
        """Return the gathering group with all that waits and fits; another begins to gather."""
        group = self._gathering
        while self._waiting and self._fits(group):
            group.take(self._take_waiting())
        self._gathering = _Group(self._encoders.pop())
        return group

    def _next_to_add(self) -> _Group | None:
        """Return the gathering group with one more job to encode; None when closed."""
        with self._ready:
            while not (
                self._is_writing
                and self._waiting_bytes >= AHEAD_BYTES
                and (self._encoders or self._fits(self._gathering))
            ):
                if self._is_closing or self._failure is not None:
                    return None
                self._ahead.wait()
            if not self._fits(self._gathering):
                self._full.append(self._gathering)
                self._after = self._gathering.after or self._after
                self._gathering = _Group(self._encoders.pop())
            self._gathering.take(self._take_waiting())
            self._is_adding = True
            return self._gathering

    def _take_waiting(self) -> CommitJob:
        job = self._waiting.popleft()
        self._waiting_bytes -= job.records.nbytes + blob_bytes(job.blobs)
        return job

    def _fits(self, group: _Group) -> bool:
        """Return whether the first job that waits may join ``group``."""
        if not group.jobs:
            return True
        job = self._waiting[0]
        count = group.record_count + len(job.records)
        size = batch_bytes(count, group.blob_bytes + blob_bytes(job.blobs))
        return count <= self._group_records_max and size <= self._store.max_batch_bytes

    def _commit(self, group: _Group) -> bool:
        """Append ``group``; return whether it is durable, else the flush thread will report it."""
        is_ahead = self._goes_ahead(group)
        if group.record_count:
            at = self._store.position if self._staged is None else self._staged.written
            batch = group.finish(at)
            if group.after and group.after.batch_no > self._after.batch_no:
                self._after = group.after
            group.started_ns = time.perf_counter_ns()
            self._writing_since_ns = self._writing_since_ns or time.monotonic_ns()
            expect = Expect(self._store.writer.epoch, at.seq, at.head)
            if is_ahead and self._staged is not None:
                _require_ok(self._staged.append_ahead(batch, expect), at)
            else:
                _require_ok(self._store.append(batch, expect), at)
                self._writing_since_ns = 0
        if is_ahead:
            with self._ready:
                self._flushing.append(group)
                self._flushed.notify_all()
        return not is_ahead

    def _goes_ahead(self, group: _Group) -> bool:
        """Whether to send ``group`` without waiting for it: behind others, or where it is large.

        A small one alone is sooner durable by one statement. Waits while enough are on their way.
        """
        if self._staged is None:
            return False
        with self._ready:
            while len(self._flushing) >= FLUSHING_MAX and self._failure is None:
                self._flushed.wait()
            if self._failure is not None:
                raise StorageError("the committer has stopped")
            return bool(self._flushing) or group.record_count * RECORD.itemsize >= AHEAD_BYTES

    def _release(self, group: _Group) -> None:
        with self._ready:
            self._jobs_held -= len(group.jobs)
            self._bytes_held -= group.bytes_held


def _require_ok(outcome: Outcome, at: Position) -> None:
    if outcome is Outcome.STALE:
        message = f"another writer owns the journal since batch {at.batch_no}: stop this engine"
        raise StaleWriterError(message)
    if outcome is Outcome.UNKNOWN:
        message = f"unknown whether batch {at.batch_no} was kept: restart to read the journal again"
        raise UnknownOutcomeError(message)
