"""Encode kernels: the answers of a batch become frames in one call.

An echoed field is copied from the arena as it came, its length prefix included, so it is
byte-exact. Only fields that decoding found valid have their bit in the row, so a faulty request
needs no case of its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.scan_kernels import Int, load_word, lone_position, reverse_bits
from engine.wire.table import DialectTable
from ledger.jit import kernel

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

# Bytes an answer may have beyond those of its request and of its extra fields: header 2, MTI 4,
# two bitmaps in hex 32, DE38 6, DE39 2, prefixes of four extra fields 12, a MAC in hex 16; and a
# word written too far.
REPLY_OVERHEAD_BYTES = 88

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(1 << 63)
_BYTE_MASK, _NIBBLE = np.uint64(255), np.uint64(15)
_APPROVAL, _RESPONSE = np.uint64(38), np.uint64(39)
_BIT_38, _BIT_39 = np.uint64(1 << 26), np.uint64(1 << 25)


@kernel
def encode_batch(
    arena: Bytes,
    request: Array,
    spans: NDArray[np.uint16],
    reply: Array,
    reply_count: Int,
    table: DialectTable,
    extra: Bytes,
    out: Bytes,
    out_end: NDArray[np.int64],
) -> Int:
    """Write one frame a reply, one after the other; return the bytes written, or -1.

    -1 means ``out`` might not hold them: it needs, for every reply, the request's size, the extra
    fields' sizes and ``REPLY_OVERHEAD_BYTES``. Nothing past its end is written in that case either.

    Parameters
    ----------
    arena, request, spans : what ``decode_batch`` read and filled.
    reply : REPLY[:]. An extra field wins over an echo of the same field; its bytes are as on the
        wire, without a length prefix, and it is left out if the dialect has no field of that size.
        ``mac_at`` is out; the room for a MAC is filled with the character 0.
    table : compiled dialects.
    extra : uint8[:], data of the extra fields.
    out : uint8[:], out.
    out_end : int64[:], out: end of each frame in ``out``.
    """
    at: Int = 0
    fields, messages, message_of = table.fields, table.messages, table.message_of
    framing, lowest_bit = table.framing, table.lowest_bit
    for r in range(np.uint64(reply_count)):
        answer = reply[r]
        i = np.uint64(answer.request)
        row = request[i]
        if at + row.size + _extra_bytes(answer) + REPLY_OVERHEAD_BYTES > out.shape[0]:
            return -1
        begin: Int = at
        start, dialect = np.int64(row.start), np.uint64(row.dialect)
        message = messages[dialect, message_of[dialect, max(row.mti, 0)]]
        high = (message.echo_hi & row.bitmap_hi) | _BIT_39
        low = message.echo_lo & row.bitmap_lo
        if answer.has_approval:
            high |= _BIT_38
        added_hi, added_lo = _added(answer, fields[dialect])
        high |= added_hi
        low |= added_lo
        mac: Int = 0
        if answer.wants_mac:
            mac = 64 if low == _ZERO else 128
            if fields[dialect, mac].size == 0:
                mac = 0
        high |= np.uint64(mac == 64)
        low |= np.uint64(mac == 128)
        if low != _ZERO:
            high |= _TOP
        answer.mac_at = -1

        _write_digits(out, begin + 2, answer.mti, 4)
        is_hex = framing[dialect].bitmap_hex
        at = _write_bitmap(out, begin + 6, high, is_hex)
        if low != _ZERO:
            at = _write_bitmap(out, at, low, is_hex)

        left = reverse_bits(high & ~_TOP)
        base = 1
        while True:
            if left == _ZERO:
                if base == 65 or low == _ZERO:
                    break
                left = reverse_bits(low)
                base = 65
            lone = left & (~left + _ONE)
            left ^= lone
            number = np.uint64(base + lone_position(lone, lowest_bit))
            prefix = np.int64(fields[dialect, number].prefix_digits)
            is_added = (added_hi | added_lo) != _ZERO and _has(added_hi, added_lo, number)
            if np.int64(number) == mac:
                answer.mac_at = at
                at = _write_digits(out, at, 0, np.int64(fields[dialect, mac].size))
            elif is_added:
                at = _write_extra(answer, np.int64(number), prefix, extra, out, at)
            elif number == _RESPONSE:
                _store_word(out, at, np.uint64(answer.response))
                at += 2
            elif number == _APPROVAL:
                _store_word(out, at, answer.approval)
                at += 6
            else:
                source = start + np.int64(spans[i, number, 0]) - prefix
                at = _copy(arena, source, out, at, prefix + np.int64(spans[i, number, 1]))
        size = at - begin - 2
        out[np.uint64(begin)] = size >> 8
        out[np.uint64(begin + 1)] = size & 255
        out_end[r] = at
    return at


@kernel
def reply_mti(mti: Int) -> Int:
    """Return the MTI of the answer: function + 1, the repeat bit of the origin cleared.

    0100, 0101 -> 0110; 0420, 0421 -> 0430; origins 0/1 -> 0, 2/3 -> 2, 4/5 -> 4.
    """
    return mti + 10 - (mti & 1)


@kernel
def _extra_bytes(answer: Any) -> Int:
    total: Int = 0
    for k in range(answer.extra_count):
        total += answer.extra_size[k]
    return total


@kernel
def _added(answer: Any, fields: Array) -> tuple[np.uint64, np.uint64]:
    """Return the bitmap words of the extra fields that the dialect has room for."""
    high, low = _ZERO, _ZERO
    for k in range(answer.extra_count):
        number = np.int64(answer.extra_field[k])
        if not _fits(fields[number], np.int64(answer.extra_size[k])):
            answer.extra_field[k] = 0
        elif number <= 64:
            high |= _TOP >> np.uint64(number - 1)
        else:
            low |= _TOP >> np.uint64(number - 65)
    return high, low


@kernel
def _has(high: np.uint64, low: np.uint64, number: np.uint64) -> bool:
    word = high if number <= np.uint64(64) else low
    return (word & (_TOP >> ((number - _ONE) & np.uint64(63)))) != _ZERO


@kernel
def _write_extra(answer: Any, number: Int, prefix: Int, extra: Bytes, out: Bytes, at: Int) -> Int:
    for k in range(answer.extra_count):
        if answer.extra_field[k] == number:
            size = np.int64(answer.extra_size[k])
            at = _write_digits(out, at, size, prefix)
            return _copy(extra, np.int64(answer.extra_start[k]), out, at, size)
    return at


@kernel
def _fits(field: Any, size: Int) -> bool:
    if field.size == 0 or (field.data_code == 1 and size & 1):
        return False
    if field.prefix_digits == 0:
        return size == field.size
    return size <= field.size


@kernel
def _store_word(out: Bytes, at: Int, word: np.uint64) -> None:
    """Write eight bytes; the overhead of a reply leaves room for those that are not meant."""
    base = np.uint64(at)
    for k in range(8):
        out[base + np.uint64(k)] = (word >> np.uint64(8 * k)) & _BYTE_MASK


@kernel
def _copy(data: Bytes, source: Int, out: Bytes, at: Int, length: Int) -> Int:
    """Copy ``length`` bytes, eight at a time where ``data`` goes on far enough; return the end."""
    if source + length + 8 <= data.shape[0]:
        for k in range(0, length, 8):
            _store_word(out, at + k, load_word(data, source + k))
    else:
        for k in range(length):
            out[np.uint64(at + k)] = data[np.uint64(source + k)]
    return at + length


@kernel
def _write_digits(out: Bytes, at: Int, value: Int, digits: Int) -> Int:
    for k in range(digits):
        out[np.uint64(at + digits - 1 - k)] = 48 + value % 10
        value //= 10
    return at + digits


@kernel
def _write_bitmap(out: Bytes, at: Int, word: np.uint64, is_hex: Int) -> Int:
    if is_hex == 0:
        for k in range(8):
            out[np.uint64(at + k)] = (word >> np.uint64(56 - 8 * k)) & _BYTE_MASK
        return at + 8
    for k in range(16):
        nibble = np.int64((word >> np.uint64(60 - 4 * k)) & _NIBBLE)
        out[np.uint64(at + k)] = 48 + nibble if nibble < 10 else 55 + nibble
    return at + 16
