"""A command ends with one line and the right exit code."""

import sqlite3

import pytest

from engine import errors
from engine.rules.errors import RuleError
from engine.wire.dialect import DialectError
from ledger.errors import NoJournalError, StorageInUse
from ledger.vault import VaultConflictError, VaultError, VaultPermissionError
from scoring.errors import ModelError

NUMBER = "4111111111111111"


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (errors.ProblemFoundError("x"), 1),
        (errors.UsageError("x"), 2),
        (errors.UnavailableError("x"), 69),
        (errors.StorageFailure("x"), 74),
        (errors.BusyError("x"), 75),
        (errors.PermissionRefused("x"), 77),
        (errors.ConfigError("x"), 78),
        (VaultError("x"), 74),
        (VaultPermissionError("x"), 77),
        (VaultConflictError("x"), 1),
        (StorageInUse("x"), 75),
        (NoJournalError("x"), 74),
        (sqlite3.OperationalError("x"), 74),
        (FileNotFoundError(2, "No such file", "f"), 2),
        (PermissionError(13, "Permission denied", "f"), 77),
        (ConnectionRefusedError(111, "refused"), 69),
        (OSError(28, "No space left on device"), 74),
        (ModelError("x"), 78),
        (RuleError("x"), 78),
        (DialectError("x"), 78),
        (KeyError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_code(problem: BaseException, code: int) -> None:
    """Exit codes follow the table of the module."""
    assert errors.exit_code_of(problem) == code


@pytest.mark.parametrize(
    "problem",
    [
        errors.ConfigError(f"a: b\nc {NUMBER}"),
        FileNotFoundError(2, "No such file or directory", "f.csv"),
        errors.UsageError(""),
    ],
)
def test_mistake_of_a_user_is_one_line(
    problem: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """No stack, no second line, no card number."""

    @errors.run_command
    def command() -> None:
        raise problem

    with pytest.raises(SystemExit) as end:
        command()
    written = capsys.readouterr().err
    assert end.value.code == errors.exit_code_of(problem)
    assert written.startswith("de39: error: ")
    assert written.count("\n") == 1
    assert NUMBER not in written


def test_our_mistake_keeps_its_stack(capsys: pytest.CaptureFixture[str]) -> None:
    """An internal error is code 70 with a stack in which card numbers are hidden."""

    @errors.run_command
    def command() -> None:
        raise KeyError(NUMBER)

    with pytest.raises(SystemExit) as end:
        command()
    written = capsys.readouterr().err
    assert end.value.code == 70
    assert "Traceback" in written
    assert NUMBER not in written


def test_result_and_name_pass_through() -> None:
    """A command that works is not changed."""

    @errors.run_command
    def command(value: int, *, json: bool = False) -> int:
        """Do it."""
        return value + json

    assert command(1, json=True) == 2
    assert command.__doc__ == "Do it."


def test_interrupt_ends_quietly() -> None:
    """Ctrl-C has its own code."""

    @errors.run_command
    def command() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        command()
    assert end.value.code == 130
