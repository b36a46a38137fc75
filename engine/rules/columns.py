"""What a rule can read: name, position, type, unit and meaning of every column.

A batch is an array values f64[n, VALUE_COUNT]; ``column_kernels`` fills the first COLUMN_COUNT, and
``sum_kernels`` what a rule set computes from them behind. What is not known is NaN, and every
comparison with NaN is false. Merchant and terminal are 64-bit keys: their bits stand in the array
as they are, 0 = missing, and they are compared for equality only. The order is features, shared
counters, facts of the card, then the message; it is internal, rules name columns.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from scoring.features import EXTRAS, FEATURES, SHARED


class ColumnType(Enum):
    """What a column holds; decides which constants and comparisons are valid."""

    NUMBER = "number"
    AMOUNT = "amount"  # major units
    DURATION = "duration"  # seconds
    TIME = "time"  # of the day, seconds after midnight
    BOOL = "bool"
    COUNTRY = "country"
    ENTRY = "entry"
    MCC = "mcc"
    BIN = "bin"
    CURRENCY = "currency"
    CARD = "card"
    ACCOUNT = "account"
    MERCHANT = "merchant"  # 64-bit key
    TERMINAL = "terminal"  # 64-bit key


KEYED = frozenset({ColumnType.MERCHANT, ColumnType.TERMINAL})
ORDERED = frozenset(
    {
        ColumnType.NUMBER,
        ColumnType.AMOUNT,
        ColumnType.DURATION,
        ColumnType.TIME,
        ColumnType.MCC,
        ColumnType.BIN,
    }
)
COUNTED = frozenset({ColumnType.NUMBER, ColumnType.AMOUNT, ColumnType.DURATION})  # take arithmetic


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``is_single``: filled from a float32, so constants are rounded to float32 too."""

    name: str
    index: int
    type: ColumnType
    unit: str
    meaning: str
    is_single: bool


RULE_FACTS = np.dtype(
    [
        ("merchant", "<u8"),  # keyed hash as in the ledger record; 0 = none
        ("terminal", "<u8"),  # DE41, its 8 bytes; 0 = none
        ("acquirer", "<i8"),  # DE32; -1 = none
        ("card", "<u4"),  # internal number as in the ledger record; 0 = none
        ("account", "<u4"),  # internal number; 0 = none
        ("customer", "<u4"),  # internal number; 0 = none
        ("pcode", "<u4"),  # DE3
        ("flags", "<u4"),  # bits of ledger.record.Flag: PRESENT, REPEAT and ADVICE are read
        ("bin", "<u4"),  # first six digits of the card number tried; 0 = none
        ("currency", "<u2"),  # ISO 4217 number; 0 = unknown
        ("product", "<u2"),  # product number of the account; 0 = none
        ("spare", "<u4"),
    ]
)
assert RULE_FACTS.itemsize == 56

_RULE_NAMES = {
    "small_1h": "card.small_1h",
    "declines_1h": "card.declines_1h",
    "merchant_n_15d": "merchant.n_15d",
    "merchant_risk_1d": "merchant.risk_1d",
    "merchant_risk_15d": "merchant.risk_15d",
    "merchant_attempts_10m": "merchant.attempts_10m",
    "merchant_attempts_1d": "merchant.attempts_1d",
    "merchant_small_share": "merchant.small_share",
    "merchant_unusable_share": "merchant.unusable_share",
    "merchant_cards": "merchant.cards",
    "bin_attempts_10m": "bin.attempts_10m",
    "bin_decline_share": "bin.decline_share",
    "mcc_risk": "mcc.risk",
    "merchant_old_1d": "merchant.old_1d",
    "merchant_old_84h": "merchant.old_84h",
    "merchant_old_15d": "merchant.old_15d",
    "merchant_fraud_1d": "merchant.fraud_1d",
    "merchant_fraud_84h": "merchant.fraud_84h",
    "merchant_fraud_15d": "merchant.fraud_15d",
}
_TYPES = {
    "amount": ColumnType.AMOUNT,
    "mean_10m": ColumnType.AMOUNT,
    "mean_1h": ColumnType.AMOUNT,
    "mean_12h": ColumnType.AMOUNT,
    "mean_15d": ColumnType.AMOUNT,
    "secs_since_last": ColumnType.DURATION,
    "amount_most": ColumnType.AMOUNT,
    "night": ColumnType.BOOL,
    "cnp": ColumnType.BOOL,
    "country_change": ColumnType.BOOL,
    "new_merchant": ColumnType.BOOL,
    "entry": ColumnType.ENTRY,
}
_MEANINGS = {"secs_since_last": "since the card's last approved payment; missing when none"}
_MESSAGE = (
    ("amount_minor", ColumnType.NUMBER, "minor units", "amount of this payment as sent"),
    ("currency", ColumnType.CURRENCY, "ISO 4217", "currency of the amount; missing when unknown"),
    ("country", ColumnType.COUNTRY, "ISO 3166-1", "of the acceptor; missing when unknown"),
    ("mcc", ColumnType.MCC, "ISO 18245", "merchant category code; missing when unknown"),
    ("pcode", ColumnType.NUMBER, "DE3", "processing code as a number: 000000 is 0"),
    ("present", ColumnType.BOOL, "0/1", "card present at the acceptor"),
    ("wallet", ColumnType.BOOL, "0/1", "paid by a device wallet"),
    ("flag.travel_notice", ColumnType.BOOL, "0/1", "the cardholder announced a journey"),
    ("flag.unusable", ColumnType.BOOL, "0/1", "no card, wrong expiry or a blocked card"),
    ("flag.repeat", ColumnType.BOOL, "0/1", "came as a repeat of an earlier request"),
    ("flag.advice", ColumnType.BOOL, "0/1", "reports a payment that was decided elsewhere"),
    ("card", ColumnType.CARD, "internal number", "the card; missing when none"),
    ("account", ColumnType.ACCOUNT, "internal number", "the account; missing when none"),
    ("customer", ColumnType.NUMBER, "internal number", "the customer; missing when none"),
    ("product", ColumnType.NUMBER, "product number", "of the account; missing when none"),
    ("bin.number", ColumnType.BIN, "six digits", "first digits of the card number tried"),
    ("score", ColumnType.NUMBER, "0-1", "fraud score; post rules only; missing without a scorer"),
    ("time", ColumnType.TIME, "hh:mm", "time of the day in the card's zone"),
    ("acquirer", ColumnType.NUMBER, "DE32", "who sent the request; missing when not said"),
    ("merchant", ColumnType.MERCHANT, "key", "acquirer and card acceptor (DE32, DE42)"),
    ("terminal", ColumnType.TERMINAL, "DE41", "the terminal; missing when not said"),
    ("account.limit", ColumnType.AMOUNT, "major units", "credit limit; missing without account"),
    ("account.available", ColumnType.AMOUNT, "major units", "open to buy before this payment"),
    ("account.held", ColumnType.AMOUNT, "major units", "on hold before this payment"),
    ("unix_s", ColumnType.NUMBER, "s", "engine time of the payment, seconds since 1970 UTC"),
    ("local.hour", ColumnType.NUMBER, "0-23", "hour of the day in the card's zone"),
    ("local.weekday", ColumnType.NUMBER, "0-6", "day of the week there, Monday = 0"),
)


def _columns() -> tuple[Column, ...]:
    known = {feature.name for feature in FEATURES}
    scored = (*FEATURES, *(f for f in SHARED if f.name not in known), *EXTRAS)
    columns = [
        Column(
            name=_RULE_NAMES.get(f.name, f.name),
            index=index,
            type=_TYPES.get(f.name, ColumnType.NUMBER),
            unit=f.unit,
            meaning=_MEANINGS.get(f.name, f.meaning),
            is_single=f.name != "amount",
        )
        for index, f in enumerate(scored)
    ]
    for name, column_type, unit, meaning in _MESSAGE:
        columns.append(
            Column(name, len(columns), column_type, unit, meaning, is_single=False),
        )
    return tuple(columns)


COLUMNS = _columns()
COLUMN_COUNT = len(COLUMNS)
BY_NAME = {column.name: column for column in COLUMNS}
assert len(BY_NAME) == COLUMN_COUNT
SCORE = BY_NAME["score"]
LOCAL = frozenset(BY_NAME[name] for name in ("time", "local.hour", "local.weekday"))
DERIVED_MAX = 64  # different sums of all rules: the array of a batch has room for them
VALUE_COUNT = COLUMN_COUNT + DERIVED_MAX


def constant_at(column: Column, value: float) -> float:
    """Return ``value`` at the precision in which ``column`` is stored; keys stay whole."""
    return float(np.float32(value)) if column.is_single else value
