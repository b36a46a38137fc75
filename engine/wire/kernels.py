"""Decode kernels: the frames of all links of a batch become rows of columns in one call.

Fields are read once, in ascending order, and stay in the arena; a row keeps where each lies. A
fault never stops the other frames. After a fault that leaves the length of its field known, the
later fields are still read, so that the answer can name the message (DE11, DE41); the first fault
is the one reported, and the bitmap words of the row keep only the fields that were valid.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.columns import Fault
from engine.wire.dialect import USE_LIMIT
from engine.wire.scan_kernels import (
    Int,
    digits_value,
    first_outside,
    is_class,
    is_sign,
    lone_position,
    mti_value,
    read_bitmap,
    reverse_bits,
)
from engine.wire.table import Char, DialectTable, FrameFault
from engine.wire.value_kernels import check_presence, set_fault, take_values
from ledger.jit import kernel

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(1 << 63)

_DIGIT = int(Char.DIGIT)
_MTI, _BITMAP, _LENGTH = int(Fault.MTI), int(Fault.BITMAP), int(Fault.LENGTH)
_CHARSET, _TRAILING = int(Fault.CHARSET), int(Fault.TRAILING)
_TOO_LONG, _TOO_SHORT = int(FrameFault.TOO_LONG), int(FrameFault.TOO_SHORT)
_USES = USE_LIMIT
_NUMBER_DIGITS = 18  # more would not fit an int64 column


@kernel
def decode_batch(
    arena: Bytes,
    segments: Array,
    segment_count: Int,
    table: DialectTable,
    hash_key: NDArray[np.uint64],
    request: Array,
    spans: NDArray[np.uint16],
    pan_block: Bytes,
) -> Int:
    """Cut and decode the frames of all segments; return the number of rows filled.

    Stops taking messages when ``request`` is full; ``consumed`` of each segment says how far it
    came, and a frame cut short at the end of a segment is left for the next call.

    Parameters
    ----------
    arena : uint8[:], the bytes of all links.
    segments : SEGMENT[:], one row a link; in and out columns are named there.
    table : compiled dialects.
    hash_key : uint64[2], key of the merchant hash.
    request : REQUEST[cap], out.
    spans : uint16[cap, 129, 2], out, valid where the row's bitmap words have the field.
    pan_block : uint8[cap, 16], out: digit count, ten bytes of BCD padded with F, "de39", 1.
    """
    rows = _cut_frames(arena, segments, segment_count, table.framing, request)
    _decode_rows(arena, table, hash_key, request, spans, pan_block, rows)
    return rows


@kernel
def _cut_frames(
    arena: Bytes, segments: Array, segment_count: Int, framing: Array, request: Array
) -> Int:
    """Find the messages: write ``start``, ``size``, ``segment``, ``dialect`` of a row each."""
    rows = 0
    capacity = request.shape[0]
    for s in range(segment_count):
        segment = segments[s]
        at, end, dialect = segment.start, segment.end, segment.dialect
        most, least = framing[dialect].max_bytes, framing[dialect].min_bytes
        first_row, fault, keepalives, keepalives_last = rows, 0, 0, 0
        while at + 2 <= end:
            size = (np.int64(arena[np.uint64(at)]) << 8) | np.int64(arena[np.uint64(at + 1)])
            if size == 0:
                keepalives += 1
                keepalives_last += 1
                at += 2
                continue
            if size > most:
                fault = _TOO_LONG
                break
            if size < least:
                fault = _TOO_SHORT
                break
            if at + 2 + size > end or rows == capacity:
                break
            row = request[rows]
            row.start, row.size, row.segment, row.dialect = at + 2, size, s, dialect
            rows += 1
            keepalives_last = 0
            at += 2 + size
        segment.consumed = at - segment.start
        segment.first_row = first_row
        segment.row_count = rows - first_row
        segment.fault = fault
        segment.keepalives = keepalives
        segment.keepalives_last = keepalives_last
    return rows


@kernel
def _decode_rows(
    arena: Bytes,
    table: DialectTable,
    hash_key: NDArray[np.uint64],
    request: Array,
    spans: NDArray[np.uint16],
    pan_block: Bytes,
    rows: Int,
) -> None:
    """Decode the messages that ``_cut_frames`` found.

    One loop on purpose: a call a message would pass every array again.
    """
    fields, messages, message_of = table.fields, table.messages, table.message_of
    framing, chars = table.framing, table.chars
    number_of, lowest_bit = table.number_of, table.lowest_bit
    # By use of a field: its number (-1 = none), arena offset (-1 = absent) and length. Every field
    # writes here, those without a use into entry 0, so that the loop does not branch on the use.
    found = np.empty((3, _USES), np.int64)
    for i in range(np.uint64(rows)):
        row = request[i]
        start, dialect = np.int64(row.start), np.uint64(row.dialect)
        end = start + row.size
        for use in range(_USES):
            found[0, use], found[1, use] = -1, -1
        row.fault, row.fault_field, row.fault_offset = 0, 0, 0
        row.bitmap_hi, row.bitmap_lo = _ZERO, _ZERO
        row.mti = mti_value(arena, start, end)
        at: Int = -1
        high, low = _ZERO, _ZERO
        if row.mti < 0:
            row.fault = _MTI
        else:
            at, high, low = _read_bitmaps(arena, start, end, framing, chars, row)

        left = reverse_bits(high & ~_TOP)
        base, good = 1, _ZERO
        while at >= 0:
            if left == _ZERO:
                if base == 65 or low == _ZERO:
                    break
                row.bitmap_hi, good = good, _ZERO
                left = reverse_bits(low)
                base = 65
            lone = left & (~left + _ONE)
            left ^= lone
            position = lone_position(lone, lowest_bit)
            number = np.uint64(base + position)
            field = fields[dialect, number]
            size = np.int64(field.size)
            prefix = np.int64(field.prefix_digits)
            length: Int = size
            if prefix != 0:
                length = digits_value(arena, at, prefix) if at + prefix <= end else -1
            over = (length < 0) | (length > size) | (at + prefix + length > end)
            if over | (size == 0) | ((length & np.int64(field.data_code)) != 0):
                fault = _BITMAP if size == 0 else _LENGTH
                set_fault(row, fault, base + position, at - start)
                at = -1
                break
            at += prefix
            char_bits = np.int64(field.char_bits)
            value = np.int64(-1)
            if (char_bits == _DIGIT) & (length > 0) & (length <= _NUMBER_DIGITS):
                signed = np.int64(field.signed)
                value = digits_value(arena, at + signed, length - signed)
                right = (value >= 0) & ((signed == 0) | is_sign(arena[np.uint64(at)]))
            else:
                right = is_class(arena, at, length, chars, char_bits)
            if right:
                use = field.use
                found[0, use], found[1, use], found[2, use] = value, at, length
                spans[i, number, 0] = at - start
                spans[i, number, 1] = length
                good |= _TOP >> np.uint64(position)
            else:
                bad_at = first_outside(arena, at, length, chars, field.signed, char_bits)
                set_fault(row, _CHARSET, base + position, bad_at - start)
            at += length
        if base == 1:
            row.bitmap_hi = good
        else:
            row.bitmap_lo = good
        take_values(arena, number_of, hash_key, row, pan_block, i, found)
        if at >= 0 and at != end:
            set_fault(row, _TRAILING, 0, at - start)
        if row.fault == 0:
            message = messages[dialect, message_of[dialect, row.mti]]
            check_presence(row, message, number_of, lowest_bit)


@kernel
def _read_bitmaps(
    arena: Bytes, start: Int, end: Int, framing: Array, chars: NDArray[np.uint16], row: Any
) -> tuple[Int, np.uint64, np.uint64]:
    """Return (arena offset of the first field, the words of fields 1-64 and 65-128); -1 = none."""
    is_hex = framing[row.dialect].bitmap_hex
    width = 16 if is_hex else 8
    high, low = _ZERO, _ZERO
    at = start + 4
    right = False
    if end - start >= 4 + width:
        high, right = read_bitmap(arena, at, is_hex, chars)
    if not right:
        set_fault(row, _BITMAP, 0, 4)
        return -1, high, low
    at += width
    if high & _TOP != _ZERO:
        if end - start < 4 + 2 * width:
            set_fault(row, _BITMAP, 1, at - start)
            return -1, high, low
        low, right = read_bitmap(arena, at, is_hex, chars)
        if not right:  # the fields of the first bitmap can still be read
            set_fault(row, _BITMAP, 1, at - start)
            low = _ZERO
        at += width
    return at, high, low
