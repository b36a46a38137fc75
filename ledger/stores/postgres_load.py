"""A journal put into a database that has none: the batches of segment files, in one transaction."""

import asyncio
from collections.abc import Iterator
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

from ledger.disk import OsDisk
from ledger.errors import StoreSettingsError, StoreUnavailable
from ledger.journal import FORMAT_VERSION, Batch, Position, bytes_of
from ledger.postgres import journal_tables as tables
from ledger.postgres.connect import CONNECT_ERRORS, connect_primary, reason_of
from ledger.postgres.reading import rot, scan_postgres
from ledger.postgres.settings import FACTS_SQL, Facts, require_safe
from ledger.recovery import Scan
from ledger.segment import archived_mark, journal_folder
from ledger.stores.epoch import Ownership, write_epoch
from ledger.stores.postgres_open import Opening, committed

_WRITER = bytes(16)  # nobody has opened it yet


def load_postgres(data: Path, opening: Opening, source: Path, end: Position) -> None:
    """Put the batches of ``source`` up to ``end`` into the database that ``opening`` names.

    Parameters
    ----------
    data
        The data folder that the journal will belong to; its epoch file is written.
    opening
        The database and what it must promise.
    source
        A folder with segment files; each batch is checked on its way.
    end
        After the last batch wanted, in these files.

    Raises
    ------
    StoreSettingsError
        The database holds a journal of this partition, or would lose what it acknowledges.
    StoreUnavailable
        It cannot be reached or went away. Before the commit nothing was put in.
    RotError, ForeignJournalError, FormatVersionError
        The files are damaged; nothing was put in.
    """
    wanted = takewhile(
        lambda batch: batch.header.batch_no < end.batch_no,
        Scan(source, partition=opening.partition),
    )
    first = next(wanted)
    cluster = first.header.cluster
    mark = archived_mark(OsDisk(), source)
    asyncio.run(_loaded(opening, cluster, chain([first], wanted), mark, end))
    found = Position()
    for batch in scan_postgres(opening.dsn, cluster=cluster, partition=opening.partition):
        found = batch.after
    if found.head != end.head:
        raise rot("what was put in ends in another batch", found.batch_no)
    disk = OsDisk()
    disk.mkdir(journal_folder(data))
    write_epoch(disk, data, Ownership(cluster, opening.partition, end.epoch))


async def _loaded(
    opening: Opening,
    cluster: bytes,
    batches: Iterator[Batch],
    mark: Position | None,
    end: Position,
) -> None:
    partition = opening.partition
    primary = await connect_primary(opening.dsn, opening.patience.commit_s)
    connection = primary.connection
    try:
        require_safe(Facts(*await connection.fetchrow(FACTS_SQL)), opening.replica_count)
        await committed(primary, connection.execute(tables.CREATE))
        await connection.execute("BEGIN")
        head = (partition, FORMAT_VERSION, cluster, end.epoch, end.batch_no, end.seq, end.head)
        if await connection.fetchval(tables.LOADED_HEAD, *head, _WRITER) is None:
            raise StoreSettingsError(
                f"the database at {primary.place} holds a journal of partition {partition} "
                "already: name an empty one, nothing was changed"
            )
        if mark is not None:
            begin = (mark.segment, mark.batch_no, mark.seq, mark.epoch, mark.head)
            await connection.execute(tables.LOADED_MARK, partition, *begin)
        await connection.copy_records_to_table(
            "batch",
            schema_name=tables.SCHEMA,
            columns=tables.COLUMNS,
            records=map(_row, batches),
        )
        await committed(primary, connection.execute("COMMIT"))
    except CONNECT_ERRORS as problem:
        raise StoreUnavailable(f"PostgreSQL at {primary.place}: {reason_of(problem)}") from None
    finally:
        connection.terminate()


def _row(batch: Batch) -> tuple[Any, ...]:
    """Return the values of ``tables.COLUMNS``."""
    header = batch.header
    numbers = (header.batch_no, header.epoch, header.first_seq, header.record_count)
    return (header.partition, *numbers, batch.head, bytes_of(batch))
