"""Segment files of the journal: names, header page, folder layout.

A data folder holds ``lock``, and ``journal/`` with ``epoch`` and the segments ``00000001.seg`` and
on. A segment is one header page, then batches, then zeros to a fixed size that the header states.
The header tells which batch comes first and which head is before it, so it also proves that every
earlier batch was durable: the next segment is only begun after that.
"""

import json
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from ledger.disk import Disk, storage_errors, write_exact
from ledger.errors import FormatVersionError, RotError
from ledger.journal import FORMAT_VERSION, PAGE_BYTES, Position, position_from_json

SEGMENT_MAGIC = b"DE39seg\x01"
SEGMENT_BYTES = 64 * 1024 * 1024
SEGMENT_BYTES_MIN = 4 * PAGE_BYTES

_HEADER = struct.Struct("<8sHHI16s16s5Q32s132x")
_CRC = struct.Struct("<I")
DATABASE_NAME = "database"  # of the file in the journal folder that names a database instead
TABLE = "table de39.batch"  # where the batches of a journal in a database are
_SUFFIX = ".seg"
ARCHIVED_NAME = "archived"
assert _HEADER.size + _CRC.size == 256


class SegmentHeader(NamedTuple):
    """The fields of a segment's header page, in their order in the file."""

    magic: bytes
    version: int
    partition: int
    flags: int
    cluster: bytes
    uuid: bytes
    number: int  # 1 and on; also the file's name
    first_batch_no: int
    first_seq: int
    first_epoch: int  # epoch of the batch before
    size: int  # bytes of the file
    prev_head: bytes

    @property
    def start(self) -> Position:
        """Return the position of the first batch of this segment."""
        return Position(
            batch_no=self.first_batch_no,
            seq=self.first_seq,
            epoch=self.first_epoch,
            head=self.prev_head,
            segment=self.number,
            offset=PAGE_BYTES,
        )


class Piece(NamedTuple):
    """A whole segment that could be archived; in a database, the batches that would fill one."""

    number: int
    start: Position  # of its first batch
    after: Position  # of the first batch that follows
    ended_ns: int  # engine time of that batch, Unix ns
    size_bytes: int


def journal_folder(data: Path) -> Path:
    """Return the folder of the segments in the data folder ``data``."""
    return data / "journal"


def segment_path(data: Path, index: int) -> Path:
    """Return the file of segment ``index``."""
    return journal_folder(data) / f"{index:08d}{_SUFFIX}"


def place_name(at: Position) -> str:
    """Return the name of what holds the bytes at ``at``: a segment file, or the table."""
    return f"{at.segment:08d}{_SUFFIX}" if at.segment else TABLE


def segment_indexes(disk: Disk, data: Path) -> list[int]:
    """Return the numbers of the segments that are there, in order."""
    stems = [n[: -len(_SUFFIX)] for n in disk.names(journal_folder(data)) if n.endswith(_SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())


def archived_mark(disk: Disk, data: Path) -> Position | None:
    """Return where the journal begins since older segments were archived; None = at batch 1.

    Raises
    ------
    RotError
        The file that says so is damaged.
    """
    path = journal_folder(data) / ARCHIVED_NAME
    if ARCHIVED_NAME not in disk.names(journal_folder(data)):
        return None
    with storage_errors("reading", path):
        handle = disk.open(path)
        try:
            buffer = bytearray(min(disk.size(handle), PAGE_BYTES))
            disk.read_into(handle, memoryview(buffer), 0)
        finally:
            disk.close(handle)
    line, _, checksum = bytes(buffer).partition(b"\n")
    try:
        if checksum == b"%08x\n" % zlib.crc32(line):
            return position_from_json(json.loads(line))
    except (ValueError, KeyError, TypeError):
        pass
    reason = "the file that names the archived segments is damaged: restore it from the archive"
    raise RotError(reason, batch_no=0, segment=ARCHIVED_NAME, offset=0)


def write_archived_mark(disk: Disk, data: Path, start: Position) -> None:
    """Say that the journal begins at ``start``, durably; its older segments may go then."""
    path = journal_folder(data) / ARCHIVED_NAME
    aside = path.with_suffix(".tmp")
    line = json.dumps(start.to_json()).encode()
    with storage_errors("writing", path):
        handle = disk.open(aside, create=True)
        try:
            write_exact(disk, handle, line + b"\n%08x\n" % zlib.crc32(line), 0, aside)
            disk.fdatasync(handle)
        finally:
            disk.close(handle)
        disk.rename(aside, path)
        disk.fsync_dir(path.parent)


def segment_page(cluster: bytes, partition: int, uuid: bytes, start: Position, size: int) -> bytes:
    """Return the header page (4 KiB) of the segment whose first batch is ``start``."""
    header = _HEADER.pack(
        SEGMENT_MAGIC,
        FORMAT_VERSION,
        partition,
        0,
        cluster,
        uuid,
        start.segment,
        start.batch_no,
        start.seq,
        start.epoch,
        size,
        start.head,
    )
    return (header + _CRC.pack(zlib.crc32(header))).ljust(PAGE_BYTES, b"\0")


def segment_from_page(page: bytes, path: Path) -> SegmentHeader:
    """Return the header in ``page``.

    Raises
    ------
    RotError
        Magic, checksum or padding do not hold.
    FormatVersionError
        A newer program wrote it.
    """
    body = page[: _HEADER.size]
    whole = (
        len(page) == PAGE_BYTES
        and page[:8] == SEGMENT_MAGIC
        and zlib.crc32(body) == _CRC.unpack_from(page, _HEADER.size)[0]
        and not page[256:].strip(b"\0")
    )
    if not whole:
        raise RotError("segment header damaged", batch_no=0, segment=path.name, offset=0)
    header = SegmentHeader._make(_HEADER.unpack_from(page))
    check_version(header.version, path)
    return header


def check_version(version: int, path: Path) -> None:
    """Raise ``FormatVersionError`` unless this program reads format ``version``."""
    if version != FORMAT_VERSION:
        message = (
            f"{path} has journal format {version}, this program reads format {FORMAT_VERSION}: "
            "run the newer de39 that wrote it"
        )
        raise FormatVersionError(message)
