"""Values inside longer fields: what ``decode_batch`` leaves in the arena and the engine reads.

Few dialects have such a field and few messages carry it, so they are looked at after decoding, in a
pass of its own that costs most rows one look at their bitmap.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.code_kernels import first_digit, half_byte
from engine.wire.columns import Fault, Told
from engine.wire.elements import Code
from engine.wire.scan_kernels import Int
from engine.wire.table import DialectTable, PartsKind
from ledger.jit import kernel

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_PDS = int(PartsKind.PDS)
_BCD, _BCD_LEFT, _EBCDIC = int(Code.BCD), int(Code.BCD_LEFT), int(Code.EBCDIC)
_NOTHING, _APPROVED, _DECLINED = int(Told.NOTHING), int(Told.APPROVED), int(Told.DECLINED)
_ADVICE_FUNCTION, _RESPONSE, _OLD_CODE = 2, 39, 2
# Approved, to honour with identification, in part, important person, to update track 3, no reason
# to decline; approved by the chip offline, after a referral, and unable to go online (EMV book 4).
APPROVALS = ("00", "08", "10", "11", "16", "85", "Y1", "Y2", "Y3")
_APPROVALS = np.array([list(code.encode("ascii")) for code in APPROVALS], np.int64)
_NONE = int(Fault.NONE)
_EBCDIC_ZERO, _ZERO, _NINE = 0xF0, 48, 57


@kernel
def lift_values(
    arena: Bytes, request: Array, count: Int, spans: NDArray[np.uint16], table: DialectTable
) -> None:
    """Fill ``partial`` where a longer field says it, and ``told`` of every row.

    Parameters
    ----------
    arena, request, spans : as ``decode_batch`` left them; ``request[0:count]`` in and out.
    table : the dialects that they were decoded by.
    """
    lifts, fields = table.lifts, table.fields
    for i in range(count):
        row = request[i]
        row["told"] = _NOTHING
        if row["fault"] != _NONE:
            continue
        dialect = row["dialect"]
        number = lifts[dialect, 0]
        start = np.int64(row["start"])
        if number != 0 and _has(row, number):
            at, size = start + np.int64(spans[i, number, 0]), np.int64(spans[i, number, 1])
            if lifts[dialect, 1] != 0:
                part = table.parts[fields[dialect, number]["part"]]
                at, size = find_tagged(arena, at, size, part, lifts[dialect, 1])
            row["partial"] = _digit(arena[at]) if size > 0 else np.int64(-1)
        if row["mti"] // 10 % 10 == _ADVICE_FUNCTION and _has(row, _RESPONSE):
            at, size = start + np.int64(spans[i, _RESPONSE, 0]), np.int64(spans[i, _RESPONSE, 1])
            field = fields[dialect, _RESPONSE]
            is_good = _is_approval(arena, at, size, field, table.to_ascii[dialect])
            row["told"] = _APPROVED if is_good else _DECLINED


@kernel
def _is_approval(data: Bytes, at: Int, size: Int, field: Any, to_ascii: NDArray[np.uint8]) -> bool:
    """Whether a response code is one of an approval: of 1987 by a list, later ones begin with 0."""
    code = np.int64(field["data_code"])
    if code in (_BCD, _BCD_LEFT):
        first = first_digit(size, np.int64(field["limit"]), code)
        return half_byte(data, at, first) == 0
    if size != _OLD_CODE:
        return data[at] & 15 == 0
    first, second = np.int64(data[at]), np.int64(data[at + 1])
    if code == _EBCDIC:
        first, second = np.int64(to_ascii[first]), np.int64(to_ascii[second])
    for k in range(_APPROVALS.shape[0]):
        if first == _APPROVALS[k, 0] and second == _APPROVALS[k, 1]:
            return True
    return False


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
