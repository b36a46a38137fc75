"""Clearings, refunds, clearing reversals, repayments and returned payments: matched and posted.

Rows are worked in order, between two batches of card messages. ``plan`` looks only; ``apply_filed``
moves, the same when a row comes in and when a restart reads its record. A clearing is never
turned away for want of money or of an authorization: what fits no open hold is posted by force and
flagged. A clearing reversal undoes a clearing, hold included, as long as the hold would still live.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.entries import is_authorization, root_of
from engine.presentment import MatchedBy, Result
from ledger.accounts import AccountStatus, has_headroom, post
from ledger.authorizations import Cursor, State, entry_of_seq, remembered_rows
from ledger.captures import link_clearing
from ledger.clearings import find_posted, posted_of_seq, remember_posted
from ledger.deadlines import Wheel, deadline_of, reschedule, unschedule
from ledger.index import index_find
from ledger.jit import Int, Row, kernel
from ledger.record import SCORE_NONE, Flag, Kind

_NS = 1_000_000_000
_DAY_S = 86_400
_PAIR = 10_000  # DE3 over this is its first pair
_MATCH_DAYS_MAX = 45  # by approval code: an authorization older than any hold is another one


@kernel
def settle(
    rows: NDArray[np.void],
    accounts: NDArray[np.void],
    ring: NDArray[np.void],
    wheel: Wheel,
    tables: Any,
    tolerance: Any,
    cursor: NDArray[np.int64],
    now_ns: Int,
    do_post: bool,  # noqa: FBT001
    records: NDArray[np.void],
) -> Int:
    """Plan and, with ``do_post``, post ``rows`` in order; return how many records were written.

    Parameters
    ----------
    rows : PRESENTMENT (k,), in and out; accounts, ring, wheel, cursor : state, in and out.
    tables : tuple of the slots by lifecycle id and by RRN, POSTED ring, its slots.
    tolerance : tuple of over-capture per 10,000 u16 (10000,) and least minor units i64 (10000,), by
        merchant category.
    records : RECORD (k,), out.
    """
    keys, posted, posted_slots = tables
    cursor[Cursor.LAST_TS_NS] = max(cursor[Cursor.LAST_TS_NS], now_ns)
    written = 0
    for i in range(rows.shape[0]):
        row = rows[i]
        _plan(row, accounts, ring, keys, posted, posted_slots, tolerance, cursor)
        if row["result"] >= Result.DUPLICATE or not do_post:
            continue
        if not _has_room(posted_slots):
            row["result"] = Result.NO_ROOM
            continue
        seq = cursor[Cursor.NEXT_SEQ]
        account = accounts[row["account"]]
        is_forced = row["kind"] == Kind.OVER_CAPTURE or row["kind"] == Kind.FORCE_POST
        if is_forced and row["amount_minor"] - row["freed_minor"] > account["otb_minor"]:
            row["flags"] |= Flag.OVER_LIMIT
        into = records[written]
        _write(row, ring, posted, seq, now_ns, into)
        apply_filed(into, row["entry"], row["target"], accounts, ring, wheel, posted, cursor)
        _remember(into, row["entry"], ring, posted, posted_slots, cursor)
        into["otb_after_minor"] = account["otb_minor"]
        into["hold_after_minor"] = account["hold_minor"]
        account["last_seq"] = seq
        row["seq"] = seq
        cursor[Cursor.NEXT_SEQ] = seq + 1
        written += 1
    return written


@kernel
def _has_room(slots: NDArray[np.void]) -> bool:
    header = slots[(slots.shape[0] - 1) // 3 * 2]
    return header["hash"] + 1 < header["check"]


@kernel
def _plan(
    row: Row,
    accounts: NDArray[np.void],
    ring: NDArray[np.void],
    keys: Any,
    posted: NDArray[np.void],
    posted_slots: NDArray[np.void],
    tolerance: Any,
    cursor: NDArray[np.int64],
) -> None:
    """Say what becomes of ``row``; nothing but the row changes."""
    row["entry"] = 0
    row["target"] = 0
    row["freed_minor"] = 0
    row["seq"] = 0
    row["matched_by"] = MatchedBy.NOTHING
    row["flags"] = (row["flags"] & Flag.FINAL) | Flag.FILED
    if row["account"] == 0 or accounts[row["account"]]["status"] == AccountStatus.NONE:
        row["result"] = Result.NO_ACCOUNT
        return
    known = find_posted(posted_slots, row["id_hi"], row["id_lo"])
    if known > 0:
        first = posted[known & (posted.shape[0] - 1)]
        same = (
            first["amount_minor"] == row["amount_minor"]
            and first["account"] == row["account"]
            and _class(first["kind"]) == _class(row["kind"])
        )
        row["result"] = Result.DUPLICATE if same else Result.ID_DIFFERS
        row["seq"] = np.int64(first["seq"]) if same else 0
    elif row["currency"] != accounts[row["account"]]["currency"]:
        row["result"] = Result.CURRENCY_DIFFERS
    elif not has_headroom(accounts[row["account"]], row["amount_minor"]):
        row["result"] = Result.NO_HEADROOM
    elif row["kind"] == Kind.CLEARING:
        _plan_clearing(row, ring, keys, tolerance, cursor)
    elif row["kind"] == Kind.REPAYMENT:
        row["result"] = Result.PAID
    else:
        _plan_giving_back(row, posted, posted_slots)
        if row["result"] < Result.DUPLICATE and row["target"] > 0:
            item = posted[row["target"] & (posted.shape[0] - 1)]
            row["entry"] = _kept(item["authorization"], ring, cursor)
            if row["result"] == Result.REVERSED:
                _plan_taking_back(row, item, accounts[row["account"]], ring, cursor)


@kernel
def _class(kind: Int) -> Int:
    """Return one number for all kinds of clearing: which one it was depends on what was held."""
    if kind >= Kind.CLEARING and kind <= Kind.FORCE_POST:
        return np.int64(Kind.CLEARING)
    return np.int64(kind)


@kernel
def _plan_clearing(
    row: Row,
    ring: NDArray[np.void],
    keys: Any,
    tolerance: Any,
    cursor: NDArray[np.int64],
) -> None:
    entry = _authorization(row, ring, keys, tolerance, cursor)
    row["entry"] = entry
    row["result"] = Result.FORCED
    held_minor = np.int64(0)
    if entry > 0:
        original = ring[entry & (ring.shape[0] - 1)]
        if original["state"] == State.OPEN:
            held_minor = original["held_minor"]
        elif original["state"] == State.EXPIRED or original["state"] == State.REVERSED:
            row["flags"] |= Flag.LATE
        if original["state"] == State.OPEN:
            amount_minor = row["amount_minor"]
            if amount_minor > held_minor:
                row["kind"] = Kind.OVER_CAPTURE
                row["result"] = Result.OVER_CAPTURED
                row["freed_minor"] = held_minor
                extra = amount_minor - held_minor
                if extra > over_tolerance(original["granted_minor"], row["mcc"], tolerance):
                    row["flags"] |= Flag.OVER_TOLERANCE
            else:
                is_final = row["flags"] & Flag.FINAL
                row["kind"] = Kind.CLEARING if is_final else Kind.CLEARING_PART
                row["result"] = Result.MATCHED
                row["freed_minor"] = held_minor if is_final else amount_minor
            return
    row["kind"] = Kind.FORCE_POST
    row["flags"] |= Flag.FORCED


@kernel
def over_tolerance(granted_minor: Int, mcc: Int, tolerance: Any) -> Int:
    """Return by how many minor units a clearing may exceed what was granted without a flag."""
    per_10000, least_minor = tolerance
    category = mcc if 0 <= mcc < per_10000.shape[0] else 0
    share = np.int64(granted_minor) // 10_000 * np.int64(per_10000[category])
    share += np.int64(granted_minor) % 10_000 * np.int64(per_10000[category]) // 10_000
    return max(share, least_minor[category])


@kernel
def _authorization(
    row: Row,
    ring: NDArray[np.void],
    keys: Any,
    tolerance: Any,
    cursor: NDArray[np.int64],
) -> Int:
    """Return the entry a clearing is about, or 0: by record, lifecycle id, RRN, approval code.

    The card must agree, and the account.
    By approval code the merchant category must agree, the amount must fit within the tolerance, and
    the authorization must not be older than holds live.
    """
    life_slots, rrn_slots = keys
    mask = ring.shape[0] - 1
    head = cursor[Cursor.HEAD]
    if row["authorization"] > 0:
        entry = _usable(entry_of_seq(ring, head, row["authorization"]), row, ring, cursor)
        if entry > 0:
            row["matched_by"] = MatchedBy.RECORD
            return entry
    if row["life_hi"] != 0:
        entry = _usable(index_find(life_slots, row["life_lo"], row["life_hi"]), row, ring, cursor)
        if entry > 0:
            row["matched_by"] = MatchedBy.LIFECYCLE
            return entry
    if row["rrn_hi"] != 0:
        entry = _usable(index_find(rrn_slots, row["rrn_lo"], row["rrn_hi"]), row, ring, cursor)
        if entry > 0:
            row["matched_by"] = MatchedBy.RRN
            return entry
    if row["approved_seq"] > 0:
        entry = _usable(entry_of_seq(ring, head, row["approved_seq"]), row, ring, cursor)
        if entry > 0:
            original = ring[entry & mask]
            granted_minor = original["granted_minor"]
            extra = row["amount_minor"] - granted_minor
            age_s = cursor[Cursor.LAST_TS_NS] // 1_000_000_000 - np.int64(original["t_s"])
            same_mcc = row["mcc"] == 0 or original["mcc"] == 0 or row["mcc"] == original["mcc"]
            if (
                same_mcc
                and extra <= over_tolerance(granted_minor, original["mcc"], tolerance)
                and age_s <= _MATCH_DAYS_MAX * _DAY_S
            ):
                row["matched_by"] = MatchedBy.APPROVAL
                return entry
    return np.int64(0)


@kernel
def _usable(entry: Int, row: Row, ring: NDArray[np.void], cursor: NDArray[np.int64]) -> Int:
    """Return the authorization that ``entry`` is, or belongs to, if it is this card's; else 0."""
    _, root = root_of(entry, ring, cursor)
    if not is_authorization(root, ring):
        return np.int64(0)
    original = ring[root & (ring.shape[0] - 1)]
    same_card = original["card"] == row["card"] or row["card"] == 0
    if not same_card or original["account"] != row["account"]:
        return np.int64(0)
    return root


@kernel
def _plan_giving_back(row: Row, posted: NDArray[np.void], posted_slots: NDArray[np.void]) -> None:
    """Refund, clearing reversal, returned payment: never more than is left of what it names."""
    kind = row["kind"]
    if kind == Kind.REFUND:
        row["result"] = Result.REFUNDED
        row["flags"] |= Flag.CREDIT
        if row["target_hi"] == 0 and row["target_lo"] == 0:
            return  # a refund need not name its purchase
    elif kind == Kind.CLEARING_REVERSAL:
        row["result"] = Result.REVERSED
    else:
        row["result"] = Result.RETURNED
    target = find_posted(posted_slots, row["target_hi"], row["target_lo"])
    if target == 0:
        row["result"] = Result.NO_TARGET
        return
    item = posted[target & (posted.shape[0] - 1)]
    wanted = Kind.REPAYMENT if kind == Kind.PAYMENT_RETURNED else Kind.CLEARING
    if item["account"] != row["account"] or _class(item["kind"]) != wanted:
        row["result"] = Result.TARGET_DIFFERS
    elif row["amount_minor"] > item["amount_minor"] - item["back_minor"]:
        row["result"] = Result.MORE_THAN_TARGET
    row["target"] = target


@kernel
def _plan_taking_back(
    row: Row, item: Row, account: Row, ring: NDArray[np.void], cursor: NDArray[np.int64]
) -> None:
    """Clearing reversal of the posted ``item``: say how much of it is held again.

    What went beyond the hold is taken back first. What a final clearing gave back beside its amount
    is held again with the whole clearing only, and only as far as it is open to buy: nobody asked
    to spend it. Nothing is held again of an authorization that was reversed, whose hold has ended
    or would have by now, or that is not kept any more.
    """
    row["pcode"] = np.int64(item["pair"]) * _PAIR + np.int64(row["pcode"]) % _PAIR
    original = ring[row["entry"] & (ring.shape[0] - 1)]
    deadline_s = deadline_of(original["t_s"], original["life_h"])
    if (
        row["entry"] == 0
        or (original["state"] != State.OPEN and original["state"] != State.CLEARED)
        or deadline_s <= cursor[Cursor.LAST_TS_NS] // _NS
    ):
        return
    from_hold_minor = min(item["amount_minor"], item["freed_minor"])
    beyond_minor = item["amount_minor"] - from_hold_minor
    back_minor = item["back_minor"]
    again_minor = max(back_minor + row["amount_minor"] - beyond_minor, 0)
    again_minor -= max(back_minor - beyond_minor, 0)
    if row["amount_minor"] == item["amount_minor"]:
        again_minor += min(item["freed_minor"] - from_hold_minor, account["otb_minor"])
    row["freed_minor"] = -again_minor


@kernel
def _kept(entry: Int, ring: NDArray[np.void], cursor: NDArray[np.int64]) -> Int:
    """Return ``entry`` while the ring has not forgotten it, else 0."""
    oldest = cursor[Cursor.HEAD] - remembered_rows(ring.shape[0])
    return np.int64(entry) if entry > oldest else np.int64(0)


@kernel
def apply_filed(
    record: Row,
    entry: Int,
    target: Int,
    accounts: NDArray[np.void],
    ring: NDArray[np.void],
    wheel: Wheel,
    posted: NDArray[np.void],
    cursor: NDArray[np.int64],
) -> None:
    """Move money and states as ``record`` says; ``amount2_minor`` is what leaves the hold.

    Below zero it is what a clearing reversal holds again.
    """
    kind = record["kind"]
    freed_minor = record["amount2_minor"]
    post(accounts[record["account"]], kind, record["amount_minor"], freed_minor)
    if entry > 0 and kind == Kind.CLEARING_REVERSAL:
        _take_back(record, entry, ring, wheel, cursor)
    elif entry > 0 and kind == Kind.REFUND:
        _uncapture(record, ring[entry & (ring.shape[0] - 1)])
    elif entry > 0:
        original = ring[entry & (ring.shape[0] - 1)]
        original["held_minor"] -= freed_minor
        original["cleared_minor"] += record["amount_minor"]
        if original["state"] == State.EXPIRED:
            original["state"] = State.CLEARED
        elif original["state"] == State.OPEN and original["held_minor"] == 0:
            original["state"] = State.CLEARED
            unschedule(entry, ring, wheel)
    if target > 0:
        posted[target & (posted.shape[0] - 1)]["back_minor"] += record["amount_minor"]


@kernel
def _take_back(
    record: Row, entry: Int, ring: NDArray[np.void], wheel: Wheel, cursor: NDArray[np.int64]
) -> None:
    """Undo what a clearing did to its authorization: it is open again, or ended uncleared."""
    original = ring[entry & (ring.shape[0] - 1)]
    original["held_minor"] -= record["amount2_minor"]
    _uncapture(record, original)
    if original["state"] != State.CLEARED:
        return
    if original["held_minor"] > 0:
        original["state"] = State.OPEN
        original["deadline_s"] = deadline_of(original["t_s"], original["life_h"])
        reschedule(entry, ring, wheel, cursor)
    elif original["cleared_minor"] == 0:
        original["state"] = State.EXPIRED


@kernel
def _uncapture(record: Row, original: Row) -> None:
    """Take what came back by file off what a reversal message would give back."""
    # Never below zero: journals of before have refunds of what a message had given back.
    original["cleared_minor"] = max(original["cleared_minor"] - record["amount_minor"], 0)


@kernel
def _remember(
    record: Row,
    entry: Int,
    ring: NDArray[np.void],
    posted: NDArray[np.void],
    posted_slots: NDArray[np.void],
    cursor: NDArray[np.int64],
) -> None:
    """Give the item of ``record`` its row, as the newest clearing of its authorization if any."""
    remember_posted(record, entry, posted, posted_slots, cursor)
    if entry > 0 and _class(record["kind"]) == Kind.CLEARING:
        link_clearing(cursor[Cursor.POSTED], entry, ring, posted)


@kernel
def replay_filed(
    record: Row,
    accounts: NDArray[np.void],
    ring: NDArray[np.void],
    wheel: Wheel,
    posted: NDArray[np.void],
    posted_slots: NDArray[np.void],
    cursor: NDArray[np.int64],
) -> bool:
    """Apply a journaled FILED record; False = what it refers to is not there, or no room."""
    entry, target = np.int64(0), np.int64(0)
    ref_seq = np.int64(record["ref_seq"])
    if ref_seq != 0 and _class(record["kind"]) == Kind.CLEARING:
        entry = entry_of_seq(ring, cursor[Cursor.HEAD], ref_seq)
        if entry < 0:
            return False
    elif ref_seq != 0:
        target = posted_of_seq(posted, cursor[Cursor.POSTED], ref_seq)
        if target == 0:
            return False
        entry = _kept(posted[target & (posted.shape[0] - 1)]["authorization"], ring, cursor)
        if entry == 0 and record["amount2_minor"] < 0:
            return False
    if not _has_room(posted_slots):
        return False
    apply_filed(record, entry, target, accounts, ring, wheel, posted, cursor)
    _remember(record, entry, ring, posted, posted_slots, cursor)
    return True


@kernel
def _write(
    row: Row,
    ring: NDArray[np.void],
    posted: NDArray[np.void],
    seq: Int,
    now_ns: Int,
    into: Row,
) -> None:
    """Fill the record of a planned row but for the balances after it; ``into`` is all zeros."""
    into["id_hi"] = row["id_hi"]
    into["id_lo"] = row["id_lo"]
    into["seq"] = seq
    into["ts_ns"] = now_ns
    if row["target"] > 0:
        into["ref_seq"] = posted[row["target"] & (posted.shape[0] - 1)]["seq"]
    elif row["entry"] > 0:
        into["ref_seq"] = ring[row["entry"] & (ring.shape[0] - 1)]["seq"]
    into["amount_minor"] = row["amount_minor"]
    into["amount2_minor"] = row["freed_minor"]
    into["terminal"] = row["terminal"]
    into["rrn_a"] = row["rrn_a"]
    into["rrn_b"] = row["rrn_b"]
    into["acquirer"] = row["acquirer"]
    into["transmitted"] = row["date"]
    into["account"] = row["account"]
    into["card"] = row["card"]
    into["flags"] = row["flags"]
    into["status"] = row["scheme"]
    into["pcode"] = row["pcode"]
    into["kind"] = row["kind"]
    into["currency"] = row["currency"]
    into["mcc"] = row["mcc"]
    into["score"] = SCORE_NONE
