"""The journal read back from PostgreSQL: streamed by COPY, every batch checked like a file's.

A thread of its own holds the connection and fills a bounded queue, so that the server sends the
next batches while these are checked and memory does not grow with the journal. A table has no torn
tail: a batch is wholly there or not at all, so whatever does not fit is rot. The bytes of a row are
the truth; its other columns are for people and must say the same. What is read is one moment of the
table, and it must end where the head row of that moment says.
"""

import asyncio
import queue
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ledger.errors import (
    ForeignJournalError,
    FormatVersionError,
    LedgerError,
    NoJournalError,
    RotError,
    StorageError,
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
    misfit,
    padded,
    records_of,
    sizes_agree,
)
from ledger.postgres import journal_tables as tables
from ledger.postgres.connect import CONNECT_ERRORS, connect_primary, reason_of
from ledger.segment import TABLE

CONNECT_S = 10.0
_QUEUE_CHUNKS = 64  # of up to 64 KiB or one row, whichever is more
_COPY_HEADER_BYTES = 19
_FIELDS = struct.Struct(">h")
_LENGTH = struct.Struct(">i")


class Standing(NamedTuple):
    """What the database says of a journal, apart from its batches."""

    cluster: bytes
    epoch: int  # of the owner
    end: Position
    mark: Position | None  # where the journal begins since older batches were archived

    @property
    def begin(self) -> Position:
        """Return the place of the first batch that is there."""
        return self.mark or Position()


class Row(NamedTuple):
    """A batch with the columns that stand beside it."""

    batch_no: int
    epoch: int
    first_seq: int
    record_count: int
    head: bytes
    raw: bytearray


class _CopyRows:
    """Cuts a binary COPY of the batch table into its rows; the bytes of a batch are copied once."""

    def __init__(self) -> None:
        self._rest = b""
        self._has_header = False

    def feed(self, data: bytes) -> Iterator[Row]:
        """Take the next bytes; yield each row that is complete."""
        whole = self._rest + data if self._rest else data
        view = memoryview(whole)
        at = 0
        if not self._has_header:
            if len(view) < _COPY_HEADER_BYTES:
                self._rest = whole
                return
            self._has_header = True
            at = _COPY_HEADER_BYTES
        while (found := _row_at(view, at)) is not None:
            row, at = found
            yield row
        self._rest = bytes(view[at:])


def _row_at(view: memoryview, at: int) -> tuple[Row, int] | None:
    """Return the row that begins at ``at`` and where it ends; None = not all of it is there."""
    at += _FIELDS.size
    values = []
    for _ in Row._fields:
        if at + _LENGTH.size > len(view):
            return None
        (size,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if at + size > len(view):
            return None
        values.append(view[at : at + size])
        at += size
    batch_no, epoch, first_seq, record_count, head, raw = values
    row = Row(
        int.from_bytes(batch_no, "big"),
        int.from_bytes(epoch, "big"),
        int.from_bytes(first_seq, "big"),
        int.from_bytes(record_count, "big"),
        bytes(head),
        bytearray(raw),
    )
    return row, at


def checked_row(row: Row, at: Position, cluster: bytes | None, partition: int) -> Batch:
    """Return the batch of ``row``, which must be the one that comes at ``at``.

    Raises
    ------
    RotError, ForeignJournalError, FormatVersionError
        It is not, or a column says something else than the batch.
    """
    batch = checked_batch(row.raw, at, cluster, partition)
    header = batch.header
    said = (header.batch_no, header.epoch, header.first_seq, header.record_count, batch.head)
    for name, column, value in zip(Row._fields, row, said, strict=False):
        if column != value:
            raise rot(f"column {name} of its row differs from the batch", at.batch_no)
    return batch


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
    reason = misfit(header, at)
    if reason:
        pass
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


def standing_from(
    row: Any, mark: Any, cluster: bytes | None, place: str = "the database"
) -> Standing:
    """Return what a head row says, and the row of the archive's mark or None.

    Raises
    ------
    ForeignJournalError, FormatVersionError
        It is not of ``cluster`` (None = any), or a newer program wrote it.
    """
    if row["format"] > FORMAT_VERSION:
        raise FormatVersionError(
            f"the journal at {place} has format {row['format']}, this program reads format "
            f"{FORMAT_VERSION}: run the newer de39 that wrote it"
        )
    if cluster is not None and row["cluster"] != cluster:
        raise ForeignJournalError(
            f"the journal at {place} belongs to cluster {row['cluster'].hex()}, the data folder to "
            f"{cluster.hex()}: connect to the right database"
        )
    end = Position(row["batch_no"], row["seq"], row["last_epoch"], row["head"])
    begin = None if mark is None else Position(**dict(mark))
    return Standing(row["cluster"], row["epoch"], end, begin)


async def standing_of(connection: Any, partition: int, cluster: bytes | None) -> Standing:
    """Return how the journal stands; ``NoJournalError`` where there is none."""
    there = await connection.fetchrow(tables.EXIST)
    row = None
    if there["head"]:
        row = await connection.fetchrow(tables.READ_HEAD, partition)
    if row is None:
        raise NoJournalError(
            f"no journal of partition {partition} in the database: check ledger.dsn"
        )
    mark = await connection.fetchrow(tables.READ_MARK, partition) if there["mark"] else None
    return standing_from(row, mark, cluster)


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
        Between two batches; None = the first that is there.
    cluster, partition
        Whose journal it must be; None = any cluster's, but all of one.

    Raises
    ------
    NoJournalError, RotError, ForeignJournalError, FormatVersionError, StoreUnavailable
        While iterating.
    """
    stream = iter(_Stream(dsn, partition, cluster, None if start is None else start.batch_no))
    standing = next(stream)
    assert isinstance(standing, Standing), "the stream begins with it"
    at = standing.begin if start is None else start
    require_there(at, standing)
    rows = _CopyRows()
    for chunk in stream:
        for row in rows.feed(chunk):
            batch = checked_row(row, at, standing.cluster, partition)
            at = batch.after
            yield batch
    require_end(at, standing)


def require_there(at: Position, standing: Standing) -> None:
    """Raise ``NoJournalError`` where the batch at ``at`` was archived."""
    if at.batch_no < standing.begin.batch_no:
        raise NoJournalError(
            f"batches before {standing.begin.batch_no} were archived and batch {at.batch_no} is "
            "needed: no snapshot covers them, bring them back from the archive"
        )


def require_end(at: Position, standing: Standing) -> None:
    """Raise ``RotError`` unless a reading to the end came to where the head row is."""
    end = standing.end
    if (at.batch_no, at.seq, at.epoch, at.head) != end[:4]:
        reason = f"batches end at record {at.seq - 1}, the head row at record {end.seq - 1}"
        if (at.batch_no, at.seq) == (end.batch_no, end.seq):
            reason = f"the head row has another head or epoch than batch {at.batch_no - 1}"
        raise rot(reason, min(at.batch_no, end.batch_no))


class _Stream:
    """How the journal stands, then the bytes of the COPY; filled by a thread, which ends when left.

    All of it is one moment of the database.
    """

    def __init__(
        self, dsn: str, partition: int, cluster: bytes | None, batch_no: int | None
    ) -> None:
        self._dsn = dsn
        self._partition = partition
        self._cluster = cluster
        self._batch_no = batch_no
        self._queue: queue.Queue[Standing | bytes | Exception | None] = queue.Queue(_QUEUE_CHUNKS)
        self._is_left = threading.Event()

    def __iter__(self) -> Iterator[Any]:
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
        except LedgerError as problem:
            self._queue.put(problem)
        except CONNECT_ERRORS as problem:
            self._queue.put(StorageError(f"reading {TABLE}: {reason_of(problem)}"))

    async def _copy(self) -> None:
        connection = (await connect_primary(self._dsn, CONNECT_S)).connection
        try:
            await connection.execute(tables.ONE_MOMENT)
            standing = await standing_of(connection, self._partition, self._cluster)
            await self._put(standing)
            await connection.copy_from_query(
                tables.COPY_BATCHES,
                self._partition,
                standing.begin.batch_no if self._batch_no is None else self._batch_no,
                output=self._put,
                format="binary",
            )
        finally:
            connection.terminate()

    async def _put(self, item: Standing | bytes) -> None:
        while True:
            if self._is_left.is_set():
                raise _LeftError
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return


class _LeftError(Exception):
    """Nobody reads on."""


def fetched(record: Sequence[Any]) -> Row:
    """Return a row of ``tables.ROWS`` as it was fetched."""
    row = Row._make(record)
    return row._replace(raw=bytearray(row.raw))
