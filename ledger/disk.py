"""The seam to the disk: everything the ledger asks of a file system, and nothing else.

``OsDisk`` is the real one. Tests put a fake in its place that forgets what was not synced or fails
a chosen call. All methods raise ``OSError``; ``storage_errors`` turns it into the ledger's own.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from ledger.errors import StorageError, StorageInUse

Buffer = bytes | bytearray | memoryview


class Disk(Protocol):
    """File operations by handle (an int); offsets and sizes in bytes."""

    def open(
        self, path: Path, *, write: bool = False, create: bool = False, direct: bool = False
    ) -> int:
        """Open a file; ``create`` makes it, mode 0600, and empties it if it is there.

        ``direct`` asks for reads and writes past the kernel's page cache: whole pages at offsets
        of whole pages, from and into ``page_memory``.
        """
        ...

    def close(self, handle: int) -> None:
        """Give a handle back."""
        ...

    def size(self, handle: int) -> int:
        """Return the bytes of the file."""
        ...

    def read_into(self, handle: int, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset``; return how many bytes there were."""
        ...

    def pwrite(self, handle: int, data: Buffer, offset: int) -> int:
        """Write at ``offset``; return how many bytes were taken."""
        ...

    def allocate(self, handle: int, size: int) -> None:
        """Give an empty file ``size`` bytes that read as zeros, and blocks for them."""
        ...

    def fdatasync(self, handle: int) -> None:
        """Return when the bytes written so far, and the size they need, are on the medium."""
        ...

    def pwrite_durably(self, handle: int, data: Buffer, offset: int) -> int:
        """Write at ``offset`` and sync that; return how many bytes were taken."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, replacing what has it."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file; nothing happens when there is none."""
        ...

    def fsync_dir(self, folder: Path) -> None:
        """Return when the names in ``folder`` are on the medium."""
        ...

    def mkdir(self, folder: Path) -> None:
        """Make a folder and those above it, mode 0700; nothing happens when it is there."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Return the names in ``folder``, sorted; none when there is no folder."""
        ...

    def lock(self, path: Path) -> int:
        """Take the lock file ``path`` for this process; raise ``StorageInUse`` if it is taken."""
        ...


class OsDisk:
    """The operating system's file calls."""

    def open(
        self, path: Path, *, write: bool = False, create: bool = False, direct: bool = False
    ) -> int:
        """See ``Disk``. Where the file system knows no direct access, the handle has none."""
        flags = os.O_CLOEXEC | (os.O_RDWR if write or create else os.O_RDONLY)
        flags |= os.O_CREAT | os.O_TRUNC if create else 0
        if direct:
            with suppress(OSError):  # whatever else is wrong is told by the second try
                return os.open(path, flags | os.O_DIRECT, 0o600)
        return os.open(path, flags, 0o600)

    def close(self, handle: int) -> None:
        """See ``Disk``."""
        os.close(handle)

    def size(self, handle: int) -> int:
        """See ``Disk``."""
        return os.fstat(handle).st_size

    def read_into(self, handle: int, buffer: memoryview, offset: int) -> int:
        """See ``Disk``."""
        done = 0
        while done < len(buffer):
            count = self._read_once(handle, buffer[done:], offset + done)
            if count == 0:
                break
            done += count
        return done

    def _read_once(self, handle: int, buffer: memoryview, offset: int) -> int:
        try:
            return os.preadv(handle, [buffer], offset)
        except OSError as error:
            if not _direct_was_refused(handle, error):
                raise
            return os.preadv(handle, [buffer], offset)

    def pwrite(self, handle: int, data: Buffer, offset: int) -> int:
        """See ``Disk``."""
        try:
            return os.pwrite(handle, data, offset)
        except OSError as error:
            if not _direct_was_refused(handle, error):
                raise
            return os.pwrite(handle, data, offset)

    def allocate(self, handle: int, size: int) -> None:
        """See ``Disk``."""
        os.posix_fallocate(handle, 0, size)

    def fdatasync(self, handle: int) -> None:
        """See ``Disk``."""
        os.fdatasync(handle)

    def pwrite_durably(self, handle: int, data: Buffer, offset: int) -> int:
        """See ``Disk``. One call: between two the caller may have to wait for the interpreter."""
        try:
            return os.pwritev(handle, [data], offset, os.RWF_DSYNC)
        except OSError as error:
            if not _direct_was_refused(handle, error):
                raise
            return os.pwritev(handle, [data], offset, os.RWF_DSYNC)

    def rename(self, source: Path, target: Path) -> None:
        """See ``Disk``."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """See ``Disk``."""
        path.unlink(missing_ok=True)

    def fsync_dir(self, folder: Path) -> None:
        """See ``Disk``."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def mkdir(self, folder: Path) -> None:
        """See ``Disk``."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        """See ``Disk``."""
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def lock(self, path: Path) -> int:
        """See ``Disk``. The file keeps the holder's process id for the other's error text."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            message = (
                f"data folder {path.parent} is in use by process {holder}; "
                "stop that process or choose another --data folder"
            )
            raise StorageInUse(message) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return handle


def _direct_was_refused(handle: int, error: OSError) -> bool:
    """Whether ``error`` says that direct access cannot do this; ``handle`` has none any more then.

    Some file systems and devices open a file for it and refuse the first call.
    """
    flags = fcntl.fcntl(handle, fcntl.F_GETFL)
    if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
        return False
    fcntl.fcntl(handle, fcntl.F_SETFL, flags & ~os.O_DIRECT)
    return True


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into a ``StorageError`` that says what to do."""
    try:
        yield
    except OSError as error:
        raise _storage_error(error, action, path) from error


def _storage_error(error: OSError, action: str, path: Path) -> StorageError:
    reason = error.strerror or type(error).__name__
    if error.errno == errno.ENOSPC:
        return StorageError(f"disk full while {action} {path}: free space there, then start again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            f"not allowed while {action} {path} ({reason}): make it this user's own"
        )
    return StorageError(
        f"input/output error while {action} {path} ({reason}): "
        "check the disk and the system log before starting again"
    )


def write_exact(disk: Disk, handle: int, data: Buffer, offset: int, path: Path) -> None:
    """Write all of ``data`` in one call; a short write is an error, never continued.

    Raises
    ------
    StorageError
        The disk refused or took only a part.
    """
    with storage_errors("writing", path):
        taken = disk.pwrite(handle, data, offset)
    if taken != len(data):
        raise _short_write(taken, data, offset, path)


def write_durably(disk: Disk, handle: int, data: Buffer, offset: int, path: Path) -> None:
    """Write all of ``data`` as ``write_exact`` does; return when it is on the medium."""
    try:  # not ``storage_errors``: every commit passes here, and it costs some microseconds
        taken = disk.pwrite_durably(handle, data, offset)
    except OSError as error:
        raise _storage_error(error, "writing", path) from error
    if taken != len(data):
        raise _short_write(taken, data, offset, path)


def _short_write(taken: int, data: Buffer, offset: int, path: Path) -> StorageError:
    return StorageError(
        f"short write to {path}: {taken} of {len(data)} bytes at {offset}; "
        "the disk is probably full, free space there, then start again"
    )
