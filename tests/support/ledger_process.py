"""Processes that commit records to a journal and say on stdout what was acknowledged.

    python -m tests.support.ledger_process

Each line ``FOLDER SEED FAILPOINT`` of its stdin starts a process of its own (a fork: nothing is
imported again), which writes ``pid N``, then the number of the last record of each group that the
committer reported durable, and ``failed`` when it reported a failure. It goes on until it is
killed or fails; then ``exit CODE`` comes.
"""

import os
import random
import sys
import threading
import time
from pathlib import Path

import numpy as np

from ledger.commit import CommitJob, Committer
from ledger.errors import StorageError
from ledger.failpoints import VARIABLE
from ledger.journal import Records
from ledger.record import RECORD, RECORD_BYTES
from ledger.recovery import Scan
from ledger.stores.file import open_file_store

SEGMENT_BYTES = 256 * 1024
_JOB_RECORDS_MAX = 200


def numbered(first: int, count: int) -> Records:
    """Return records ``first`` and on; every byte of one follows from its number."""
    seqs = np.arange(first, first + count, dtype=np.uint64)
    words = seqs[:, None] * np.uint64(0x9E3779B97F4A7C15) + np.arange(
        1, RECORD_BYTES // 8 + 1, dtype=np.uint64
    )
    records = np.ascontiguousarray(words).view(RECORD).reshape(-1)
    records["seq"] = seqs
    return records


def check_numbered(folder: Path, acknowledged: int) -> int:
    """Read the journal back after a crash; return its last record.

    Every byte is right, every acknowledged record is there, and what was acknowledged ends a batch.
    """
    expected = 1
    ends = [0]
    for batch in Scan(folder):
        records = batch.records
        assert records.tobytes() == numbered(expected, len(records)).tobytes()
        expected += len(records)
        ends.append(expected - 1)
    assert ends[-1] >= acknowledged, "an acknowledged record is gone"
    assert acknowledged in ends, "a batch is whole or not there"
    return ends[-1]


def commit(folder: str, seed: str) -> int:
    """Commit jobs of random sizes, as many as the disk takes."""
    draw = random.Random(int(seed))
    store = open_file_store(Path(folder), segment_bytes=SEGMENT_BYTES)
    failed = threading.Event()

    def durable(jobs: list[CommitJob]) -> None:
        os.write(1, b"%d\n" % int(jobs[-1].records["seq"][-1]))

    committer = Committer(store, durable, lambda _: failed.set(), group_records_max=512)
    seq = store.position.seq
    while not failed.is_set():
        count = draw.randint(1, _JOB_RECORDS_MAX)
        while not failed.is_set() and committer.depth > 8:
            time.sleep(0.0002)
        try:
            committer.submit(CommitJob(numbered(seq, count), 1_700_000_000_000_000_000))
        except StorageError:
            break
        seq += count
    failed.wait(30)
    committer.close()
    os.write(1, b"failed\n")
    store.close()
    return 74


def serve() -> None:
    """Fork a process for each line of stdin and say how it ended."""
    for line in sys.stdin:
        folder, seed, point = line.split()
        pid = os.fork()
        if pid == 0:
            os.environ.pop(VARIABLE, None)
            if point != "-":
                os.environ[VARIABLE] = point
            os.write(1, b"pid %d\n" % os.getpid())
            code = 1
            try:
                code = commit(folder, seed)
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        os.write(1, b"exit %d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    serve()
