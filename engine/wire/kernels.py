"""Decode kernels: the frames of all links of a batch become rows of columns in one call.

Fields are read once, in ascending order, and stay in the arena; a row keeps where each lies. A
fault never stops the other frames. After a fault that leaves the length of its field known, the
later fields are still read, so that the answer can name the message (DE11, DE41); the first fault
is the one reported, and the bitmap words of the row keep only the fields that were valid.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.code_kernels import (
    bytes_of,
    coded_value,
    fixed_number,
    length_of,
    packed_value,
    turn,
)
from engine.wire.columns import FIELD_COUNT, Fault
from engine.wire.elements import Code, Prefix
from engine.wire.fault_kernels import set_fault
from engine.wire.frame_kernels import cut_frames
from engine.wire.scan_kernels import (
    Int,
    digits_value,
    first_outside,
    is_class,
    is_sign,
    mti_value,
    read_bitmap,
    reverse_bits,
)
from engine.wire.structure_kernels import check_parts
from engine.wire.table import IS_COUNTED, IS_DIVIDED, IS_HEX, IS_TURNED, Char, DialectTable
from engine.wire.uses import USE_LIMIT, Use
from engine.wire.value_kernels import check_presence, take_values
from ledger.jit import allocating_kernel, kernel, lowest_bit

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(1 << 63)

_DIGIT = int(Char.DIGIT)
_VALUE = int(Fault.VALUE)
_MTI, _BITMAP, _LENGTH = int(Fault.MTI), int(Fault.BITMAP), int(Fault.LENGTH)
_CHARSET, _TRAILING, _STRUCTURE = int(Fault.CHARSET), int(Fault.TRAILING), int(Fault.STRUCTURE)
_ASCII, _RAW, _PREFIX_ASCII = int(Code.ASCII), int(Code.RAW), int(Prefix.ASCII)
_ASCII_HEX = int(Code.ASCII_HEX)
_USES, _PARTIAL, _LIFECYCLE = USE_LIMIT, int(Use.PARTIAL), int(Use.LIFECYCLE)
_NUMBER_DIGITS = 18  # more would not fit an int64 column
_TEXT_ROOM = 128  # characters of a field that is turned into ASCII
_TEXT_BEGIN = 16  # a word that ends where the first one ends is read


@allocating_kernel
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
    spans : uint16[cap, 193, 2], out, valid where the row's bitmap words have the field.
    pan_block : uint8[cap, 16], out: digit count, ten bytes of BCD padded with F, "de39", 1.
    """
    rows = cut_frames(arena, segments, segment_count, table.framing, request)
    # By use of a field: its value (-1 = none), where it can be read in ASCII (-1 = absent), its
    # length there. Every field writes here, those without a use into entry 0, so
    # that the loop does not branch on the use.
    blank = np.empty(4 * _USES, np.int64)
    scratch = np.empty(_TEXT_BEGIN + _USES * _TEXT_ROOM, np.uint8)
    # Flat, so that a field costs one store there.
    places = spans.reshape(spans.size).view(np.uint32)
    blocks = pan_block.reshape(pan_block.size)
    _decode_rows(arena, table, hash_key, request, places, blocks, rows, blank, scratch)
    return rows


@kernel
def _decode_rows(
    arena: Bytes,
    table: DialectTable,
    hash_key: NDArray[np.uint64],
    request: Array,
    places: NDArray[np.uint32],
    pan_block: Bytes,
    rows: Int,
    blank: NDArray[np.int64],
    scratch: Bytes,
) -> None:
    """Decode the messages that ``cut_frames`` found.

    One loop on purpose: a call a message would pass every array again.
    """
    fields, messages, message_of = table.fields, table.messages, table.message_of
    framing, chars, variants = table.framing, table.chars, table.variants
    number_of = table.number_of
    parts, part_fields, to_ascii = table.parts, table.part_fields, table.to_ascii
    ascii_chars, profile = chars[0], table.profile
    found = blank.reshape((_USES, 4))
    for i in range(np.uint64(rows)):
        row = request[i]
        start, dialect = np.int64(row.start), np.uint64(row.dialect)
        end = start + row.size
        rule = framing[dialect]
        for k in range(4 * _USES):
            blank[k] = -1
        row.fault, row.fault_field, row.fault_offset = 0, 0, 0
        row.told, row.spare = 0, 0  # read after decoding
        row.bitmap_hi, row.bitmap_lo, row.bitmap_third = _ZERO, _ZERO, _ZERO
        row.mti = _relative(mti_value(arena, start, end, rule.mti_code), rule)
        at: Int = -1
        high, low, third = _ZERO, _ZERO, _ZERO
        if row.mti < 0:
            row.fault = _MTI
        else:
            at, high, low, third = _read_bitmaps(
                arena, start, end, rule, ascii_chars, to_ascii, row
            )

        # The lowest bit is the lowest field: of what is left, of all, of what cannot be.
        left = reverse_bits(high & ~_TOP) if at >= 0 else _ZERO
        base, every, bad = 1, left, _ZERO
        place = i * np.uint64(FIELD_COUNT)
        last = 129 if third != _ZERO else (65 if low != _ZERO else 1)
        while at >= 0:
            if left == _ZERO:
                if base == last:
                    break
                _keep(row, base, every & ~bad)
                bad = _ZERO
                base += 64
                left = reverse_bits(low if base == 65 else third)
                every = left
                continue
            rest = left & (left - _ONE)
            number = np.uint64(base + lowest_bit(left))
            field = fields[dialect, number]
            limit, code = np.int64(field.limit), field.data_code
            if field.way != 0:
                length = np.int64(field.size)
                value = np.int64(-1)
                if at + length <= end:
                    value = fixed_number(arena, at, length, limit, field.way)
                if value >= 0:
                    use = field.use
                    found[use, 0], found[use, 1], found[use, 2] = value, at, length
                    places[place + number] = np.uint32((at - start) | (length << 16))
                    at += length
                    left = rest
                    continue
            prefix = np.int64(field.prefix_bytes)
            units: Int = limit
            if prefix != 0:
                if at + prefix > end:
                    units = -1
                else:
                    units = length_of(arena, at, prefix, np.int64(field.prefix_code))
            flags = np.int64(field.flags)
            length = bytes_of(units, np.int64(field.unit)) if flags & IS_COUNTED else units
            over = (units < 0) | (units > limit) | (at + prefix + length > end)
            if over | (limit == 0) | ((length & flags & IS_HEX) != 0):
                fault = _BITMAP if limit == 0 else _LENGTH
                set_fault(row, fault, np.int64(number), at - start)
                bad |= left
                at = -1
                break
            at += prefix
            value, bad_at = np.int64(-1), np.int64(-1)
            if code == _ASCII:
                char_bits, signed = np.int64(field.char_bits), np.int64(field.signed)
                if (char_bits == _DIGIT) & (length > 0) & (length <= _NUMBER_DIGITS):
                    value = digits_value(arena, at + signed, length - signed)
                    right = (value >= 0) & ((signed == 0) | is_sign(arena[np.uint64(at)]))
                else:
                    right = is_class(arena, at, length, ascii_chars, char_bits)
                if not right:
                    bad_at = first_outside(arena, at, length, ascii_chars, signed, char_bits)
            elif code != _RAW:
                value = packed_value(arena, at, length, units, field)
                if value < 0:
                    is_ascii = (code == _ASCII_HEX) | (field.signed == 1)
                    row_of = np.uint64(0) if is_ascii else dialect + _ONE
                    value, bad_at = coded_value(arena, at, length, units, field, chars, row_of)
            fault = _CHARSET
            if (flags & IS_DIVIDED) and bad_at < 0:
                bad_at = check_parts(arena, at, length, field, parts, part_fields, chars, found)
                if bad_at >= 0:
                    fault = _STRUCTURE
                    found[_PARTIAL, 0], found[_LIFECYCLE, 0] = -1, -1
            if bad_at < 0:
                use = field.use
                found[use, 0], found[use, 1], found[use, 2] = value, at, length
                if flags & IS_TURNED:
                    to = _TEXT_BEGIN + np.int64(use) * _TEXT_ROOM
                    found[use, 1] = to
                    found[use, 2] = turn(
                        arena, at, length, units, field, to_ascii, dialect, scratch, to
                    )
                places[place + number] = np.uint32((at - start) | (length << 16))
            else:
                set_fault(row, fault, np.int64(number), bad_at - start)
                bad |= left ^ rest
            at += length
            left = rest
        _keep(row, base, every & ~bad)
        text = arena if rule.is_plain else scratch
        take_values(text, number_of, hash_key, row, rule, profile, pan_block, i, found)
        if row.fault == _VALUE:  # blamed by its use: now say where it stands
            row.fault_offset = np.int64(places[place + np.uint64(row.fault_field)]) & 0xFFFF
        if at >= 0 and at != end:
            set_fault(row, _TRAILING, 0, at - start)
        kind = message_of[dialect, max(row.mti, 0)]
        message = messages[dialect, kind]
        row.deadline_ms, row.key_bits = message.deadline_ms, message.key_bits
        if row.fault == 0:
            if message.has_variants and row.pcode >= 0:
                message = messages[dialect, variants[dialect, kind, row.pcode // 10_000]]
            check_presence(row, message, number_of)


@kernel
def _keep(row: Any, base: Int, bits: np.uint64) -> None:
    """Note the valid fields of one bitmap, whose lowest bit is the lowest field."""
    good = reverse_bits(bits)
    if base == 1:
        row.bitmap_hi = good
    elif base == 65:
        row.bitmap_lo = good
    else:
        row.bitmap_third = good


@kernel
def _relative(mti: Int, rule: Any) -> Int:
    """Return the MTI without the dialect's version: 100 for its own 0100, 1100 or 2100.

    Of another version the difference stays, so that nothing takes it for its own; -1 where such
    messages are not answered.
    """
    if mti < 0:
        return mti
    if mti < 1000 and rule.version == 0:
        return mti
    version = (mti // 1000 - np.int64(rule.version)) % 10
    if version != 0 and rule.drops_versions:
        return -1
    return version * 1000 + mti % 1000


@kernel
def _read_bitmaps(
    arena: Bytes,
    start: Int,
    end: Int,
    rule: Any,
    chars: NDArray[np.uint16],
    to_ascii: NDArray[np.uint8],
    row: Any,
) -> tuple[Int, np.uint64, np.uint64, np.uint64]:
    """Return the arena offset of the first field, -1 = none, and the words of the fields."""
    code = np.int64(rule.bitmap_hex)
    width = 16 if code != 0 else 8
    mti_bytes = 2 if rule.mti_code == 2 else 4
    at = start + mti_bytes
    high, right = _ZERO, False
    if end - at >= width:
        high, right = read_bitmap(arena, at, code, chars, to_ascii, row.dialect)
    if not right:
        set_fault(row, _BITMAP, 0, mti_bytes)
        return -1, _ZERO, _ZERO, _ZERO
    at += width
    low, third = _ZERO, _ZERO
    more = high & _TOP != _ZERO
    number = 1
    while more:
        if end - at < width:
            set_fault(row, _BITMAP, number, at - start)
            return -1, high, low, third
        word, right = read_bitmap(arena, at, code, chars, to_ascii, row.dialect)
        if not right:  # the fields of the bitmaps before can still be read
            set_fault(row, _BITMAP, number, at - start)
            word = _ZERO
        at += width
        more = False
        if number == 65:
            third = word
        else:
            low = word
            if rule.has_third:
                more = low & _TOP != _ZERO
                low &= ~_TOP
                number = 65
    return at, high, low, third
