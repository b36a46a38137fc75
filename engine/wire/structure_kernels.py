"""What stands inside a field: BER-TLV, datasets, tagged elements, nested bitmaps, fixed places.

Only the structure is checked: that each element is whole and ends within the field. Elements that
nobody declared are kept and skipped. Sources: ISO/IEC 7816-4 annex D and EMV book 3 annex B
(BER-TLV), ISO 8583:2003 (datasets), ISO 8583:1993 as card networks divide its field 48.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.code_kernels import bytes_of, coded_value, is_hex, length_of, packed_value
from engine.wire.elements import Code
from engine.wire.scan_kernels import Int, digits_value, reverse_bits, zoned_value
from engine.wire.table import Char, PartsKind
from engine.wire.uses import Use
from ledger.jit import kernel, load_word, lowest_bit

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_TLV, _DATASET, _PDS = int(PartsKind.TLV), int(PartsKind.DATASET), int(PartsKind.PDS)
_SE, _NAMED, _BITMAP = int(PartsKind.SE), int(PartsKind.NAMED), int(PartsKind.BITMAP)
_DIGIT = int(Char.DIGIT)
_ASCII, _RAW = int(Code.ASCII), int(Code.RAW)
_ASCII_HEX = int(Code.ASCII_HEX)
_EBCDIC, _EBCDIC_HEX = int(Code.EBCDIC), int(Code.EBCDIC_HEX)
_PARTIAL, _LIFECYCLE = int(Use.PARTIAL), int(Use.LIFECYCLE)
_LOW_HALVES, _PAIRS = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x00FF00FF00FF00FF)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_ONES, _BYTE, _NINE = np.uint64(0x0101010101010101), np.uint64(255), np.uint64(9)
_FOUR, _EIGHT, _SIXTEEN, _THIRTY_TWO = (np.uint64(n) for n in (4, 8, 16, 32))
_TAG_BYTES = 4
_DATASETS_OF_TLV = 0x70  # identifiers above have a bitmap of their own


@kernel
def check_parts(
    data: Bytes,
    at: Int,
    length: Int,
    field: Any,
    parts: Array,
    part_fields: Array,
    chars: NDArray[np.uint16],
    found: NDArray[np.int64],
) -> Int:
    """Return the offset of the first element of a field that cannot be; -1 = all are whole.

    ``chars`` is u2[1 + D, 256]; ``found`` takes the values of inner fields that have a use.
    """
    part = parts[field.part]
    code = np.int64(field.data_code)
    row = part.dialect + 1 if (code == _EBCDIC) | (code == _EBCDIC_HEX) else 0
    kind, end = part.kind, at + length
    step = 2 if is_hex(field) else 1
    if kind == _TLV:
        return _check_raw_tlv(data, at, end) if step == 1 else _check_tlv(data, at, end, step)
    if kind == _DATASET:
        return _check_datasets(data, at, end, step)
    at += np.int64(part.lead)
    if at > end:
        return end - length
    if kind == _PDS:
        return _check_tagged(data, at, end, 4, 3, chars, row)
    if kind == _SE:
        return _check_tagged(data, at, end, 2, 2, chars, row)
    if kind == _NAMED:
        return _check_named(data, at, end, chars, row)
    fields = part_fields[field.part]
    if kind == _BITMAP:
        return _check_bitmap(data, at, end, part, fields, chars, found)
    for number in range(1, fields.shape[0]):
        if at == end or fields[number].size == 0:
            break
        after = _inner(data, at, end, fields[number], part.dialect, chars, found)
        if after < 0:
            return at
        at = after
    return at if at < end else -1


@kernel
def _check_bitmap(
    data: Bytes,
    at: Int,
    end: Int,
    part: Any,
    fields: Array,
    chars: NDArray[np.uint16],
    found: NDArray[np.int64],
) -> Int:
    begin, size = at, np.int64(part.bitmap_bytes)
    at += size
    if at > end:
        return begin
    word = _ZERO
    for k in range(np.uint64(size)):
        word |= np.uint64(data[np.uint64(begin) + k]) << np.uint64(56 - 8 * np.int64(k))
    left = reverse_bits(word)
    while left != _ZERO:
        number = lowest_bit(left) + 1
        left &= left - _ONE
        if fields[number].size == 0:
            return at
        after = _inner(data, at, end, fields[number], part.dialect, chars, found)
        if after < 0:
            return at
        at = after
    return at if at < end else -1


@kernel
def _inner(
    data: Bytes,
    at: Int,
    end: Int,
    field: Any,
    dialect: Int,
    chars: NDArray[np.uint16],
    found: NDArray[np.int64],
) -> Int:
    """Return where an inner field ends; -1 = it cannot be."""
    prefix = np.int64(field.prefix_bytes)
    units = np.int64(field.limit)
    if prefix != 0:
        if at + prefix > end:
            return -1
        units = length_of(data, at, prefix, np.int64(field.prefix_code))
        if units < 0 or units > field.limit:
            return -1
    length = bytes_of(units, np.int64(field.unit))
    at += prefix
    if at + length > end or (is_hex(field) and length & 1):
        return -1
    code = np.int64(field.data_code)
    is_ascii = (code == _ASCII) | (code == _RAW) | (code == _ASCII_HEX) | (field.signed == 1)
    row = np.uint64(0 if is_ascii else dialect + 1)
    if code != _RAW:
        _, wrong_at = coded_value(data, at, length, units, field, chars, row)
        if wrong_at >= 0:
            return -1
    if field.use == _PARTIAL and length > 0:
        found[_PARTIAL, 0] = np.int64(data[np.uint64(at)]) & 15
    elif field.use == _LIFECYCLE:
        found[_LIFECYCLE, 0] = _whole_number(data, at, length, units, field)
    return at + length


@kernel
def _whole_number(data: Bytes, at: Int, length: Int, units: Int, field: Any) -> Int:
    """Return digits that were found right as a number; -1 = it is not of digits."""
    if field.data_code == _EBCDIC:
        return zoned_value(data, at, length)
    if field.data_code == _ASCII:
        return digits_value(data, at, length)
    return packed_value(data, at, length, units, field)


@kernel
def _byte(data: Bytes, at: Int, step: Int) -> Int:
    """Return one byte, of two hex characters when ``step`` is 2 (digits end alike in EBCDIC)."""
    value = np.int64(data[np.uint64(at)])
    if step == 1:
        return value
    low = np.int64(data[np.uint64(at + 1)])
    return _nibble(value) << 4 | _nibble(low)


@kernel
def _nibble(character: Int) -> Int:
    is_digit = (48 <= character <= 57) | (character >= 0xF0)
    return character & 15 if is_digit else (character & 7) + 9


@kernel
def next_tlv(data: Bytes, at: Int, end: Int, step: Int) -> tuple[Int, Int, Int]:
    """Return (tag or -1, offset of the value, its bytes as written) of one element.

    -1 = cut short, or a length of an impossible form. ``step`` is 1, or 2 for hex characters.
    """
    if at + step > end:
        return -1, at, 0
    tag = _byte(data, at, step)
    at += step
    if tag & 31 == 31:
        for k in range(_TAG_BYTES):
            if k == _TAG_BYTES - 1 or at + step > end:
                return -1, at, 0
            byte = _byte(data, at, step)
            tag = tag << 8 | byte
            at += step
            if byte < 128:
                break
    if at + step > end:
        return -1, at, 0
    size = _byte(data, at, step)
    at += step
    if size > 128:
        count = size - 128
        if count > 2 or at + count * step > end:
            return -1, at, 0
        size = 0
        for _ in range(count):
            size = size << 8 | _byte(data, at, step)
            at += step
    elif size == 128:
        return -1, at, 0
    if at + size * step > end:
        return -1, at, 0
    return tag, at, size * step


@kernel
def find_tag(data: Bytes, at: Int, length: Int, step: Int, tag: Int) -> tuple[Int, Int]:
    """Return (offset, bytes as written) of the value of a tag in BER-TLV; (-1, 0) = none.

    ``step`` is 1, or 2 where the dialect writes bytes as hex characters.
    """
    end = at + length
    while at < end:
        if _byte(data, at, step) == 0:
            at += step
            continue
        found, value_at, size = next_tlv(data, at, end, step)
        if found < 0:
            break
        if found == tag:
            return value_at, size
        at = value_at + size
    return np.int64(-1), np.int64(0)


@kernel
def _check_tlv(data: Bytes, at: Int, end: Int, step: Int) -> Int:
    if step == 2:
        at = _after_short_elements(data, at, end)
    while at < end:
        if _byte(data, at, step) == 0:  # a filler between elements
            at += step
            continue
        tag, value_at, size = next_tlv(data, at, end, step)
        if tag < 0:
            return at
        at = value_at + size
    return -1


@kernel
def _after_short_elements(data: Bytes, at: Int, end: Int) -> Int:
    """Return where the elements end that have tags of one or two bytes and short lengths, in hex.

    Eight characters are looked at together; the last few of the field are left to the caller.
    """
    while at + 8 <= end:
        word = load_word(data, at)
        # Of letters, in ASCII as in EBCDIC, the bit 16 is not set.
        half = (word & _LOW_HALVES) + (~(word >> _FOUR) & _ONES) * _NINE
        word = ((half << _FOUR) | (half >> _EIGHT)) & _PAIRS
        first, second = np.int64(word & _BYTE), np.int64((word >> _SIXTEEN) & _BYTE)
        after = at + 4 + 2 * second
        short: Int = second
        if first & 31 == 31:
            short = np.int64((word >> _THIRTY_TWO) & _BYTE)
            after = at + 6 + 2 * short
            if second >= 128:
                short = 128
        if (first == 0) | (short >= 128) | (after > end):
            break
        at = after
    return at


@kernel
def _check_raw_tlv(data: Bytes, at: Int, end: Int) -> Int:
    """As ``_check_tlv`` with step 1: tags of one and two bytes and short lengths at one look."""
    while at + 2 < end:
        first = np.int64(data[np.uint64(at)])
        second = np.int64(data[np.uint64(at + 1)])
        after = at + 2 + second
        short: Int = second
        if first & 31 == 31:
            short = np.int64(data[np.uint64(at + 2)])
            after = at + 3 + short
            if second >= 128:
                short = 128
        if (first == 0) | (short >= 128) | (after > end):
            break
        at = after
    while at < end:
        if data[np.uint64(at)] == 0:
            at += 1
            continue
        tag, value_at, size = next_tlv(data, at, end, 1)
        if tag < 0:
            return at
        at = value_at + size
    return -1


@kernel
def _check_datasets(data: Bytes, at: Int, end: Int, step: Int) -> Int:
    while at < end:
        if at + 3 * step > end:
            return at
        size = _byte(data, at + step, step) << 8 | _byte(data, at + 2 * step, step)
        inner = at + 3 * step
        if inner + size * step > end:
            return at
        if _byte(data, at, step) <= _DATASETS_OF_TLV:
            inner_end = inner + size * step
            if step == 1:
                wrong_at = _check_raw_tlv(data, inner, inner_end)
            else:
                wrong_at = _check_tlv(data, inner, inner_end, step)
            if wrong_at >= 0:
                return wrong_at
        at = inner + size * step
    return -1


@kernel
def _number(
    data: Bytes, at: Int, end: Int, digits: Int, chars: NDArray[np.uint16], row: Int
) -> Int:
    """Return a number of characters; -1 = cut short, or not digits."""
    if at + digits > end:
        return -1
    value: Int = 0
    for k in range(digits):
        byte = data[np.uint64(at + k)]
        if chars[row, byte] & _DIGIT == 0:
            return -1
        value = value * 10 + (np.int64(byte) & 15)
    return value


@kernel
def _check_tagged(
    data: Bytes,
    at: Int,
    end: Int,
    tag_digits: Int,
    length_digits: Int,
    chars: NDArray[np.uint16],
    row: Int,
) -> Int:
    while at < end:
        tag = _number(data, at, end, tag_digits, chars, row)
        size = _number(data, at + tag_digits, end, length_digits, chars, row)
        after = at + tag_digits + length_digits + size
        if tag < 0 or size < 0 or after > end:
            return at
        at = after
    return -1


@kernel
def _check_named(data: Bytes, at: Int, end: Int, chars: NDArray[np.uint16], row: Int) -> Int:
    """Pairs of name and value, each behind a digit that says how many digits its length has."""
    is_value = False
    while at < end or is_value:
        digits = _number(data, at, end, 1, chars, row)
        if digits < 1:
            return at
        size = _number(data, at + 1, end, digits, chars, row)
        if size < 0 or at + 1 + digits + size > end:
            return at
        at += 1 + digits + size
        is_value = not is_value
    return -1
