"""The PostgreSQL store: one fenced statement a batch, answered when its commit is durable.

The statement moves the head row on from the epoch, record number and head that the writer believes
in, and inserts the batch with the bytes that a file would hold. A commit that waits for standbys
returns when they have it. Where the outcome is unknown (no answer in time, a broken connection, a
wait for standbys that was cancelled) nothing is acknowledged: the primary that is in charge *now*
is asked by a commit of its own, which is durable only after all before it are. The batch stands
there: fine. It does not, and the fence still holds: the same bytes are sent again. The epoch is
another's: this writer is stale. Less stands there than was acknowledged: the store ends, saying so.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from enum import IntEnum
from typing import Any, NamedTuple

from ledger.errors import LostRecordsError, StorageError, StoreUnavailable
from ledger.journal import (
    HEADER_BYTES,
    Position,
    Writer,
    advanced,
    head_of,
    header_from_bytes,
)
from ledger.postgres import journal_tables as tables
from ledger.postgres.connect import CONNECT_ERRORS, Primary, connect_primary, reason_of
from ledger.postgres.watch import StoreStats
from ledger.stores.base import Expect, Outcome

BATCH_BYTES_MAX = 16 * 1024 * 1024
_PAUSE_S = 0.05  # between two tries, doubled up to a second
_PAUSE_MAX_S = 1.0


class _Try(IntEnum):
    KEPT = 0
    HELD_OFF = 1  # by the fence: nothing was written
    UNKNOWN = 2


class _Row(NamedTuple):
    """A batch as the statement takes it."""

    partition: int
    epoch: int
    seq: int
    before: bytes
    batch_no: int
    record_count: int
    head: bytes
    data: memoryview


class Patience(NamedTuple):
    """How long the store waits."""

    commit_s: float = 5.0  # for one answer of the server, after which it is unknown
    retry_s: float = 30.0  # for a primary that can tell, after which the writer stops


class PostgresStore:
    """A journal in PostgreSQL, opened for writing; made by ``open_postgres_store``.

    Parameters
    ----------
    dsn
        One or several hosts.
    writer
        The owner, whose epoch was taken.
    position
        The durable end.
    patience
        Bounds of waiting.
    on_close
        Called last by ``close``; stops an embedded server, say.
    """

    def __init__(
        self,
        dsn: str,
        writer: Writer,
        position: Position,
        patience: Patience,
        *,
        replica_count: int = 0,
        stats: StoreStats | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.writer = writer
        self.torn = None  # a row is there or not
        self.max_batch_bytes = BATCH_BYTES_MAX
        self.replica_count = replica_count  # standbys that must have a commit
        self.stats = stats or StoreStats()
        self._dsn = dsn
        self._position = position
        self._patience = patience
        self._on_close = on_close
        self._failure: StorageError | None = None
        self._runner = asyncio.Runner()  # in whichever thread calls
        self._primary: Primary | None = None
        self._statement: Any = None
        self._timeline = 0
        self._was_warned = False
        self._is_closed = False

    @property
    def position(self) -> Position:
        """Return the durable end of the journal."""
        return self._position

    def append(self, batch: memoryview, expect: Expect) -> Outcome:
        """Insert ``batch`` and wait until its commit is durable; see ``stores.base.Store``.

        Raises
        ------
        StorageError
            An earlier failure, or the database lost what was acknowledged.
        ValueError
            The batch is not one for this place or too long: the caller's mistake.
        """
        if self._failure is not None:
            raise StorageError(f"store stopped after an earlier error: {self._failure}")
        at = self._position
        if expect != (self.writer.epoch, at.seq, at.head):
            return Outcome.STALE
        header = header_from_bytes(bytes(batch[:HEADER_BYTES]))
        if header is None or header.batch_no != at.batch_no or header.prev_head != at.head:
            raise ValueError("append takes the encoded batch that follows the journal's end")
        if len(batch) > self.max_batch_bytes:
            raise ValueError(
                f"batch of {len(batch)} bytes is over the bound of {self.max_batch_bytes}"
            )
        head = head_of(batch)
        row = _Row(
            self.writer.partition,
            self.writer.epoch,
            at.seq,
            at.head,
            at.batch_no,
            header.record_count,
            head,
            batch,
        )
        outcome = self._runner.run(self._append(row))
        if outcome is Outcome.OK:
            self._position = advanced(at, header, head, 0)
        else:
            self._failure = StorageError(f"batch {at.batch_no} was answered {outcome.name.lower()}")
        return outcome

    def close(self) -> None:
        """Close the connection and what ``on_close`` closes; twice does no harm."""
        self._failure = self._failure or StorageError("the store is closed")
        if not self._is_closed:
            self._is_closed = True
            self._runner.run(self._leave())
            self._runner.close()
            self._on_close()

    async def _leave(self) -> None:
        if self._primary is not None:
            self._primary.connection.terminate()
            self._primary = self._statement = None
        await asyncio.sleep(0)  # the transport closes in a turn of the loop

    async def _append(self, row: _Row) -> Outcome:
        tried = await self._try(row)
        if tried is _Try.KEPT:
            return Outcome.OK
        return await self._settled(row, tried)

    async def _try(self, row: _Row) -> _Try:
        """Send the statement once; any doubt about its commit is ``UNKNOWN``."""
        self._was_warned = False
        try:
            if self._statement is None:
                await self._connect()
            kept = await self._in_time(self._statement.fetchval(*row))
        except (*CONNECT_ERRORS, StoreUnavailable) as problem:
            await self._give_up_connection(problem)
            return _Try.UNKNOWN
        if self._was_warned:
            await self._give_up_connection(None)
            return _Try.UNKNOWN
        return _Try.HELD_OFF if kept is None else _Try.KEPT

    async def _settled(self, row: _Row, tried: _Try) -> Outcome:
        """Ask the primary in charge what became of ``row``; send it again if need be."""
        until = time.monotonic() + self._patience.retry_s
        pause_s = _PAUSE_S
        while True:
            self.stats.unknown_count += tried is _Try.UNKNOWN
            standing = await self._standing(row.partition, row.epoch)
            if standing is not None:
                known = self._judged(row, standing)
                if known is not None:
                    return known
                self.stats.retry_count += 1
                tried = await self._try(row)
                if tried is _Try.KEPT:
                    return Outcome.OK
            if time.monotonic() > until:
                return Outcome.UNKNOWN
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    async def _standing(self, partition: int, epoch: int) -> Any:
        """Return the head row as it durably stands, or None where nobody can tell now."""
        self._was_warned = False
        try:
            if self._primary is None:
                await self._connect()
            assert self._primary is not None, "connected just now"
            connection = self._primary.connection
            found = await self._in_time(connection.fetchrow(tables.SETTLE, partition, epoch))
            if found is None:
                found = await self._in_time(connection.fetchrow(tables.READ_HEAD, partition))
        except (*CONNECT_ERRORS, StoreUnavailable) as problem:
            await self._give_up_connection(problem)
            return None
        if self._was_warned:
            await self._give_up_connection(None)
            return None
        if found is None:
            raise self._lost(f"the database holds no journal of partition {partition} any more")
        return found

    async def _in_time(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return what ``work`` returns, or raise ``TimeoutError`` and drop the connection.

        The server is not asked to cancel: that would end its wait for standbys, and others could
        then read a batch that only one machine has.
        """
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait({task}, timeout=self._patience.commit_s)
        if not done:
            if self._primary is not None:
                self._primary.connection.terminate()
            await asyncio.wait({task}, timeout=self._patience.commit_s)
            task.cancel()
            raise TimeoutError
        return task.result()

    def _judged(self, row: _Row, standing: Any) -> Outcome | None:
        """Return what ``standing`` says of ``row``; None = not there, to be sent again."""
        if standing["epoch"] > row.epoch:
            return Outcome.STALE
        if standing["epoch"] == row.epoch:
            if standing["head"] == row.head:
                return Outcome.OK
            if standing["head"] == row.before and standing["batch_no"] == row.batch_no:
                return None
        raise self._lost(
            f"the database ends at record {standing['seq'] - 1} of epoch {standing['epoch']}, "
            f"record {row.seq - 1} of epoch {row.epoch} was acknowledged: a standby that lags was "
            "promoted, or an old copy restored"
        )

    def _lost(self, text: str) -> LostRecordsError:
        self._failure = LostRecordsError(text)
        return self._failure

    async def _connect(self) -> None:
        await self._leave()
        self._primary = primary = await connect_primary(
            self._dsn, self._patience.commit_s, least_timeline=self._timeline
        )
        primary.connection.add_log_listener(self._on_message)
        self._statement = await self._in_time(primary.connection.prepare(tables.APPEND))
        self._timeline = primary.timeline
        self.stats.place = primary.place
        self.stats.connect_count += 1

    def _on_message(self, _: object, message: Any) -> None:
        """A cancelled wait for standbys is told by a warning only: the commit counts as unknown."""
        self._was_warned |= message.severity_en not in ("NOTICE", "INFO", "LOG", "DEBUG")

    async def _give_up_connection(self, problem: BaseException | None) -> None:
        self.stats.last_problem = (
            "the wait for standbys was cancelled" if problem is None else reason_of(problem)
        )
        await self._leave()
