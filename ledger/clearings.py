"""What clearing and repayment have posted: one row an item, found by the id it came with.

An id is posted once, whatever is sent again; a refund, a clearing reversal and a returned payment
name the item they are about and never take back more than it. A clearing keeps which authorization
it drew on and by how much it shrank the hold, so that its reversal can hold that again. The rows
are a ring: the last ``capacity`` items are remembered, an item that is older is forgotten and its
id would post again.
"""

import numpy as np
from numpy.typing import NDArray

from ledger.authorizations import Cursor
from ledger.index import index_find, index_insert, index_remove
from ledger.jit import Int, Row, kernel

POSTED = np.dtype(
    [
        ("id_hi", "<u8"),  # keyed hash of the id it came with
        ("id_lo", "<u8"),
        ("seq", "<u8"),  # its record; rises along the ring
        ("amount_minor", "<i8"),
        # Refunded, reversed or returned of it so far, by file or message, <= amount_minor.
        ("back_minor", "<i8"),
        ("freed_minor", "<i8"),  # of a clearing: by how much the hold shrank
        ("authorization", "<i8"),  # of a clearing: entry of the authorization in the ring; 0 = none
        ("before", "<i8"),  # the clearing of the same authorization before it; 0 = none
        ("account", "<u4"),
        ("kind", "<u2"),  # ledger.record.Kind
        ("pair", "<u2"),  # first two digits of DE3: which receivable it made
    ]
)
assert POSTED.itemsize == 72
_PAIR = 10_000  # DE3 over this is its first pair


def new_posted(capacity: int) -> NDArray[np.void]:
    """Return an empty ring of ``capacity`` rows, a power of two; pages are touched as it fills."""
    if capacity & (capacity - 1) or capacity < 2:
        raise ValueError(f"clearings_max must be a power of two, not {capacity}")
    return np.zeros(capacity, POSTED)


@kernel
def find_posted(slots: NDArray[np.void], id_hi: Int, id_lo: Int) -> Int:
    """Return the number of the item with this id, from 1; 0 = it is not known."""
    if id_hi == 0 and id_lo == 0:
        return 0
    return max(index_find(slots, id_lo, id_hi), 0)


@kernel
def remember_posted(
    record: Row,
    authorization: Int,
    posted: NDArray[np.void],
    slots: NDArray[np.void],
    cursor: NDArray[np.int64],
) -> None:
    """Give the item of ``record`` (RECORD) its row; the oldest one is forgotten.

    ``authorization`` is the entry that a clearing drew on, 0 = none. The caller has checked for
    room.
    """
    mask = posted.shape[0] - 1
    number = cursor[Cursor.POSTED] + 1
    into = posted[number & mask]
    if number > posted.shape[0]:
        index_remove(slots, into["id_lo"], into["id_hi"], number - posted.shape[0])
    index_insert(slots, record["id_lo"], record["id_hi"], number)
    cursor[Cursor.POSTED] = number
    into["id_hi"] = record["id_hi"]
    into["id_lo"] = record["id_lo"]
    into["seq"] = record["seq"]
    into["amount_minor"] = record["amount_minor"]
    into["back_minor"] = 0
    into["freed_minor"] = max(record["amount2_minor"], 0)
    into["authorization"] = authorization
    into["before"] = 0
    into["account"] = record["account"]
    into["kind"] = record["kind"]
    into["pair"] = record["pcode"] // _PAIR


@kernel
def posted_of_seq(posted: NDArray[np.void], head: Int, seq: Int) -> Int:
    """Return the number of the item whose record is ``seq``, or 0, by binary search."""
    capacity = posted.shape[0]
    low = max(1, head - capacity + 1)
    high = head
    while low < high:
        middle = (low + high) // 2
        if np.int64(posted[middle & (capacity - 1)]["seq"]) < seq:
            low = middle + 1
        else:
            high = middle
    if low <= head and np.int64(posted[low & (capacity - 1)]["seq"]) == seq:
        return low
    return 0
