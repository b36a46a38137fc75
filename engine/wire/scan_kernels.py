"""Reading characters: digits, classes and bitmaps, eight bytes at a time where it pays.

A word of eight bytes is read so that it *ends* where the field ends: at least an MTI and a bitmap
lie before any field, so that never reaches outside the arena, as reading ahead would. Bytes of the
word that belong to what came before are replaced by the digit 0. Indexes are uint64, which spares
Numba's test for a negative index at every byte.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.table import Char
from ledger.jit import hot_kernel, kernel, load_word

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
Int = Any  # an int64 in the kernels; np.int64 and int are one thing there, not to a type checker

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_PAIRS, _QUADS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_NIBBLES, _BYTES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x00FF00FF00FF00FF)
_SHORTS, _TWO = np.uint64(0x0000FFFF0000FFFF), np.uint64(2)
_FOUR, _EIGHT, _SIXTEEN, _THIRTY_TWO = (np.uint64(n) for n in (4, 8, 16, 32))
_HIGH_NIBBLES = np.uint64(0xF0F0F0F0F0F0F0F0)
_ZEROS = np.uint64(0x3030303030303030)  # eight characters "0"
_ZONES = np.uint64(0xF0F0F0F0F0F0F0F0)  # the same in EBCDIC
_SIXES = np.uint64(0x0606060606060606)
_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x8080808080808080)
_TO_SPACE = np.uint64(0x6060606060606060)  # lifts 0x20 and above to 0x80
_SEVENS = np.uint64(0x7F7F7F7F7F7F7F7F)
_CASES = np.uint64(0x2020202020202020)  # what tells small letters from capitals
_ABOVE_NINE = np.uint64(0x7676767676767676)  # lifts 10 and above to 0x80
_ABOVE_SIX = np.uint64(0x7979797979797979)
_TENS, _HUNDREDS = np.uint64(2561), np.uint64(6553601)  # 10 * 2**8 + 1, 100 * 2**16 + 1
_MYRIADS = np.uint64(42949672960001)  # 10000 * 2**32 + 1

_DIGIT, _PRINTABLE, _ANY = int(Char.DIGIT), int(Char.PRINTABLE), int(Char.ANY)
_HEX, _SIGN = int(Char.HEX), int(Char.SIGN)


@hot_kernel
def word_before(data: Bytes, end: Int, count: Int) -> np.uint64:
    """Return the ``count`` (1 to 8) bytes before ``end`` as the top of a word, "0" below them."""
    kept = _ALL << np.uint64(64 - 8 * count)
    return (load_word(data, end - 8) & kept) | (_ZEROS & ~kept)


@hot_kernel
def _not_digits(word: np.uint64) -> np.uint64:
    """Return 0 if all eight bytes are digits."""
    return ((word & _HIGH_NIBBLES) ^ _ZEROS) | (((word + _SIXES) & _HIGH_NIBBLES) ^ _ZEROS)


@kernel
def _not_hex(word: np.uint64) -> np.uint64:
    """Return 0 if all eight bytes are hex digits: 0-9, or a letter of A-F in either case."""
    digit = (word ^ _ZEROS) & _SEVENS  # 0 to 9 for a digit
    letter = ((word | _CASES) ^ _TO_SPACE) & _SEVENS  # 1 to 6 for a letter
    good = ~(digit + _ABOVE_NINE) | (~(letter + _ABOVE_SIX) & (letter + _SEVENS))
    return (~good | word) & _TOPS


@hot_kernel
def _eight_digits(word: np.uint64) -> Int:
    word = ((word & _NIBBLES) * _TENS) >> _EIGHT
    word = ((word & _BYTES) * _HUNDREDS) >> _SIXTEEN
    return np.int64(((word & _SHORTS) * _MYRIADS) >> _THIRTY_TWO)


@hot_kernel
def digits_value(data: Bytes, at: Int, length: Int) -> Int:
    """Return 1 to 18 digits as a number; -1 = some byte is not a digit."""
    end = at + length
    if length <= 8:
        word = word_before(data, end, length)
        return -1 if _not_digits(word) != _ZERO else _eight_digits(word)
    last = load_word(data, end - 8)
    if length <= 16:
        word = word_before(data, end - 8, length - 8)
        wrong = _not_digits(word) | _not_digits(last)
        value = _eight_digits(word) * 100_000_000 + _eight_digits(last)
        return -1 if wrong != _ZERO else value
    word = word_before(data, end - 16, length - 16)
    middle = load_word(data, end - 16)
    wrong = _not_digits(word) | _not_digits(middle) | _not_digits(last)
    value = _eight_digits(word) * 100_000_000 + _eight_digits(middle)
    return -1 if wrong != _ZERO else value * 100_000_000 + _eight_digits(last)


@kernel
def zoned_value(data: Bytes, at: Int, length: Int) -> Int:
    """Return 1 to 18 digits of EBCDIC as a number; -1 = some byte is not a digit."""
    value: Int = 0
    count = ((length - 1) & 7) + 1
    done = count
    while done <= length:
        kept = _ALL << np.uint64(64 - 8 * count)
        word = (load_word(data, at + done - 8) & kept) | (_ZONES & ~kept)
        # A byte above "9" carries into its neighbour, but then it is wrong by itself.
        if ((word ^ _ZONES) | ((word + _SIXES) ^ _ZONES)) & _HIGH_NIBBLES != _ZERO:
            return -1
        value = value * 100_000_000 + _eight_digits(word)
        count = 8
        done += 8
    return value


@hot_kernel
def is_sign(byte: Int) -> bool:
    """Return whether the byte is C or D."""
    return (byte == 67) | (byte == 68)


@kernel
def is_class(data: Bytes, at: Int, length: Int, chars: NDArray[np.uint16], char_bits: Int) -> bool:
    """Return whether every byte is of the class."""
    if char_bits == _ANY or length == 0:
        return True
    if (char_bits == _DIGIT) | (char_bits == _PRINTABLE) | (char_bits == _HEX):
        count = ((length - 1) & 7) + 1
        done = count
        wrong = _ZERO
        while done <= length:
            word = word_before(data, at + done, count)
            if char_bits == _DIGIT:
                wrong |= _not_digits(word)
            elif char_bits == _HEX:
                wrong |= _not_hex(word)
            else:  # a byte of 0x80 and more is wrong already, so carries do not matter
                wrong |= (word | (word + _ONES)) & _TOPS
                wrong |= ((word + _TO_SPACE) & _TOPS) ^ _TOPS
            count = 8
            done += 8
        return wrong == _ZERO
    base = np.uint64(at)
    bits = np.uint16(char_bits)
    for k in range(np.uint64(length)):
        bits &= chars[data[base + k]]
    return bits != 0


@kernel
def first_outside(
    data: Bytes, at: Int, length: Int, chars: NDArray[np.uint16], signed: Int, char_bits: Int
) -> Int:
    """Return the offset of the first byte outside its class; -1 = none."""
    for k in range(length):
        bits = _SIGN if k == 0 and signed == 1 else char_bits
        if chars[data[np.uint64(at + k)]] & bits == 0:
            return at + k
    return -1


@kernel
def mti_value(data: Bytes, start: Int, end: Int, code: Int) -> Int:
    """Return the MTI as a number; -1 = not four digits. Nothing need lie before the message.

    ``code``: 0 ASCII, 1 EBCDIC, 2 BCD.
    """
    if end - start < (2 if code == 2 else 4):
        return -1
    mti: Int = 0
    if code == 2:
        for k in range(2):
            byte = np.int64(data[np.uint64(start + k)])
            if (byte >> 4 > 9) | (byte & 15 > 9):
                return -1
            mti = mti * 100 + (byte >> 4) * 10 + (byte & 15)
        return mti
    zero = 0xF0 if code == 1 else 48
    for k in range(4):
        digit = np.int64(data[np.uint64(start + k)]) - zero
        if (digit < 0) | (digit > 9):
            return -1
        mti = mti * 10 + digit
    return mti


@kernel
def read_bitmap(
    data: Bytes,
    at: Int,
    code: Int,
    chars: NDArray[np.uint16],
    to_ascii: NDArray[np.uint8],
    dialect: Int,
) -> tuple[np.uint64, bool]:
    """Return one bitmap, field 1 in the top bit, and whether its characters were right.

    ``code``: 0 bytes, 1 hex characters, 2 hex characters of EBCDIC. ``chars`` is of ASCII.
    """
    word = _ZERO
    if code == 0:
        for k in range(8):
            word = (word << _EIGHT) | np.uint64(data[np.uint64(at + k)])
        return word, True
    bits = np.uint16(_HEX)
    for k in range(16):
        byte = data[np.uint64(at + k)]
        if code == 2:
            byte = to_ascii[dialect, byte]
        bits &= chars[byte]
        nibble = (np.int64(byte) & 15) + 9 * (np.int64(byte) >> 6)
        word = (word << _FOUR) | np.uint64(nibble & 15)
    return word, bits != 0


@hot_kernel
def reverse_bits(word: np.uint64) -> np.uint64:
    """Return the bits in opposite order, so that field 1 is the lowest, the cheap one to find."""
    word = ((word >> _ONE) & _PAIRS) | ((word & _PAIRS) << _ONE)
    word = ((word >> _TWO) & _QUADS) | ((word & _QUADS) << _TWO)
    word = ((word >> _FOUR) & _NIBBLES) | ((word & _NIBBLES) << _FOUR)
    word = ((word >> _EIGHT) & _BYTES) | ((word & _BYTES) << _EIGHT)
    word = ((word >> _SIXTEEN) & _SHORTS) | ((word & _SHORTS) << _SIXTEEN)
    return (word >> _THIRTY_TWO) | (word << _THIRTY_TWO)
