"""What came before: sessions, repeats, originals of reversals, holds that fall due, merchants.

One pass in order of arrival. Before each request at most one due hold expires (its own ledger
record), so the outcome does not depend on where batches are cut. Every request that will be
recorded gets its ledger sequence, its row in the ring and its wave here; what is decided comes
later, wave by wave.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.almanac import SECONDS_A_DAY, seconds_of_transmission
from engine.decision import Decision
from engine.entries import (
    enter,
    is_authorization,
    is_undecided,
    merchant_row,
    room_is_undecided,
    root_of,
)
from engine.expiry import take_due
from engine.items import Role, Setting, StandIn
from engine.wire.profile import Profile
from ledger.authorizations import State
from ledger.deadlines import Wheel, next_due
from ledger.index import index_fetch, index_find
from ledger.jit import Int, Row, hot_kernel, kernel
from ledger.record import Flag, Kind

_NS = 1_000_000_000
_NS_A_MS = 1_000_000
_AHEAD = 32  # requests whose index slots are asked for before they are looked at
_SIGN_ON, _SIGN_OFF = 1, 2
_REFUSE, _BY_DE4 = 1, 1  # places of these choices in engine.wire.profile.SWITCHES
_IN_FLIGHT_S = 10  # a sender without DE7 repeats what is still unanswered within it
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: spreads account numbers over the wave table


@kernel
def match(
    request: NDArray[np.void],
    first: Int,
    count: Int,
    links: NDArray[np.void],
    ring: NDArray[np.void],
    wheel: Wheel,
    slots: Any,
    merchants: NDArray[np.uint64],
    settings: NDArray[np.int64],
    profiles: NDArray[np.int64],
    cursor: NDArray[np.int64],
    wave_table: NDArray[np.int64],
    items: NDArray[np.void],
    item_count: Int,
    record_count: Int,
    stop_record: Int,
) -> tuple[Int, Int, Int, Int]:
    """Finish the items of requests ``first`` to ``count`` - 1, or of the first of them.

    Returns (where the next pass begins, items, records, waves). A pass ends before a request that
    depends on what is decided about one before it: those are decided first. So a batch is cut where
    it has to be, and where else it is cut makes no difference.

    Parameters
    ----------
    request : REQUEST; links : LINK, in and out; ring : AUTHORIZATION ring, wheel : its deadlines,
        in and out.
    slots : tuple of ``tables`` of ``engine.entries`` and the index slots of merchants, in and out.
    merchants : u64 (merchant rows,), keyed hash of each merchant row, in and out.
    profiles : i64 (dialects, P), see ``Profile``.
    wave_table : i64 (power of two >= 4 x requests, 2), scratch.
    items : ITEM (at least 2 x count,), in and out: expiries are added behind ``item_count``.
    record_count : records of the passes before.
    stop_record : no request is taken once there are so many records: something that goes for all
        accounts (a breaker) may change there.
    """
    tables, merchant_slots = slots
    id_slots = tables[0]
    wave_table[:] = 0
    fetched, wave_count = first, 0
    for i in range(first, count):
        if i + _AHEAD > fetched:  # many at once: their walks through the page tables overlap too
            last = min(fetched + _AHEAD, count)
            for later in range(fetched, last):
                _fetch(request[later], items[later], tables, merchant_slots)
            fetched = last
        if record_count >= stop_record:
            return i, item_count, record_count, wave_count
        item = items[i]
        link = links[request[i]["segment"]]
        if item["role"] == Role.SILENT or item["role"] == Role.ANSWER:
            _session(request[i], item, link)
            continue
        profile = profiles[request[i]["dialect"]]
        is_about, waits_for, named, root = _look(item, request[i], ring, tables, profile, cursor)
        due = next_due(ring, wheel, cursor, np.int64(item["ts_ns"]) // _NS)
        if _must_wait(due, waits_for, ring, cursor):
            return i, item_count, record_count, wave_count
        _session(request[i], item, link)
        if item["role"] == Role.ANSWER:
            continue
        if due > 0:
            expiry = items[item_count]
            take_due(expiry, ring, wheel, due, np.int64(item["ts_ns"]))
            expiry["record"] = record_count
            record_count += 1
            wave_count = max(wave_count, _take_wave(expiry, wave_table))
            item_count += 1
        older = _earlier(item, request[i], ring, id_slots, settings, profile)
        if older < 0 or _is_shed(request[i], item, link):
            continue
        if is_about:
            _relate(item, named, root, ring)
        pcode, number = request[i]["pcode"], record_count
        if not enter(item, older, pcode, ring, wheel, tables, cursor, number):
            continue
        record_count += 1
        if item["original"] > 0:
            _mark_closing(item["original"], ring)
        if item["role"] == Role.AUTHORIZE:
            item["merchant"] = merchant_row(
                request[i]["merchant"], merchant_slots, merchants, settings, cursor
            )
            _stand_in(item, link, settings)
        wave_count = max(wave_count, _take_wave(item, wave_table))
    return count, item_count, record_count, wave_count


@hot_kernel
def _fetch(
    row: Row,
    item: Row,
    tables: Any,
    merchant_slots: NDArray[np.void],
) -> None:
    """Ask for the index slots at which a later request will look."""
    index_fetch(tables[0], item["id_lo"])
    index_fetch(tables[1], item["rrn_lo"])
    if item["life_hi"] != 0:
        index_fetch(tables[2], item["life_lo"])
    index_fetch(merchant_slots, row["merchant"])


@hot_kernel
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


@hot_kernel
def _is_shed(row: Row, item: Row, link: Row) -> bool:
    """Whether a new authorization or financial request has waited for too long to be posted.

    Decided before anything moves, from times that come with the bytes. Repeats of what was answered
    do not come here; advices, reversals and network messages report what is done or keep the link
    alive, so they are worked however long they waited: the share of an overloaded switch that is
    reserved for them is all that they need.
    """
    mti = row["mti"] % 1000
    if mti // 100 not in (1, 2) or mti // 10 % 10 != 0:
        return False
    deadline_ns = np.int64(link["deadline_ns"])
    if row["deadline_ms"] > 0:  # the dialect has one for this kind of message
        deadline_ns = np.int64(row["deadline_ms"]) * _NS_A_MS
    if 0 < deadline_ns < link["waited_ns"]:
        item["decision"] = Decision.DEADLINE_PASSED
        item["role"] = Role.SILENT if link["late_is_silent"] != 0 else Role.ANSWER
        return True
    if 0 < link["overload_ns"] < link["waited_ns"]:
        item["decision"] = Decision.OVERLOADED
        item["role"] = Role.ANSWER
        return True
    return False


@hot_kernel
def _stand_in(item: Row, link: Row, settings: NDArray[np.int64]) -> None:
    """Say which payments are decided without the scorer; refuse those the stand-in does not take.

    By how long the bytes have waited, which comes with them, or because there is no scorer at all.
    Advices report what is done: they are marked by nothing and refused by nothing.
    """
    after_ns = settings[Setting.STAND_IN_AFTER_MS] * _NS_A_MS
    is_slow = 0 < after_ns < link["waited_ns"]
    is_away = settings[Setting.SCORER_LOST] != 0 or settings[Setting.SCORER_OFF] != 0
    if not (is_slow or is_away) or item["flags"] & Flag.ADVICE:
        return
    item["flags"] |= Flag.STAND_IN
    policy = settings[Setting.STAND_IN]
    is_over = policy == StandIn.FLOOR and item["amount_minor"] > settings[Setting.FLOOR_MINOR]
    if item["decision"] == Decision.APPROVED and (policy == StandIn.DECLINE or is_over):
        item["decision"] = Decision.STAND_IN_DECLINED


@hot_kernel
def _earlier(
    item: Row,
    row: Row,
    ring: NDArray[np.void],
    id_slots: NDArray[np.void],
    settings: NDArray[np.int64],
    profile: NDArray[np.int64],
) -> Int:
    """Recognise a message that was answered before, or whose reversal came first.

    Same identity, card and amount: the first answer again. Same identity, anything else: 94; -1 is
    returned for both. A first answer older than the duplicate window is to be forgotten, and so is
    a tombstone, which voids the original: its entry is returned. 0 = nothing came before. Without
    DE7 a STAN may come again at any time: unmarked repeats count for some seconds only.
    """
    found = index_find(id_slots, item["id_lo"], item["id_hi"])
    if found < 0:
        return 0
    first = ring[found & (ring.shape[0] - 1)]
    if first["state"] == State.TOMBSTONE:
        item["flags"] |= Flag.VOIDED
        return found
    age_s = np.int64(item["ts_ns"]) // _NS - np.int64(first["t_s"])
    is_marked = item["flags"] & Flag.REPEAT
    if row["transmitted"] == 0 and not is_marked and age_s > _IN_FLIGHT_S:
        return found
    if age_s > settings[Setting.DUPLICATE_WINDOW_S]:
        return found
    same = (
        (first["card"] == item["card"] or item["role"] == Role.REVERSE)
        and first["pcode"] == max(row["pcode"], 0)
        and (first["currency"] == item["currency"] or item["role"] == Role.REVERSE)
        and first["requested_minor"] == item["requested_minor"]
    )
    item["role"] = Role.ANSWER
    if not same:
        item["decision"] = Decision.DUPLICATE_DIFFERS
    elif not is_marked and profile[Profile.DUPLICATE] == _REFUSE:
        item["decision"] = Decision.DUPLICATE_REFUSED
    else:
        item["role"] = Role.REPEAT
        item["original"] = found
    return -1


@hot_kernel
def _look(
    item: Row,
    row: Row,
    ring: NDArray[np.void],
    tables: Any,
    profile: NDArray[np.int64],
    cursor: Any,
) -> tuple[bool, Int, Int, Int]:
    """Find what the message is about, if it is about another one.

    Returns (whether it is, the entry whose state must be known first, the message it names, the
    authorization that one belongs to); 0 = none.
    """
    is_reversal = item["role"] == Role.REVERSE
    is_about = is_reversal or (item["flags"] & Flag.ADVICE) != 0
    needs_root = np.int64(item["kind"] == Kind.ADVICE)
    if item["kind"] == Kind.AUTHORIZE and profile[Profile.INCREMENTAL] != 0:
        is_about, needs_root = True, np.int64(1)
    if not is_about:
        return False, np.int64(0), np.int64(0), np.int64(0)
    named, root = _about(item, row, ring, tables, profile, cursor)
    waits_for = root * needs_root
    if is_reversal and named > 0 and is_undecided(named, ring):
        # Of another amount than was asked: right only if that is the part which is approved.
        asked_minor = ring[named & (ring.shape[0] - 1)]["requested_minor"]
        if item["requested_minor"] != asked_minor:
            waits_for = named
    return True, waits_for, named, root


@hot_kernel
def _must_wait(due: Int, waits_for: Int, ring: NDArray[np.void], cursor: NDArray[np.int64]) -> bool:
    """Whether what is due, what it is about or the room for a row is not decided yet."""
    return (
        is_undecided(due, ring) or is_undecided(waits_for, ring) or room_is_undecided(ring, cursor)
    )


@kernel
def _relate(item: Row, named: Int, root: Int, ring: NDArray[np.void]) -> None:
    """Tie a reversal, an advice, a completion or an increment to the authorization it is about."""
    is_open = root > 0 and ring[root & (ring.shape[0] - 1)]["state"] == State.OPEN
    if item["kind"] == Kind.AUTHORIZE:
        if not is_open or item["decision"] != Decision.APPROVED:
            return  # a payment like any other
        item["kind"] = Kind.INCREMENT
    elif item["kind"] == Kind.ADVICE and not is_open:
        item["flags"] |= Flag.FORCED
    item["named"] = root
    if item["role"] == Role.REVERSE:
        item["named"] = named
    item["original"] = root


@kernel
def _about(
    item: Row,
    row: Row,
    ring: NDArray[np.void],
    tables: Any,
    profile: NDArray[np.int64],
    cursor: NDArray[np.int64],
) -> tuple[Int, Int]:
    """Return (message named, its authorization), 0 = none.

    By DE90, or the STAN and DE7 that a reversal without it reuses; then by lifecycle id; then by
    RRN and terminal. A reversal that has none of them goes by STAN, terminal and local date, of a
    payment without an RRN.

    The card must agree, where the message names one, and the amount of a reversal. Anything may be
    reversed; only an authorization can be advised, completed or added to. An increment goes by
    lifecycle id or RRN only. What does not agree is about nothing.
    """
    id_slots, rrn_slots, _, _ = tables
    mask = ring.shape[0] - 1
    found = np.int64(-1)
    names_itself = item["original_hi"] == item["id_hi"] and item["original_lo"] == item["id_lo"]
    if item["original_hi"] != 0 and not names_itself:  # nothing is its own original
        found = index_find(id_slots, item["original_lo"], item["original_hi"])
    if found < 0:
        found = _by_lifecycle(item, row, ring, tables, profile)
    if found < 0 and (item["rrn_hi"] != 0 or item["rrn_lo"] != 0):
        if item["by_local"] == 0:
            found = index_find(rrn_slots, item["rrn_lo"], item["rrn_hi"])
        elif item["role"] == Role.REVERSE and row["original_mti"] < 0:
            found = index_find(rrn_slots, item["rrn_lo"], item["rrn_hi"])
            if found >= 0 and not _is_of_day(row, item, ring[found & mask]):
                found = np.int64(-1)
    if found < 0:
        return np.int64(0), np.int64(0)
    original = ring[found & mask]
    is_reversal = item["role"] == Role.REVERSE
    if original["kind"] == Kind.REVERSAL:  # or a tombstone; its state is not known in its batch
        return np.int64(0), np.int64(0)
    item["names_whole"] = is_reversal and _agrees(item, original)
    if is_reversal and not item["names_whole"] and profile[Profile.REVERSAL_AMOUNT] != _BY_DE4:
        return np.int64(0), np.int64(0)
    if is_reversal and row["pan_length"] <= 0:
        return root_of(found, ring, cursor)
    if item["card"] != original["card"]:
        return np.int64(0), np.int64(0)
    named, root = root_of(found, ring, cursor)
    if is_reversal or (item["account"] != 0 and is_authorization(root, ring)):
        return named, root
    return np.int64(0), np.int64(0)


@hot_kernel
def _by_lifecycle(
    item: Row, row: Row, ring: NDArray[np.void], tables: Any, profile: NDArray[np.int64]
) -> Int:
    """Return the newest message with the lifecycle id, or -1, also where it does not agree.

    The next key is asked then.
    """
    if item["life_hi"] == 0:
        return np.int64(-1)
    found = index_find(tables[2], item["life_lo"], item["life_hi"])
    if found < 0:
        return found
    original = ring[found & (ring.shape[0] - 1)]
    is_reversal = item["role"] == Role.REVERSE
    if (not is_reversal or row["pan_length"] > 0) and item["card"] != original["card"]:
        return np.int64(-1)
    if is_reversal and profile[Profile.REVERSAL_AMOUNT] != _BY_DE4 and not _agrees(item, original):
        return np.int64(-1)
    return found


@kernel
def _is_of_day(row: Row, item: Row, original: Row) -> bool:
    """Whether a reversal's local date (DE13) is the original's, in whatever time zone that was.

    Without one the original must be of the last day, since STANs come again.
    """
    now_s, then_s = np.int64(item["ts_ns"]) // _NS, np.int64(original["t_s"])
    if row["local_date"] < 0:
        return bool(now_s - then_s <= SECONDS_A_DAY)
    noon = np.int64(row["local_date"]) * 1_000_000 + 120_000
    apart = seconds_of_transmission(noon, now_s) // SECONDS_A_DAY - then_s // SECONDS_A_DAY
    return bool(-1 <= apart <= 1)


@kernel
def _agrees(item: Row, original: Row) -> bool:
    """Whether the amount of a reversal is its original's: what was asked, or the part approved.

    Of an original that is not decided yet nobody knows the part: it may agree.
    """
    amount_minor = item["requested_minor"]
    if amount_minor == original["requested_minor"] or original["state"] == State.PENDING:
        return True
    is_part = original["result"] == Decision.PARTIALLY_APPROVED
    return is_part and amount_minor == original["amount_minor"]


@kernel
def _mark_closing(entry: Int, ring: NDArray[np.void]) -> None:
    """Note that a message of this pass is about ``entry``; posting it takes the note back."""
    row = ring[entry & (ring.shape[0] - 1)]
    if row["state"] == State.OPEN:
        row["state"] = State.CLOSING


@hot_kernel
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
