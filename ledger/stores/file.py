"""The embedded store: a folder with segment files on a local disk, no service needed.

One ``pwrite`` and one ``fdatasync`` a batch, into blocks that were written with zeros before, and
past the page cache where the file system can: nothing is copied, and a failed write is told to the
one who wrote. The folder is locked for one process. The first failed write or sync ends the store:
what the disk then holds is unknown, and asking again may be answered "done" falsely.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from ledger.ahead import read_ahead
from ledger.disk import Disk, OsDisk, storage_errors, write_durably, write_exact
from ledger.errors import LedgerError, NoJournalError, StorageError
from ledger.failpoints import make_disk
from ledger.journal import (
    PAGE_BYTES,
    Batch,
    Position,
    Writer,
    advanced,
    head_of,
    header_from_bytes,
    padded,
)
from ledger.pages import in_page_memory, page_memory
from ledger.recovery import Scan, TornTail
from ledger.segment import (
    SEGMENT_BYTES,
    SEGMENT_BYTES_MIN,
    journal_folder,
    segment_indexes,
    segment_page,
    segment_path,
)
from ledger.stores.base import Expect, Outcome
from ledger.stores.epoch import Ownership, read_epoch, write_epoch
from ledger.stores.spare import SpareSegment

LOCK_NAME = "lock"
_ID_BYTES = 16
_ZERO_BYTES = 1024 * 1024


class FileStore:
    """A journal in a data folder, opened for writing; make it with ``open_file_store``.

    Attributes
    ----------
    writer
        Owner fields of every batch; ``writer.epoch`` is this opening's.
    torn
        The unacknowledged last write that was cut at opening, or None.
    max_batch_bytes
        A batch must fit an empty segment.
    """

    def __init__(
        self, disk: Disk, data: Path, lock: int | None, segment_bytes: int, *, in_background: bool
    ) -> None:
        self._disk = disk
        self._data = data
        self._lock = lock
        self._segment_bytes = segment_bytes
        self._spare = SpareSegment(disk, data, segment_bytes, in_background=in_background)
        self._position = Position()
        self._handle: int | None = None
        self._path = journal_folder(data)  # of the open segment
        self._size = 0  # of the open segment; an older one may have another size
        self._failure: LedgerError | None = None
        self.writer = Writer(bytes(_ID_BYTES), 0, 0, bytes(_ID_BYTES))
        self.torn: TornTail | None = None
        self.max_batch_bytes = segment_bytes - PAGE_BYTES

    @property
    def position(self) -> Position:
        """Return the durable end of the journal."""
        return self._position

    @property
    def early_count(self) -> int:
        """Return how many segments were begun before all their zeros were written."""
        return self._spare.early_count

    def append(self, batch: memoryview, expect: Expect) -> Outcome:
        """Write and sync ``batch`` at the end.

        Parameters
        ----------
        batch
            Whole pages from ``BatchEncoder.encode`` for ``position``.
        expect
            What the caller believes the end to be.

        Returns
        -------
        Outcome
            ``OK`` when durable, ``STALE`` when ``expect`` does not hold (nothing was written).

        Raises
        ------
        StorageError
            Disk error, full disk or short write, now or earlier; the store takes nothing more.
        ValueError
            The batch is not one for this place or longer than a segment: the caller's mistake.
        """
        if self._failure is not None:
            message = f"store stopped after an earlier error: {self._failure}"
            raise StorageError(message)
        at = self._position
        if expect != (self.writer.epoch, at.seq, at.head):
            return Outcome.STALE
        header = header_from_bytes(batch)
        if header is None or header.batch_no != at.batch_no or header.prev_head != at.head:
            raise ValueError("append takes the encoded batch that follows the journal's end")
        if not 0 < len(batch) <= self.max_batch_bytes:
            message = f"batch of {len(batch)} bytes is over the bound of {self.max_batch_bytes}"
            raise ValueError(message)
        try:
            self._write(batch)
        except LedgerError as error:
            self._failure = error
            raise
        head = head_of(batch)
        self._position = advanced(self._position, header, head, len(batch))
        if self._position.offset > self._size // 16:
            self._spare.begin()
        return Outcome.OK

    def close(self) -> None:
        """Close the files, remove the spare segment, let the folder go; twice does no harm."""
        self._failure = self._failure or StorageError("the store is closed")
        try:
            self._spare.close()
        finally:
            for handle in (self._handle, self._lock):
                if handle is not None:
                    self._disk.close(handle)
            self._handle = self._lock = None

    def _write(self, batch: memoryview) -> None:
        if self._position.offset + len(batch) > self._size:
            self._begin_segment(self._position.segment + 1)
        assert self._handle is not None, "a segment is open after recovery"
        write_durably(self._disk, self._handle, batch, self._position.offset, self._path)

    def _begin_segment(self, index: int) -> None:
        """Turn the spare file into segment ``index``; it has its name only with a good header."""
        spare = self._spare.take()
        path = segment_path(self._data, index)
        start = self._position._replace(segment=index, offset=PAGE_BYTES)
        uuid = os.urandom(_ID_BYTES)
        owner = self.writer
        page = segment_page(owner.cluster, owner.partition, uuid, start, self._segment_bytes)
        with storage_errors("beginning", path):
            handle = self._disk.open(spare, write=True, direct=True)
            try:
                write_exact(self._disk, handle, in_page_memory(page), 0, spare)
                self._disk.fdatasync(handle)
                self._disk.rename(spare, path)
                self._disk.fsync_dir(path.parent)
            except BaseException:
                self._disk.close(handle)
                raise
            if self._handle is not None:
                self._disk.close(self._handle)
        self._handle, self._path = handle, path
        self._size = self._segment_bytes
        self._position = start

    def recover(
        self,
        cluster: bytes | None,
        partition: int,
        start: Position | None,
        at_least_seq: int,
        on_batch: Callable[[Batch], None] | None,
        on_end: Callable[[Position], None] | None,
    ) -> None:
        """Read the journal to its end, cut a torn tail, take the next epoch; called once."""
        folder = journal_folder(self._data)
        with storage_errors("clearing", folder):
            for name in self._disk.names(folder):
                if name.endswith(".tmp"):
                    self._disk.unlink(folder / name)
        known = read_epoch(self._disk, self._data)
        if cluster is None and known is not None:
            cluster = known.cluster
        if known is None and not segment_indexes(self._disk, self._data):
            _refuse_lost_journal(folder, start, at_least_seq)
            if on_end is not None:
                on_end(Position(segment=1))
            self._own(cluster or os.urandom(_ID_BYTES), partition, 1)
            self._begin_segment(1)
        else:
            scan = Scan(
                self._data,
                start=start,
                at_least_seq=at_least_seq,
                cluster=cluster,
                partition=partition,
                disk=self._disk,
            )
            for batch in read_ahead(scan):
                if on_batch is not None:
                    on_batch(batch)
            if on_end is not None:
                on_end(scan.end)
            self._continue(scan)
            epoch = max(known.epoch if known else 0, scan.end.epoch) + 1
            self._own(scan.cluster or b"", partition, epoch)
        owner = self.writer
        write_epoch(self._disk, self._data, Ownership(owner.cluster, owner.partition, owner.epoch))

    def _own(self, cluster: bytes, partition: int, epoch: int) -> None:
        self.writer = Writer(cluster, partition, epoch, os.urandom(_ID_BYTES))

    def _continue(self, scan: Scan) -> None:
        """Open the newest segment for writing at the end that ``scan`` found."""
        self._position = scan.end
        path = segment_path(self._data, scan.end.segment)
        with storage_errors("opening", path):
            self._handle = self._disk.open(path, write=True, direct=True)
            self._path = path
            self._size = self._disk.size(self._handle)
        self._write_last_again(scan, path)
        self.torn = scan.torn
        if scan.torn is not None:
            self._zero(scan.torn.offset, scan.torn.offset + padded(scan.torn.size), path)
        with storage_errors("syncing", path):
            self._disk.fdatasync(self._handle)

    def _write_last_again(self, scan: Scan, path: Path) -> None:
        """Write the newest batch once more, so that the sync that follows covers it.

        It may be in memory only: the process was killed before its sync, or the sync failed and
        the kernel then took the pages for clean. Its answers may go out once this store is open.
        """
        if scan.last_bytes:
            assert self._handle is not None, "the segment was opened by the caller"
            offset = scan.end.offset - scan.last_bytes
            pages = page_memory(scan.last_bytes).data
            with storage_errors("reading", path):
                self._disk.read_into(self._handle, pages, offset)
            write_exact(self._disk, self._handle, pages, offset, path)

    def _zero(self, start: int, end: int, path: Path) -> None:
        assert self._handle is not None, "the segment was opened by the caller"
        zeros = page_memory(_ZERO_BYTES).data
        for offset in range(start, end, len(zeros)):
            write_exact(self._disk, self._handle, zeros[: end - offset], offset, path)


def open_file_store(
    data: Path,
    *,
    cluster: bytes | None = None,
    partition: int = 0,
    segment_bytes: int = SEGMENT_BYTES,
    start: Position | None = None,
    at_least_seq: int = 0,
    on_batch: Callable[[Batch], None] | None = None,
    on_end: Callable[[Position], None] | None = None,
    is_locked: bool = False,
    write_ahead: bool = True,
    disk: Disk | None = None,
) -> FileStore:
    """Open or make the journal in ``data`` for writing: lock, recover, take the next epoch.

    Parameters
    ----------
    data
        The data folder; made with mode 0700 if it is not there.
    cluster
        16 bytes the journal must belong to; None = its own, or new ones for a new journal.
    segment_bytes
        Size of segments begun from now on, a multiple of 4 KiB.
    start, at_least_seq
        From a snapshot: where to begin reading, and the record up to which it is the state.
    on_batch
        Called with every batch from ``start`` on, in order, before this returns.
    on_end
        Called with the end that was found, before anything is changed; it may raise.
    is_locked
        True when the caller holds the folder already (``lock_folder``).
    write_ahead
        False makes segments in the appending thread.

    Raises
    ------
    StorageInUse, RotError, ForeignJournalError, FormatVersionError, StorageError
        Nothing was changed on disk, but for folders, lock file and epoch file.
    """
    if segment_bytes < SEGMENT_BYTES_MIN or segment_bytes % PAGE_BYTES:
        message = f"segment size {segment_bytes} must be a multiple of 4096, at least 16384"
        raise ValueError(message)
    disk = disk or make_disk(os.environ)
    with storage_errors("making", journal_folder(data)):
        disk.mkdir(data)
        disk.mkdir(journal_folder(data))
        disk.fsync_dir(data)
        lock = None if is_locked else disk.lock(data / LOCK_NAME)
    store = FileStore(disk, data, lock, segment_bytes, in_background=write_ahead)
    try:
        store.recover(cluster, partition, start, at_least_seq, on_batch, on_end)
    except BaseException:
        store.close()
        raise
    return store


def lock_folder(data: Path, disk: Disk | None = None) -> int:
    """Lock the data folder for this process; return the handle, for ``os.close``.

    Raises
    ------
    StorageInUse
        Another process has it; the text names its process id.
    """
    disk = disk or OsDisk()
    with storage_errors("locking", data):
        disk.mkdir(data)
        return disk.lock(data / LOCK_NAME)


def holder_of(data: Path) -> str | None:
    """Return the process id of who has the data folder, as it wrote it; None = nobody.

    Makes nothing and holds nothing. ``OSError`` where the lock file cannot be opened.
    """
    try:
        handle = os.open(data / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(handle)
    return None


def _refuse_lost_journal(folder: Path, start: Position | None, at_least_seq: int) -> None:
    if start is not None or at_least_seq:
        message = f"no journal in {folder}, but a snapshot of one: restore the journal folder"
        raise NoJournalError(message)
