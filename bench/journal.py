"""How fast records become durable, and how fast they are read back.

Group commit through the real committer and file store, a batch for each of its stages (one synced,
one hashed, one handed in), in the same folder and turn by turn with its baselines: a bare pwrite
and fdatasync of the same bytes into a file of zeros (what the disk can do; no hash, no header, no
queue, no zeros to write ahead), and one write and one fdatasync a record into a file that grows
(what one would do otherwise). All of them run in threads of one priority. Recovery checks headers,
chain and hashes; its baseline is SHA-256 over the same bytes alone, the least that any check of
them costs. ``bench.recovery`` adds the fold into the engine's state, ``bench.snapshot`` what a
snapshot costs a running engine.
"""

import hashlib
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from bench.commit_load import CommitLoad, bench_records
from bench.figures import (
    Figure,
    paired_figures,
    print_figures,
    rate_figure,
    seconds_of_runs,
)
from bench.journal_postgres import postgres_figures
from bench.recovery import start_figures
from bench.snapshot import snapshot_figures
from ledger.journal import batch_bytes
from ledger.priority import raise_priority
from ledger.record import RECORD
from ledger.recovery import Scan
from ledger.segment import journal_folder
from ledger.stores.file import open_file_store

BATCHES = (1_024, 256, 64, 1)  # the headline figure first
_RECOVERY_RECORDS = 384_000
_RECOVERY_BATCH = 256
_BARE_BYTES = 32 * 1024 * 1024
_TURNS = 4  # of commits and their baselines in one run: what slows the machine slows both


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
    """Return the figures of each batch size, each turn after one of each baseline."""
    found = []
    turn_s = seconds / _TURNS
    for batch in BATCHES:
        data = place / f"commit-{batch}"
        store = open_file_store(data)
        load = CommitLoad(store, batch)
        load.commit_for(turn_s)
        rates, bare, plain = [], [], []
        for _ in range(runs * _TURNS):
            plain.append(_as_committer(partial(record_by_record, place / "plain", turn_s / 4)))
            bare.append(_as_committer(partial(bare_writes, place / "bare", batch, turn_s / 2)))
            rates.append(load.commit_for(turn_s))
        load.close()
        name = f"journal.commit.{batch}"
        pairs = list(zip(rates, bare, strict=True))
        found += paired_figures(name, "records/s", pairs, "pwrite + fdatasync of the same bytes")
        costs, rate = [1 / r for r in rates], statistics.median(plain)
        baseline = "write + fdatasync a record"
        found.append(rate_figure(f"{name}.by-record", "records/s", 1, costs, baseline, rate))
        shutil.rmtree(data)
    return found


def _as_committer(measure: Callable[[], float]) -> float:
    """Run ``measure`` in a thread with the priority of the commit thread."""
    found: list[float] = []

    def run() -> None:
        raise_priority()
        found.append(measure())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


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
        if os.fstat(handle).st_size != size:
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
