"""One message for people and tools: built from values, or listed with its secrets hidden.

Slow and clear on purpose: tests, templates of the load generator, ``de39 msg`` and error texts use
it, never the hot path. What a field may show is part of the dialect; anything else is hidden, and
so is every value of a message whose structure is broken, since its bytes may belong elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.canon import plain_data, plain_value, to_ebcdic, units_of, wire_field
from engine.wire.columns import FIELD_COUNT, REQUEST, Fault
from engine.wire.dialect import Dialect
from engine.wire.elements import Field
from engine.wire.inside import PartLine, lines_of_parts
from engine.wire.kernels import decode_batch
from engine.wire.masking import HIDDEN, mask_value
from engine.wire.table import SEGMENT, DialectTable, compile_dialects

# Not VALUE: behind a value that cannot be, later bytes may belong elsewhere too.
_WELL_FORMED = (Fault.NONE, Fault.MISSING)


@dataclass(frozen=True, slots=True)
class FieldLine:
    """One field of a message as it may be shown. ``offset`` counts from the MTI."""

    number: int
    name: str
    offset: int
    length: int
    shown: str
    parts: tuple[PartLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """A message as it may be shown: what was read, and the first fault if there is one."""

    mti: int  # 100 for 0100; -1 = unreadable
    fields: tuple[FieldLine, ...]
    fault: Fault
    fault_field: int
    fault_offset: int


def build_message(dialect: Dialect, mti: str, values: Mapping[int, str | bytes]) -> bytes:
    """Encode one message, from its MTI on; ``bytes`` of hex fields are written in hex.

    Raises
    ------
    ValueError
        A field the dialect lacks or of a length it does not allow. Characters are not checked, so
        that tests can build faulty messages.
    """
    body = b"".join(_wire_field(dialect, n, values[n]) for n in sorted(values))
    words = [0, 0, 0]
    for number in values:
        words[(number - 1) // 64] |= 1 << (63 - (number - 1) % 64)
    if words[2]:
        words[1] |= 1 << 63
    if words[1]:
        words[0] |= 1 << 63
    bitmaps = (word for k, word in enumerate(words) if k == 0 or word)
    bitmap = b"".join(word.to_bytes(8, "big") for word in bitmaps)
    if dialect.encoding.bitmap != "binary":
        bitmap = bitmap.hex().upper().encode()
    if dialect.encoding.bitmap == "ebcdic-hex":
        bitmap = to_ebcdic(dialect, bitmap)
    return _wire_mti(dialect, mti) + bitmap + body


def _wire_mti(dialect: Dialect, mti: str) -> bytes:
    if dialect.encoding.mti == "bcd":
        return bytes.fromhex(mti)
    text = mti.encode("ascii")
    return to_ebcdic(dialect, text) if dialect.encoding.mti == "ebcdic" else text


def read_message(dialect: Dialect, message: bytes) -> tuple[str, dict[int, str | bytes]]:
    """Return the MTI and the values of a message: what ``build_message`` writes as these bytes.

    Raises
    ------
    ValueError
        The message is at fault, with the fault's name, field and offset.
    """
    told = explain_message(dialect, message)
    if told.fault not in _WELL_FORMED:
        where = f"DE{told.fault_field} " if told.fault_field else ""
        raise ValueError(f"{where}at offset {told.fault_offset}: {told.fault.name.lower()}")
    values: dict[int, str | bytes] = {}
    for line in told.fields:
        field = dialect.fields[line.number]
        units, data = _units_and_data(dialect, field, message, line.offset, line.length)
        values[line.number] = plain_value(dialect, field, data, units)
    version = (told.mti // 1000 + dialect.version) % 10
    return f"{version}{told.mti % 1000:03d}", values


def _units_and_data(
    dialect: Dialect, field: Field, message: bytes, offset: int, length: int
) -> tuple[int, bytes]:
    units = units_of(dialect, field, message[offset - field.prefix_bytes : offset])
    return units, message[offset : offset + length]


def default_envelope(dialect: Dialect) -> bytes:
    """Return what stands between length and MTI when nobody says otherwise; addresses are 1 and 2.

    ``visa``: its length, flag, text format, total length (filled in by ``add_header``), destination
    and source station, and zeros.
    """
    framing = dialect.framing
    size = framing.envelope_bytes
    if framing.envelope == "tpdu":
        return bytes((0x60, 0, 1, 0, 2)).ljust(size, b"\0")
    if framing.envelope == "text":
        return framing.envelope_text.encode("ascii").ljust(size, b"0")
    if framing.envelope == "visa":
        return bytes((size, 1, 2, 0, 0, 0, 0, 1, 0, 0, 2)).ljust(size, b"\0")
    return b""


def add_header(dialect: Dialect, message: bytes, envelope: bytes | None = None) -> bytes:
    """Return the frame of a message: its length, its envelope, the message, its trailer."""
    framing = dialect.framing
    before = default_envelope(dialect) if envelope is None else envelope
    size = len(before) + len(message) + len(framing.trailer) // 2
    if framing.envelope == "visa" and envelope is None:
        before = before[:3] + size.to_bytes(2, "big") + before[5:]
    rest = before + message + bytes.fromhex(framing.trailer)
    return frame_length(dialect, size) + rest


def frame_length(dialect: Dialect, size: int) -> bytes:
    """Return the length that stands before ``size`` bytes, and the zeros after it."""
    framing = dialect.framing
    width = framing.header_bytes
    size += width if framing.counts == "all" else 0
    if framing.length == "binary":
        length = size.to_bytes(width, "big")
    elif framing.length == "ascii":
        length = f"{size:0{width}d}".encode()
    else:
        length = bytes.fromhex(f"{size:0{2 * width}d}")
    return length + bytes(framing.reserved_bytes)


def keepalive(dialect: Dialect) -> bytes:
    """Return the frame of length zero."""
    return frame_length(dialect, 0)


def explain_message(dialect: Dialect, message: bytes) -> Explanation:
    """Decode one message (no length header) with the kernels and list its fields, masked.

    Raises
    ------
    ValueError
        The message is longer than the dialect's frames may be.
    """
    if len(message) > dialect.framing.max_bytes:
        raise ValueError(f"{len(message)} bytes: at most {dialect.framing.max_bytes} are a message")
    if len(message) < dialect.framing.min_bytes:
        return Explanation(-1, (), Fault.MTI if len(message) < 4 else Fault.BITMAP, 0, 0)
    row, spans = _decode_one(dialect, message)
    fault = Fault(int(row["fault"]))
    words = (int(row[name]) for name in ("bitmap_hi", "bitmap_lo", "bitmap_third"))
    present = "".join(f"{word:064b}" for word in words)
    lines = []
    for number in (i + 1 for i, bit in enumerate(present) if bit == "1"):
        field = dialect.fields[number]
        offset, length = int(spans[number, 0]), int(spans[number, 1])
        shown, parts = HIDDEN, []
        if fault in _WELL_FORMED:
            parts = lines_of_parts(dialect, number, message, offset, offset + length)
            units, data = _units_and_data(dialect, field, message, offset, length)
            shown = mask_value(field, plain_data(dialect, field, data, units))
        lines.append(FieldLine(number, field.name, offset, length, shown, tuple(parts)))
    return Explanation(
        mti=int(row["mti"]),
        fields=tuple(lines),
        fault=fault,
        fault_field=int(row["fault_field"]),
        fault_offset=int(row["fault_offset"]),
    )


def _wire_field(dialect: Dialect, number: int, value: str | bytes) -> bytes:
    field = dialect.fields.get(number)
    if field is None:
        raise ValueError(f"DE{number}: not in dialect {dialect.name}")
    return wire_field(dialect, field, value, f"DE{number}")


@lru_cache(maxsize=64)
def _table_of(dialect: Dialect) -> DialectTable:
    return compile_dialects([dialect])


def _decode_one(dialect: Dialect, message: bytes) -> tuple[Any, NDArray[np.uint16]]:
    frame = add_header(dialect, message)
    arena = np.array(bytearray(frame), np.uint8)
    segments = np.zeros(1, SEGMENT)
    segments[0]["end"] = len(arena)
    request = np.zeros(1, REQUEST)
    spans = np.zeros((1, FIELD_COUNT, 2), np.uint16)
    table = _table_of(dialect)
    key, block = np.zeros(2, np.uint64), np.zeros((1, 16), np.uint8)
    decode_batch(arena, segments, 1, table, key, request, spans, block)
    return request[0], spans[0]
