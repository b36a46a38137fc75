"""The journal read back from PostgreSQL: streamed by COPY, every batch checked like a file's.

A thread of its own holds the connection and fills a bounded queue, so that the server sends the
next batches while these are checked and memory does not grow with the journal. A table has no torn
tail: a batch is wholly there or not at all, so whatever does not fit is rot.
"""

import asyncio
import queue
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import numpy as np

from ledger.errors import (
    ForeignJournalError,
    FormatVersionError,
    NoJournalError,
    RotError,
    StorageError,
    StoreUnavailable,
)
from ledger.journal import (
    FORMAT_VERSION,
    HEADER_BYTES,
    Batch,
    BatchHeader,
    Position,
    advanced,
    blobs_of,
    body_is_whole,
    head_of,
    header_from_bytes,
    padded,
    records_of,
    sizes_agree,
)
from ledger.postgres import journal_tables as tables
from ledger.postgres.connect import CONNECT_ERRORS, connect_primary, reason_of

TABLE = "table de39.batch"
CONNECT_S = 10.0
_QUEUE_CHUNKS = 64  # of up to 64 KiB or one row, whichever is more
_COPY_HEADER_BYTES = 19
_FIELDS = struct.Struct(">h")
_LENGTH = struct.Struct(">i")


class _CopyRows:
    """Cuts a binary COPY of one bytea column into its values, each copied once."""

    def __init__(self) -> None:
        self._rest = b""
        self._has_header = False

    def feed(self, data: bytes) -> Iterator[bytearray]:
        """Take the next bytes; yield each value that is complete."""
        whole = self._rest + data if self._rest else data
        view = memoryview(whole)
        at = 0
        if not self._has_header:
            if len(view) < _COPY_HEADER_BYTES:
                self._rest = whole
                return
            self._has_header = True
            at = _COPY_HEADER_BYTES
        start = _FIELDS.size + _LENGTH.size
        while len(view) - at >= start:
            (size,) = _LENGTH.unpack_from(view, at + _FIELDS.size)
            end = at + start + size
            if len(view) < end:
                break
            yield bytearray(view[at + start : end])
            at = end
        self._rest = bytes(view[at:])


def checked_batch(raw: bytearray, at: Position, cluster: bytes | None, partition: int) -> Batch:
    """Return the batch in ``raw``, which must be the one that comes at ``at``.

    Raises
    ------
    RotError, ForeignJournalError, FormatVersionError
        It is not.
    """
    pages = np.frombuffer(raw, np.uint8)
    header = header_from_bytes(bytes(raw[:HEADER_BYTES]))
    if header is None:
        raise rot("batch header damaged", at.batch_no)
    _check_owner(header, cluster, partition)
    reason = ""
    if header.batch_no != at.batch_no:
        reason = f"batch {header.batch_no} stands where batch {at.batch_no} should"
    elif header.prev_head != at.head:
        reason = "batch does not continue the hash chain"
    elif header.first_seq != at.seq or header.epoch < at.epoch:
        reason = "batch does not continue the record numbers or epochs"
    elif not sizes_agree(header) or padded(HEADER_BYTES + header.body_bytes) != len(raw):
        reason = "batch states sizes that cannot be"
    elif not body_is_whole(header, pages):
        reason = "batch body differs from its hash"
    if reason:
        raise rot(reason, at.batch_no)
    try:
        blobs = blobs_of(header, pages) if header.blob_count else ()
    except ValueError as error:
        raise rot(str(error), at.batch_no) from error
    head = head_of(memoryview(raw))
    after = advanced(at, header, head, len(raw))._replace(segment=0, offset=0)
    return Batch(header, records_of(header, pages), blobs, head, after)


def _check_owner(header: BatchHeader, cluster: bytes | None, partition: int) -> None:
    if header.version != FORMAT_VERSION:
        raise FormatVersionError(
            f"{TABLE} has journal format {header.version}, this program reads format "
            f"{FORMAT_VERSION}: run the newer de39 that wrote it"
        )
    if header.partition != partition or (cluster is not None and header.cluster != cluster):
        raise ForeignJournalError(
            f"{TABLE}, batch {header.batch_no}, belongs to partition {header.partition} of "
            f"cluster {header.cluster.hex()}: connect to the right database"
        )


def rot(reason: str, batch_no: int) -> RotError:
    """Return the error for a damaged batch in the table."""
    return RotError(reason, batch_no=batch_no, segment=TABLE, offset=0)


def scan_postgres(
    dsn: str,
    *,
    start: Position | None = None,
    cluster: bytes | None = None,
    partition: int = 0,
) -> Iterator[Batch]:
    """Iterate over the batches from ``start`` on, in order, each one checked.

    Parameters
    ----------
    dsn
        The database; of several hosts the primary is read.
    start
        Between two batches; None = the first.
    cluster, partition
        Whose journal it must be; None = any cluster's, but all of one.

    Raises
    ------
    NoJournalError, RotError, ForeignJournalError, FormatVersionError, StoreUnavailable
        While iterating.
    """
    at = start or Position()
    rows = _CopyRows()
    for chunk in _Stream(dsn, partition, at.batch_no):
        for raw in rows.feed(chunk):
            batch = checked_batch(raw, at, cluster, partition)
            cluster = batch.header.cluster
            at = batch.after
            yield batch


class _Stream:
    """The bytes of the COPY, filled by a thread; ends the thread when it is left early."""

    def __init__(self, dsn: str, partition: int, batch_no: int) -> None:
        self._dsn = dsn
        self._partition = partition
        self._batch_no = batch_no
        self._queue: queue.Queue[bytes | Exception | None] = queue.Queue(_QUEUE_CHUNKS)
        self._is_left = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        thread = threading.Thread(target=self._run, name="journal-read", daemon=True)
        thread.start()
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self._is_left.set()
            while thread.is_alive():
                self._drop()
                thread.join(0.01)

    def _drop(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()

    def _run(self) -> None:
        try:
            asyncio.run(self._copy())
            self._queue.put(None)
        except _LeftError:
            pass
        except (StoreUnavailable, NoJournalError) as problem:
            self._queue.put(problem)
        except CONNECT_ERRORS as problem:
            self._queue.put(StorageError(f"reading {TABLE}: {reason_of(problem)}"))

    async def _copy(self) -> None:
        connection = (await connect_primary(self._dsn, CONNECT_S)).connection
        try:
            if not await connection.fetchval(tables.EXISTS):
                raise NoJournalError("no journal in the database: check ledger.dsn")
            await connection.copy_from_query(
                tables.COPY_BATCHES,
                self._partition,
                self._batch_no,
                output=self._put,
                format="binary",
            )
        finally:
            connection.terminate()

    async def _put(self, data: bytes) -> None:
        while True:
            if self._is_left.is_set():
                raise _LeftError
            try:
                self._queue.put(data, timeout=0.1)
            except queue.Full:
                continue
            return


class _LeftError(Exception):
    """Nobody reads on."""


def with_primary(dsn: str, work: Callable[..., Any], *words: Any) -> Any:
    """Run ``await work(connection, *words)`` on a connection of its own; return what it returns.

    Raises
    ------
    StoreUnavailable
        No primary, or it went away.
    """

    async def run() -> Any:
        connection = (await connect_primary(dsn, CONNECT_S)).connection
        try:
            return await work(connection, *words)
        finally:
            connection.terminate()

    try:
        return asyncio.run(run())
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as problem:
        raise StoreUnavailable(f"PostgreSQL: {reason_of(problem)}") from None


def tail_start(dsn: str, count: int, *, partition: int = 0) -> Position | None:
    """Return where to begin to read the newest ``count`` records; None = at the first batch."""

    async def look(connection: Any) -> Position | None:
        if not await connection.fetchval(tables.EXISTS):
            raise NoJournalError("no journal in the database: check ledger.dsn")
        row = await connection.fetchrow(tables.TAIL_START, partition, count)
        if row is None or row["before_head"] is None:
            return None
        return Position(row["batch_no"], row["first_seq"], row["before_epoch"], row["before_head"])

    return with_primary(dsn, look)
