"""Answered card messages and the holds they opened: one row each, in order of arrival.

The rows are a ring: entry number ``e`` (from 1, never reused) lies at ``e & (capacity - 1)``. A row
keeps what a repeat needs to get the same answer, and what a reversal or an expiry needs to release
exactly what is still held. A reversal that arrives before its original leaves a TOMBSTONE row under
the original's identity, so that the original holds nothing when it comes.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ledger.jit import Int, aligned_zeros, kernel

SPARE_ROWS = 16_384  # two for each message of the largest batch, live or replayed


class State(IntEnum):
    """Life of an authorization; REVERSAL rows are kept only to answer their own repeats."""

    EMPTY = 0
    PENDING = 1  # taken in, not decided yet: only inside one batch
    DECLINED = 2
    CHECKED = 3  # zero amount: nothing was held
    OPEN = 4
    REVERSED = 5
    EXPIRED = 6
    TOMBSTONE = 7
    REVERSAL = 8
    CLOSING = 9  # open, and a message of the batch at hand is about it: only inside one
    CLEARED = 10  # closed: cleared, nothing held any more; also a message that cleared (0200, 0220)
    ADDED = 11  # its amount stands in the hold of the authorization in ``parent``


AUTHORIZATION = np.dtype(
    [
        ("id_hi", "<u8"),  # message identity, as in the record
        ("id_lo", "<u8"),
        ("rrn_hi", "<u8"),  # keyed hash of RRN, terminal and acquirer; 0 = no RRN
        ("rrn_lo", "<u8"),
        ("seq", "<u8"),  # its record; never falls along the ring
        ("amount_minor", "<i8"),  # in the account's currency
        ("requested_minor", "<i8"),  # DE4 as it came: repeats and reversals must agree with it
        ("held_minor", "<i8"),  # what is still held, >= 0
        ("granted_minor", "<i8"),  # approved, increments included; of an inquiry: open to buy
        # Cleared and not given back; of an inquiry: its ledger balance.
        ("cleared_minor", "<i8"),
        # Entry of the authorization that this one belongs to; 0 = none. Of an authorization, below
        # zero: its newest posted clearing (ledger.captures).
        ("parent", "<i8"),
        ("account", "<u4"),
        ("card", "<u4"),
        ("t_s", "<u4"),
        ("deadline_s", "<u4"),  # its hold ends at this second; 0 = it holds nothing
        ("pcode", "<u4"),
        ("result", "<u2"),
        ("response", "<u2"),
        ("currency", "<u2"),
        ("kind", "<u2"),
        ("state", "u1"),
        ("exponent", "u1"),
        (
            "belongs",
            "<u2",
        ),  # 1 = to ``parent``; 0 = ``parent``, if any, took its place
        ("mcc", "<u2"),
        ("life_h", "<u2"),  # hours from ``t_s`` that its hold lives
        ("completion", "<u4"),  # the newest one, or the one before (ledger.captures); 0 = none
    ]
)
assert AUTHORIZATION.itemsize == 128  # two cache lines


class Cursor(IntEnum):
    """Slots of the ``cursor`` array: scalars that kernels move along."""

    HEAD = 0  # the last entry number given out; 0 = none
    SWEEP = 1  # no hold ends in a minute (since 1970) before this one
    LAST_TS_NS = 2  # engine time never falls
    NEXT_SEQ = 3
    MERCHANTS = 4  # merchant rows in use; row 0 is shared by those past the bound
    REFUSED = 5  # requests refused because a table is at its bound
    ACCOUNTS = 6  # the last account number given out
    CARDS = 7  # the last card number given out
    POSTED = 8  # the last number given to an item of clearing or repayment


def new_cursor() -> NDArray[np.int64]:
    """Return the scalars of an empty ledger: the first record is number 1."""
    cursor = np.zeros(len(Cursor), np.int64)
    cursor[Cursor.NEXT_SEQ] = 1
    return cursor


def new_ring(capacity: int) -> NDArray[np.void]:
    """Return an empty ring of ``capacity`` rows, a power of two; pages are touched as it fills."""
    if capacity & (capacity - 1) or capacity < 2:
        msg = f"authorizations_max must be a power of two, not {capacity}"
        raise ValueError(msg)
    return aligned_zeros(capacity, AUTHORIZATION)


@kernel
def remembered_rows(capacity: Int) -> Int:
    """Return how many entries a ring of ``capacity`` rows lets be found; the rest are spare.

    A batch reads rows that it found earlier, so no row may be written anew in the batch in which it
    is forgotten. A batch takes at most as many entries as there are spare rows.
    """
    return capacity - min(SPARE_ROWS, capacity // 2)


def batch_rows_max(capacity: int) -> int:
    """Return how many messages a batch over a ring of ``capacity`` rows may have."""
    return min(SPARE_ROWS, capacity // 2) // 2


@kernel
def entry_of_seq(ring: NDArray[np.void], head: Int, seq: Int) -> Int:
    """Return the first entry whose record number is ``seq``, or -1, by binary search."""
    capacity = ring.shape[0]
    low = max(1, head - capacity + 1)
    high = head
    while low < high:
        middle = (low + high) // 2
        if np.int64(ring[middle & (capacity - 1)]["seq"]) < seq:
            low = middle + 1
        else:
            high = middle
    if low <= head and np.int64(ring[low & (capacity - 1)]["seq"]) == seq:
        return low
    return -1
