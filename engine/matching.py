"""What came before: sessions, repeats, originals of reversals, holds that fall due, merchants.

One pass in order of arrival. Before each request at most one due hold expires (its own ledger
record), so the outcome does not depend on where batches are cut. Every request that will be
recorded gets its ledger sequence, its row in the ring and its wave here; what is decided comes
later, wave by wave.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.expiry import fill_expiry, next_due
from engine.items import Role, Setting
from ledger.authorizations import Cursor, State, remembered_rows
from ledger.index import header_of, index_find, index_insert, index_remove
from ledger.jit import Int, Row, kernel
from ledger.record import Flag, Kind

_NS = 1_000_000_000
_SIGN_ON, _SIGN_OFF = 1, 2
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: spreads account numbers over the wave table


@kernel
def match(
    request: NDArray[np.void],
    count: Int,
    links: NDArray[np.void],
    ring: NDArray[np.void],
    slots: Any,
    merchants: NDArray[np.uint64],
    settings: NDArray[np.int64],
    cursor: NDArray[np.int64],
    wave_table: NDArray[np.int64],
    items: NDArray[np.void],
) -> tuple[Int, Int, Int]:
    """Finish the items of ``count`` requests; return (items, records, waves).

    Parameters
    ----------
    request : REQUEST; links : LINK, in and out; ring : AUTHORIZATION ring, in and out.
    slots : tuple of the index slots by identity, by RRN, and of merchants, in and out.
    merchants : u64 (merchant rows,), keyed hash of each merchant row, in and out.
    wave_table : i64 (power of two >= 4 x items, 2), scratch.
    items : ITEM (at least 2 x count,), in and out: expiries are added behind the requests.
    """
    id_slots, rrn_slots, merchant_slots = slots
    wave_table[:] = 0
    _fetch(request, count, items, id_slots, rrn_slots, merchant_slots)
    item_count = count
    record_count = 0
    wave_count = 0
    for i in range(count):
        item = items[i]
        link = links[request[i]["segment"]]
        _session(request[i], item, link)
        if item["role"] == Role.SILENT or item["role"] == Role.ANSWER:
            continue
        due = next_due(ring, cursor, np.int64(item["ts_ns"]) // _NS)
        if due > 0:
            expiry = items[item_count]
            fill_expiry(expiry, ring, due, np.int64(item["ts_ns"]))
            expiry["record"] = record_count
            record_count += 1
            wave_count = max(wave_count, _take_wave(expiry, wave_table))
            item_count += 1
        older = _earlier(item, request[i], ring, id_slots, settings)
        if older < 0 or _is_shed(request[i]["mti"], item, link):
            continue
        if item["role"] == Role.REVERSE:
            item["original"] = _original(item, ring, id_slots, rrn_slots)
        pcode, number = request[i]["pcode"], record_count
        if not enter(item, older, pcode, ring, id_slots, rrn_slots, cursor, number):
            continue
        record_count += 1
        if item["role"] == Role.REVERSE and item["original"] > 0:
            _mark_closing(item["original"], request[i]["replacement_amount"], ring)
        if item["role"] == Role.AUTHORIZE:
            item["merchant"] = merchant_row(
                request[i]["merchant"], merchant_slots, merchants, settings, cursor
            )
        wave_count = max(wave_count, _take_wave(item, wave_table))
    return item_count, record_count, wave_count


@kernel
def _fetch(
    request: NDArray[np.void],
    count: Int,
    items: NDArray[np.void],
    id_slots: NDArray[np.void],
    rrn_slots: NDArray[np.void],
    merchant_slots: NDArray[np.void],
) -> Int:
    """Touch the index slots that the pass will look at; their cache misses overlap here."""
    id_mask = np.uint64(header_of(id_slots) - 1)
    rrn_mask = np.uint64(header_of(rrn_slots) - 1)
    merchant_mask = np.uint64(header_of(merchant_slots) - 1)
    fetched = np.int64(0)
    for i in range(count):
        fetched += id_slots[np.int64(items[i]["id_lo"] & id_mask)]["entry"]
        fetched += rrn_slots[np.int64(items[i]["rrn_lo"] & rrn_mask)]["entry"]
        fetched += merchant_slots[np.int64(request[i]["merchant"] & merchant_mask)]["entry"]
    return fetched


@kernel
def _session(row: Row, item: Row, link: Row) -> None:
    """Sign-on and sign-off move the link's state; unsigned links get 91 where it is required."""
    if item["role"] == Role.SILENT:
        if row["mti"] < 0:
            link["unreadable"] += 1
        return
    link["unreadable"] = 0
    if item["role"] == Role.ANSWER:
        if item["decision"] == Decision.NETWORK_OK:
            if row["network_code"] == _SIGN_ON:
                link["signed_on"] = 1
            elif row["network_code"] == _SIGN_OFF:
                link["signed_on"] = 0
    elif link["sign_on_required"] != 0 and link["signed_on"] == 0:
        item["role"] = Role.ANSWER
        item["decision"] = Decision.NOT_SIGNED_ON


@kernel
def _is_shed(mti: Int, item: Row, link: Row) -> bool:
    """Whether a new authorization or financial request has waited for too long to be posted.

    Decided before anything moves, from times that come with the bytes. Repeats of what was answered
    do not come here; advices, reversals and network messages report what is done or keep the link
    alive, so they are worked however long they waited: the share of an overloaded switch that is
    reserved for them is all that they need.
    """
    if mti // 100 not in (1, 2) or mti // 10 % 10 != 0:
        return False
    if 0 < link["deadline_ns"] < link["waited_ns"]:
        item["decision"] = Decision.DEADLINE_PASSED
        item["role"] = Role.SILENT if link["late_is_silent"] != 0 else Role.ANSWER
        return True
    if 0 < link["overload_ns"] < link["waited_ns"]:
        item["decision"] = Decision.OVERLOADED
        item["role"] = Role.ANSWER
        return True
    return False


@kernel
def _earlier(
    item: Row,
    row: Row,
    ring: NDArray[np.void],
    id_slots: NDArray[np.void],
    settings: NDArray[np.int64],
) -> Int:
    """Recognise a message that was answered before, or whose reversal came first.

    Same identity, card and amount: the first answer again. Same identity, anything else: 94; -1 is
    returned for both. A first answer older than the duplicate window is to be forgotten, and so is
    a tombstone, which voids the original: its entry is returned. 0 = nothing came before.
    """
    found = index_find(id_slots, item["id_lo"], item["id_hi"])
    if found < 0:
        return 0
    first = ring[found & (ring.shape[0] - 1)]
    if first["state"] == State.TOMBSTONE:
        item["flags"] |= Flag.VOIDED
        return found
    age_s = np.int64(item["ts_ns"]) // _NS - np.int64(first["t_s"])
    if age_s > settings[Setting.DUPLICATE_WINDOW_S]:
        return found
    same = (
        (first["card"] == item["card"] or item["role"] == Role.REVERSE)
        and first["pcode"] == max(row["pcode"], 0)
        and first["currency"] == item["currency"]
        and first["requested_minor"] == item["requested_minor"]
    )
    item["role"] = Role.REPEAT if same else Role.ANSWER
    if same:
        item["original"] = found
    else:
        item["decision"] = Decision.DUPLICATE_DIFFERS
    return -1


@kernel
def forget(
    entry: Int, ring: NDArray[np.void], id_slots: NDArray[np.void], rrn_slots: NDArray[np.void]
) -> None:
    """Stop finding ``entry`` by its identity: a newer message takes the identity over.

    A tombstone is found no more at all: one reversal voids one original.
    """
    row = ring[entry & (ring.shape[0] - 1)]
    index_remove(id_slots, row["id_lo"], row["id_hi"], entry)
    row["id_hi"] = 0
    row["id_lo"] = 0
    if row["state"] == State.TOMBSTONE:
        _forget_rrn(entry, ring, rrn_slots)


@kernel
def _forget_rrn(entry: Int, ring: NDArray[np.void], rrn_slots: NDArray[np.void]) -> None:
    row = ring[entry & (ring.shape[0] - 1)]
    if row["rrn_hi"] != 0:
        index_remove(rrn_slots, row["rrn_lo"], row["rrn_hi"], entry)
        row["rrn_hi"] = 0
        row["rrn_lo"] = 0


@kernel
def enter(
    item: Row,
    older: Int,
    pcode: Int,
    ring: NDArray[np.void],
    id_slots: NDArray[np.void],
    rrn_slots: NDArray[np.void],
    cursor: NDArray[np.int64],
    record: Int,
) -> bool:
    """Give the message its row in the ring and its record; False = a table is at its bound.

    ``older`` is the entry that it takes the identity over from; 0 = none. A refused message leaves
    nothing changed.
    """
    entry = cursor[Cursor.HEAD] + 1
    if not _has_room(ring, entry) or not index_insert(
        id_slots, item["id_lo"], item["id_hi"], entry
    ):
        item["role"] = Role.ANSWER
        item["decision"] = Decision.CAPACITY
        cursor[Cursor.REFUSED] += 1
        return False
    _forget_oldest(entry, ring, id_slots, rrn_slots)
    if older > 0:
        forget(older, ring, id_slots, rrn_slots)
    cursor[Cursor.HEAD] = entry
    item["entry"] = entry
    item["record"] = record
    into = ring[entry & (ring.shape[0] - 1)]
    _fill_entry(item, pcode, into, cursor[Cursor.NEXT_SEQ] + record)
    if item["role"] == Role.AUTHORIZE:
        if index_rrn(item["rrn_hi"], item["rrn_lo"], entry, ring, id_slots, rrn_slots):
            item["flags"] |= Flag.VOIDED
    else:
        into["rrn_hi"] = 0
        into["rrn_lo"] = 0
        if item["original"] > 0:
            original = ring[item["original"] & (ring.shape[0] - 1)]
            item["account"] = original["account"]
            item["card"] = original["card"]
        else:
            item["flags"] |= Flag.ORPHAN
            item["account"] = 0
            identity = item["original_hi"], item["original_lo"]
            by_rrn = item["rrn_hi"], item["rrn_lo"]
            plant_tombstone(identity, by_rrn, ring, id_slots, rrn_slots, cursor)
    return True


@kernel
def _has_room(ring: NDArray[np.void], entry: Int) -> bool:
    """Whether ``entry`` and the one after it may have a row; an open hold is never forgotten.

    Two, since an orphan reversal takes a second row for its tombstone.
    """
    capacity = ring.shape[0]
    for ahead in range(2):
        old = entry + ahead - remembered_rows(capacity)
        if old >= 1 and ring[old & (capacity - 1)]["state"] in (
            State.OPEN,
            State.PENDING,
        ):
            return False
    return True


@kernel
def _forget_oldest(
    entry: Int, ring: NDArray[np.void], id_slots: NDArray[np.void], rrn_slots: NDArray[np.void]
) -> None:
    """Stop finding the row that leaves the remembered ones when ``entry`` comes.

    It stays as it is for as long as a batch lasts: messages before may have found it.
    """
    old = entry - remembered_rows(ring.shape[0])
    if old < 1:
        return
    row = ring[old & (ring.shape[0] - 1)]
    if row["id_hi"] != 0 or row["id_lo"] != 0:
        forget(old, ring, id_slots, rrn_slots)
    _forget_rrn(old, ring, rrn_slots)


@kernel
def _fill_entry(item: Row, pcode: Int, into: Row, seq: Int) -> None:
    into["id_hi"] = item["id_hi"]
    into["id_lo"] = item["id_lo"]
    into["seq"] = seq
    into["amount_minor"] = item["amount_minor"]
    into["requested_minor"] = item["requested_minor"]
    into["held_minor"] = 0
    into["account"] = item["account"]
    into["card"] = item["card"]
    into["t_s"] = np.int64(item["ts_ns"]) // _NS
    into["deadline_s"] = 0
    into["pcode"] = max(pcode, 0)
    into["result"] = 0
    into["response"] = 0
    into["currency"] = item["currency"]
    into["kind"] = item["kind"]
    into["state"] = State.PENDING
    into["exponent"] = item["exponent"]
    into["flags"] = 0


@kernel
def index_rrn(
    rrn_hi: Int,
    rrn_lo: Int,
    entry: Int,
    ring: NDArray[np.void],
    id_slots: NDArray[np.void],
    rrn_slots: NDArray[np.void],
) -> bool:
    """Let the newest authorization be found by RRN; return whether its reversal came before it.

    Without room in the index it is found by identity only.
    """
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
            forget(older, ring, id_slots, rrn_slots)
    if index_insert(rrn_slots, rrn_lo, rrn_hi, entry):
        into["rrn_hi"] = rrn_hi
        into["rrn_lo"] = rrn_lo
    return is_voided


@kernel
def _original(
    item: Row, ring: NDArray[np.void], id_slots: NDArray[np.void], rrn_slots: NDArray[np.void]
) -> Int:
    """Return the entry that a reversal is about, or 0: by DE90, then by RRN and terminal.

    Amount must agree, and the card where the reversal names one: else it is an orphan.
    """
    mask = ring.shape[0] - 1
    found = np.int64(-1)
    names_itself = item["original_hi"] == item["id_hi"] and item["original_lo"] == item["id_lo"]
    if item["original_hi"] != 0 and not names_itself:  # nothing is its own original
        found = index_find(id_slots, item["original_lo"], item["original_hi"])
    if found < 0 and item["rrn_hi"] != 0:
        found = index_find(rrn_slots, item["rrn_lo"], item["rrn_hi"])
    if found < 0:
        return 0
    original = ring[found & mask]
    if original["kind"] == Kind.REVERSAL:  # or a tombstone; its state is not known in its batch
        return 0
    if item["requested_minor"] != original["requested_minor"]:
        return 0
    if item["card"] != 0 and item["card"] != original["card"]:
        return 0
    return found


@kernel
def _mark_closing(entry: Int, replacement_minor: Int, ring: NDArray[np.void]) -> None:
    """Keep the expiry sweep of this batch from a hold that a reversal before it gives back."""
    row = ring[entry & (ring.shape[0] - 1)]
    if row["state"] == State.OPEN and replacement_minor <= 0:
        row["state"] = State.CLOSING


@kernel
def plant_tombstone(
    identity: tuple[Int, Int],
    by_rrn: tuple[Int, Int],
    ring: NDArray[np.void],
    id_slots: NDArray[np.void],
    rrn_slots: NDArray[np.void],
    cursor: NDArray[np.int64],
) -> None:
    """Remember an original that was reversed before it came; its record is the reversal's.

    Called right after the reversal got its own row. Nothing is planted when the original is known
    but did not agree with the reversal.
    """
    hi, lo = identity
    rrn_hi, rrn_lo = by_rrn
    if index_find(id_slots, lo, hi) >= 0:
        return
    entry = cursor[Cursor.HEAD] + 1
    if not index_insert(id_slots, lo, hi, entry):
        return
    cursor[Cursor.HEAD] = entry
    _forget_oldest(entry, ring, id_slots, rrn_slots)
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
    into["seq"] = reversal["seq"]
    into["amount_minor"] = reversal["amount_minor"]
    into["requested_minor"] = reversal["requested_minor"]
    into["held_minor"] = 0
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
    into["flags"] = 0


@kernel
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


@kernel
def _take_wave(item: Row, wave_table: NDArray[np.int64]) -> Int:
    """Give the item the number of its account's items before it; return that number + 1."""
    if item["account"] == 0:
        return 0
    mask = wave_table.shape[0] - 1
    account = np.int64(item["account"])
    place = np.int64((np.uint64(account) * np.uint64(_GOLDEN)) >> np.uint64(40)) & mask
    while wave_table[place, 0] != 0 and wave_table[place, 0] != account:
        place = (place + 1) & mask
    wave = wave_table[place, 1]
    wave_table[place, 0] = account
    wave_table[place, 1] = wave + 1
    item["wave"] = wave
    return wave + 1
