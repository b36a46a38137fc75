"""A journal in PostgreSQL, read: see ``ledger.stores.base.JournalReader``.

Long readings are a COPY with a connection of its own (``reading``). Short ones, which a running
engine makes every second, share one connection that stays open: to make one costs more than to read
a few batches. Places are found by the headers in the rows, never by the columns beside them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import asyncpg

from ledger.disk import OsDisk
from ledger.errors import NoJournalError, StorageError, StoreSettingsError, StoreUnavailable
from ledger.journal import PAGE_BYTES, Batch, BatchHeader, Position, header_from_bytes
from ledger.postgres import journal_tables as tables
from ledger.postgres.connect import CONNECT_ERRORS, connect_primary, reason_of
from ledger.postgres.reading import (
    CONNECT_S,
    Row,
    Standing,
    checked_row,
    fetched,
    require_there,
    rot,
    scan_postgres,
    standing_of,
)
from ledger.segment import SEGMENT_BYTES, TABLE, Piece, write_archived_mark
from ledger.segment_copy import SegmentWriter

_ROWS_AT_ONCE = 8  # of up to 16 MiB each
_ANSWER_S = 30.0
_ONE_SEGMENT = 1 << 62  # bytes: what is put into one is cut already


class TableReader:
    """The rows of one partition.

    Parameters
    ----------
    dsn
        One or several hosts; the primary is read.
    cluster
        16 bytes the journal must belong to; None = any.
    partition
        Whose rows.
    on_close
        Called last by ``close``; leaves an embedded server, say.
    """

    def __init__(
        self,
        dsn: str,
        cluster: bytes | None = None,
        partition: int = 0,
        *,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._dsn = dsn
        self._cluster = cluster
        self._partition = partition
        self._on_close = on_close
        self._runner = asyncio.Runner()
        self._connection: Any = None
        self._is_closed = False

    def scan(self, start: Position | None = None, count: int | None = None) -> Iterator[Batch]:
        """Iterate over the batches from ``start`` on; a place in segment files will do."""
        if count is None:
            yield from scan_postgres(
                self._dsn, start=start, cluster=self._cluster, partition=self._partition
            )
            return
        standing = self.standing()
        at = standing.begin if start is None else start
        require_there(at, standing)
        while count > 0:
            rows = self._rows(at.batch_no, min(count, _ROWS_AT_ONCE))
            if not rows:
                return
            for row in rows:
                batch = checked_row(row, at, standing.cluster, self._partition)
                at = batch.after
                yield batch
            count -= len(rows)

    def standing(self) -> Standing:
        """Return what the database says of the journal's begin, end and owner."""
        standing: Standing = self._ask(
            lambda: standing_of(self._connection, self._partition, self._cluster)
        )
        return standing

    def beginning(self) -> Position | None:
        """Return where the journal begins since older batches were archived; None = batch 1."""
        return self.standing().mark

    def before_batch(self, batch_no: int) -> Position | None:
        """Return the place of batch ``batch_no``, or the end if that is before; None = archived."""
        standing = self.standing()
        if batch_no < standing.begin.batch_no:
            return None
        return self._place_of(min(batch_no, standing.end.batch_no), standing)

    def before_record(self, seq: int) -> Position | None:
        """Return the place of the batch with record ``seq``; None = archived."""
        standing = self.standing()
        if seq < standing.begin.seq:
            return None
        return self._place_of(self._batch_with(seq, standing), standing)

    def before_newest(self, count: int) -> Position | None:
        """Return the place of the batch with the record ``count`` before the end; None = the first.

        Less than ``count`` records may be there.
        """
        standing = self.standing()
        seq = max(standing.end.seq - count, standing.begin.seq)
        found = self._place_of(self._batch_with(seq, standing), standing)
        return None if found.batch_no == standing.begin.batch_no else found

    def copy_to(self, target: Path, on_progress: Callable[[int], None]) -> tuple[Position, int]:
        """Write the rows into segment files, as a file store would have; an archive's go before."""
        mark = self.beginning()
        with SegmentWriter(target, mark) as writer:
            for batch in self.scan(mark):
                writer.add(batch)
                on_progress(writer.records)
        if not writer.end.offset > PAGE_BYTES:
            raise NoJournalError(
                "the journal in the database holds no batch yet: nothing to back up"
            )
        if mark is not None:
            write_archived_mark(OsDisk(), target, mark._replace(offset=PAGE_BYTES))
        return writer.end, writer.records

    def sizes(self) -> dict[str, int]:
        """Return batches and their bytes."""
        row = self._ask(lambda: self._connection.fetchrow(tables.SIZES, self._partition))
        return {"batches": row["batches"], "journal_bytes": row["size"]}

    def pieces(
        self, before: Position, keep_count: int, segment_bytes: int = SEGMENT_BYTES
    ) -> Iterator[Piece]:
        """Iterate over the batches that fill a segment each, oldest first, as a file store cuts."""
        standing = self.standing()
        last_no = min(before.batch_no, standing.end.batch_no)
        start = standing.begin._replace(segment=max(1, standing.begin.segment), offset=PAGE_BYTES)
        left: int | None = None  # bytes in the table, asked for once a piece is whole
        while found := self._piece_end(start.batch_no, last_no, segment_bytes - PAGE_BYTES):
            after_no, size = found
            left = (self.sizes()["journal_bytes"] if left is None else left) - size
            if left < keep_count * segment_bytes:
                return
            after = self._place_of(after_no, standing)
            after = after._replace(segment=start.segment + 1, offset=PAGE_BYTES)
            yield Piece(start.segment, start, after, self._header(after_no).ts_ns, size)
            start = after

    def folder_with(self, piece: Piece, aside: Path) -> Path:
        """Write the segment into ``aside``."""
        with SegmentWriter(aside, piece.start, _ONE_SEGMENT) as writer:
            for batch in self.scan(piece.start, piece.after.batch_no - piece.start.batch_no):
                writer.add(batch)
        return aside

    def remove(self, piece: Piece) -> None:
        """Move the mark and remove the rows before it, in one transaction."""
        if not self._ask(lambda: self._removed(piece)):
            raise StorageError(
                f"{TABLE} does not begin with batch {piece.start.batch_no} any more: another one "
                "archives it, nothing was removed"
            )

    def close(self) -> None:
        """Close the connection and what ``on_close`` closes; twice does no harm."""
        if not self._is_closed:
            self._is_closed = True
            self._leave()
            self._runner.close()
            self._on_close()

    def _piece_end(self, first_no: int, last_no: int, room: int) -> tuple[int, int] | None:
        """Return which batch does not fit with those before it, up to ``last_no``; their bytes."""
        words = (self._partition, first_no, last_no, room)
        row = self._ask(lambda: self._connection.fetchrow(tables.PIECE_END, *words))
        return None if row is None else (row["batch_no"], row["size"])

    async def _removed(self, piece: Piece) -> bool:
        connection, after = self._connection, piece.after
        if not (await connection.fetchrow(tables.EXIST))["mark"]:
            await connection.execute(tables.CREATE)  # a journal from before there was an archive
        place = (after.segment, after.batch_no, after.seq, after.epoch, after.head)
        async with connection.transaction():
            first_no = piece.start.batch_no
            moved = await connection.fetchval(tables.MOVE_MARK, self._partition, *place, first_no)
            if moved is not None:
                await connection.execute(tables.REMOVE, self._partition, after.batch_no)
        return moved is not None

    def _rows(self, batch_no: int, count: int) -> list[Row]:
        """Return up to ``count`` rows from batch ``batch_no`` on."""
        found = self._ask(
            lambda: self._connection.fetch(tables.ROWS, self._partition, batch_no, count)
        )
        return [fetched(row) for row in found]

    def _batch_with(self, seq: int, standing: Standing) -> int:
        """Return the number of the newest batch that begins at or before record ``seq``."""
        low, high = standing.begin.batch_no, standing.end.batch_no
        while high - low > 1:
            middle = (low + high) // 2
            if self._header(middle).first_seq <= seq:
                low = middle
            else:
                high = middle
        return low

    def _place_of(self, batch_no: int, standing: Standing) -> Position:
        if batch_no == standing.end.batch_no:
            return standing.end
        if batch_no == standing.begin.batch_no:
            return standing.begin._replace(segment=0, offset=0)
        header = self._header(batch_no)
        epoch = self._header(batch_no - 1).epoch
        return Position(batch_no, header.first_seq, epoch, header.prev_head)

    def _header(self, batch_no: int) -> BatchHeader:
        raw = self._ask(lambda: self._connection.fetchval(tables.HEADER, self._partition, batch_no))
        if raw is None:
            raise rot(f"batch {batch_no} is missing", batch_no)
        header = header_from_bytes(raw)
        if header is None or header.batch_no != batch_no:
            raise rot("batch header damaged", batch_no)
        return header

    def _ask(self, question: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Return the answer to ``question``, which may use the connection."""
        try:
            return self._runner.run(self._answered(question))
        except asyncpg.InsufficientPrivilegeError as problem:
            self._leave()
            raise StoreSettingsError(
                f"PostgreSQL: {reason_of(problem)}: name a role with that right, such as the owner "
                "of the tables, in DE39_LEDGER__DSN"
            ) from None
        except CONNECT_ERRORS as problem:
            self._leave()
            raise StoreUnavailable(f"PostgreSQL: {reason_of(problem)}") from None

    async def _answered(self, question: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        if self._connection is None:
            self._connection = (await connect_primary(self._dsn, CONNECT_S)).connection
        async with asyncio.timeout(_ANSWER_S):
            return await question()

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
            self._runner.run(asyncio.sleep(0))  # the transport closes in a turn of the loop
