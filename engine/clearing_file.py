"""Clearing and repayment files: CSV, read whole and checked whole before anything of it is sent.

UTF-8, a header line with the names of ``engine.filing.Clearing`` or ``Repayment`` in any order;
what has a default may be left out. A file whose last line does not end is refused: it was cut
short. An error names line and column and what would be right, and shows no card number.
"""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec

from engine import limits
from engine.errors import ProblemFoundError
from engine.filing import ITEM_MINOR_MAX, Clearing, Item, Repayment, faults_of
from engine.importing import PROBLEMS_MAX, Problem, parse_pan
from ledger.pan import Pan

PROGRESS_ROWS = 8192
_YES_NO = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}
_WHOLE = frozenset({"amount_minor", "authorization", "scheme"})


class ClearingFileError(ProblemFoundError):
    """The file has errors and nothing of it was sent; ``problems`` has the first of them."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self.problems = problems
        more = "" if len(problems) == 1 else f" (and {len(problems) - 1} more)"
        super().__init__(f"{path}: {problems[0]}{more}; nothing was posted")


class Line(NamedTuple):
    """An item and the line it stands on."""

    line: int
    item: Item


def read_items(
    path: Path, kind: type[Item], on_progress: Callable[[int], None] = lambda _: None
) -> list[Line]:
    """Read and check a whole file; ``kind`` is Clearing or Repayment.

    ``on_progress`` is told the lines read now and then. Raises ``ClearingFileError``, or
    ``OSError`` when the file cannot be read.
    """
    raw = path.read_bytes()
    problems: list[Problem] = []
    lines: list[Line] = []
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        problem = Problem(line, "", "not UTF-8; expected CSV as text")
        raise ClearingFileError(path, [problem]) from None
    if text and not text.endswith("\n"):
        last = text.count("\n") + 1
        problem = Problem(last, "", "the last line does not end: the file was cut short")
        raise ClearingFileError(path, [problem])
    seen: dict[str, int] = {}
    for line, item, faults in _rows(text, kind):
        problems += [Problem(line, column, fault) for column, fault in faults]
        if item is not None:
            first = seen.setdefault(item.id, line)
            if first != line:
                problems.append(Problem(line, "id", f"the same id is on line {first}"))
            lines.append(Line(line, item))
        if len(problems) >= PROBLEMS_MAX:
            break
        if line % PROGRESS_ROWS == 0:
            on_progress(line)
    if not lines and not problems:
        problems.append(Problem(1, "", "expected at least one row after the header"))
    if problems:
        raise ClearingFileError(path, problems)
    return lines


def _rows(text: str, kind: type[Item]) -> Iterator[tuple[int, Item | None, list[tuple[str, str]]]]:
    """Yield (line, item or None, faults) of each row."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        faults = list(_header_faults(header, kind))
        if faults:
            yield 1, None, faults
            return
        for row in reader:
            line = reader.line_num
            if line - 1 > limits.IMPORT_ROWS_MAX:
                yield line, None, [("", f"expected at most {limits.IMPORT_ROWS_MAX} rows")]
                return
            if not row:
                continue
            if len(row) != len(header):
                yield line, None, [("", f"expected {len(header)} fields, found {len(row)}")]
                continue
            item, faults = _item(dict(zip(header, row, strict=True)), kind)
            yield line, item, faults
    except csv.Error as error:
        yield max(reader.line_num, 1), None, [("", str(error))]


def _header_faults(header: list[str], kind: type[Item]) -> Iterator[tuple[str, str]]:
    fields = msgspec.structs.fields(kind)
    known = [field.name for field in fields]
    for place, name in enumerate(header, 1):
        if name not in known:  # it is not repeated: without a header it may be a card number
            text = f"value {place} of the header names no column"
            yield "", f"{text}; expected some of {', '.join(known)}"
            return
    if len(set(header)) != len(header):
        yield "", "the header names a column twice"
    for field in fields:
        if field.required and field.name not in header:
            yield field.name, "the header lacks this column"


def _item(row: dict[str, str], kind: type[Item]) -> tuple[Item | None, list[tuple[str, str]]]:
    values: dict[str, Any] = {}
    faults: list[tuple[str, str]] = []
    for name, text in row.items():
        if text == "":
            continue
        try:
            values[name] = _value(name, text)
        except ValueError as problem:
            faults.append((name, str(problem)))
    if faults:
        return None, faults
    try:
        item = msgspec.convert(values, kind, dec_hook=_as_it_is)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("`$.")[2].strip("`") if "`$." in str(error) else ""
        return None, [(name, _expected(name, kind, error))]
    return item, list(faults_of(item))


def _value(name: str, text: str) -> Any:
    if name in _WHOLE:
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            most = f"1 to {ITEM_MINOR_MAX} minor units, a" if name == "amount_minor" else "a"
            raise ValueError(f"expected {most} whole number without a sign")
        return int(text)
    if name == "pan":
        return parse_pan(text)
    if name == "final":
        if text not in _YES_NO:
            raise ValueError("expected yes or no")
        return _YES_NO[text]
    return text


def _as_it_is(kind: type, value: object) -> object:
    if kind is Pan and isinstance(value, Pan):
        return value
    raise ValueError("not a card number")


def _expected(name: str, kind: type[Item], error: msgspec.ValidationError) -> str:
    if name == "type":
        types = get_args(get_type_hints(kind)["type"])
        return f"expected {', '.join(types)}"
    if name == "amount_minor":
        return f"expected 1 to {ITEM_MINOR_MAX} minor units, a whole number without a sign"
    if "missing required field" in str(error):
        return "a value is missing: " + str(error).rpartition("field ")[2]
    return "expected " + str(error).partition("Expected ")[2].partition(" - at")[0]


HEADERS = {
    Clearing: ",".join(Clearing.__struct_fields__),
    Repayment: ",".join(Repayment.__struct_fields__),
}
