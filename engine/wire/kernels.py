"""Decode kernels: the frames of all links of a batch become rows of columns in one call.

Fields are read once, in ascending order, and stay in the arena; a row keeps where each lies. A
fault never stops the other frames. After a fault that leaves the length of its field known, the
later fields are still read, so that the answer can name the message (DE11, DE41); the first fault
is the one reported, and the bitmap words of the row keep only the fields that were valid.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.siphash import siphash_bytes_word
from engine.wire.columns import Fault
from engine.wire.dialect import Use
from engine.wire.scan_kernels import (
    digits_value,
    first_outside,
    is_class,
    lone_position,
    mti_value,
    prefix_value,
    read_bitmap,
    reverse_bits,
)
from engine.wire.table import Char, DialectTable, FrameFault
from engine.wire.value_kernels import (
    check_presence,
    read_track1,
    read_track2,
    set_fault,
    take_number,
    take_pan,
    take_text,
    take_track,
)
from ledger.jit import kernel

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(1 << 63)

_DIGIT = int(Char.DIGIT)
_MTI, _BITMAP, _LENGTH = int(Fault.MTI), int(Fault.BITMAP), int(Fault.LENGTH)
_CHARSET, _TRAILING, _VALUE = int(Fault.CHARSET), int(Fault.TRAILING), int(Fault.VALUE)
_TOO_LONG, _TOO_SHORT = int(FrameFault.TOO_LONG), int(FrameFault.TOO_SHORT)
_NO_USE, _PAN, _MERCHANT = int(Use.NONE), int(Use.PAN), int(Use.MERCHANT)
_TRACK1, _TRACK2 = int(Use.TRACK1), int(Use.TRACK2)
_LAST_NUMBER = int(Use.LAST_NUMBER)  # uses up to here are one number each
_NUMBER_DIGITS = 18  # more would not fit an int64 column
_LETTER_B = 66  # format code of a track 1 that holds a card number


@kernel
def decode_batch(
    arena: Bytes,
    segments: Array,
    segment_count: int,
    table: DialectTable,
    hash_key: NDArray[np.uint64],
    request: Array,
    spans: NDArray[np.uint16],
    pan_block: Bytes,
) -> int:
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
    rows = 0
    capacity = request.shape[0]
    for s in range(segment_count):
        segment = segments[s]
        at, end, dialect = segment.start, segment.end, segment.dialect
        framing = table.framing[dialect]
        first_row, fault, keepalives, keepalives_last = rows, 0, 0, 0
        while at + 2 <= end:
            size = (np.int64(arena[np.uint64(at)]) << 8) | np.int64(arena[np.uint64(at + 1)])
            if size == 0:
                keepalives += 1
                keepalives_last += 1
                at += 2
                continue
            if size > framing.max_bytes:
                fault = _TOO_LONG
                break
            if size < framing.min_bytes:
                fault = _TOO_SHORT
                break
            if at + 2 + size > end or rows == capacity:
                break
            request[rows].segment = s
            decode_message(
                arena, at + 2, size, dialect, table, hash_key, request, spans, pan_block, rows
            )
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
def decode_message(
    arena: Bytes,
    start: int,
    size: int,
    dialect: int,
    table: DialectTable,
    hash_key: NDArray[np.uint64],
    request: Array,
    spans: NDArray[np.uint16],
    pan_block: Bytes,
    i: int,
) -> None:
    """Decode the message ``arena[start:start + size]`` into row ``i``; column ``segment`` is kept."""
    row = request[i]
    _clear_row(row, pan_block[i])
    row.start, row.size, row.dialect = start, size, dialect
    mti = mti_value(arena, start, size)
    if mti < 0:
        row.fault = _MTI
        return
    row.mti = mti
    end = start + size
    at, high, low = _read_bitmaps(arena, start, size, table, row)
    if at < 0:
        return

    left = reverse_bits(high & ~_TOP)
    base = 1
    good_high, good_low = _ZERO, _ZERO
    stopped = False
    pan_at, pan_size, merchant_at, merchant_size = 0, 0, -1, 0
    fields = table.fields[dialect]
    span = spans[i]
    while True:
        if left == _ZERO:
            if base == 65 or low == _ZERO:
                break
            left = reverse_bits(low)
            base = 65
        lone = left & (~left + _ONE)
        left ^= lone
        position = lone_position(lone, table.lowest_bit)
        number = np.uint64(base + position)
        field = fields[number]
        length = np.int64(field.size)
        prefix = np.int64(field.prefix_digits)
        if length == 0:
            set_fault(row, _BITMAP, base + position, at - start)
            stopped = True
            break
        if prefix != 0:
            length = prefix_value(arena, at, end, prefix, length)
        if length < 0 or at + prefix + length > end or length & np.int64(field.data_code):
            set_fault(row, _LENGTH, base + position, at - start)
            stopped = True
            break
        at += prefix
        use = field.use
        first_bits, char_bits = np.int64(field.first_bits), np.int64(field.char_bits)
        value = -1
        if char_bits == _DIGIT and first_bits == _DIGIT and 0 < length <= _NUMBER_DIGITS:
            value = digits_value(arena, at, length)
            right = value >= 0
        elif first_bits == char_bits:
            right = is_class(arena, at, length, table.chars, char_bits)
        else:
            right = first_outside(arena, at, length, table.chars, first_bits, char_bits) < 0
        if not right:
            bad_at = first_outside(arena, at, length, table.chars, first_bits, char_bits)
            set_fault(row, _CHARSET, base + position, bad_at - start)
            at += length
            continue
        fits = True
        if use == _NO_USE:
            pass
        elif use == _PAN:
            pan_at, pan_size = at, length
        elif use == _TRACK2:
            count, expiry = read_track2(arena, at, length)
            fits = take_track(arena, row, at, count, expiry, pan_at, pan_size)
            if fits and pan_size == 0:
                pan_at, pan_size = at, count
        elif use == _TRACK1:
            if length > 0 and arena[np.uint64(at)] == _LETTER_B:
                count, expiry = read_track1(arena, at, length)
                fits = take_track(arena, row, at + 1, count, expiry, pan_at, pan_size)
                if fits and pan_size == 0:
                    pan_at, pan_size = at + 1, count
        elif use == _MERCHANT:
            merchant_at, merchant_size = at, length
        elif use <= _LAST_NUMBER:
            fits = take_number(row, use, value)
        else:
            fits = take_text(arena, row, use, at, length)
        if fits:
            if base == 1:
                good_high |= _TOP >> np.uint64(position)
            else:
                good_low |= _TOP >> np.uint64(position)
            span[number, 0] = at - start
            span[number, 1] = length
        else:
            set_fault(row, _VALUE, base + position, at - start)
        at += length
    row.bitmap_hi, row.bitmap_lo = good_high, good_low
    if not stopped and at != end:
        set_fault(row, _TRAILING, 0, at - start)
    if pan_size > 0:
        take_pan(arena, row, pan_block[i], pan_at, pan_size)
    if merchant_at >= 0:
        acquirer = np.uint64(row.acquirer)
        hashed = siphash_bytes_word(
            hash_key[0], hash_key[1], arena, merchant_at, merchant_size, acquirer
        )
        row.merchant = max(hashed, _ONE)  # 0 says absent
    if row.fault == 0:
        check_presence(row, table.messages[dialect, table.message_of[dialect, mti]], table)


@kernel
def _clear_row(row: Any, block: Bytes) -> None:
    row.bitmap_hi, row.bitmap_lo = _ZERO, _ZERO
    row.amount, row.billing_amount, row.replacement_amount = -1, -1, -1
    row.acquirer, row.forwarder = -1, -1
    row.terminal, row.merchant, row.rrn_a = _ZERO, _ZERO, _ZERO
    row.rrn_b, row.transmitted = 0, 0
    row.original_acquirer, row.original_forwarder, row.original_mti = -1, -1, -1
    row.original_stan, row.original_transmitted = -1, 0
    row.mti, row.fault, row.fault_field, row.fault_offset = -1, 0, 0, 0
    row.pcode, row.stan, row.local_time, row.local_date = -1, -1, -1, -1
    row.expiry_yymm, row.mcc, row.country, row.entry_mode = -1, -1, -1, -1
    row.condition, row.currency, row.billing_currency, row.network_code = -1, -1, -1, -1
    row.pan_length, row.bin, row.luhn = 0, 0, 0
    block[0] = 0
    for k in range(1, 11):
        block[k] = 255
    block[11], block[12], block[13], block[14] = 100, 101, 51, 57  # "de39": no other use of the
    block[15] = 1  # token key makes such a block


@kernel
def _read_bitmaps(
    arena: Bytes, start: int, size: int, table: DialectTable, row: Any
) -> tuple[int, np.uint64, np.uint64]:
    """Return (arena offset of the first field, the words of fields 1-64 and 65-128); -1 = none."""
    is_hex = table.framing[row.dialect].bitmap_hex
    width = 16 if is_hex else 8
    high, low = _ZERO, _ZERO
    at = start + 4
    right = False
    if size >= 4 + width:
        high, right = read_bitmap(arena, at, is_hex, table.chars)
    if not right:
        set_fault(row, _BITMAP, 0, 4)
        return -1, high, low
    at += width
    if high & _TOP != _ZERO:
        if size < 4 + 2 * width:
            set_fault(row, _BITMAP, 1, at - start)
            return -1, high, low
        low, right = read_bitmap(arena, at, is_hex, table.chars)
        if not right:  # the fields of the first bitmap can still be read
            set_fault(row, _BITMAP, 1, at - start)
            low = _ZERO
        at += width
    return at, high, low
