"""From field bytes to columns: numbers, dates, the card number from its field or a track."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.columns import Fault
from engine.wire.dialect import Use
from engine.wire.scan_kernels import (
    digits_value,
    load_word,
    lone_position,
    reverse_bits,
    word_before,
)
from engine.wire.table import DialectTable
from ledger.jit import kernel

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(1 << 63)
_LOW_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_ONES = np.uint64(0x0101010101010101)
_DOUBLED = np.uint64(0x00FF00FF00FF00FF)  # of a word that ends with the check digit
_FROM_FIVE = np.uint64(0x7B7B7B7B7B7B7B7B)  # lifts 5 and above to 0x80
_NINE, _SEVEN, _SUM_SHIFT = np.uint64(9), np.uint64(7), np.uint64(56)
_THIRTY_TWO = np.uint64(32)
_MISSING = int(Fault.MISSING)

_PCODE, _AMOUNT, _STAN = int(Use.PCODE), int(Use.AMOUNT), int(Use.STAN)
_BILLING_AMOUNT, _TRANSMITTED = int(Use.BILLING_AMOUNT), int(Use.TRANSMITTED)
_LOCAL_TIME, _LOCAL_DATE, _EXPIRY = int(Use.LOCAL_TIME), int(Use.LOCAL_DATE), int(Use.EXPIRY)
_MCC, _COUNTRY = int(Use.MCC), int(Use.COUNTRY)
_ENTRY_MODE, _CONDITION = int(Use.ENTRY_MODE), int(Use.CONDITION)
_ACQUIRER, _FORWARDER = int(Use.ACQUIRER), int(Use.FORWARDER)
_CURRENCY, _BILLING_CURRENCY = int(Use.CURRENCY), int(Use.BILLING_CURRENCY)
_NETWORK_CODE, _REPLACEMENT = int(Use.NETWORK_CODE), int(Use.REPLACEMENT)
_RRN, _TERMINAL, _ORIGINAL = int(Use.RRN), int(Use.TERMINAL), int(Use.ORIGINAL)

_CARET, _EQUALS, _LETTER_D = 94, 61, 68


@kernel
def set_fault(row: Any, fault: int, number: int, offset: int) -> None:
    """Note the first fault of a message; later ones follow from it."""
    if row.fault == 0:
        row.fault, row.fault_field, row.fault_offset = fault, number, offset


@kernel
def take_number(row: Any, use: int, value: int) -> bool:
    """Write the column of a field that is a number; return whether the value can be."""
    if use == _AMOUNT:
        row.amount = value
    elif use == _PCODE:
        row.pcode = value
    elif use == _STAN:
        row.stan = value
    elif use == _TRANSMITTED:
        if not _is_moment(value):
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
        row.acquirer = value
    elif use == _FORWARDER:
        row.forwarder = value
    elif use == _NETWORK_CODE:
        row.network_code = value
    elif use == _BILLING_AMOUNT:
        row.billing_amount = value
    return True


@kernel
def take_text(arena: Bytes, row: Any, use: int, at: int, length: int) -> bool:
    """Write the columns of a field that is not one number; return whether the value can be."""
    if use == _RRN:
        row.rrn_a = load_word(arena, at)
        row.rrn_b = load_word(arena, at + 4) >> _THIRTY_TWO
    elif use == _TERMINAL:
        row.terminal = load_word(arena, at)
    elif use == _CURRENCY:
        value = digits_value(arena, at, length)
        if value < 0:
            return False
        row.currency = value
    elif use == _BILLING_CURRENCY:
        value = digits_value(arena, at, length)
        if value < 0:
            return False
        row.billing_currency = value
    elif use == _REPLACEMENT:
        value = digits_value(arena, at, 12)
        if value < 0:
            return False
        row.replacement_amount = value
    elif use == _ORIGINAL:
        return _take_original(arena, row, at)
    return True


@kernel
def _is_date(mmdd: int) -> bool:
    month, day = mmdd // 100, mmdd % 100
    return 1 <= month <= 12 and 1 <= day <= 31


@kernel
def _is_time(hhmmss: int) -> bool:
    return hhmmss < 240000 and hhmmss // 100 % 100 < 60 and hhmmss % 100 < 60


@kernel
def _is_moment(mmddhhmmss: int) -> bool:
    return _is_date(mmddhhmmss // 1_000_000) and _is_time(mmddhhmmss % 1_000_000)


@kernel
def _take_original(arena: Bytes, row: Any, at: int) -> bool:
    """MTI 4, STAN 6, transmitted 10, acquirer 11, forwarder 11; zeros where not known."""
    mti = digits_value(arena, at, 4)
    stan = digits_value(arena, at + 4, 6)
    transmitted = digits_value(arena, at + 10, 10)
    acquirer = digits_value(arena, at + 20, 11)
    forwarder = digits_value(arena, at + 31, 11)
    if mti < 0 or stan < 0 or transmitted < 0 or acquirer < 0 or forwarder < 0:
        return False
    if transmitted != 0 and not _is_moment(transmitted):
        return False
    row.original_mti, row.original_stan, row.original_transmitted = mti, stan, transmitted
    row.original_acquirer, row.original_forwarder = acquirer, forwarder
    return True


@kernel
def read_track2(arena: Bytes, at: int, length: int) -> tuple[int, int]:
    """Return (digits of the card number or -1, expiry YYMM or -1 when a separator stands for it).

    Layout of ISO/IEC 7813: card number, = or D, expiry, service code, discretionary data.
    """
    count = 0
    while count < length and not _is_separator(arena[np.uint64(at + count)]):
        count += 1
    if count == length:
        return -1, -1
    return _end_of_track(arena, at, length, count, count + 1)


@kernel
def read_track1(arena: Bytes, at: int, length: int) -> tuple[int, int]:
    """Return as ``read_track2``. Layout: B, card number, ^, name, ^, expiry, the rest."""
    count = 0
    while 1 + count < length and 48 <= arena[np.uint64(at + 1 + count)] <= 57:
        count += 1
    after = 1 + count
    if after == length or arena[np.uint64(at + after)] != _CARET:
        return -1, -1
    after += 1
    while after < length and arena[np.uint64(at + after)] != _CARET:
        after += 1
    if after == length:
        return -1, -1
    return _end_of_track(arena, at, length, count, after + 1)


@kernel
def _is_separator(byte: int) -> bool:
    return byte == _EQUALS or byte == _LETTER_D  # noqa: PLR1714 - a tuple test is slower here


@kernel
def _end_of_track(arena: Bytes, at: int, length: int, count: int, after: int) -> tuple[int, int]:
    """Check the card number's length and read what follows the last separator: the expiry."""
    if count < 1 or count > 19 or after >= length:
        return -1, -1
    first = arena[np.uint64(at + after)]
    if _is_separator(first) or first == _CARET:
        return count, -1
    if after + 4 > length:
        return -1, -1
    expiry = digits_value(arena, at + after, 4)
    if expiry < 0 or not 1 <= expiry % 100 <= 12:
        return -1, -1
    return count, expiry


@kernel
def take_track(
    arena: Bytes, row: Any, at: int, count: int, expiry: int, pan_at: int, pan_size: int
) -> bool:
    """Return whether the track can be and agrees with the card number and expiry read before."""
    if count < 0:
        return False
    if pan_size > 0:
        if pan_size != count:
            return False
        for k in range(count):
            if arena[np.uint64(at + k)] != arena[np.uint64(pan_at + k)]:
                return False
    if expiry >= 0:
        if row.expiry_yymm >= 0 and row.expiry_yymm != expiry:
            return False
        row.expiry_yymm = expiry
    return True


@kernel
def take_pan(arena: Bytes, row: Any, block: Bytes, at: int, size: int) -> None:
    """Write the card number's BCD block, first six digits and check digit (Luhn, ISO/IEC 7812-1)."""
    total = _ZERO
    count = ((size - 1) & 7) + 1
    done = count
    while done <= size:
        word = word_before(arena, at + done, count) & _LOW_NIBBLES
        over = ((word + _FROM_FIVE) >> _SEVEN) & _ONES
        twice = word + word - over * _NINE
        word = (twice & _DOUBLED) | (word & ~_DOUBLED)
        total += (word * _ONES) >> _SUM_SHIFT
        count = 8
        done += 8
    for k in range(size >> 1):
        high = np.int64(arena[np.uint64(at + 2 * k)])
        low = np.int64(arena[np.uint64(at + 2 * k + 1)])
        block[np.uint64(1 + k)] = ((high & 15) << 4) | (low & 15)
    if size & 1:
        last = np.int64(arena[np.uint64(at + size - 1)])
        block[np.uint64(1 + (size >> 1))] = ((last & 15) << 4) | 15
    block[0] = size
    row.pan_length = size
    row.luhn = 1 if np.int64(total) % 10 == 0 else 0
    if size >= 6:
        row.bin = digits_value(arena, at, 6)


@kernel
def check_presence(row: Any, message: Any, table: DialectTable) -> None:
    """Report the lowest mandatory field that is absent."""
    missing_high = message.mandatory_hi & ~row.bitmap_hi
    missing_low = message.mandatory_lo & ~row.bitmap_lo
    if message.needs_pan == 1 and row.pan_length == 0:
        missing_high |= _TOP >> np.uint64(message.pan_field - 1)
    if missing_high == _ZERO and missing_low == _ZERO:
        return
    base, left = 1, reverse_bits(missing_high)
    if missing_high == _ZERO:
        base, left = 65, reverse_bits(missing_low)
    number = base + lone_position(left & (~left + _ONE), table.lowest_bit)
    set_fault(row, _MISSING, number, row.size)
