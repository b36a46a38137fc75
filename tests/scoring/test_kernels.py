"""Feature kernels against the naive oracle, and independence of how a stream is cut."""

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scoring.countries import CODE_COUNT
from scoring.features import EXTRAS, FEATURES, SHARED
from scoring.kernels import (
    card_pass,
    card_unwind,
    card_update,
    features_of_stream,
    merchant_label,
    shared_pass,
)
from scoring.payment import PAYMENT, PaymentFlag
from scoring.tables import tables
from scoring.velocity import new_cards, new_merchants
from tests.oracle import velocity as oracle
from tests.scoring import streams
from tests.support.effort import examples

pytestmark = pytest.mark.kernels
TABLES = tables()
RISK = np.linspace(0.0, 1.0, 10_000, dtype=np.float32)
DAY_S = 86_400
START_S = 1_600_000_000 // DAY_S * DAY_S


def _km_table() -> dict[tuple[int, int], int]:
    codes = np.flatnonzero(TABLES.countries[:CODE_COUNT])
    rows = TABLES.countries[codes].astype(np.int64)
    count = int(np.sqrt(len(TABLES.countries) - CODE_COUNT))
    km = TABLES.countries[CODE_COUNT:].reshape(count, count)
    wanted = {840, 826, 250, 276}
    return {
        (int(a), int(b)): int(km[r, s])
        for a, r in zip(codes, rows, strict=True)
        for b, s in zip(codes, rows, strict=True)
        if a in wanted and b in wanted
    }


KM = _km_table()
RISK_OF = {mcc: float(RISK[min(mcc, 9_999)]) for mcc in (0, 5_411, 9_999, 65_535)}


class Engine:
    """State and scratch for the kernels, taken batch by batch as the engine does."""

    def __init__(self) -> None:
        self.cards = new_cards(streams.CARDS)
        self.merchants = new_merchants(streams.MERCHANTS)
        self.bins = new_merchants(streams.BINS)

    def batch(
        self, payments: NDArray[np.void], approved: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return features, extras and shared of one batch, worked in waves."""
        n = len(payments)
        features = np.full((n, len(FEATURES)), np.nan, np.float32)
        extras = np.full((n, len(EXTRAS)), np.nan, np.float32)
        shared = np.full((n, len(SHARED)), np.nan, np.float32)
        rows = np.arange(n, dtype=np.int32)
        curves = TABLES.curves
        shared_pass(payments, rows, self.merchants, self.bins, curves, shared)
        for idx in streams.waves(payments["card"]):
            card_pass(
                payments, idx, self.cards, shared, curves, TABLES.countries, RISK, features, extras
            )
            card_update(payments, idx, approved, self.cards, curves)
        return features, extras, shared

    def same_state(self, other: "Engine") -> bool:
        """Return whether both remember the same bytes."""
        pairs = (
            (self.cards, other.cards),
            (self.merchants, other.merchants),
            (self.bins, other.bins),
        )
        return all(a.tobytes() == b.tobytes() for a, b in pairs)


def _oracle(
    payments: NDArray[np.void], approved: NDArray[np.uint8]
) -> tuple[list[Any], list[Any], list[Any], list[oracle.Card]]:
    cards = [oracle.Card() for _ in range(streams.CARDS)]
    merchants = [oracle.Merchant() for _ in range(streams.MERCHANTS)]
    bins = [oracle.Merchant() for _ in range(streams.BINS)]
    features, extras, shared = [], [], []
    for payment, is_approved in zip(streams.oracle_payments(payments), approved, strict=True):
        columns = oracle.shared_columns(payment, merchants[payment.merchant], bins[payment.bin])
        columns = [oracle.f32(value) for value in columns]
        row, extra = cards[payment.card].columns(payment, columns, KM, RISK_OF)
        cards[payment.card].decided(payment, approved=bool(is_approved))
        features.append(row)
        extras.append(extra)
        shared.append(columns)
    return features, extras, shared, cards


@given(streams.payments(), st.randoms(use_true_random=False))
def test_equals_the_oracle(payments: NDArray[np.void], random: Any) -> None:
    """Every feature, extra and shared column is the oracle's, bit for bit."""
    approved = np.array([random.random() < 0.7 for _ in payments], np.uint8)
    features, extras, shared = Engine().batch(payments, approved)
    wanted = _oracle(payments, approved)
    np.testing.assert_array_equal(shared, np.array(wanted[2], np.float32))
    np.testing.assert_array_equal(features, np.array(wanted[0], np.float32))
    np.testing.assert_array_equal(extras, np.array(wanted[1], np.float32))


@given(streams.payments(), st.randoms(use_true_random=False))
def test_any_cut_gives_the_same(payments: NDArray[np.void], random: Any) -> None:
    """However a stream is cut into batches, features and state are the same bytes."""
    approved = np.array([random.random() < 0.7 for _ in payments], np.uint8)
    whole, parts = Engine(), Engine()
    wanted = whole.batch(payments, approved)
    cuts = sorted({0, len(payments), *(random.randint(0, len(payments)) for _ in range(4))})
    found = [parts.batch(payments[a:b].copy(), approved[a:b].copy()) for a, b in pairwise(cuts)]
    for column in range(3):
        joined = np.concatenate([part[column] for part in found])
        assert joined.tobytes() == wanted[column].tobytes()
    assert parts.same_state(whole)


@given(streams.payments(), st.randoms(use_true_random=False), st.sampled_from((0, 600, 604_800)))
def test_stream_equals_batches_and_labels_arrive(
    payments: NDArray[np.void], random: Any, delay_s: int
) -> None:
    """Row by row gives what batches give, and a label counts from the moment it arrives."""
    n = len(payments)
    approved = np.array([random.random() < 0.7 for _ in payments], np.uint8)
    labels = np.array([random.random() < 0.4 for _ in payments], np.uint8)
    one, found = Engine(), Engine()
    wanted, due = [], 0
    for row in range(n):
        while due < row and payments["t_s"][due] + delay_s <= payments["t_s"][row]:
            if labels[due]:
                now_s = int(payments["t_s"][due]) + delay_s
                merchant_label(one.merchants, payments["merchant"][due], now_s, TABLES.curves)
            due += 1
        wanted.append(one.batch(payments[row : row + 1].copy(), approved[row : row + 1].copy()))
    features, extras = np.zeros((n, len(FEATURES)), np.float32), np.zeros((n, 2), np.float32)
    shared, span = np.zeros((n, len(SHARED)), np.float32), np.zeros(3, np.int64)
    for first, last in ((0, n // 2), (n // 2, n)):
        span[:2] = first, last
        features_of_stream(
            payments, approved, labels, delay_s, found.merchants, found.bins, found.cards,
            TABLES.curves, TABLES.countries, RISK, shared, features, extras, span,
        )  # fmt: skip
    assert features.tobytes() == np.concatenate([row[0] for row in wanted]).tobytes()
    assert shared.tobytes() == np.concatenate([row[2] for row in wanted]).tobytes()
    assert found.same_state(one)


@given(streams.payments(), st.integers(-10, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_unwind_equals_the_oracle(
    payments: NDArray[np.void], wait_s: int, age_s: int, amount_minor: int
) -> None:
    """A reversal subtracts what is left of the payment, never under 0."""
    payments["card"] = 1
    approved = np.ones(len(payments), np.uint8)
    engine = Engine()
    engine.batch(payments, approved)
    card = _oracle(payments, approved)[3][1]
    now_s = int(payments["t_s"][-1]) + wait_s
    card_unwind(engine.cards, 1, now_s, now_s - age_s, amount_minor, 2, TABLES.curves)
    card.unwind(now_s, now_s - age_s, amount_minor, 2)
    assert engine.cards["count"][1].tolist() == card.count
    assert engine.cards["amount"][1].tolist() == card.amount
    assert engine.cards["updated_s"][1] == card.updated_s


def _payments(times_s: list[int], **columns: int) -> NDArray[np.void]:
    rows = np.zeros(len(times_s), PAYMENT)
    rows["t_s"], rows["card"], rows["exponent"] = times_s, 1, 2
    for name, value in columns.items():
        rows[name] = value
    return rows


def _column(name: str) -> int:
    return [feature.name for feature in FEATURES].index(name)


def test_unwind_of_the_only_payment_leaves_nothing() -> None:
    """A payment reversed at once leaves neither count nor amount."""
    engine = Engine()
    engine.batch(_payments([START_S], amount_minor=12_345), np.ones(1, np.uint8))
    card_unwind(engine.cards, 1, START_S, START_S, 12_345, 2, TABLES.curves)
    assert not engine.cards["count"][1].any()
    assert not engine.cards["amount"][1].any()


@settings(max_examples=examples(20))
@given(st.lists(st.integers(0, 200_000), min_size=2, max_size=60))
def test_counts_are_sums_of_decayed_payments(gaps_s: list[int]) -> None:
    """The lazily decayed counters stay within 1e-5 of the definition over the whole history."""
    times_s = (START_S + np.cumsum(gaps_s)).tolist()
    payments = _payments(times_s, amount_minor=5_000)
    found = Engine().batch(payments, np.ones(len(payments), np.uint8))[0]
    for window, tau_s in enumerate(oracle.SPEND_TAU):
        wanted = oracle.decayed_sum([(t_s, 1.0) for t_s in times_s], times_s[-1], tau_s)
        assert found[-1, _column("count_10m") + window] == pytest.approx(wanted, rel=1e-5)
        assert found[-1, _column("mean_10m") + window] == pytest.approx(50.0, rel=1e-5)


def test_declines_count_as_attempts_only() -> None:
    """A declined payment raises declines and attempts, not spend; approved ones the other way."""
    payments = _payments([START_S] * 4, amount_minor=100, merchant=1)
    features, extras, _ = Engine().batch(payments, np.array([0, 0, 1, 1], np.uint8))
    assert features[:, _column("declines_1h")].tolist() == [0, 1, 2, 2]
    assert features[:, _column("count_1h")].tolist() == [1, 1, 1, 2]
    assert features[:, _column("small_1h")].tolist() == [1, 2, 3, 4]
    assert extras[:, 0].tolist() == [1, 2, 3, 4]
    assert extras[:, 1].tolist() == [1, 1, 1, 0]


def test_unusable_attempts_touch_no_card() -> None:
    """An attempt that names no usable card counts on merchant and BIN and leaves cards alone."""
    engine = Engine()
    payments = _payments([START_S] * 2, card=0, merchant=1, bin=1, flags=PaymentFlag.UNUSABLE)
    _, _, shared = engine.batch(payments, np.zeros(2, np.uint8))
    names = [feature.name for feature in SHARED]
    assert shared[1, names.index("bin_attempts_10m")] == 2
    assert shared[1, names.index("bin_decline_share")] == 1
    assert engine.cards.tobytes() == new_cards(streams.CARDS).tobytes()


def test_travel_is_seen_between_present_payments_only() -> None:
    """Two present payments an ocean apart need a speed; e-commerce or a travel notice does not."""
    for flags, is_travel in (
        (0, True),
        (PaymentFlag.CNP, False),
        (PaymentFlag.TRAVEL_NOTICE, False),
    ):
        payments = _payments([START_S, START_S + 3_600], amount_minor=5_000, country=840)
        payments["country"][1], payments["flags"][1] = 826, flags
        features = Engine().batch(payments, np.ones(2, np.uint8))[0]
        assert (features[1, _column("km")] > 4_000) == is_travel
        assert features[1, _column("kmh")] == features[1, _column("km")]
        assert features[1, _column("country_change")] == 1


def test_time_never_runs_back() -> None:
    """A payment stamped before the last one is taken as simultaneous."""
    payments = _payments([START_S, START_S - 500], amount_minor=5_000)
    features = Engine().batch(payments, np.ones(2, np.uint8))[0]
    assert features[1, _column("secs_since_last")] == 0
    assert features[1, _column("count_10m")] == 2


def _seeded(count: int) -> NDArray[np.void]:
    rng = np.random.default_rng(39)
    payments = np.zeros(count, PAYMENT)
    payments["t_s"] = START_S + np.sort(rng.integers(0, 30 * DAY_S, count))
    payments["amount_minor"] = rng.integers(0, 10**6, count)
    payments["card"] = rng.integers(0, streams.CARDS, count)
    payments["merchant"] = rng.integers(0, streams.MERCHANTS, count)
    payments["country"] = rng.choice([0, 840, 826, 250], count)
    payments["flags"] = rng.integers(0, 16, count)
    payments["exponent"] = rng.choice([0, 2, 3], count)
    return payments


def test_wave_longer_than_a_block() -> None:
    """Cards are fetched in blocks; a long wave gives what single rows give."""
    payments = np.repeat(_seeded(1), 50)
    payments["card"] = np.arange(50)
    payments["amount_minor"] = np.arange(50) * 997
    approved = np.ones(50, np.uint8)
    whole, single = Engine(), Engine()
    whole.cards, single.cards = new_cards(50), new_cards(50)
    wanted = [single.batch(payments[k : k + 1].copy(), approved[:1])[0] for k in range(50)]
    assert whole.batch(payments, approved)[0].tobytes() == np.concatenate(wanted).tobytes()
    assert whole.same_state(single)


def test_bits_are_the_same_on_every_machine() -> None:
    """A seeded stream has had these feature bits since the first version; replay relies on it."""
    payments = _seeded(2_000)
    approved = (np.arange(2_000) % 7 != 0).astype(np.uint8)
    features, extras, shared = Engine().batch(payments, approved)
    first = features[:, :30], extras, np.delete(shared, np.s_[3:9], axis=1)
    digest = hashlib.sha256(b"".join(columns.tobytes() for columns in first))
    assert digest.hexdigest()[:16] == "b433186f72ef377b"
    digest = hashlib.sha256(b"".join(columns.tobytes() for columns in (features, shared)))
    assert digest.hexdigest()[:16] == "8872f66ee568f680"


def test_state_starts_on_a_cache_line() -> None:
    """No row of cards or merchants reaches into one line more than its size needs."""
    for rows in (new_cards(7), new_merchants(7), new_cards(100_000)):
        assert rows.ctypes.data % 64 == 0
        assert rows.flags.c_contiguous
        assert not rows["updated_s"].any()
