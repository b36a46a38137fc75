"""Dialects: what an ISO 8583 counterparty speaks, as data, read from one TOML file each.

A dialect says how frames, MTI, bitmap and fields are written, how sensitive each field is, which
fields a message must carry, which come back in its answer, and which response codes differ from
the default. Nothing here is code of one counterparty: a further one is a further file.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from engine.decision import DEFAULT_RESPONSE, Decision

DIALECT_FOLDER = Path(__file__).parent / "dialects"
BUILTIN_DIALECTS = ("iso87-bin", "iso87-hex")

Format = Literal["n", "a", "an", "ans", "ns", "b", "z", "x+n"]
Length = Literal["fixed", "LL", "LLL"]
Sensitivity = Literal["public", "pan", "track", "pin", "cvv"]

_MAX_FRAME_BYTES = 32768  # spans are uint16 and an arena holds many frames
_PREFIX_DIGITS = {"fixed": 0, "LL": 2, "LLL": 3}


class DialectError(ValueError):
    """A dialect file that cannot be used; the text names the file, the entry and the reason."""

    exit_code = 78  # as of ``engine.errors.ConfigError``


class Use(IntEnum):
    """Which REQUEST column the engine fills from a field; a file names it in lower case."""

    NONE = 0
    PAN = 1
    TRACK1 = 2
    TRACK2 = 3
    MERCHANT = 4
    PCODE = 5
    AMOUNT = 6
    BILLING_AMOUNT = 7
    TRANSMITTED = 8  # MMDDhhmmss
    STAN = 9
    LOCAL_TIME = 10  # hhmmss
    LOCAL_DATE = 11  # MMDD
    EXPIRY = 12  # YYMM
    MCC = 13
    COUNTRY = 14
    ENTRY_MODE = 15
    CONDITION = 16
    ACQUIRER = 17
    FORWARDER = 18
    NETWORK_CODE = 19
    RRN = 20
    TERMINAL = 21
    CURRENCY = 22
    BILLING_CURRENCY = 23
    ORIGINAL = 24  # MTI 4, STAN 6, transmitted 10, acquirer 11, forwarder 11
    REPLACEMENT = 25  # the first 12 characters are the amount


USE_LIMIT = 32  # every Use is below

# The kernels read these fields without looking at their declaration again: (format, length kind,
# size). A size under "LL" is the largest that fits the column.
_USE_SHAPE: dict[Use, tuple[tuple[str, ...], str, int]] = {
    Use.PAN: (("n",), "LL", 19),
    Use.PCODE: (("n",), "fixed", 6),
    Use.AMOUNT: (("n",), "fixed", 12),
    Use.BILLING_AMOUNT: (("n",), "fixed", 12),
    Use.TRANSMITTED: (("n",), "fixed", 10),
    Use.STAN: (("n",), "fixed", 6),
    Use.LOCAL_TIME: (("n",), "fixed", 6),
    Use.LOCAL_DATE: (("n",), "fixed", 4),
    Use.EXPIRY: (("n",), "fixed", 4),
    Use.MCC: (("n",), "fixed", 4),
    Use.COUNTRY: (("n",), "fixed", 3),
    Use.ENTRY_MODE: (("n",), "fixed", 3),
    Use.CONDITION: (("n",), "fixed", 2),
    Use.ACQUIRER: (("n",), "LL", 18),
    Use.FORWARDER: (("n",), "LL", 18),
    Use.TRACK2: (("z",), "LL", 37),
    Use.RRN: (("n", "an", "ans"), "fixed", 12),
    Use.TERMINAL: (("n", "an", "ans"), "fixed", 8),
    Use.MERCHANT: (("n", "an", "ans"), "fixed", 15),
    Use.TRACK1: (("ans",), "LL", 76),
    Use.CURRENCY: (("n", "an"), "fixed", 3),
    Use.BILLING_CURRENCY: (("n", "an"), "fixed", 3),
    Use.NETWORK_CODE: (("n",), "fixed", 3),
    Use.ORIGINAL: (("n", "an"), "fixed", 42),
    Use.REPLACEMENT: (("n", "an"), "fixed", 42),
}


class Framing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How messages are cut out of the byte stream. Bounds are of the message without its header."""

    header_bytes: Literal[2]
    max_bytes: int
    min_bytes: int


class Encoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How each kind of element is written on the wire."""

    mti: Literal["ascii"]
    length: Literal["ascii"]
    text: Literal["ascii"]
    bitmap: Literal["binary", "hex"]
    binary: Literal["raw", "hex"]


class _FieldEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    format: Format
    length: Length
    max: int
    sensitivity: Sensitivity
    use: str = "none"


class _MessageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mandatory: tuple[int, ...]
    echo: tuple[int, ...]
    repeats: tuple[str, ...] = ()
    pan: bool = False


class _UnknownEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    echo: tuple[int, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    source: str
    framing: Framing
    encoding: Encoding
    fields: dict[str, Any]
    messages: dict[str, Any]
    unknown: _UnknownEntry
    response_codes: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Field:
    """One data element: ``size`` is its exact or largest length in bytes on the wire."""

    number: int
    name: str
    format: Format
    prefix_digits: int  # digits of the length prefix; 0 = fixed length
    size: int
    sensitivity: Sensitivity
    use: Use
    is_hex: bool  # bytes written as hex characters


@dataclass(frozen=True, slots=True)
class Message:
    """What a request must carry and what its answer repeats. ``mti`` 100 is 0100."""

    mti: int
    repeats: tuple[int, ...]
    mandatory: tuple[int, ...]
    needs_pan: bool  # in its own field or on a track
    echo: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect, checked. ``response_codes`` has every Decision."""

    name: str
    source: str
    framing: Framing
    encoding: Encoding
    fields: Mapping[int, Field] = field(repr=False)
    messages: Mapping[int, Message] = field(repr=False)  # by MTI, repeats included
    unknown_echo: tuple[int, ...] = field(repr=False)
    response_codes: Mapping[Decision, str] = field(repr=False)

    def field_of(self, use: Use) -> int:
        """Return the number of the data element with this use; 0 when there is none."""
        return next((n for n, f in self.fields.items() if f.use == use), 0)


def load_builtin(name: str) -> Dialect:
    """Load a dialect that ships with the engine."""
    if name not in BUILTIN_DIALECTS:
        known = ", ".join(BUILTIN_DIALECTS)
        raise DialectError(f"unknown dialect {name!r}: the built-in ones are {known}")
    return load_dialect(DIALECT_FOLDER / f"{name}.toml")


def load_dialect(path: Path) -> Dialect:
    """Read and check a dialect file.

    Raises
    ------
    DialectError
        The file cannot be read or says something impossible; the text names file, entry and reason.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DialectError(f"{path}: cannot be read: {error}") from error
    return parse_dialect(text, str(path))


def parse_dialect(text: str, origin: str) -> Dialect:
    """Check the text of a dialect file; ``origin`` names it in errors."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DialectError(f"{origin}: not TOML: {error}") from error
    parsed = _convert(raw, _File, origin)
    _check_framing(parsed.framing, parsed.encoding, f"{origin}: framing")
    fields = _fields(parsed, origin)
    return Dialect(
        name=parsed.name,
        source=parsed.source,
        framing=parsed.framing,
        encoding=parsed.encoding,
        fields=MappingProxyType(fields),
        messages=MappingProxyType(_messages(parsed, fields, origin)),
        unknown_echo=_echo(parsed.unknown.echo, fields, f"{origin}: unknown"),
        response_codes=MappingProxyType(_responses(parsed.response_codes, origin)),
    )


def _convert(value: object, kind: type[Any], place: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise DialectError(f"{place}: {error}") from error


def _check_framing(framing: Framing, encoding: Encoding, place: str) -> None:
    least = 4 + (8 if encoding.bitmap == "binary" else 16)
    if not least <= framing.min_bytes <= framing.max_bytes <= _MAX_FRAME_BYTES:
        raise DialectError(
            f"{place}: {least} <= min_bytes <= max_bytes <= {_MAX_FRAME_BYTES} must hold, "
            f"not min_bytes {framing.min_bytes}, max_bytes {framing.max_bytes}"
        )


def _fields(parsed: _File, origin: str) -> dict[int, Field]:
    fields: dict[int, Field] = {}
    used: dict[Use, int] = {}
    for key, raw in parsed.fields.items():
        place = f"{origin}: fields.{key}"
        if not key.isascii() or not key.isdigit() or not 2 <= int(key) <= 128 or key[0] == "0":
            raise DialectError(f"{place}: a field is numbered 2 to 128")
        entry = _field(int(key), _convert(raw, _FieldEntry, place), parsed.encoding, place)
        if entry.use != Use.NONE and used.setdefault(entry.use, entry.number) != entry.number:
            other = used[entry.use]
            raise DialectError(f"{place}: use {entry.use.name.lower()!r} is taken by {other}")
        fields[entry.number] = entry
    _check_answer_fields(fields, origin)
    return dict(sorted(fields.items()))


def _field(number: int, entry: _FieldEntry, encoding: Encoding, place: str) -> Field:
    if entry.use not in {use.name.lower() for use in Use}:
        raise DialectError(f"{place}: unknown use {entry.use!r}")
    use = Use[entry.use.upper()]
    if use in _USE_SHAPE:
        formats, length, size = _USE_SHAPE[use]
        fits = entry.max == size if length == "fixed" else entry.max <= size
        if entry.format not in formats or entry.length != length or not fits:
            wanted = f"{'/'.join(formats)} {length} {size}"
            raise DialectError(f"{place}: use {entry.use!r} needs a field {wanted}")
    is_hex = entry.format == "b" and encoding.binary == "hex"
    size = entry.max * 2 if is_hex else entry.max + (entry.format == "x+n")
    prefix_digits = _PREFIX_DIGITS[entry.length]
    limit = 10**prefix_digits - 1 if prefix_digits else 999
    if entry.format == "x+n" and (entry.length != "fixed" or entry.max > 18):
        raise DialectError(f"{place}: format 'x+n' is fixed and has at most 18 digits")
    if not 1 <= size <= limit:
        raise DialectError(f"{place}: max {entry.max} is not a length of 1 to {limit} on the wire")
    return Field(
        number=number,
        name=entry.name,
        format=entry.format,
        prefix_digits=prefix_digits,
        size=size,
        sensitivity=entry.sensitivity,
        use=use,
        is_hex=is_hex,
    )


def _check_answer_fields(fields: Mapping[int, Field], origin: str) -> None:
    """Every answer writes 39, an approval 38: both must have the size that the encoder writes."""
    for number, size in ((38, 6), (39, 2)):
        found = fields.get(number)
        if found is None or found.prefix_digits or found.size != size or found.format == "b":
            raise DialectError(f"{origin}: fields.{number}: must be an, fixed, max {size}")
    if Use.STAN not in {f.use for f in fields.values()}:
        raise DialectError(f'{origin}: fields: no field has use = "stan"')


def _messages(parsed: _File, fields: Mapping[int, Field], origin: str) -> dict[int, Message]:
    messages: dict[int, Message] = {}
    card_uses = {Use.PAN, Use.TRACK1, Use.TRACK2}
    for key, raw in parsed.messages.items():
        place = f"{origin}: messages.{key}"
        entry = _convert(raw, _MessageEntry, place)
        for number in entry.mandatory:
            if number not in fields:
                raise DialectError(f"{place}: mandatory field {number} is not in the dialect")
        if entry.pan and card_uses.isdisjoint(f.use for f in fields.values()):
            raise DialectError(f"{place}: pan = true, but no field has use pan, track1 or track2")
        message = Message(
            mti=_request_mti(key, place),
            repeats=tuple(_request_mti(r, f"{place}.repeats") for r in entry.repeats),
            mandatory=tuple(sorted(set(entry.mandatory))),
            needs_pan=entry.pan,
            echo=_echo(entry.echo, fields, place),
        )
        for mti in (message.mti, *message.repeats):
            if mti in messages:
                raise DialectError(f"{place}: {mti:04d} is described twice")
            messages[mti] = message
    return messages


def _request_mti(text: str, place: str) -> int:
    if len(text) != 4 or not text.isascii() or not text.isdigit() or int(text[2]) % 2:
        raise DialectError(f"{place}: {text!r} is not the MTI of a request (four digits, xxEx)")
    return int(text)


def _echo(numbers: Sequence[int], fields: Mapping[int, Field], place: str) -> tuple[int, ...]:
    for number in numbers:
        found = fields.get(number)
        if found is None:
            raise DialectError(f"{place}: echo field {number} is not in the dialect")
        if number in (38, 39):
            raise DialectError(f"{place}: echo field {number} is written by the engine")
        if found.sensitivity not in ("public", "pan"):
            raise DialectError(f"{place}: echo field {number} is {found.sensitivity} data")
    return tuple(sorted(set(numbers)))


def _responses(overrides: Mapping[str, str], origin: str) -> dict[Decision, str]:
    codes = dict(DEFAULT_RESPONSE)
    for name, code in overrides.items():
        place = f"{origin}: response_codes.{name}"
        if name not in Decision.__members__:
            raise DialectError(f"{place}: no such decision")
        if len(code) != 2 or not code.isascii() or not code.isalnum():
            raise DialectError(f"{place}: {code!r} is not two letters or digits")
        codes[Decision[name]] = code
    return codes
