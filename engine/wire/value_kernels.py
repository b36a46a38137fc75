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
from ledger.jit import hot_kernel, kernel, load_word, lowest_bit, store_word

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
_PAIRS, _QUADS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_HALF, _SHORT = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF)
_ALL, _PAD = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0xF0)
_FOUR, _EIGHT, _FIFTEEN = np.uint64(4), np.uint64(8), np.uint64(15)
_SIXES, _FORTIES = np.uint64(0x0606060606060606), np.uint64(0x4040404040404040)
# "de39" and 1 behind the digits: no other use of the token key makes such a block.
_BLOCK_END = np.uint64(int.from_bytes(b"\0\0\0de39\1", "little"))
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
_APPROVAL, _LIFECYCLE = int(Use.APPROVAL), int(Use.LIFECYCLE)
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
    """Write all value columns of a row, and its 16 bytes of ``pan_block``, from the fields found.

    ``found`` is int64[46, 4] by Use: number (-1 = none), where it stands in ``text`` (-1 = absent),
    and its characters there. ``rule`` is the dialect's FRAMING row.
    """
    row.amount, row.billing_amount = found[_AMOUNT, 0], found[_BILLING_AMOUNT, 0]
    row.acquirer, row.forwarder = found[_ACQUIRER, 0], found[_FORWARDER, 0]
    row.pcode, row.stan = found[_PCODE, 0], found[_STAN, 0]
    row.mcc, row.country = found[_MCC, 0], found[_COUNTRY, 0]
    row.entry_mode, row.condition = found[_ENTRY_MODE, 0], found[_CONDITION, 0]
    row.network_code, row.function = found[_NETWORK_CODE, 0], found[_FUNCTION, 0]
    row.reason, row.partial = found[_REASON, 0], found[_PARTIAL, 0]
    row.lifecycle = max(found[_LIFECYCLE, 0], 0)
    _take_times(number_of, row, found)
    _take_currencies(text, number_of, row, found)
    _take_original(text, number_of, row, rule, found)
    row.rrn_a, row.rrn_b, row.terminal, row.merchant = _ZERO, 0, _ZERO, _ZERO
    row.approval, row.original_amount = _ZERO, -1
    at = found[_RRN, 1]
    if at >= 0:
        row.rrn_a = load_word(text, at)
        row.rrn_b = load_word(text, at + 4) >> _THIRTY_TWO
    at = found[_TERMINAL, 1]
    if at >= 0:
        row.terminal = _last_eight(text, at, found[_TERMINAL, 2])
    at = found[_MERCHANT, 1]
    if at >= 0:
        acquirer = np.uint64(row.acquirer)
        hashed = siphash_bytes_word(
            hash_key[0], hash_key[1], text, at, found[_MERCHANT, 2], acquirer
        )
        row.merchant = max(hashed, _ONE)  # 0 says absent
    at = found[_APPROVAL, 1]
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
    transmitted, time = found[_TRANSMITTED, 0], found[_LOCAL_TIME, 0]
    date, expiry = found[_LOCAL_DATE, 0], found[_EXPIRY, 0]
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
    at = found[_CURRENCY, 1]
    if at >= 0:
        row.currency = digits_value(text, at, 3)
        if row.currency < 0:
            reject(number_of, row, _CURRENCY)
    at = found[_BILLING_CURRENCY, 1]
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
    at = found[_REPLACEMENT, 1]
    if at >= 0:
        row.replacement_amount = digits_value(text, at, 12)
        if row.replacement_amount < 0:
            reject(number_of, row, _REPLACEMENT)
    at = found[_ORIGINAL, 1]
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
    if found[_PAN, 1] >= 0:
        at, size = found[_PAN, 1], found[_PAN, 2]
    track = found[_TRACK2, 1]
    if track >= 0:
        count, expiry = _read_track2(arena, track, found[_TRACK2, 2])
        if not _agrees(arena, row, track, count, expiry, at, size):
            reject(number_of, row, _TRACK2)
        elif size == 0:
            at, size = track, count
    track = found[_TRACK1, 1]
    if track >= 0 and found[_TRACK1, 2] > 0 and arena[np.uint64(track)] == _LETTER_B:
        count, expiry = _read_track1(arena, track, found[_TRACK1, 2])
        if not _agrees(arena, row, track + 1, count, expiry, at, size):
            reject(number_of, row, _TRACK1)
        elif size == 0:
            at, size = track + 1, count
    row.pan_length, row.bin, row.luhn = size, 0, 0
    digits, more = _ZERO, _ZERO
    if size > 0:
        row.luhn = _luhn(arena, at, size)
        digits, more = _packed_digits(arena, at, size)
    if size >= 6:
        row.bin = digits_value(arena, at, 6)
    kept, kept_more = _kept(min(size, 16)), _kept(max(size - 16, 0))
    digits = (digits & kept) | ~kept
    more = ((more & kept_more) | ~kept_more) & _SHORT
    store_word(pan_block, 16 * np.int64(i), (digits << _EIGHT) | np.uint64(size))
    store_word(
        pan_block, 16 * np.int64(i) + 8, (digits >> _SUM_SHIFT) | (more << _EIGHT) | _BLOCK_END
    )


@hot_kernel
def _kept(digits: Int) -> np.uint64:
    """Return the half bytes of a word, the higher one of a byte first, that digits stand in."""
    whole = np.uint64(digits >> 1 << 3)
    kept = _ALL if digits == 16 else (_ONE << whole) - _ONE
    return kept | (_PAD << whole) if digits & 1 else kept


@hot_kernel
def _packed_digits(text: Bytes, at: Int, size: Int) -> tuple[np.uint64, np.uint64]:
    """Return up to 20 characters two a byte, 16 of them in the first word; more may follow them."""
    if at + 24 <= text.shape[0]:
        first, second = _four_bytes(load_word(text, at)), _four_bytes(load_word(text, at + 8))
        return first | (second << _THIRTY_TWO), _four_bytes(load_word(text, at + 16))
    digits, more = _ZERO, _ZERO
    for k in range(size):
        half = np.uint64(text[np.uint64(at + k)]) & _FIFTEEN
        half <<= np.uint64(((k & 15) >> 1 << 3) + (0 if k & 1 else 4))
        if k < 16:
            digits |= half
        else:
            more |= half
    return digits, more


@hot_kernel
def _four_bytes(word: np.uint64) -> np.uint64:
    """Return eight characters two a byte, the first one in the higher half of the lowest byte."""
    word &= _LOW_NIBBLES
    word = ((word << _FOUR) | (word >> _EIGHT)) & _PAIRS
    word = (word | (word >> _EIGHT)) & _QUADS
    return (word | (word >> _SIXTEEN)) & _HALF


@kernel
def _read_track2(arena: Bytes, at: Int, length: Int) -> tuple[Int, Int]:
    """Return (digits of the card number or -1, expiry YYMM or -1 when a separator stands for it).

    Layout of ISO/IEC 7813: card number, = or D, expiry, service code, discretionary data.
    """
    count = np.int64(0)
    while count + 8 <= length:  # digits and separators only: 0x40 is set where 6 more is no digit
        marks = (load_word(arena, at + count) + _SIXES) & _FORTIES
        if marks != _ZERO:
            count += lowest_bit(marks) >> 3
            break
        count += 8
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
        part = ((count - 1) & 7) + 1
        done = part
        while done <= count:
            if word_before(arena, at + done, part) != word_before(arena, pan_at + done, part):
                return False
            part = 8
            done += 8
    if expiry >= 0:
        if row.expiry_yymm >= 0 and row.expiry_yymm != expiry:
            return False
        row.expiry_yymm = expiry
    return True


@kernel
def _luhn(arena: Bytes, at: Int, size: Int) -> Int:
    """Return 1 if the check digit holds (Luhn, ISO/IEC 7812-1), else 0."""
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
    return 1 if np.int64(total) % 10 == 0 else 0


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
    set_fault(row, _MISSING, number, np.int64(row.size))
