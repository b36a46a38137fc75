"""A journal in segment files, read: see ``stores.base.JournalReader``."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from ledger.disk import Disk, OsDisk, storage_errors
from ledger.errors import NoJournalError
from ledger.journal import HEADER_BYTES, PAGE_BYTES, Batch, Position, header_from_bytes
from ledger.lookup import located
from ledger.recovery import SegmentFile, scan_running
from ledger.segment import (
    SEGMENT_BYTES,
    Piece,
    archived_mark,
    segment_indexes,
    segment_path,
    write_archived_mark,
)
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

    def pieces(
        self, before: Position, keep_count: int, segment_bytes: int = SEGMENT_BYTES
    ) -> Iterator[Piece]:
        """Iterate over the segments before the one that ``before`` is in, oldest first."""
        del segment_bytes  # they are there
        at = self.located(before)
        indexes = segment_indexes(self._disk, self._data)
        for index in indexes[: max(0, len(indexes) - max(1, keep_count))]:
            if index >= at.segment:
                return
            file, following = self._opened(index), self._opened(index + 1)
            header = header_from_bytes(following.view(PAGE_BYTES, HEADER_BYTES).tobytes())
            file.close()
            following.close()
            after = following.header.start
            if header is None:
                raise following.rot("batch header damaged", after.batch_no, PAGE_BYTES)
            yield Piece(index, file.header.start, after, header.ts_ns, file.size)

    def folder_with(self, piece: Piece, aside: Path) -> Path:
        """Return the data folder: all segments are in it."""
        del piece, aside
        return self._data

    def remove(self, piece: Piece) -> None:
        """Write where the journal begins from now on, then remove the segment."""
        path = segment_path(self._data, piece.number)
        write_archived_mark(self._disk, self._data, piece.after)
        with storage_errors("removing", path):
            self._disk.unlink(path)
            self._disk.fsync_dir(path.parent)

    def close(self) -> None:
        """Nothing is open between two readings."""

    def _newest_start(self, is_before: Callable[[Position], bool]) -> Position | None:
        for index in reversed(segment_indexes(self._disk, self._data)):
            file = self._opened(index)
            file.close()
            if is_before(file.header.start):
                return file.header.start
        return None

    def _opened(self, index: int) -> SegmentFile:
        path = segment_path(self._data, index)
        return SegmentFile(self._disk, path, window_bytes=2 * PAGE_BYTES)
