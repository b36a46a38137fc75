"""Bytes of a journal batch: header, records, blobs, end mark; and the hash chain through them.

A batch is a 256-byte header, ``record_count`` records of 192 bytes, the blobs (operator names, full
hashes of rule sets and models), an 8-byte end mark without a zero byte, then zeros up to the next
4 KiB. ``body_hash`` covers records, blobs and end mark; ``head`` is SHA-256 of the header, and each
header carries the head of the batch before it. No I/O and no clock here.

Every 512-byte sector that a batch's body touches holds a byte that is not zero: a record's
sequence number, a blob's kind (hence the bound on a blob's size) or a piece of the end mark.
Segments are zeros before a batch is written, so an all-zero sector inside a body proves that the
write never finished. Recovery relies on it.
"""

import hashlib
import struct
import zlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ledger.pages import page_memory
from ledger.record import RECORD, RECORD_BYTES

HEADER_BYTES = 256
PAGE_BYTES = 4096  # batches start on this boundary: one sync touches whole pages
SECTOR_BYTES = 512  # what a disk writes whole or not at all
FORMAT_VERSION = 1
BATCH_MAGIC = b"DE39bat\x01"
END_MARK = b"\xe3\x9aDE39/\xe3"
ZERO_HEAD = bytes(32)  # head before the first batch

Records = NDArray[np.void]
_HEADER = struct.Struct("<8sHHHH16s4Q4I32s32s16s92x")
_ZERO_PAGE = bytes(PAGE_BYTES)
_BLOB = struct.Struct("<IHH")
_CRC = struct.Struct("<I")
BLOB_DATA_MAX = 400  # so that two kinds are never a whole sector apart
assert _HEADER.size == HEADER_BYTES - _CRC.size
assert 0 not in END_MARK


class BlobKind(IntEnum):
    """What the bytes of a blob are."""

    OPERATOR = 1  # UTF-8 name of who asked for a change
    RULES_SHA256 = 2
    MODEL_SHA256 = 3
    ORIGINAL = 4  # 16 bytes: identity of the original that an orphan reversal names
    LIFECYCLE = 6  # 16 bytes: keyed hash of the lifecycle id that the message came with
    REFERENCE = 5  # the id that an item of clearing or repayment came with
    HITS = 16  # places of the rules from 128 on that held, u16 each, ascending
    RULES_TEXT = 17  # a piece of the rule set's canonical text, compressed with zlib
    NAME = 18  # UTF-8: of a rule, or of a list and its type
    REASON = 19  # UTF-8: why a change was made
    KEYS = 20  # entries of a list, u64 each
    RULE = 21  # place of the rule that refused the payment, u16
    ZONES = 22  # ASCII: release and hash of the time zones that the rules read


class Blob(NamedTuple):
    """Up to 400 bytes that belong to the record at ``row`` of the same job or batch."""

    row: int
    kind: int
    data: bytes


class BatchHeader(NamedTuple):
    """The fields of a header, in their order in the file."""

    magic: bytes
    version: int
    partition: int
    record_bytes: int
    flags: int
    cluster: bytes
    epoch: int
    batch_no: int
    first_seq: int
    ts_ns: int
    record_count: int
    blob_count: int
    body_bytes: int  # records, blobs and end mark
    blob_bytes: int
    prev_head: bytes
    body_hash: bytes
    writer: bytes


class Position(NamedTuple):
    """Where a journal stands between two batches: what the next batch must be.

    ``segment`` and ``offset`` say where its bytes go in a file store and are 0 in other stores.
    """

    batch_no: int = 1
    seq: int = 1  # sequence number of the next record
    epoch: int = 0  # epoch of the batch before
    head: bytes = ZERO_HEAD  # head of the batch before
    segment: int = 0
    offset: int = 0

    def to_json(self) -> dict[str, int | str]:
        """Return the fields for JSON, ``head`` as hex."""
        return {**self._asdict(), "head": self.head.hex()}


def position_from_json(fields: dict[str, Any]) -> Position:
    """Return the position that ``to_json`` wrote; ``KeyError`` or ``ValueError`` on others."""
    numbers = {name: int(fields[name]) for name in Position._fields if name != "head"}
    return Position(head=bytes.fromhex(fields["head"]), **numbers)


class Batch(NamedTuple):
    """A batch as read back: ``records`` is a writable ``RECORD[n]`` view that stays valid."""

    header: BatchHeader
    records: Records
    blobs: tuple[Blob, ...]
    head: bytes
    after: Position


class Writer(NamedTuple):
    """Who writes, and for which journal: the same in every header of one opened store."""

    cluster: bytes  # 16 bytes, one value for all folders of an installation
    partition: int
    epoch: int
    writer: bytes  # 16 bytes, another value at each start


def padded(size: int) -> int:
    """Return ``size`` rounded up to whole pages of 4 KiB."""
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def batch_bytes(record_count: int, blob_bytes: int) -> int:
    """Return the bytes a batch of so many records and blob bytes takes in the file."""
    return padded(HEADER_BYTES + record_count * RECORD_BYTES + blob_bytes + len(END_MARK))


def blob_bytes(blobs: Sequence[Blob]) -> int:
    """Return the bytes ``blobs`` take in a batch."""
    return sum(_BLOB.size + len(blob.data) for blob in blobs)


class BatchEncoder:
    """Writes batches into one buffer that is used again and again.

    A batch may be made piece by piece: ``add`` copies and hashes records while the batch before is
    still on its way to the disk, ``finish`` then only puts in what needs to be known last.

    Parameters
    ----------
    writer
        Goes into every header.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._buffer: NDArray[np.uint8] = page_memory(batch_bytes(1024, 0))
        self._blobs: list[bytes] = []
        self._digest = hashlib.sha256()
        self.record_count = 0

    def encode(
        self, parts: Sequence[tuple[Records, Sequence[Blob]]], position: Position, ts_ns: int
    ) -> memoryview:
        """Return one batch made of ``parts`` in order: ``add`` each, ``finish``, ``clear``."""
        for records, blobs in parts:
            self.add(records, blobs)
        batch = self.finish(position, ts_ns)
        self.clear()
        return batch

    def add(self, records: Records, blobs: Sequence[Blob]) -> None:
        """Put ``records`` at the end of the batch being made.

        Parameters
        ----------
        records
            ``RECORD[n]``, C-contiguous, ``seq`` set.
        blobs
            Blobs of these records, rows counted in them.
        """
        at = HEADER_BYTES + self.record_count * RECORD_BYTES
        end = at + len(records) * RECORD_BYTES
        self._make_room(end)
        view = self._buffer.data[at:end]
        view[:] = records.view(np.uint8).data  # numpy would let go of the interpreter for it
        self._digest.update(view)
        base = self.record_count
        self._blobs += [_BLOB.pack(base + b.row, b.kind, len(b.data)) + b.data for b in blobs]
        self.record_count += len(records)

    def finish(self, position: Position, ts_ns: int) -> memoryview:
        """Return the bytes of the batch made so far; more may be added, and this called again.

        Parameters
        ----------
        position
            What the batch must be: number, first sequence number, head before it.
        ts_ns
            Engine time of the batch, Unix ns.

        Returns
        -------
        memoryview
            Whole pages in ``page_memory``, valid until the next call.
        """
        blobs_size = sum(map(len, self._blobs))
        size = batch_bytes(self.record_count, blobs_size)
        self._make_room(size)
        # A digest that was fed much lets go of the interpreter at every update, even of a few
        # bytes, and the way back to the disk waits for whoever takes it. A copy does not.
        digest = self._digest.copy()
        end = self._put_tail(size, digest)
        view = self._buffer.data
        _HEADER.pack_into(
            view,
            0,
            BATCH_MAGIC,
            FORMAT_VERSION,
            self._writer.partition,
            RECORD_BYTES,
            0,
            self._writer.cluster,
            self._writer.epoch,
            position.batch_no,
            position.seq,
            ts_ns,
            self.record_count,
            len(self._blobs),
            end - HEADER_BYTES,
            blobs_size,
            position.head,
            digest.digest(),
            self._writer.writer,
        )
        _CRC.pack_into(view, _HEADER.size, zlib.crc32(view[: _HEADER.size]))
        return view[:size]

    def clear(self) -> None:
        """Begin another batch."""
        self._blobs = []
        self._digest = hashlib.sha256()
        self.record_count = 0

    def _put_tail(self, size: int, digest: "hashlib._Hash") -> int:
        """Put blobs, end mark and zeros behind the records; return where the end mark ends."""
        at = HEADER_BYTES + self.record_count * RECORD_BYTES
        tail = b"".join([*self._blobs, END_MARK])
        end = at + len(tail)
        self._buffer.data[at:size] = tail + _ZERO_PAGE[: size - end]
        digest.update(tail)
        return end

    def _make_room(self, size: int) -> None:
        if size > len(self._buffer):
            larger = page_memory(padded(max(size, 2 * len(self._buffer))))
            larger[: len(self._buffer)] = self._buffer
            self._buffer = larger


def blob_is_valid(blob: Blob, record_count: int) -> bool:
    """Return whether ``blob`` can be stored with a job of ``record_count`` records."""
    return (
        0 <= blob.row < record_count and 0 < blob.kind <= 65535 and len(blob.data) <= BLOB_DATA_MAX
    )


def header_from_bytes(data: bytes | memoryview) -> BatchHeader | None:
    """Return the header in the first 256 bytes, or None if magic or checksum do not hold."""
    if data[:8] != BATCH_MAGIC:
        return None
    if zlib.crc32(data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
        return None
    return BatchHeader._make(_HEADER.unpack_from(data))


def header_bytes(header: BatchHeader) -> bytes:
    """Return the 256 bytes that ``header`` was read from."""
    packed = _HEADER.pack(*header)
    return packed + _CRC.pack(zlib.crc32(packed))


def bytes_of(batch: Batch) -> bytes:
    """Return the whole pages that ``batch`` was read from."""
    parts = [header_bytes(batch.header), np.ascontiguousarray(batch.records).tobytes()]
    parts += [_BLOB.pack(b.row, b.kind, len(b.data)) + b.data for b in batch.blobs]
    raw = b"".join([*parts, END_MARK])
    return raw.ljust(padded(len(raw)), b"\0")


def head_of(header: bytes | memoryview) -> bytes:
    """Return SHA-256 of the 256 header bytes: the head of the chain after this batch."""
    return hashlib.sha256(header[:HEADER_BYTES]).digest()


def misfit(header: BatchHeader, at: Position) -> str:
    """Return why the batch of ``header`` is not the one that comes at ``at``; "" = it is."""
    if header.batch_no != at.batch_no:
        return f"batch {header.batch_no} stands where batch {at.batch_no} should"
    if header.prev_head != at.head:
        return "batch does not continue the hash chain"
    if header.first_seq != at.seq:
        return f"batch begins with record {header.first_seq}, record {at.seq} comes next"
    if header.epoch < at.epoch:
        return f"batch is of epoch {header.epoch}, the one before it of epoch {at.epoch}"
    return ""


def sizes_agree(header: BatchHeader) -> bool:
    """Return whether the lengths a header states fit each other."""
    records = header.record_count * RECORD_BYTES
    return (
        header.record_bytes == RECORD_BYTES
        and header.body_bytes == records + header.blob_bytes + len(END_MARK)
        and header.blob_bytes >= header.blob_count * _BLOB.size
    )


def body_is_whole(header: BatchHeader, batch: NDArray[np.uint8]) -> bool:
    """Return whether body hash and padding of ``batch`` (all its pages) hold."""
    end = HEADER_BYTES + header.body_bytes
    if hashlib.sha256(batch[HEADER_BYTES:end].data).digest() != header.body_hash:
        return False
    return not batch[end:].any()


def body_is_incomplete(header: BatchHeader, batch: NDArray[np.uint8]) -> bool:
    """Return whether a sector that the body touches is all zero: the write never finished."""
    end = -(-(HEADER_BYTES + header.body_bytes) // SECTOR_BYTES) * SECTOR_BYTES
    sectors = batch[:end].reshape(-1, SECTOR_BYTES)
    return not bool(sectors.any(axis=1).all())


def records_of(header: BatchHeader, batch: NDArray[np.uint8]) -> Records:
    """Return the records in ``batch`` as a view, ``RECORD[record_count]``."""
    end = HEADER_BYTES + header.record_count * RECORD_BYTES
    return batch[HEADER_BYTES:end].view(RECORD)


def blobs_of(header: BatchHeader, batch: NDArray[np.uint8]) -> tuple[Blob, ...]:
    """Return the blobs in ``batch``; ``ValueError`` if they do not fill their area exactly."""
    start = HEADER_BYTES + header.record_count * RECORD_BYTES
    data = batch[start : start + header.blob_bytes].tobytes()
    blobs = []
    at = 0
    for _ in range(header.blob_count):
        if at + _BLOB.size > len(data):
            raise ValueError("blob area ends too early")
        row, kind, size = _BLOB.unpack_from(data, at)
        at += _BLOB.size + size
        blobs.append(Blob(row, kind, data[at - size : at]))
        if not blob_is_valid(blobs[-1], header.record_count) or len(blobs[-1].data) != size:
            raise ValueError("blob names a row that is not there or is cut short")
    if at != len(data):
        raise ValueError("bytes left after the last blob")
    return tuple(blobs)


def advanced(position: Position, header: BatchHeader, head: bytes, size: int) -> Position:
    """Return the position after the batch of ``size`` bytes that stood at ``position``."""
    return position._replace(
        batch_no=header.batch_no + 1,
        seq=header.first_seq + header.record_count,
        epoch=header.epoch,
        head=head,
        offset=position.offset + size,
    )
