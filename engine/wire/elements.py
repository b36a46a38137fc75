"""What a dialect is made of, once its file is read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from engine.wire.dialect_file import Format, PartsKind, Sensitivity
from engine.wire.uses import Use


class Code(IntEnum):
    """How the data of a field are written."""

    ASCII = 0
    ASCII_HEX = 1  # bytes as hex characters
    EBCDIC = 2
    EBCDIC_HEX = 3
    BCD = 4  # two digits a byte; an odd one has its half byte before it
    BCD_LEFT = 5  # the same, the odd half byte after the last digit
    RAW = 6


class Prefix(IntEnum):
    """How a length is written."""

    FIXED = 0  # no prefix
    ASCII = 1
    EBCDIC = 2
    BCD = 3
    BINARY = 4  # big-endian


class Unit(IntEnum):
    """What a length counts."""

    BYTES = 0  # on the wire
    DIGITS = 1  # half bytes
    HEX_BYTES = 2  # bytes that are written as two hex characters each


@dataclass(frozen=True, slots=True)
class Field:
    """One data element, or one element inside a data element.

    ``size`` is its exact or largest length in bytes on the wire, ``limit`` the same in ``unit``.
    """

    number: int
    name: str
    format: Format
    prefix_digits: int  # digits of the length prefix; 0 = fixed length
    size: int
    sensitivity: Sensitivity
    use: Use
    code: Code
    prefix: Prefix
    prefix_bytes: int
    unit: Unit
    limit: int
    pad: int  # the half byte that fills up an odd number of digits: 0 or 15

    @property
    def is_hex(self) -> bool:
        """Whether bytes are written as hex characters."""
        return self.code in (Code.ASCII_HEX, Code.EBCDIC_HEX)

    @property
    def is_bcd(self) -> bool:
        """Whether digits are written two a byte."""
        return self.code in (Code.BCD, Code.BCD_LEFT)


@dataclass(frozen=True, slots=True)
class Tag:
    """An element inside a field that is known by name."""

    name: str
    sensitivity: Sensitivity
    use: Use = Use.NONE


@dataclass(frozen=True, slots=True)
class Parts:
    """How a field is divided."""

    kind: PartsKind
    bitmap_bytes: int
    lead: int
    fields: Mapping[int, Field] = field(repr=False)
    tags: Mapping[str, Tag] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Presence:
    """Fields that a message must carry; ``needs_pan``: a card number in its field or on a track."""

    mandatory: tuple[int, ...]
    needs_pan: bool


@dataclass(frozen=True, slots=True)
class Message:
    """What a request must carry and what its answer repeats. ``mti`` 100 is 0100, 1100 and 2100.

    ``by_pcode`` is what the first pair of DE3 changes; ``key`` names what makes two messages one.
    """

    mti: int
    repeats: tuple[int, ...]
    mandatory: tuple[int, ...]
    needs_pan: bool
    echo: tuple[int, ...]
    by_pcode: Mapping[int, Presence]
    key: tuple[str, ...]
    deadline_ms: int
