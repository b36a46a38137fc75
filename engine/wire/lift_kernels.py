"""Values inside longer fields: what ``decode_batch`` leaves in the arena and the engine reads.

Few dialects have such a field and few messages carry it, so it is looked at after decoding, in a
pass of its own that costs a row one look at its bitmap.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.columns import Fault
from engine.wire.scan_kernels import Int
from engine.wire.table import PartsKind
from ledger.jit import kernel

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_SE, _PDS = int(PartsKind.SE), int(PartsKind.PDS)
_NONE = int(Fault.NONE)
_EBCDIC_ZERO, _ZERO, _NINE = 0xF0, 48, 57


@kernel
def lift_partial(
    arena: Bytes,
    request: Array,
    count: Int,
    spans: NDArray[np.uint16],
    lifts: NDArray[np.int64],
    parts: Array,
    fields: Array,
) -> None:
    """Fill ``request["partial"]`` from the first character of the field or element that says so.

    Parameters
    ----------
    arena, request, spans : as ``decode_batch`` left them; ``request[0:count]`` in and out.
    lifts : i64 (dialects, 2): the field and the element inside it, 0 = the field itself; a field 0
        = nothing is to be lifted. parts, fields : of the dialect table.
    """
    for i in range(count):
        row = request[i]
        dialect = row["dialect"]
        number = lifts[dialect, 0]
        if number == 0 or row["fault"] != _NONE or not _has(row, number):
            continue
        row["partial"] = -1
        at = np.int64(row["start"]) + np.int64(spans[i, number, 0])
        size = np.int64(spans[i, number, 1])
        if lifts[dialect, 1] != 0:
            part = parts[fields[dialect, number]["part"]]
            at, size = find_tagged(arena, at, size, part, lifts[dialect, 1])
        if size > 0:
            row["partial"] = _digit(arena[at])


@kernel
def _has(row: Any, number: Int) -> bool:
    """Whether a row carries a field; all of it was valid where the row has no fault."""
    if number <= 64:
        return (row["bitmap_hi"] >> np.uint64(64 - number)) & np.uint64(1) != 0
    return (row["bitmap_lo"] >> np.uint64(128 - number)) & np.uint64(1) != 0


@kernel
def find_tagged(data: Bytes, at: Int, size: Int, part: Any, tag: Int) -> tuple[Int, Int]:
    """Return (offset, size) of the data of an element of a field of tagged ones; size 0 = none.

    The structure of the field was checked when it was decoded.
    """
    tag_digits, size_digits = (4, 3) if part["kind"] == _PDS else (2, 2)
    end = at + size
    at += np.int64(part["lead"])
    while at + tag_digits + size_digits <= end:
        found = _number(data, at, tag_digits)
        length = _number(data, at + tag_digits, size_digits)
        at += tag_digits + size_digits
        if found == tag:
            return at, min(length, end - at)
        at += length
    return at, np.int64(0)


@kernel
def _digit(byte: Int) -> Int:
    """Return the digit that a character is, in ASCII or EBCDIC; -1 = it is none."""
    is_digit = _ZERO <= byte <= _NINE or _EBCDIC_ZERO <= byte <= _EBCDIC_ZERO + 9
    return np.int64(byte & 15) if is_digit else np.int64(-1)


@kernel
def _number(data: Bytes, at: Int, digits: Int) -> Int:
    value = np.int64(0)
    for k in range(digits):
        value = value * 10 + np.int64(data[at + k] & 15)
    return value
