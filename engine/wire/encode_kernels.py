"""Encode kernels: the answers of a batch become frames in one call.

An echoed field is copied from the arena as it came, its length prefix included, so it is
byte-exact. Only fields that decoding found valid have their bit in the row, so a faulty request
needs no case of its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.scan_kernels import lone_position, reverse_bits
from engine.wire.table import DialectTable
from ledger.jit import kernel

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

# Bytes an answer may have beyond those of its request and of its extra field: header 2, MTI 4,
# two bitmaps in hex 32, DE38 6, DE39 2, prefix of the extra field 3.
REPLY_OVERHEAD_BYTES = 64

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(1 << 63)
_BYTE_MASK, _BYTE_BITS, _NIBBLE = np.uint64(255), np.uint64(8), np.uint64(15)
_BIT_38, _BIT_39 = np.uint64(1 << 26), np.uint64(1 << 25)


@kernel
def encode_batch(
    arena: Bytes,
    request: Array,
    spans: NDArray[np.uint16],
    reply: Array,
    reply_count: int,
    table: DialectTable,
    extra: Bytes,
    out: Bytes,
    out_end: NDArray[np.int64],
) -> int:
    """Write one frame a reply, one after the other; return the bytes written, or -1.

    -1 means ``out`` might not hold them: it needs, for every reply, the request's size, the extra
    field's size and ``REPLY_OVERHEAD_BYTES``. Nothing past its end is written in that case either.

    Parameters
    ----------
    arena, request, spans : what ``decode_batch`` read and filled.
    reply : REPLY[:]. ``extra_field`` wins over an echo of the same field; its bytes are as on the
        wire, without a length prefix, and it is left out if the dialect has no field of that size.
    table : compiled dialects.
    extra : uint8[:], data of the extra fields.
    out : uint8[:], out.
    out_end : int64[:], out: end of each frame in ``out``.
    """
    at = 0
    for r in range(reply_count):
        answer = reply[r]
        row = request[answer.request]
        if at + row.size + answer.extra_size + REPLY_OVERHEAD_BYTES > out.shape[0]:
            return -1
        at = _encode_reply(arena, row, spans, answer, table, extra, out, at)
        out_end[r] = at
    return at


@kernel
def reply_mti(mti: int) -> int:
    """Return the MTI of the answer: function + 1, the repeat bit of the origin cleared.

    0100, 0101 -> 0110; 0420, 0421 -> 0430; origins 0/1 -> 0, 2/3 -> 2, 4/5 -> 4.
    """
    return mti + 10 - (mti & 1)


@kernel
def _encode_reply(
    arena: Bytes,
    row: Any,
    spans: NDArray[np.uint16],
    answer: Any,
    table: DialectTable,
    extra: Bytes,
    out: Bytes,
    begin: int,
) -> int:
    """Write one frame at ``begin``; return its end."""
    dialect = row.dialect
    mti = max(row.mti, 0)
    message = table.messages[dialect, table.message_of[dialect, mti]]
    high = (message.echo_hi & row.bitmap_hi) | _BIT_39
    low = message.echo_lo & row.bitmap_lo
    if answer.has_approval:
        high |= _BIT_38
    added = np.int64(answer.extra_field)
    if added != 0 and not _fits(table.fields[dialect, added], answer.extra_size):
        added = 0
    if 0 < added <= 64:
        high |= _TOP >> np.uint64(added - 1)
    elif added > 64:
        low |= _TOP >> np.uint64(added - 65)
    if low != _ZERO:
        high |= _TOP

    at = _write_digits(out, begin + 2, answer.mti, 4)
    is_hex = table.framing[dialect].bitmap_hex == 1
    at = _write_bitmap(out, at, high, is_hex)
    if low != _ZERO:
        at = _write_bitmap(out, at, low, is_hex)

    start = np.int64(row.start)
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
        number = base + lone_position(lone, table.lowest_bit)
        if number == added:
            prefix = table.fields[dialect, number].prefix_digits
            at = _write_digits(out, at, answer.extra_size, prefix)
            for k in range(answer.extra_size):
                out[at + k] = extra[answer.extra_start + k]
            at += answer.extra_size
        elif number == 39:
            out[at] = answer.response & 255
            out[at + 1] = answer.response >> 8
            at += 2
        elif number == 38:
            for k in range(6):
                out[at + k] = (answer.approval >> np.uint64(8 * k)) & _BYTE_MASK
            at += 6
        else:
            prefix = np.int64(table.fields[dialect, number].prefix_digits)
            source = start + spans[answer.request, number, 0] - prefix
            length = prefix + spans[answer.request, number, 1]
            for k in range(length):
                out[at + k] = arena[source + k]
            at += length
    size = at - begin - 2
    out[begin] = size >> 8
    out[begin + 1] = size & 255
    return at


@kernel
def _fits(field: Any, size: int) -> bool:
    if field.size == 0 or (field.data_code == 1 and size & 1):
        return False
    if field.prefix_digits == 0:
        return size == field.size
    return size <= field.size


@kernel
def _write_digits(out: Bytes, at: int, value: int, digits: int) -> int:
    for k in range(digits):
        out[at + digits - 1 - k] = 48 + value % 10
        value //= 10
    return at + digits


@kernel
def _write_bitmap(out: Bytes, at: int, word: np.uint64, is_hex: bool) -> int:  # noqa: FBT001
    if not is_hex:
        for k in range(8):
            out[at + k] = (word >> np.uint64(56 - 8 * k)) & _BYTE_MASK
        return at + 8
    for k in range(16):
        nibble = np.int64((word >> np.uint64(60 - 4 * k)) & _NIBBLE)
        out[at + k] = 48 + nibble if nibble < 10 else 55 + nibble
    return at + 16
