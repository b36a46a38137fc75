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

from engine.decision import Decision
from engine.wire.charset import CHAR_OF_FORMAT, Char, ascii_of, byte_of, character_classes
from engine.wire.checks import KEY_PARTS
from engine.wire.columns import FIELD_COUNT
from engine.wire.dialect import Dialect
from engine.wire.elements import Code, Field, Message, Parts, Presence
from engine.wire.profile import Profile
from engine.wire.uses import TEXT_USES, USE_LIMIT, Use

__all__ = ["Char", "DialectTable", "character_classes", "compile_dialects"]

MTI_COUNT = 10_000
DECISION_COUNT = 1000
CODE_COUNT = 36 * 36  # of two letters or digits
PART_FIELDS = 65  # index = number inside the field; 0 unused
_CLASSES = 10  # of messages: the second digit of the MTI
_MAX_DIALECTS = 64
_MAX_MESSAGES = 127
_MAX_PARTS = 255
_TEXT_BYTES = 16


class FrameFault(IntEnum):
    """Why a link must be closed: after any of these no next frame can be found."""

    NONE = 0
    TOO_LONG = 1  # the header announces more than the dialect's max_bytes
    TOO_SHORT = 2  # less than an MTI and a bitmap, and not the zero of a keep-alive
    NOT_DIGITS = 3  # the length is to be of digits and is not
    ENVELOPE = 4  # what stands before the MTI is not the dialect's header
    TRAILER = 5  # the frame does not end with the dialect's trailer


class Envelope(IntEnum):
    """What stands between length and MTI, and how it goes back."""

    NONE = 0
    TPDU = 1  # identifier, destination 2, source 2: these are exchanged; more comes back as it came
    TEXT = 2  # begins with a given text; comes back as it came
    VISA = 3  # its own length first; destination and source station are exchanged


class Way(IntEnum):
    """Fields that most messages are made of, and that are read in fewer steps than any."""

    ANY = 0
    ASCII_DIGITS = 1  # of a fixed number of 1 to 16; the same of the others
    EBCDIC_DIGITS = 2
    BCD_DIGITS = 3


class PartsKind(IntEnum):
    """How a field is divided."""

    NONE = 0
    TLV = 1  # BER-TLV
    DATASET = 2  # identifier 1, length 2, BER-TLV
    PDS = 3  # tag 4, length 3
    SE = 4  # identifier 2, length 2
    NAMED = 5  # digits of the length 1, length, name; the same of the value
    BITMAP = 6
    POSITIONAL = 7


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
        ("header_bytes", "u1"),  # of the length
        ("length_code", "u1"),  # 0 = big-endian, 1 = ASCII digits, 2 = BCD
        ("counts_all", "u1"),  # 1 = the length counts its own bytes
        ("reserved_bytes", "u1"),
        ("envelope", "u1"),  # Envelope
        ("envelope_bytes", "u1"),  # of the shortest one
        ("has_trailer", "u1"),
        ("trailer", "u1"),
        ("mti_code", "u1"),  # 0 = ASCII, 1 = EBCDIC, 2 = BCD
        ("version", "u1"),  # first digit of the MTI
        ("bitmap_hex", "u1"),  # 0 = 8 bytes a bitmap, 1 = 16 hex characters, 2 = the same in EBCDIC
        ("has_third", "u1"),  # 1 = bit 65 says that a third bitmap follows
        ("drops_versions", "u1"),  # 1 = another version is not answered
        ("is_plain", "u1"),  # 1 = all that is read as characters is in ASCII
        ("networks", "u1"),  # 1 = network codes are other than those of 1987
        ("action_width", "u1"),  # bytes of DE39 on the wire
        ("text", "u1", (_TEXT_BYTES,)),  # how an envelope of kind TEXT begins
        ("text_bytes", "u1"),
        ("stan_digits", "u1"),
        ("moment_digits", "u1"),  # of a local date and time in one field
        ("spare", "u1"),
    ]
)
FIELD = np.dtype(
    [
        ("size", "<u2"),  # exact or largest length in bytes on the wire; 0 = not in the dialect
        ("limit", "<u2"),  # the same in ``unit``
        ("char_bits", "<u2"),  # class every byte must have
        ("way", "u1"),  # Way
        ("prefix_bytes", "u1"),
        ("prefix_code", "u1"),  # Prefix
        ("data_code", "u1"),  # Code
        ("unit", "u1"),  # Unit
        ("use", "u1"),
        ("signed", "u1"),  # 1 = the first byte is C or D, 2 = the same in EBCDIC
        ("pad", "u1"),  # what fills an odd half byte
        ("part", "u1"),  # row of ``parts``; 0 = not divided
        ("flags", "u1"),  # bits of what is not plain, below
    ]
)
IS_HEX = 1  # lengths are even
IS_TURNED = 2  # to be turned into ASCII
IS_DIVIDED = 4  # has a row of ``parts``
IS_COUNTED = 8  # in another unit than bytes
PART = np.dtype(
    [("kind", "u1"), ("bitmap_bytes", "u1"), ("lead", "u1"), ("spare", "u1"), ("dialect", "<i4")]
)
MESSAGE = np.dtype(
    [
        ("mandatory_hi", "<u8"),  # DE n <= 64: bit 64 - n
        ("mandatory_lo", "<u8"),  # DE n > 64: bit 128 - n
        ("echo_hi", "<u8"),
        ("echo_lo", "<u8"),
        ("needs_pan", "u1"),
        ("has_variants", "u1"),  # 1 = DE3 says which row of ``messages`` holds
        ("spare", "u1", (2,)),
        ("deadline_ms", "<i4"),
        ("key_bits", "<i4"),
    ]
)
Array = NDArray[Any]


class DialectTable(NamedTuple):
    """The arrays of D dialects, passed to the kernels as one argument."""

    framing: Array  # FRAMING[D]
    fields: Array  # FIELD[D, 193]
    message_of: NDArray[np.int8]  # i1[D, 10000]: MTI -> row of messages; 0 = not described
    messages: Array  # MESSAGE[D, M]; row 0 = for what is not described
    variants: NDArray[np.int8]  # i1[D, M, 100]: first pair of DE3 -> row of messages
    responses: NDArray[np.uint16]  # u2[D, 1000]: Decision -> DE39, first character in the low byte
    actions: NDArray[np.uint32]  # u4[D, 1000]: the same of a wider DE39; 0 = by its two characters
    action_of: NDArray[np.uint32]  # u4[D, 10, 1296]: class of MTI, two characters -> wider DE39
    chars: NDArray[np.uint16]  # u2[1 + D, 256]: Char bits of a byte: ASCII, each dialect's EBCDIC
    to_ascii: NDArray[np.uint8]  # u1[D, 256]: from the dialect's EBCDIC; 255 = none
    from_ascii: NDArray[np.uint8]  # u1[D, 256]
    number_of: NDArray[np.uint8]  # u1[D, 46]: Use -> field number; 0 = none
    profile: NDArray[np.int64]  # i8[D, P]: see ``Profile``
    lifts: NDArray[np.int64]  # i8[D, 2]: see ``engine.wire.lift_kernels``
    parts: Array  # PART[P + 1]: how fields are divided; row 0 unused
    part_fields: Array  # FIELD[P + 1, 65]


def compile_dialects(dialects: Sequence[Dialect]) -> DialectTable:
    """Stack the dialects; the row of each is its place in the sequence.

    Raises
    ------
    ValueError
        No dialect, or more than 64, or more messages or divided fields than there are rows.
    """
    count = len(dialects)
    if not 1 <= count <= _MAX_DIALECTS:
        raise ValueError(f"{count} dialects: 1 to {_MAX_DIALECTS} can be served together")
    message_rows = 1 + max(_message_rows(dialect) for dialect in dialects)
    if message_rows > _MAX_MESSAGES:
        raise ValueError(f"{message_rows} messages in a dialect: at most {_MAX_MESSAGES}")
    part_rows = 1 + sum(len(dialect.parts) for dialect in dialects)
    if part_rows > _MAX_PARTS:
        raise ValueError(f"{part_rows} divided fields: at most {_MAX_PARTS}")
    table = DialectTable(
        framing=np.zeros(count, FRAMING),
        fields=np.zeros((count, FIELD_COUNT), FIELD),
        message_of=np.zeros((count, MTI_COUNT), np.int8),
        messages=np.zeros((count, message_rows), MESSAGE),
        variants=np.zeros((count, message_rows, 100), np.int8),
        responses=np.zeros((count, DECISION_COUNT), np.uint16),
        actions=np.zeros((count, DECISION_COUNT), np.uint32),
        action_of=np.zeros((count, _CLASSES, CODE_COUNT), np.uint32),
        chars=np.zeros((1 + count, 256), np.uint16),
        to_ascii=np.zeros((count, 256), np.uint8),
        from_ascii=np.zeros((count, 256), np.uint8),
        number_of=np.zeros((count, USE_LIMIT), np.uint8),
        profile=np.zeros((count, len(Profile)), np.int64),
        lifts=np.array([_lift_of(dialect) for dialect in dialects], np.int64),
        parts=np.zeros(part_rows, PART),
        part_fields=np.zeros((part_rows, PART_FIELDS), FIELD),
    )
    table.chars[0] = character_classes()
    next_part = 1
    for row, dialect in enumerate(dialects):
        _fill(table, row, dialect)
        next_part = _fill_parts(table, row, dialect, next_part)
        for number, field in dialect.fields.items():
            table.fields[row, number]["way"] = _way(field, int(table.fields[row, number]["flags"]))
    return table


def _lift_of(dialect: Dialect) -> tuple[int, int]:
    """Return (field, tag or 0) that say whether a part is taken, where decoding does not read it.

    A digit of its own is read when it is decoded, inside a field too.
    """
    for number, parts in dialect.parts.items():
        for tag, entry in parts.tags.items():
            if entry.use == Use.PARTIAL:
                return number, int(tag)
    number = dialect.field_of(Use.PARTIAL)
    return (number, 0) if number and dialect.fields[number].format != "n" else (0, 0)


def _message_rows(dialect: Dialect) -> int:
    described = {m.mti: m for m in dialect.messages.values()}
    return sum(1 + len(m.by_pcode) for m in described.values())


def _fill(table: DialectTable, row: int, dialect: Dialect) -> None:
    page = "cp037" if dialect.encoding.text == "ascii" else dialect.encoding.text
    table.chars[1 + row] = character_classes(page)
    table.to_ascii[row], table.from_ascii[row] = ascii_of(page), byte_of(page)
    table.profile[row] = dialect.profile
    for number, field in dialect.fields.items():
        table.fields[row, number] = _field_row(field, dialect)
        if field.use != Use.NONE:
            table.number_of[row, field.use] = number
    _fill_framing(table.framing, row, dialect)
    is_turned = not table.framing[row]["is_plain"]
    for field in dialect.fields.values():
        if is_turned and field.use in TEXT_USES:
            table.fields[row, field.number]["flags"] |= IS_TURNED
    _fill_messages(table, row, dialect)
    _fill_codes(table, row, dialect)


def _fill_framing(framing: Array, row: int, dialect: Dialect) -> None:
    own, encoding, into = dialect.framing, dialect.encoding, framing[row]
    into["max_bytes"], into["min_bytes"] = own.max_bytes, own.min_bytes
    into["header_bytes"], into["reserved_bytes"] = own.header_bytes, own.reserved_bytes
    into["length_code"] = ("binary", "ascii", "bcd").index(own.length)
    into["counts_all"] = own.counts == "all"
    into["envelope"] = Envelope[own.envelope.upper()]
    into["envelope_bytes"] = own.envelope_bytes
    into["has_trailer"] = bool(own.trailer)
    into["trailer"] = int(own.trailer or "0", 16)
    into["mti_code"] = ("ascii", "ebcdic", "bcd").index(encoding.mti)
    into["version"] = dialect.version
    into["bitmap_hex"] = ("binary", "hex", "ebcdic-hex").index(encoding.bitmap)
    into["has_third"] = encoding.tertiary
    into["drops_versions"] = dialect.profile[Profile.UNSUPPORTED_VERSION]
    read = [f for f in dialect.fields.values() if f.use in TEXT_USES]
    into["is_plain"] = all(f.code in (Code.ASCII, Code.RAW) for f in read)
    codes = (Profile.SIGN_ON, Profile.SIGN_OFF, Profile.ECHO_TEST, Profile.KEY_CHANGE)
    values = [dialect.profile[code] for code in (*codes, Profile.CUT_OVER)]
    into["networks"] = values != [1, 2, 301, 161, 201]
    into["action_width"] = dialect.fields[39].limit
    moment = dialect.field_of(Use.LOCAL_MOMENT)
    into["moment_digits"] = dialect.fields[moment].limit if moment else 12
    into["stan_digits"] = dialect.fields[dialect.field_of(Use.STAN)].limit
    text = own.envelope_text.encode("ascii")[:_TEXT_BYTES]
    into["text"][: len(text)] = np.frombuffer(text, np.uint8)
    into["text_bytes"] = len(text)


def _fill_messages(table: DialectTable, row: int, dialect: Dialect) -> None:
    messages = table.messages[row]
    messages[0]["echo_hi"], messages[0]["echo_lo"] = mask_words(dialect.unknown_echo)
    messages[0]["key_bits"] = (1 << 5) - 1
    rows: dict[int, int] = {}
    used = 1
    for mti, message in dialect.messages.items():
        if message.mti not in rows:
            rows[message.mti] = used
            plain = Presence(message.mandatory, message.needs_pan)
            messages[used] = _message_row(message, plain)
            table.variants[row, used] = used
            for k, (pair, presence) in enumerate(message.by_pcode.items(), used + 1):
                messages[k] = _message_row(message, presence)
                table.variants[row, used, pair] = k
            used += 1 + len(message.by_pcode)
        table.message_of[row, mti] = rows[message.mti]


def _message_row(message: Message, presence: Presence) -> tuple[Any, ...]:
    key_bits = sum(1 << KEY_PARTS.index(name) for name in message.key)
    masks = (*mask_words(presence.mandatory), *mask_words(message.echo))
    has_variants = bool(message.by_pcode)
    return (*masks, presence.needs_pan, has_variants, 0, message.deadline_ms, key_bits)


def _fill_codes(table: DialectTable, row: int, dialect: Dialect) -> None:
    for decision, code in dialect.response_codes.items():
        table.responses[row, decision] = response_number(code)
    actions = dialect.action_codes
    if not actions:
        return
    table.action_of[row] = _action_number(actions["default"])
    for name, code in actions.items():
        if name in Decision.__members__:
            table.actions[row, Decision[name]] = _action_number(code)
        elif name != "default" and ":" not in name:
            table.action_of[row, :, code_index(name)] = _action_number(code)
    for name, code in actions.items():
        kind, _, plain = name.rpartition(":")
        if kind:
            table.action_of[row, int(kind), code_index(plain)] = _action_number(code)


def keepalive_of(rule: np.void) -> bytes:
    """Return the frame of length zero of a FRAMING row."""
    width = int(rule["header_bytes"])
    size = width if rule["counts_all"] else 0
    if rule["length_code"] == 0:
        length = size.to_bytes(width, "big")
    elif rule["length_code"] == 1:
        length = b"%0*d" % (width, size)
    else:
        length = bytes.fromhex(f"{size:0{2 * width}d}")
    return length + bytes(int(rule["reserved_bytes"]))


def code_index(code: str) -> int:
    """Return the place of two letters or digits among all of them."""
    return 36 * int(code[0], 36) + int(code[1], 36)


def _action_number(code: str) -> int:
    return int.from_bytes(code.encode("ascii"), "little")


def _fill_parts(table: DialectTable, row: int, dialect: Dialect, next_part: int) -> int:
    for number, parts in dialect.parts.items():
        table.parts[next_part] = _part_row(parts, row)
        for inner, field in parts.fields.items():
            table.part_fields[next_part, inner] = _field_row(field, dialect)
        table.fields[row, number]["part"] = next_part
        table.fields[row, number]["flags"] |= IS_DIVIDED
        next_part += 1
    return next_part


def _part_row(parts: Parts, dialect: int) -> tuple[int, ...]:
    return PartsKind[parts.kind.upper()], parts.bitmap_bytes, parts.lead, 0, dialect


def _field_row(field: Field, dialect: Dialect) -> tuple[int, ...]:
    bits = Char.HEX if field.is_hex else CHAR_OF_FORMAT[field.format]
    signed = 0
    if field.format == "x+n":
        is_ascii = field.code == Code.ASCII or (field.is_bcd and dialect.encoding.text == "ascii")
        signed = 1 if is_ascii else 2
    return (
        *(field.size, field.limit, bits, Way.ANY, field.prefix_bytes, field.prefix),
        *(field.code, field.unit, field.use, signed, field.pad, 0),
        (IS_HEX if field.is_hex else 0) | (IS_COUNTED if field.unit else 0),
    )


def _way(field: Field, flags: int) -> Way:
    """Return how a field is read; ``flags`` as in FIELD."""
    ways = {Code.ASCII: Way.ASCII_DIGITS, Code.EBCDIC: Way.EBCDIC_DIGITS, Code.BCD: Way.BCD_DIGITS}
    is_short = field.format == "n" and not field.prefix_digits and 1 <= field.size <= 16
    if not is_short or flags & (IS_TURNED | IS_DIVIDED) or (field.is_bcd and field.size > 8):
        return Way.ANY
    return ways.get(field.code, Way.ANY)


def mask_words(numbers: Iterable[int]) -> tuple[int, int]:
    """Return the field numbers as the two bitmap words of REQUEST."""
    high = sum(1 << (64 - n) for n in set(numbers) if n <= 64)
    low = sum(1 << (128 - n) for n in set(numbers) if n > 64)
    return high, low


def response_number(code: str) -> int:
    """Return the two characters of DE39 as columns hold them: the first in the low byte."""
    return int.from_bytes(code.encode("ascii"), "little")
