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
from engine.wire.table import DE_BRUIJN, Char, DialectTable, FrameFault
from ledger.jit import kernel

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(1 << 63)
_BYTE_BITS, _NIBBLE_BITS = np.uint64(8), np.uint64(4)
_BRUIJN, _BRUIJN_SHIFT = np.uint64(DE_BRUIJN), np.uint64(58)
_PAIRS, _QUADS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_NIBBLES, _BYTES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x00FF00FF00FF00FF)
_SHORTS, _TWO = np.uint64(0x0000FFFF0000FFFF), np.uint64(2)
_SIXTEEN, _THIRTY_TWO = np.uint64(16), np.uint64(32)

_HEX = int(Char.HEX)
_MTI, _BITMAP, _LENGTH = int(Fault.MTI), int(Fault.BITMAP), int(Fault.LENGTH)
_CHARSET, _TRAILING = int(Fault.CHARSET), int(Fault.TRAILING)
_MISSING, _VALUE = int(Fault.MISSING), int(Fault.VALUE)
_TOO_LONG, _TOO_SHORT = int(FrameFault.TOO_LONG), int(FrameFault.TOO_SHORT)

_PAN, _PCODE, _AMOUNT = int(Use.PAN), int(Use.PCODE), int(Use.AMOUNT)
_BILLING_AMOUNT, _TRANSMITTED = int(Use.BILLING_AMOUNT), int(Use.TRANSMITTED)
_STAN, _LOCAL_TIME, _LOCAL_DATE = int(Use.STAN), int(Use.LOCAL_TIME), int(Use.LOCAL_DATE)
_EXPIRY, _MCC, _COUNTRY = int(Use.EXPIRY), int(Use.MCC), int(Use.COUNTRY)
_ENTRY_MODE, _CONDITION = int(Use.ENTRY_MODE), int(Use.CONDITION)
_ACQUIRER, _FORWARDER = int(Use.ACQUIRER), int(Use.FORWARDER)
_TRACK1, _TRACK2, _RRN = int(Use.TRACK1), int(Use.TRACK2), int(Use.RRN)
_TERMINAL, _MERCHANT = int(Use.TERMINAL), int(Use.MERCHANT)
_CURRENCY, _BILLING_CURRENCY = int(Use.CURRENCY), int(Use.BILLING_CURRENCY)
_NETWORK_CODE, _ORIGINAL = int(Use.NETWORK_CODE), int(Use.ORIGINAL)
_REPLACEMENT = int(Use.REPLACEMENT)

_CARET, _EQUALS, _LETTER_B, _LETTER_D = 94, 61, 66, 68


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
            size = (np.int64(arena[at]) << 8) | np.int64(arena[at + 1])
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
    _clear_row(row, pan_block, i)
    row.start, row.size, row.dialect = start, size, dialect
    mti = _read_mti(arena, start, size)
    if mti < 0:
        row.fault = _MTI
        return
    row.mti = mti
    end = start + size
    at, high, low = _read_bitmaps(arena, start, size, table, row)
    if at < 0:
        return

    left = _reverse(high & ~_TOP)
    base = 1
    good_high, good_low = _ZERO, _ZERO
    stopped = False
    pan_at, pan_size, merchant_at = 0, 0, -1
    merchant_size = 0
    while True:
        if left == _ZERO:
            if base == 65 or low == _ZERO:
                break
            good_high, good_low = good_low, good_high  # the words swap back after the loop
            left = _reverse(low)
            base = 65
        lone = left & (~left + _ONE)
        left ^= lone
        position = np.int64(table.lowest_bit[(lone * _BRUIJN) >> _BRUIJN_SHIFT])
        number = base + position
        field = table.fields[dialect, number]
        if field.size == 0:
            _set_fault(row, _BITMAP, number, at - start)
            stopped = True
            break
        length = np.int64(field.size)
        prefix = np.int64(field.prefix_digits)
        if prefix != 0:
            length = _read_prefix(arena, at, end, prefix, length)
        if length < 0 or at + prefix + length > end or (field.data_code == 1 and length & 1):
            _set_fault(row, _LENGTH, number, at - start)
            stopped = True
            break
        at += prefix
        bad_at = _bad_character(arena, at, length, table.chars, field.first_bits, field.char_bits)
        if bad_at >= 0:
            _set_fault(row, _CHARSET, number, bad_at - start)
            at += length
            continue
        use = field.use
        fits = True
        if use != 0:
            if use == _PAN:
                pan_at, pan_size = at, length
            elif use == _TRACK2:
                digits, expiry = _read_track2(arena, at, length)
                fits = _take_track(arena, row, at, digits, expiry, pan_at, pan_size)
                if fits and pan_size == 0:
                    pan_at, pan_size = at, digits
            elif use == _TRACK1:
                if length > 0 and arena[at] == _LETTER_B:
                    digits, expiry = _read_track1(arena, at, length)
                    fits = _take_track(arena, row, at + 1, digits, expiry, pan_at, pan_size)
                    if fits and pan_size == 0:
                        pan_at, pan_size = at + 1, digits
            elif use == _MERCHANT:
                merchant_at, merchant_size = at, length
            else:
                fits = _take_value(arena, row, use, at, length)
        if fits:
            good_high |= _TOP >> np.uint64(position)
            spans[i, number, 0] = at - start
            spans[i, number, 1] = length
        else:
            _set_fault(row, _VALUE, number, at - start)
        at += length
    if base == 65:
        good_high, good_low = good_low, good_high
    row.bitmap_hi, row.bitmap_lo = good_high, good_low
    if not stopped and at != end:
        _set_fault(row, _TRAILING, 0, at - start)
    if pan_size > 0:
        _take_pan(arena, row, pan_block, i, pan_at, pan_size)
    if merchant_at >= 0:
        word = np.uint64(row.acquirer)
        key = siphash_bytes_word(hash_key[0], hash_key[1], arena, merchant_at, merchant_size, word)
        row.merchant = max(key, _ONE)  # 0 says absent
    if row.fault == 0:
        _check_presence(row, table.messages[dialect, table.message_of[dialect, mti]], table)


@kernel
def _clear_row(row: Any, pan_block: Bytes, i: int) -> None:
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
    pan_block[i, 0] = 0
    for k in range(1, 11):
        pan_block[i, k] = 255
    pan_block[i, 11], pan_block[i, 12] = 100, 101  # "de39": no other use of the key makes
    pan_block[i, 13], pan_block[i, 14] = 51, 57  # such a block
    pan_block[i, 15] = 1


@kernel
def _set_fault(row: Any, fault: int, number: int, offset: int) -> None:
    if row.fault == 0:
        row.fault, row.fault_field, row.fault_offset = fault, number, offset


@kernel
def _read_mti(arena: Bytes, start: int, size: int) -> int:
    if size < 4:
        return -1
    mti = 0
    for k in range(4):
        digit = np.int64(arena[start + k]) - 48
        if digit < 0 or digit > 9:
            return -1
        mti = mti * 10 + digit
    return mti


@kernel
def _read_bitmaps(
    arena: Bytes, start: int, size: int, table: DialectTable, row: Any
) -> tuple[int, np.uint64, np.uint64]:
    """Return (arena offset of the first field, the words of fields 1-64 and 65-128); -1 = none."""
    is_hex = table.framing[row.dialect].bitmap_hex == 1
    width = 16 if is_hex else 8
    low = _ZERO
    if size < 4 + width:
        _set_fault(row, _BITMAP, 0, 4)
        return -1, _ZERO, low
    at = start + 4
    high, right = _read_word(arena, at, is_hex, table.chars)
    if not right:
        _set_fault(row, _BITMAP, 0, 4)
        return -1, _ZERO, low
    at += width
    if high & _TOP != _ZERO:
        if size < 4 + 2 * width:
            _set_fault(row, _BITMAP, 1, at - start)
            return -1, high, low
        low, right = _read_word(arena, at, is_hex, table.chars)
        if not right:  # the fields of the first bitmap can still be read
            _set_fault(row, _BITMAP, 1, at - start)
            low = _ZERO
        at += width
    return at, high, low


@kernel
def _read_word(
    arena: Bytes,
    at: int,
    is_hex: bool,
    chars: NDArray[np.uint16],  # noqa: FBT001
) -> tuple[np.uint64, bool]:
    word = _ZERO
    if not is_hex:
        for k in range(8):
            word = (word << _BYTE_BITS) | np.uint64(arena[at + k])
        return word, True
    bits = _HEX
    for k in range(16):
        byte = np.int64(arena[at + k])
        bits &= np.int64(chars[byte])
        nibble = (byte & 15) + 9 * (byte >> 6)
        word = (word << _NIBBLE_BITS) | np.uint64(nibble & 15)
    return word, bits != 0


@kernel
def _reverse(word: np.uint64) -> np.uint64:
    """Return the bits in opposite order: field 1 becomes the lowest, which is the cheap one to find."""
    word = ((word >> _ONE) & _PAIRS) | ((word & _PAIRS) << _ONE)
    word = ((word >> _TWO) & _QUADS) | ((word & _QUADS) << _TWO)
    word = ((word >> _NIBBLE_BITS) & _NIBBLES) | ((word & _NIBBLES) << _NIBBLE_BITS)
    word = ((word >> _BYTE_BITS) & _BYTES) | ((word & _BYTES) << _BYTE_BITS)
    word = ((word >> _SIXTEEN) & _SHORTS) | ((word & _SHORTS) << _SIXTEEN)
    return (word >> _THIRTY_TWO) | (word << _THIRTY_TWO)


@kernel
def _read_prefix(arena: Bytes, at: int, end: int, digits: int, limit: int) -> int:
    """Return the length that the prefix announces; -1 = not digits, over the limit, or cut short."""
    if at + digits > end:
        return -1
    length = 0
    for k in range(digits):
        digit = np.int64(arena[at + k]) - 48
        if digit < 0 or digit > 9:
            return -1
        length = length * 10 + digit
    return length if length <= limit else -1


@kernel
def _bad_character(
    arena: Bytes, at: int, length: int, chars: NDArray[np.uint16], first_bits: int, char_bits: int
) -> int:
    """Return the offset of the first byte outside its class; -1 = none."""
    if length == 0:
        return -1
    if chars[arena[at]] & first_bits == 0:
        return at
    bits = char_bits
    for k in range(1, length):
        bits &= chars[arena[at + k]]
    if bits != 0:
        return -1
    for k in range(1, length):
        if chars[arena[at + k]] & char_bits == 0:
            return at + k
    return -1


@kernel
def _number(arena: Bytes, at: int, length: int) -> int:
    """Return the digits as a number; the caller has checked them and that 18 are not exceeded."""
    value = 0
    for k in range(length):
        value = value * 10 + (np.int64(arena[at + k]) - 48)
    return value


@kernel
def _is_digits(arena: Bytes, at: int, length: int) -> bool:
    for k in range(length):
        if arena[at + k] < 48 or arena[at + k] > 57:
            return False
    return True


@kernel
def _is_date(mmdd: int) -> bool:
    month, day = mmdd // 100, mmdd % 100
    return 1 <= month <= 12 and 1 <= day <= 31


@kernel
def _is_time(hhmmss: int) -> bool:
    return hhmmss < 240000 and hhmmss // 100 % 100 < 60 and hhmmss % 100 < 60


@kernel
def _take_value(arena: Bytes, row: Any, use: int, at: int, length: int) -> bool:
    """Write the column of one field; return whether the value can be."""
    if use == _RRN:
        row.rrn_a = _little_endian(arena, at, 8)
        row.rrn_b = np.uint32(_little_endian(arena, at + 8, 4))
        return True
    if use == _TERMINAL:
        row.terminal = _little_endian(arena, at, 8)
        return True
    if use == _ORIGINAL:
        return _take_original(arena, row, at)
    if use == _REPLACEMENT:
        if not _is_digits(arena, at, 12):
            return False
        row.replacement_amount = _number(arena, at, 12)
        return True
    value = _number(arena, at, length)
    if use == _AMOUNT:
        row.amount = value
    elif use == _PCODE:
        row.pcode = value
    elif use == _STAN:
        row.stan = value
    elif use == _TRANSMITTED:
        if not _is_date(value // 1000000) or not _is_time(value % 1000000):
            return False
        row.transmitted = value
    elif use == _LOCAL_TIME:
        if not _is_time(value):
            return False
        row.local_time = value
    elif use == _LOCAL_DATE:
        if not _is_date(value):
            return False
        row.local_date = value
    elif use == _EXPIRY:
        if not 1 <= value % 100 <= 12:
            return False
        row.expiry_yymm = value
    elif use == _MCC:
        row.mcc = value
    elif use == _COUNTRY:
        row.country = value
    elif use == _ENTRY_MODE:
        row.entry_mode = value
    elif use == _CONDITION:
        row.condition = value
    elif use == _ACQUIRER:
        row.acquirer = value if length > 0 else -1
    elif use == _FORWARDER:
        row.forwarder = value if length > 0 else -1
    elif use == _CURRENCY:
        if not _is_digits(arena, at, length):
            return False
        row.currency = value
    elif use == _BILLING_CURRENCY:
        if not _is_digits(arena, at, length):
            return False
        row.billing_currency = value
    elif use == _NETWORK_CODE:
        row.network_code = value
    elif use == _BILLING_AMOUNT:
        row.billing_amount = value
    return True


@kernel
def _little_endian(arena: Bytes, at: int, length: int) -> np.uint64:
    word = _ZERO
    for k in range(length):
        word |= np.uint64(arena[at + k]) << np.uint64(8 * k)
    return word


@kernel
def _take_original(arena: Bytes, row: Any, at: int) -> bool:
    """DE90: MTI 4, STAN 6, transmitted 10, acquirer 11, forwarder 11; zeros where not known."""
    if not _is_digits(arena, at, 42):
        return False
    transmitted = _number(arena, at + 10, 10)
    if transmitted != 0:
        if not _is_date(transmitted // 1000000) or not _is_time(transmitted % 1000000):
            return False
    row.original_mti = _number(arena, at, 4)
    row.original_stan = _number(arena, at + 4, 6)
    row.original_transmitted = transmitted
    row.original_acquirer = _number(arena, at + 20, 11)
    row.original_forwarder = _number(arena, at + 31, 11)
    return True


@kernel
def _read_track2(arena: Bytes, at: int, length: int) -> tuple[int, int]:
    """Return (digits of the card number or -1, expiry YYMM or -1 when a separator stands for it).

    Layout of ISO/IEC 7813: card number, = or D, expiry, service code, discretionary data.
    """
    digits = 0
    while digits < length and arena[at + digits] != _EQUALS and arena[at + digits] != _LETTER_D:
        digits += 1
    if digits == length:
        return -1, -1
    return _end_of_track(arena, at, length, digits, digits + 1)


@kernel
def _read_track1(arena: Bytes, at: int, length: int) -> tuple[int, int]:
    """Return as ``_read_track2``. Layout: B, card number, ^, name, ^, expiry, the rest."""
    digits = 0
    while 1 + digits < length and 48 <= arena[at + 1 + digits] <= 57:
        digits += 1
    after = 1 + digits
    if after == length or arena[at + after] != _CARET:
        return -1, -1
    after += 1
    while after < length and arena[at + after] != _CARET:
        after += 1
    if after == length:
        return -1, -1
    return _end_of_track(arena, at, length, digits, after + 1)


@kernel
def _end_of_track(arena: Bytes, at: int, length: int, digits: int, after: int) -> tuple[int, int]:
    """Check the card number's length and read what follows the last separator: the expiry."""
    if digits < 1 or digits > 19 or after >= length:
        return -1, -1
    first = arena[at + after]
    if first == _EQUALS or first == _LETTER_D or first == _CARET:
        return digits, -1
    if after + 4 > length or not _is_digits(arena, at + after, 4):
        return -1, -1
    expiry = _number(arena, at + after, 4)
    if not 1 <= expiry % 100 <= 12:
        return -1, -1
    return digits, expiry


@kernel
def _take_track(
    arena: Bytes, row: Any, at: int, digits: int, expiry: int, pan_at: int, pan_size: int
) -> bool:
    """Return whether the track can be and agrees with the card number and expiry read before."""
    if digits < 0:
        return False
    if pan_size > 0:
        if pan_size != digits:
            return False
        for k in range(digits):
            if arena[at + k] != arena[pan_at + k]:
                return False
    if expiry >= 0:
        if row.expiry_yymm >= 0 and row.expiry_yymm != expiry:
            return False
        row.expiry_yymm = expiry
    return True


@kernel
def _take_pan(arena: Bytes, row: Any, pan_block: Bytes, i: int, at: int, size: int) -> None:
    """Write the card number's BCD block, first six digits and check digit (Luhn, ISO/IEC 7812-1)."""
    doubled, plain, total = 0, 0, 0
    for k in range(size):
        digit = np.int64(arena[at + size - 1 - k]) - 48
        twice = 2 * digit
        if twice > 9:
            twice -= 9
        total += twice if k & 1 else digit
    for k in range(size // 2):
        doubled = np.int64(arena[at + 2 * k]) - 48
        plain = np.int64(arena[at + 2 * k + 1]) - 48
        pan_block[i, 1 + k] = (doubled << 4) | plain
    if size & 1:
        pan_block[i, 1 + size // 2] = ((np.int64(arena[at + size - 1]) - 48) << 4) | 15
    pan_block[i, 0] = size
    row.pan_length = size
    row.luhn = 1 if total % 10 == 0 else 0
    if size >= 6:
        row.bin = _number(arena, at, 6)


@kernel
def _check_presence(row: Any, message: Any, table: DialectTable) -> None:
    """Report the lowest mandatory field that is absent."""
    missing_high = message.mandatory_hi & ~row.bitmap_hi
    missing_low = message.mandatory_lo & ~row.bitmap_lo
    if message.needs_pan == 1 and row.pan_length == 0:
        missing_high |= _TOP >> np.uint64(message.pan_field - 1)
    if missing_high == _ZERO and missing_low == _ZERO:
        return
    base, left = 1, _reverse(missing_high)
    if missing_high == _ZERO:
        base, left = 65, _reverse(missing_low)
    lone = left & (~left + _ONE)
    number = base + np.int64(table.lowest_bit[(lone * _BRUIJN) >> _BRUIJN_SHIFT])
    _set_fault(row, _MISSING, number, row.size)
