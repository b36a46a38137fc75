"""Dialects as arrays: what the codec kernels read, one row a dialect.

Several dialects are served side by side, so the arrays of all are stacked and a segment of bytes
names its row. Codes are small integers per field and per dialect, so a further encoding is a
further code, not a further kernel.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.wire.columns import FIELD_COUNT
from engine.wire.dialect import USE_LIMIT, Dialect, Field, Use

MTI_COUNT = 10_000
DECISION_COUNT = 1000
_MAX_DIALECTS = 64
_MAX_MESSAGES = 127


class FrameFault(IntEnum):
    """Why a link must be closed: after any of these no next frame can be found."""

    NONE = 0
    TOO_LONG = 1  # the header announces more than the dialect's max_bytes
    TOO_SHORT = 2  # less than an MTI and a bitmap, and not the zero of a keep-alive


class Char(IntEnum):
    """Bits of the character table: which format classes a byte belongs to."""

    DIGIT = 1
    LETTER_SPACE = 2  # a
    WORD = 4  # an: letters, digits, space
    PRINTABLE = 8  # ans: 0x20-0x7E
    NO_LETTER = 16  # ns: printable without letters
    TRACK = 32  # z: digits, = and D
    HEX = 64
    SIGN = 128  # C or D
    ANY = 256


SEGMENT = np.dtype(
    [
        ("start", "<i8"),  # in: arena offset of the first byte of one link
        ("end", "<i8"),  # in: arena offset after its last byte
        ("consumed", "<i8"),  # out: bytes taken from start; the rest is offered again
        ("dialect", "<i4"),  # in: row of the dialect table
        ("fault", "<i4"),  # out: FrameFault; not 0 = close the link after answering its rows
        ("first_row", "<i4"),  # out: first REQUEST row of this link
        ("row_count", "<i4"),  # out
        ("keepalives", "<i4"),  # out: frames of length zero taken
        ("keepalives_last", "<i4"),  # out: of these, the ones after the last message
    ]
)
FRAMING = np.dtype(
    [
        ("max_bytes", "<i4"),
        ("min_bytes", "<i4"),
        ("bitmap_hex", "u1"),  # 1 = 16 hex characters a bitmap, 0 = 8 bytes
        ("mti_code", "u1"),  # 0 = ASCII
        ("header_bytes", "u1"),  # big-endian, not counting itself
        ("spare", "u1"),
    ]
)
FIELD = np.dtype(
    [
        ("size", "<u2"),  # exact or largest length in bytes on the wire; 0 = not in the dialect
        ("char_bits", "<u2"),  # class every byte must have
        ("prefix_digits", "u1"),  # 0 = fixed
        ("prefix_code", "u1"),  # 0 = ASCII digits
        ("data_code", "u1"),  # 0 = as is, 1 = hex characters
        ("use", "u1"),
        ("signed", "u1"),  # 1 = the first byte is C or D
        ("spare", "u1", (7,)),
    ]
)
MESSAGE = np.dtype(
    [
        ("mandatory_hi", "<u8"),  # DE n <= 64: bit 64 - n
        ("mandatory_lo", "<u8"),  # DE n > 64: bit 128 - n
        ("echo_hi", "<u8"),
        ("echo_lo", "<u8"),
        ("needs_pan", "u1"),
        ("spare", "u1", (7,)),
    ]
)

_CHAR_OF_FORMAT = {
    "n": Char.DIGIT,
    "a": Char.LETTER_SPACE,
    "an": Char.WORD,
    "ans": Char.PRINTABLE,
    "ns": Char.NO_LETTER,
    "z": Char.TRACK,
    "b": Char.ANY,
    "x+n": Char.DIGIT,
}

Array = NDArray[Any]


class DialectTable(NamedTuple):
    """The arrays of D dialects, passed to the kernels as one argument."""

    framing: Array  # FRAMING[D]
    fields: Array  # FIELD[D, 129]
    message_of: NDArray[np.int8]  # i1[D, 10000]: MTI -> row of messages; 0 = not described
    messages: Array  # MESSAGE[D, M]; row 0 = for what is not described
    responses: NDArray[np.uint16]  # u2[D, 1000]: Decision -> DE39, first character in the low byte
    chars: NDArray[np.uint16]  # u2[256]: Char bits of a byte
    number_of: NDArray[np.uint8]  # u1[D, 32]: Use -> field number; 0 = none
    lowest_bit: NDArray[np.uint8]  # u1[64]: position of a lone bit, by De Bruijn product


def compile_dialects(dialects: Sequence[Dialect]) -> DialectTable:
    """Stack the dialects; the row of each is its place in the sequence.

    Raises
    ------
    ValueError
        No dialect, or more than 64.
    """
    count = len(dialects)
    if not 1 <= count <= _MAX_DIALECTS:
        raise ValueError(f"{count} dialects: 1 to {_MAX_DIALECTS} can be served together")
    message_rows = 1 + max(len({m.mti for m in d.messages.values()}) for d in dialects)
    if message_rows > _MAX_MESSAGES:
        raise ValueError(f"{message_rows} messages in a dialect: at most {_MAX_MESSAGES}")
    table = DialectTable(
        framing=np.zeros(count, FRAMING),
        fields=np.zeros((count, FIELD_COUNT), FIELD),
        message_of=np.zeros((count, MTI_COUNT), np.int8),
        messages=np.zeros((count, message_rows), MESSAGE),
        responses=np.zeros((count, DECISION_COUNT), np.uint16),
        chars=character_classes(),
        number_of=np.zeros((count, USE_LIMIT), np.uint8),
        lowest_bit=_lowest_bit_table(),
    )
    for row, dialect in enumerate(dialects):
        _fill(table, row, dialect)
    return table


def _fill(table: DialectTable, row: int, dialect: Dialect) -> None:
    framing = dialect.framing
    table.framing[row]["max_bytes"] = framing.max_bytes
    table.framing[row]["min_bytes"] = framing.min_bytes
    table.framing[row]["header_bytes"] = framing.header_bytes
    table.framing[row]["bitmap_hex"] = dialect.encoding.bitmap == "hex"
    for number, field in dialect.fields.items():
        table.fields[row, number] = _field_row(field)
        if field.use != Use.NONE:
            table.number_of[row, field.use] = number
    table.messages[row, 0] = (*(0, 0), *mask_words(dialect.unknown_echo), 0, 0)
    numbers: dict[int, int] = {}
    for mti, message in dialect.messages.items():
        index = numbers.setdefault(message.mti, 1 + len(numbers))
        mandatory, echo = mask_words(message.mandatory), mask_words(message.echo)
        table.messages[row, index] = (*mandatory, *echo, message.needs_pan, 0)
        table.message_of[row, mti] = index
    for decision, code in dialect.response_codes.items():
        table.responses[row, decision] = response_number(code)


def _field_row(field: Field) -> tuple[int, ...]:
    bits = Char.HEX if field.is_hex else _CHAR_OF_FORMAT[field.format]
    signed = field.format == "x+n"
    return field.size, bits, field.prefix_digits, 0, int(field.is_hex), field.use, signed, 0


def mask_words(numbers: Iterable[int]) -> tuple[int, int]:
    """Return the field numbers as the two bitmap words of REQUEST."""
    high = sum(1 << (64 - n) for n in set(numbers) if n <= 64)
    low = sum(1 << (128 - n) for n in set(numbers) if n > 64)
    return high, low


def response_number(code: str) -> int:
    """Return the two characters of DE39 as columns hold them: the first in the low byte."""
    return int.from_bytes(code.encode("ascii"), "little")


def character_classes() -> NDArray[np.uint16]:
    """Return the table u2[256] of the Char bits of each byte."""
    chars = np.full(256, Char.ANY, np.uint16)
    digits, letters = b"0123456789", bytes(range(65, 91)) + bytes(range(97, 123))
    classes = {
        Char.DIGIT: digits,
        Char.LETTER_SPACE: letters + b" ",
        Char.WORD: letters + digits + b" ",
        Char.PRINTABLE: bytes(range(0x20, 0x7F)),
        Char.NO_LETTER: bytes(set(range(0x20, 0x7F)) - set(letters)),
        Char.TRACK: digits + b"=D",
        Char.HEX: digits + b"abcdefABCDEF",
        Char.SIGN: b"CD",
    }
    for bit, members in classes.items():
        chars[list(members)] |= np.uint16(bit)
    return chars


DE_BRUIJN = 0x03F79D71B4CB0A89  # every six consecutive bits differ, so a lone bit is known by them


def _lowest_bit_table() -> NDArray[np.uint8]:
    table = np.zeros(64, np.uint8)
    for position in range(64):
        table[((DE_BRUIJN << position) & ((1 << 64) - 1)) >> 58] = position
    return table
