"""The PostgreSQL store: same bytes, one owner, and never a yes while the outcome is unknown."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ledger.errors import (
    ForeignJournalError,
    FormatVersionError,
    LostRecordsError,
    NoJournalError,
    RotError,
    StorageError,
    StoreSettingsError,
    StoreUnavailable,
)
from ledger.journal import BatchEncoder, Blob, Position
from ledger.postgres.reading import scan_postgres
from ledger.postgres.table_reader import TableReader
from ledger.stores.base import Expect, Outcome
from ledger.stores.postgres import Patience, PostgresStore
from ledger.stores.postgres_open import Opening, open_postgres_store
from tests.ledger.journals import append, commit_all, records_from
from tests.ledger.test_commit import jobs_of
from tests.support.postgres import Database, dsn_at, until
from tests.support.proxy import Fault, Proxy

QUICK = Patience(commit_s=0.5, retry_s=20.0)


@contextmanager
def opened(
    data: Path, dsn: str, patience: Patience = QUICK, **words: object
) -> Iterator[PostgresStore]:
    """Open a store and close it at the end."""
    store = open_postgres_store(data, Opening(dsn, patience=patience), **words)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        store.close()


def records_in(database: Database) -> np.ndarray:
    """Return every record of the journal in ``database``."""
    return np.concatenate([batch.records for batch in scan_postgres(database.dsn)])


def test_the_row_holds_the_bytes_of_the_file(database: Database, tmp_path: Path) -> None:
    """What a file store would write at this place is what stands in the table."""
    with opened(tmp_path, database.dsn) as store:
        at = store.position
        blobs = [Blob(0, 1, b"operator")]
        batch = BatchEncoder(store.writer).encode([(records_from(1, 40), blobs)], at, 5)
        assert store.append(batch, Expect(store.writer.epoch, 1, at.head)) is Outcome.OK
        assert database.fetchval("SELECT bytes FROM de39.batch") == bytes(batch)
        assert store.position == Position(2, 41, store.writer.epoch, store.position.head)


def test_what_was_committed_is_read_back(database: Database, tmp_path: Path) -> None:
    """Records, blobs, numbers and heads; a second opening goes on in the next epoch."""
    jobs = jobs_of([3, 0, 40, 1, 700, 16])
    jobs[0].blobs = [Blob(2, 1, b"somebody")]
    with opened(tmp_path, database.dsn) as store:
        acknowledged, failures = commit_all(store, jobs)
        assert (acknowledged, failures) == (jobs, [])
        end = store.position
    batches = list(scan_postgres(database.dsn))
    assert (records_in(database) == np.concatenate([job.records for job in jobs])).all()
    assert batches[0].blobs == (Blob(2, 1, b"somebody"),)
    assert batches[-1].after == end
    seen: list[int] = []
    middle = batches[1].after
    with opened(
        tmp_path,
        database.dsn,
        start=middle,
        on_batch=lambda batch: seen.append(batch.header.batch_no),
    ) as again:
        assert again.position == end
        assert again.writer.epoch == 2
        assert again.writer.cluster == batches[0].header.cluster
        assert append(again, 5) is Outcome.OK
    assert seen == [batch.header.batch_no for batch in batches[2:]]
    assert next(iter(scan_postgres(database.dsn, start=end))).header.epoch == 2


def test_tail_begins_at_the_batch_that_holds_it(database: Database, tmp_path: Path) -> None:
    """The newest records are read without the rest of the journal."""
    with opened(tmp_path, database.dsn) as store:
        reader = TableReader(database.dsn)
        assert reader.before_newest(10) is None
        for count in (10, 20, 30):
            assert append(store, count) is Outcome.OK
    heads = [batch.after for batch in scan_postgres(database.dsn)]
    assert reader.before_newest(1) == heads[1]
    assert reader.before_newest(30) == heads[1]
    assert reader.before_newest(31) == heads[0]
    assert reader.before_newest(51) is None
    assert reader.before_newest(1000) is None
    reader.close()


def test_an_owner_that_paused_adds_nothing(database: Database, tmp_path: Path) -> None:
    """Two engines on one database: from the second's epoch on the first writes no row (T11)."""
    with opened(tmp_path / "a", database.dsn) as first:
        assert append(first, 3) is Outcome.OK
        with opened(tmp_path / "b", database.dsn) as second:
            assert append(first, 4) is Outcome.STALE
            with pytest.raises(StorageError, match="stopped"):
                append(first, 4)
            assert append(second, 5) is Outcome.OK
    rows = database.fetch("SELECT batch_no, epoch, record_count FROM de39.batch ORDER BY 1")
    assert rows == [(1, 1, 3), (2, 2, 5)]


def test_a_stale_expectation_is_refused_by_the_database_too(
    database: Database, tmp_path: Path
) -> None:
    """The fence is in the statement: two stores of one epoch cannot both go on."""
    with opened(tmp_path / "a", database.dsn) as first:
        twin = PostgresStore(database.dsn, first.writer, first.position, QUICK)
        assert append(first, 3) is Outcome.OK
        with pytest.raises(LostRecordsError):
            append(twin, 4)
        twin.close()
    assert database.fetchval("SELECT count(*) FROM de39.batch") == 1


@pytest.mark.parametrize(
    "fault", [Fault.LATE, Fault.TWICE, Fault.CUT_ANSWER, Fault.CUT_REQUEST], ids=lambda f: f.name
)
def test_an_unknown_outcome_is_found_out(fault: Fault, database: Database, tmp_path: Path) -> None:
    """Late, doubled, cut before or after the commit: one row, one yes, and the chain goes on."""
    with (
        Proxy(tmp_path / "p", database.server.sockets) as proxy,
        opened(tmp_path / "d", dsn_at(proxy.folder, database=database.name)) as store,
    ):
        assert append(store, 2) is Outcome.OK
        proxy.arm(fault)
        assert append(store, 3) is Outcome.OK
        proxy.release()
        assert append(store, 4) is Outcome.OK
        assert proxy.met_count == 1
        if fault is not Fault.TWICE:  # the doubled answer may be met by the next statement
            assert store.stats.unknown_count == 1
    counts = [len(batch.records) for batch in scan_postgres(database.dsn)]
    assert counts == [2, 3, 4]


def test_a_database_that_never_answers_gets_no_yes(database: Database, tmp_path: Path) -> None:
    """After the retry time the outcome stays unknown, and the store takes nothing more."""
    with Proxy(tmp_path / "p", database.server.sockets) as proxy:
        dsn = dsn_at(proxy.folder, database=database.name)
        with opened(tmp_path / "d", dsn, Patience(0.2, 0.5)) as store:
            assert append(store, 2) is Outcome.OK
            proxy.arm(Fault.NEVER)
            assert append(store, 3) is Outcome.UNKNOWN
            with pytest.raises(StorageError, match="stopped"):
                append(store, 3)
            proxy.release()
    assert len(records_in(database)) in (2, 5)


def test_a_cancelled_wait_for_standbys_is_no_yes(database: Database, tmp_path: Path) -> None:
    """A commit that only the primary has is told by a warning; it counts when a standby has it."""
    server = database.server
    answers: list[Outcome] = []
    with opened(tmp_path, database.dsn, Patience(5.0, 60.0)) as store:
        assert append(store, 2) is Outcome.OK
        server.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (nobody)'")
        try:
            server.execute("SELECT pg_reload_conf()")
            until(lambda: server.fetchval("SHOW synchronous_standby_names") != "")
            worker = threading.Thread(target=lambda: answers.append(append(store, 3)))
            worker.start()
            until(
                lambda: server.fetchval(
                    "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity "
                    "WHERE wait_event = 'SyncRep' AND datname = $1",
                    database.name,
                )
            )
            until(lambda: store.stats.unknown_count)
            assert answers == []
        finally:
            server.execute("ALTER SYSTEM RESET synchronous_standby_names")
            server.execute("SELECT pg_reload_conf()")
        worker.join(60)
        assert answers == [Outcome.OK]
        assert store.stats.retry_count == 0
    assert [len(batch.records) for batch in scan_postgres(database.dsn)] == [2, 3]


def test_a_database_that_went_back_is_noticed(database: Database, tmp_path: Path) -> None:
    """Less than was acknowledged: the store ends, and writes nothing on top."""
    with opened(tmp_path, database.dsn) as store:
        assert append(store, 2) is Outcome.OK
        old = database.fetch("SELECT batch_no, seq, last_epoch, head FROM de39.head")[0]
        assert append(store, 3) is Outcome.OK
        database.execute(
            "ALTER TABLE de39.batch DISABLE TRIGGER USER;"
            "DELETE FROM de39.batch WHERE batch_no = 2;"
            f"UPDATE de39.head SET batch_no = {old[0]}, seq = {old[1]}, head = '\\x{old[3].hex()}'"
        )
        with pytest.raises(LostRecordsError, match=r"record 2 of epoch 1.*record 5"):
            append(store, 4)
    assert len(records_in(database)) == 2
    with (
        pytest.raises(RotError, match="5 was durable"),
        opened(tmp_path, database.dsn, at_least_seq=5),
    ):
        pass


def test_any_changed_byte_is_rot(database: Database, tmp_path: Path) -> None:
    """A byte of a batch, changed in the table, is found and named with its batch."""
    with opened(tmp_path, database.dsn) as store:
        for count in (1, 2, 1):
            assert append(store, count) is Outcome.OK
    database.execute("ALTER TABLE de39.batch DISABLE TRIGGER USER")
    good = database.fetchval("SELECT bytes FROM de39.batch WHERE batch_no = 2")
    put = "UPDATE de39.batch SET bytes = set_byte(bytes, {}, {}) WHERE batch_no = 2"
    for at in [*range(0, 700, 28), len(good) - 1]:
        database.execute(put.format(at, good[at] ^ 0x20))
        with pytest.raises((RotError, ForeignJournalError, FormatVersionError), match="batch 2"):
            list(scan_postgres(database.dsn))
        database.execute(put.format(at, good[at]))
    database.execute("DELETE FROM de39.batch WHERE batch_no = 2")
    with pytest.raises(RotError, match="batch 3 stands where batch 2"):
        list(scan_postgres(database.dsn))
    epoch = database.fetchval("SELECT epoch FROM de39.head")
    with pytest.raises(RotError, match="batch 2"), opened(tmp_path, database.dsn):
        pass
    assert database.fetchval("SELECT epoch FROM de39.head") == epoch


def test_the_tables_are_append_only(database: Database, tmp_path: Path) -> None:
    """The database itself refuses to change or remove a batch."""
    with opened(tmp_path, database.dsn) as store:
        assert append(store, 1) is Outcome.OK
    for change in (
        "UPDATE de39.batch SET epoch = 9",
        "DELETE FROM de39.batch",
        "TRUNCATE de39.batch",
    ):
        with pytest.raises(Exception, match="append-only"):
            database.execute(change)


def test_a_journal_of_others_is_refused(database: Database, tmp_path: Path) -> None:
    """Another cluster, a newer format, an emptied database: each is named and left as it is."""
    with opened(tmp_path / "a", database.dsn) as store:
        assert append(store, 1) is Outcome.OK
    with (
        pytest.raises(ForeignJournalError, match="connect to the right"),
        opened(tmp_path / "b", database.dsn, cluster=b"another cluster!"),
    ):
        pass
    database.execute("UPDATE de39.head SET format = 9")
    with pytest.raises(FormatVersionError, match="format 9"), opened(tmp_path / "a", database.dsn):
        pass
    database.execute("DROP SCHEMA de39 CASCADE")
    with (
        pytest.raises(NoJournalError, match="holds no journal"),
        opened(tmp_path / "a", database.dsn),
    ):
        pass
    assert not database.fetchval("SELECT to_regclass('de39.head') IS NOT NULL")
    with pytest.raises(NoJournalError):
        list(scan_postgres(database.dsn))


def test_a_quorum_that_is_not_configured_is_refused(database: Database, tmp_path: Path) -> None:
    """An engine that wants standbys does not start on a server that waits for none."""
    opening = Opening(database.dsn, replica_count=2)
    with pytest.raises(StoreSettingsError, match=r"waits for 0 .* ANY 2"):
        open_postgres_store(tmp_path, opening)


def test_no_server_is_one_line_without_the_password(tmp_path: Path) -> None:
    """Where nobody listens the error names the place and hides the secret."""
    with pytest.raises(StoreUnavailable) as caught:
        open_postgres_store(tmp_path, Opening(dsn_at(tmp_path)))
    text = str(caught.value)
    assert str(tmp_path) in text
    assert "password" not in text
    assert "\n" not in text
