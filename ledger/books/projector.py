"""Brings the books up to the journal: each record once, whatever stops it in between.

A chunk of records goes in by COPY in one transaction that first moves the watermark on from the
record it was read at. Two projectors on the same books exclude each other by that row: one of them
finds it moved, and reads the balances again. Balances are kept in memory and read from the books at
the start, so nothing but the books and the journal decides what is written.
"""

import asyncio
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ledger.books import copy_rows, tables, views
from ledger.books.expand_kernels import BALANCES, CASH, POSTING, POSTINGS_MAX, PURCHASES, expand
from ledger.errors import (
    ForeignJournalError,
    FormatVersionError,
    LedgerError,
    RotError,
    StoreUnavailable,
)
from ledger.journal import Batch, Position, Records, position_from_json
from ledger.lifecycle import Fin, Memo
from ledger.postgres.connect import CONNECT_ERRORS, connect_primary, reason_of
from ledger.record import Kind

CHUNK_RECORDS = 16_384
_CONNECT_S = 10.0
_DEBIT_NORMAL = (Memo.LIMIT, Memo.PREPAID, Memo.OVER, Fin.RCV_PURCH, Fin.RCV_CASH)
_COLUMN: dict[int, int] = {memo.value: memo.value for memo in Memo if memo.value < Memo.SPEND}
_ABOUT_ANOTHERS = (Kind.REVERSAL, Kind.CLEARING_REVERSAL, Kind.REFUND)
_COLUMN |= {Fin.RCV_PURCH.value: PURCHASES, Fin.RCV_CASH.value: CASH}


class Watermark(NamedTuple):
    """Up to where the books go."""

    seq: int = 0  # the last record in them
    position: Position = Position()  # where the journal is read on
    cluster: bytes | None = None  # whose journal it is; None = nothing is in them


class Books:
    """The books in one database, opened for writing; close them.

    Parameters
    ----------
    dsn
        The database.
    partition
        Of the journal.
    chunk_records
        Records of a transaction, at least; a chunk is whole batches.
    note
        Told what could be better, one line each.

    Raises
    ------
    StoreUnavailable, FormatVersionError
        From here and from every method.
    """

    def __init__(
        self,
        dsn: str,
        *,
        partition: int = 0,
        chunk_records: int = CHUNK_RECORDS,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._dsn = dsn
        self._partition = partition
        self._note = note
        self._chunk = chunk_records
        self._runner = asyncio.Runner()
        self._connection: Any = None
        self.watermark = Watermark()
        self.balances: NDArray[np.int64] = np.zeros((1, BALANCES), np.int64)
        self.currency: NDArray[np.int64] = np.zeros(1, np.int64)
        self._out: NDArray[np.void] = np.zeros(4 * chunk_records + POSTINGS_MAX, POSTING)
        try:
            self._do(self._open())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; twice does no harm."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
            self._runner.run(asyncio.sleep(0))
        self._runner.close()

    def __enter__(self) -> "Books":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def project(
        self, batches: Iterable[Batch], on_progress: Callable[[int], None] = lambda _: None
    ) -> int:
        """Put every record after the watermark into the books; return how many there were.

        ``batches`` begin at ``watermark.position``. ``on_progress`` is told the last record after
        each chunk. Raises ``ForeignJournalError`` for another journal's.
        """
        group: list[Batch] = []
        held = done = 0
        for batch in self._continued(batches):
            self._check(batch)
            group.append(batch)
            held += len(batch.records)
            if held >= self._chunk:
                done += self._put(group)
                on_progress(self.watermark.seq)
                group, held = [], 0
        return done + (self._put(group) if group else 0)

    def _continued(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield ``batches``; say what it may mean that they do not continue the books."""
        at = self.watermark.position
        count = 0
        try:
            for batch in batches:
                yield batch
                count += 1
        except RotError as damage:
            if (
                count
                or self.watermark.cluster is None
                or damage.batch_no not in (at.batch_no, at.batch_no - 1)
            ):
                raise
            raise LedgerError(
                f"the journal does not continue the books, which end at record {at.seq - 1}: "
                f"{damage}; if a crash undid a last write that the books had read already, drop "
                f"the schema {tables.SCHEMA} and project again"
            ) from damage

    def fetch(self, sql: str, *words: Any) -> Any:
        """Return the rows of a query."""
        return self._do(self._connection.fetch(sql, *words))

    def _do(self, work: Any) -> Any:
        try:
            return self._runner.run(work)
        except CONNECT_ERRORS as problem:
            raise StoreUnavailable(f"the books' PostgreSQL: {reason_of(problem)}") from None

    def _check(self, batch: Batch) -> None:
        known = self.watermark.cluster
        header = batch.header
        if header.partition != self._partition or (known is not None and header.cluster != known):
            raise ForeignJournalError(
                f"batch {header.batch_no} belongs to partition {header.partition} of cluster "
                f"{header.cluster.hex()}, the books to another journal: give --dsn of its own books"
            )

    async def _open(self) -> None:
        self._connection = (await connect_primary(self._dsn, _CONNECT_S)).connection
        if not await self._connection.fetchval(tables.EXISTS):
            await self._connection.execute(tables.ROLES)
            async with self._connection.transaction():
                await self._connection.execute(tables.CREATE)
                await self._connection.execute(views.CREATE)
                await self._connection.execute(tables.TRIGGERS)
                await self._connection.execute(tables.GRANTS)
        if await self._connection.fetchval(tables.CAN_BE_WRITER):
            await self._connection.execute(tables.SET_WRITER)
        else:
            self._note(f"this login is not of the role {tables.WRITER}: it writes as the owner")
        await self._connection.execute(tables.NAMES)
        await self._read()

    async def _read(self) -> None:
        """Read watermark and balances, as of one moment."""
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            row = await self._connection.fetchrow(tables.READ_WATERMARK, self._partition)
            if row is None:
                self.watermark = Watermark()
            else:
                if row["format"] > tables.FORMAT:
                    raise FormatVersionError(
                        f"the books have format {row['format']}, this program knows "
                        f"{tables.FORMAT}: run the newer de39 that made them"
                    )
                position = position_from_json(json.loads(row["position"]))
                self.watermark = Watermark(row["seq"], position, row["cluster"])
            currencies = await self._connection.fetch(tables.CURRENCIES)
            sums = await self._connection.fetch(tables.BALANCES)
        self._make_room(max((account for account, _ in currencies), default=0))
        self.balances[:] = 0
        for account, currency in currencies:
            self.currency[account] = currency
        for account, code, balance in sums:
            column = _COLUMN.get(code)
            if column is not None:
                self.balances[account, column] = balance if code in _DEBIT_NORMAL else -balance

    def _make_room(self, account: int) -> None:
        count = len(self.balances)
        if account >= count:
            more = max(account + 1, 2 * count) - count
            self.balances = np.vstack([self.balances, np.zeros((more, BALANCES), np.int64)])
            self.currency = np.concatenate([self.currency, np.zeros(more, np.int64)])

    def _put(self, group: Sequence[Batch]) -> int:
        """Insert what is not in the books yet; return how many records."""
        every = np.concatenate([batch.records for batch in group])
        after, cluster = group[-1].after, group[0].header.cluster
        while True:
            records = every[int(np.searchsorted(every["seq"], self.watermark.seq, "right")) :]
            if not len(records):
                return 0
            if int(records["seq"][0]) != self.watermark.seq + 1:
                raise LedgerError(
                    f"record {int(records['seq'][0])} comes after record {self.watermark.seq} of "
                    "the books: read the journal from where they end"
                )
            touched = self._touched(records)
            before = self.balances[touched].copy()
            postings = self._expanded(records)
            moved = Watermark(int(records["seq"][-1]), after, cluster)
            try:
                is_mine = self._do(self._insert(records, postings, moved))
            except BaseException:
                self.balances[touched] = before
                raise
            if is_mine:
                self.watermark = moved
                return len(records)
            self._do(self._read())  # another projector has been here

    def _touched(self, records: Records) -> NDArray[np.uint32]:
        """Make room for the accounts of ``records``, note new currencies; return the accounts."""
        touched: NDArray[np.uint32] = np.unique(records["account"])
        self._make_room(int(touched[-1]))
        opened = records[records["kind"] == Kind.ACCOUNT_OPEN]
        self.currency[opened["account"]] = opened["currency"]
        return touched

    def _expanded(self, records: Records) -> NDArray[np.void]:
        parts = []
        first = 0
        while first < len(records):
            done, made = expand(records[first:].copy(), self.balances, self._out)
            part = self._out[:made].copy()
            part["row"] += first
            parts.append(part)
            first += done
        return np.concatenate(parts)

    async def _insert(self, records: Records, postings: NDArray[np.void], moved: Watermark) -> bool:
        """Insert in one transaction; False = the watermark was not where it was read."""
        connection = self._connection
        async with connection.transaction():
            position = json.dumps(moved.position.to_json())
            words = (self._partition, self.watermark.seq, moved.seq, position)
            if self.watermark.cluster is None:
                first = (self._partition, moved.cluster, moved.seq, position)
                if await connection.fetchval(tables.FIRST_WATERMARK, *first) is None:
                    return False
            elif await connection.fetchval(tables.MOVE_WATERMARK, *words) is None:
                return False
            accounts, count = copy_rows.account_rows(records)
            if count:
                await self._copy("account", copy_rows.ACCOUNT_COLUMNS, accounts)
            about = await self._authorizations(records)
            await self._copy("event", copy_rows.EVENT_COLUMNS, copy_rows.event_rows(records, about))
            rows = copy_rows.posting_rows(records, about, postings, self.currency)
            await self._copy("posting", copy_rows.POSTING_COLUMNS, rows)
        return True

    async def _authorizations(self, records: Records) -> NDArray[np.uint64]:
        """Return the authorization that each of ``records`` is about, u64 (k,).

        A reversal names a message that may be a part of one, such as an increment; a clearing
        reversal and a refund name a clearing. What that is about is in the books, or stands in
        ``records`` before it.
        """
        about = copy_rows.auth_seq_of(records)
        is_by_another = np.isin(records["kind"], _ABOUT_ANOTHERS) & (records["ref_seq"] != 0)
        rows = np.flatnonzero(is_by_another)
        named, first = records["ref_seq"][rows], records["seq"][0]
        is_here = named >= first
        about[rows[is_here]] = about[named[is_here] - first]
        elsewhere = named[~is_here].tolist()
        if elsewhere:
            fetched = await self._connection.fetch(tables.AUTHORIZATIONS, sorted(set(elsewhere)))
            known = dict(fetched)
            about[rows[~is_here]] = [known.get(seq, seq) for seq in elsewhere]
        return about

    async def _copy(self, table: str, columns: Iterable[str], rows: bytes) -> None:
        await self._connection.copy_to_table(
            table,
            schema_name=tables.SCHEMA,
            columns=list(columns),
            source=io.BytesIO(rows),
            format="binary",
        )
