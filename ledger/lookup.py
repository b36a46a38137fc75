"""Single records out of a large journal: only the batches that hold them are read.

Every segment says with which record it begins. In a segment that holds a wanted record the headers
are walked, each checked and chained to the one before, and bodies are passed over but where a
record is wanted. What is read is checked as recovery checks it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ledger.disk import Disk, OsDisk
from ledger.errors import RotError
from ledger.journal import Batch, Position, advanced, head_of
from ledger.recovery import Scan, SegmentFile
from ledger.segment import SegmentHeader, journal_folder, segment_indexes, segment_path

_WINDOW_BYTES = 16 * 1024  # a header, and the whole of a usual batch


def batches_with(
    data: Path, numbers: NDArray[np.int64], disk: Disk | None = None
) -> Iterator[Batch]:
    """Iterate over the batches that hold records of these ``numbers``, rising and durable.

    Raises the errors of ``ledger.recovery.Scan``. Numbers before the first segment that is there
    (archived) are in no batch.
    """
    disk = disk or OsDisk()
    headers = [_header_of(disk, data, index) for index in segment_indexes(disk, data)]
    firsts = np.array([header.start.seq for header in headers], np.int64)
    places = np.searchsorted(firsts, numbers, side="right") - 1
    for place in np.unique(places[places >= 0]).tolist():
        yield from _Walk(data, headers[place], numbers[places == place], disk)


def located(data: Path, at: Position, disk: Disk | None = None) -> Position:
    """Return ``at``, a place of a journal in another store, as a place in these segments.

    Raises
    ------
    RotError
        It is in none of them; and the errors of ``ledger.recovery.Scan``.
    """
    disk = disk or OsDisk()
    headers = [_header_of(disk, data, index) for index in segment_indexes(disk, data)]
    holding = [header for header in headers if header.first_batch_no <= at.batch_no]
    found = (
        _Walk(data, holding[-1], np.empty(0, np.int64), disk).to(at.batch_no) if holding else None
    )
    if found is None or found[:4] != at[:4]:
        reason = f"there is no place for batch {at.batch_no} with the head that a snapshot states"
        raise RotError(reason, batch_no=at.batch_no, segment=journal_folder(data).name, offset=0)
    return found


def _header_of(disk: Disk, data: Path, index: int) -> SegmentHeader:
    file = SegmentFile(disk, segment_path(data, index), window_bytes=_WINDOW_BYTES)
    file.close()
    return file.header


class _Walk(Scan):
    """The batches of one segment that hold ``wanted`` records."""

    window_bytes = _WINDOW_BYTES

    def __init__(
        self, data: Path, header: SegmentHeader, wanted: NDArray[np.int64], disk: Disk
    ) -> None:
        super().__init__(data, start=header.start, disk=disk)
        self._segment = header.number
        self._wanted = wanted

    def _indexes(self) -> list[int]:
        return [self._segment]

    def to(self, batch_no: int) -> Position | None:
        """Walk the headers up to batch ``batch_no``; None where the segment ends before it."""
        file = SegmentFile(
            self._disk, segment_path(self._data, self._segment), window_bytes=_WINDOW_BYTES
        )
        try:
            self._enter(file, is_first=True)
            while self.end.batch_no < batch_no and (found := self._head(file)) is not None:
                raw, header, size = found
                self.end = advanced(self.end, header, head_of(raw), size)
        finally:
            file.close()
        return self.end if self.end.batch_no == batch_no else None

    def _batches(self, file: SegmentFile, *, is_last: bool) -> Iterator[Batch]:
        """Yield what is wanted and stop: where the journal ends is nobody's question here."""
        del is_last
        place = 0
        while place < len(self._wanted) and (found := self._head(file)) is not None:
            raw, header, size = found
            after_seq = header.first_seq + header.record_count
            if self._wanted[place] >= after_seq:
                self.end = advanced(self.end, header, head_of(raw), size)
                continue
            batch = self._whole(file, raw, header, size)
            if batch is None:
                return
            self.end = batch.after
            yield batch
            place = int(np.searchsorted(self._wanted, after_seq))
