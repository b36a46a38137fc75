"""Rows of the ring: how a recorded message gets one, is found by it, and is forgotten.

A restart gives records their rows by the same lines (``engine.replay``). ``tables`` is a tuple of
the index slots by identity, by RRN and by lifecycle id, and of the lifecycle ids of the rows, u64
(ring rows, 2), high half first, 0 = none: that is ``EngineState.tables``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.items import Role, Setting
from ledger.authorizations import Cursor, State, remembered_rows
from ledger.captures import take_place
from ledger.deadlines import Wheel, deadline_of, schedule
from ledger.index import index_count, index_find, index_insert, index_remove
from ledger.jit import Int, Row, hot_kernel, kernel
from ledger.record import Flag, Kind

_NS = 1_000_000_000
_DECLINED_FROM = 100
_PLACES_MAX = 8  # advices that took the place of one another


@kernel
def forget(entry: Int, ring: NDArray[np.void], tables: Any) -> None:
    """Stop finding ``entry`` by its identity: a newer message takes the identity over.

    A tombstone is found no more at all: one reversal voids one original.
    """
    row = ring[entry & (ring.shape[0] - 1)]
    index_remove(tables[0], row["id_lo"], row["id_hi"], entry)
    row["id_hi"] = 0
    row["id_lo"] = 0
    if row["state"] == State.TOMBSTONE:
        _forget_other_keys(entry, ring, tables)


@kernel
def _forget_other_keys(entry: Int, ring: NDArray[np.void], tables: Any) -> None:
    row = ring[entry & (ring.shape[0] - 1)]
    if row["rrn_hi"] != 0:
        index_remove(tables[1], row["rrn_lo"], row["rrn_hi"], entry)
        row["rrn_hi"] = 0
        row["rrn_lo"] = 0
    _forget_life(entry, ring, tables)


@hot_kernel
def _forget_life(entry: Int, ring: NDArray[np.void], tables: Any) -> None:
    _, _, life_slots, lives = tables
    if index_count(life_slots) == 0:
        return  # no dialect at hand has such an id: its array stays untouched memory
    life = lives[entry & (ring.shape[0] - 1)]
    if life[0] != 0:
        index_remove(life_slots, life[1], life[0], entry)
        life[0] = 0
        life[1] = 0


@hot_kernel
def enter(
    item: Row,
    older: Int,
    pcode: Int,
    ring: NDArray[np.void],
    wheel: Wheel,
    tables: Any,
    cursor: NDArray[np.int64],
    record: Int,
) -> bool:
    """Give the message its row in the ring and its record; False = a table is at its bound.

    ``older`` is the entry that it takes the identity over from; 0 = none. A refused message leaves
    nothing changed.
    """
    entry = cursor[Cursor.HEAD] + 1
    if not _has_room(ring, entry) or not index_insert(
        tables[0], item["id_lo"], item["id_hi"], entry
    ):
        item["role"] = Role.ANSWER
        item["decision"] = Decision.CAPACITY
        cursor[Cursor.REFUSED] += 1
        return False
    _forget_oldest(entry, ring, tables)
    if older > 0:
        forget(older, ring, tables)
    cursor[Cursor.HEAD] = entry
    item["entry"] = entry
    item["record"] = record
    into = ring[entry & (ring.shape[0] - 1)]
    _fill_entry(item, pcode, into, cursor[Cursor.NEXT_SEQ] + record)
    into["rrn_hi"] = 0
    into["rrn_lo"] = 0
    if item["role"] == Role.REVERSE:
        _enter_reversal(item, ring, tables, cursor)
        return True
    if item["original"] > 0:
        _relate(item, into, ring)
    if item["role"] == Role.AUTHORIZE:
        if _may_hold(item):
            into["deadline_s"] = deadline_of(into["t_s"], item["hold_life_h"])
            schedule(entry, ring, wheel, cursor)
        if item["original"] == 0:
            _enter_other_keys(item, entry, ring, tables)
    return True


@hot_kernel
def _enter_other_keys(item: Row, entry: Int, ring: NDArray[np.void], tables: Any) -> None:
    """Let an authorization be found by lifecycle id and RRN, unless its reversal came before it."""
    life_hi, life_lo = item["life_hi"], item["life_lo"]
    rrn_hi, rrn_lo = item["rrn_hi"], item["rrn_lo"]
    is_voided = False
    if life_hi != 0 and _may_take(item, tables[2], life_hi, life_lo):
        is_voided = index_life(life_hi, life_lo, entry, ring, tables)
    if _may_take(item, tables[1], rrn_hi, rrn_lo):
        is_voided = index_rrn(rrn_hi, rrn_lo, entry, ring, tables) or is_voided
    if is_voided:
        item["flags"] |= Flag.VOIDED


@hot_kernel
def _may_take(item: Row, slots: NDArray[np.void], hi: Int, lo: Int) -> bool:
    """Whether the message may be found by a key that it shares with others.

    An advice that cannot be posted takes the place of nothing: the reversal is of the message that
    moved an account.
    """
    if item["kind"] != Kind.ADVICE or item["account"] != 0:
        return True
    return index_find(slots, lo, hi) < 0


@hot_kernel
def _may_hold(item: Row) -> bool:
    kind = item["kind"]
    if item["decision"] >= _DECLINED_FROM or item["decision"] == Decision.ADVICE_UNPOSTED:
        return False
    return (
        kind == Kind.AUTHORIZE
        or kind == Kind.PARTIAL
        or kind == Kind.INCREMENT
        or kind == Kind.ADVICE
    )


@kernel
def _relate(item: Row, into: Row, ring: NDArray[np.void]) -> None:
    """Tie a message to the authorization it is about.

    An advice of a payment that was declined here holds by itself; what names that payment later
    means the advice.
    """
    if item["kind"] == Kind.ADVICE and item["flags"] & Flag.FORCED:
        take_place(np.int64(item["entry"]), np.int64(item["original"]), ring)
    else:
        into["parent"] = item["original"]
        into["belongs"] = 1


@kernel
def _enter_reversal(
    item: Row,
    ring: NDArray[np.void],
    tables: Any,
    cursor: NDArray[np.int64],
) -> None:
    if item["original"] > 0:
        original = ring[item["original"] & (ring.shape[0] - 1)]
        item["account"] = original["account"]
        item["card"] = original["card"]
        return
    item["flags"] |= Flag.ORPHAN
    item["account"] = 0
    identity = item["original_hi"], item["original_lo"]
    by_rrn = item["rrn_hi"], item["rrn_lo"]
    if item["by_local"] != 0:  # a STAN comes again: it must not void the payment of another day
        by_rrn = np.uint64(0), np.uint64(0)
    by_life = item["life_hi"], item["life_lo"]
    plant_tombstone(identity, by_rrn, by_life, ring, tables, cursor)


@kernel
def root_of(named: Int, ring: NDArray[np.void], cursor: NDArray[np.int64]) -> tuple[Int, Int]:
    """Return (the message meant, the authorization it belongs to) for the message ``named``.

    Both are 0 for no message. An authorization that the ring has forgotten is closed: what belonged
    to it then stands alone.
    """
    oldest = cursor[Cursor.HEAD] - remembered_rows(ring.shape[0])
    entry = np.int64(max(named, 0))
    for _ in range(_PLACES_MAX):
        row = ring[entry & (ring.shape[0] - 1)]
        if entry == 0 or row["parent"] <= oldest or row["parent"] <= 0:
            break
        if row["belongs"] != 0:
            return entry, np.int64(row["parent"])
        entry = np.int64(row["parent"])
    return entry, entry


@kernel
def is_authorization(entry: Int, ring: NDArray[np.void]) -> bool:
    """Whether ``entry`` is a message that holds, or was to hold, by itself.

    An advice that could not be posted is none: what names it has no account to move.
    """
    row = ring[entry & (ring.shape[0] - 1)]
    kind = row["kind"]
    if entry <= 0 or (kind == Kind.ADVICE and row["account"] == 0):
        return False
    return bool(kind == Kind.AUTHORIZE or kind == Kind.PARTIAL or kind == Kind.ADVICE)


@hot_kernel
def is_undecided(entry: Int, ring: NDArray[np.void]) -> bool:
    """Whether a message of this pass will still change the hold of ``entry``."""
    if entry <= 0:
        return False
    state = ring[entry & (ring.shape[0] - 1)]["state"]
    return state == State.PENDING or state == State.CLOSING


@hot_kernel
def room_is_undecided(ring: NDArray[np.void], cursor: NDArray[np.int64]) -> bool:
    """Whether this pass decides if the next message may have a row: see ``_has_room``."""
    oldest = cursor[Cursor.HEAD] + 1 - remembered_rows(ring.shape[0])
    return is_undecided(oldest, ring) or is_undecided(oldest + 1, ring)


@hot_kernel
def _has_room(ring: NDArray[np.void], entry: Int) -> bool:
    """Whether ``entry`` and the one after it may have a row; an open hold is never forgotten.

    Two, since an orphan reversal takes a second row for its tombstone.
    """
    capacity = ring.shape[0]
    for ahead in range(2):
        old = entry + ahead - remembered_rows(capacity)
        if old >= 1 and ring[old & (capacity - 1)]["state"] == State.OPEN:
            return False
    return True


@hot_kernel
def _forget_oldest(entry: Int, ring: NDArray[np.void], tables: Any) -> None:
    """Stop finding the row that leaves the remembered ones when ``entry`` comes.

    It stays as it is for as long as a batch lasts: messages before may have found it.
    """
    old = entry - remembered_rows(ring.shape[0])
    if old < 1:
        return
    row = ring[old & (ring.shape[0] - 1)]
    if row["id_hi"] != 0 or row["id_lo"] != 0:
        forget(old, ring, tables)
    _forget_other_keys(old, ring, tables)


@hot_kernel
def _fill_entry(item: Row, pcode: Int, into: Row, seq: Int) -> None:
    into["id_hi"] = item["id_hi"]
    into["id_lo"] = item["id_lo"]
    into["seq"] = seq
    into["amount_minor"] = item["amount_minor"]
    into["requested_minor"] = item["requested_minor"]
    into["held_minor"] = 0
    into["granted_minor"] = 0
    into["cleared_minor"] = 0
    into["parent"] = 0
    into["account"] = item["account"]
    into["card"] = item["card"]
    into["t_s"] = np.int64(item["ts_ns"]) // _NS
    into["deadline_s"] = 0
    into["pcode"] = max(pcode, 0)
    into["result"] = 0
    into["response"] = 0
    into["currency"] = item["currency"]
    into["kind"] = item["kind"]
    if item["role"] == Role.REVERSE:
        into["kind"] = Kind.REVERSAL
    into["mcc"] = item["mcc"]
    into["state"] = State.PENDING
    into["exponent"] = item["exponent"]
    into["belongs"] = 0
    into["completion"] = 0
    into["life_h"] = item["hold_life_h"]


@hot_kernel
def index_rrn(
    rrn_hi: Int,
    rrn_lo: Int,
    entry: Int,
    ring: NDArray[np.void],
    tables: Any,
) -> bool:
    """Let the newest authorization be found by RRN; return whether its reversal came before it.

    Without room in the index it is found by identity only.
    """
    rrn_slots = tables[1]
    mask = ring.shape[0] - 1
    into = ring[entry & mask]
    into["rrn_hi"] = 0
    into["rrn_lo"] = 0
    if rrn_hi == 0:
        return False
    is_voided = False
    older = index_find(rrn_slots, rrn_lo, rrn_hi)
    if older >= 0:
        first = ring[older & mask]
        is_voided = (
            first["state"] == State.TOMBSTONE
            and first["requested_minor"] == into["requested_minor"]
        )
        index_remove(rrn_slots, rrn_lo, rrn_hi, older)
        first["rrn_hi"] = 0
        first["rrn_lo"] = 0
        if is_voided:
            forget(older, ring, tables)
    if index_insert(rrn_slots, rrn_lo, rrn_hi, entry):
        into["rrn_hi"] = rrn_hi
        into["rrn_lo"] = rrn_lo
    return is_voided


@kernel
def index_life(life_hi: Int, life_lo: Int, entry: Int, ring: NDArray[np.void], tables: Any) -> bool:
    """As ``index_rrn``, by lifecycle id; a reversal of another card voids nothing."""
    _, _, life_slots, lives = tables
    mask = ring.shape[0] - 1
    is_voided = False
    older = index_find(life_slots, life_lo, life_hi)
    if older >= 0:
        first, said = ring[older & mask], ring[(older - 1) & mask]
        is_voided = (
            first["state"] == State.TOMBSTONE
            and first["requested_minor"] == ring[entry & mask]["requested_minor"]
            and (said["card"] == 0 or said["card"] == ring[entry & mask]["card"])
        )
        _forget_life(older, ring, tables)
        if is_voided:
            forget(older, ring, tables)
    if index_insert(life_slots, life_lo, life_hi, entry):
        lives[entry & mask, 0] = life_hi
        lives[entry & mask, 1] = life_lo
    return is_voided


@kernel
def plant_tombstone(
    identity: tuple[Int, Int],
    by_rrn: tuple[Int, Int],
    by_life: tuple[Int, Int],
    ring: NDArray[np.void],
    tables: Any,
    cursor: NDArray[np.int64],
) -> None:
    """Remember an original that was reversed before it came; its record is the reversal's.

    Called right after the reversal got its own row. Nothing is planted when the original is known
    but did not agree with the reversal.
    """
    hi, lo = identity
    rrn_hi, rrn_lo = by_rrn
    life_hi, life_lo = by_life
    id_slots, rrn_slots, life_slots, lives = tables
    if index_find(id_slots, lo, hi) >= 0:
        return
    entry = cursor[Cursor.HEAD] + 1
    if not index_insert(id_slots, lo, hi, entry):
        return
    cursor[Cursor.HEAD] = entry
    _forget_oldest(entry, ring, tables)
    mask = ring.shape[0] - 1
    reversal = ring[(entry - 1) & mask]
    into = ring[entry & mask]
    into["id_hi"] = hi
    into["id_lo"] = lo
    into["rrn_hi"] = 0
    into["rrn_lo"] = 0
    is_new = rrn_hi != 0 and index_find(rrn_slots, rrn_lo, rrn_hi) < 0
    if is_new and index_insert(rrn_slots, rrn_lo, rrn_hi, entry):
        into["rrn_hi"] = rrn_hi
        into["rrn_lo"] = rrn_lo
    is_new = life_hi != 0 and index_find(life_slots, life_lo, life_hi) < 0
    if is_new and index_insert(life_slots, life_lo, life_hi, entry):
        lives[entry & mask, 0] = life_hi
        lives[entry & mask, 1] = life_lo
    into["seq"] = reversal["seq"]
    into["amount_minor"] = reversal["amount_minor"]
    into["requested_minor"] = reversal["requested_minor"]
    into["held_minor"] = 0
    into["granted_minor"] = 0
    into["cleared_minor"] = 0
    into["parent"] = 0
    into["mcc"] = 0
    into["account"] = 0
    into["card"] = 0
    into["t_s"] = reversal["t_s"]
    into["deadline_s"] = 0
    into["pcode"] = 0
    into["result"] = 0
    into["response"] = 0
    into["currency"] = reversal["currency"]
    into["kind"] = Kind.REVERSAL
    into["state"] = State.TOMBSTONE
    into["exponent"] = reversal["exponent"]
    into["belongs"] = 0
    into["completion"] = 0
    into["life_h"] = 0


@hot_kernel
def merchant_row(
    hash_: Int,
    slots: NDArray[np.void],
    merchants: NDArray[np.uint64],
    settings: NDArray[np.int64],
    cursor: NDArray[np.int64],
) -> Int:
    """Return the merchant's dense row, a new one at first sight; 0 past the bound or unnamed."""
    if hash_ == 0:
        return 0
    found = index_find(slots, hash_, hash_)
    if found >= 0:
        return found
    row = cursor[Cursor.MERCHANTS] + 1
    if row >= settings[Setting.MERCHANTS_MAX] or not index_insert(slots, hash_, hash_, row):
        return 0
    cursor[Cursor.MERCHANTS] = row
    merchants[row] = hash_
    return row
