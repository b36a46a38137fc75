"""How fast records become durable, and how fast they are read back.

Group commit through the real committer and file store, with one group being synced and one waiting,
in the same folder and turn by turn with its baselines: a bare pwrite and fdatasync of the same
bytes into a file of zeros (what the disk can do; no hash, no header, no queue), and one write and
one fdatasync a record into a file that grows (what one would do otherwise). Recovery checks
headers, chain and hashes; its baseline is SHA-256 over the same bytes alone, the least that any
check of them costs. ``bench.recovery`` adds the fold into the engine's state.
"""

import hashlib
import os
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bench.figures import Figure, print_figures, rate_figure, seconds_of_runs
from bench.recovery import start_figures
from ledger.commit import CommitJob, Committer
from ledger.journal import Records, batch_bytes
from ledger.record import RECORD
from ledger.recovery import Scan
from ledger.segment import journal_folder
from ledger.stores.file import FileStore, open_file_store

BATCHES = (1_024, 256, 64, 1)  # the headline figure first
_RECOVERY_RECORDS = 384_000
_RECOVERY_BATCH = 256
_IN_FLIGHT = 2
_BARE_BYTES = 32 * 1024 * 1024
_SEED = 39
_TS_NS = 1_700_000_000_000_000_000


def run(
    *, json: bool = False, runs: int = 5, seconds: float = 0.4, folder: Path | None = None
) -> None:
    """Measure commits and recovery, in records/s.

    Parameters
    ----------
    json : bool
        Print a JSON list of figures instead of a table.
    runs : int
        Measurements of each figure; the median is reported.
    seconds : float
        Length of one measurement of commits.
    folder : Path
        Where to write; None = the current folder. Not one in memory: its syncs cost nothing.
    """
    with tempfile.TemporaryDirectory(prefix="de39-bench-", dir=folder or Path.cwd()) as place:
        found = commit_figures(Path(place), runs=runs, seconds=seconds)
        found.append(recovery_figure(Path(place), runs=runs))
        found += start_figures(Path(place), runs=runs)
    print_figures(found, as_json=json)


def commit_figures(place: Path, *, runs: int, seconds: float) -> list[Figure]:
    """Return the figures of each batch size, each run after one of each baseline."""
    found = []
    for batch in BATCHES:
        data = place / f"commit-{batch}"
        store = open_file_store(data)
        load = CommitLoad(store, batch)
        load.commit_for(seconds / 4)
        costs, bare, plain = [], [], []
        for _ in range(runs):
            bare.append(bare_writes(place / "bare", batch, seconds / 2))
            plain.append(record_by_record(place / "plain", seconds / 4))
            costs.append(1 / load.commit_for(seconds))
        load.close()
        name = f"journal.commit.{batch}"
        for suffix, baseline, rates in (
            ("", "pwrite + fdatasync of the same bytes", bare),
            (".by-record", "write + fdatasync a record", plain),
        ):
            rate = statistics.median(rates)
            found.append(rate_figure(name + suffix, "records/s", 1, costs, baseline, rate))
        shutil.rmtree(data)
    return found


def recovery_figure(place: Path, *, runs: int) -> Figure:
    """Return the rate at which a closed journal is read and checked."""
    data = place / "recovery"
    write_journal(data, _RECOVERY_RECORDS, _RECOVERY_BATCH)
    baseline = statistics.median(seconds_of_runs(lambda: _hash_segments(data), runs))
    figure = rate_figure(
        "journal.recovery",
        "records/s",
        _RECOVERY_RECORDS,
        seconds_of_runs(lambda: count_records(data), runs),
        "sha256 alone",
        _RECOVERY_RECORDS / baseline,
    )
    shutil.rmtree(data)
    return figure


class CommitLoad:
    """Keeps a committer busy: one job being synced, one waiting, arrays used again.

    Parameters
    ----------
    store
        Opened for writing; closed by ``close``.
    batch
        Records of a job.
    """

    def __init__(self, store: FileStore, batch: int) -> None:
        self._store = store
        self._batch = batch
        self._seq = store.position.seq
        self._free = threading.Semaphore(_IN_FLIGHT)
        self._failure: Exception | None = None
        self._committer = Committer(store, self._on_durable, self._on_failure)
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
        self._free.acquire()
        records = self._pool[self._turn]
        self._turn = (self._turn + 1) % len(self._pool)
        records["seq"] = np.arange(self._seq, self._seq + self._batch, dtype=np.uint64)
        self._seq += self._batch
        if self._failure is None:
            self._committer.submit(CommitJob(records, _TS_NS))

    def close(self) -> None:
        """Stop the thread and close the store."""
        self._committer.close()
        self._store.close()

    def _on_durable(self, jobs: list[CommitJob]) -> None:
        self._free.release(len(jobs))

    def _on_failure(self, error: Exception) -> None:
        self._failure = error
        self._free.release(_IN_FLIGHT * 1_000_000)


def bench_records(count: int) -> Records:
    """Return ``count`` records of random bytes, which is as hard as records get."""
    raw = np.random.default_rng(_SEED).integers(0, 256, count * RECORD.itemsize, np.uint8)
    return raw.view(RECORD)


def write_journal(data: Path, records: int, batch: int) -> None:
    """Make a closed journal of ``records`` in batches of ``batch`` or two of them joined."""
    load = CommitLoad(open_file_store(data), batch)
    for _ in range(-(-records // batch)):
        load.commit_one()
    load.close()


def count_records(data: Path) -> int:
    """Read and check the whole journal; return how many records it holds."""
    return sum(len(batch.records) for batch in Scan(data))


def bare_writes(path: Path, batch: int, seconds: float) -> float:
    """Write and sync the bytes of a batch into zeros again and again; return records/s."""
    data = os.urandom(batch_bytes(batch, 0))
    size = max(_BARE_BYTES, 4 * len(data))
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(handle, bytes(size), 0)
        os.fdatasync(handle)
        count = offset = 0
        started = time.perf_counter()
        until = started + seconds
        while (now := time.perf_counter()) < until:
            os.pwrite(handle, data, offset)
            os.fdatasync(handle)
            count += 1
            offset = offset + len(data) if offset + 2 * len(data) <= size else 0
    finally:
        os.close(handle)
    return count * batch / (now - started)


def record_by_record(path: Path, seconds: float) -> float:
    """Append records one write and one fdatasync each for that long; return records/s."""
    record = bench_records(1).tobytes()
    count = 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        started = time.perf_counter()
        until = started + seconds
        while (now := time.perf_counter()) < until:
            os.write(handle, record)
            os.fdatasync(handle)
            count += 1
    finally:
        os.close(handle)
    return count / (now - started)


def _hash_segments(data: Path) -> None:
    left = _RECOVERY_RECORDS * RECORD.itemsize
    for path in sorted(journal_folder(data).glob("*.seg")):
        with path.open("rb") as stream:
            while left > 0 and (chunk := stream.read(min(left, 1 << 20))):
                hashlib.sha256(chunk).digest()
                left -= len(chunk)
