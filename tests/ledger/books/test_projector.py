"""The books: each record once, from any place on, never changed, and readable by an accountant."""

import random
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import numpy as np
import pytest

from ledger.books.projector import Books
from ledger.errors import ForeignJournalError, FormatVersionError, LedgerError, StoreUnavailable
from ledger.journal import Batch, BatchEncoder, Position
from ledger.lifecycle import TABLE, Fin, settlement_of
from ledger.lifecycle import Position as Account
from ledger.record import Kind
from ledger.recovery import Scan
from ledger.stores.base import Expect
from tests.ledger.books.test_expand_kernels import history
from tests.ledger.journals import opened
from tests.support.postgres import Database, dsn_at

_KINDS = sorted(set(TABLE) - {Kind.ACCOUNT_OPEN} | {Kind.CARD_ISSUE})
_DAY_NS = 86_400_000_000_000


def made_records(seed: int, count: int) -> tuple[np.ndarray, list[Account]]:
    """Return a history of about ``count`` records over three accounts, dressed as real ones."""
    rng = random.Random(seed)
    steps = [
        (
            rng.choice(_KINDS),
            rng.randint(1, 3),
            rng.randint(1, 500),
            rng.randint(1, 500),
            rng.choice([0, 10_000]),
            rng.choice([0, 0, 0, 201]),
        )
        for _ in range(count)
    ]
    records, _, positions = history([5_000, 90_000, 700], steps)
    rows = np.arange(len(records))
    records["seq"] = rows + 1
    records["ts_ns"] = 1_700_000_000_000_000_000 + rows.astype(np.uint64) * np.uint64(_DAY_NS // 40)
    records["currency"] = np.array([0, 840, 978, 840], np.uint16)[records["account"]]
    records["card"] = records["account"]
    records["hold_life_h"] = 168
    records["rrn_a"] = int.from_bytes(b"00000000", "little")
    records["rrn_b"] = int.from_bytes(b"0042", "little")
    records["terminal"] = int.from_bytes(b"T\xff\0\x01e\0\0\0", "little")
    records["response"] = int.from_bytes(b"00", "little")
    cleared = np.isin(records["kind"], [Kind.CLEARING, Kind.FORCE_POST, Kind.REFUND])
    records["transmitted"][cleared] = 20_240_229
    records["status"][cleared] = 2
    return records, positions


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Batch]]:
    """Give the batches of a journal of 600 records, of 1 to 30 each."""
    data = tmp_path_factory.mktemp("journal")
    records, _ = made_records(1, 600)
    rng = random.Random(2)
    store = opened(data, segment_bytes=1 << 20)
    first = 0
    while first < len(records):
        part = records[first : first + rng.randint(1, 30)].copy()
        at = store.position
        batch = BatchEncoder(store.writer).encode([(part, ())], at, 5)
        store.append(batch, Expect(store.writer.epoch, at.seq, at.head))
        first += len(part)
    store.close()
    return list(Scan(data))  # type: ignore[return-value]


def test_the_books_are_the_fold(journal: list[Batch], database: Database) -> None:
    """Balances, holds and settlement in SQL are those of the slow twin; both books balance."""
    with Books(database.dsn) as books:
        assert books.project(journal) == journal[-1].after.seq - 1
        assert books.project([]) == 0
    records, positions = made_records(1, 600)
    for account in (1, 2, 3):
        found = database.fetch(
            "SELECT open_to_buy_minor, held_minor, used_minor FROM de39_books.balances "
            "WHERE account = $1",
            account,
        )
        at = positions[account]
        assert found == [(at.otb_minor, at.hold_minor, at.used_minor)]
    checks = database.fetch("SELECT * FROM de39_books.trial_balance_check")
    assert sorted({(book, currency) for book, currency, _ in checks}) == [
        ("financial", 840),
        ("financial", 978),
        ("memo", 840),
        ("memo", 978),
    ]
    assert {difference for *_, difference in checks} == {0}
    owed = sum(at.prepaid_minor for at in positions)
    assert owed == sum(
        balance
        for (balance,) in database.fetch(
            "SELECT balance_minor FROM de39_books.trial_balance "
            "WHERE ledger_account = 'CUST_CREDIT'"
        )
    )
    wanted: dict[tuple[int, int], int] = {}
    twin = [Account() for _ in range(4)]
    for record in records:
        for debit, credit, amount in twin[int(record["account"])].post(record):
            for side, sign in ((credit, 1), (debit, -1)):
                if side == Fin.NET_SETTLE:
                    key = settlement_of(record)
                    wanted[key] = wanted.get(key, 0) + sign * amount
    told: dict[tuple[int, int], int] = {}
    for scheme, day, due in database.fetch(
        "SELECT scheme, to_char(settled, 'YYYYMMDD')::int, due_minor FROM de39_books.settlement"
    ):
        told[scheme, day] = told.get((scheme, day), 0) + due
    assert told == wanted


def test_an_event_reads_as_it_was(journal: list[Batch], database: Database) -> None:
    """Time, texts and numbers of a record come through; odd bytes are made printable."""
    with Books(database.dsn) as books:
        books.project(journal)
    [row] = database.fetch(
        "SELECT at, rrn, terminal, response, hold_life_h, stan FROM de39_books.event WHERE seq = 2"
    )
    assert row[0].isoformat() == "2023-11-14T22:49:20+00:00"
    assert row[1:] == ("000000000042", "T? ?e   ", "00", 168, 0)
    [account] = database.fetch(
        "SELECT account, opened_seq, currency FROM de39_books.account LIMIT 1"
    )
    assert account == (1, 1, 840)
    assert database.fetchval("SELECT count(*) FROM de39_books.account") == 3
    last = database.fetch(
        "SELECT used_after_minor, held_after_minor FROM de39_books.account_statement "
        "WHERE account = 1 ORDER BY seq DESC LIMIT 1"
    )
    _, positions = made_records(1, 600)
    assert last == [(positions[1].used_minor, positions[1].hold_minor)]
    assert database.fetchval("SELECT count(*) FROM de39_books.entry") == 2 * database.fetchval(
        "SELECT count(*) FROM de39_books.posting"
    )
    states = dict(
        database.fetch("SELECT state, count(*) FROM de39_books.authorization_state GROUP BY 1")
    )
    assert states["declined"] > 0
    assert states["open"] > 0


def test_a_restart_at_any_point_changes_nothing(journal: list[Batch], database: Database) -> None:
    """Projectors that die again and again leave the books of one that did not."""
    rng = random.Random(3)
    while True:
        with Books(database.dsn, chunk_records=25) as books:
            rest = [
                batch
                for batch in journal
                if batch.header.batch_no >= books.watermark.position.batch_no
            ]
            if sum(len(batch.records) for batch in rest) < 60:
                books.project(rest)
                break
            few = iter(rest[: rng.randint(1, 12)])
            with pytest.raises(KeyboardInterrupt):
                books.project(_dies_after(few))
    assert_same_books(journal, database)


def _dies_after(batches: Iterator[Batch]) -> Iterator[Batch]:
    yield from batches
    raise KeyboardInterrupt


def test_two_projectors_do_not_write_twice(journal: list[Batch], database: Database) -> None:
    """The one that comes late finds the watermark moved and goes on from there."""
    with Books(database.dsn, chunk_records=10) as one, Books(database.dsn, chunk_records=30) as two:
        assert one.project(journal[:5]) > 0
        two.project(journal[:9])
        one.project(journal[5:])
        assert two.project(journal[9:]) == 0
    assert_same_books(journal, database)


def test_a_broken_transaction_leaves_no_half_chunk(
    journal: list[Batch], database: Database
) -> None:
    """When COPY fails in the middle nothing of the chunk stays, and the next try is whole."""
    with Books(database.dsn) as books:
        books.project(journal[:3])
        before = database.fetch("SELECT * FROM de39_books.posting ORDER BY seq, line")
        database.execute("ALTER TABLE de39_books.posting ADD CONSTRAINT no CHECK (seq < 100)")
        with pytest.raises(StoreUnavailable, match="books"):
            books.project(journal[3:])
        assert database.fetch("SELECT * FROM de39_books.posting ORDER BY seq, line") == before
        database.execute("ALTER TABLE de39_books.posting DROP CONSTRAINT no")
        books.project(journal[3:])
    assert_same_books(journal, database)


def assert_same_books(journal: list[Batch], database: Database) -> None:
    """Every record is there once, and its postings are those of the slow twin."""
    records, _ = made_records(1, 600)
    twin = [Account() for _ in range(4)]
    wanted = [
        (int(record["seq"]), line, *posting)
        for record in records
        for line, posting in enumerate(twin[int(record["account"])].post(record), 1)
    ]
    rows = database.fetch(
        "SELECT seq, line, debit, credit, amount_minor FROM de39_books.posting ORDER BY seq, line"
    )
    assert rows == wanted
    assert database.fetchval("SELECT count(*) FROM de39_books.event") == len(records)
    assert database.fetchval("SELECT seq FROM de39_books.watermark") == len(records)


@pytest.mark.parametrize("role", ["de39", "de39_books_writer"])
def test_nobody_changes_a_posting(role: str, journal: list[Batch], database: Database) -> None:
    """Not the projector's role, by its grants, nor the owner, by the triggers."""
    with Books(database.dsn) as books:
        books.project(journal[:2])
    for change in (
        "UPDATE de39_books.posting SET amount_minor = 1",
        "DELETE FROM de39_books.posting",
        "TRUNCATE de39_books.posting",
        "DELETE FROM de39_books.event",
        "UPDATE de39_books.account SET currency = 1",
    ):
        with pytest.raises((asyncpg.RaiseError, asyncpg.InsufficientPrivilegeError)):
            database.execute(f"SET ROLE {role}; {change}")


def test_a_reader_only_reads(journal: list[Batch], database: Database) -> None:
    """The accountant's role sees every view and writes nothing."""
    with Books(database.dsn) as books:
        books.project(journal[:2])
    database.execute("SET ROLE de39_books_reader; SELECT * FROM de39_books.trial_balance")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        database.execute("SET ROLE de39_books_reader; UPDATE de39_books.watermark SET seq = 0")


def test_names_of_a_newer_program_are_added(journal: list[Batch], database: Database) -> None:
    """Books made before a kind had a name get it when they are opened again."""
    with Books(database.dsn) as books:
        books.project(journal)
    database.execute(
        "ALTER TABLE de39_books.event_kind DISABLE TRIGGER append_only;"
        "DELETE FROM de39_books.event_kind WHERE kind = 18"
    )
    with Books(database.dsn):
        pass
    assert database.fetchval("SELECT name FROM de39_books.event_kind WHERE kind = 18")
    assert database.fetchval("SELECT count(*) FROM de39_books.event_kind") == len(Kind)


def test_other_journals_are_refused(journal: list[Batch], database: Database) -> None:
    """Another cluster, a gap, or books of a newer program: named, and nothing is written."""
    with Books(database.dsn) as books:
        books.project(journal[:2])
        foreign = journal[2]._replace(header=journal[2].header._replace(cluster=b"x" * 16))
        with pytest.raises(ForeignJournalError, match="another journal"):
            books.project([foreign])
        with pytest.raises(LedgerError, match="read the journal from where they end"):
            books.project(journal[3:])
        assert books.watermark.seq == journal[1].after.seq - 1
    database.execute("UPDATE de39_books.watermark SET format = 9")
    with pytest.raises(FormatVersionError, match="format 9"):
        Books(database.dsn)


def test_books_that_read_an_undone_write_are_told(
    journal: list[Batch], database: Database, tmp_path: Path
) -> None:
    """The journal went another way after the books' end: said so, and nothing is added."""
    with Books(database.dsn) as books:
        books.project(journal[:3])
        other = books.watermark.position._replace(head=b"h" * 32)
        records, _ = made_records(1, 600)
        store = opened(tmp_path, segment_bytes=1 << 20)
        at = store.position
        part = records[:7].copy()
        store.append(
            BatchEncoder(store.writer).encode([(part, ())], at, 5),
            Expect(store.writer.epoch, at.seq, at.head),
        )
        store.close()
        start = Position(segment=1, offset=4096, head=other.head)
        books.watermark = books.watermark._replace(position=start)
        with pytest.raises(LedgerError, match="does not continue the books, which end at record"):
            books.project(Scan(tmp_path, start=start))
    assert database.fetchval("SELECT count(*) FROM de39_books.event") == journal[2].after.seq - 1


def test_no_database_is_one_line(tmp_path: Path) -> None:
    """Where nobody listens, that is said."""
    with pytest.raises(StoreUnavailable, match="no PostgreSQL server"):
        Books(dsn_at(tmp_path))
