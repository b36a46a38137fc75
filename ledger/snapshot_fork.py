"""A snapshot of a running engine: a child process holds the state still while it is written.

``fork`` gives the child the memory as it stands between two batches; the engine goes on at once and
only the pages it then changes are copied, by the kernel. So no table needs to tell what changed,
and the pause is the fork itself. The child has one thread, closes every file it does not need (no
lock and no socket outlives the engine in it), writes the snapshot under a name that nobody reads,
syncs it and ends without running anything else. The engine gives the file its name once
everything in it is durable in the journal.
"""

import os
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ledger.disk import OsDisk, storage_errors
from ledger.errors import LedgerError, StorageError
from ledger.journal import Position
from ledger.snapshot import adopt_snapshot, remove_leftovers, snapshot_folder, write_aside

_NICE = 10
_FAILED = 74
_PATIENCE_S = 600  # a child that takes longer is ended and the snapshot given up


class SnapshotChild:
    """A snapshot being written by another process.

    Parameters
    ----------
    data
        The data folder.
    seq, position
        See ``ledger.snapshot.write_aside``.
    arrays
        Called in the child: the state's arrays, which stand still there.
    meta
        Anything else, as JSON.
    """

    def __init__(
        self,
        data: Path,
        seq: int,
        position: Position,
        arrays: Callable[[], Mapping[str, NDArray[Any]]],
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self.seq = seq
        self._data = data
        self._aside = snapshot_folder(data) / f"{seq:020d}.tmp"
        self._started_s = time.monotonic()
        with storage_errors("making", self._aside.parent):
            disk = OsDisk()
            disk.mkdir(self._aside.parent)
            remove_leftovers(disk, self._aside.parent)
        started_ns = time.perf_counter_ns()
        self.pid = _fork()
        if self.pid == 0:
            _write_and_exit(data, seq, position, arrays, meta)
        self.pause_ns = time.perf_counter_ns() - started_ns

    def poll(self) -> bool:
        """Return whether the file is written; never waits.

        Raises
        ------
        StorageError
            The child could not write it, or took too long; nothing is left of it.
        """
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() - self._started_s > _PATIENCE_S:
                self.give_up()
                raise StorageError(f"snapshot {self.seq} was not written in {_PATIENCE_S} s")
            return False
        self.pid = 0
        if status:
            self._clear()
            code = os.waitstatus_to_exitcode(status)
            raise StorageError(
                f"snapshot {self.seq} was not written: its process ended with {code}"
            )
        return True

    def adopt(self) -> Path:
        """Give the file its name; call it once record ``seq`` is durable. Syncs the folder."""
        return adopt_snapshot(self._data, self._aside)

    def give_up(self) -> None:
        """End the child and remove what it wrote."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
        self._clear()

    def _clear(self) -> None:
        with suppress(OSError):
            self._aside.unlink(missing_ok=True)


def _fork() -> int:
    with warnings.catch_warnings():
        # The child runs on in this thread alone and takes no lock that another thread may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return os.fork()
        except OSError as error:
            raise StorageError(f"no snapshot now: fork failed ({error.strerror})") from error


def _write_and_exit(
    data: Path,
    seq: int,
    position: Position,
    arrays: Callable[[], Mapping[str, NDArray[Any]]],
    meta: Mapping[str, Any] | None,
) -> None:
    """Write the snapshot and end the process: the child's whole life."""
    code = _FAILED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        with suppress(OSError):
            os.nice(_NICE)
        write_aside(data, seq, position, arrays(), meta, disk=OsDisk())
        code = 0
    except (LedgerError, OSError, ValueError, MemoryError):
        code = _FAILED
    finally:
        os._exit(code)
