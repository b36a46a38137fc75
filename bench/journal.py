"""How fast records become durable, and how fast they are read back.

Group commit through the real committer and file store, with one group being synced and one waiting,
in the same folder and turn by turn with its baselines: a bare pwrite and fdatasync of the same
bytes into a file of zeros (what the disk can do; no hash, no header, no queue), and one write and
one fdatasync a record into a file that grows (what one would do otherwise). Recovery checks
headers, chain and hashes; its baseline is SHA-256 over the same bytes alone, the least that any
check of them costs. ``bench.recovery`` adds the fold into the engine's state, ``bench.snapshot``
what a snapshot costs a running engine.
"""

import hashlib
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Literal

from bench.commit_load import CommitLoad, bench_records
from bench.figures import Figure, print_figures, rate_figure, seconds_of_runs
from bench.journal_postgres import postgres_figures
from bench.recovery import start_figures
from bench.snapshot import snapshot_figures
from ledger.journal import batch_bytes
from ledger.record import RECORD
from ledger.recovery import Scan
from ledger.segment import journal_folder
from ledger.stores.file import open_file_store

BATCHES = (1_024, 256, 64, 1)  # the headline figure first
_RECOVERY_RECORDS = 384_000
_RECOVERY_BATCH = 256
_BARE_BYTES = 32 * 1024 * 1024


def run(
    *,
    json: bool = False,
    runs: int = 5,
    seconds: float = 0.4,
    folder: Path | None = None,
    store: Literal["all", "file", "postgres"] = "all",
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
    store : str
        Which stores: file, postgres, or all.
    """
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="de39-bench-", dir=folder or Path.cwd()) as place:
        if store != "postgres":
            found += commit_figures(Path(place), runs=runs, seconds=seconds)
            found.append(recovery_figure(Path(place), runs=runs))
            found += start_figures(Path(place), runs=runs)
            found += snapshot_figures(Path(place), runs=runs)
        if store != "file":
            found += postgres_figures(Path(place), runs=runs, seconds=seconds)
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
