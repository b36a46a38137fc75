"""Fill the columns that rules read from a batch's payments, features and facts."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.rules.columns import BY_NAME, LOCAL
from engine.zone_kernels import offset_of
from ledger.jit import kernel
from ledger.record import SCORE_NONE, Flag
from scoring.features import EXTRAS, FEATURES, SHARED, SHARED_FEATURES
from scoring.payment import PaymentFlag

_SHARED_START = len(FEATURES)
_EXTRAS_START = _SHARED_START + len(SHARED) - SHARED_FEATURES
_MESSAGE_START = _EXTRAS_START + len(EXTRAS)
assert BY_NAME["merchant.attempts_10m"].index == _SHARED_START
assert BY_NAME["attempts_24h"].index == _EXTRAS_START
assert BY_NAME["amount_minor"].index == _MESSAGE_START
assert BY_NAME["account.held"].index == BY_NAME["account.limit"].index + 2

_AMOUNT = BY_NAME["amount"].index
_SECS_SINCE_LAST = BY_NAME["secs_since_last"].index
_AMOUNT_MINOR = BY_NAME["amount_minor"].index
_CURRENCY = BY_NAME["currency"].index
_COUNTRY = BY_NAME["country"].index
_MCC = BY_NAME["mcc"].index
_PCODE = BY_NAME["pcode"].index
_PRESENT = BY_NAME["present"].index
_WALLET = BY_NAME["wallet"].index
_TRAVEL_NOTICE = BY_NAME["flag.travel_notice"].index
_UNUSABLE = BY_NAME["flag.unusable"].index
_REPEAT = BY_NAME["flag.repeat"].index
_ADVICE = BY_NAME["flag.advice"].index
_CARD = BY_NAME["card"].index
_ACCOUNT = BY_NAME["account"].index
_CUSTOMER = BY_NAME["customer"].index
_PRODUCT = BY_NAME["product"].index
_BIN = BY_NAME["bin.number"].index
_SCORE = BY_NAME["score"].index
_TIME = BY_NAME["time"].index
_ACQUIRER = BY_NAME["acquirer"].index
_MERCHANT = BY_NAME["merchant"].index
_TERMINAL = BY_NAME["terminal"].index
_LIMIT = BY_NAME["account.limit"].index
_AVAILABLE = BY_NAME["account.available"].index
_HELD = BY_NAME["account.held"].index
_UNIX = BY_NAME["unix_s"].index
_HOUR = BY_NAME["local.hour"].index
_WEEKDAY = BY_NAME["local.weekday"].index
assert {column.index for column in LOCAL} == {_TIME, _HOUR, _WEEKDAY}
_DAY_S = 86_400
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday

# Seconds ahead of UTC, or the number of a zone, for cards without one; zones of cards, u16 by card;
# ZONE and TRANSITION of engine.zones.
Clock: TypeAlias = tuple[int, int, NDArray[np.uint16], NDArray[np.void], NDArray[np.void]]

_BIT_WALLET = int(PaymentFlag.WALLET)
_BIT_TRAVEL = int(PaymentFlag.TRAVEL_NOTICE)
_BIT_UNUSABLE = int(PaymentFlag.UNUSABLE)
_FACT_PRESENT = int(Flag.PRESENT)
_FACT_REPEAT = int(Flag.REPEAT)
_FACT_ADVICE = int(Flag.ADVICE)
_SCORE_MAX_BP = 10_000
assert SCORE_NONE > _SCORE_MAX_BP


@kernel
def fill_columns(
    payments: NDArray[np.void],
    idx: NDArray[np.int32],
    features: NDArray[np.float32],
    shared: NDArray[np.float32],
    extras: NDArray[np.float32],
    facts: NDArray[np.void],
    accounts: NDArray[np.void],
    clock: Clock,
    needed: NDArray[np.int16],
    values: NDArray[np.float64],
    keys: NDArray[np.uint64],
) -> None:
    """Fill the columns ``needed`` of the rows ``idx``; ``score`` becomes missing.

    Parameters
    ----------
    payments : PAYMENT[n]
    idx : i32[k]
        Rows to fill.
    features : f32[n, 38]
    shared : f32[n, 16]
    extras : f32[n, 2]
    facts : RULE_FACTS[n]
    accounts : ACCOUNT[:], as they stand before these payments
    clock : Clock
        How local times are found.
    needed : i16[c]
        Column indexes, as ``Deployed.needed``.
    values : f64[n, COLUMN_COUNT or more], out
        Columns that are not needed keep what they hold.
    keys : u64[n, the same], out
        The same memory, for columns of keys.
    """
    for column in needed:
        if column == _AMOUNT:
            for i in idx:
                scale = 1.0
                for _ in range(payments[i]["exponent"]):
                    scale *= 10.0
                # One correctly rounded division: equals the literal of the same digits.
                values[i, column] = payments[i]["amount_minor"] / scale
        elif column == _SECS_SINCE_LAST:
            for i in idx:
                seconds = np.float64(features[i, column])
                values[i, column] = seconds if seconds >= 0.0 else np.nan
        elif column < _SHARED_START:
            for i in idx:
                values[i, column] = features[i, column]
        elif column < _EXTRAS_START:
            for i in idx:
                values[i, column] = shared[i, column - _SHARED_START + SHARED_FEATURES]
        elif column < _MESSAGE_START:
            for i in idx:
                values[i, column] = extras[i, column - _EXTRAS_START]
        elif column == _MERCHANT:
            for i in idx:
                keys[i, column] = facts[i]["merchant"]
        elif column == _TERMINAL:
            for i in idx:
                keys[i, column] = facts[i]["terminal"]
        elif column in (_TIME, _HOUR, _WEEKDAY):
            for i in idx:
                values[i, column] = _local_value(
                    payments[i]["t_s"], facts[i]["card"], clock, column
                )
        elif column == _UNIX:
            for i in idx:
                values[i, column] = payments[i]["t_s"]
        elif _LIMIT <= column <= _HELD:
            for i in idx:
                account = accounts[facts[i]["account"]]
                values[i, column] = _account_value(payments[i], facts[i], account, column)
        else:
            for i in idx:
                values[i, column] = _message_value(payments[i], facts[i], column)


@kernel
def _local_value(t_s: int, card: int, clock: Clock, column: int) -> float:
    """Return time of the day (s), hour or weekday on the clocks where the card is at home."""
    ahead_s, zone, card_zones, zones, transitions = clock
    own = np.int64(card_zones[card]) if card < card_zones.shape[0] else np.int64(0)
    if own == 0 or own >= zones.shape[0]:  # a number of a later version is none
        own = np.int64(zone)
    if own > 0:
        ahead_s = offset_of(np.int64(t_s), own, zones, transitions)
    local_s = np.int64(t_s) + ahead_s
    if column == _WEEKDAY:
        return np.float64((local_s // _DAY_S + _EPOCH_WEEKDAY) % 7)
    if column == _HOUR:
        return np.float64(local_s % _DAY_S // 3_600)
    return np.float64(local_s % _DAY_S)


@kernel
def _account_value(payment: np.void, fact: np.void, account: np.void, column: int) -> float:
    """Return an amount of the account in major units; NaN without an account."""
    if fact["account"] == 0:
        return np.nan
    scale = 1.0
    for _ in range(payment["exponent"]):
        scale *= 10.0
    if column == _LIMIT:
        return account["limit_minor"] / scale
    if column == _AVAILABLE:
        return account["otb_minor"] / scale
    return account["hold_minor"] / scale


@kernel
def _message_value(payment: np.void, fact: np.void, column: int) -> float:
    """Return a column of the message; NaN where 0 says that it is not known."""
    number = np.int64(0)
    if column == _COUNTRY:
        number = np.int64(payment["country"])
    elif column == _CURRENCY:
        number = np.int64(fact["currency"])
    elif column == _MCC:
        number = np.int64(payment["mcc"])
    elif column == _CARD:
        number = np.int64(fact["card"])
    elif column == _ACCOUNT:
        number = np.int64(fact["account"])
    elif column == _CUSTOMER:
        number = np.int64(fact["customer"])
    elif column == _PRODUCT:
        number = np.int64(fact["product"])
    elif column == _BIN:
        number = np.int64(fact["bin"])
    elif column == _AMOUNT_MINOR:
        return np.float64(payment["amount_minor"])
    elif column == _PCODE:
        return np.float64(fact["pcode"])
    elif column == _ACQUIRER:
        return np.float64(fact["acquirer"]) if fact["acquirer"] >= 0 else np.nan
    elif column != _SCORE:
        return 1.0 if _flag(payment, fact, column) else 0.0
    return np.float64(number) if number != 0 else np.nan


@kernel
def _flag(payment: np.void, fact: np.void, column: int) -> bool:
    """Return a bit of the payment's or the record's flags."""
    if column == _WALLET:
        return payment["flags"] & _BIT_WALLET != 0
    if column == _TRAVEL_NOTICE:
        return payment["flags"] & _BIT_TRAVEL != 0
    if column == _UNUSABLE:
        return payment["flags"] & _BIT_UNUSABLE != 0
    if column == _PRESENT:
        return fact["flags"] & _FACT_PRESENT != 0
    if column == _REPEAT:
        return fact["flags"] & _FACT_REPEAT != 0
    return fact["flags"] & _FACT_ADVICE != 0


@kernel
def fill_score(
    score_bp: NDArray[np.uint16], idx: NDArray[np.int32], values: NDArray[np.float64]
) -> None:
    """Fill the score of the rows ``idx`` for the POST phase.

    Parameters
    ----------
    score_bp : u16[n]
        Probability x 10,000; over 10,000 (SCORE_NONE) = not scored.
    idx : i32[k]
        Rows to fill.
    values : f64[n, COLUMN_COUNT], out
        Column ``score``: 0 to 1, NaN where not scored.
    """
    for i in idx:
        bp = np.float64(score_bp[i])
        values[i, _SCORE] = bp / 10_000.0 if bp <= _SCORE_MAX_BP else np.nan
