"""Which holds end when: a wheel of minutes, each with its open holds in order of entry.

A hold ends at the first whole minute at or after its deadline. Every minute of the next 45 days has
a slot with a list of ring entries, linked both ways, so that a hold is put in, taken out and found
due in constant time whatever the life of others is. The wheel is a view of the ring: a row is on
it exactly while its ``deadline_s`` is not 0, and it is built again from the rows after a restart.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.authorizations import Cursor, State
from ledger.jit import Int, hot_kernel, kernel

MINUTE_S = 60
_SLOTS = 1 << 16
_MASK = _SLOTS - 1
LIFE_H_MAX = 44 * 24  # hours; less than the wheel goes round

Wheel: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


def new_wheel(capacity: int) -> Wheel:
    """Return (slots i64 (65536, 2): first and last entry, links i64 (capacity, 2): before, after).

    ``capacity`` is the ring's; 0 = none.
    """
    return np.zeros((_SLOTS, 2), np.int64), np.zeros((capacity, 2), np.int64)


@hot_kernel
def deadline_of(t_s: Int, life_h: Int) -> Int:
    """Return the second at which a hold of ``life_h`` hours, placed at ``t_s``, ends."""
    return -(-(np.int64(t_s) + np.int64(life_h) * 3600) // MINUTE_S) * MINUTE_S


@hot_kernel
def schedule(entry: Int, ring: NDArray[np.void], wheel: Wheel, cursor: NDArray[np.int64]) -> None:
    """Put ``entry``, whose ``deadline_s`` is set, behind the other holds of its minute."""
    slots, links = wheel
    place = entry & (links.shape[0] - 1)
    minute = np.int64(ring[place]["deadline_s"]) // MINUTE_S
    slot = minute & _MASK
    last = slots[slot, 1]
    links[place, 0] = last
    links[place, 1] = 0
    if last == 0:
        slots[slot, 0] = entry
    else:
        links[last & (links.shape[0] - 1), 1] = entry
    slots[slot, 1] = entry
    cursor[Cursor.SWEEP] = min(cursor[Cursor.SWEEP], minute)


@kernel
def reschedule(entry: Int, ring: NDArray[np.void], wheel: Wheel, cursor: NDArray[np.int64]) -> None:
    """Put ``entry``, whose ``deadline_s`` is set again, between the holds of its minute, by entry.

    A restart puts holds on the wheel in order of entry, so this must. Its place is looked for from
    both sides: back along the minute's list, and ahead in the ring for the next hold of the minute.
    So few holds left of many are found as fast as many left.
    """
    slots, links = wheel
    mask = links.shape[0] - 1
    deadline_s = ring[entry & mask]["deadline_s"]
    minute = np.int64(deadline_s) // MINUTE_S
    slot = minute & _MASK
    before, ahead = slots[slot, 1], np.int64(entry) + 1
    while before > entry:
        if ahead <= cursor[Cursor.HEAD] and ring[ahead & mask]["deadline_s"] == deadline_s:
            before = links[ahead & mask, 0]
            break
        ahead += 1
        before = links[before & mask, 0]
    after = slots[slot, 0] if before == 0 else links[before & mask, 1]
    links[entry & mask, 0] = before
    links[entry & mask, 1] = after
    if before == 0:
        slots[slot, 0] = entry
    else:
        links[before & mask, 1] = entry
    if after == 0:
        slots[slot, 1] = entry
    else:
        links[after & mask, 0] = entry
    cursor[Cursor.SWEEP] = min(cursor[Cursor.SWEEP], minute)


@kernel
def unschedule(entry: Int, ring: NDArray[np.void], wheel: Wheel) -> None:
    """Take ``entry`` off the wheel if it is on it; its ``deadline_s`` is 0 afterwards."""
    slots, links = wheel
    mask = links.shape[0] - 1
    row = ring[entry & mask]
    if row["deadline_s"] == 0:
        return
    slot = (np.int64(row["deadline_s"]) // MINUTE_S) & _MASK
    before, after = links[entry & mask, 0], links[entry & mask, 1]
    if before == 0:
        slots[slot, 0] = after
    else:
        links[before & mask, 1] = after
    if after == 0:
        slots[slot, 1] = before
    else:
        links[after & mask, 0] = before
    links[entry & mask, 0] = 0
    links[entry & mask, 1] = 0
    row["deadline_s"] = 0


@hot_kernel
def next_due(ring: NDArray[np.void], wheel: Wheel, cursor: NDArray[np.int64], now_s: Int) -> Int:
    """Return the entry whose hold ended first of those that have ended at ``now_s``; 0 = none.

    By deadline, then by entry. It stays on the wheel: the caller takes it off. The cursor's SWEEP
    is the first minute that may have a hold; it moves over empty minutes only.
    """
    slots, _ = wheel
    last = now_s // MINUTE_S
    minute = max(cursor[Cursor.SWEEP], last - _MASK)
    while minute <= last:
        entry = slots[minute & _MASK, 0]
        if entry != 0 and ring[entry & (ring.shape[0] - 1)]["deadline_s"] <= now_s:
            cursor[Cursor.SWEEP] = minute
            return entry
        minute += 1
    cursor[Cursor.SWEEP] = max(cursor[Cursor.SWEEP], last)
    return 0


@kernel
def rebuild(ring: NDArray[np.void], first: Int, wheel: Wheel, cursor: NDArray[np.int64]) -> None:
    """Put the open holds of the entries from ``first`` on, in order, on an empty wheel."""
    slots, links = wheel
    slots[:] = 0
    links[:] = 0
    cursor[Cursor.SWEEP] = 0
    for entry in range(max(first, 1), cursor[Cursor.HEAD] + 1):
        row = ring[entry & (ring.shape[0] - 1)]
        if row["state"] == State.OPEN and row["deadline_s"] != 0:
            schedule(entry, ring, wheel, cursor)
