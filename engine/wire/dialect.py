"""Dialects: what an ISO 8583 counterparty speaks, as data, read from one TOML file each.

A dialect says how frames, MTI, bitmap and fields are written, how sensitive each field is, what
stands inside a field, which fields a message must carry, which come back in its answer, which
response codes differ from the default, and where its host behaves in its own way. Nothing here is
code of one counterparty: a further one is a further file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engine.decision import Decision
from engine.wire import checks
from engine.wire.dialect_file import (
    Encoding,
    File,
    FileError,
    Framing,
    convert,
    extend,
    line_of,
    read_text,
)
from engine.wire.elements import Field, Message, Parts
from engine.wire.uses import USE_LIMIT, Use

__all__ = [
    "BUILTIN_DIALECTS",
    "DIALECT_FOLDER",
    "USE_LIMIT",
    "Dialect",
    "DialectError",
    "Field",
    "Message",
    "Parts",
    "Use",
    "load_builtin",
    "load_dialect",
    "parse_dialect",
]

DIALECT_FOLDER = Path(__file__).parent / "dialects"
BUILTIN_DIALECTS = tuple(
    sorted((p.stem for p in DIALECT_FOLDER.glob("*.toml")), key=lambda n: (n != "iso87-bin", n))
)
_EXTENDS_MAX = 4  # files that extend one another


class DialectError(ValueError):
    """A dialect file that cannot be used; the text names the file, the entry and the reason."""

    exit_code = 78  # as of ``engine.errors.ConfigError``


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """One dialect, checked. ``response_codes`` has every Decision, two characters each.

    ``action_codes`` are what stands in DE39 where it has another size than two: by Decision, by
    two-character code, or by class of the message and code (``"4:00"``).
    """

    name: str
    source: str
    version: int  # of the standard, as the first digit of the MTI has it: 0, 1, 2
    framing: Framing
    encoding: Encoding
    fields: Mapping[int, Field] = field(repr=False)
    parts: Mapping[int, Parts] = field(repr=False)
    messages: Mapping[int, Message] = field(repr=False)  # by MTI, repeats included
    unknown_echo: tuple[int, ...] = field(repr=False)
    response_codes: Mapping[Decision, str] = field(repr=False)
    action_codes: Mapping[str, str] = field(repr=False)
    profile: tuple[int, ...] = field(repr=False)  # in order of ``Profile``

    def field_of(self, use: Use) -> int:
        """Return the number of the data element with this use; 0 when there is none."""
        return next((n for n, f in self.fields.items() if f.use == use), 0)


def load_builtin(name: str) -> Dialect:
    """Load a dialect that ships with the engine."""
    return load_dialect(_builtin_path(name))


def load_dialect(path: Path) -> Dialect:
    """Read and check a dialect file, and those that it extends.

    Raises
    ------
    DialectError
        A file cannot be read or says something impossible; the text names file, line, entry and
        reason.
    """
    return _load(_read(path), str(path), path.parent)


def parse_dialect(text: str, origin: str) -> Dialect:
    """Check the text of a dialect file; ``origin`` names it in errors."""
    return _load(text, origin, DIALECT_FOLDER)


def _builtin_path(name: str) -> Path:
    if name not in BUILTIN_DIALECTS:
        known = ", ".join(BUILTIN_DIALECTS)
        raise DialectError(f"unknown dialect {name!r}: the built-in ones are {known}")
    return DIALECT_FOLDER / f"{name}.toml"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DialectError(f"{path}: cannot be read: {error}") from error


def _load(text: str, origin: str, folder: Path) -> Dialect:
    texts = [(origin, text)]
    try:
        tables = _tables(texts, folder)
        return _dialect(tables)
    except FileError as problem:
        raise DialectError(_located(problem, texts)) from problem


def _tables(texts: list[tuple[str, str]], folder: Path) -> dict[str, Any]:
    """Read the last of ``texts`` and whatever it extends; the texts read are added."""
    own = read_text(texts[-1][1])
    parent = own.get("extends", "")
    if not parent:
        return own
    if not isinstance(parent, str) or len(texts) == _EXTENDS_MAX:
        raise FileError(("extends",), f"a name of a dialect, at most {_EXTENDS_MAX} files deep")
    path = folder / parent if parent.endswith(".toml") else _builtin_path(parent)
    texts.append((str(path), _read(path)))
    return extend(_tables(texts, path.parent), own)


def _located(problem: FileError, texts: list[tuple[str, str]]) -> str:
    """Return the error: the file and line that say most of the problem's path."""
    for depth in range(len(problem.path), 0, -1):
        for origin, text in texts:
            line = line_of(text, problem.path[:depth])
            if line and line != line_of(text, problem.path[: depth - 1]):
                return f"{origin}: line {line}: {problem.text}"
    return f"{texts[0][0]}: {problem.text}"


def _dialect(tables: dict[str, Any]) -> Dialect:
    parsed = convert(tables, File, ())
    checks.check_framing(parsed)
    fields = checks.fields_of(parsed)
    codes, action_codes = checks.codes_of(parsed, fields)
    return Dialect(
        name=parsed.name,
        source=parsed.source,
        version={1987: 0, 1993: 1, 2003: 2}[parsed.version],
        framing=parsed.framing,
        encoding=parsed.encoding,
        fields=MappingProxyType(fields),
        parts=MappingProxyType(checks.parts_of(parsed, fields)),
        messages=MappingProxyType(checks.messages_of(parsed, fields)),
        unknown_echo=checks.echo_of(parsed.unknown.echo, fields, ("unknown", "echo")),
        response_codes=MappingProxyType(codes),
        action_codes=MappingProxyType(action_codes),
        profile=checks.profile_of(parsed, fields),
    )
