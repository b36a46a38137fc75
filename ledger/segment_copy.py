"""Segment files made as copies: from other segment files, or from the batches of another store.

The bytes of a batch are the same in every store, so a journal out of a database becomes the files
that a file store could have written. A segment made here is as long as its batches; whoever writes
on begins the next one. The same batches give the same files.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, Self

from ledger.disk import Disk, OsDisk, storage_errors, write_exact
from ledger.journal import PAGE_BYTES, Batch, Position, advanced, bytes_of
from ledger.segment import (
    ARCHIVED_NAME,
    SEGMENT_BYTES,
    journal_folder,
    segment_page,
    segment_path,
)

_CHUNK_BYTES = 4 * 1024 * 1024
_ID_BYTES = 16


class SegmentWriter:
    """Puts batches, in order, into the segments of a folder that nobody has open; use it ``with``.

    Parameters
    ----------
    data
        The data folder; its journal folder is made.
    start
        Of the first batch that comes, with the number of its segment; None = a whole journal.
    segment_bytes
        Bytes after which a segment ends; one with a single batch may be longer.
    disk
        The file system.

    Attributes
    ----------
    end
        The place after the newest batch.
    records
        How many there are in all.
    """

    def __init__(
        self,
        data: Path,
        start: Position | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        disk: Disk | None = None,
    ) -> None:
        self._data = data
        self._segment_bytes = segment_bytes
        self._disk = disk or OsDisk()
        self._begin = (start or Position(segment=1))._replace(offset=PAGE_BYTES)
        self._aside = segment_path(data, self._begin.segment).with_suffix(".tmp")
        self._handle: int | None = None
        self._owner = (bytes(_ID_BYTES), 0)
        self.end = self._begin
        self.records = 0
        with storage_errors("making", journal_folder(data)):
            self._disk.mkdir(journal_folder(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End the segment at hand, or after an error leave it without a name."""
        if kind is None:
            self._finish()
        elif self._handle is not None:
            self._disk.close(self._handle)
            self._handle = None

    def add(self, batch: Batch) -> None:
        """Write ``batch``, which must be the one that comes at ``end``.

        Raises
        ------
        StorageError
            A disk refused.
        """
        raw = bytes_of(batch)
        if self._handle is not None and self.end.offset + len(raw) > self._segment_bytes:
            self._finish()
            self._begin = self.end._replace(segment=self.end.segment + 1, offset=PAGE_BYTES)
            self.end = self._begin
        if self._handle is None:
            self._owner = (batch.header.cluster, batch.header.partition)
            self._aside = segment_path(self._data, self.end.segment).with_suffix(".tmp")
            with storage_errors("writing", self._aside):
                self._handle = self._disk.open(self._aside, create=True)
        write_exact(self._disk, self._handle, raw, self.end.offset, self._aside)
        self.end = advanced(self.end, batch.header, batch.head, len(raw))
        self.records += batch.header.record_count

    def _finish(self) -> None:
        """End the segment at hand durably; it has its name only with a good header."""
        if self._handle is None:
            return
        begin, path = self._begin, segment_path(self._data, self._begin.segment)
        cluster, partition = self._owner
        name = cluster + partition.to_bytes(2, "little") + begin.head + begin.batch_no.to_bytes(8)
        uuid = hashlib.sha256(name).digest()[:_ID_BYTES]
        page = segment_page(cluster, partition, uuid, begin, self.end.offset)
        handle, self._handle = self._handle, None
        try:
            write_exact(self._disk, handle, page, 0, self._aside)
            with storage_errors("writing", path):
                self._disk.fdatasync(handle)
        finally:
            self._disk.close(handle)
        with storage_errors("writing", path):
            self._disk.rename(self._aside, path)
            self._disk.fsync_dir(path.parent)


def copy_segments(source: Path, target: Path, end: Position) -> None:
    """Copy the segment files up to ``end``; what would follow it is zeros."""
    folder = journal_folder(source)
    with storage_errors("writing", journal_folder(target)):
        journal_folder(target).mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = folder / ARCHIVED_NAME
        if mark.exists():
            copy_file(mark, journal_folder(target) / ARCHIVED_NAME)
        for path in sorted(folder.glob("*.seg")):
            number = int(path.stem)
            if number <= end.segment:
                size = end.offset if number == end.segment else path.stat().st_size
                copy_file(path, segment_path(target, number), size)


def copy_file(source: Path, target: Path, size: int | None = None) -> None:
    """Copy a file and sync it; past ``size`` bytes, zeros up to its length. ``OSError`` passes."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    whole = source.stat().st_size
    left = whole if size is None else size
    with source.open("rb") as reader, created(target) as writer:
        while left and (chunk := reader.read(min(_CHUNK_BYTES, left))):
            writer.write(chunk)
            left -= len(chunk)
        while writer.tell() < whole:
            writer.write(bytes(min(_CHUNK_BYTES, whole - writer.tell())))
        writer.flush()
        os.fsync(writer.fileno())
    OsDisk().fsync_dir(target.parent)


def created(path: Path) -> Any:
    """Return the new, empty file ``path`` (0600), open for writing bytes."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
