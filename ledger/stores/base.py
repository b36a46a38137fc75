"""What a journal store promises, whatever it is made of.

``append`` returns ``OK`` only when the batch is durable. A store that cannot say whether a batch
was kept returns ``UNKNOWN``; one that finds another writer ahead returns ``STALE`` and has written
nothing. A store that failed once refuses everything after.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from ledger.journal import Batch, Position, Writer
from ledger.segment import SEGMENT_BYTES, Piece

Progress = Callable[[int], None]


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


class JournalReader(Protocol):
    """A journal opened for reading; its one owner may be writing to it meanwhile.

    Whatever the store, the same batches come out, each one checked. All of it may raise
    ``NoJournalError``, ``RotError``, ``ForeignJournalError``, ``FormatVersionError``,
    ``StorageError`` and ``StoreUnavailable``, iterators while iterating.
    """

    def scan(self, start: Position | None = None, count: int | None = None) -> Iterator[Batch]:
        """Iterate over the batches from ``start`` on, in order.

        Parameters
        ----------
        start
            Between two batches; None = the first that is there.
        count
            Read no more than so many: a short reading. None = all there are by now.
        """
        ...

    def beginning(self) -> Position | None:
        """Return where the journal begins since older batches were archived; None = batch 1."""
        ...

    def before_batch(self, batch_no: int) -> Position | None:
        """Return a place at or before batch ``batch_no``, to read from; None = it was archived."""
        ...

    def before_record(self, seq: int) -> Position | None:
        """Return a place at or before record ``seq``, to read from; None = it was archived."""
        ...

    def copy_to(self, target: Path, on_progress: Progress) -> tuple[Position, int]:
        """Copy the journal, checked, into segment files of the data folder ``target``.

        Returns where it ends there and how many records it has. ``NoJournalError`` when it has no
        batch yet. ``on_progress`` gets the records read so far.
        """
        ...

    def sizes(self) -> dict[str, int]:
        """Return how much a copy would be: segments or batches, and ``journal_bytes``."""
        ...

    def pieces(
        self, before: Position, keep_count: int, segment_bytes: int = SEGMENT_BYTES
    ) -> Iterator[Piece]:
        """Iterate over the segments that end at or before a place, oldest first.

        Parameters
        ----------
        before
            Between two batches, such as a snapshot names.
        keep_count
            As many of the newest segments stay in any case.
        segment_bytes
            Size of a segment where there are none.
        """
        ...

    def folder_with(self, piece: Piece, aside: Path) -> Path:
        """Return a data folder with ``piece`` as a segment file; ``aside`` is a new one for it."""
        ...

    def remove(self, piece: Piece) -> None:
        """Let the journal begin after ``piece``, its first, and remove it.

        Raises
        ------
        StoreSettingsError
            The database does not let this role remove batches.
        StorageError
            Another one archives the same journal.
        """
        ...

    def close(self) -> None:
        """Give everything back; twice does no harm."""
        ...
