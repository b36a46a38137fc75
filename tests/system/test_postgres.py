"""A real engine over PostgreSQL: embedded and killed, or taken over by another engine."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.postgres.server import running_pid
from ledger.snapshot import latest_seq
from tests.support.commands import de39
from tests.support.postgres import Database, place_for_servers, remove, require_programs
from tests.system.link import changed, payment
from tests.system.process import DE39, PLAIN, Switch, eventually

TOOL = Path(__file__).resolve().parents[2] / "tools" / "verify_receipt.py"
EMBEDDED = PLAIN + '[ledger]\nstore = "postgres"\n'
QUICK = "commit_timeout_s = 2\nretry_s = 5\n"


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder with a short path for a data folder with a server in it."""
    require_programs()
    folder = place_for_servers()
    yield folder
    remove(folder)


def test_an_embedded_database_outlives_a_kill(place: Path) -> None:
    """Pay, kill -9, start: the server that was left is used, every answer stands, books agree."""
    with Switch(place, more=EMBEDDED) as switch:
        switch.start()
        card = switch.open_card()
        with switch.link() as link:
            ask = payment(card.pan, 700)
            link.send(ask)
            first = link.receive_bytes()
        assert switch.call("GET", "/readyz").json["checks"]["ledger_store"]
        assert eventually(lambda: switch.metric("de39_ledger_store_reachable") == 1)
        assert eventually(lambda: switch.metric("de39_ledger_connects_total") == 1)
        cluster = switch.data / "postgres" / "cluster"
        switch.kill()
        left = running_pid(cluster)
        assert left is not None
        switch.start()
        assert running_pid(cluster) == left
        with switch.link() as link:
            link.send(changed(ask, t="0101"))
            assert link.receive_bytes() == first
        assert switch.held(card) == 700
        code, out, err = de39("ledger", "books", "--data", switch.data, "--check", "--json")
        assert code == 0, err
        assert json.loads(out)["ok"]
        assert switch.stop() == 0
        assert running_pid(cluster) is None
        assert switch.log().count("PostgreSQL commit per batch") == 2


def test_proofs_and_copies_of_a_database(database: Database, place: Path) -> None:
    """Signed while it serves, proven by RRN, backed up, restored into files and into a database."""
    more = PLAIN + (
        f'[ledger]\nstore = "postgres"\ndsn = "{database.dsn}"\n'
        'checkpoint_interval_s = 0.05\nwitness_file = "seen"\nwitnesses = ["seen"]\n'
    )
    with Switch(place, more=more) as switch:
        switch.start()
        data, key = switch.data, switch.data / "proof" / "verifier"
        card = switch.open_card(limit_minor=10**6)
        with switch.link() as link:
            rrns = [link.ask(payment(card.pan))["37"] for _ in range(5)]
            code, _, err = de39("ledger", "snapshot", "--http", switch.http, "--data", data)
            assert code == 0, err
            assert eventually(lambda: latest_seq(data) == 7)
            assert link.ask(payment(card.pan))["39"] == "00"
        assert eventually(lambda: switch.call("GET", "/v1/ledger").json["checkpoint_batches"] >= 8)
        assert eventually(lambda: json.loads((place / "seen").read_text())["seq"] == 8)
        assert switch.metric("de39_ledger_upkeep_failures_total") == 0
        receipt = place / "r.json"
        code, _, err = de39("ledger", "prove", "--data", data, "--rrn", rrns[2], "--out", receipt)
        assert code == 0, err
        assert verified("receipt", receipt, "--key", key)["record"]["rrn"] == rrns[2]
        old = place / "old"
        shutil.copy(data / "proof" / "checkpoint", old)
        switch.kill()
        switch.start()
        with switch.link() as link:
            assert link.ask(payment(card.pan))["39"] == "00"
        code, out, err = de39("ledger", "backup", place / "copy", "--data", data, "--json")
        assert code == 0, err
        assert json.loads(out)["last_record"] == 9
        assert switch.stop() == 0
    proof = place / "c.json"
    assert de39("ledger", "prove", "--data", data, "--since", old, "--out", proof)[0] == 0
    verified("consistency", proof, "--key", key)
    whole = facts("verify", "--data", data)
    told = verified("journal", place / "copy")
    assert (told["records"], told["head"]) == (whole["records"], whole["head"])
    assert facts("archive", place / "archived", "--data", data)["archived"] == []
    again = facts("replay", "--data", data)
    assert (again["last_record"], again["ok"]) == (9, True)
    server = database.server
    server.execute(f"CREATE DATABASE {database.name}_new")
    dsn = Database(server, f"{database.name}_new").dsn
    for name, more_words in (("f", ()), ("p", ("--store", "postgres", "--dsn", dsn))):
        for point, last in (((), 9), (("--until-record", "8"), 8)):
            words = (place / "copy", "--data", place / name, *more_words, *point)
            assert facts("restore", *words, "--dry-run")["last_record"] == last
            if point and name == "p":  # the first one is there
                code, _, err = de39("ledger", "restore", *words)
                assert (code, "holds a journal of partition 0 already" in err) == (78, True)
                continue
            assert facts("restore", *words)["last_record"] == last
            shutil.copy(data / "vault.key", place / name / "vault.key")
            assert facts("replay", "--data", place / name)["ok"]
            shutil.rmtree(place / name)


def verified(*words: object) -> dict[str, Any]:
    """Return what the stand-alone verifier says of a proof that it takes."""
    command = [sys.executable, "-I", str(TOOL), *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def facts(*words: object) -> dict[str, Any]:
    """Return what a command of the ledger prints as JSON."""
    code, out, err = de39("ledger", *words, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_an_engine_that_was_taken_over_stops(database: Database, place: Path) -> None:
    """A second engine on the database: the first writes no row more, exits with 74 (T11)."""
    more = PLAIN + f'[ledger]\nstore = "postgres"\ndsn = "{database.dsn}"\n' + QUICK
    with Switch(place / "one", more=more) as one, Switch(place / "two", more=more) as two:
        one.start()
        card = one.open_card()
        assert one.stop() == 0
        shutil.copytree(one.data, two.data)
        one.start()
        with one.link() as link:
            assert link.ask(payment(card.pan, 100))["39"] == "00"
        two.start()
        with one.link() as link:
            link.send(payment(card.pan, 200))
            assert link.receive_bytes() == b""
        assert one.wait() == 74
        told = [line for line in one.log().splitlines() if line.startswith("de39: error: ")]
        assert len(told) == 1
        assert "another writer owns the journal" in told[0]
        assert two.held(card) == 100
        with two.link() as link:
            assert link.ask(payment(card.pan, 300))["39"] == "00"
        assert eventually(lambda: two.held(card) == 400)
        assert two.stop() == 0
    epochs = database.fetch("SELECT DISTINCT epoch FROM de39.batch ORDER BY 1")
    assert len(epochs) == 3


def test_a_database_that_is_away_is_named(tmp_path: Path) -> None:
    """Exit code 69, the place in one line, and no password in it."""
    dsn = f"postgresql://de39:S3cret@/x?host={tmp_path}"
    more = PLAIN + f'[ledger]\nstore = "postgres"\ndsn = "{dsn}"\n'
    code, err = Switch(tmp_path, more=more).run_to_end()
    assert code == 69
    assert str(tmp_path) in err
    assert "S3cret" not in err


def test_the_books_follow_a_running_engine(database: Database, place: Path) -> None:
    """What is paid while the projector follows is in the books a moment later, and only once."""
    with Switch(place / "s") as switch:
        switch.start()
        card = switch.open_card()
        words = ["ledger", "books", "--data", str(switch.data), "--follow"]
        env = {**os.environ, "DE39_BOOKS_DSN": database.dsn}
        with subprocess.Popen(
            [DE39, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        ) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline()  # the books are up to what there was
            with switch.link() as link:
                for amount in (100, 200, 300):
                    assert link.ask(payment(card.pan, amount))["39"] == "00"
            held = "SELECT coalesce(sum(held_minor), 0)::int FROM de39_books.open_holds"
            assert eventually(lambda: database.fetchval(held) == 600)
            follower.send_signal(signal.SIGINT)
            assert follower.wait(30) == 130
        assert switch.stop() == 0
        code, out, err = de39("ledger", "books", "--data", switch.data, "--check", "--json", **env)
        assert code == 0, err
        assert json.loads(out) == {"records": 5, "projected": 0, "ok": True, "differences": []}
