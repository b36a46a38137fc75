"""SHELL: what a running engine does for its ledger beside the traffic: snapshots, proofs, archive.

Nothing here delays an answer by more than the fork of a snapshot, and nothing here stops the engine
when it fails: journal and commit thread are the truth, the rest can be made again.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from engine.admin.operations import LedgerView
from engine.config import Ledger
from engine.metrics import Counter, Gauge, Metrics
from engine.partition import Partition
from engine.proving import Proving
from engine.retention import Retention
from engine.snapshots import Snapshots
from ledger.commit import Committer
from ledger.witness import HEAD_BYTES

_STALLED_S = 5.0  # a write that takes longer is a disk that does not answer


class Upkeep:
    """Snapshots and proofs of one open partition; ``close`` may be called twice."""

    def __init__(self, partition: Partition, config: Ledger, note: Callable[[str], None]) -> None:
        self._partition = partition
        self._reserve_bytes = config.reserve_bytes
        self.snapshots = Snapshots(
            partition.state,
            partition.store,
            partition.data,
            config.snapshot_interval_s,
            config.snapshot_record_count,
            note,
            partition.counts,
        )
        self._proving: Proving | None = None
        self._retention: Retention | None = None
        if config.checkpoint_interval_s:
            witness = Path(config.witness_file) if config.witness_file else None
            self._proving = Proving(
                partition.data, partition.store, config.checkpoint_interval_s, witness, note
            )
            self._proving.start()
        if config.archive_folder:
            self._retention = Retention(
                partition.data,
                Path(config.archive_folder),
                config.archive_age_s,
                config.archive_bytes,
                config.segment_bytes,
                note,
            )
            self._retention.start()

    async def tick(self, metrics: Metrics) -> None:
        """Begin what is due, further what is under way, show it in the metrics; never long."""
        snapshots = self.snapshots
        snapshots.note_place()
        if snapshots.is_due:
            snapshots.begin()
        if snapshots.is_busy:  # naming a file syncs a folder: not on the loop
            await asyncio.get_running_loop().run_in_executor(None, snapshots.further)
        metrics.gauges[Gauge.SNAPSHOT_SEQUENCE] = snapshots.last_seq
        metrics.gauges[Gauge.SNAPSHOT_PAUSE_NS] = snapshots.pause_ns
        failures = snapshots.failures
        if self._proving is not None:
            metrics.gauges[Gauge.PROOF_LAG] = self._proving.lag
            failures += self._proving.failures
        if self._retention is not None:
            metrics.counters[Counter.ARCHIVED] = self._retention.archived
            failures += self._retention.failures
        metrics.counters[Counter.UPKEEP_FAILURES] = failures

    def readiness(self, committer: Committer, metrics: Metrics) -> dict[str, bool]:
        """Return what must hold of the disk to commit now and for a while; never waits."""
        free_bytes = int(metrics.gauges[Gauge.FREE_BYTES])
        return disk_state(free_bytes, self._reserve_bytes, committer.writing_s)

    def view(self) -> LedgerView:
        """Return where the ledger stands: the witness of the last durable record, and more."""
        store, end = self._partition.store, self._partition.store.position
        return LedgerView(
            partition=store.writer.partition,
            epoch=end.epoch,
            record=end.seq - 1,
            head=end.head[:HEAD_BYTES].hex(),
            batches=end.batch_no - 1,
            checkpoint_batches=0 if self._proving is None else self._proving.size,
            snapshot_record=self.snapshots.last_seq,
        )

    def close(self) -> None:
        """Give up a snapshot under way; sign what is durable."""
        self.snapshots.close()
        if self._retention is not None:
            self._retention.close()
            self._retention = None
        if self._proving is not None:
            self._proving.close()
            self._proving = None


def disk_state(free_bytes: int, reserve_bytes: int, writing_s: float) -> dict[str, bool]:
    """Return what ``/readyz`` says of the disk.

    Parameters
    ----------
    free_bytes
        Free where the journal lies; 0 = nobody has looked yet.
    reserve_bytes
        What must be free.
    writing_s
        For how long the batch at hand has been on its way.
    """
    return {
        "disk_has_room": free_bytes == 0 or free_bytes >= reserve_bytes,
        "disk_answers": writing_s < _STALLED_S,
    }
