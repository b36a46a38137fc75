"""Opening a journal in PostgreSQL for writing: settings checked, journal read, epoch taken.

The journal is read and checked to its end before the epoch is raised, so an engine that cannot
read it fences nobody. Raising the epoch is the fence: from its commit on the owner before can add
nothing. What that one added in between is read after it.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ledger.disk import OsDisk
from ledger.errors import NoJournalError, StorageInUse, StoreUnavailable
from ledger.journal import FORMAT_VERSION, ZERO_HEAD, Batch, Position, Writer
from ledger.postgres import journal_tables as tables
from ledger.postgres.connect import CONNECT_ERRORS, Primary, connect_primary, reason_of
from ledger.postgres.reading import (
    Standing,
    require_end,
    rot,
    scan_postgres,
    standing_from,
)
from ledger.postgres.settings import FACTS_SQL, Facts, require_safe
from ledger.postgres.watch import StoreStats, Watch
from ledger.stores.epoch import Ownership, read_epoch, write_epoch
from ledger.stores.postgres import Patience, PostgresStore

_ID_BYTES = 16
_OPEN_S = 30.0  # for a commit while opening; the first waits for standbys


class Opening(NamedTuple):
    """What is asked of the database."""

    dsn: str
    replica_count: int = 0  # standbys that must have a commit before it counts
    patience: Patience = Patience()
    partition: int = 0


def open_postgres_store(
    data: Path,
    opening: Opening,
    *,
    cluster: bytes | None = None,
    start: Position | None = None,
    at_least_seq: int = 0,
    on_batch: Callable[[Batch], None] = lambda _: None,
    on_end: Callable[[Position], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
    on_close: Callable[[], None] = lambda: None,
) -> PostgresStore:
    """Open or make the journal in the database for writing.

    Parameters
    ----------
    data
        The data folder; its epoch file remembers whose journal it is.
    opening
        The database and what it must promise.
    cluster
        16 bytes the journal must belong to; None = what the folder remembers, or any.
    start, at_least_seq
        From a snapshot: where to begin reading, and the record up to which it is the state.
    on_batch
        Called with every batch from ``start`` on, in order, before this returns.
    on_end
        Called with the end that was found, before the epoch is raised; it may raise.
    note
        Told of settings that could be better, one line each.
    on_close
        Called last when the store is closed.

    Raises
    ------
    StoreUnavailable, StoreSettingsError, StorageInUse, RotError, ForeignJournalError,
    FormatVersionError, NoJournalError
        Nothing was changed in the database, but for empty tables and, at the very last, the epoch.
    """
    disk = OsDisk()
    disk.mkdir(data)
    disk.mkdir(data / "journal")
    known = read_epoch(disk, data)
    cluster = cluster or (known.cluster if known is not None else None)
    is_new = known is None and start is None and not at_least_seq
    writer_id = os.urandom(_ID_BYTES)
    head = asyncio.run(_prepared(opening, cluster, is_new=is_new, note=note, writer=writer_id))
    end = _read(opening, head.cluster, start or Position(), at_least_seq, on_batch)
    on_end(end)
    taken = asyncio.run(_take_epoch(opening, head.epoch, writer_id))
    end = _read(opening, head.cluster, end, at_least_seq, on_batch)
    require_end(end, taken)
    owner = Writer(head.cluster, opening.partition, taken.epoch, writer_id)
    write_epoch(disk, data, Ownership(owner.cluster, owner.partition, owner.epoch))
    stats = StoreStats()
    watch = Watch(opening.dsn, stats)

    def leave() -> None:
        watch.close()
        on_close()

    return PostgresStore(
        opening.dsn,
        owner,
        end,
        opening.patience,
        replica_count=opening.replica_count,
        stats=stats,
        on_close=leave,
    )


def _read(
    opening: Opening,
    cluster: bytes,
    start: Position,
    at_least_seq: int,
    on_batch: Callable[[Batch], None],
) -> Position:
    """Check and hand on every batch from ``start``; return the end."""
    end = start._replace(segment=0, offset=0)
    for batch in scan_postgres(
        opening.dsn, start=end, cluster=cluster, partition=opening.partition
    ):
        on_batch(batch)
        end = batch.after
    if end.seq <= at_least_seq:
        raise rot(f"journal ends at record {end.seq - 1}, {at_least_seq} was durable", end.batch_no)
    return end


async def _prepared(
    opening: Opening,
    cluster: bytes | None,
    *,
    is_new: bool,
    note: Callable[[str], None],
    writer: bytes,
) -> Standing:
    """Check settings, make what is missing, return the head row; no epoch is taken yet."""
    primary = await connect_primary(opening.dsn, opening.patience.commit_s)
    connection = primary.connection
    try:
        facts = Facts(*await connection.fetchrow(FACTS_SQL))
        for remark in require_safe(facts, opening.replica_count):
            note(remark)
        if not await connection.fetchval(tables.EXISTS):
            _refuse_lost(opening, is_new=is_new)
            await committed(primary, connection.execute(tables.CREATE))
        row = await connection.fetchrow(tables.READ_HEAD, opening.partition)
        if row is None:
            _refuse_lost(opening, is_new=is_new)
            mine = cluster or os.urandom(_ID_BYTES)
            fields = (opening.partition, FORMAT_VERSION, mine, ZERO_HEAD, writer)
            await committed(primary, connection.execute(tables.NEW_HEAD, *fields))
            row = await connection.fetchrow(tables.READ_HEAD, opening.partition)
    except CONNECT_ERRORS as problem:
        raise StoreUnavailable(f"PostgreSQL at {primary.place}: {reason_of(problem)}") from None
    finally:
        connection.terminate()
    return standing_from(row, None, cluster, primary.place)


async def _take_epoch(opening: Opening, seen: int, writer: bytes) -> Standing:
    """Raise the epoch that was seen; of two that try, one succeeds."""
    primary = await connect_primary(opening.dsn, opening.patience.commit_s)
    try:
        row = await committed(
            primary, primary.connection.fetchrow(tables.TAKE_EPOCH, opening.partition, seen, writer)
        )
    except CONNECT_ERRORS as problem:
        raise StoreUnavailable(f"PostgreSQL at {primary.place}: {reason_of(problem)}") from None
    finally:
        primary.connection.terminate()
    if row is None:
        raise StorageInUse("another engine opened the journal in the database at the same time")
    return standing_from(row, None, None, primary.place)


async def committed(primary: Primary, work: Any) -> Any:
    """Return what ``work`` returns once its commit is durable.

    Raises
    ------
    StoreUnavailable
        It did not get there in time, or its wait for standbys was cancelled.
    """
    warned: list[str] = []
    primary.connection.add_log_listener(
        lambda _, message: (
            warned.append(message.message) if message.severity_en == "WARNING" else None
        )
    )
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=_OPEN_S)
    if not done or warned:
        primary.connection.terminate()
        await asyncio.wait({task}, timeout=1.0)
        reason = warned[0] if warned else f"no commit within {_OPEN_S:.0f} s"
        raise StoreUnavailable(
            f"PostgreSQL at {primary.place}: {reason}: are its synchronous standbys connected?"
        )
    return task.result()


def _refuse_lost(opening: Opening, *, is_new: bool) -> None:
    if not is_new:
        raise NoJournalError(
            f"the database holds no journal of partition {opening.partition}, and the data folder "
            "belongs to one: connect to the right database, or restore it"
        )
