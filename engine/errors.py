"""Operating errors and the exit code of each; a command ends with one line, not with a stack.

Declines are values and bad peers are counted answers: neither is here. Exit codes follow sysexits
where it has one: 0 ok, 1 a check found a problem, 2 usage, 69 a needed service is unavailable, 70
our own mistake, 74 input or output failed, 75 try again later, 77 permission, 78 configuration.
"""

import functools
import os
import sqlite3
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import ParamSpec, TypeVar

from ledger.errors import LedgerError, StorageInUse, StoreSettingsError, StoreUnavailable
from ledger.pan import hide_pans
from scoring.errors import ModelError

P = ParamSpec("P")
R = TypeVar("R")


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    PROBLEM_FOUND = 1
    USAGE = 2
    UNAVAILABLE = 69
    INTERNAL = 70
    IO = 74
    TEMPORARY = 75
    PERMISSION = 77
    CONFIG = 78
    INTERRUPTED = 130


class OperatingError(Exception):
    """Base of errors that an operator can act on; the text is one line and names what to do."""

    exit_code: int = Exit.INTERNAL


class ProblemFoundError(OperatingError):
    """A check did its work and found something wrong (a file, a journal, a machine)."""

    exit_code = Exit.PROBLEM_FOUND


class UsageError(OperatingError):
    """The command was called with arguments that do not fit together."""

    exit_code = Exit.USAGE


class UnavailableError(OperatingError):
    """A service that is needed does not answer, or a port is taken."""

    exit_code = Exit.UNAVAILABLE


class StorageFailure(OperatingError):  # noqa: N818 - ledger.errors has a StorageError of its own
    """A disk or file could not be read or written."""

    exit_code = Exit.IO


class BusyError(OperatingError):
    """It would work later: another process holds the data folder, say."""

    exit_code = Exit.TEMPORARY


class PermissionRefused(OperatingError):  # noqa: N818 - reads as the fact it states
    """A file is open to others, or closed to us."""

    exit_code = Exit.PERMISSION


class ConfigError(OperatingError):
    """The configuration cannot be used; the text names file, key and what would be right."""

    exit_code = Exit.CONFIG


def exit_code_of(problem: BaseException) -> int:
    """Return the exit code for an error; 70 for one that is nobody's but ours."""
    if isinstance(problem, KeyboardInterrupt):
        return Exit.INTERRUPTED
    code = getattr(problem, "exit_code", None)
    if isinstance(code, int):
        return int(code)
    for kinds, code in _FOREIGN:
        if isinstance(problem, kinds):
            return int(code)
    return Exit.INTERNAL


def run_command(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: an operating error becomes one line on stderr and its exit code.

    Our own mistakes (exit code 70) keep their stack, with anything like a card number hidden.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            # The reader of our output has gone: no more output, and no complaint either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(Exit.OK) from None
        except KeyboardInterrupt:
            raise SystemExit(Exit.INTERRUPTED) from None
        except Exception as problem:
            code = exit_code_of(problem)
            sys.stderr.write(error_text(problem, code) + "\n")
            raise SystemExit(code) from None

    return run


def error_text(problem: Exception, code: int) -> str:
    """Return what a person reads: one line, or line and stack when the mistake is ours."""
    if code != Exit.INTERNAL:
        return f"de39: error: {_one_line(problem)}"
    stack = "".join(traceback.format_exception(problem))
    return hide_pans(f"{stack}de39: internal error: {_one_line(problem)}; please report it")


def _one_line(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.strerror and problem.filename is not None:
        text = f"{problem.filename}: {problem.strerror}"
    elif isinstance(problem, OSError) and problem.strerror and exit_code_of(problem) == Exit.IO:
        # What was opened says its name; what has none was being written: mostly standard output.
        text = f"standard output, or a file that was written: {problem.strerror}"
    else:
        text = str(problem) or type(problem).__name__
    return hide_pans(" ".join(text.split()))


# Errors of others, most special first.
_FOREIGN: tuple[tuple[tuple[type[BaseException], ...], Exit], ...] = (
    ((StorageInUse,), Exit.TEMPORARY),
    ((StoreUnavailable,), Exit.UNAVAILABLE),
    ((StoreSettingsError,), Exit.CONFIG),
    ((LedgerError, sqlite3.Error), Exit.IO),
    ((ModelError,), Exit.CONFIG),
    ((FileNotFoundError, IsADirectoryError, NotADirectoryError), Exit.USAGE),
    ((PermissionError,), Exit.PERMISSION),
    ((ConnectionError, TimeoutError), Exit.UNAVAILABLE),
    ((OSError,), Exit.IO),
)
