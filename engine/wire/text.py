"""One message for people and tools: built from values, or listed with its secrets hidden.

Slow and clear on purpose: tests, templates of the load generator, ``de39 msg`` and error texts use
it, never the hot path. What a field may show is part of the dialect; anything else is hidden, and
so is every value of a message whose structure is broken, since its bytes may belong elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.columns import FIELD_COUNT, REQUEST, Fault
from engine.wire.dialect import Dialect, Field
from engine.wire.kernels import decode_batch
from engine.wire.table import SEGMENT, compile_dialects

HIDDEN = "(hidden)"
_LEAST_PAN_DIGITS = 13  # of fewer, 6 + 4 would show most
_MOST_PAN_DIGITS = 19
_WELL_FORMED = (Fault.NONE, Fault.MISSING, Fault.VALUE)


@dataclass(frozen=True, slots=True)
class FieldLine:
    """One field of a message as it may be shown. ``offset`` counts from the MTI."""

    number: int
    name: str
    offset: int
    length: int
    shown: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A message as it may be shown: what was read, and the first fault if there is one."""

    mti: int  # 100 for 0100; -1 = unreadable
    fields: tuple[FieldLine, ...]
    fault: Fault
    fault_field: int
    fault_offset: int


def build_message(dialect: Dialect, mti: str, values: Mapping[int, str | bytes]) -> bytes:
    """Encode one message without its length header; ``bytes`` of hex fields are written in hex.

    Raises
    ------
    ValueError
        A field the dialect lacks or of a length it does not allow. Characters are not checked, so
        that tests can build faulty messages.
    """
    body = b"".join(_wire_field(dialect, n, values[n]) for n in sorted(values))
    words = [0, 0]
    for number in values:
        words[(number - 1) // 64] |= 1 << (63 - (number - 1) % 64)
    if words[1]:
        words[0] |= 1 << 63
    bitmap = b"".join(w.to_bytes(8, "big") for w in words[: 2 if words[1] else 1])
    if dialect.encoding.bitmap == "hex":
        bitmap = bitmap.hex().upper().encode()
    return mti.encode("ascii") + bitmap + body


def add_header(dialect: Dialect, message: bytes) -> bytes:
    """Return the frame of a message: its length header, then the message."""
    return len(message).to_bytes(dialect.framing.header_bytes, "big") + message


def mask_value(field: Field | None, data: bytes) -> str:
    """Return what may be shown of a field's wire bytes; a field nobody declared shows nothing."""
    if field is None:
        return HIDDEN
    if field.sensitivity == "public":
        is_text = field.format != "b" or field.is_hex
        return data.decode("ascii", "backslashreplace") if is_text else data.hex().upper()
    is_pan = data.isdigit() and _LEAST_PAN_DIGITS <= len(data) <= _MOST_PAN_DIGITS
    if field.sensitivity == "pan" and is_pan:
        return f"{data[:6].decode()}{'*' * (len(data) - 10)}{data[-4:].decode()}"
    return HIDDEN


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
    present = f"{int(row['bitmap_hi']):064b}{int(row['bitmap_lo']):064b}"
    lines = []
    for number in (i + 1 for i, bit in enumerate(present) if bit == "1"):
        field = dialect.fields[number]
        offset, length = int(spans[number, 0]), int(spans[number, 1])
        shown = HIDDEN
        if fault in _WELL_FORMED:
            shown = mask_value(field, message[offset : offset + length])
        lines.append(FieldLine(number, field.name, offset, length, shown))
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
    data = value.encode("ascii") if isinstance(value, str) else bytes(value)
    if field.is_hex and not isinstance(value, str):
        data = data.hex().upper().encode()
    fits = len(data) <= field.size if field.prefix_digits else len(data) == field.size
    if not fits:
        kind = "at most" if field.prefix_digits else "exactly"
        raise ValueError(f"DE{number}: {len(data)} bytes, {kind} {field.size} fit")
    prefix = f"{len(data):0{field.prefix_digits}d}" if field.prefix_digits else ""
    return prefix.encode() + data


def _decode_one(dialect: Dialect, message: bytes) -> tuple[Any, NDArray[np.uint16]]:
    frame = add_header(dialect, message)
    arena = np.array(bytearray(frame), np.uint8)
    segments = np.zeros(1, SEGMENT)
    segments[0]["end"] = len(arena)
    request = np.zeros(1, REQUEST)
    spans = np.zeros((1, FIELD_COUNT, 2), np.uint16)
    table = compile_dialects([dialect])
    key, block = np.zeros(2, np.uint64), np.zeros((1, 16), np.uint8)
    decode_batch(arena, segments, 1, table, key, request, spans, block)
    return request[0], spans[0]
