"""Old segments moved out of the data folder or the database, compressed, never before their time.

A segment may go when every snapshot that is kept begins after it: whatever snapshot a start
falls back to, the journal from there on is here. Of a journal that is signed it must be covered by
the newest checkpoint, too, for its leaves are made of it. Each batch is checked and the copy read
back before the journal says that it begins later, and only then the segment is removed. An engine
may be running. Batches in a database go by as many as fill a segment, which has the bytes that a
file store's would have.
"""

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from ledger.disk import OsDisk, storage_errors
from ledger.errors import LedgerError
from ledger.proof.log import signed_batches
from ledger.segment import SEGMENT_BYTES, Piece, segment_path
from ledger.snapshot import KEEP_COUNT, load_latest, snapshot_seqs
from ledger.stores.base import JournalReader
from ledger.stores.file_reader import FileReader
from ledger.stores.place import open_reader

_CHUNK_BYTES = 1024 * 1024
_LEVEL = 6


class Limits(NamedTuple):
    """What of the journal goes, of what may."""

    before_ns: int = 0  # segments that ended before this engine time (Unix ns)
    bytes_max: int = 0  # the oldest while all take more; 0 = however much


class Due(NamedTuple):
    """What is to go, oldest first, and the numbers of what only waits for a checkpoint."""

    pieces: list[Piece]
    unsigned: list[int]


class ArchiveError(LedgerError):
    """A segment that cannot be archived; it was not removed."""


def due_pieces(
    data: Path,
    journal: JournalReader,
    keep_count: int,
    limits: Limits | None = None,
    segment_bytes: int = SEGMENT_BYTES,
) -> Due:
    """Return what may go of a journal; the newest ``keep_count`` segments always stay.

    With ``limits`` only what exceeds them. Raises the errors of the reader, and those of
    ``signed_batches``.
    """
    due = Due([], [])
    seqs = snapshot_seqs(data)
    if len(seqs) < KEEP_COUNT:
        return due  # a start may have to fall back to the journal's beginning
    oldest = load_latest(data, before_seq=seqs[0] + 1)
    if oldest is None:
        return due
    signed = signed_batches(data)
    whole: int | None = None
    for piece in journal.pieces(oldest.position, keep_count, segment_bytes):
        if limits is not None:
            whole = journal.sizes()["journal_bytes"] if whole is None else whole
            is_old = piece.ended_ns < limits.before_ns
            if not (is_old or 0 < limits.bytes_max < whole):
                break
            whole -= piece.size_bytes
        if signed is not None and piece.after.batch_no - 1 > signed:
            due.unsigned.append(piece.number)
        else:
            due.pieces.append(piece)
    return due


def archive(
    data: Path,
    target: Path,
    *,
    keep_count: int = 2,
    limits: Limits | None = None,
    segment_bytes: int = SEGMENT_BYTES,
    dry_run: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Move the segments that may go to ``target`` as ``NNNNNNNN.seg.gz``; return what was done.

    Parameters
    ----------
    data, target
        The data folder, wherever its journal is; the archive.
    keep_count
        As many of the newest segments stay in any case.
    limits
        Only those that exceed them go; None = all that may.
    segment_bytes
        Size of the segments made of a journal in a database.
    dry_run
        Only say which.
    on_progress
        Gets the number of each; what it raises ends the work between two segments.

    Returns
    -------
    dict
        archived, unsigned (numbers of segments: those that go, those that no checkpoint covers
        yet), bytes, archive_bytes.

    Raises
    ------
    ArchiveError, RotError
        A copy differs from its segment, or a batch is damaged; the segment stays.
    StoreSettingsError
        The database does not let this role remove batches.
    StorageError
        A disk refused.
    """
    with closing(open_reader(data)) as journal:
        due = due_pieces(data, journal, keep_count, limits, segment_bytes)
        numbers = [piece.number for piece in due.pieces]
        facts: dict[str, Any] = {"archived": numbers, "unsigned": due.unsigned}
        facts |= {"bytes": 0, "archive_bytes": 0}
        if dry_run or not numbers:
            return facts
        with storage_errors("making", target):
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for piece in due.pieces:
            taken, left = _moved(journal, piece, target)
            facts["bytes"] += taken
            facts["archive_bytes"] += left
            on_progress(piece.number)
    return facts


def _moved(journal: JournalReader, piece: Piece, target: Path) -> tuple[int, int]:
    """Copy one segment, check the copy, remove the segment; return both sizes in bytes."""
    copy, aside = target / f"{piece.number:08d}.seg.gz", target / "made"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        folder = journal.folder_with(piece, aside)
        path = segment_path(folder, piece.number)
        end = piece.start
        for batch in FileReader(folder).scan(end, piece.after.batch_no - end.batch_no):
            end = batch.after
        if end[:4] != piece.after[:4]:
            raise ArchiveError(f"{path} does not end before batch {piece.after.batch_no}: it stays")
        with storage_errors("reading", path):
            size = path.stat().st_size
        _copied(path, copy)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    journal.remove(piece)
    return size, copy.stat().st_size


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
