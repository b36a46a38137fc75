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
ZEROS = np.uint64(0x3030303030303030)  # eight characters "0"
ZONES = np.uint64(0xF0F0F0F0F0F0F0F0)  # the same in EBCDIC
_SIXES = np.uint64(0x0606060606060606)
_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x8080808080808080)
_TO_SPACE = np.uint64(0x6060606060606060)  # lifts 0x20 and above to 0x80
_SEVENS = np.uint64(0x7F7F7F7F7F7F7F7F)
_CASES = np.uint64(0x2020202020202020)  # what tells small letters from capitals
_ABOVE_NINE = np.uint64(0x7676767676767676)  # lifts 10 and above to 0x80
_ABOVE_SIX = np.uint64(0x7979797979797979)
_ABOVE_LETTERS = np.uint64(0x6565656565656565)  # lifts 27 and above to 0x80
_SPACES = np.uint64(0x2020202020202020)
_EQUALS = np.uint64(0x3D3D3D3D3D3D3D3D)
_LETTERS_D = np.uint64(0x4444444444444444)
_TENS, _HUNDREDS = np.uint64(2561), np.uint64(6553601)  # 10 * 2**8 + 1, 100 * 2**16 + 1
_MYRIADS = np.uint64(42949672960001)  # 10000 * 2**32 + 1

_DIGIT, _PRINTABLE, _ANY = int(Char.DIGIT), int(Char.PRINTABLE), int(Char.ANY)
_HEX, _SIGN = int(Char.HEX), int(Char.SIGN)
_WORD, _TRACK = int(Char.WORD), int(Char.TRACK)


@hot_kernel
def word_before(data: Bytes, end: Int, count: Int) -> np.uint64:
    """Return the ``count`` (1 to 8) bytes before ``end`` as the top of a word, "0" below them."""
    kept = _ALL << np.uint64(64 - 8 * count)
    return (load_word(data, end - 8) & kept) | (ZEROS & ~kept)


@hot_kernel
def _not_digits(word: np.uint64) -> np.uint64:
    """Return 0 if all eight bytes are digits."""
    return ((word & _HIGH_NIBBLES) ^ ZEROS) | (((word + _SIXES) & _HIGH_NIBBLES) ^ ZEROS)


@hot_kernel
def _not_hex(word: np.uint64) -> np.uint64:
    """Return 0 if all eight bytes are hex digits: 0-9, or a letter of A-F in either case."""
    digit = (word ^ ZEROS) & _SEVENS  # 0 to 9 for a digit
    letter = ((word | _CASES) ^ _TO_SPACE) & _SEVENS  # 1 to 6 for a letter
    good = ~(digit + _ABOVE_NINE) | (~(letter + _ABOVE_SIX) & (letter + _SEVENS))
    return (~good | word) & _TOPS


@hot_kernel
def _not_word(word: np.uint64) -> np.uint64:
    """Return 0 if all eight bytes are digits, letters or blanks."""
    digit = (word ^ ZEROS) & _SEVENS
    letter = ((word | _CASES) ^ _TO_SPACE) & _SEVENS  # 1 to 26 for a letter
    space = (word ^ _SPACES) & _SEVENS  # 0 for a blank
    good = ~(digit + _ABOVE_NINE) | (~(letter + _ABOVE_LETTERS) & (letter + _SEVENS))
    return (~(good | ~(space + _SEVENS)) | word) & _TOPS


@hot_kernel
def _not_track(word: np.uint64) -> np.uint64:
    """Return 0 if all eight bytes are digits, = or D."""
    digit = (word ^ ZEROS) & _SEVENS
    equals, letter = (word ^ _EQUALS) & _SEVENS, (word ^ _LETTERS_D) & _SEVENS
    good = ~(digit + _ABOVE_NINE) | ~(equals + _SEVENS) | ~(letter + _SEVENS)
    return (~good | word) & _TOPS


@hot_kernel
def _not_printable(word: np.uint64) -> np.uint64:
    """Return 0 if all eight bytes are printable."""
    # A byte of 0x80 and more is wrong already, so carries do not matter.
    return ((word | (word + _ONES)) & _TOPS) | (((word + _TO_SPACE) & _TOPS) ^ _TOPS)


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


@hot_kernel
def fixed_digits(data: Bytes, at: Int, length: Int, zeros: np.uint64) -> Int:
    """Return 1 to 16 digits as a number; -1 = some byte is not a digit.

    ``zeros`` is eight times the digit 0 of the code they are written in.
    """
    end = at + length
    first = np.int64(((length - 1) & 7) + 1)  # bytes in the first word
    begin = end if length <= 8 else end - 8
    kept = _ALL << np.uint64(64 - 8 * first)
    word = (load_word(data, begin - 8) & kept) | (zeros & ~kept)
    # A byte above "9" may carry into its neighbour, but then it is wrong by itself.
    wrong = ((word ^ zeros) | ((word + _SIXES) ^ zeros)) & _HIGH_NIBBLES
    value = _eight_digits(word)
    if length > 8:
        word = load_word(data, end - 8)
        wrong |= ((word ^ zeros) | ((word + _SIXES) ^ zeros)) & _HIGH_NIBBLES
        value = value * 100_000_000 + _eight_digits(word)
    return -1 if wrong != _ZERO else value


@kernel
def zoned_value(data: Bytes, at: Int, length: Int) -> Int:
    """Return 1 to 18 digits of EBCDIC as a number; -1 = some byte is not a digit."""
    if length <= 16:
        return fixed_digits(data, at, length, ZONES)
    head = fixed_digits(data, at, length - 16, ZONES)
    rest = fixed_digits(data, at + length - 16, 16, ZONES)
    return -1 if (head < 0) | (rest < 0) else head * 10_000_000_000_000_000 + rest


@hot_kernel
def is_sign(byte: Int) -> bool:
    """Return whether the byte is C or D."""
    return (byte == 67) | (byte == 68)


@hot_kernel
def is_class(data: Bytes, at: Int, length: Int, chars: NDArray[np.uint16], char_bits: Int) -> bool:
    """Return whether every byte is of the class."""
    if char_bits == _ANY:
        return True
    count = ((length - 1) & 7) + 1
    done = count
    while done <= length:
        word = word_before(data, at + done, count)
        if char_bits == _PRINTABLE:
            wrong = _not_printable(word)
        elif char_bits == _WORD:
            wrong = _not_word(word)
        elif char_bits == _TRACK:
            wrong = _not_track(word)
        elif char_bits == _DIGIT:
            wrong = _not_digits(word)
        elif char_bits == _HEX:
            wrong = _not_hex(word)
        else:
            return first_outside(data, at, length, chars, 0, char_bits) < 0
        if wrong != _ZERO:
            return False
        count = 8
        done += 8
    return True


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
