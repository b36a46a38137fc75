"""The decision itself: limits, holds, releases; then the ledger record of each item.

``decide`` works one wave: every account occurs at most once in it, so the order inside a wave does
not matter, and waves follow each other in order of arrival. ``apply_outcome`` is also what a
restart does with a record: live state and replayed state are made by the same lines.
"""

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.entries import is_authorization
from engine.items import Role
from engine.judging import judge, judge_completion, judge_reversal
from ledger.accounts import post
from ledger.authorizations import Cursor, State
from ledger.captures import give_back_captures, link_completion
from ledger.deadlines import Wheel, unschedule
from ledger.jit import Int, Row, kernel, prefetch
from ledger.record import Flag, Kind

_DECLINED_FROM = 100
_AHEAD = 8  # rows for which account and hold are asked before they are needed


@kernel
def decide(
    order: NDArray[np.int32],
    items: NDArray[np.void],
    request: NDArray[np.void],
    verdicts: NDArray[np.void],
    accounts: NDArray[np.void],
    ring: NDArray[np.void],
    wheel: Wheel,
    posted: NDArray[np.void],
    cursor: NDArray[np.int64],
    codes: NDArray[np.uint16],
    profiles: NDArray[np.int64],
    approved: NDArray[np.uint8],
) -> None:
    """Decide and post the items ``order`` of one wave.

    Parameters
    ----------
    order : i32 (k,), rows of items; items : ITEM, in and out; request : REQUEST.
    verdicts : VERDICT by item row; accounts : ACCOUNT; ring, wheel, posted : in and out.
    cursor : as it is after matching.
    codes : u16 (dialects, 1000), DE39 by decision; profiles : i64 (dialects, P), see ``Profile``.
    approved : u8 by item row, out: 1 = the payment counts as spending.
    """
    for k in range(order.shape[0]):
        if k + _AHEAD < order.shape[0]:
            later = items[order[k + _AHEAD]]
            prefetch(accounts, np.int64(later["account"]))
            prefetch(ring, np.int64(later["entry"]) & (ring.shape[0] - 1))
        i = order[k]
        item = items[i]
        role = item["role"]
        if role == Role.EXPIRE:
            item["released_minor"] = ring[item["original"] & (ring.shape[0] - 1)]["held_minor"]
        elif role == Role.AUTHORIZE or role == Role.ADVISE or role == Role.REVERSE:
            row = request[item["request"]]
            profile = profiles[row["dialect"]]
            if role == Role.AUTHORIZE:
                judge(item, row, verdicts[i], accounts, ring, profile)
                approved[i] = counts_as_spending(item)
            elif role == Role.ADVISE:
                judge_completion(item, accounts, ring, profile)
            else:
                judge_reversal(item, row, accounts, ring, profile)
            if item["response"] == 0:
                item["response"] = codes[row["dialect"], item["decision"]]
        else:
            continue
        apply_outcome(item, accounts, ring, wheel, posted, cursor)


@kernel
def counts_as_spending(item: Row) -> Int:
    """Return 1 if the card's velocity takes the payment as approved spending, else 0."""
    if item["kind"] == Kind.ADVICE:
        is_new = item["decision"] == Decision.ADVICE_RECORDED and item["flags"] & Flag.FORCED
        was_declined = item["amount_minor"] == 0 and item["requested_minor"] > 0
        return 1 if is_new and not was_declined else 0
    is_approved = (
        item["decision"] == Decision.APPROVED or item["decision"] == Decision.PARTIALLY_APPROVED
    )
    return 1 if is_approved and item["kind"] != Kind.REFUND else 0


@kernel
def apply_outcome(
    item: Row,
    accounts: NDArray[np.void],
    ring: NDArray[np.void],
    wheel: Wheel,
    posted: NDArray[np.void],
    cursor: NDArray[np.int64],
) -> None:
    """Move the money and the states that the item's role, kind and decision imply."""
    mask = ring.shape[0] - 1
    own = ring[item["entry"] & mask]  # slot 0 of an expiry: not written below
    if item["original"] != 0:
        root = ring[item["original"] & mask]
        if root["state"] == State.CLOSING:
            root["state"] = State.OPEN
    role = item["role"]
    if role == Role.EXPIRE:
        _release(item, accounts, ring, wheel)
    elif role == Role.AUTHORIZE:
        own["kind"] = item["kind"]
        if item["kind"] == Kind.ADVICE:
            _apply_advice(item, own, accounts, ring, wheel)
        else:
            _apply_payment(item, own, accounts, ring, wheel)
    elif role == Role.ADVISE:
        own["kind"] = item["kind"]
        _apply_completion(item, own, accounts, ring, wheel)
    else:
        own["state"] = State.REVERSAL
        own["account"] = item["account"]
        own["card"] = item["card"]
        own["amount_minor"] = item["amount_minor"]
        own["currency"] = item["currency"]
        own["exponent"] = item["exponent"]
        if item["flags"] & Flag.REVERSES:
            _give_back(item, accounts, ring, posted, cursor)
        elif item["original"] != 0:
            _release(item, accounts, ring, wheel)
    if item["entry"] != 0:
        own["result"] = item["decision"]
        own["response"] = item["response"]
    if item["account"] != 0:
        item["otb_after_minor"] = accounts[item["account"]]["otb_minor"]
        item["hold_after_minor"] = accounts[item["account"]]["hold_minor"]


@kernel
def _apply_payment(
    item: Row, own: Row, accounts: NDArray[np.void], ring: NDArray[np.void], wheel: Wheel
) -> None:
    kind, amount_minor = item["kind"], item["amount_minor"]
    own["amount_minor"] = amount_minor
    is_approved = (
        item["decision"] == Decision.APPROVED or item["decision"] == Decision.PARTIALLY_APPROVED
    )
    if is_approved and (kind == Kind.AUTHORIZE or kind == Kind.PARTIAL):
        post(accounts[item["account"]], kind, amount_minor, -amount_minor)
        own["held_minor"] = amount_minor
        own["granted_minor"] = amount_minor
        own["state"] = State.OPEN
        return
    unschedule(item["entry"], ring, wheel)
    own["state"] = State.DECLINED if item["decision"] >= _DECLINED_FROM else State.CHECKED
    if is_approved and kind == Kind.INCREMENT:
        post(accounts[item["account"]], kind, amount_minor, -amount_minor)
        root = ring[item["original"] & (ring.shape[0] - 1)]
        root["held_minor"] += amount_minor
        root["granted_minor"] += amount_minor
        own["state"] = State.ADDED
    elif is_approved:  # FINANCIAL, REFUND
        post(accounts[item["account"]], kind, amount_minor, np.int64(0))
        own["granted_minor"] = amount_minor
        own["cleared_minor"] = amount_minor
        own["state"] = State.CLEARED
    elif item["decision"] == Decision.INQUIRED:
        account = accounts[item["account"]]
        own["granted_minor"] = account["otb_minor"] - account["over_minor"]
        own["cleared_minor"] = account["prepaid_minor"] - account["used_minor"]


@kernel
def _apply_advice(
    item: Row, own: Row, accounts: NDArray[np.void], ring: NDArray[np.void], wheel: Wheel
) -> None:
    is_recorded = item["decision"] == Decision.ADVICE_RECORDED
    if is_recorded:
        account, freed_minor = accounts[item["account"]], item["released_minor"]
        post(account, item["kind"], item["amount_minor"], freed_minor)
    if is_recorded and item["flags"] & Flag.FORCED and item["amount_minor"] > 0:
        own["held_minor"] = item["amount_minor"]
        own["granted_minor"] = item["amount_minor"]
        own["state"] = State.OPEN
        return
    unschedule(item["entry"], ring, wheel)
    own["state"] = State.DECLINED if item["decision"] >= _DECLINED_FROM else State.CHECKED
    if is_recorded and not item["flags"] & Flag.FORCED:
        root = ring[item["original"] & (ring.shape[0] - 1)]
        root["held_minor"] -= freed_minor
        root["granted_minor"] += max(-freed_minor, 0)
        own["state"] = State.ADDED
        if root["held_minor"] == 0:
            root["state"] = State.REVERSED
            unschedule(item["original"], ring, wheel)


@kernel
def _apply_completion(
    item: Row, own: Row, accounts: NDArray[np.void], ring: NDArray[np.void], wheel: Wheel
) -> None:
    own["state"] = State.DECLINED if item["decision"] >= _DECLINED_FROM else State.CHECKED
    if item["decision"] != Decision.ADVICE_RECORDED:
        return
    amount_minor, freed_minor = item["amount_minor"], item["released_minor"]
    post(accounts[item["account"]], item["kind"], amount_minor, freed_minor)
    own["cleared_minor"] = amount_minor
    own["state"] = State.CLEARED
    if item["original"] == 0 or item["kind"] == Kind.REFUND:
        return
    root = ring[item["original"] & (ring.shape[0] - 1)]
    root["held_minor"] -= freed_minor
    root["cleared_minor"] += amount_minor
    link_completion(np.int64(item["entry"]), np.int64(item["original"]), ring)
    if root["state"] == State.EXPIRED:
        root["state"] = State.CLEARED
    elif root["state"] == State.OPEN and root["held_minor"] == 0:
        root["state"] = State.CLEARED
        unschedule(item["original"], ring, wheel)


@kernel
def _give_back(
    item: Row,
    accounts: NDArray[np.void],
    ring: NDArray[np.void],
    posted: NDArray[np.void],
    cursor: NDArray[np.int64],
) -> None:
    """Give back what a reversal undoes of a clearing, once: all that the money was of count it.

    An authorization was captured by clearings and completions; a completion captured its own.
    """
    mask = ring.shape[0] - 1
    amount_minor = np.int64(item["amount_minor"])
    post(accounts[item["account"]], item["kind"], amount_minor, np.int64(0))
    named = ring[item["named"] & mask]
    named["cleared_minor"] = max(np.int64(named["cleared_minor"]) - amount_minor, 0)
    if named["cleared_minor"] == 0:
        named["state"] = State.REVERSED
    if is_authorization(np.int64(item["named"]), ring):
        give_back_captures(np.int64(item["named"]), amount_minor, ring, posted, cursor)
    elif item["named"] != item["original"] and named["kind"] != Kind.REFUND:
        root = ring[item["original"] & mask]
        root["cleared_minor"] = max(np.int64(root["cleared_minor"]) - amount_minor, 0)


@kernel
def _release(item: Row, accounts: NDArray[np.void], ring: NDArray[np.void], wheel: Wheel) -> None:
    """Give back what a reversal or an expiry releases of a hold."""
    mask = ring.shape[0] - 1
    released_minor = item["released_minor"]
    if released_minor <= 0:
        return
    root = ring[item["original"] & mask]
    post(accounts[item["account"]], item["kind"], item["amount_minor"], released_minor)
    root["held_minor"] -= released_minor
    if item["named"] != item["original"]:
        ring[item["named"] & mask]["state"] = State.REVERSED
    if root["held_minor"] == 0:
        is_expiry = item["kind"] == Kind.EXPIRE
        root["state"] = State.EXPIRED if is_expiry else State.REVERSED
        unschedule(item["original"], ring, wheel)


@kernel
def write_records(
    item_count: Int,
    items: NDArray[np.void],
    request: NDArray[np.void],
    hits: NDArray[np.uint64],
    scores: NDArray[np.uint16],
    ring: NDArray[np.void],
    accounts: NDArray[np.void],
    cursor: NDArray[np.int64],
    versions: NDArray[np.uint32],
    records: NDArray[np.void],
) -> None:
    """Fill ``records`` in order of arrival and move the sequence on.

    Parameters
    ----------
    items : ITEM, decided, response set; hits : u64 (items, words); scores : u16 (items,).
    versions : u32 (rules, model), of this batch.
    records : RECORD (k,), out, one for each item whose ``record`` is not -1.
    """
    first_seq = cursor[Cursor.NEXT_SEQ]
    mask = ring.shape[0] - 1
    written = 0
    for i in range(item_count):
        item = items[i]
        if item["record"] < 0:
            continue
        seq = first_seq + item["record"]
        into = records[item["record"]]
        _write_outcome(item, into, seq, hits[i, 0], hits[i, 1], versions)
        into["score"] = scores[i]
        into["ref_seq"] = ring[item["named"] & mask]["seq"] if item["named"] > 0 else 0
        into["hold_life_h"] = item["hold_life_h"]
        if item["request"] >= 0:
            _write_request(request[item["request"]], into)
        else:
            _write_no_request(into)
        if item["account"] != 0:
            accounts[item["account"]]["last_seq"] = max(
                np.int64(accounts[item["account"]]["last_seq"]), seq
            )
        written += 1
    cursor[Cursor.NEXT_SEQ] = first_seq + written


@kernel
def note_scoring(
    item_count: Int,
    items: NDArray[np.void],
    checks: NDArray[np.uint32],
    reasons: NDArray[np.uint32],
    records: NDArray[np.void],
) -> None:
    """Put the hash of the feature row and the reasons (u32 by item row) into payments' records."""
    for i in range(item_count):
        if items[i]["record"] >= 0 and items[i]["role"] == Role.AUTHORIZE:
            into = records[items[i]["record"]]
            into["customer"] = checks[i]
            into["reasons"] = reasons[i]


@kernel
def _write_outcome(
    item: Row, into: Row, seq: Int, hits_lo: Int, hits_hi: Int, versions: NDArray[np.uint32]
) -> None:
    into["id_hi"] = item["id_hi"]
    into["id_lo"] = item["id_lo"]
    into["seq"] = seq
    into["ts_ns"] = item["ts_ns"]
    into["customer"] = 0
    into["product"] = 0
    into["entry_class"] = item["entry_class"]
    into["amount_minor"] = item["amount_minor"]
    is_payment = item["role"] == Role.AUTHORIZE
    is_release = item["role"] == Role.EXPIRE or (
        item["role"] == Role.REVERSE and not item["flags"] & Flag.REVERSES
    )
    into["amount2_minor"] = item["released_minor"] if is_release else item["requested_minor"]
    into["otb_after_minor"] = item["otb_after_minor"]
    into["hold_after_minor"] = item["hold_after_minor"]
    # Of one type: with a plain 0 these would be floats, which keep 53 of the bits.
    into["hits_lo"] = hits_lo if is_payment else np.uint64(0)
    into["hits_hi"] = hits_hi if is_payment else np.uint64(0)
    into["account"] = item["account"]
    into["card"] = item["card"]
    into["flags"] = item["flags"]
    into["rules_version"] = versions[0] if is_payment else 0
    into["model_version"] = versions[1] if is_payment else 0
    into["expiry_yymm"] = item["expiry_yymm"]
    into["status"] = item["atc"]
    into["reasons"] = 0
    into["kind"] = item["kind"]
    into["result"] = item["decision"]
    into["response"] = item["response"]
    into["currency"] = item["currency"]


@kernel
def _write_request(row: Row, into: Row) -> None:
    into["merchant"] = row["merchant"]
    into["terminal"] = row["terminal"]
    into["rrn_a"] = row["rrn_a"]
    into["rrn_b"] = row["rrn_b"]
    into["acquirer"] = row["acquirer"]
    into["stan"] = max(row["stan"], 0) % 1_000_000  # of twelve digits the last six
    into["transmitted"] = row["transmitted"]
    into["pcode"] = max(row["pcode"], 0)
    into["mcc"] = max(row["mcc"], 0)
    into["country"] = max(row["country"], 0)
    into["entry_mode"] = max(row["entry_mode"], 0)
    into["bin"] = row["bin"]


@kernel
def _write_no_request(into: Row) -> None:
    into["merchant"] = 0
    into["terminal"] = 0
    into["rrn_a"] = 0
    into["rrn_b"] = 0
    into["acquirer"] = -1
    into["stan"] = 0
    into["transmitted"] = 0
    into["pcode"] = 0
    into["mcc"] = 0
    into["country"] = 0
    into["entry_mode"] = 0
    into["bin"] = 0
