"""Holds that fall due: at most one expires before each request, the rest when there is time."""

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.items import Role
from ledger.authorizations import Cursor, State
from ledger.deadlines import Wheel, next_due, unschedule
from ledger.jit import Int, Row, kernel
from ledger.record import Flag, Kind

_NS = 1_000_000_000


@kernel
def collect_due(
    ring: NDArray[np.void],
    wheel: Wheel,
    cursor: NDArray[np.int64],
    now_ns: Int,
    limit: Int,
    items: NDArray[np.void],
) -> Int:
    """Fill ``items`` with the holds due at ``now_ns``, at most ``limit``; return how many.

    Each is a record of its own, in order of deadline; an account may occur several times.
    """
    cursor[Cursor.LAST_TS_NS] = max(cursor[Cursor.LAST_TS_NS], now_ns)
    count = 0
    while count < limit:
        due = next_due(ring, wheel, cursor, now_ns // _NS)
        if due == 0:
            break
        take_due(items[count], ring, wheel, due, now_ns)
        items[count]["record"] = count
        items[count]["flags"] = Flag.IDLE
        count += 1
    return count


@kernel
def take_due(item: Row, ring: NDArray[np.void], wheel: Wheel, entry: Int, ts_ns: Int) -> None:
    """Take ``entry`` off the wheel and fill ``item`` as the expiry of its hold."""
    unschedule(entry, ring, wheel)
    row = ring[entry & (ring.shape[0] - 1)]
    row["state"] = State.CLOSING
    item["id_hi"] = 0
    item["id_lo"] = 0
    item["rrn_hi"] = 0
    item["rrn_lo"] = 0
    item["life_hi"] = 0
    item["life_lo"] = 0
    item["original_hi"] = 0
    item["original_lo"] = 0
    item["ts_ns"] = ts_ns
    item["entry"] = 0
    item["original"] = entry
    item["named"] = entry
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
    item["hold_life_h"] = 0
    item["atc"] = 0
    item["mcc"] = 0
    item["role"] = Role.EXPIRE
    item["exponent"] = row["exponent"]
    item["entry_class"] = 0
