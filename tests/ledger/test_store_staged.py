"""Several batches on their way in PostgreSQL: in order, and durable before anyone is told."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import LostRecordsError, StorageError
from ledger.journal import BatchEncoder
from ledger.postgres.reading import scan_postgres
from ledger.stores.base import Expect, Outcome
from ledger.stores.file import FileStore
from ledger.stores.postgres import PostgresStore
from tests.ledger.journals import commit_all, records_from
from tests.ledger.test_commit import jobs_of
from tests.ledger.test_store_postgres import opened
from tests.support.postgres import (
    Database,
    Server,
    dsn_at,
    dsn_of,
    place_for_servers,
    remove,
    require_programs,
)
from tests.support.proxy import Fault, Proxy


def send(store: PostgresStore, count: int) -> Outcome:
    """Append a batch of ``count`` records at the end of what is written."""
    at = store.written
    batch = BatchEncoder(store.writer).encode([(records_from(at.seq, count), ())], at, 5)
    return store.append_ahead(batch, Expect(store.writer.epoch, at.seq, at.head))


def counts_in(dsn: str) -> list[int]:
    """Return the records of each batch; the chain is checked while it is read."""
    return [len(batch.records) for batch in scan_postgres(dsn)]


def test_only_this_store_is_staged() -> None:
    """A file is durable when its append returns: there is nothing to wait for."""
    assert hasattr(PostgresStore, "flush")
    assert not hasattr(FileStore, "flush")


def test_batches_on_their_way_become_durable_in_order(database: Database, tmp_path: Path) -> None:
    """``written`` runs ahead of ``position``; a flush brings it along; the bytes are copied."""
    with opened(tmp_path, database.dsn) as store:
        assert send(store, 1) is Outcome.OK  # nobody waits for commits yet: durable at once
        assert store.position == store.written
        assert store.flush() is Outcome.OK
        for count in (2, 3, 4):
            assert send(store, count) is Outcome.OK
        assert (store.position.seq, store.written.seq) == (2, 11)
        assert store.stats.ahead_count == 3
        assert store.flush() is Outcome.OK
        assert store.position == store.written
        assert store.flush() is Outcome.OK
    assert counts_in(database.dsn) == [1, 2, 3, 4]
    assert database.fetchval("SELECT seq FROM de39.flushed") == 11


@pytest.mark.parametrize(
    "fault", [Fault.LATE, Fault.TWICE, Fault.CUT_ANSWER, Fault.CUT_REQUEST], ids=lambda f: f.name
)
def test_what_is_in_doubt_is_settled_with_all_before_it(
    fault: Fault, database: Database, tmp_path: Path
) -> None:
    """A fault while two are on their way: each is there once, in order, and the chain goes on."""
    with (
        Proxy(tmp_path / "p", database.server.sockets) as proxy,
        opened(tmp_path / "d", dsn_at(proxy.folder, database=database.name)) as store,
    ):
        assert send(store, 1) is Outcome.OK
        assert store.flush() is Outcome.OK
        assert send(store, 2) is Outcome.OK
        assert send(store, 3) is Outcome.OK
        proxy.arm(fault)
        assert send(store, 4) is Outcome.OK
        proxy.release()
        assert send(store, 5) is Outcome.OK
        assert store.flush() is Outcome.OK
        assert store.position.seq == 16
    assert counts_in(database.dsn) == [1, 2, 3, 4, 5]


def test_an_owner_that_was_taken_over_is_told_at_the_next_batch(
    database: Database, tmp_path: Path
) -> None:
    """The fence holds for batches on their way; what was in order before it stays."""
    with opened(tmp_path / "a", database.dsn) as first:
        send(first, 1)
        first.flush()
        assert send(first, 2) is Outcome.OK
        with opened(tmp_path / "b", database.dsn) as second:
            assert second.position.seq == 4
            assert send(first, 3) is Outcome.STALE
            with pytest.raises(StorageError, match="stopped"):
                send(first, 3)
            assert first.flush() is not Outcome.OK or first.position.seq == 4
            assert send(second, 4) is Outcome.OK
    assert counts_in(database.dsn) == [1, 2, 4]


@pytest.fixture
def own_server() -> Iterator[Server]:
    """Start a server that the test may kill."""
    require_programs()
    place = place_for_servers()
    server = Server(place / "s", {"wal_writer_delay": "10s"}).start()
    yield server
    server.kill()
    remove(place)


@pytest.mark.parametrize("told", [False, True])
def test_a_crash_that_lost_what_was_on_its_way_is_noticed(
    own_server: Server,
    tmp_path: Path,
    told: bool,
) -> None:
    """Commits that did not wait are gone after a kill; they are sent again before any yes."""
    with opened(tmp_path, dsn_of(own_server)) as store:
        send(store, 1)
        assert store.flush() is Outcome.OK
        for count in (2, 3, 4):
            assert send(store, count) is Outcome.OK
        own_server.kill()
        own_server.start()
        if told:  # the connection learns of its end before it is used again
            store._flusher._runner.run(asyncio.sleep(0.05))
        lost = 3 - (len(counts_in(dsn_of(own_server))) - 1)
        assert store.flush() is Outcome.OK
        assert store.stats.retry_count == lost
        assert lost > 0
        assert send(store, 5) is Outcome.OK
        assert store.flush() is Outcome.OK
    assert counts_in(dsn_of(own_server)) == [1, 2, 3, 4, 5]


def test_a_database_that_went_back_is_noticed_by_the_flush(
    own_server: Server, tmp_path: Path
) -> None:
    """What was acknowledged and is gone ends the store, whichever thread finds it."""
    dsn = dsn_of(own_server)
    with opened(tmp_path, dsn) as store:
        for count in (1, 2):
            send(store, count)
            assert store.flush() is Outcome.OK
        assert send(store, 3) is Outcome.OK
        own_server.execute(
            "ALTER TABLE de39.batch DISABLE TRIGGER USER;"
            "DELETE FROM de39.batch WHERE batch_no > 1;"
            "UPDATE de39.head SET batch_no = 2, seq = 2, "
            "head = (SELECT head FROM de39.batch WHERE batch_no = 1)"
        )
        own_server.kill()
        own_server.start()
        with pytest.raises(LostRecordsError, match="record 3 of epoch 1 was acknowledged"):
            store.flush()


def test_a_committer_keeps_order_over_a_staged_store(database: Database, tmp_path: Path) -> None:
    """Large groups, small ones and barriers: all reported once, in order, at durable ends."""
    counts = [1, 90, 0, 120, 3, 0, 200, 1, 1, 150, 0]
    jobs = jobs_of(counts)
    with opened(tmp_path, database.dsn) as store:
        acknowledged, failures = commit_all(store, jobs, group_records_max=100)
        assert failures == []
        assert acknowledged == jobs
        assert store.position == store.written
        assert store.stats.ahead_count > 0
    ends = [job.position.seq for job in jobs if job.position is not None]
    assert ends == sorted(ends)
    assert sum(counts_in(database.dsn)) == sum(counts)
