"""Old segments moved out of the data folder, compressed and verified, never before their time.

A segment may go when every snapshot that is kept begins after it: whatever snapshot a start
falls back to, the journal from there on is here. The copy is read back and compared before the
journal says that it begins later, and only then the segment is removed. An engine may be running.
"""

import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ledger.disk import OsDisk, storage_errors
from ledger.errors import LedgerError
from ledger.journal import HEADER_BYTES, PAGE_BYTES, BatchHeader, header_from_bytes
from ledger.recovery import SegmentFile
from ledger.segment import segment_indexes, segment_path, write_archived_mark
from ledger.snapshot import KEEP_COUNT, load_latest, snapshot_seqs

_CHUNK_BYTES = 1024 * 1024
_LEVEL = 6


class Limits(NamedTuple):
    """What of the journal stays where it is."""

    before_ns: int = 0  # segments that ended before this engine time (Unix ns) go
    bytes_max: int = 0  # the oldest go while all take more; 0 = however much
    signed: int | None = None  # batches that a checkpoint covers: others stay; None = none is made


class ArchiveError(LedgerError):
    """A segment that cannot be archived; it was not removed."""


def archivable(data: Path, keep_count: int) -> list[int]:
    """Return the segments that may go, oldest first; the newest ``keep_count`` always stay."""
    seqs = snapshot_seqs(data)
    if len(seqs) < KEEP_COUNT:
        return []  # a start may have to fall back to the journal's beginning
    oldest = load_latest(data, before_seq=seqs[0] + 1)
    if oldest is None:
        return []
    indexes = segment_indexes(OsDisk(), data)
    stay = set(indexes[len(indexes) - max(1, keep_count) :])
    return [i for i in indexes if i < oldest.position.segment and i not in stay]


def archive(
    data: Path,
    target: Path,
    *,
    keep_count: int = 2,
    limits: Limits | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Move the segments that may go to ``target`` as ``NNNNNNNN.seg.gz``; return what was done.

    With ``limits`` only those that exceed them. ``on_progress`` gets the number of each; what it
    raises ends the work between two segments.

    Raises
    ------
    ArchiveError
        A copy differs from its segment; the segment stays.
    StorageError
        A disk refused.
    """
    disk = OsDisk()
    numbers = archivable(data, keep_count)
    if limits is not None:
        numbers = numbers[: _exceeding(data, numbers, limits)]
    facts: dict[str, Any] = {"archived": numbers, "bytes": 0, "archive_bytes": 0}
    if dry_run or not numbers:
        return facts
    with storage_errors("making", target):
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in numbers:
        path, copy = segment_path(data, number), target / f"{number:08d}.seg.gz"
        facts["bytes"] += path.stat().st_size
        _copied(path, copy)
        facts["archive_bytes"] += copy.stat().st_size
        following = SegmentFile(disk, segment_path(data, number + 1))
        following.close()
        write_archived_mark(disk, data, following.header.start)
        with storage_errors("removing", path):
            disk.unlink(path)
            disk.fsync_dir(path.parent)
        on_progress(number)
    return facts


def _exceeding(data: Path, numbers: list[int], limits: Limits) -> int:
    """Return how many of ``numbers``, oldest first, exceed ``limits``."""
    disk = OsDisk()
    sizes = {n: segment_path(data, n).stat().st_size for n in segment_indexes(disk, data)}
    whole, count = sum(sizes.values()), 0
    for number in numbers:
        following = _first_of(data, number + 1)
        is_old = following.ts_ns < limits.before_ns
        if not (is_old or 0 < limits.bytes_max < whole):
            break
        if limits.signed is not None and following.batch_no - 1 > limits.signed:
            break
        whole -= sizes[number]
        count += 1
    return count


def _first_of(data: Path, number: int) -> BatchHeader:
    """Return the header of the first batch of segment ``number``."""
    segment = SegmentFile(OsDisk(), segment_path(data, number))
    try:
        header = header_from_bytes(segment.view(PAGE_BYTES, HEADER_BYTES).tobytes())
    finally:
        segment.close()
    if header is None:
        raise ArchiveError(f"{segment.path} does not begin with a batch: run de39 ledger verify")
    return header


def unpack(target: Path, number: int, path: Path) -> None:
    """Write segment ``number`` of the archive ``target`` to the file ``path``."""
    with (
        storage_errors("unpacking", path),
        gzip.open(target / f"{number:08d}.seg.gz") as reader,
        path.open("wb") as writer,
    ):
        for chunk in iter(lambda: reader.read(_CHUNK_BYTES), b""):
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())


def _copied(path: Path, copy: Path) -> None:
    """Compress ``path`` to ``copy`` durably and read it back."""
    aside = copy.with_suffix(".tmp")
    wanted = hashlib.sha256()
    with storage_errors("writing", copy):
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            with (
                path.open("rb") as reader,
                gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as writer,
            ):
                for chunk in iter(lambda: reader.read(_CHUNK_BYTES), b""):
                    wanted.update(chunk)
                    writer.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        found = hashlib.sha256()
        with gzip.open(aside) as reader:
            for chunk in iter(lambda: reader.read(_CHUNK_BYTES), b""):
                found.update(chunk)
        if found.digest() != wanted.digest():
            raise ArchiveError(f"{aside} differs from {path}: the segment stays where it is")
        aside.rename(copy)
        OsDisk().fsync_dir(copy.parent)
