"""Small journals for the tests of the ledger."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ledger.commit import CommitJob, Committer
from ledger.disk import Disk
from ledger.errors import StorageError
from ledger.journal import BatchEncoder, Blob, Records
from ledger.record import RECORD
from ledger.recovery import Scan
from ledger.stores.base import Expect, Outcome, Store
from ledger.stores.file import FileStore, open_file_store

CLUSTER = bytes(range(16))
DATA = Path("/data")  # of fake disks
SMALL = 64 * 1024


def records_from(seq: int, count: int, seed: int = 0) -> Records:
    """Return ``count`` records numbered from ``seq``, other fields random but fixed."""
    raw = np.random.default_rng([seed, seq, count]).integers(0, 256, count * 192, np.uint8)
    records = raw.view(RECORD)
    records["seq"] = np.arange(seq, seq + count)
    return records


def opened(data: Path, disk: Disk | None = None, segment_bytes: int = SMALL) -> FileStore:
    """Return a store with small segments that does everything in the calling thread."""
    return open_file_store(
        data, cluster=CLUSTER, segment_bytes=segment_bytes, write_ahead=False, disk=disk
    )


def append(
    store: Store, count: int, blobs: Sequence[Blob] = (), records: Records | None = None
) -> Outcome:
    """Append one batch of ``count`` records to ``store``."""
    at = store.position
    records = records_from(at.seq, count) if records is None else records
    batch = BatchEncoder(store.writer).encode([(records, blobs)], at, 1_700_000_000_000_000_000)
    return store.append(batch, Expect(store.writer.epoch, at.seq, at.head))


def read_all(data: Path, disk: Disk | None = None) -> Records:
    """Return every record of the journal."""
    parts = [batch.records for batch in Scan(data, disk=disk)]
    return np.concatenate(parts) if parts else np.zeros(0, RECORD)


def commit_all(
    store: Store, jobs: Sequence[CommitJob], group_records_max: int = 16
) -> tuple[list[CommitJob], list[Exception]]:
    """Run ``jobs`` through a committer; return those acknowledged and the failures reported."""
    acknowledged: list[CommitJob] = []
    failures: list[Exception] = []
    failed = threading.Event()

    def on_failure(error: Exception) -> None:
        failures.append(error)
        failed.set()

    committer = Committer(
        store, acknowledged.extend, on_failure, group_records_max=group_records_max
    )
    try:
        for job in jobs:
            if failed.is_set():
                break
            committer.submit(job)
    except StorageError:
        failed.wait(30)  # a submit after the failure is refused, as it should be
    committer.close()
    return acknowledged, failures
