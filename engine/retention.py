"""SHELL: the thread that moves old segments of a running engine's journal to its archive.

What may go at all, ``ledger.archive`` says; here is when, and what is old or too much. A failure is
told and counted; the segment stays and is tried again.
"""

import time
from collections.abc import Callable
from pathlib import Path

from engine.worker import Worker
from ledger.archive import Limits, archive
from ledger.errors import LedgerError

EVERY_S = 60.0


class Retention(Worker):
    """Looks once a minute.

    Parameters
    ----------
    data, target
        The data folder, and the archive.
    age_s
        Segments that ended so many seconds ago go; 0 = not by age.
    bytes_max
        The oldest go while the journal takes more; 0 = not by size.
    segment_bytes
        Size of the segments made of a journal in a database.
    note
        Told of a failure, one line.
    """

    def __init__(
        self,
        data: Path,
        target: Path,
        age_s: int,
        bytes_max: int,
        segment_bytes: int,
        note: Callable[[str], None],
    ) -> None:
        super().__init__("retention")
        self._data = data
        self._target = target
        self._age_s = age_s
        self._bytes_max = bytes_max
        self._segment_bytes = segment_bytes
        self._note = note
        self.archived = 0  # segments
        self.failures = 0

    def look(self, now_ns: int) -> None:
        """Archive what is old at ``now_ns`` (Unix ns) or too much, a segment after the other."""
        before_ns = now_ns - self._age_s * 10**9 if self._age_s else 0
        try:
            archive(
                self._data,
                self._target,
                limits=Limits(before_ns, self._bytes_max),
                segment_bytes=self._segment_bytes,
                on_progress=self._moved,
            )
        except _StoppedError:
            pass
        except (LedgerError, OSError) as problem:
            self.failures += 1
            self._note(f"old segments are not archived: {problem}")

    def _moved(self, _number: int) -> None:
        self.archived += 1
        if self._stop.is_set():
            raise _StoppedError

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.look(time.time_ns())


class _StoppedError(Exception):
    """The engine ends; what is left is for its next run."""
