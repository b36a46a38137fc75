"""A second reader of the journal, standard library only, written from the description of the bytes.

It reads a whole data folder and returns what it found, or raises ``ValueError`` at the first thing
that does not hold. It knows no torn tails: it is used on journals that were closed.
"""

import hashlib
import struct
import zlib
from pathlib import Path
from typing import NamedTuple


class OracleBatch(NamedTuple):
    """One batch: number, epoch, first sequence number, raw records, blobs, head."""

    batch_no: int
    epoch: int
    first_seq: int
    records: list[bytes]
    blobs: list[tuple[int, int, bytes]]
    head: bytes


def read_journal(data: Path) -> list[OracleBatch]:
    """Return the batches of every segment in ``data``, checked."""
    batches: list[OracleBatch] = []
    cluster = None
    for number, path in enumerate(sorted((data / "journal").glob("*.seg")), start=1):
        content = path.read_bytes()
        cluster = _check_segment(content, number, cluster, batches)
        at = 4096
        while at < len(content) and content[at : at + 256] != bytes(256):
            batch, at = _read_batch(content, at, cluster, batches[-1] if batches else None)
            batches.append(batch)
        if content[at:].strip(b"\0"):
            raise ValueError("bytes after the last batch")
    return batches


def _check_segment(content, number, cluster, batches):
    magic, version = struct.unpack_from("<8sH", content, 0)
    found = content[16:32]
    index, first_batch, first_seq, epoch, size = struct.unpack_from("<5Q", content, 48)
    if magic != b"DE39seg\x01" or version != 1 or cluster not in (None, found):
        raise ValueError("segment identity")
    if zlib.crc32(content[:252]) != struct.unpack_from("<I", content, 252)[0]:
        raise ValueError("segment checksum")
    last = batches[-1] if batches else OracleBatch(0, 0, 1, [], [], bytes(32))
    if (index, size) != (number, len(content)) or content[88:120] != last.head:
        raise ValueError("segment place")
    if first_batch != last.batch_no + 1 or first_seq != last.first_seq + len(last.records):
        raise ValueError("segment start")
    if epoch != last.epoch:
        raise ValueError("segment epoch")
    return found


def _read_batch(content, at, cluster, before):
    header = content[at : at + 256]
    if header[:8] != b"DE39bat\x01" or header[16:32] != cluster:
        raise ValueError("batch identity")
    if zlib.crc32(header[:252]) != struct.unpack_from("<I", header, 252)[0]:
        raise ValueError("batch checksum")
    version, _partition, record_size = struct.unpack_from("<3H", header, 8)
    epoch, batch_no, first_seq, _ts = struct.unpack_from("<4Q", header, 32)
    count, blob_count, body_size, blob_size = struct.unpack_from("<4I", header, 64)
    if version != 1 or record_size != 192 or body_size != 192 * count + blob_size + 8:
        raise ValueError("batch sizes")
    last = before or OracleBatch(0, 0, 1, [], [], bytes(32))
    if batch_no != last.batch_no + 1 or header[80:112] != last.head or epoch < last.epoch:
        raise ValueError("batch chain")
    if first_seq != last.first_seq + len(last.records):
        raise ValueError("batch numbering")
    body = content[at + 256 : at + 256 + body_size]
    if hashlib.sha256(body).digest() != header[112:144] or body[-8:] != b"\xe3\x9aDE39/\xe3":
        raise ValueError("batch body")
    end = -(-(at + 256 + body_size) // 4096) * 4096
    if content[at + 256 + body_size : end].strip(b"\0"):
        raise ValueError("padding")
    records = [body[192 * i : 192 * i + 192] for i in range(count)]
    blobs = _read_blobs(body[192 * count : -8], blob_count)
    head = hashlib.sha256(header).digest()
    return OracleBatch(batch_no, epoch, first_seq, records, blobs, head), end


def _read_blobs(area, count):
    blobs = []
    for _ in range(count):
        row, kind, size = struct.unpack_from("<IHH", area)
        blobs.append((row, kind, area[8 : 8 + size]))
        area = area[8 + size :]
    if area:
        raise ValueError("blob area")
    return blobs
