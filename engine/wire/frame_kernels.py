"""Cut messages out of the byte streams of links: lengths, keep-alives, envelopes, trailers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.scan_kernels import Int
from engine.wire.table import Envelope, FrameFault
from ledger.jit import kernel

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_TOO_LONG, _TOO_SHORT = int(FrameFault.TOO_LONG), int(FrameFault.TOO_SHORT)
_NOT_DIGITS, _ENVELOPE = int(FrameFault.NOT_DIGITS), int(FrameFault.ENVELOPE)
_TRAILER = int(FrameFault.TRAILER)
_TEXT, _VISA = int(Envelope.TEXT), int(Envelope.VISA)
_BINARY, _BCD = 0, 2
_ENVELOPE_MOST = 255


@kernel
def cut_frames(
    arena: Bytes, segments: Array, segment_count: Int, framing: Array, request: Array
) -> Int:
    """Find the messages: write ``start``, ``size``, ``envelope``, ``segment``, ``dialect`` of each.

    Returns the rows found; ``consumed`` and the fault of each segment say how far it came.
    """
    rows = 0
    capacity = request.shape[0]
    for s in range(segment_count):
        segment = segments[s]
        at, end, dialect = segment.start, segment.end, segment.dialect
        rule = framing[dialect]
        length_code, header = rule.length_code, np.int64(rule.header_bytes)
        head = header + np.int64(rule.reserved_bytes)
        own = header if rule.counts_all else 0  # bytes of the length that it counts
        is_bare = rule.envelope == 0 and rule.has_trailer == 0
        most = np.int64(rule.max_bytes) + np.int64(rule.envelope_bytes) + rule.has_trailer
        if rule.envelope == _VISA:
            most = np.int64(rule.max_bytes) + _ENVELOPE_MOST
        least = np.int64(rule.min_bytes)
        first_row, fault, keepalives, keepalives_last = rows, 0, 0, 0
        while at + head <= end:
            if length_code == _BINARY and header == 2:
                size = (np.int64(arena[np.uint64(at)]) << 8) | np.int64(arena[np.uint64(at + 1)])
            else:
                size = _frame_length(arena, at, header, length_code)
            size -= own
            if size == 0:
                keepalives += 1
                keepalives_last += 1
                at += head
                continue
            envelope: Int = 0
            if size > most:
                fault = _TOO_LONG
                break
            if size < least:
                fault = _NOT_DIGITS if size < -own else _TOO_SHORT
                break
            if not is_bare:
                envelope, fault = _envelope(arena, at + head, end, size, rule)
                if fault != 0 or envelope < 0:
                    break
            if at + head + size > end or rows == capacity:
                break
            row = request[rows]
            row.start, row.size = at + head + envelope, size - envelope - rule.has_trailer
            row.envelope, row.segment, row.dialect = envelope, s, dialect
            rows += 1
            keepalives_last = 0
            at += head + size
        segment.consumed = at - segment.start
        segment.first_row = first_row
        segment.row_count = rows - first_row
        segment.fault = fault
        segment.keepalives = keepalives
        segment.keepalives_last = keepalives_last
    return rows


@kernel
def _frame_length(arena: Bytes, at: Int, size: Int, code: Int) -> Int:
    """Return what a length says; far below zero = it is not of digits."""
    value: Int = 0
    for k in range(size):
        byte = np.int64(arena[np.uint64(at + k)])
        if code == _BINARY:
            value = (value << 8) | byte
        elif code == _BCD:
            if (byte >> 4 > 9) | (byte & 15 > 9):
                return -1000
            value = value * 100 + (byte >> 4) * 10 + (byte & 15)
        else:
            if byte < 48 or byte > 57:
                return -1000
            value = value * 10 + byte - 48
    return value


@kernel
def _envelope(arena: Bytes, at: Int, end: Int, size: Int, rule: Any) -> tuple[Int, Int]:
    """Return (bytes before the MTI, fault); -1 and no fault = not all of it has come."""
    envelope = np.int64(rule.envelope_bytes)
    if rule.envelope == _VISA:
        if at >= end:
            return -1, 0
        envelope = np.int64(arena[np.uint64(at)])
        if envelope < rule.envelope_bytes:
            return -1, _ENVELOPE
    if rule.envelope == _TEXT:
        for k in range(min(np.int64(rule.text_bytes), end - at)):
            if arena[np.uint64(at + k)] != rule.text[k]:
                return -1, _ENVELOPE
    rest = size - envelope - np.int64(rule.has_trailer)
    if rest < rule.min_bytes:
        return -1, _TOO_SHORT
    if rest > rule.max_bytes:
        return -1, _TOO_LONG
    if rule.has_trailer and at + size <= end and arena[np.uint64(at + size - 1)] != rule.trailer:
        return -1, _TRAILER
    return envelope, 0
