"""Holds that fall due: at most one expires before each request, the rest when there is time.

The sweep goes along the ring in order of entry, which is order of time, so it is never behind by
more than what has reached its deadline since the last look.
"""

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.items import Role
from ledger.authorizations import Cursor, State
from ledger.jit import Int, Row, kernel
from ledger.record import Kind

_NS = 1_000_000_000
_SWEEP_STEPS = 8  # rows past their deadline that one request may look at


@kernel
def next_due(ring: NDArray[np.void], cursor: NDArray[np.int64], now_s: Int) -> Int:
    """Return the next entry whose hold has reached its deadline, or 0; passes over closed rows.

    Rows without a hold have a deadline too and are passed over after it only: so where the sweep
    stands follows from what was recorded when, not from how far the batch at hand is decided. That
    asks of a batch that it spans less time than a hold lives.
    """
    capacity = ring.shape[0]
    for _ in range(_SWEEP_STEPS):
        sweep = max(cursor[Cursor.SWEEP], cursor[Cursor.HEAD] - capacity) + 1
        if sweep > cursor[Cursor.HEAD]:
            return 0
        row = ring[sweep & (capacity - 1)]
        if row["state"] == State.PENDING or row["deadline_s"] > now_s:
            return 0
        cursor[Cursor.SWEEP] = sweep
        if row["state"] == State.OPEN:
            row["state"] = State.CLOSING
            return sweep
    return 0


@kernel
def collect_due(
    ring: NDArray[np.void],
    cursor: NDArray[np.int64],
    now_ns: Int,
    limit: Int,
    items: NDArray[np.void],
) -> Int:
    """Fill ``items`` with the holds due at ``now_ns``, at most ``limit``; return how many.

    Each is a record of its own, in order of the ring; an account may occur several times.
    """
    cursor[Cursor.LAST_TS_NS] = max(cursor[Cursor.LAST_TS_NS], now_ns)
    count = 0
    while count < limit:
        before = cursor[Cursor.SWEEP]
        due = next_due(ring, cursor, now_ns // _NS)
        if due > 0:
            fill_expiry(items[count], ring, due, now_ns)
            items[count]["record"] = count
            count += 1
        elif cursor[Cursor.SWEEP] == before:
            break
    return count


@kernel
def fill_expiry(item: Row, ring: NDArray[np.void], entry: Int, ts_ns: Int) -> None:
    """Fill ``item`` as the expiry of the hold of ``entry``."""
    row = ring[entry & (ring.shape[0] - 1)]
    item["id_hi"] = 0
    item["id_lo"] = 0
    item["rrn_hi"] = 0
    item["rrn_lo"] = 0
    item["original_hi"] = 0
    item["original_lo"] = 0
    item["ts_ns"] = ts_ns
    item["entry"] = 0
    item["original"] = entry
    item["amount_minor"] = row["amount_minor"]
    item["requested_minor"] = 0
    item["released_minor"] = 0
    item["request"] = -1
    item["account"] = row["account"]
    item["card"] = row["card"]
    item["merchant"] = 0
    item["flags"] = 0
    item["kind"] = Kind.EXPIRE
    item["decision"] = Decision.APPROVED
    item["response"] = 0
    item["currency"] = row["currency"]
    item["expiry_yymm"] = 0
    item["role"] = Role.EXPIRE
    item["exponent"] = row["exponent"]
    item["entry_class"] = 0
