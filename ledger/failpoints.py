"""Faults on demand at the journal's disk calls, to show what a crash or a bad disk leaves.

``DE39_FAILPOINT=POINT:N`` acts at the N-th write or sync of a journal segment (from 1):

    before-write  half-write  after-write  before-sync  after-sync   the process is killed there
    eio-write  enospc-write  short-write  eio-sync                   the call fails there

After ``after-sync`` the records are durable and nobody was told. Without the variable the engine
uses ``OsDisk`` itself and none of this is in its way.
"""

import errno
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from ledger.disk import Buffer, Disk, OsDisk
from ledger.errors import LedgerError

VARIABLE = "DE39_FAILPOINT"
KILLS = ("before-write", "half-write", "after-write", "before-sync", "after-sync")
FAILURES = {"eio-write": errno.EIO, "enospc-write": errno.ENOSPC, "eio-sync": errno.EIO}
POINTS = (*KILLS, *FAILURES, "short-write")


class FailpointError(LedgerError):
    """The variable names no point."""


def make_disk(environment: Mapping[str, str]) -> Disk:
    """Return the operating system's disk, or one with the fault that ``DE39_FAILPOINT`` asks for.

    Raises
    ------
    FailpointError
        The variable is not POINT:N.
    """
    text = environment.get(VARIABLE)
    if text is None:
        return OsDisk()
    point, _, count = text.partition(":")
    if point not in POINTS or not count.isdecimal() or count == "0":
        raise FailpointError(f"{VARIABLE}={text}: expected POINT:N, POINT one of {POINTS}")
    return FailingDisk(point, int(count))


class FailingDisk(OsDisk):
    """The operating system's disk with one fault.

    Parameters
    ----------
    point
        One of ``POINTS``.
    count
        At which write (or sync) of a segment.
    """

    def __init__(self, point: str, count: int) -> None:
        self._point = point
        self._left = count
        self._is_at_sync = point.endswith("-sync")
        self._journal: set[int] = set()

    def open(
        self, path: Path, *, write: bool = False, create: bool = False, direct: bool = False
    ) -> int:
        """See ``Disk``; notes which handles are segments being written."""
        handle = super().open(path, write=write, create=create, direct=direct)
        if write and not create:
            self._journal.add(handle)
        else:
            self._journal.discard(handle)
        return handle

    def pwrite(self, handle: int, data: Buffer, offset: int) -> int:
        """See ``Disk``."""
        if self._is_at_sync or not self._is_due(handle):
            return super().pwrite(handle, data, offset)
        half = memoryview(data)[: len(data) // 2]
        if self._point == "before-write":
            _die()
        if self._point in FAILURES:
            raise OSError(FAILURES[self._point], os.strerror(FAILURES[self._point]))
        if self._point == "after-write":
            super().pwrite(handle, data, offset)
            _die()
        taken = super().pwrite(handle, half, offset)
        if self._point == "half-write":
            _die()
        return taken

    def fdatasync(self, handle: int) -> None:
        """See ``Disk``."""
        if not self._is_at_sync or not self._is_due(handle):
            super().fdatasync(handle)
            return
        if self._point == "before-sync":
            _die()
        if self._point in FAILURES:
            raise OSError(FAILURES[self._point], os.strerror(FAILURES[self._point]))
        super().fdatasync(handle)
        _die()

    def pwrite_durably(self, handle: int, data: Buffer, offset: int) -> int:
        """See ``Disk``; the write and the sync are two calls, each with its points."""
        taken = self.pwrite(handle, data, offset)
        self.fdatasync(handle)
        return taken

    def _is_due(self, handle: int) -> bool:
        if handle not in self._journal:
            return False
        self._left -= 1
        return self._left == 0


def _die() -> None:
    """End the process as a crash does: no handler runs, no buffer is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)
