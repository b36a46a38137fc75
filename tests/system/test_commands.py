"""The command line against a real folder and a running switch."""

import csv
import io
import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from bench.frames import test_pan
from engine import cli
from tests.support.commands import de39
from tests.system.link import payment, reversal
from tests.system.process import Card, Switch, de39_process, eventually, is_one_line

_HEADER = "account,customer,product,currency,limit_minor,pan,expiry_yymm,status\n"
_ROWS = (
    f"I1,J1,gold,840,50000,{test_pan(1)},3012,active\n"
    f"I1,J1,gold,840,50000,{test_pan(2)},3012,stolen\n"
    f"I2,J2,,978,70000,{test_pan(3)},3106,blocked\n"
    "I3,J2,standard,392,900,,3106,active\n"
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """Run a switch on a folder into which a file was imported while it stood still."""
    folder: Path = tmp_path_factory.mktemp("commands")
    file = folder / "cards.csv"
    file.write_text(_HEADER + _ROWS)
    with Switch(folder) as switch:
        code, out, err = de39("import", file, "--data", switch.data, "--json")
        assert (code, json.loads(out)) == (0, {"rows": 4, "accounts": 3, "cards": 4}), err
        switch.start()
        with switch.link() as link:
            ask = payment(test_pan(1), 1_234)
            assert link.ask(ask)["39"] == "00"
            assert link.ask(payment(test_pan(1), 99_999))["39"] == "51"
            assert link.ask(reversal(ask))["39"] == "00"
            assert link.ask(payment(test_pan(1), 500))["39"] == "00"
        yield switch
        assert switch.stop() == 0


def _json(live: Switch, *words: object) -> Any:
    code, out, err = de39(*words, "--http", live.http, "--data", live.data, "--json")
    assert code == 0, err
    return json.loads(out)


def test_an_offline_import_is_served(live: Switch) -> None:
    """Accounts, cards and their status are as the file says; numbers are shown masked."""
    first = _json(live, "account", "show", "I1")
    assert (first["limit_minor"], first["product"], first["customer"]) == (50_000, "gold", "J1")
    pan = test_pan(1)
    assert first["cards"][0]["pan"] == pan[:6] + "******" + pan[-4:]
    assert [card["status"] for card in first["cards"]] == ["active", "stolen"]
    assert _json(live, "account", "show", "I2")["currency"] == "978"
    (made,) = _json(live, "account", "show", "I3")["cards"]
    assert made["pan"].startswith("999900")
    with live.link() as link:
        assert link.ask(payment(test_pan(2)))["39"] == "43"
        assert link.ask(payment(test_pan(3), de14="3106", de49="978"))["39"] == "62"


def test_import_over_http(live: Switch, tmp_path: Path) -> None:
    """A running switch takes a file whole or not at all, and serves its cards at once."""
    file = tmp_path / "more.csv"
    row = f"H1,K1,standard,840,1000,{test_pan(11)},3012,active\n"
    file.write_text(_HEADER + row + f"H2,K1,standard,840,1000,{test_pan(1)},3012,active\n")
    where = ("--http", live.http, "--data", live.data)
    code, out, err = de39("import", file, *where)
    assert (code, out, is_one_line(err)) == (1, "", True)  # the second number is in use
    assert "more.csv: card" in err
    file.write_text(_HEADER + row.replace("1000", "10.00"))
    code, _, err = de39("import", file, *where)
    assert (code, is_one_line(err)) == (1, True)
    assert "more.csv: line 2, column limit_minor: expected whole minor units" in err
    assert live.call("GET", "/v1/accounts/H1").status == 404
    file.write_text(_HEADER + row)
    assert de39("import", file, "--dry-run", *where)[0] == 0
    assert live.call("GET", "/v1/accounts/H1").status == 404
    code, out, _ = de39("import", file, *where)
    assert (code, out) == (0, "imported 1 cards of 1 accounts\n")
    with live.link() as link:
        assert link.ask(payment(test_pan(11)))["39"] == "00"
    assert de39("import", file, *where)[0] == 1  # a second time: it stands already


def test_account_and_card_commands(live: Switch) -> None:
    """Open, issue, set and show through the running switch; the operator is in the ledger."""
    opened = _json(live, "account", "open", "O1", "--customer", "P1", "--limit-minor", "5000")
    assert (opened["account"], opened["available_minor"]) == ("O1", 5_000)
    words = ("card", "issue", "O1", "--pan-stdin", "--expiry-yymm", "3012")
    where = ("--http", live.http, "--data", live.data)
    code, out, err = de39(*words, *where, "--json", stdin=test_pan(21) + "\n")
    assert code == 0, err
    card = Card("O1", test_pan(21), json.loads(out)["card"])
    with live.link() as link:
        assert link.ask(payment(card.pan))["39"] == "00"
        _json(live, "card", "set", card.number, "--status", "lost")
        assert link.ask(payment(card.pan))["39"] == "41"
        _json(live, "card", "set", card.number, "--status", "active", "--travel-notice")
        _json(live, "account", "set", "O1", "--limit-minor", "1500")
        assert link.ask(payment(card.pan))["39"] == "51"
        _json(live, "account", "set", "O1", "--status", "blocked")
        assert link.ask(payment(card.pan))["39"] == "62"
    code, out, _ = de39("account", "show", "O1", *where)
    assert code == 0
    assert "blocked" in out
    assert "travel notice" in out
    rows = [row for row in live.records() if row["kind"] in {"limit", "account_status"}]
    assert len(rows) >= 2
    assert all(row["operator"] for row in rows)


def test_operators_calls_are_in_the_log(live: Switch) -> None:
    """Each call under /v1 is a line with who, what and how it ended; a wrong token too."""
    live.call("GET", "/v1/accounts/I1", headers={"X-Operator": "ada"})
    live.call(
        "GET", "/v1/accounts/I1", headers={"Authorization": "Bearer wrong", "X-Operator": "eve"}
    )
    found = eventually(lambda: [line for line in _http_lines(live) if line["status"] == 401])
    assert (found[-1]["method"], found[-1]["path"]) == ("GET", "/v1/accounts/{account}")
    assert "operator" not in found[-1] or not found[-1]["operator"]
    assert any(line.get("operator") == "ada" for line in _http_lines(live))


def _http_lines(live: Switch) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in live.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "http.request"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("account", "show", "nobody"), 1),
        (("account", "open", "I1", "--customer", "J1", "--limit-minor", "1"), 1),
        (("account", "set", "I1"), 2),
        (("account", "set", "I1", "--status", "sleepy"), 2),
        (("card", "set", "99999", "--status", "lost"), 1),
        (("card", "issue", "I1", "--expiry-yymm", "1313"), 2),
        (("card", "issue", "nobody"), 1),
    ],
)
def test_a_command_that_cannot_be_done(live: Switch, words: tuple[str, ...], code: int) -> None:
    """One line on stderr and the exit code that fits."""
    found, out, err = de39(*words, "--http", live.http, "--data", live.data)
    assert (found, out) == (code, "")
    assert is_one_line(err), err


def test_commands_without_an_engine_or_token(live: Switch, tmp_path: Path) -> None:
    """No engine is 69, no token or another one's 77, and no journal 74: each in one line."""
    nowhere = ("--http", "http://127.0.0.1:9", "--data", live.data)
    code, _, err = de39("account", "show", "I1", *nowhere)
    assert (code, is_one_line(err)) == (69, True)
    code, _, err = de39("account", "show", "I1", "--http", live.http, "--data", tmp_path)
    assert (code, is_one_line(err)) == (77, True)
    where = ("--http", live.http, "--data", live.data)
    code, _, err = de39("account", "show", "I1", *where, DE39_ADMIN_TOKEN="x" * 32)
    assert (code, is_one_line(err)) == (77, True)
    for verb in ("verify", "tail", "export"):
        code, _, err = de39("ledger", verb, "--data", tmp_path / "none")
        assert (code, is_one_line(err)) == (74, True), verb


def test_ledger_verify_on_a_running_switch(live: Switch) -> None:
    """It counts what is there, replays every balance, and gives the same hash again."""
    code, out, err = de39("ledger", "verify", "--data", live.data, "--json")
    assert code == 0, err
    facts = json.loads(out)
    names = {"records", "batches", "approved", "declined", "head", "state_hash", "ok", "error"}
    assert facts.keys() == names
    assert (facts["ok"], facts["error"]) == (True, None)
    rows = live.records()
    assert facts["records"] == len(rows)
    assert facts["approved"] == sum(
        row["decision"] in {"approved", "checked"}
        for row in rows
        if row["kind"] in {"authorize", "check"}
    )
    assert re.fullmatch("[0-9a-f]{64}", facts["head"])
    again = json.loads(de39("ledger", "verify", "--data", live.data, "--json")[1])
    assert again == facts


def test_ledger_tail(live: Switch) -> None:
    """The last records, one JSON object a line, in order."""
    code, out, _ = de39("ledger", "tail", "--data", live.data, "--count", 3)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["seq"] for row in rows] == [row["seq"] for row in live.records()[-3:]]
    assert de39("ledger", "tail", "--data", live.data, "--count", 0)[1] == ""
    assert de39("ledger", "tail", "--data", live.data, "--count", -1)[0] == 2


def test_ledger_export_in_three_formats(live: Switch, tmp_path: Path) -> None:
    """CSV, JSON lines and parquet hold the same rows; files are for their owner only."""
    rows = live.records()
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    paid = next(row for row in rows if row["kind"] == "authorize")
    pan = test_pan(1)
    assert (paid["amount_minor"], paid["card_masked"]) == (1_234, pan[:6] + "******" + pan[-4:])
    code, out, _ = de39("ledger", "export", "--data", live.data, "--format", "csv")
    assert code == 0
    table = list(csv.DictReader(io.StringIO(out)))
    assert [int(row["seq"]) for row in table] == [row["seq"] for row in rows]
    assert table[-1]["rrn"] == rows[-1]["rrn"]
    parquet = tmp_path / "ledger.parquet"
    words = ("ledger", "export", "--data", live.data, "--format", "parquet")
    code, _, err = de39(*words, "--out", parquet)
    assert code == 0, err
    assert stat.S_IMODE(parquet.stat().st_mode) == 0o600
    with duckdb.connect() as connection:
        query = "select seq, amount_minor, decision from read_parquet(?) order by seq"
        found = connection.execute(query, [str(parquet)]).fetchall()
    assert found == [(row["seq"], row["amount_minor"], row["decision"]) for row in rows]
    assert de39(*words)[0] == 2  # parquet needs a file


def test_print_config_hides_nothing_but_secrets(tmp_path: Path) -> None:
    """``serve --print-config`` shows every key with the environment's word, and starts nothing."""
    switch = Switch(tmp_path)
    words = ("serve", "--config", switch.config, "--data", tmp_path / "other", "--print-config")
    code, out, err = de39_process(*words, DE39_LIMITS__CARDS_MAX="77")
    assert (code, err) == (0, "")
    assert "cards_max = 77" in out
    assert str(tmp_path / "other") in out
    for section in ("[[listen]]", "[http]", "[rules]", "[scoring]", "[ledger]", "[clock]", "[log]"):
        assert section in out
    assert not (tmp_path / "other").exists()
    again = tmp_path / "again.toml"
    again.write_text(out)
    assert de39_process("serve", "--config", again, "--print-config") == (0, out, "")


# The first command of each module; tests/engine/test_cli.py has the help of all in one process.
_FIRST_OF_MODULE = {
    place.partition(":")[0]: words for words, place in reversed(cli._COMMANDS.items())
}


@pytest.mark.parametrize(
    "words", sorted(_FIRST_OF_MODULE.values()), ids=lambda words: words.replace(" ", "-")
)
def test_every_module_of_commands_loads_alone_and_has_help(words: str) -> None:
    """``--help`` in a fresh process, where no other command has imported what it needs."""
    code, out, err = de39_process(*words.split(), "--help")
    assert code == 0, err
    assert out.startswith("Usage: de39 " + words)


def test_the_top_level_lists_every_command() -> None:
    """``de39 --help`` names all groups; an unknown word is a usage error with a hint."""
    code, out, _ = de39_process("--help")
    assert code == 0
    for words in cli._COMMANDS:
        assert words.split()[0] in out
    code, _, err = de39_process("srve")
    assert code != 0
    assert "serve" in err
    assert "Traceback" not in err
