"""From field bytes to columns: numbers, dates, the card number from its field or a track."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.siphash import siphash_bytes_word
from engine.wire.columns import Fault
from engine.wire.fault_kernels import is_date, is_moment, is_time, of_version, reject, set_fault
from engine.wire.later_kernels import take_later_values
from engine.wire.profile import Profile
from engine.wire.scan_kernels import (
    Int,
    digits_value,
    reverse_bits,
    word_before,
)
from engine.wire.uses import Use
from ledger.jit import kernel, load_word, lowest_bit

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(1 << 63)
_LOW_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_ONES = np.uint64(0x0101010101010101)
_DOUBLED = np.uint64(0x00FF00FF00FF00FF)  # of a word that ends with the check digit
_FROM_FIVE = np.uint64(0x7B7B7B7B7B7B7B7B)  # lifts 5 and above to 0x80
_NINE, _SEVEN, _SUM_SHIFT = np.uint64(9), np.uint64(7), np.uint64(56)
_THIRTY_TWO, _SIXTEEN = np.uint64(32), np.uint64(16)
_BLANK = 32
_MISSING, _VALUE = int(Fault.MISSING), int(Fault.VALUE)

_PAN, _MERCHANT = int(Use.PAN), int(Use.MERCHANT)
_TRACK1, _TRACK2 = int(Use.TRACK1), int(Use.TRACK2)
_PCODE, _AMOUNT, _STAN = int(Use.PCODE), int(Use.AMOUNT), int(Use.STAN)
_BILLING_AMOUNT, _TRANSMITTED = int(Use.BILLING_AMOUNT), int(Use.TRANSMITTED)
_LOCAL_TIME, _LOCAL_DATE, _EXPIRY = int(Use.LOCAL_TIME), int(Use.LOCAL_DATE), int(Use.EXPIRY)
_MCC, _COUNTRY = int(Use.MCC), int(Use.COUNTRY)
_ENTRY_MODE, _CONDITION = int(Use.ENTRY_MODE), int(Use.CONDITION)
_ACQUIRER, _FORWARDER = int(Use.ACQUIRER), int(Use.FORWARDER)
_CURRENCY, _BILLING_CURRENCY = int(Use.CURRENCY), int(Use.BILLING_CURRENCY)
_NETWORK_CODE, _REPLACEMENT = int(Use.NETWORK_CODE), int(Use.REPLACEMENT)
_RRN, _TERMINAL, _ORIGINAL = int(Use.RRN), int(Use.TERMINAL), int(Use.ORIGINAL)
_FUNCTION, _REASON, _PARTIAL = int(Use.FUNCTION), int(Use.REASON), int(Use.PARTIAL)
_APPROVAL = int(Use.APPROVAL)
_SIGN_ON, _SIGN_OFF = int(Profile.SIGN_ON), int(Profile.SIGN_OFF)
_ECHO_TEST, _KEY_CHANGE = int(Profile.ECHO_TEST), int(Profile.KEY_CHANGE)
_CUT_OVER = int(Profile.CUT_OVER)

_CARET, _EQUALS, _LETTER_D = 94, 61, 68
_LETTER_B = 66  # format code of a track 1 that holds a card number


@kernel
def take_values(
    text: Bytes,
    number_of: NDArray[np.uint8],
    hash_key: NDArray[np.uint64],
    row: Any,
    rule: Any,
    profile: NDArray[np.int64],
    pan_block: Bytes,
    i: Int,
    found: NDArray[np.int64],
) -> None:
    """Write all value columns of a row, and its row of ``pan_block``, from the fields found.

    ``found`` is int64[3, 45] by Use: number (-1 = none), where it stands in ``text`` (-1 = absent),
    and its characters there. ``rule`` is the dialect's FRAMING row.
    """
    row.amount, row.billing_amount = found[0, _AMOUNT], found[0, _BILLING_AMOUNT]
    row.acquirer, row.forwarder = found[0, _ACQUIRER], found[0, _FORWARDER]
    row.pcode, row.stan = found[0, _PCODE], found[0, _STAN]
    row.mcc, row.country = found[0, _MCC], found[0, _COUNTRY]
    row.entry_mode, row.condition = found[0, _ENTRY_MODE], found[0, _CONDITION]
    row.network_code, row.function = found[0, _NETWORK_CODE], found[0, _FUNCTION]
    row.reason, row.partial = found[0, _REASON], found[0, _PARTIAL]
    _take_times(number_of, row, found)
    _take_currencies(text, number_of, row, found)
    _take_original(text, number_of, row, rule, found)
    row.rrn_a, row.rrn_b, row.terminal, row.merchant = _ZERO, 0, _ZERO, _ZERO
    row.approval, row.original_amount = _ZERO, -1
    at = found[1, _RRN]
    if at >= 0:
        row.rrn_a = load_word(text, at)
        row.rrn_b = load_word(text, at + 4) >> _THIRTY_TWO
    at = found[1, _TERMINAL]
    if at >= 0:
        row.terminal = _last_eight(text, at, found[2, _TERMINAL])
    at = found[1, _MERCHANT]
    if at >= 0:
        acquirer = np.uint64(row.acquirer)
        hashed = siphash_bytes_word(
            hash_key[0], hash_key[1], text, at, found[2, _MERCHANT], acquirer
        )
        row.merchant = max(hashed, _ONE)  # 0 says absent
    at = found[1, _APPROVAL]
    if at >= 0:
        row.approval = load_word(text, at - 2) >> _SIXTEEN
    if rule.version != 0:
        take_later_values(text, number_of, row, rule, found)
    if rule.networks:
        row.network_code = _network_code(row, profile)
    _take_card(text, number_of, row, pan_block, i, found)


@kernel
def _last_eight(text: Bytes, at: Int, length: Int) -> np.uint64:
    """Return eight characters; of a longer text the last ones that are not blanks."""
    while length > 8 and text[np.uint64(at + length - 1)] == _BLANK:
        length -= 1
    return load_word(text, at + length - 8)


@kernel
def _network_code(row: Any, profile: NDArray[np.int64]) -> Int:
    """Return the code of 1987 for the dialect's own one; an unknown one keeps clear of these."""
    code = np.int64(row.network_code)
    own = profile[row.dialect]
    if code < 0:
        return code
    if code == own[_SIGN_ON]:
        return 1
    if code == own[_SIGN_OFF]:
        return 2
    if code == own[_ECHO_TEST]:
        return 301
    if code == own[_KEY_CHANGE]:
        return 161
    return 201 if code == own[_CUT_OVER] else 1000 + code


@kernel
def _take_times(number_of: NDArray[np.uint8], row: Any, found: NDArray[np.int64]) -> None:
    """Write the date and time columns; a value that cannot be is a fault and stays absent."""
    transmitted, time = found[0, _TRANSMITTED], found[0, _LOCAL_TIME]
    date, expiry = found[0, _LOCAL_DATE], found[0, _EXPIRY]
    if transmitted >= 0 and not is_moment(transmitted):
        reject(number_of, row, _TRANSMITTED)
        transmitted = -1
    if time >= 0 and not is_time(time):
        reject(number_of, row, _LOCAL_TIME)
        time = -1
    if date >= 0 and not is_date(date):
        reject(number_of, row, _LOCAL_DATE)
        date = -1
    if expiry >= 0 and not 1 <= expiry % 100 <= 12:
        reject(number_of, row, _EXPIRY)
        expiry = -1
    row.transmitted = max(transmitted, 0)
    row.local_time, row.local_date, row.expiry_yymm = time, date, expiry


@kernel
def _take_currencies(
    text: Bytes, number_of: NDArray[np.uint8], row: Any, found: NDArray[np.int64]
) -> None:
    row.currency, row.billing_currency = -1, -1
    at = found[1, _CURRENCY]
    if at >= 0:
        row.currency = digits_value(text, at, 3)
        if row.currency < 0:
            reject(number_of, row, _CURRENCY)
    at = found[1, _BILLING_CURRENCY]
    if at >= 0:
        row.billing_currency = digits_value(text, at, 3)
        if row.billing_currency < 0:
            reject(number_of, row, _BILLING_CURRENCY)


@kernel
def _take_original(
    text: Bytes, number_of: NDArray[np.uint8], row: Any, rule: Any, found: NDArray[np.int64]
) -> None:
    """DE90: MTI 4, STAN 6, transmitted 10, acquirer 11, forwarder 11; DE95: amount 12, others."""
    row.original_mti, row.original_stan, row.original_transmitted = -1, -1, 0
    row.original_acquirer, row.original_forwarder, row.replacement_amount = -1, -1, -1
    at = found[1, _REPLACEMENT]
    if at >= 0:
        row.replacement_amount = digits_value(text, at, 12)
        if row.replacement_amount < 0:
            reject(number_of, row, _REPLACEMENT)
    at = found[1, _ORIGINAL]
    if at < 0:
        return
    mti = digits_value(text, at, 4)
    stan = digits_value(text, at + 4, 6)
    transmitted = digits_value(text, at + 10, 10)
    acquirer = digits_value(text, at + 20, 11)
    forwarder = digits_value(text, at + 31, 11)
    known = (mti >= 0) & (stan >= 0) & (transmitted >= 0) & (acquirer >= 0) & (forwarder >= 0)
    if not known or (transmitted != 0 and not is_moment(transmitted)):  # zeros: not known
        reject(number_of, row, _ORIGINAL)
        return
    row.original_mti = of_version(mti, rule.version)
    row.original_stan, row.original_transmitted = stan, transmitted
    row.original_acquirer, row.original_forwarder = acquirer, forwarder


@kernel
def _take_card(
    arena: Bytes,
    number_of: NDArray[np.uint8],
    row: Any,
    pan_block: Bytes,
    i: Int,
    found: NDArray[np.int64],
) -> None:
    """Card number from its field, else track 2, else track 1; whichever are there must agree."""
    at, size = np.int64(0), np.int64(0)
    if found[1, _PAN] >= 0:
        at, size = found[1, _PAN], found[2, _PAN]
    track = found[1, _TRACK2]
    if track >= 0:
        count, expiry = _read_track2(arena, track, found[2, _TRACK2])
        if not _agrees(arena, row, track, count, expiry, at, size):
            reject(number_of, row, _TRACK2)
        elif size == 0:
            at, size = track, count
    track = found[1, _TRACK1]
    if track >= 0 and found[2, _TRACK1] > 0 and arena[np.uint64(track)] == _LETTER_B:
        count, expiry = _read_track1(arena, track, found[2, _TRACK1])
        if not _agrees(arena, row, track + 1, count, expiry, at, size):
            reject(number_of, row, _TRACK1)
        elif size == 0:
            at, size = track + 1, count
    _clear_block(pan_block, i)
    row.pan_length, row.bin, row.luhn = 0, 0, 0
    if size > 0:
        _take_pan(arena, row, pan_block, i, at, size)


@kernel
def _clear_block(pan_block: Bytes, i: Int) -> None:
    pan_block[i, 0] = 0
    for k in range(1, 11):
        pan_block[i, k] = 255
    pan_block[i, 11], pan_block[i, 12] = 100, 101  # "de39": no other use of the token key
    pan_block[i, 13], pan_block[i, 14] = 51, 57  # makes such a block
    pan_block[i, 15] = 1


@kernel
def _read_track2(arena: Bytes, at: Int, length: Int) -> tuple[Int, Int]:
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
def _read_track1(arena: Bytes, at: Int, length: Int) -> tuple[Int, Int]:
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
def _is_separator(byte: Int) -> bool:
    return (byte == _EQUALS) | (byte == _LETTER_D)


@kernel
def _end_of_track(arena: Bytes, at: Int, length: Int, count: Int, after: Int) -> tuple[Int, Int]:
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
def _agrees(
    arena: Bytes, row: Any, at: Int, count: Int, expiry: Int, pan_at: Int, pan_size: Int
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
def _take_pan(arena: Bytes, row: Any, pan_block: Bytes, i: Int, at: Int, size: Int) -> None:
    """Write the BCD block, first six digits and check digit (Luhn, ISO/IEC 7812-1)."""
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
        pan_block[i, np.uint64(1 + k)] = ((high & 15) << 4) | (low & 15)
    if size & 1:
        last = np.int64(arena[np.uint64(at + size - 1)])
        pan_block[i, np.uint64(1 + (size >> 1))] = ((last & 15) << 4) | 15
    pan_block[i, 0] = size
    row.pan_length = size
    row.luhn = 1 if np.int64(total) % 10 == 0 else 0
    if size >= 6:
        row.bin = digits_value(arena, at, 6)


@kernel
def check_presence(row: Any, message: Any, number_of: NDArray[np.uint8]) -> None:
    """Report the lowest mandatory field that is absent."""
    missing_high = message.mandatory_hi & ~row.bitmap_hi
    missing_low = message.mandatory_lo & ~row.bitmap_lo
    if message.needs_pan == 1 and row.pan_length == 0:
        missing_high |= _TOP >> np.uint64(max(number_of[row.dialect, _PAN], 2) - 1)
    if missing_high == _ZERO and missing_low == _ZERO:
        return
    base, left = 1, reverse_bits(missing_high)
    if missing_high == _ZERO:
        base, left = 65, reverse_bits(missing_low)
    number = base + lowest_bit(left)
    set_fault(row, _MISSING, number, row.size)
