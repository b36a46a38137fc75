"""A journal in segment files, read: see ``stores.base.JournalReader``."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from ledger.disk import Disk, OsDisk, storage_errors
from ledger.errors import NoJournalError
from ledger.journal import PAGE_BYTES, Batch, Position
from ledger.lookup import located
from ledger.recovery import SegmentFile, scan_running
from ledger.segment import archived_mark, segment_indexes, segment_path
from ledger.segment_copy import copy_segments
from ledger.stores.base import Progress


class FileReader:
    """The segments of one data folder.

    Parameters
    ----------
    data
        The data folder.
    disk
        The file system.
    """

    def __init__(self, data: Path, disk: Disk | None = None) -> None:
        self._data = data
        self._disk = disk or OsDisk()

    def scan(self, start: Position | None = None, count: int | None = None) -> Iterator[Batch]:
        """Iterate over the batches from ``start`` on; it may come from another store."""
        start = None if start is None else self.located(start)
        yield from islice(scan_running(self._data, start=start, disk=self._disk), count)

    def located(self, at: Position) -> Position:
        """Return ``at`` with segment and offset, which a place of another store does not have."""
        return at if at.segment else located(self._data, at, self._disk)

    def beginning(self) -> Position | None:
        """Return where the journal begins since older segments were archived; None = batch 1."""
        return archived_mark(self._disk, self._data)

    def before_batch(self, batch_no: int) -> Position | None:
        """Return the beginning of the segment with batch ``batch_no``; None = archived."""
        return self._newest_start(lambda start: start.batch_no <= batch_no)

    def before_record(self, seq: int) -> Position | None:
        """Return the beginning of the segment with record ``seq``; None = archived."""
        return self._newest_start(lambda start: start.seq <= seq)

    def copy_to(self, target: Path, on_progress: Progress) -> tuple[Position, int]:
        """Copy the segments up to the end that a whole reading found."""
        end: Position | None = None
        records = 0
        for batch in self.scan():
            end = batch.after
            records += len(batch.records)
            on_progress(records)
        if end is None:
            raise NoJournalError(
                f"the journal of {self._data} holds no batch yet: nothing to back up"
            )
        copy_segments(self._data, target, end)
        return end, records

    def sizes(self) -> dict[str, int]:
        """Return segments and their bytes."""
        paths = [segment_path(self._data, n) for n in segment_indexes(self._disk, self._data)]
        with storage_errors("reading", self._data):
            size = sum(path.stat().st_size for path in paths)
        return {"segments": len(paths), "journal_bytes": size}

    def close(self) -> None:
        """Nothing is open between two readings."""

    def _newest_start(self, is_before: Callable[[Position], bool]) -> Position | None:
        for index in reversed(segment_indexes(self._disk, self._data)):
            path = segment_path(self._data, index)
            file = SegmentFile(self._disk, path, window_bytes=PAGE_BYTES)
            file.close()
            if is_before(file.header.start):
                return file.header.start
        return None
