"""``de39 ledger books``: the books equal the engine, and what does not is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.books_commands import books
from engine.filing import Clearing
from ledger.stores.place import StoreChoice
from tests.ledger.test_place import used
from tests.support.disk_engine import BOUNDS, DiskEngine, import_of
from tests.support.filings import settle_items
from tests.support.judged import PAYMENT, reversal
from tests.support.postgres import Database
from tests.support.small_engine import pan
from tests.support.streams import Player, at


def run(capsys: pytest.CaptureFixture[str], **words: object) -> tuple[int, dict, str]:  # type: ignore[type-arg]
    """Run the command; return exit code, its JSON and what it said on stderr."""
    code = 0
    try:
        books(json=True, **words)  # type: ignore[arg-type]
    except SystemExit as end:
        code = int(end.code or 0)
    told = capsys.readouterr()
    lines = told.out.splitlines()
    return code, json.loads(lines[-1]) if lines else {}, told.err


def test_the_books_equal_the_engine(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Payments, declines, reversals and expiries of a folder, checked against its fold."""
    used(tmp_path, None)
    code, facts, _ = run(capsys, data=tmp_path, dsn=database.dsn, dry_run=True)
    assert (code, facts["records"]) == (0, 0)
    due = facts["due"]
    assert due > 50
    code, facts, _ = run(capsys, data=tmp_path, dsn=database.dsn, check=True)
    assert code == 0
    assert facts == {"records": due, "projected": due, "ok": True, "differences": []}
    code, facts, _ = run(capsys, data=tmp_path, dsn=database.dsn, check=True)
    assert (code, facts["projected"]) == (0, 0)


@pytest.mark.parametrize("is_apart", [False, True])
def test_clearings_taken_back_are_held_again_in_the_books_too(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], is_apart: bool
) -> None:
    """Under their authorization, whether the clearing is in the books before or comes with it."""
    used(tmp_path, None)
    with DiskEngine(tmp_path, BOUNDS) as engine:
        engine.register(import_of(3, 2, first=4))
        player = Player(engine)
        asks = [
            at(PAYMENT, pan=pan(card), stan=n, rrn=f"{n:012d}", amount=1_000 + n % 100)
            for n, card in enumerate([7, 8, 9, 10, 11, 12] * 2, 700_000)
        ]
        player.play(asks, [5, 5])
        held = [r for r in player.played.all_records() if r["result"] == 0 and r["kind"] == 1]
        assert len(held) > 5
        for n, record in enumerate(held):
            about = {"account": "A", "currency": "840", "authorization": int(record["seq"])}
            amount = int(record["amount_minor"]) + 400 * (n % 3 - 1)
            item = Clearing(id=f"C{n}", amount_minor=amount, final=n % 2 == 0, **about)
            _file(engine, player, item, record)
        engine.commit(player)
        engine.drain()
    if is_apart:
        assert run(capsys, data=tmp_path, dsn=database.dsn, check=True)[0] == 0
    with DiskEngine(tmp_path, BOUNDS) as engine:
        player = Player(engine)
        for n, record in enumerate(held):
            left = int(record["amount_minor"]) + 400 * (n % 3 - 1) - 100 * (n % 4)
            item = Clearing(
                id=f"R{n}", type="refund" if n % 3 == 1 else "reversal", amount_minor=left,
                original_id=f"C{n}",
                account="A", currency="840",
            )  # fmt: skip
            _file(engine, player, item, record)
        engine.commit(player)
        engine.drain()
    code, facts, err = run(capsys, data=tmp_path, dsn=database.dsn, check=True)
    assert (code, facts["differences"]) == (0, []), err
    first = int(held[0]["seq"])
    states = database.fetch(
        "SELECT state, held_minor, cleared_minor FROM de39_books.authorization_state "
        "WHERE auth_seq = $1",
        first,
    )
    assert states == [("open", int(held[0]["amount_minor"]), 0)]
    assert database.fetchval(
        "SELECT count(*) FROM de39_books.event WHERE kind IN (13, 14) AND auth_seq < ref_seq"
    ) == len(held)
    sums = database.fetch("SELECT difference FROM de39_books.trial_balance_check")
    assert {difference for (difference,) in sums} == {0}


@pytest.mark.parametrize("is_apart", [False, True])
def test_a_reversed_increment_is_given_back_under_its_authorization(
    database: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    profile: Any,
    is_apart: bool,
) -> None:
    """The reversal names the increment; what it releases was held by the authorization."""
    profile(incremental=1)
    used(tmp_path, None)
    payment = at(PAYMENT, stan=700_001, rrn="000000700001", pan=pan(7))
    more = at(payment, stan=700_002, amount=500)
    with DiskEngine(tmp_path, BOUNDS) as engine:
        engine.register(import_of(1, 2, first=4))
        player = Player(engine)
        player.play([payment, more], [1, 1])
        engine.commit(player)
        engine.drain()
    if is_apart:
        assert run(capsys, data=tmp_path, dsn=database.dsn, check=True)[0] == 0
    with DiskEngine(tmp_path, BOUNDS) as engine:
        player = Player(engine)
        player.play([reversal(more, stan=700_003)])
        assert [result.decision for result in player.played.results] == ["REVERSED"]
        engine.commit(player)
        engine.drain()
    code, facts, _ = run(capsys, data=tmp_path, dsn=database.dsn, check=True)
    assert (code, facts["differences"]) == (0, [])


def _file(engine: DiskEngine, player: Player, item: Clearing, about: Any) -> None:
    """Post an item of the account of a record."""
    owner = int(about["account"]), 0
    results, records = settle_items(engine, [item], [owner], int(about["ts_ns"]) + 10**9)
    assert results[0] in ("MATCHED", "OVER_CAPTURED", "REVERSED", "REFUNDED")
    player.played.records.append(records)
    player.rows += len(records)


def test_a_figure_that_differs_is_named(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One posting changed behind our back: exit code 1, account and figure."""
    used(tmp_path, None)
    run(capsys, data=tmp_path, dsn=database.dsn)
    database.execute(
        "ALTER TABLE de39_books.posting DISABLE TRIGGER append_only;"
        "UPDATE de39_books.posting SET amount_minor = amount_minor + 7 "
        "WHERE seq = (SELECT min(seq) FROM de39_books.posting WHERE account = 2)"
    )
    code, facts, err = run(capsys, data=tmp_path, dsn=database.dsn, check=True)
    assert code == 1
    assert not facts["ok"]
    assert any(text.startswith("account 2: limit_minor is 50007") for text in facts["differences"])
    assert "figures differ between books and engine" in err
    assert "account 2" in err


def test_books_beside_a_journal_in_the_same_database(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an option the books are where the journal is."""
    used(tmp_path, StoreChoice(is_postgres=True, dsn=database.dsn))
    code, facts, _ = run(capsys, data=tmp_path, check=True)
    assert (code, facts["ok"]) == (0, True)
    assert database.fetchval("SELECT count(*) FROM de39_books.event") == facts["records"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({}, "give --dsn"),
        ({"dsn": "postgresql:///x", "embedded": True}, "leave out --dsn"),
        ({"dsn": "postgresql:///x", "follow": True, "check": True}, "--follow does not end"),
    ],
)
def test_words_that_do_not_fit(
    words: dict[str, object], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage errors are one line and exit code 2."""
    used(tmp_path, None)
    code, _, err = run(capsys, data=tmp_path, **words)
    assert code == 2
    assert told in err
