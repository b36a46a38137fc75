"""Load on a committer: a job for each of its stages, nothing else in the way."""

import threading
import time

import numpy as np

from ledger.commit import CommitJob, Committer
from ledger.journal import Records
from ledger.record import RECORD
from ledger.stores.base import Store

_IN_FLIGHT = 3  # one being synced, one hashed, one handed in
_SEED = 39
_TS_NS = 1_700_000_000_000_000_000


class CommitLoad:
    """Keeps a committer busy: one job being synced, one waiting, arrays used again.

    Each job is one journal batch: waiting jobs are not joined, so that a batch has the size that a
    figure says.

    Parameters
    ----------
    store
        Opened for writing; closed by ``close``.
    batch
        Records of a job.
    """

    def __init__(self, store: Store, batch: int) -> None:
        self._store = store
        self._batch = batch
        self._seq = store.position.seq
        self._free = threading.Semaphore(_IN_FLIGHT)
        self._failure: Exception | None = None
        self._committer = Committer(
            store, self._on_durable, self._on_failure, group_records_max=batch
        )
        self._pool = [bench_records(batch) for _ in range(_IN_FLIGHT + 1)]
        self._turn = 0

    def commit_for(self, seconds: float) -> float:
        """Commit for that long, to the last sync; return records/s."""
        first = self._seq
        started = time.perf_counter()
        until = started + seconds
        while time.perf_counter() < until:
            self.commit_one()
        for _ in range(_IN_FLIGHT):
            self._free.acquire()
        elapsed = time.perf_counter() - started
        self._free.release(_IN_FLIGHT)
        if self._failure is not None:
            raise self._failure
        return (self._seq - first) / elapsed

    def commit_one(self) -> None:
        """Hand in one job, waiting while the earlier ones are on their way."""
        records = self._pool[self._turn]  # one more than are in flight: nobody reads this one
        self._turn = (self._turn + 1) % len(self._pool)
        records["seq"] = np.arange(self._seq, self._seq + self._batch, dtype=np.uint64)
        self._seq += self._batch
        self._free.acquire()
        if self._failure is None:
            self._committer.submit(CommitJob(records, _TS_NS))

    def stop(self) -> None:
        """Stop the thread; the store stays open."""
        self._committer.close()

    def close(self) -> None:
        """Stop the thread and close the store."""
        self.stop()
        self._store.close()

    def _on_durable(self, jobs: list[CommitJob]) -> None:
        self._free.release(len(jobs))

    def _on_failure(self, error: Exception) -> None:
        self._failure = error
        self._free.release(1_000_000)  # nobody waits any more


def bench_records(count: int) -> Records:
    """Return ``count`` records of random bytes, which is as hard as records get."""
    raw = np.random.default_rng(_SEED).integers(0, 256, count * RECORD.itemsize, np.uint8)
    return raw.view(RECORD)
