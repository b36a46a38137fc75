"""The PostgreSQL store: one fenced statement a batch, answered when its commit is durable.

The statement moves the head row on from the epoch, record number and head that the writer believes
in, and inserts the batch with the bytes that a file would hold. A commit that waits for standbys
returns when they have it. Where the outcome is unknown (no answer in time, a broken connection, a
wait for standbys that was cancelled) nothing is acknowledged: the primary that is in charge *now*
is asked by a commit of its own, which is durable only after all before it are. The batch stands
there: fine. It does not, and the fence still holds: the same bytes are sent again. The epoch is
another's: this writer is stale. Less stands there than was acknowledged: the store ends, saying so.

Several batches can be on their way. ``append_ahead`` commits without waiting, which puts batches in
order and no more; ``flush`` commits a row of its own from another connection, which is durable only
after all commits before it. What is in doubt is settled for all that is pending, in order.
"""

import asyncio
import threading
import time
from collections import deque
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
from ledger.postgres.connect import (
    CONNECT_ERRORS,
    END_PREPARE,
    Primary,
    connect,
    connect_primary,
    reason_of,
)
from ledger.postgres.flusher import Flusher
from ledger.postgres.watch import StoreStats
from ledger.stores.base import Expect, Outcome

BATCH_BYTES_MAX = 16 * 1024 * 1024
_PAUSE_S = 0.05  # between two tries, doubled up to a second
_PAUSE_MAX_S = 1.0
_DOES_NOT_WAIT = {"synchronous_commit": "off"}


class _Try(IntEnum):
    KEPT = 0
    HELD_OFF = 1  # by the fence: nothing was written
    UNKNOWN = 2


class _Row(NamedTuple):
    """A batch as the statement takes it; ``after`` is where the journal then ends."""

    partition: int
    epoch: int
    seq: int
    before: bytes
    batch_no: int
    record_count: int
    head: bytes
    data: bytes | memoryview
    after: Position


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
        self._lock = threading.Lock()  # of who talks over these connections
        self._pending_lock = threading.Lock()  # of the next three; never held for long
        self._pending: deque[_Row] = deque()  # appended, and not known to be durable
        self._is_settling = False  # what is pending may have to be sent again
        self._flusher = Flusher(dsn, patience.commit_s)
        self._runner = asyncio.Runner()  # in whichever thread has the lock
        self._primary: Primary | None = None
        self._statement: Any = None
        self._ahead: Any = None  # connection whose commits do not wait
        self._ahead_statement: Any = None
        self._timeline = 0
        self._was_warned = False
        self._is_closed = False

    @property
    def position(self) -> Position:
        """Return the durable end of the journal."""
        return self._position

    @property
    def written(self) -> Position:
        """Return the end of what was appended, durable or not."""
        with self._pending_lock:
            return self._pending[-1].after if self._pending else self._position

    def append(self, batch: memoryview, expect: Expect) -> Outcome:
        """Insert ``batch`` and wait until its commit is durable; see ``stores.base.Store``.

        Raises
        ------
        StorageError
            An earlier failure, or the database lost what was acknowledged.
        ValueError
            The batch is not one for this place or too long: the caller's mistake.
        """
        with self._lock:
            row = self._checked(batch, expect)
            if row is None:
                return Outcome.STALE
            return self._append_durably(row)

    def append_ahead(self, batch: memoryview, expect: Expect) -> Outcome:
        """Insert ``batch`` in order and leave its commit to ``flush``; errors as ``append``."""
        with self._lock:
            row = self._checked(batch, expect)
            if row is None:
                return Outcome.STALE
            if self._primary is None or not self._flusher.stands_beside(self._primary):
                return self._append_durably(row)
            row = row._replace(data=bytes(batch))  # the caller's buffer is used again
            if self._runner.run(self._try(row, ahead=True)) is _Try.KEPT:
                self._pend(row)  # only now: what flush counts on is in the log already
                self.stats.ahead_count += 1
                return Outcome.OK
            return self._settle(row)

    def flush(self) -> Outcome:
        """Make everything durable that was appended before this call; see ``StagedStore``.

        Raises
        ------
        StorageError
            As ``append``.
        """
        with self._pending_lock:
            last = self._pending[-1] if self._pending else None
            primary = None if self._is_settling else self._primary
        if last is None:
            if primary is not None:
                self._flusher.stand_beside(primary)
            return Outcome.OK
        if primary is not None and self._flusher.flush(primary, last.partition, last.after.seq):
            self._settle_to(last)
            return Outcome.OK
        with self._lock:
            return self._settle()

    def close(self) -> None:
        """Close the connections and what ``on_close`` closes; twice does no harm."""
        self._failure = self._failure or StorageError("the store is closed")
        if not self._is_closed:
            self._is_closed = True
            self._flusher.close()
            self._runner.run(self._leave())
            self._runner.close()
            self._on_close()

    def _append_durably(self, row: _Row) -> Outcome:
        if self._runner.run(self._try(row)) is _Try.KEPT:
            self._pend(row)
            self._settle_to(row)
            return Outcome.OK
        return self._settle(row)

    def _checked(self, batch: memoryview, expect: Expect) -> _Row | None:
        """Return the batch as a row for the end of what is written; None = not our end."""
        if self._failure is not None:
            raise StorageError(f"store stopped after an earlier error: {self._failure}")
        at = self.written
        if expect != (self.writer.epoch, at.seq, at.head):
            return None
        header = header_from_bytes(bytes(batch[:HEADER_BYTES]))
        if header is None or header.batch_no != at.batch_no or header.prev_head != at.head:
            raise ValueError("append takes the encoded batch that follows the journal's end")
        if len(batch) > self.max_batch_bytes:
            raise ValueError(
                f"batch of {len(batch)} bytes is over the bound of {self.max_batch_bytes}"
            )
        head = head_of(batch)
        return _Row(
            self.writer.partition,
            self.writer.epoch,
            at.seq,
            at.head,
            at.batch_no,
            header.record_count,
            head,
            batch,
            advanced(at, header, head, 0),
        )

    def _pend(self, row: _Row) -> None:
        with self._pending_lock:
            self._pending.append(row)

    def _settle_to(self, last: _Row) -> None:
        """Note that ``last`` and all before it are durable."""
        with self._pending_lock:
            while self._pending and self._pending[0].batch_no <= last.batch_no:
                self._position = self._pending.popleft().after

    def _settle(self, row: _Row | None = None) -> Outcome:
        """Make what is pending, and ``row`` after it, durable, whatever became of it.

        The lock is held.
        """
        with self._pending_lock:
            self._is_settling = True
            self._pending += [] if row is None else [row]
            rows = list(self._pending)
        if not rows:
            self._is_settling = False
            return Outcome.OK if self._failure is None else Outcome.UNKNOWN
        if self._failure is not None:
            return Outcome.UNKNOWN  # the other thread has asked already
        outcome: Outcome = self._runner.run(self._settled(rows))
        if outcome is Outcome.OK:
            self._settle_to(rows[-1])
            self._is_settling = False
        else:
            name = outcome.name.lower()
            self._failure = StorageError(f"batch {rows[0].batch_no} was answered {name}")
        return outcome

    async def _leave(self) -> None:
        for connection in (self._ahead, self._primary and self._primary.connection):
            if connection is not None:
                connection.terminate()
        self._primary = self._statement = self._ahead = self._ahead_statement = None
        await asyncio.sleep(0)  # the transports close in a turn of the loop

    async def _try(self, row: _Row, *, ahead: bool = False) -> _Try:
        """Send the statement once; any doubt about its commit is ``UNKNOWN``."""
        self._was_warned = False
        try:
            if self._statement is None:
                await self._connect()
            statement = self._ahead_statement if ahead else self._statement
            kept = await self._in_time(statement.fetchval(*row[: _Row._fields.index("after")]))
        except (*CONNECT_ERRORS, StoreUnavailable) as problem:
            await self._give_up_connection(problem)
            return _Try.UNKNOWN
        if self._was_warned:
            await self._give_up_connection(None)
            return _Try.UNKNOWN
        return _Try.HELD_OFF if kept is None else _Try.KEPT

    async def _settled(self, rows: list[_Row]) -> Outcome:
        """Ask the primary in charge what became of ``rows``; send again what is not there."""
        until = time.monotonic() + self._patience.retry_s
        pause_s = _PAUSE_S
        while True:
            self.stats.unknown_count += 1
            standing = await self._standing(rows[0].partition, rows[0].epoch)
            if standing is not None:
                if standing["epoch"] > rows[0].epoch:
                    return Outcome.STALE
                if await self._all_kept(rows[self._count_there(rows, standing) :]):
                    return Outcome.OK
            if time.monotonic() > until:
                return Outcome.UNKNOWN
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    async def _all_kept(self, rows: list[_Row]) -> bool:
        """Send ``rows`` again, each durable before the next; False at the first in doubt."""
        for row in rows:
            self.stats.retry_count += 1
            if await self._try(row) is not _Try.KEPT:
                return False
        return True

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
            for connection in (self._ahead, self._primary and self._primary.connection):
                if connection is not None:
                    connection.terminate()
            await asyncio.wait({task}, timeout=self._patience.commit_s)
            task.cancel()
            raise TimeoutError
        return task.result()

    def _count_there(self, rows: list[_Row], standing: Any) -> int:
        """Return how many of ``rows`` the journal has, which stands as ``standing`` says."""
        first = rows[0]
        if standing["epoch"] == first.epoch:
            if standing["head"] == first.before and standing["batch_no"] == first.batch_no:
                return 0
            for count, row in enumerate(rows, 1):
                if standing["head"] == row.head:
                    return count
        raise self._lost(
            f"the database ends at record {standing['seq'] - 1} of epoch {standing['epoch']}, "
            f"record {first.seq - 1} of epoch {first.epoch} was acknowledged: a standby that lags "
            "was promoted, or an old copy restored"
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
        host, port = primary.host
        self._ahead = await connect(self._dsn, host, port, self._patience.commit_s, _DOES_NOT_WAIT)
        self._ahead_statement = await self._in_time(self._ahead.prepare(tables.APPEND))
        await self._in_time(self._ahead.execute(END_PREPARE))
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
