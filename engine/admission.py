"""First look at each request: what it asks, whose card it names, what that card may do.

Rows do not depend on each other here, except that engine time never falls. Everything that depends
on what came before (sessions, repeats, originals, holds) is in ``engine.matching``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.almanac import SECONDS_A_DAY, seconds_of_transmission, year_and_month
from engine.cards import CardFlag, CardStatus
from engine.decision import Decision
from engine.entry import CONDITION_CNP, CONDITION_ECOMMERCE
from engine.items import Role, Setting
from engine.siphash import siphash128_words
from engine.wire.columns import Fault, Told
from engine.wire.profile import Profile
from ledger.accounts import AccountStatus
from ledger.authorizations import Cursor
from ledger.index import index_fetch, index_find
from ledger.jit import Int, Row, hot_kernel, kernel, prefetch
from ledger.record import Flag, Kind
from scoring.payment import Entry

_APPROVED = int(Decision.APPROVED)
_PURCHASE, _CASH, _CASHBACK, _REFUND = 0, 1, 9, 20  # first two digits of DE3
_JUMP_S_MAX = 2 * SECONDS_A_DAY  # in message time, one odd DE7 must not carry the engine away
# First word of what is hashed, so that the kinds never meet.
_HASH_IDENTITY, _HASH_RRN, _HASH_LOCAL, _HASH_LIFECYCLE = 1, 2, 3, 4
_STANS = 1_000_000
_USUAL_KEY, _MERCHANT_BIT, _RRN_BIT = 31, 32, 64  # bits in order of engine.wire.checks.KEY_PARTS
_NS = 1_000_000_000
_ACQUIRER_REPEAT, _OTHER_REPEAT = 1, 5  # origins, the last digit of an MTI; from 6 on reserved
HASH_WORDS = 9  # room for what an identity is hashed from
_AHEAD = 8  # rows for which a look-up is asked before it is needed


@kernel
def admit(
    request: NDArray[np.void],
    count: Int,
    links: NDArray[np.void],
    tokens: NDArray[np.uint64],
    card_slots: NDArray[np.void],
    cards: NDArray[np.void],
    accounts: NDArray[np.void],
    tables: Any,
    settings: NDArray[np.int64],
    profiles: NDArray[np.int64],
    cursor: NDArray[np.int64],
    items: NDArray[np.void],
) -> None:
    """Fill ``items[0:count]`` from ``request[0:count]``.

    Parameters
    ----------
    request : REQUEST (rows,), links : LINK (segments,), tokens : u64 (rows, 2), keyed PAN tokens.
    card_slots : slots of the token index; cards : CARD; accounts : ACCOUNT.
    tables : tuple of hash_key u64 (2,), exponents u8 (1000,), ENTRY_BY_MODE, CONDITION_BITS, life
        of holds in hours i64 (2, 10000) by card absent and merchant category, and scratch u64 (9,).
    settings : i64, see ``Setting``; profiles : i64 (dialects, P), see ``Profile``.
    cursor : i64, see ``Cursor`` (engine time moves on).
    items : ITEM (rows or more,), out.
    """
    hash_key, exponents, entry_by_mode, condition_bits, life_h, words = tables
    _find_cards(request, count, tokens, card_slots, cards, accounts, items)
    month_day, month_yymm = -1, 0
    for i in range(count):
        row = request[i]
        item = items[i]
        ts_ns = _engine_time(row, links[row["segment"]], settings, cursor)
        item["ts_ns"] = ts_ns
        _route(row, item)
        if item["role"] == Role.SILENT or item["role"] == Role.ANSWER:
            continue
        _identify(row, item, hash_key, words)
        item["amount_minor"] = row["amount"]
        item["requested_minor"] = row["amount"]
        item["currency"] = max(row["currency"], 0)
        item["expiry_yymm"] = max(row["expiry_yymm"], 0)
        _note_presence(row, item, entry_by_mode, condition_bits)
        if item["role"] != Role.REVERSE:
            item["mcc"] = max(row["mcc"], 0)
            category = min(item["mcc"], life_h.shape[1] - 1)
            item["hold_life_h"] = life_h[1 if item["flags"] & Flag.CNP else 0, category]
            if item["flags"] & Flag.ADVICE:
                _advise(row, item, accounts)
                item["exponent"] = min(exponents[min(item["currency"], 999)], 4)
                continue
            day = ts_ns // _NS // SECONDS_A_DAY
            if day != month_day:
                year, month = year_and_month(day)
                month_day, month_yymm = day, year % 100 * 100 + month
            profile = profiles[row["dialect"]]
            item["decision"] = _static_decision(row, item, cards, accounts, month_yymm, profile)
            if row["amount"] == 0:
                item["kind"] = Kind.CHECK
        item["exponent"] = min(exponents[min(item["currency"], 999)], 4)


@kernel
def _find_cards(
    request: NDArray[np.void],
    count: Int,
    tokens: NDArray[np.uint64],
    card_slots: NDArray[np.void],
    cards: NDArray[np.void],
    accounts: NDArray[np.void],
    items: NDArray[np.void],
) -> None:
    """Blank the items, then find card and account of each.

    Each look-up is asked for some rows ahead: they miss the caches, and so their misses overlap.
    """
    for i in range(min(_AHEAD, count)):
        index_fetch(card_slots, tokens[i, 0])
    for i in range(count):
        if i + _AHEAD < count:
            index_fetch(card_slots, tokens[i + _AHEAD, 0])
        _blank(items[i], i)
        if request[i]["pan_length"] > 0:
            items[i]["card"] = max(index_find(card_slots, tokens[i, 0], tokens[i, 1]), 0)
            prefetch(cards, np.int64(items[i]["card"]))
        if i >= _AHEAD:
            _find_account(items[i - _AHEAD], cards, accounts)
    for i in range(max(count - _AHEAD, 0), count):
        _find_account(items[i], cards, accounts)


@hot_kernel
def _find_account(item: Row, cards: NDArray[np.void], accounts: NDArray[np.void]) -> None:
    """Follow the card to its account; a card that nothing has issued is no card."""
    card = cards[item["card"]]
    if card["status"] == CardStatus.NONE:
        item["card"] = 0
    item["account"] = card["account"] if item["card"] != 0 else 0
    prefetch(accounts, np.int64(item["account"]))


@hot_kernel
def _blank(item: Row, i: Int) -> None:
    item["rrn_hi"] = 0
    item["rrn_lo"] = 0
    item["life_hi"] = 0
    item["life_lo"] = 0
    item["original_hi"] = 0
    item["original_lo"] = 0
    item["id_hi"] = 0
    item["id_lo"] = 0
    item["entry"] = 0
    item["original"] = 0
    item["named"] = 0
    item["amount_minor"] = 0
    item["requested_minor"] = 0
    item["released_minor"] = 0
    item["otb_after_minor"] = 0
    item["hold_after_minor"] = 0
    item["request"] = i
    item["record"] = -1
    item["wave"] = -1
    item["account"] = 0
    item["card"] = 0
    item["merchant"] = 0
    item["flags"] = 0
    item["kind"] = 0
    item["decision"] = _APPROVED
    item["response"] = 0
    item["currency"] = 0
    item["expiry_yymm"] = 0
    item["hold_life_h"] = 0
    item["atc"] = 0
    item["mcc"] = 0
    item["exponent"] = 2
    item["entry_class"] = 0
    item["by_local"] = 0
    item["names_whole"] = 0


@hot_kernel
def _engine_time(
    row: Row, link: Row, settings: NDArray[np.int64], cursor: NDArray[np.int64]
) -> Int:
    now_ns: Int = cursor[Cursor.LAST_TS_NS]
    arrival_ns = np.int64(link["arrival_ns"])
    if settings[Setting.CLOCK_FROM_MESSAGES] != 0:
        arrival_ns = now_ns
        if row["transmitted"] != 0 and row["fault"] == Fault.NONE:
            seconds = seconds_of_transmission(np.int64(row["transmitted"]), now_ns // _NS)
            if seconds * _NS > now_ns and seconds - now_ns // _NS <= _JUMP_S_MAX:
                arrival_ns = seconds * _NS
    if arrival_ns > now_ns:
        cursor[Cursor.LAST_TS_NS] = arrival_ns
        now_ns = arrival_ns
    return now_ns


@hot_kernel
def _route(row: Row, item: Row) -> None:
    """Set role, and decision where the answer needs nothing else.

    The last digit of a type is its origin: payments come from an acquirer, network messages from
    anybody that the standard knows.
    """
    mti = row["mti"]
    item["role"] = Role.SILENT
    is_request = mti >= 0 and mti // 10 % 2 == 0
    origin = mti % 10
    asked = mti // 10 if origin <= _ACQUIRER_REPEAT else -1
    if row["fault"] != Fault.NONE:
        if is_request and row["stan"] >= 0:
            item["role"] = Role.ANSWER
            item["decision"] = Decision.FORMAT_ERROR
    elif asked == 10:
        item["role"] = Role.AUTHORIZE
        item["kind"] = Kind.AUTHORIZE
    elif asked == 20:
        item["role"] = Role.AUTHORIZE
        item["kind"] = Kind.FINANCIAL
    elif asked == 12:
        item["role"] = Role.AUTHORIZE
        item["kind"] = Kind.ADVICE
    elif asked == 22:
        item["role"] = Role.ADVISE
        item["kind"] = Kind.FORCE_POST
    elif asked in (40, 42):
        item["role"] = Role.REVERSE
        item["kind"] = Kind.REVERSAL
    elif is_request:
        item["role"] = Role.ANSWER
        item["decision"] = Decision.MESSAGE_NOT_SERVED
        is_network = mti // 10 in (80, 82) and origin <= _OTHER_REPEAT
        if is_network and row["network_code"] in (1, 2, 201, 301):
            item["decision"] = Decision.NETWORK_OK
    if mti % 10 % 2 == 1:
        item["flags"] |= Flag.REPEAT
    if mti // 10 % 10 == 2:
        item["flags"] |= Flag.ADVICE


@hot_kernel
def _identify(row: Row, item: Row, hash_key: NDArray[np.uint64], words: NDArray[np.uint64]) -> None:
    """Hash who sent which message when: the identity that repeats and originals are found by.

    The class of the message is part of it: a reversal normally reuses its original's STAN.
    """
    acquirer = max(row["acquirer"], 0)
    forwarder = max(row["forwarder"], 0)
    item["id_hi"], item["id_lo"] = _identity(
        hash_key,
        words,
        np.int64(row["mti"]),
        acquirer,
        forwarder,
        np.int64(row["transmitted"]),
        np.int64(row["stan"]),
        row,
    )
    if item["role"] == Role.REVERSE or item["flags"] & Flag.ADVICE:
        _identify_original(row, item, hash_key, words)
    item["by_local"] = row["rrn_a"] == 0
    item["rrn_hi"], item["rrn_lo"] = rrn_identity(
        hash_key, row["rrn_a"], row["rrn_b"], row["terminal"], row["acquirer"], row["stan"], words
    )
    if row["lifecycle"] > 0:
        item["life_hi"], item["life_lo"] = lifecycle_identity(hash_key, row["lifecycle"], words)


@kernel
def lifecycle_identity(
    hash_key: NDArray[np.uint64], lifecycle: Int, words: NDArray[np.uint64]
) -> tuple[Int, Int]:
    """Return the 128-bit keyed hash of a network's lifecycle id, a number above 0.

    The network is not part of it: the card that must agree has one. ``words`` u64 (2 or more,) is
    scratch.
    """
    words[0] = _HASH_LIFECYCLE
    words[1] = lifecycle
    return siphash128_words(hash_key[0], hash_key[1], words, 2)


@hot_kernel
def rrn_identity(
    hash_key: NDArray[np.uint64],
    rrn_a: Int,
    rrn_b: Int,
    terminal: Int,
    acquirer: Int,
    stan: Int,
    words: NDArray[np.uint64],
) -> tuple[Int, Int]:
    """Return the 128-bit keyed hash of RRN, terminal and acquirer.

    Without an RRN of STAN, terminal and acquirer, which a terminal has once a day; (0, 0) without
    either. ``stan`` -1 = none; ``words`` u64 (5 or more,) is scratch.
    """
    if rrn_a == 0:
        if terminal == 0 or stan < 0:
            return np.uint64(0), np.uint64(0)
        words[0] = _HASH_LOCAL
        words[1] = max(acquirer, 0)
        words[2] = terminal
        words[3] = np.int64(stan) % _STANS  # as a record keeps it
        return siphash128_words(hash_key[0], hash_key[1], words, 4)
    words[0] = _HASH_RRN
    words[1] = max(acquirer, 0)
    words[2] = terminal
    words[3] = rrn_a
    words[4] = rrn_b
    return siphash128_words(hash_key[0], hash_key[1], words, 5)


@kernel
def _identify_original(
    row: Row, item: Row, hash_key: NDArray[np.uint64], words: NDArray[np.uint64]
) -> None:
    """Take the original's identity from DE90, else from the STAN and DE7 that reversals reuse."""
    acquirer = max(row["acquirer"], 0)
    forwarder = max(row["forwarder"], 0)
    mti, transmitted, stan = np.int64(100), np.int64(row["transmitted"]), np.int64(row["stan"])
    if row["original_mti"] >= 0:
        mti = np.int64(row["original_mti"])
        transmitted = np.int64(row["original_transmitted"])
        stan = np.int64(row["original_stan"])
        if row["original_acquirer"] > 0:
            acquirer = row["original_acquirer"]
        if row["original_forwarder"] > 0:
            forwarder = row["original_forwarder"]
    item["original_hi"], item["original_lo"] = _identity(
        hash_key, words, mti, acquirer, forwarder, transmitted, stan, row
    )


@hot_kernel
def _identity(
    hash_key: NDArray[np.uint64],
    words: NDArray[np.uint64],
    mti: Int,
    acquirer: Int,
    forwarder: Int,
    transmitted: Int,
    stan: Int,
    row: Row,
) -> tuple[Int, Int]:
    """Hash what the dialect says makes two messages one; terminal and the rest are the row's."""
    words[0] = _HASH_IDENTITY + mti // 10 * 16
    words[1] = acquirer
    words[2] = forwarder
    words[3] = transmitted
    words[4] = stan
    words[5] = row["terminal"]
    bits = np.int64(row["key_bits"])
    if bits == _USUAL_KEY:
        return siphash128_words(hash_key[0], hash_key[1], words, 6)
    for part in range(5):
        if bits >> part & 1 == 0:
            words[1 + part] = 0
    words[6] = row["merchant"] if bits & _MERCHANT_BIT else np.uint64(0)
    words[7] = row["rrn_a"] if bits & _RRN_BIT else np.uint64(0)
    words[8] = np.uint64(row["rrn_b"]) if bits & _RRN_BIT else np.uint64(0)
    return siphash128_words(hash_key[0], hash_key[1], words, 9)


@hot_kernel
def _note_presence(row: Row, item: Row, entry_by_mode: Any, condition_bits: Any) -> None:
    """Say how the card was read and whether it was there; the rule is ``engine.entry``'s."""
    entry = Entry.UNKNOWN + 0
    if 0 <= row["entry_mode"] < entry_by_mode.shape[0]:
        entry = entry_by_mode[row["entry_mode"]] + 0
    bits = 0
    if 0 <= row["condition"] < condition_bits.shape[0]:
        bits = condition_bits[row["condition"]] + 0
    if bits & CONDITION_ECOMMERCE and (entry == Entry.KEYED or entry == Entry.UNKNOWN):
        entry = Entry.ECOMMERCE + 0
    item["entry_class"] = entry
    if entry in (Entry.KEYED, Entry.ECOMMERCE, Entry.ON_FILE) or bits & CONDITION_CNP:
        item["flags"] |= Flag.CNP
    elif entry != Entry.UNKNOWN:
        item["flags"] |= Flag.PRESENT


@hot_kernel
def _static_decision(
    row: Row,
    item: Row,
    cards: NDArray[np.void],
    accounts: NDArray[np.void],
    now_yymm: Int,
    profile: NDArray[np.int64],
) -> Int:
    """Return the decline that the card, the account or the request forces, or APPROVED (so far).

    Sets UNUSABLE when the attempt names no usable card: merchant and BIN counters read it.
    """
    if item["card"] == 0:
        item["flags"] |= Flag.UNUSABLE
        return Decision.UNKNOWN_CARD if row["luhn"] == 1 else Decision.BAD_CHECK_DIGIT
    card = cards[item["card"]]
    account = accounts[item["account"]]
    _bill(row, item, account)
    if card["flags"] & CardFlag.TRAVEL_NOTICE:
        item["flags"] |= Flag.TRAVEL_NOTICE
    decision = _card_decision(card, item["expiry_yymm"], now_yymm)
    if decision != _APPROVED:
        item["flags"] |= Flag.UNUSABLE
        return decision
    if account["status"] != AccountStatus.ACTIVE:
        return Decision.ACCOUNT_BLOCKED
    first_pair = row["pcode"] // 10_000
    if (
        first_pair == profile[Profile.INQUIRY_BALANCE]
        or first_pair == profile[Profile.INQUIRY_STATEMENT]
    ):
        item["flags"] |= Flag.INQUIRY
        item["kind"] = Kind.CHECK
        return _APPROVED
    if row["amount"] == 0:
        return _APPROVED
    if first_pair == _REFUND:
        item["flags"] |= Flag.CREDIT
        if item["kind"] == Kind.AUTHORIZE:
            item["kind"] = Kind.CHECK
    elif first_pair not in (_PURCHASE, _CASH, _CASHBACK):
        return Decision.TRANSACTION_NOT_SERVED
    if item["currency"] != account["currency"]:
        return Decision.CURRENCY_NOT_SERVED
    return _APPROVED


@kernel
def _advise(row: Row, item: Row, accounts: NDArray[np.void]) -> None:
    """An advice cannot be declined: without an account, or in another currency, it is not posted.

    It then touches no account at all. Status and expiry of the card are not asked. One that reports
    a decline (DE39) moves no money to the merchant: a 0120 is one of nothing, a 0220 posts nothing.
    """
    if item["card"] == 0:
        item["flags"] |= Flag.UNUSABLE
        item["decision"] = Decision.ADVICE_UNPOSTED
        return
    _bill(row, item, accounts[item["account"]])
    if row["pcode"] // 10_000 == _REFUND:
        item["flags"] |= Flag.CREDIT
    if item["currency"] != accounts[item["account"]]["currency"]:
        item["decision"] = Decision.ADVICE_UNPOSTED
        item["account"] = 0
    elif row["told"] == Told.DECLINED and item["kind"] == Kind.ADVICE:
        item["amount_minor"] = 0  # so an open hold ends, and no new one begins
    elif row["told"] == Told.DECLINED:
        item["decision"] = Decision.ADVICE_UNPOSTED


@kernel
def _card_decision(card: Row, expiry_yymm: Int, now_yymm: Int) -> Int:
    if card["status"] == CardStatus.LOST:
        return Decision.CARD_LOST
    if card["status"] == CardStatus.STOLEN:
        return Decision.CARD_STOLEN
    if card["status"] != CardStatus.ACTIVE:
        return Decision.CARD_BLOCKED
    if card["expiry_yymm"] < now_yymm:
        return Decision.EXPIRED
    if expiry_yymm != 0 and expiry_yymm != card["expiry_yymm"]:
        return Decision.EXPIRY_MISMATCH
    return _APPROVED


@hot_kernel
def _bill(row: Row, item: Row, account: Row) -> None:
    """Take DE6 for DE4 when the network has billed it in the account's currency.

    Before any reason to decline is looked at, so that a repeat is known again whatever has become
    of card and account since.
    """
    if item["currency"] == account["currency"] or row["amount"] == 0:
        return
    if row["billing_currency"] == account["currency"] and row["billing_amount"] > 0:
        item["amount_minor"] = row["billing_amount"]
        item["currency"] = account["currency"]
