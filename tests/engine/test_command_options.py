"""Options that many commands share, and how an answer is printed."""

import json
from pathlib import Path
from typing import Any

import cyclopts
import pytest

from engine.command_options import (
    CHANGE,
    TARGET,
    Change,
    NegatableTarget,
    Progress,
    Target,
    Whole,
    Why,
    print_answer,
    records_progress,
)


def typed(*words: str) -> tuple[str, Change]:
    """Return what a command with these parameters is called with."""
    app = cyclopts.App(result_action="return_value", exit_on_error=False, print_error=False)

    @app.default
    def command(*, why: Why = "", change: Change = CHANGE) -> tuple[str, Change]:
        return why, change

    found: tuple[str, Change] = app(words)
    return found


def test_the_fields_are_options_of_the_command_itself() -> None:
    """One that is given leaves the others as they are by default."""
    assert typed() == ("", Change("http://127.0.0.1:8580", Path("de39-data"), False, False))
    assert typed("--dry-run", "--why", "so") == ("so", Change(dry_run=True))
    assert typed("--http", "http://h", "--json") == ("", Change(http="http://h", json=True))
    assert Target(data=Path("d")) != TARGET == Target()


@pytest.mark.parametrize(
    "words", [("--target", "x"), ("--change.http", "x"), ("--no-json",), ("http://h",)]
)
def test_nothing_else_is_an_option(words: tuple[str, ...]) -> None:
    """Neither the name of the class nor a place stands for an option."""
    with pytest.raises(cyclopts.CycloptsError):
        typed(*words)


def test_a_command_may_take_the_opposite_too() -> None:
    """It says what holds anyway, and stays out of the other commands."""
    app = cyclopts.App(result_action="return_value", exit_on_error=False, print_error=False)

    @app.default
    def command(*, target: NegatableTarget = TARGET) -> Target:
        return target

    assert app(["--no-json"]) == TARGET
    assert app(["--json"]) == Target(json=True)


def test_an_answer_is_one_json_object_or_a_line_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """What a key holds of its own is indented; nothing is said to be none."""
    answer: dict[str, Any] = {
        "model": "a",
        "is_ready": False,
        "past": [],
        "since": None,
        "of": {"x": 0, "long": "b"},
        "rows": [{"version": "c", "count": 2}, {"version": "d", "count": 3}],
        "names": ["e", "f"],
    }
    print_answer(answer, as_json=True)
    assert json.loads(capsys.readouterr().out) == answer
    print_answer(answer, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "model     a",
        "is_ready  False",
        "past      none",
        "since     none",
        "of",
        "  x     0",
        "  long  b",
        "rows",
        "  version c  count 2",
        "  version d  count 3",
        "names     ['e', 'f']",
    ]
    print_answer({}, as_json=False)
    assert not capsys.readouterr().out


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("1500", 1500), ("-5", -5), ("+7", 7)])
def test_a_whole_number_is_read_as_it_stands(text: str, number: int) -> None:
    """Of an amount, a card, a record."""
    assert whole_of(text) == number


@pytest.mark.parametrize(
    "text", ["10.5", "10.0", "1e3", "0x10", "1_000", "", "-", "\u0661", "9" * 19]
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    """An amount with decimals was rounded; nothing that was typed is repeated."""
    with pytest.raises(cyclopts.CycloptsError, match="a whole number of up to 18 digits") as caught:
        whole_of(text)
    assert not text.strip("-") or text not in str(caught.value)


def whole_of(text: str) -> int | None:
    """Return what an option gets that is a whole number."""
    app = cyclopts.App(result_action="return_value", exit_on_error=False, print_error=False)

    @app.default
    def command(*, number: Whole | None = None) -> int | None:
        return number

    found: int | None = app([f"--number={text}"])
    return found


def test_progress_is_said_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """However often it is called; the line has the newest numbers and their unit."""
    now = [10.0]
    progress = Progress(lambda rows, share: f"{rows:,} rows, {share} %", lambda: now[0])
    for rows in range(3_000):
        now[0] += 0.001
        progress(rows, rows // 30)
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 2)
    assert told.err.startswith("de39: 1,0")
    assert told.err.splitlines()[1].endswith(" rows, 66 %")
    quiet = records_progress("read")
    quiet(5, 7)
    assert not capsys.readouterr().err
