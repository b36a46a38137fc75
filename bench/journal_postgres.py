"""How fast records become durable in PostgreSQL, and how fast they are read back from it.

Group commit through the real committer and store into an embedded server in the same folder, turn
by turn with what one would do otherwise: COPY of the same records, one row a record and one
transaction a batch; and one INSERT and one commit a record. Recovery checks headers, chain and
hashes; its baseline is the same COPY of the same bytes with no check at all.
"""

import asyncio
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np

from bench.commit_load import CommitLoad, bench_records
from bench.figures import Figure, rate_figure, seconds_of_runs
from ledger.errors import StoreUnavailable
from ledger.postgres.journal_tables import COPY_BATCHES
from ledger.postgres.programs import program_folder
from ledger.postgres.reading import scan_postgres
from ledger.postgres.server import EmbeddedServer
from ledger.record import RECORD_BYTES
from ledger.stores.postgres_open import Opening, open_postgres_store

BATCHES = (1_024, 256, 64)  # the headline figure first
RECOVERY_RECORDS = 384_000
_RECOVERY_BATCH = 256
_PREPARE = """
CREATE TABLE plain_copy (seq bigserial PRIMARY KEY, record bytea NOT NULL);
CREATE TABLE plain_insert (seq bigserial PRIMARY KEY, record bytea NOT NULL);
"""
_ROW = np.dtype([("fields", ">i2"), ("length", ">i4"), ("record", f"V{RECORD_BYTES}")])


def postgres_figures(place: Path, *, runs: int, seconds: float) -> list[Figure]:
    """Return the figures of the PostgreSQL store; none where its programs are not installed."""
    try:
        program_folder()
    except StoreUnavailable:
        return []
    server = EmbeddedServer(place)
    try:
        return [
            *_commit_figures(place, server.dsn, runs=runs, seconds=seconds),
            _recovery_figure(server.dsn, runs=runs),
        ]
    finally:
        server.close()


def _commit_figures(place: Path, dsn: str, *, runs: int, seconds: float) -> list[Figure]:
    """Return the figures of each batch size; the last journal is left for recovery."""
    found = []
    store = open_postgres_store(place / "postgres-data", Opening(dsn))
    _with(dsn, lambda connection: connection.execute(_PREPARE))
    for batch in BATCHES:
        load = CommitLoad(store, batch)
        load.commit_for(seconds / 4)
        costs, copies, inserts = [], [], []
        for _ in range(runs):
            copies.append(_with(dsn, _copier(batch, seconds / 2)))
            inserts.append(_with(dsn, _inserter(seconds / 4)))
            costs.append(1 / load.commit_for(seconds))
        load.stop()
        name = f"journal.postgres.{batch}"
        for suffix, baseline, rates in (
            ("", "COPY, a row a record", copies),
            (".by-record", "INSERT and commit a record", inserts),
        ):
            rate = statistics.median(rates)
            found.append(rate_figure(name + suffix, "records/s", 1, costs, baseline, rate))
    load = CommitLoad(store, _RECOVERY_BATCH)
    for _ in range(max(0, RECOVERY_RECORDS - store.position.seq) // _RECOVERY_BATCH):
        load.commit_one()
    load.close()
    return found


def _recovery_figure(dsn: str, *, runs: int) -> Figure:
    """Return the rate at which the journal is read and checked."""
    count = sum(len(batch.records) for batch in scan_postgres(dsn))
    baseline = statistics.median(seconds_of_runs(lambda: _with(dsn, _read_bytes), runs))
    return rate_figure(
        "journal.postgres.recovery",
        "records/s",
        count,
        seconds_of_runs(lambda: sum(len(batch.records) for batch in scan_postgres(dsn)), runs),
        "the same COPY, unchecked",
        count / baseline,
    )


def _with(dsn: str, work: Callable[[Any], Any]) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def _copier(batch: int, seconds: float) -> Callable[[Any], Any]:
    """Return work that copies batches of rows for that long and tells the rate."""
    rows = np.zeros(batch, _ROW)
    rows["fields"] = 1
    rows["length"] = RECORD_BYTES
    rows["record"] = bench_records(batch).view(f"V{RECORD_BYTES}")
    payload = b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff"

    async def work(connection: Any) -> float:
        count = 0
        started = time.perf_counter()
        while (now := time.perf_counter()) < started + seconds:
            await connection.copy_to_table(
                "plain_copy", columns=["record"], source=io.BytesIO(payload), format="binary"
            )
            count += batch
        return count / (now - started)

    return work


def _inserter(seconds: float) -> Callable[[Any], Any]:
    """Return work that inserts records one by one for that long and tells the rate."""
    record = bench_records(1).tobytes()

    async def work(connection: Any) -> float:
        statement = await connection.prepare("INSERT INTO plain_insert (record) VALUES ($1)")
        count = 0
        started = time.perf_counter()
        while (now := time.perf_counter()) < started + seconds:
            await statement.fetch(record)
            count += 1
        return count / (now - started)

    return work


async def _read_bytes(connection: Any) -> int:
    size = 0

    async def take(data: bytes) -> None:
        nonlocal size
        size += len(data)

    await connection.copy_from_query(COPY_BATCHES, 0, 1, output=take, format="binary")
    return size
