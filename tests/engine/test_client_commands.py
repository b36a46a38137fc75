"""``de39 account`` and ``de39 card`` against a real HTTP server."""

import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cyclopts
import pytest

from engine import client_commands as commands
from engine.admin import operations as o
from engine.admin.token import TOKEN_FILE
from engine.errors import ProblemFoundError
from tests.engine.admin.conftest import TOKEN, Desk, desk

__all__ = ["desk"]  # the fixture
PAN = "4111111111111111"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that types a command line and gives exit code, stdout and stderr."""
    (tmp_path / TOKEN_FILE).write_text(TOKEN + "\n", encoding="ascii")
    (tmp_path / TOKEN_FILE).chmod(0o600)
    app = cyclopts.App(name="de39", result_action="return_value")
    account, card = cyclopts.App(name="account"), cyclopts.App(name="card")
    account.command(commands.account_open, name="open")
    account.command(commands.account_show, name="show")
    account.command(commands.account_set, name="set")
    card.command(commands.card_issue, name="issue")
    card.command(commands.card_set, name="set")
    app.command(account)
    app.command(card)

    def type_in(*words: str, url: str = desk.url, data: Path = tmp_path) -> tuple[int, str, str]:
        code: Any = 0
        try:
            app([*words, "--http", url, "--data", str(data)])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return type_in


def test_an_account_and_its_card_from_opening_to_blocking(run: Run, desk: Desk) -> None:
    """The five commands do what they say; numbers come out masked."""
    opened = run("account", "open", "A1", "--customer", "C1", "--limit-minor", "5000", "--json")
    assert (opened[0], json.loads(opened[1])["available_minor"]) == (0, 5000)
    issued = run("card", "issue", "A1", "--pan", PAN, "--expiry-yymm", "3012", "--json")
    assert (issued[0], json.loads(issued[1])["pan"]) == (0, "411111******1111")
    assert run("card", "set", "1", "--status", "blocked", "--travel-notice")[0] == 0
    assert run("account", "set", "A1", "--limit-minor", "7000", "--status", "blocked")[0] == 0
    code, out, err = run("account", "show", "A1")
    assert (code, err) == (0, "")
    assert "limit_minor      7000" in out
    assert "411111******1111  3012  blocked, travel notice" in out
    assert PAN not in "".join(opened[1:] + issued[1:]) + out
    assert len(desk.engine.changes) == 4


def test_an_account_may_be_called_anything_printable(run: Run) -> None:
    """Blanks, slashes and letters of any script go through the address unharmed."""
    for name in ("Konto 7/ä", "../x", "a%2Fb?c#d", "北京"):
        assert run("account", "open", name, "--customer", "C", "--limit-minor", "1")[0] == 0
        code, out, _ = run("account", "show", name, "--json")
        assert (code, json.loads(out)["account"]) == (0, name)


def test_a_card_number_may_come_from_standard_input(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it stays out of the list of processes."""
    run("account", "open", "A1", "--customer", "C1", "--limit-minor", "5000")
    monkeypatch.setattr(sys, "stdin", io.StringIO(PAN + "\n"))
    code, out, _ = run("card", "issue", "A1", "--pan-stdin", "--json")
    assert (code, json.loads(out)["pan"]) == (0, "411111******1111")


def test_a_dry_run_sends_nothing(run: Run, desk: Desk) -> None:
    """What would be sent is shown with the card number masked, and no engine is needed."""
    code, out, _ = run("card", "issue", "A1", "--pan", PAN, "--dry-run", url="http://127.0.0.1:1")
    assert code == 0
    assert out.startswith("would send POST http://127.0.0.1:1/v1/cards\n")
    assert "411111******1111" in out
    shown = run("account", "set", "A1", "--status", "blocked", "--dry-run", "--json")
    assert json.loads(shown[1]) == {
        "dry_run": True,
        "method": "PATCH",
        "path": "/v1/accounts/A1",
        "body": {"status": "blocked"},
    }
    assert not desk.engine.changes


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("account", "show", "B9"), 1, "no account B9"),
        (("account", "show", " A1"), 2, "account: expected"),
        (("account", "open", "A1", "--customer", "C1", "--limit-minor", "1"), 1, "stands already"),
        (
            ("account", "open", "B", "--customer", "C", "--limit-minor", "-1"),
            2,
            "limit_minor: expected",
        ),
        (("account", "set", "A1"), 2, "nothing to change"),
        (("account", "set", "A1", "--status", "odd"), 2, "status: expected active, blocked"),
        (("card", "issue", "A1", "--pan", "4111111111111112"), 2, "--pan: must be 12 to 19"),
        (("card", "issue", "B9"), 1, "no account B9"),
        (("card", "set", "0", "--status", "lost"), 2, "internal number"),
        (("card", "set", "9", "--status", "lost"), 1, "no card 9"),
        (("card", "set", "9"), 2, "nothing to change"),
    ],
)
def test_a_refusal_is_one_line_and_its_exit_code(
    run: Run, words: tuple[str, ...], code: int, text: str
) -> None:
    """Usage is 2, not found and conflict are 1; the line says what is wrong."""
    run("account", "open", "A1", "--customer", "C1", "--limit-minor", "5000")
    found, out, err = run(*words)
    assert (found, out) == (code, "")
    assert text in err
    assert err.count("\n") == 1
    assert "4111111111111112" not in err


def test_an_engine_that_cannot_answer_is_69(run: Run, desk: Desk) -> None:
    """Nobody there, somebody else there, or an engine that cannot do it now."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def speak_otherwise() -> None:
            link, _ = other.accept()
            with link:
                link.recv(4096)
                link.sendall(b"220 mail here\r\n")

        thread = threading.Thread(target=speak_otherwise)
        thread.start()
        answered = run("account", "show", "A1", url=f"http://127.0.0.1:{port}")
        thread.join()
    gone = run("account", "show", "A1", url=f"http://127.0.0.1:{port}")
    desk.engine.failure = o.Unavailable("draining")
    refused = run("account", "show", "A1")
    assert (answered[0], gone[0], refused[0]) == (69, 69, 69)
    assert "does not speak HTTP" in answered[2]
    assert "refused" in gone[2]
    assert "draining" in refused[2]


def test_a_token_that_is_refused_or_missing_is_77(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says where the token is looked for; the token itself is not shown."""
    missing = run("account", "show", "A1", data=tmp_path / "none")
    monkeypatch.setenv("DE39_ADMIN_TOKEN", "another-token-0123456789")
    wrong = run("account", "show", "A1")
    assert (missing[0], wrong[0]) == (77, 77)
    assert "DE39_ADMIN_TOKEN" in missing[2]
    assert "admin.token" in wrong[2]
    assert "another-token" not in wrong[2]


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8580", "ftp://h", "http://", "http://h:99999", "http://h/v1"]
)
def test_an_address_that_is_none_is_usage(run: Run, url: str) -> None:
    """The line shows what an address looks like."""
    code, _, err = run("account", "show", "A1", url=url)
    assert (code, "http://127.0.0.1:8580" in err) == (2, True)


def test_an_import_file_goes_to_a_running_engine(run: Run, desk: Desk, tmp_path: Path) -> None:
    """Counts come back; a bad row names file and line and hides what it held."""
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("header\nA1,C1,s,840,1,,3012,active\n", encoding="utf-8")
    bad.write_text(f"header\n{PAN}\n", encoding="utf-8")
    done = commands.import_over_http(good, http=desk.url, data=tmp_path)
    assert done == {"rows": 1, "accounts": 1, "cards": 1}
    with pytest.raises(ProblemFoundError, match=r"bad\.csv: line 2") as raised:
        commands.import_over_http(bad, http=desk.url, data=tmp_path)
    assert PAN not in str(raised.value)


def test_a_command_starts_without_the_heavy_packages() -> None:
    """Neither Numba nor NumPy nor aiohttp is imported for an operator's command."""
    code = (
        "import sys; import engine.client_commands; "
        "print(*{'numba', 'numpy', 'aiohttp', 'msgspec', 'xgboost'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
