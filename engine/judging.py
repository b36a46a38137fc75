"""What is decided about one message, given its account and what it is about; nothing moves here.

Requests may be declined; advices, completions and reversal advices report what is done and may not,
so they are posted and flagged. ``engine.posting`` moves what is decided.
"""

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.rules.tree import ActionKind
from engine.wire.profile import Profile
from ledger.accounts import has_headroom
from ledger.authorizations import State
from ledger.jit import Int, Row, kernel
from ledger.record import Flag, Kind

_RULE_DECLINE = int(ActionKind.DECLINE)
_RULE_STEP_UP = int(ActionKind.STEP_UP)
_PURCHASE = 0
# Places of the choices of engine.wire.profile.SWITCHES.
_PARTIAL_FLAG, _PARTIAL_ALWAYS = 1, 2
_BY_DE4 = 1
_REFUSE = 1


@kernel
def judge(
    item: Row,
    row: Row,
    verdict: Row,
    accounts: NDArray[np.void],
    ring: NDArray[np.void],
    profile: NDArray[np.int64],
) -> None:
    """Decide a message of role AUTHORIZE.

    Order of reasons: card and account, an earlier reversal, rules, then funds.
    """
    if verdict["review"] != 0:
        item["flags"] |= Flag.REVIEW
    if item["kind"] == Kind.ADVICE:
        _judge_advice(item, accounts[item["account"]], ring)
    elif item["decision"] != Decision.APPROVED:
        return
    elif item["flags"] & Flag.VOIDED:
        item["decision"] = Decision.VOIDED_BY_REVERSAL
    elif verdict["action"] == _RULE_DECLINE:
        item["decision"] = Decision.RULE_DECLINED
        item["response"] = verdict["response"]
    elif verdict["action"] == _RULE_STEP_UP:
        item["decision"] = Decision.STEP_UP
        item["flags"] |= Flag.STEP_UP
    elif item["kind"] == Kind.CHECK or item["flags"] & Flag.CREDIT:
        _judge_without_hold(item, accounts[item["account"]])
    elif item["amount_minor"] > accounts[item["account"]]["otb_minor"]:
        _approve_part(item, row, accounts[item["account"]]["otb_minor"], profile)


@kernel
def _judge_without_hold(item: Row, account: Row) -> None:
    """Zero amounts, inquiries and refund authorizations move nothing; a 0200 refund is given."""
    if item["kind"] != Kind.CHECK:
        item["kind"] = Kind.REFUND
        if not has_headroom(account, item["amount_minor"]):
            item["decision"] = Decision.CAPACITY
    elif item["flags"] & Flag.INQUIRY:
        item["decision"] = Decision.INQUIRED
    elif item["flags"] & Flag.CREDIT:
        item["decision"] = Decision.NOTED
    else:
        item["decision"] = Decision.CHECKED


@kernel
def _approve_part(item: Row, row: Row, otb_minor: Int, profile: NDArray[np.int64]) -> None:
    """Approve what is open to buy where profile, terminal and kind of payment allow it."""
    choice = profile[Profile.PARTIAL_APPROVAL]
    is_allowed = choice == _PARTIAL_ALWAYS or (choice == _PARTIAL_FLAG and row["partial"] == 1)
    item["decision"] = Decision.NOT_ENOUGH_FUNDS
    if (
        is_allowed
        and otb_minor > 0
        and item["kind"] != Kind.INCREMENT
        and row["pcode"] // 10_000 == _PURCHASE
        and item["amount_minor"] == item["requested_minor"]
        and item["currency"] == row["currency"]
    ):
        item["decision"] = Decision.PARTIALLY_APPROVED
        item["amount_minor"] = otb_minor
        if item["kind"] == Kind.AUTHORIZE:
            item["kind"] = Kind.PARTIAL


@kernel
def _judge_advice(item: Row, account: Row, ring: NDArray[np.void]) -> None:
    """0120: the hold becomes what was approved elsewhere; without an open one it is a new hold.

    Whether there is an open one was settled when the message was matched (FORCED).
    """
    if item["decision"] != Decision.APPROVED:
        return
    if item["flags"] & Flag.VOIDED:
        item["decision"] = Decision.ADVICE_UNPOSTED
        return
    held_minor = np.int64(0)
    if not item["flags"] & Flag.FORCED:
        held_minor = ring[item["original"] & (ring.shape[0] - 1)]["held_minor"]
    freed_minor = held_minor - item["amount_minor"]
    if not has_headroom(account, max(-freed_minor, 0)):
        item["decision"] = Decision.CAPACITY
        return
    if -freed_minor > account["otb_minor"]:
        item["flags"] |= Flag.OVER_LIMIT
    item["decision"] = Decision.ADVICE_RECORDED
    item["released_minor"] = freed_minor


@kernel
def judge_completion(
    item: Row, accounts: NDArray[np.void], ring: NDArray[np.void], profile: NDArray[np.int64]
) -> None:
    """0220: clears its authorization, or is posted by force; a refund is given.

    What cannot be posted is recorded as a CHECK, which moves nothing.
    """
    account = accounts[item["account"]]
    amount_minor = item["amount_minor"]
    if item["flags"] & Flag.VOIDED:
        item["decision"] = Decision.ADVICE_UNPOSTED
    elif item["decision"] == Decision.APPROVED and not has_headroom(account, amount_minor):
        item["decision"] = Decision.CAPACITY
    if item["decision"] != Decision.APPROVED:
        item["kind"] = Kind.CHECK
        return
    item["decision"] = Decision.ADVICE_RECORDED
    if item["flags"] & Flag.CREDIT:
        item["kind"] = Kind.REFUND
        return
    original = ring[item["original"] & (ring.shape[0] - 1)]
    state = original["state"]
    if item["original"] > 0 and (state == State.OPEN or state == State.CLOSING):
        held_minor = original["held_minor"]
        item["released_minor"] = held_minor
        item["kind"] = Kind.CLEARING
        if amount_minor > held_minor:
            item["kind"] = Kind.OVER_CAPTURE
            share = original["granted_minor"] // 100 * profile[Profile.COMPLETION_OVER_PERCENT]
            if amount_minor - held_minor > share:
                item["flags"] |= Flag.OVER_TOLERANCE
        elif profile[Profile.COMPLETION_KEEPS_REST]:
            item["kind"] = Kind.CLEARING_PART
            item["released_minor"] = amount_minor
    else:
        item["kind"] = Kind.FORCE_POST
        item["flags"] |= Flag.FORCED
        if item["original"] > 0 and (state == State.EXPIRED or state == State.REVERSED):
            item["flags"] |= Flag.LATE
    if amount_minor - min(item["released_minor"], amount_minor) > account["otb_minor"]:
        item["flags"] |= Flag.OVER_LIMIT


@kernel
def judge_reversal(
    item: Row,
    row: Row,
    accounts: NDArray[np.void],
    ring: NDArray[np.void],
    profile: NDArray[np.int64],
) -> None:
    """0400 and 0420: give back the hold, or what an increment added; refund what was cleared."""
    if item["named"] == 0:
        is_advice = item["flags"] & Flag.ADVICE
        item["decision"] = Decision.REVERSAL_RECORDED if is_advice else Decision.ORIGINAL_NOT_FOUND
        if is_advice:
            item["response"] = profile[Profile.ORPHAN_ADVICE]
        else:
            item["response"] = profile[Profile.ORPHAN_REQUEST]
        return
    mask = ring.shape[0] - 1
    named, root = ring[item["named"] & mask], ring[item["original"] & mask]
    if named["state"] == State.CLEARED:
        _judge_captured(item, row, named, accounts[item["account"]], profile)
        return
    is_open = root["state"] == State.OPEN or root["state"] == State.CLOSING
    is_root = item["named"] == item["original"]
    if not is_open or not (is_root or named["state"] == State.ADDED):
        item["decision"] = Decision.REVERSED_NOTHING
        return
    part_minor, most_minor = root["held_minor"], root["granted_minor"]
    if not is_root and named["kind"] == Kind.INCREMENT:
        part_minor, most_minor = min(named["amount_minor"], part_minor), named["amount_minor"]
    keep_minor = _kept_minor(item, row, named, most_minor, profile)
    if keep_minor > most_minor:
        item["decision"] = Decision.AMOUNT_INVALID
        return
    item["decision"] = Decision.REVERSED
    item["released_minor"] = max(part_minor - keep_minor, 0)


@kernel
def _kept_minor(
    item: Row, row: Row, named: Row, most_minor: Int, profile: NDArray[np.int64]
) -> Int:
    """Return what a reversal leaves of ``named``, in the account's currency: 0 = nothing.

    DE95 and DE4 are in the currency of the payment. Of one that the network billed in the
    account's, the same share of the billed amount stays, to the nearest minor unit. Anything over
    ``most_minor`` comes back as ``most_minor`` + 1.
    """
    keep_minor = np.int64(max(row["replacement_amount"], 0))
    asked_minor, billed_minor = np.int64(named["requested_minor"]), np.int64(named["amount_minor"])
    if profile[Profile.REVERSAL_AMOUNT] == _BY_DE4:
        keep_minor = np.int64(item["requested_minor"])
        if keep_minor == asked_minor or item["names_whole"] != 0:
            keep_minor = np.int64(0)
    is_part = named["result"] == Decision.PARTIALLY_APPROVED  # of one currency, but not as asked
    if is_part or asked_minor == billed_minor or asked_minor <= 0:
        return min(keep_minor, most_minor + 1)
    whole_minor, rest, unit = np.int64(0), np.int64(0), np.int64(1)
    while unit <= keep_minor // 10:
        unit *= 10
    while unit > 0:  # digit by digit: the product of two amounts is beyond 64 bits
        part = rest * 10 + keep_minor // unit % 10 * billed_minor
        whole_minor = whole_minor * 10 + part // asked_minor
        rest = part % asked_minor
        if whole_minor > most_minor:
            return most_minor + 1
        unit //= 10
    return min(whole_minor + (2 * rest >= asked_minor), most_minor + 1)


@kernel
def _judge_captured(
    item: Row,
    row: Row,
    named: Row,
    account: Row,
    profile: NDArray[np.int64],
) -> None:
    """The reversal of what was cleared is a refund of it, or of the part that is not to stay.

    Only what has not come back yet, by message or by file, is given back. Of a refund it is a
    posting by force.
    """
    left_minor = np.int64(named["cleared_minor"])
    if left_minor == 0:
        item["decision"] = Decision.REVERSED_NOTHING
        return
    if profile[Profile.CAPTURED_REVERSAL] == _REFUSE:
        item["decision"] = Decision.ALREADY_CAPTURED
        return
    most_minor = max(np.int64(named["amount_minor"]), left_minor)
    keep_minor = _kept_minor(item, row, named, most_minor, profile)
    if keep_minor > most_minor:
        item["decision"] = Decision.AMOUNT_INVALID
        return
    if keep_minor >= left_minor:
        item["decision"] = Decision.REVERSED_NOTHING
        return
    if not has_headroom(account, left_minor - keep_minor):
        item["decision"] = Decision.CAPACITY
        return
    item["amount_minor"] = left_minor - keep_minor
    item["currency"] = named["currency"]
    item["exponent"] = named["exponent"]
    item["kind"] = Kind.FORCE_POST if named["kind"] == Kind.REFUND else Kind.REFUND
    item["flags"] |= Flag.REVERSES
    item["decision"] = Decision.CAPTURE_REFUNDED
