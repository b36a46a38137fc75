"""What a journal store promises, whatever it is made of.

``append`` returns ``OK`` only when the batch is durable. A store that cannot say whether a batch
was kept returns ``UNKNOWN``; one that finds another writer ahead returns ``STALE`` and has written
nothing. A store that failed once refuses everything after.
"""

from enum import IntEnum
from typing import NamedTuple, Protocol, runtime_checkable

from ledger.journal import Position, Writer


class Outcome(IntEnum):
    """What became of a batch handed to ``append``."""

    OK = 0
    STALE = 1
    UNKNOWN = 2


class Expect(NamedTuple):
    """What the writer believes the journal's end to be; the fence of ``append``."""

    epoch: int  # of this writer
    next_seq: int
    head: bytes  # 32 bytes


class Store(Protocol):
    """A journal opened for writing by its one owner."""

    writer: Writer  # goes into every batch header
    max_batch_bytes: int  # a longer batch is refused

    @property
    def position(self) -> Position:
        """Return the durable end of the journal."""
        ...

    def append(self, batch: memoryview, expect: Expect) -> Outcome:
        """Make ``batch`` (whole pages) durable at the end; raise ``StorageError`` on failure."""
        ...

    def close(self) -> None:
        """Give everything back; nothing is written."""
        ...


@runtime_checkable
class StagedStore(Store, Protocol):
    """A store in which several batches can be on their way, in order.

    One thread appends, another one waits for what was appended: the wait for disks and standbys of
    one batch goes on while the next is sent.
    """

    @property
    def written(self) -> Position:
        """Return the end of what was appended, durable or not."""
        ...

    def append_ahead(self, batch: memoryview, expect: Expect) -> Outcome:
        """Put ``batch`` at the end of ``written``; ``OK`` says that it is in order, no more."""
        ...

    def flush(self) -> Outcome:
        """Make everything durable that was appended before this call; ``position`` follows.

        Called from another thread than ``append`` and ``append_ahead``.
        """
        ...
