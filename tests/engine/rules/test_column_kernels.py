"""The columns hold what their registry says, missing values included."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.rules.column_kernels import Clock, fill_columns, fill_score
from engine.rules.columns import BY_NAME, COLUMN_COUNT, COLUMNS, RULE_FACTS
from engine.zones import zone_number, zone_table
from ledger.accounts import ACCOUNT, new_accounts
from ledger.record import SCORE_NONE, Flag
from scoring.features import EXTRAS, FEATURES, SHARED
from scoring.payment import PAYMENT, PaymentFlag
from tests.oracle.rules import row_of

pytestmark = pytest.mark.kernels

_NOT_SIGN = np.uint64((1 << 63) - 1)  # missing values of either sign are one
_ALL = np.array([column.index for column in COLUMNS], np.int16)


_NO_HOMES = np.zeros(8, np.uint16)


def _clock(zone: str | int, homes: NDArray[np.uint16] = _NO_HOMES) -> Clock:
    """Return how local times are found; ``homes`` by card go before ``zone``."""
    table = zone_table()
    default = (0, zone_number(zone)) if isinstance(zone, str) else (zone, 0)
    return (*default, homes, table.zones, table.transitions)


def _filled(
    payment: dict[str, int], facts: dict[str, int], features: NDArray[np.float32] | None = None
) -> dict[str, float]:
    payments = np.zeros(1, PAYMENT)
    rule_facts = np.zeros(1, RULE_FACTS)
    for name, value in payment.items():
        payments[name] = value
    for name, value in facts.items():
        rule_facts[name] = value
    values = np.full((1, COLUMN_COUNT), 77.0)
    row = np.zeros((1, len(FEATURES)), np.float32) if features is None else features
    shared = np.arange(100, 100 + len(SHARED), dtype=np.float32)[None]
    extras = np.arange(200, 200 + len(EXTRAS), dtype=np.float32)[None]
    idx = np.zeros(1, np.int32)
    tables = (rule_facts, new_accounts(1 << 3), _clock("Europe/Berlin"))
    fill_columns(payments, idx, row, shared, extras, *tables, _ALL, values, values.view(np.uint64))
    return dict(zip((column.name for column in COLUMNS), values[0].tolist(), strict=True))


def test_features_shared_and_extras_by_name() -> None:
    """Every feature, shared counter and extra stands in the column of its name."""
    features = np.arange(1, 1 + len(FEATURES), dtype=np.float32)[None]
    row = _filled({"amount_minor": 100, "exponent": 2}, {}, features)
    for i, feature in enumerate(FEATURES[1:], start=1):
        assert features[0, i] == row[COLUMNS[i].name], feature.name
    assert (row["card.small_1h"], row["card.declines_1h"]) == (17 + 1, 16 + 1)
    assert (row["merchant.n_15d"], row["merchant.risk_15d"]) == (26 + 1, 28 + 1)
    assert (row["merchant.attempts_10m"], row["merchant.cards"]) == (109, 113)
    assert (row["bin.attempts_10m"], row["bin.decline_share"]) == (114, 115)
    assert (row["attempts_24h"], row["new_merchant"]) == (200, 201)


@given(amount_minor=st.integers(0, 10**12), exponent=st.integers(0, 3))
def test_amount_equals_literal(amount_minor: int, exponent: int) -> None:
    """The amount is the number that a rule's literal of the same digits is."""
    row = _filled({"amount_minor": amount_minor, "exponent": exponent}, {})
    assert float(Decimal(amount_minor).scaleb(-exponent)) == row["amount"]
    assert amount_minor == row["amount_minor"]


@given(seed=st.integers(0, 2**32 - 1))
def test_columns_equal_oracle(seed: int) -> None:
    """On any payments, every needed column of every chosen row is what the oracle says."""
    rng = np.random.default_rng(seed)
    count = 12
    payments, facts = (_random_table(rng, dtype, count) for dtype in (PAYMENT, RULE_FACTS))
    payments["exponent"] = rng.integers(0, 4, count)
    payments["amount_minor"] = rng.integers(0, 10**12, count)
    tables = [
        rng.choice(np.array([-1.0, 0.0, 0.1, 3.0, 1e9], np.float32), (count, len(known)))
        for known in (FEATURES, SHARED, EXTRAS)
    ]
    idx = np.flatnonzero(rng.random(count) < 0.7).astype(np.int32)
    needed = _ALL[rng.random(len(_ALL)) < 0.7]
    values = np.full((count, COLUMN_COUNT), 77.0)
    facts["account"] = rng.integers(0, 8, count)
    accounts = _random_table(rng, ACCOUNT, 8)
    names = zone_table().names
    facts["card"] = rng.integers(0, 8, count)
    homes = np.array([0, *rng.choice([0, 0, *range(len(names))], 7)], np.uint16)
    default = ("Europe/Berlin", "Pacific/Apia", 3_600, -34_200, 0)[rng.integers(5)]
    clock = _clock(default, homes)
    fill_columns(
        payments, idx, *tables, facts, accounts, clock, needed, values, values.view(np.uint64)
    )
    expected = np.full((count, COLUMN_COUNT), 77.0)
    for i in idx:
        account = _fields(accounts[int(facts[i]["account"])])
        row = row_of(
            _fields(payments[i]),
            _fields(facts[i]),
            *(table[i] for table in tables),
            account,
            names[homes[facts[i]["card"]]] or default,
        )
        row["score"] = math.nan
        expected[i, needed] = [row[COLUMNS[column].name] for column in needed]
    np.testing.assert_array_equal(
        values.view(np.uint64) & _NOT_SIGN, expected.view(np.uint64) & _NOT_SIGN
    )


def _random_table(rng: np.random.Generator, dtype: np.dtype, count: int) -> NDArray[np.void]:
    table = np.zeros(count, dtype)
    for name in dtype.names or ():
        top = min(np.iinfo(dtype[name]).max, 2**32 - 1)
        table[name] = np.where(rng.random(count) < 0.3, 0, rng.integers(0, top, count))
    return table


def _fields(row: np.void) -> dict[str, int]:
    return {name: int(row[name]) for name in row.dtype.names}


@given(scores_bp=st.lists(st.integers(0, 10_000) | st.just(SCORE_NONE), min_size=1, max_size=8))
def test_score_equals_oracle(scores_bp: list[int]) -> None:
    """The score column is the decimal of the basis points, or missing."""
    values = np.zeros((len(scores_bp), COLUMN_COUNT))
    idx = np.arange(len(scores_bp), dtype=np.int32)
    fill_score(np.array(scores_bp, np.uint16), idx, values)
    expected = [float(Decimal(bp).scaleb(-4)) if bp != SCORE_NONE else math.nan for bp in scores_bp]
    np.testing.assert_array_equal(values[:, BY_NAME["score"].index], expected)


def test_unknown_is_missing() -> None:
    """Zero where it says unknown, and no last payment, become NaN."""
    features = np.full((1, len(FEATURES)), -1, np.float32)
    row = _filled({}, {}, features)
    missing = {name for name, value in row.items() if math.isnan(value)}
    assert missing == {
        "secs_since_last",
        "currency",
        "country",
        "mcc",
        "card",
        "account",
        "customer",
        "product",
        "bin.number",
        "score",
        "account.limit",
        "account.available",
        "account.held",
    }


def test_message_fields() -> None:
    """Numbers of the message stand in their columns unchanged."""
    row = _filled(
        {"mcc": 5411, "country": 840},
        {
            "card": 2**32 - 1,
            "account": 5,
            "customer": 6,
            "pcode": 10_000,
            "bin": 411_111,
            "currency": 978,
            "product": 3,
        },
    )
    names = ("mcc", "country", "card", "account", "customer", "pcode", "bin.number", "currency")
    expected = (5411, 840, 2**32 - 1, 5, 6, 10_000, 411_111, 978)
    assert expected == tuple(row[name] for name in names)
    assert row["product"] == 3


@pytest.mark.parametrize(
    ("name", "payment_flags", "fact_flags"),
    [
        ("wallet", PaymentFlag.WALLET, 0),
        ("flag.travel_notice", PaymentFlag.TRAVEL_NOTICE, 0),
        ("flag.unusable", PaymentFlag.UNUSABLE, 0),
        ("present", 0, Flag.PRESENT),
        ("flag.repeat", 0, Flag.REPEAT),
        ("flag.advice", 0, Flag.ADVICE),
    ],
)
def test_flags(name: str, payment_flags: int, fact_flags: int) -> None:
    """Each flag sets its own column and no other."""
    row = _filled({"flags": payment_flags}, {"flags": fact_flags})
    bools = ("wallet", "flag.travel_notice", "flag.unusable", "present", "flag.repeat")
    assert [name] == [n for n in (*bools, "flag.advice") if row[n] == 1.0]


def test_only_needed_columns_and_rows() -> None:
    """Columns that are not needed and rows outside the index are not written."""
    values = np.full((2, COLUMN_COUNT), 77.0)
    needed = np.array([BY_NAME["km"].index, BY_NAME["mcc"].index], np.int16)
    fill_columns(
        np.ones(2, PAYMENT),
        np.array([1], np.int32),
        np.ones((2, len(FEATURES)), np.float32),
        np.ones((2, 10), np.float32),
        np.ones((2, 2), np.float32),
        np.ones(2, RULE_FACTS),
        new_accounts(2),
        _clock(0),
        needed,
        values,
        values.view(np.uint64),
    )
    assert (values[0] == 77.0).all()
    assert needed.tolist() == np.flatnonzero(values[1] != 77.0).tolist()


def test_score_equals_literal() -> None:
    """A score in basis points is the number that a rule's literal is; none is missing."""
    score_bp = np.array([0, 1, 9_200, 10_000, SCORE_NONE], np.uint16)
    values = np.zeros((5, COLUMN_COUNT))
    fill_score(score_bp, np.arange(5, dtype=np.int32), values)
    column = values[:, BY_NAME["score"].index]
    assert column[:4].tolist() == [0.0, 0.0001, 0.92, 1.0]
    assert math.isnan(column[4])
