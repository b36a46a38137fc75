"""The decision itself: limits, holds, releases; then the ledger record of each item.

``decide`` works one wave: every account occurs at most once in it, so the order inside a wave does
not matter, and waves follow each other in order of arrival. ``apply_outcome`` is also what a
restart does with a record: live state and replayed state are made by the same lines.
"""

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.items import Role
from engine.rules.tree import ActionKind
from ledger.accounts import give_back, take
from ledger.authorizations import Cursor, State
from ledger.deadlines import Wheel, unschedule
from ledger.jit import Int, Row, kernel
from ledger.record import Flag, Kind

_RULE_DECLINE = int(ActionKind.DECLINE)
_RULE_STEP_UP = int(ActionKind.STEP_UP)


@kernel
def decide(
    order: NDArray[np.int32],
    items: NDArray[np.void],
    request: NDArray[np.void],
    verdicts: NDArray[np.void],
    accounts: NDArray[np.void],
    ring: NDArray[np.void],
    wheel: Wheel,
    codes: NDArray[np.uint16],
    approved: NDArray[np.uint8],
) -> None:
    """Decide and post the items ``order`` of one wave.

    Parameters
    ----------
    order : i32 (k,), rows of items; items : ITEM, in and out; request : REQUEST.
    verdicts : VERDICT by item row; accounts : ACCOUNT; ring, wheel : in and out.
    approved : u8 by item row, out: 1 = the payment counts as spending.
    """
    for k in range(order.shape[0]):
        i = order[k]
        item = items[i]
        if item["role"] == Role.AUTHORIZE:
            otb_minor = np.int64(0)
            if item["account"] != 0:
                otb_minor = accounts[item["account"]]["otb_minor"]
            _judge(item, verdicts[i], otb_minor)
            is_approved = item["decision"] == Decision.APPROVED
            approved[i] = 1 if is_approved else 0
        elif item["role"] == Role.REVERSE:
            _judge_reversal(item, request[item["request"]], ring)
        elif item["role"] == Role.EXPIRE:
            item["released_minor"] = ring[item["original"] & (ring.shape[0] - 1)]["held_minor"]
        else:
            continue
        if item["response"] == 0 and item["request"] >= 0:
            item["response"] = codes[request[item["request"]]["dialect"], item["decision"]]
        apply_outcome(item, accounts, ring, wheel)


@kernel
def _judge(item: Row, verdict: Row, otb_minor: Int) -> None:
    """Order of reasons: card and account, an earlier reversal, rules, then funds."""
    if verdict["review"] != 0:
        item["flags"] |= Flag.REVIEW
    if item["decision"] != Decision.APPROVED:
        return
    if item["flags"] & Flag.VOIDED:
        item["decision"] = Decision.VOIDED_BY_REVERSAL
    elif verdict["action"] == _RULE_DECLINE:
        item["decision"] = Decision.RULE_DECLINED
        item["response"] = verdict["response"]
    elif verdict["action"] == _RULE_STEP_UP:
        item["decision"] = Decision.STEP_UP
        item["flags"] |= Flag.STEP_UP
    elif item["kind"] == Kind.CHECK:
        item["decision"] = Decision.CHECKED
    elif item["amount_minor"] > otb_minor:
        item["decision"] = Decision.NOT_ENOUGH_FUNDS


@kernel
def _judge_reversal(item: Row, row: Row, ring: NDArray[np.void]) -> None:
    if item["original"] == 0:
        is_advice = item["flags"] & Flag.ADVICE
        item["decision"] = Decision.REVERSAL_RECORDED if is_advice else Decision.ORIGINAL_NOT_FOUND
        return
    original = ring[item["original"] & (ring.shape[0] - 1)]
    if original["state"] != State.OPEN and original["state"] != State.CLOSING:
        item["decision"] = Decision.REVERSED_NOTHING
        return
    keep_minor = max(row["replacement_amount"], 0)
    if keep_minor > original["amount_minor"]:
        item["decision"] = Decision.AMOUNT_INVALID
        return
    item["decision"] = Decision.REVERSED
    item["released_minor"] = max(original["held_minor"] - keep_minor, 0)


@kernel
def apply_outcome(
    item: Row, accounts: NDArray[np.void], ring: NDArray[np.void], wheel: Wheel
) -> None:
    """Move the money and the states that the item's kind and decision imply."""
    mask = ring.shape[0] - 1
    own = ring[item["entry"] & mask]  # slot 0 of an expiry: not written below
    if item["kind"] == Kind.AUTHORIZE or item["kind"] == Kind.CHECK:
        own["state"] = State.DECLINED
        if item["decision"] == Decision.APPROVED:
            take(accounts[item["account"]], item["amount_minor"])
            own["held_minor"] = item["amount_minor"]
            own["state"] = State.OPEN
        else:
            unschedule(item["entry"], ring, wheel)
            if item["decision"] == Decision.CHECKED:
                own["state"] = State.CHECKED
    else:
        if item["original"] != 0:
            _release(item, accounts, ring, wheel)
        if item["kind"] == Kind.REVERSAL:
            own["state"] = State.REVERSAL
            own["account"] = item["account"]
            own["card"] = item["card"]
    if item["entry"] != 0:
        own["result"] = item["decision"]
        own["response"] = item["response"]
    if item["account"] != 0:
        item["otb_after_minor"] = accounts[item["account"]]["otb_minor"]
        item["hold_after_minor"] = accounts[item["account"]]["hold_minor"]


@kernel
def _release(item: Row, accounts: NDArray[np.void], ring: NDArray[np.void], wheel: Wheel) -> None:
    """Give back what a reversal or an expiry releases of its original's hold."""
    original = ring[item["original"] & (ring.shape[0] - 1)]
    if original["state"] == State.CLOSING:
        original["state"] = State.OPEN
    if item["released_minor"] <= 0:
        return
    give_back(accounts[item["account"]], item["released_minor"])
    original["held_minor"] -= item["released_minor"]
    if original["held_minor"] == 0:
        is_expiry = item["kind"] == Kind.EXPIRE
        original["state"] = State.EXPIRED if is_expiry else State.REVERSED
        unschedule(item["original"], ring, wheel)


@kernel
def write_records(
    item_count: Int,
    items: NDArray[np.void],
    request: NDArray[np.void],
    hits: NDArray[np.uint64],
    scores: NDArray[np.uint16],
    verdicts: NDArray[np.void],
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
    verdicts : VERDICT by item row: a refusing rule goes into the record, place + 1 as ``status``.
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
        if item["decision"] in (Decision.RULE_DECLINED, Decision.STEP_UP):
            into["status"] = verdicts[i]["rule"] + 1
        into["ref_seq"] = ring[item["original"] & mask]["seq"] if item["original"] > 0 else 0
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
    into["amount2_minor"] = item["requested_minor"] if is_payment else item["released_minor"]
    into["otb_after_minor"] = item["otb_after_minor"]
    into["hold_after_minor"] = item["hold_after_minor"]
    into["hits_lo"] = hits_lo if is_payment else 0
    into["hits_hi"] = hits_hi if is_payment else 0
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
