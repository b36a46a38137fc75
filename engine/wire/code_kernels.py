"""Fields that are not written in ASCII: EBCDIC, packed digits, hex, and lengths of any kind.

BCD is read eight bytes at a time, as digits are in ``scan_kernels``: the word ends where the field
ends, and what came before the field is blanked.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.elements import Code, Prefix, Unit
from engine.wire.scan_kernels import (
    ZEROS,
    ZONES,
    Int,
    fixed_digits,
    is_class,
    zoned_value,
)
from engine.wire.table import IS_HEX, Char, Way
from engine.wire.write_kernels import copy
from ledger.jit import hot_kernel, kernel, load_word, store_word

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_ZERO = np.uint64(0)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_EIGHTS = np.uint64(0x8888888888888888)
_LOW = np.uint64(0x0F0F0F0F0F0F0F0F)
_BYTES, _SHORTS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_WORDS = np.uint64(0x00000000FFFFFFFF)
_SIX, _HUNDRED, _MYRIAD, _MILLIARD = (np.uint64(n) for n in (6, 100, 10_000, 100_000_000))
_ONE, _TWO, _FOUR, _EIGHT = (np.uint64(n) for n in (1, 2, 4, 8))
_SIXTEEN, _THIRTY_TWO, _TOP_BYTE = (np.uint64(n) for n in (16, 32, 56))
_FIFTEEN, _BYTE = np.uint64(15), np.uint64(255)
_LOW_OF_PAIRS = np.uint64(0x000F000F000F000F)

_ASCII_HEX = int(Code.ASCII_HEX)
_ASCII, _EBCDIC, _RAW = int(Code.ASCII), int(Code.EBCDIC), int(Code.RAW)
_BCD, _BCD_LEFT = int(Code.BCD), int(Code.BCD_LEFT)
_PREFIX_ASCII, _PREFIX_EBCDIC = int(Prefix.ASCII), int(Prefix.EBCDIC)
_PREFIX_BCD = int(Prefix.BCD)
_DIGITS, _HEX_BYTES = int(Unit.DIGITS), int(Unit.HEX_BYTES)
_DIGIT, _TRACK, _SIGN = int(Char.DIGIT), int(Char.TRACK), int(Char.SIGN)
_EBCDIC_WAY, _BCD_WAY = int(Way.EBCDIC_DIGITS), int(Way.BCD_DIGITS)
_NUMBER_DIGITS = 18
# Of a byte: 1 = two digits, 2 = two half bytes of a track (digits, or D between them).
_PAIR = np.array(
    [
        (1 if byte >> 4 <= 9 and byte & 15 <= 9 else 0)
        | (2 if byte >> 4 in (*range(10), 13) and byte & 15 in (*range(10), 13) else 0)
        for byte in range(256)
    ],
    np.uint8,
)
_NIBBLE_D, _NIBBLE_F = 13, 15


@hot_kernel
def length_of(data: Bytes, at: Int, size: Int, code: Int) -> Int:
    """Return the number that a length prefix of ``size`` bytes says; -1 = it says none."""
    if (code == _PREFIX_ASCII) | (code == _PREFIX_EBCDIC):
        return fixed_digits(data, at, size, ZEROS if code == _PREFIX_ASCII else ZONES)
    value: Int = 0
    for k in range(np.uint64(size)):
        byte = np.int64(data[np.uint64(at) + k])
        if code == _PREFIX_BCD:
            if (byte >> 4 > 9) | (byte & 15 > 9):
                return -1
            value = value * 100 + (byte >> 4) * 10 + (byte & 15)
        else:
            value = (value << 8) | byte
    return value


@hot_kernel
def bytes_of(units: Int, unit: Int) -> Int:
    """Return the bytes on the wire of a length in its unit."""
    if unit == _DIGITS:
        return (units + 1) >> 1
    return units * 2 if unit == _HEX_BYTES else units


@kernel
def coded_value(
    data: Bytes,
    at: Int,
    length: Int,
    units: Int,
    field: Any,
    chars: NDArray[np.uint16],
    row: Int,
) -> tuple[Int, Int]:
    """Return (value or -1, offset of the first byte that cannot be or -1) of a field.

    Parameters
    ----------
    data, at, length : the bytes of the field, none of them past the end.
    units : its length as counted: digits of BCD.
    field : FIELD row; chars : u2[1 + D, 256]; row : of its character set there.
    """
    code = np.int64(field.data_code)
    if (code == _BCD) | (code == _BCD_LEFT):
        return _packed(data, at, length, units, field, chars, row)
    bits = np.int64(field.char_bits)
    if (bits == _DIGIT) & (code == _EBCDIC) & (0 < length <= _NUMBER_DIGITS) & (field.signed == 0):
        value = zoned_value(data, at, length)
        if value >= 0:
            return value, -1
    if code == _ASCII_HEX and is_class(data, at, length, chars[0], bits):
        return -1, -1
    begin: Int = 0
    if field.signed == 0:
        begin = _in_class(data, at, length, chars, row, bits)
    for k in range(begin, length):
        wanted = _SIGN if k == 0 and field.signed != 0 else bits
        if chars[row, data[np.uint64(at + k)]] & wanted == 0:
            return -1, at + k
    return -1, -1


@kernel
def _in_class(
    data: Bytes, at: Int, length: Int, chars: NDArray[np.uint16], row: Int, bits: Int
) -> Int:
    """Return how many bytes, by eights, are of a class."""
    done: Int = 0
    while done + 8 <= length:
        word = load_word(data, at + done)
        both = np.uint16(bits)
        for k in range(8):
            both &= chars[row, (word >> np.uint64(8 * k)) & _BYTE]
        if both == 0:
            break
        done += 8
    return done


@kernel
def _packed(
    data: Bytes,
    at: Int,
    length: Int,
    units: Int,
    field: Any,
    chars: NDArray[np.uint16],
    row: Int,
) -> tuple[Int, Int]:
    """BCD: the sign character if it has one, then digits; an odd half byte is 0 or F."""
    if field.signed != 0:
        if length < 1 or chars[row, data[np.uint64(at)]] & _SIGN == 0:
            return -1, at
        at += 1
        length -= 1
        value = _digits_of(data, at, length, 2 * length, _BCD)
        if value >= 0:
            return value, -1
    digits = units if field.unit == _DIGITS else 2 * length
    return -1, _first_wrong_half(data, at, length, digits, field)


@hot_kernel
def packed_value(data: Bytes, at: Int, length: Int, units: Int, field: Any) -> Int:
    """Return the digits of a field of up to eight bytes of BCD as a number; -1 = it is not that."""
    code = np.int64(field.data_code)
    if (code < _BCD) | (code > _BCD_LEFT) | (field.char_bits != _DIGIT) | (field.signed != 0):
        return -1
    return _digits_of(data, at, length, units if field.unit == _DIGITS else 2 * length, code)


@hot_kernel
def fixed_number(data: Bytes, at: Int, length: Int, digits: Int, way: Int) -> Int:
    """Return the number that a field of some ``Way`` is; -1 = it is not of digits."""
    if way == _BCD_WAY:
        return _digits_of(data, at, length, digits, _BCD)
    return fixed_digits(data, at, length, ZONES if way == _EBCDIC_WAY else ZEROS)


@hot_kernel
def _digits_of(data: Bytes, at: Int, length: Int, digits: Int, code: Int) -> Int:
    if (length < 1) | (length > 8):
        return -1
    word = load_word(data, at + length - 8)
    word &= _ALL << np.uint64(64 - 8 * length)
    pad = _ZERO
    is_left_odd = (code == _BCD_LEFT) & (digits & 1 != 0)
    if digits & 1:
        shift = _TOP_BYTE if is_left_odd else np.uint64(64 - 8 * length + 4)
        pad = (word >> shift) & _FIFTEEN
        word &= ~(_FIFTEEN << shift)
    wrong = word & ((word << _ONE) | (word << _TWO)) & _EIGHTS
    if (wrong != _ZERO) | ((pad != _ZERO) & (pad != _FIFTEEN)):
        return -1
    value = _eight_bytes(word)
    return value // 10 if is_left_odd else value


@hot_kernel
def _eight_bytes(word: np.uint64) -> Int:
    """Return the sixteen digits of a word, its lowest byte first."""
    word -= _SIX * ((word >> _FOUR) & _LOW)
    word = (word & _BYTES) * _HUNDRED + ((word >> _EIGHT) & _BYTES)
    word = (word & _SHORTS) * _MYRIAD + ((word >> _SIXTEEN) & _SHORTS)
    return np.int64((word & _WORDS) * _MILLIARD + (word >> _THIRTY_TWO))


@kernel
def half_byte(data: Bytes, at: Int, k: Int) -> Int:
    """Return the half byte number ``k`` from ``at``, the higher one of a byte first."""
    byte = np.int64(data[np.uint64(at + (k >> 1))])
    return byte & 15 if k & 1 else byte >> 4


@kernel
def first_digit(length: Int, digits: Int, code: Int) -> Int:
    """Return which half byte has the first digit: 1 where a filler comes before it."""
    return 1 if code == _BCD and digits < 2 * length else 0


@kernel
def _first_wrong_half(data: Bytes, at: Int, length: Int, digits: Int, field: Any) -> Int:
    begin = first_digit(length, digits, np.int64(field.data_code))
    is_track = field.char_bits == _TRACK
    if digits == 2 * length or begin == 0:  # whole bytes at one look
        wanted = 2 if is_track else 1
        k: Int = 0
        while k < digits >> 1 and _PAIR[data[np.uint64(at + k)]] & wanted:
            k += 1
        if 2 * k == digits and digits == 2 * length:
            return -1
        if 2 * k + 1 == digits:
            last = np.int64(data[np.uint64(at + k)])
            is_digit = (last >> 4 <= 9) | (is_track & (last >> 4 == _NIBBLE_D))
            if is_digit & ((last & 15 == 0) | (last & 15 == _NIBBLE_F)):
                return -1
    for k in range(2 * length):
        half = half_byte(data, at, k)
        is_pad = k < begin or k >= begin + digits
        if is_pad and (half == 0 or half == _NIBBLE_F):
            continue
        if not is_pad and (half <= 9 or (is_track and half == _NIBBLE_D)):
            continue
        if not is_pad and half == _NIBBLE_F and field.unit != _DIGITS and k == 2 * length - 1:
            continue  # counted in bytes: the last one may be filled up
        return at + (k >> 1)
    return -1


@hot_kernel
def _eight_characters(word: np.uint64) -> np.uint64:
    """Return the characters of the four lower bytes of BCD; of a D (a track's separator) =."""
    word &= _WORDS
    word = (word | (word << _SIXTEEN)) & _SHORTS
    word = (word | (word << _EIGHT)) & _BYTES
    return ((word >> _FOUR) & _LOW_OF_PAIRS) | ((word & _LOW_OF_PAIRS) << _EIGHT) | ZEROS


@hot_kernel
def turn(
    data: Bytes,
    at: Int,
    length: Int,
    units: Int,
    field: Any,
    to_ascii: NDArray[np.uint8],
    dialect: Int,
    out: Bytes,
    to: Int,
) -> Int:
    """Write a field in ASCII at ``out[to:]``; return its characters. It is known to be right."""
    code = np.int64(field.data_code)
    if (code == _BCD) | (code == _BCD_LEFT):
        digits = units if field.unit == _DIGITS else 2 * length
        begin = first_digit(length, digits, code)
        if digits > 0 and half_byte(data, at, begin + digits - 1) == _NIBBLE_F:
            digits -= 1
        to -= begin
        k: Int = 0
        while k + 8 <= length:
            word = load_word(data, at + k)
            store_word(out, to + 2 * k, _eight_characters(word))
            store_word(out, to + 2 * k + 8, _eight_characters(word >> _THIRTY_TWO))
            k += 8
        for rest in range(k, length):
            byte = np.int64(data[np.uint64(at + rest)])
            out[np.uint64(to + 2 * rest)] = 48 | byte >> 4  # a D becomes =
            out[np.uint64(to + 2 * rest + 1)] = 48 | byte & 15
        return digits
    if code == _EBCDIC:
        for k in range(length):
            out[np.uint64(to + k)] = to_ascii[dialect, data[np.uint64(at + k)]]
        return length
    copy(data, at, out, to, length)
    return length


@kernel
def is_hex(field: Any) -> bool:
    """Return whether the field's bytes are written as hex characters."""
    return (field.flags & IS_HEX) != 0
