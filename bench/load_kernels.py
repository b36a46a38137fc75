"""The sending half of the load generator's hot loop: build every frame that is due.

One call builds for all connections; no Python runs for a single message.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.frame_kernels import FRAME_CAP, Whole, put_clock, write_frame
from bench.workload_kernels import mix
from ledger.jit import allocating_kernel, kernel

BURST = 4_096  # payments built in one call, so that answers are taken in between
_SHARE_MASK = 0xFFFFF


@allocating_kernel
def fill(
    run: NDArray[Any],
    now_us: int,
    connections: NDArray[Any],
    slots: NDArray[Any],
    orders: NDArray[Any],
    templates: NDArray[np.uint8],
    places: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Append the frames that are due to the send buffers, at most BURST payments.

    Parameters: ``run`` RUN[1]; ``connections`` CONNECTION[c]; ``slots`` SLOT[capacity]; ``orders``
    ORDER[n], taken round and round; ``templates`` and ``places`` of ``bench.frames``; ``out``
    u8[c, bytes]. Open loop: payment k is due at k x interval_us and goes out on connection k % c;
    a connection whose buffer is full holds up all that follow (their times run on). Closed loop:
    each connection is kept at ``window`` payments in flight.
    """
    state = run[0]
    count = connections.size
    clock = np.zeros(10, dtype=np.uint8)
    original_clock = np.zeros(10, dtype=np.uint8)
    clock_s = np.int64(-1)
    for _ in range(BURST):
        index = state.next
        if index >= state.capacity:
            break
        if state.interval_us > 0.0:
            due_us = np.int64(index * state.interval_us)
            if due_us > now_us:
                break
            number = index % count
            if not has_room(connections, number, out):
                break
        else:
            due_us = np.int64(now_us)
            number = np.int64(-1)
            for step in range(count):
                candidate = (state.turn + step) % count
                if connections[candidate].in_flight < state.window and has_room(
                    connections, candidate, out
                ):
                    number = candidate
                    break
            if number < 0:
                break
            state.turn = number + 1
        order = orders[index % orders.size]
        second = np.int64(order.t_s)
        if state.wall_s >= 0:
            second = state.wall_s + due_us // 1_000_000
        if second != clock_s:
            put_clock(clock, second)
            clock_s = second
        slot = slots[index]
        slot.sent_us = due_us
        slot.second = np.uint32(second)
        slot.connection = np.uint16(number)
        slot.expected = 1
        state.next = index + 1
        connections[number].in_flight += 1
        append(
            run, now_us, due_us, connections, number, 0, order, index, clock, clock,
            templates, places, out,
        )  # fmt: skip
        bits = mix(np.uint64(state.seed) ^ np.uint64(index) * np.uint64(0x9E3779B97F4A7C15))
        at_once = bits >> np.uint64(63) == np.uint64(1)
        if at_once and np.int64(bits & np.uint64(_SHARE_MASK)) < state.repeat_share:
            slot.expected = 2
            append(
                run, now_us, due_us, connections, number, 2, order, index, clock, clock,
                templates, places, out,
            )  # fmt: skip
        earlier = index - state.lag
        if earlier < 0:
            continue
        # The payment ``lag`` before this one may be repeated or reversed now, on its connection.
        bits = mix(np.uint64(state.seed) ^ np.uint64(earlier) * np.uint64(0x9E3779B97F4A7C15))
        slot = slots[earlier]
        if not has_room(connections, np.int64(slot.connection), out):
            continue
        number = np.int64(slot.connection)
        order = orders[earlier % orders.size]
        later_us = np.uint32(due_us - slot.sent_us)
        if (
            bits >> np.uint64(63) == np.uint64(0)
            and np.int64(bits & np.uint64(_SHARE_MASK)) < state.repeat_share
        ):
            put_clock(original_clock, np.int64(slot.second))
            slot.expected = 2
            slot.again_us = later_us
            append(
                run, now_us, due_us, connections, number, 2, order, earlier, original_clock,
                original_clock, templates, places, out,
            )  # fmt: skip
        elif np.int64((bits >> np.uint64(20)) & np.uint64(_SHARE_MASK)) < state.reversal_share:
            put_clock(original_clock, np.int64(slot.second))
            slot.back_expected = 1
            slot.back_us = later_us
            append(
                run, now_us, due_us, connections, number, 1, order, earlier, clock,
                original_clock, templates, places, out,
            )  # fmt: skip


@kernel
def has_room(connections: NDArray[Any], number: Whole, out: NDArray[np.uint8]) -> bool:
    """Return whether the send buffer takes three more frames, moving its bytes to the front."""
    link = connections[number]
    if link.send_end + 3 * FRAME_CAP <= out.shape[1]:
        return True
    size = link.send_end - link.send_start
    if link.send_start == 0 or size + 3 * FRAME_CAP > out.shape[1]:
        return False
    for i in range(size):
        out[number, i] = out[number, link.send_start + i]
    link.send_start = 0
    link.send_end = size
    return True


@kernel
def append(
    run: NDArray[Any],
    now_us: Whole,
    due_us: Whole,
    connections: NDArray[Any],
    number: Whole,
    kind: int,
    order: Any,
    index: Whole,
    clock: NDArray[np.uint8],
    original_clock: NDArray[np.uint8],
    templates: NDArray[np.uint8],
    places: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write one frame into the send buffer of connection ``number`` and count it."""
    state = run[0]
    link = connections[number]
    link.send_end += write_frame(
        kind, order, state.first_number + index, clock, original_clock, templates, places,
        out[number, link.send_end :],
    )  # fmt: skip
    state.sent += 1
    if due_us >= state.warm_us:
        state.sent_measured += 1
        if now_us - due_us > state.late_us:
            state.late += 1
