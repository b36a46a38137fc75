"""The text of a dialect file as checked structures, and where in it a mistake stands.

``extends`` names another dialect; what a file says itself wins, table by table and key by key.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec

Format = Literal["n", "a", "an", "ans", "ns", "b", "z", "x+n"]
Length = Literal["fixed", "L", "LL", "LLL", "LLLL", "LLLLL", "LLLLLL"]
Sensitivity = Literal["public", "pan", "track", "pin", "cvv"]
TextCode = Literal["ascii", "cp037", "cp500", "cp1047"]
LengthCode = Literal["ascii", "ebcdic", "bcd", "binary"]
DataCode = Literal["", "ascii", "ebcdic", "bcd", "bcd-left", "raw", "hex", "ebcdic-hex"]
Counts = Literal["characters", "bytes"]
PartsKind = Literal["tlv", "dataset", "pds", "se", "named", "bitmap", "positional"]
T = TypeVar("T")


class FileError(ValueError):
    """A mistake in a file: the keys that lead to its entry, those inside it, and what is wrong."""

    def __init__(self, path: tuple[str, ...], text: str, inner: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.path = (*path, *inner)
        places = (".".join(keys) for keys in (path, inner) if keys)
        self.text = ": ".join((*places, text))


class Framing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How messages are cut out of the byte stream. Bounds are of the message, from its MTI on."""

    header_bytes: Literal[2, 3, 4]  # of the length
    max_bytes: int
    min_bytes: int
    length: Literal["binary", "ascii", "bcd"] = "binary"
    counts: Literal["rest", "all"] = "rest"  # all: the length counts its own bytes too
    reserved_bytes: Literal[0, 1, 2] = 0  # zeros after the length, not counted
    envelope: Literal["none", "tpdu", "text", "visa"] = "none"
    envelope_bytes: int = 0
    envelope_text: str = ""  # how the envelope of kind text begins
    trailer: str = ""  # hex of a byte that ends each frame, counted in its length


class Encoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How each kind of element is written on the wire, unless its field says otherwise."""

    mti: Literal["ascii", "bcd", "ebcdic"]
    length: LengthCode
    text: TextCode
    bitmap: Literal["binary", "hex", "ebcdic-hex"]
    binary: Literal["raw", "hex", "ebcdic-hex"]
    digits: Literal["text", "bcd", "bcd-left"] = "text"  # of formats n and z
    pad: Literal["0", "F"] = "0"  # what fills the odd half byte of BCD
    counts: Counts = "characters"  # what length prefixes count: digits and hex digits, or bytes
    tertiary: bool = False  # bit 65 says that a third bitmap follows the second


class FieldEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of ``[fields]`` or of ``[parts.N.fields]``."""

    name: str
    format: Format
    length: Length
    max: int
    sensitivity: Sensitivity
    use: str = "none"
    code: DataCode = ""
    prefix: Literal["", "ascii", "ebcdic", "bcd", "binary"] = ""
    counts: Literal["", "characters", "bytes"] = ""
    pad: Literal["", "0", "F"] = ""


class TagEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of an element inside a field: its name, and what may be shown of it."""

    name: str
    sensitivity: Sensitivity = "cvv"
    use: str = "none"


class PartsEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[parts.N]``: how field N is divided."""

    kind: PartsKind
    bitmap_bytes: int = 8
    lead: int = 0  # characters before the first element
    fields: dict[str, Any] = {}
    tags: dict[str, TagEntry] = {}


class PresenceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields that a message must carry under one processing code."""

    mandatory: tuple[int, ...]
    pan: bool | None = None


class MessageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[messages."0100"]``."""

    mandatory: tuple[int, ...]
    echo: tuple[int, ...]
    repeats: tuple[str, ...] = ()
    pan: bool = False
    pcode: dict[str, PresenceEntry] = {}
    key: tuple[str, ...] | None = None
    deadline_ms: int = 0  # 0 = the engine's own


class UnknownEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[unknown]``: messages without an entry."""

    echo: tuple[int, ...]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file; tables of many rows are checked row by row."""

    name: str
    source: str
    framing: Framing
    encoding: Encoding
    fields: dict[str, Any]
    messages: dict[str, Any]
    unknown: UnknownEntry
    extends: str = ""
    version: Literal[1987, 1993, 2003] = 1987
    without: tuple[int, ...] = ()  # fields of the extended dialect that this one lacks
    without_messages: tuple[str, ...] = ()
    parts: dict[str, Any] = {}
    response_codes: dict[str, str] = {}
    action_codes: dict[str, str] = {}
    profile: dict[str, str | int | bool] = {}


def read_text(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text; raise FileError where it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileError((), f"not TOML: {error}") from error


def merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with what ``own`` says: tables key by key, anything else replaced."""
    merged = dict(base)
    for key, value in own.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]  # ``both`` says so
    return merged


def extend(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of a file that extends another one."""
    merged = merge(base, own)
    _drop(merged.get("fields", {}), own.get("without", ()), "without")
    _drop(merged.get("parts", {}), list(own.get("without", ())), "", strict=False)
    _drop(merged.get("messages", {}), own.get("without_messages", ()), "without_messages")
    return merged


def _drop(table: dict[str, Any], names: Sequence[object], key: str, *, strict: bool = True) -> None:
    for name in names:
        if table.pop(str(name), None) is None and strict:
            raise FileError((key,), f"{name} is not in the extended dialect")


def convert(value: object, kind: type[T], path: tuple[str, ...]) -> T:
    """Check a table; raise FileError with the path of what is wrong."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        inner = re.findall(r"\.([\w+-]+)|\[(\d+|\.\.\.)\]", place)
        raise FileError(path, reason, tuple(key for key, _ in inner if key)) from error


def line_of(text: str, path: Sequence[str]) -> int:
    """Return the number of the line where the keys of ``path`` stand, as deep as they do; 0 = none.

    A line counts for the longest beginning of the path that it names, by its table's header and
    the key that it starts with.
    """
    best, found = 0, 0
    for number, keys in _named_lines(text):
        depth = 0
        for key, wanted in zip(keys, path, strict=False):
            if key != wanted:
                break
            depth += 1
        if depth > best and depth == len(keys):
            best, found = depth, number
    return found


def _named_lines(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?$", line)
        if header:
            table = _keys(header[1])
            yield number, table
            continue
        key = re.match(r"\s*((?:[\w+-]+|\"[^\"]*\")(?:\s*\.\s*(?:[\w+-]+|\"[^\"]*\"))*)\s*=", line)
        if key:
            yield number, (*table, *_keys(key[1]))


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(bare or quoted for quoted, bare in re.findall(r"\"([^\"]*)\"|([\w+-]+)", dotted))
