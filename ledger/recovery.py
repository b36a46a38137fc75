"""Reading a journal back: every batch checked, and the rule for where it ends.

Reading stops at the first place that is not the next batch. What that means:

- zeros up to the end of the newest segment: a clean end;
- a sector of 512 bytes is still all zero where header or body should be, nothing valid with a
  higher batch number follows and no newer segment exists: a **torn tail**. The last write was cut
  by a crash before its sync returned, so it was never acknowledged; the writer cuts and zeroes it;
- anything else: **rot**. A batch that was complete has changed, or one is missing, or batches stand
  in the wrong order. Nothing is cut; the error names batch, segment file and byte.

So a change to any byte of an acknowledged batch is reported and never shortens the journal. The one
exception is damage that leaves a whole sector of the very last batch zero: that looks like a torn
write, as does a tail that was cleanly zeroed or an old copy of the newest segment. Only someone who
remembers more, from a snapshot or a reply, can tell; ``at_least_seq`` is how they say so.

Reading changes nothing on disk and is safe beside a running engine (``scan_running``).
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ledger.disk import Disk, OsDisk, storage_errors
from ledger.errors import ForeignJournalError, NoJournalError, RotError
from ledger.journal import (
    BATCH_MAGIC,
    HEADER_BYTES,
    PAGE_BYTES,
    SECTOR_BYTES,
    Batch,
    BatchHeader,
    Position,
    advanced,
    blobs_of,
    body_is_incomplete,
    body_is_whole,
    head_of,
    header_from_bytes,
    misfit,
    padded,
    records_of,
    sizes_agree,
)
from ledger.segment import (
    DATABASE_NAME,
    SegmentHeader,
    archived_mark,
    check_version,
    journal_folder,
    segment_from_page,
    segment_indexes,
    segment_path,
)

_WINDOW_BYTES = 4 * 1024 * 1024  # read ahead; far over the bytes of a usual batch
_BACK_BYTES = 256 * 1024  # looked back at a time for the batch before a start
_RUNNING_TRIES = 12
_RUNNING_WAIT_MS = 25


class TornTail(NamedTuple):
    """A last write that a crash cut short and that nobody was told of."""

    segment: str
    offset: int
    size: int  # bytes up to the last one that is not zero
    batch_no: int


class SegmentFile:
    """One segment opened for reading, through a window that moves forward.

    Parameters
    ----------
    disk, path
        The file.
    cluster
        Expected cluster id, or None to accept the file's own.
    partition
        Expected partition, or None to accept the file's own.
    window_bytes
        Read at a time.
    """

    def __init__(
        self,
        disk: Disk,
        path: Path,
        cluster: bytes | None = None,
        partition: int | None = None,
        window_bytes: int = _WINDOW_BYTES,
    ) -> None:
        self._disk = disk
        self._window_bytes = window_bytes
        self.path = path
        self._window: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._window_start = 0
        with storage_errors("opening", path):
            self._handle = disk.open(path)
            self._actual_size = disk.size(self._handle)
        self.size = self._actual_size
        self.header = self._checked_header(cluster, partition)
        self.size = self.header.size

    def close(self) -> None:
        """Give the file back; views stay valid."""
        self._disk.close(self._handle)

    def view(self, offset: int, size: int) -> NDArray[np.uint8]:
        """Return a writable view of ``size`` bytes at ``offset``, fewer past the file's end."""
        start = offset - self._window_start
        if start < 0 or start + size > len(self._window):
            self._load(offset, max(size, self._window_bytes))
            start = 0
        return self._window[start : start + size]

    def rot(self, reason: str, batch_no: int, offset: int) -> RotError:
        """Return the error for damage at ``offset`` of this file."""
        return RotError(reason, batch_no=batch_no, segment=self.path.name, offset=offset)

    def _load(self, offset: int, size: int) -> None:
        size = max(0, min(size, self.size - offset))
        window: NDArray[np.uint8] = np.empty(size, np.uint8)
        with storage_errors("reading", self.path):
            count = self._disk.read_into(self._handle, window.data, offset)
        self._window = window[:count]
        self._window_start = offset

    def _checked_header(self, cluster: bytes | None, partition: int | None) -> SegmentHeader:
        header = segment_from_page(self.view(0, PAGE_BYTES).tobytes(), self.path)
        check_owner(self.path, header, cluster, partition)
        if f"{header.number:08d}" != self.path.stem:
            raise self.rot(f"file holds segment {header.number}", header.first_batch_no, 0)
        if header.size != self._actual_size:
            reason = f"file has {self._actual_size} bytes, should have {header.size}"
            raise self.rot(reason, header.first_batch_no, 0)
        return header


def check_owner(
    path: Path,
    header: SegmentHeader | BatchHeader,
    cluster: bytes | None,
    partition: int | None,
) -> None:
    """Raise ``ForeignJournalError`` unless ``header`` is of this cluster and partition."""
    if cluster is not None and header.cluster != cluster:
        message = (
            f"{path} belongs to cluster {header.cluster.hex()}, expected {cluster.hex()}: "
            "put the right data folder in place"
        )
        raise ForeignJournalError(message)
    if partition is not None and header.partition != partition:
        message = (
            f"{path} belongs to partition {header.partition}, expected {partition}: "
            "put the right data folder in place"
        )
        raise ForeignJournalError(message)


class Scan:
    """Iterate once over the batches of a journal, in order; ``end`` and ``torn`` are known after.

    Parameters
    ----------
    data
        The data folder.
    start
        Where to begin (from a snapshot or an earlier scan); None = the first batch that is there.
    at_least_seq
        A record that is known to have been durable; ending before it is rot.
    cluster, partition
        Expected owner; None = that of the first segment.
    disk
        The file system.

    Raises
    ------
    NoJournalError, RotError, ForeignJournalError, FormatVersionError, StorageError
        While iterating.
    """

    window_bytes = _WINDOW_BYTES

    def __init__(
        self,
        data: Path,
        *,
        start: Position | None = None,
        at_least_seq: int = 0,
        cluster: bytes | None = None,
        partition: int | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._data = data
        self._start = start
        self._mark: Position | None = None  # where a journal with archived segments begins
        self._at_least_seq = at_least_seq
        self._disk = disk or OsDisk()
        self.cluster = cluster
        self.partition = partition
        self.torn: TornTail | None = None
        self.last_bytes = 0  # of the newest batch, if it was read and stands in the newest segment
        self.end = start or Position()  # moves along; the end of the journal when done

    def __iter__(self) -> Iterator[Batch]:
        """Yield each batch once it is checked; ``end`` is then the place after it."""
        indexes = self._indexes()
        for index in indexes:
            path = segment_path(self._data, index)
            self.last_bytes = 0
            file = SegmentFile(self._disk, path, self.cluster, self.partition, self.window_bytes)
            try:
                self._enter(file, is_first=index == indexes[0])
                yield from self._batches(file, is_last=index == indexes[-1])
            finally:
                file.close()
        if self.end.seq <= self._at_least_seq:
            reason = f"journal ends at record {self.end.seq - 1}, {self._at_least_seq} was durable"
            raise RotError(
                reason,
                batch_no=self.end.batch_no,
                segment=segment_path(self._data, self.end.segment).name,
                offset=self.end.offset,
            )

    def _indexes(self) -> list[int]:
        """Return the segments to read: without a gap, from the one that holds the start."""
        present = segment_indexes(self._disk, self._data)
        if not present:
            folder = journal_folder(self._data)
            if DATABASE_NAME in self._disk.names(folder):
                raise NoJournalError(
                    f"the journal of {self._data} is in PostgreSQL: this reads segment files only"
                )
            raise NoJournalError(f"no journal in {folder}: check --data")
        self._mark = None if self._start else archived_mark(self._disk, self._data)
        begin = self._start or self._mark
        first = begin.segment if begin else 1
        wanted = list(range(first, max(present[-1], first) + 1))
        missing = sorted(set(wanted) - set(present))
        if missing:
            name = segment_path(self._data, missing[0]).name
            raise RotError("segment missing", batch_no=0, segment=name, offset=0)
        return wanted

    def _enter(self, file: SegmentFile, *, is_first: bool) -> None:
        """Check that ``file`` begins where the one before ended, or holds the start."""
        header = file.header
        self.cluster = header.cluster
        self.partition = header.partition
        begin = header.start
        if is_first and self._start:
            inside = begin.batch_no <= self.end.batch_no and begin.seq <= self.end.seq
            if not inside or not PAGE_BYTES <= self.end.offset <= file.size:
                raise file.rot("start position is not in it", self.end.batch_no, self.end.offset)
            self._check_before(file)
            return
        expected = self._mark or Position(segment=1, offset=PAGE_BYTES) if is_first else self.end
        expected = expected._replace(segment=header.number, offset=PAGE_BYTES)
        if begin != expected:
            reason = f"segment begins with batch {begin.batch_no}, batches before it are missing"
            if begin.batch_no == expected.batch_no:
                reason = "segment does not continue the chain of the one before"
            raise file.rot(reason, expected.batch_no, 0)
        self.end = begin

    def _check_before(self, file: SegmentFile) -> None:
        """Check that the batch before the start is there: its header's hash is the start's head.

        Else another journal, or an older copy of this one, would go on behind a hole.
        """
        at = self.end
        is_there = at.offset == PAGE_BYTES and file.header.start.head == at.head
        end = at.offset
        while end > PAGE_BYTES and not is_there:
            begin = max(PAGE_BYTES, end - _BACK_BYTES)
            is_there = any(
                head_of(raw) == at.head for raw in _headers_in(file.view(begin, end - begin))
            )
            end = begin
        if not is_there:
            reason = "the batch before the start is missing: another journal, or an older copy"
            raise file.rot(reason, at.batch_no - 1, at.offset)

    def _batches(self, file: SegmentFile, *, is_last: bool) -> Iterator[Batch]:
        while (batch := self._next(file)) is not None:
            self.last_bytes = batch.after.offset - self.end.offset
            self.end = batch.after
            yield batch
        self._finish(file, is_last=is_last)

    def _next(self, file: SegmentFile) -> Batch | None:
        """Return the batch at ``end``, or None where no complete batch stands."""
        found = self._head(file)
        return None if found is None else self._whole(file, *found)

    def _head(self, file: SegmentFile) -> tuple[bytes, BatchHeader, int] | None:
        """Return the checked header at ``end``, its bytes and the batch's size; None = no batch."""
        at = self.end
        if at.offset + PAGE_BYTES > file.size:
            return None
        raw = file.view(at.offset, HEADER_BYTES).tobytes()
        header = header_from_bytes(raw)
        if header is None:
            if not file.view(at.offset, SECTOR_BYTES).any():
                return None
            raise file.rot("batch header damaged", at.batch_no, at.offset)
        size = padded(HEADER_BYTES + header.body_bytes)
        self._check_header(file, header, size)
        return raw, header, size

    def _whole(self, file: SegmentFile, raw: bytes, header: BatchHeader, size: int) -> Batch | None:
        """Return the batch of a checked header; None where its write never finished."""
        at = self.end
        pages = file.view(at.offset, size)
        if not body_is_whole(header, pages):
            if body_is_incomplete(header, pages):
                return None
            raise file.rot("batch body differs from its hash", at.batch_no, at.offset)
        try:
            blobs = blobs_of(header, pages) if header.blob_count else ()
        except ValueError as error:
            raise file.rot(str(error), at.batch_no, at.offset) from error
        head = head_of(raw)
        after = advanced(at, header, head, size)
        return Batch(header, records_of(header, pages), blobs, head, after)

    def _check_header(self, file: SegmentFile, header: BatchHeader, size: int) -> None:
        """Check everything a header says before any byte of the body is looked at."""
        at = self.end
        check_version(header.version, file.path)
        check_owner(file.path, header, self.cluster, self.partition)
        reason = misfit(header, at)
        if not reason and (not sizes_agree(header) or at.offset + size > file.size):
            reason = "batch states sizes that cannot be"
        if reason:
            raise file.rot(reason, at.batch_no, at.offset)

    def _finish(self, file: SegmentFile, *, is_last: bool) -> None:
        """Decide what the rest of a segment after its last complete batch means."""
        at = self.end
        used, later = _rest(file, at)
        if used == 0:
            return
        if later:
            raise file.rot(f"batch damaged, but batch {later} follows", at.batch_no, at.offset)
        if not is_last:
            raise file.rot("batch damaged, but a newer segment exists", at.batch_no, at.offset)
        self.torn = TornTail(file.path.name, at.offset, used, at.batch_no)


def _headers_in(window: NDArray[np.uint8]) -> Iterator[bytes]:
    """Yield the batch headers that stand at the pages of ``window``, u8 (k,), the last first."""
    pages = window[: len(window) // PAGE_BYTES * PAGE_BYTES].reshape(-1, PAGE_BYTES)
    magic = np.frombuffer(BATCH_MAGIC, np.uint8)
    for page in np.flatnonzero((pages[:, : len(magic)] == magic).all(axis=1))[::-1]:
        raw = pages[page, :HEADER_BYTES].tobytes()
        if header_from_bytes(raw) is not None:
            yield raw


def _rest(file: SegmentFile, at: Position) -> tuple[int, int]:
    """Return the bytes after ``at`` up to the last non-zero one, and any later batch's number."""
    used = 0
    for offset in range(at.offset, file.size, _WINDOW_BYTES):
        window = file.view(offset, min(_WINDOW_BYTES, file.size - offset))
        words = window[: len(window) // 8 * 8].view(np.uint64)
        if not words.any():
            continue
        used = offset - at.offset + int(np.flatnonzero(window)[-1]) + 1
        pages = window[: len(window) // PAGE_BYTES * PAGE_BYTES].reshape(-1, PAGE_BYTES)
        magic = np.frombuffer(BATCH_MAGIC, np.uint8)
        for page in np.flatnonzero((pages[:, : len(magic)] == magic).all(axis=1)):
            header = header_from_bytes(pages[page, :HEADER_BYTES].tobytes())
            own = header is not None and header.cluster == file.header.cluster
            if header is not None and own and header.batch_no > at.batch_no:
                return used, header.batch_no
    return used, 0


def scan_running(
    data: Path, *, start: Position | None = None, disk: Disk | None = None
) -> Iterator[Batch]:
    """Iterate over the batches of a journal that an engine may be writing to right now.

    A batch caught half written looks damaged for a moment, so damage is read again for 0.3 s
    before it is believed.
    """
    tries = 0
    while True:
        scan = Scan(data, start=start, disk=disk)
        try:
            for batch in scan:
                start = batch.after
                tries = 0
                yield batch
        except RotError:
            tries += 1
            if tries > _RUNNING_TRIES:
                raise
            time.sleep(_RUNNING_WAIT_MS / 1000)
        else:
            return
