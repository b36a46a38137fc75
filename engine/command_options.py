"""What many commands share: options of the same name and meaning, and how an answer is printed.

``Target`` and ``Change`` are parameters of a command whose fields cyclopts shows as options of the
command itself, with the help text that stands here. Only the standard library and cyclopts are
imported, so that a command starts at once.
"""

import json as json_format
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter, Token

HTTP_DEFAULT = "http://127.0.0.1:8580"
DATA_DEFAULT = Path("de39-data")  # the default of the configuration


_DIGITS_MAX = 18  # of a number of 64 bits


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number as it stands: 10.5 is none, and never becomes 10."""
    text = tokens[0].value
    digits = text[1:] if text.startswith(("-", "+")) else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        if tokens[0].keyword is None:  # a place of the line: the usual error names it
            raise ValueError
        raise ValueError(f"expected a whole number of up to {_DIGITS_MAX} digits, such as 1500")
    return int(text)


Whole: TypeAlias = Annotated[int, Parameter(converter=_whole)]
Flag: TypeAlias = Annotated[bool, Parameter(negative="")]  # without a --no-X
Why: TypeAlias = Annotated[str, Parameter(help="Goes into the ledger with your name.")]


@Parameter(name="*", negative_bool=())
@dataclass(frozen=True, slots=True)
class Target:
    """The running engine that a command speaks with, and how its answer is printed.

    Attributes
    ----------
    http
        Address of the engine.
    data
        Data folder that holds the admin token.
    json
        Print one JSON object.
    """

    http: str = HTTP_DEFAULT
    data: Path = DATA_DEFAULT
    json: bool = False


@Parameter(name="*", negative_bool=())
@dataclass(frozen=True, slots=True)
class Change(Target):
    """A target of which something is changed, unless it is only tried.

    Attributes
    ----------
    dry_run
        Print what would be sent and send nothing.
    """

    dry_run: bool = False


TARGET = Target()
CHANGE = Change()
# Commands that have always taken --no-json and --no-dry-run go on taking them.
_NEGATABLE = Parameter(negative_bool="no-")
NegatableTarget: TypeAlias = Annotated[Target, _NEGATABLE]
NegatableChange: TypeAlias = Annotated[Change, _NEGATABLE]


class Progress:
    """Says on stderr how far long work is, once a second: called often, with what ``text`` takes.

    Parameters
    ----------
    text
        Returns the line for the numbers that the work tells of, units included.
    clock
        Seconds that only rise.
    """

    def __init__(
        self, text: Callable[..., str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._text = text
        self._clock = clock
        self._last_s = clock()

    def __call__(self, *numbers: int) -> None:
        """Take how far it is; say so when a second has passed since the last time."""
        now_s = self._clock()
        if now_s - self._last_s >= 1.0:
            self._last_s = now_s
            sys.stderr.write(f"de39: {self._text(*numbers)}\n")
            sys.stderr.flush()


def records_progress(verb: str) -> Progress:
    """Return the progress of work that tells its count of records first."""
    return Progress(lambda count, *_: f"{count:,} records {verb}")


def print_json(answer: Mapping[str, Any]) -> None:
    """Print one JSON object on one line."""
    sys.stdout.write(json_format.dumps(answer) + "\n")


def print_answer(answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Print an answer: one JSON object, or a line a key.

    What a key holds of its own, an object or a list of objects, stands indented below it, an object
    of a list on one line; nothing and an empty list are "none".
    """
    if as_json:
        print_json(answer)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(answer)))


def _lines(answer: Mapping[str, Any]) -> list[str]:
    width = max(map(len, answer), default=0)
    lines = []
    for name, value in answer.items():
        if isinstance(value, Mapping) and value:
            lines += [name, *(f"  {line}" for line in _lines(value))]
        elif isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            rows = ("  ".join(f"{key} {part}" for key, part in row.items()) for row in value)
            lines += [name, *(f"  {row}" for row in rows)]
        else:
            is_none = value is None or value in ([], {})
            lines.append(f"{name:<{width}}  {'none' if is_none else value}")
    return lines
