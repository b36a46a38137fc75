"""The receiving half of the load generator's hot loop: read every answer and check it.

Nothing in the bytes is trusted: each length is bounded before it is read.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.frame_kernels import Whole
from bench.latency import bucket_of
from ledger.jit import allocating_kernel, kernel

LARGEST_FRAME = 8_192
_CODE_00 = 48 + 48 * 256
_CODE_10 = 49 + 48 * 256  # partial approval
_CODE_85 = 56 + 53 * 256  # no reason to decline: a check of the card


@allocating_kernel
def take(
    run: NDArray[Any],
    now_us: int,
    ready: NDArray[np.int64],
    connections: NDArray[Any],
    slots: NDArray[Any],
    orders: NDArray[Any],
    widths: NDArray[np.int64],
    received: NDArray[np.uint8],
    codes: NDArray[np.int64],
    truth: NDArray[np.int64],
    latency: NDArray[np.int64],
) -> None:
    """Take the whole frames out of the receive buffers of connections ``ready`` and check them.

    Parameters: ``widths`` i64[65] of ``reply_widths``; ``received`` u8[c, bytes]; ``codes``
    i64[65536] answers by DE39; ``truth`` i64[4, 2] payments by fraud scenario and (0 declined, 1
    approved); ``latency`` i64[BUCKETS]. A frame length over LARGEST_FRAME marks the connection
    broken: its stream cannot be read on.
    """
    found = np.zeros(5, dtype=np.int64)
    for place in range(ready.size):
        number = ready[place]
        link = connections[number]
        end = link.recv_end
        at = np.int64(0)
        while end - at >= 2:
            size = np.int64(received[number, at]) * 256 + np.int64(received[number, at + 1])
            if size > LARGEST_FRAME:
                link.broken = 1
                at = np.int64(end)
                break
            if end - at - 2 < size:
                break
            if size > 0:
                read_reply(received[number, at + 2 : at + 2 + size], widths, found)
                settle(
                    run, now_us, number, found, connections, slots, orders, codes, truth, latency
                )
            at += 2 + size
        for i in range(end - at):
            received[number, i] = received[number, at + i]
        link.recv_end = end - at


@kernel
def read_reply(frame: NDArray[np.uint8], widths: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """Read MTI, DE11, DE37, DE38 and DE39 of a reply without its length header.

    Parameters: ``widths`` i64[65]: [0] = 1 when the bitmap is hex, [de] > 0 bytes of a fixed field,
    -2 or -3 digits of its length prefix, 0 = not known; ``out`` i64[5]: MTI, STAN, running number
    of DE37, approval (six characters, first in the lowest byte; 0 = absent), DE39 (two characters,
    first in the low byte). Anything absent or unreadable is -1; MTI is -1 if the frame is.
    """
    for i in range(5):
        out[i] = -1
    out[3] = 0
    hexadecimal = widths[0] == 1
    size = frame.size
    at = 20 if hexadecimal else 12
    if size < at:
        return
    mti = digits(frame, 0, 4)
    high = bitmap_half(frame, 4, hexadecimal)
    if mti < 0 or high < 0:
        return
    bits = np.uint64(high) << np.uint64(4) | np.uint64(low_nibble(frame, 4, hexadecimal))
    if bits >> np.uint64(63) == np.uint64(1):
        at += 16 if hexadecimal else 8
    for de in range(2, 40):
        if (bits >> np.uint64(64 - de)) & np.uint64(1) == np.uint64(0):
            continue
        width = widths[de]
        if width < 0:
            prefix = -width
            if at + prefix > size:
                return
            width = digits(frame, at, prefix)
            if width < 0:
                return
            at += prefix
        elif width == 0:
            return
        if at + width > size:
            return
        if de == 11:
            out[1] = digits(frame, at, 6)
        elif de == 37:
            out[2] = digits(frame, at, 12)
        elif de == 38:
            for i in range(5, -1, -1):
                out[3] = out[3] * 256 + np.int64(frame[at + i])
        elif de == 39:
            out[4] = np.int64(frame[at]) + np.int64(frame[at + 1]) * 256
        at += width
    out[0] = mti


@kernel
def digits(frame: NDArray[np.uint8], at: Whole, count: Whole) -> Whole:
    """Return ``count`` ASCII digits as a number, -1 when one is none."""
    value = np.int64(0)
    for i in range(count):
        digit = np.int64(frame[at + i]) - 48
        if digit < 0 or digit > 9:
            return np.int64(-1)
        value = value * 10 + digit
    return value


@kernel
def nibble(character: Whole) -> Whole:
    """Return the value of a hex digit, -1 when it is none."""
    value = np.int64(character)
    if 48 <= value <= 57:
        return value - 48
    if 65 <= value <= 70:
        return value - 55
    if 97 <= value <= 102:
        return value - 87
    return np.int64(-1)


@kernel
def bitmap_half(frame: NDArray[np.uint8], at: int, hexadecimal: bool) -> Whole:  # noqa: FBT001
    """Return bits 1-60 of the bitmap (they fit an int64), -1 when it is not hex."""
    value = np.int64(0)
    for i in range(16):
        if hexadecimal:
            part = nibble(frame[at + i])
            if part < 0:
                return np.int64(-1)
        else:
            part = np.int64(frame[at + i // 2]) >> (4 if i % 2 == 0 else 0) & 15
        if i < 15:
            value = value * 16 + part
    return value


@kernel
def low_nibble(frame: NDArray[np.uint8], at: int, hexadecimal: bool) -> Whole:  # noqa: FBT001
    """Return bits 61-64 of a bitmap that ``bitmap_half`` has found good."""
    if hexadecimal:
        return nibble(frame[at + 15])
    return np.int64(frame[at + 7]) & 15


@kernel
def settle(
    run: NDArray[Any],
    now_us: Whole,
    number: Whole,
    found: NDArray[np.int64],
    connections: NDArray[Any],
    slots: NDArray[Any],
    orders: NDArray[Any],
    codes: NDArray[np.int64],
    truth: NDArray[np.int64],
    latency: NDArray[np.int64],
) -> None:
    """Match one reply with its slot and count it: answered, doubled, swapped, unknown."""
    state = run[0]
    mti = found[0]
    if mti < 0 or found[2] < 0 or found[4] < 0 or mti not in (110, 430):
        state.malformed += 1
        return
    index = found[2] - state.first_number
    if index < 0 or index >= state.next:
        state.unknown += 1
        return
    slot = slots[index]
    backward = mti == 430
    if backward and slot.back_expected == 0:
        state.unknown += 1
        return
    if slot.connection != number or found[1] != found[2] % 999_999 + 1:
        state.swapped += 1
        return
    sent_us = slot.sent_us
    if backward:
        if slot.back_answered >= slot.back_expected:
            state.doubled += 1
            return
        slot.back_answered += 1
        slot.back_response = np.uint16(found[4])
        sent_us += np.int64(slot.back_us)
        state.reversals += 1
    elif slot.answered >= slot.expected:
        state.doubled += 1
        return
    elif slot.answered == 0:
        slot.answered = 1
        slot.response = np.uint16(found[4])
        slot.approval = np.uint64(found[3])
        connections[number].in_flight -= 1
        approved = found[4] == _CODE_00 or found[4] == _CODE_10 or found[4] == _CODE_85
        scenario = np.int64(orders[index % orders.size].scenario) & 3
        if approved:
            state.approved += 1
            truth[scenario, 1] += 1
        else:
            state.declined += 1
            truth[scenario, 0] += 1
    else:
        slot.answered += 1
        sent_us += np.int64(slot.again_us)
        state.repeats += 1
        if slot.response != found[4] or slot.approval != np.uint64(found[3]):
            state.changed += 1
    state.answered += 1
    codes[found[4]] += 1
    if sent_us >= state.warm_us:
        taken_us = max(now_us - sent_us, 0)
        latency[bucket_of(taken_us)] += 1
        state.answered_measured += 1
        state.max_us = max(state.max_us, taken_us)
        state.last_us = now_us


def reply_widths(dialect: str) -> NDArray[np.int64]:
    """Return ``widths`` of ``read_reply`` for iso87-bin or iso87-hex: fields 2 to 39.

    Source: ISO 8583:1987, the field table; the same in both dialects, as no binary field is
    numbered below 52.
    """
    fixed = {
        3: 6, 4: 12, 5: 12, 6: 12, 7: 10, 8: 8, 9: 8, 10: 8, 11: 6, 12: 6, 13: 4, 14: 4, 15: 4,
        16: 4, 17: 4, 18: 4, 19: 3, 20: 3, 21: 3, 22: 3, 23: 3, 24: 3, 25: 2, 26: 2, 27: 1, 28: 9,
        29: 9, 30: 9, 31: 9, 37: 12, 38: 6, 39: 2,
    }  # fmt: skip
    prefixed = {2: 2, 32: 2, 33: 2, 34: 2, 35: 2, 36: 3}
    widths = np.zeros(65, dtype=np.int64)
    widths[0] = int(dialect == "iso87-hex")
    for field, size in fixed.items():
        widths[field] = size
    for field, prefix in prefixed.items():
        widths[field] = -prefix
    return widths
