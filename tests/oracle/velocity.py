"""Naive velocity: one Python object a card or merchant, one payment at a time, plain floats.

Written from the feature list. Numbers are Python floats, rounded to float32 where the record keeps
float32, in the order the text gives; so the kernels must equal it bit for bit. ``decayed_sum`` is
the definition itself, with ``math.exp`` over the whole history, and equals only nearly.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache

import numpy as np

from scoring.payment import PaymentFlag

TAU_10M, TAU_1H, TAU_12H = 600, 3_600, 43_200
TAU_1D, TAU_84H, TAU_7D, TAU_15D = 86_400, 302_400, 604_800, 1_296_000
SPEND_TAU = (TAU_10M, TAU_1H, TAU_12H, TAU_15D)
HASH = 0x9E3779B97F4A7C15


@dataclass
class Payment:
    """One payment; fields as in scoring.payment.PAYMENT."""

    amount_minor: int
    t_s: int
    card: int
    merchant: int
    bin: int
    mcc: int
    country: int
    flags: int
    entry: int
    exponent: int


def f32(value: float) -> float:
    """Return ``value`` as a float32 keeps it."""
    return float(np.float32(value))


@cache
def _point(i: int) -> float:
    return float((-(Decimal(2).ln()) * i / 2048).exp())


def decay(dt_s: int, tau_s: int) -> float:
    """Return exp(-dt / tau): halvings in units of 2^-44, then the chord between two points."""
    if dt_s <= 0:
        return 1.0
    rate = int((Decimal(2**44) / (Decimal(2).ln() * tau_s)).to_integral_value())
    halvings, rest = divmod(dt_s * rate, 2**44)
    if dt_s >= 2**25 or halvings >= 48:
        return 0.0
    index, rest = divmod(rest, 2**33)
    upper, lower = _point(index), _point(index + 1)
    return (upper - (upper - lower) * (rest / 2**33)) * 2.0**-halvings


def ln_amount(amount_minor: int, exponent: int) -> float:
    """Return ln(major units + 1) by slices of the mantissa and four terms of the series."""
    mantissa, power = math.frexp(amount_minor + 10.0**exponent)
    centre = Decimal(2 * (int(mantissa * 256) - 128) + 257) / 512
    r = mantissa * float(1 / centre) - 1.0
    series = r * (1.0 - r * (0.5 - r * (1.0 / 3.0 - r * 0.25)))
    value = power * float(Decimal(2).ln()) + float(centre.ln()) + series
    return max(value - float((Decimal(10) ** exponent).ln()), 0.0)


def hashed(number: int, bits: int) -> int:
    """Return the number's place among 2^bits, by Fibonacci hashing."""
    return (number * HASH % 2**64) >> (64 - bits)


def linear_count(places: Iterable[int]) -> float:
    """Return the estimated distinct members behind the places taken of 64."""
    zeros = Decimal(64 - len(set(places))) or Decimal("0.5")
    return float(64 * (64 / zeros).ln())


def decayed_sum(history: Iterable[tuple[int, float]], now_s: int, tau_s: int) -> float:
    """Return the definition: sum of value * exp(-age / tau) over (t_s, value)."""
    return sum(value * math.exp(-(now_s - t_s) / tau_s) for t_s, value in history)


@dataclass
class Merchant:
    """Counters of a merchant or BIN."""

    updated_s: int = 0
    label_s: int = 0
    first_seen_day: int = 0
    attempts: dict[int, float] = field(
        default_factory=lambda: dict.fromkeys((TAU_10M, TAU_1D, TAU_15D), 0.0)
    )
    frauds: dict[int, float] = field(
        default_factory=lambda: dict.fromkeys((TAU_1D, TAU_84H, TAU_15D), 0.0)
    )
    small: float = 0.0
    unusable: float = 0.0
    cards: set[int] = field(default_factory=set)
    old: dict[int, float] = field(
        default_factory=lambda: dict.fromkeys((TAU_1D, TAU_84H, TAU_15D), 0.0)
    )
    young: dict[int, int] = field(default_factory=dict)  # attempts of a half day, until old

    def bring_forward(self, now_s: int) -> None:
        """Let time pass."""
        dt_s = now_s - self.updated_s
        if dt_s <= 0:
            return
        for counters in (self.attempts, self.frauds):
            for tau in counters:
                counters[tau] = f32(counters[tau] * decay(dt_s, tau))
        self.small = f32(self.small * decay(dt_s, TAU_10M))
        self.unusable = f32(self.unusable * decay(dt_s, TAU_10M))
        for tau in self.old:
            total = self.old[tau] * decay(dt_s, tau)
            for half_day in sorted(self.young):
                aged_s = (half_day + 14) * 43_200
                if aged_s // 43_200 <= now_s // 43_200:
                    total += self.young[half_day] * decay(now_s - aged_s, tau)
            self.old[tau] = f32(total)
        self.young = {h: n for h, n in self.young.items() if h + 14 > now_s // 43_200}
        if now_s // 600 != self.updated_s // 600:
            self.cards = set()
        self.first_seen_day = self.first_seen_day or now_s // 86_400
        self.updated_s = now_s

    def attempt(self, payment: Payment) -> None:
        """Count one attempt."""
        self.bring_forward(payment.t_s)
        for tau in self.attempts:
            self.attempts[tau] = f32(self.attempts[tau] + 1)
        if payment.amount_minor < 2 * 10**payment.exponent:
            self.small = f32(self.small + 1)
        if payment.flags & PaymentFlag.UNUSABLE:
            self.unusable = f32(self.unusable + 1)
        self.cards.add(hashed(payment.card, 6))
        half_day = self.updated_s // 43_200
        self.young[half_day] = self.young.get(half_day, 0) + 1

    def label(self, now_s: int) -> None:
        """Count one confirmed fraud when its label arrives."""
        self.bring_forward(now_s)
        for tau in self.frauds:
            self.frauds[tau] = f32(self.frauds[tau] + 1)
        self.label_s = self.updated_s

    def fraud_share(self, tau: int) -> float:
        """Return confirmed frauds of the attempts that are a week old, at most 1."""
        return min(self.frauds[tau] / self.old[tau], 1.0) if self.old[tau] > 0 else 0.0

    def share(self, part: float, tau: int) -> float:
        """Return part of the attempts of ``tau``, at most 1."""
        return min(part / self.attempts[tau], 1.0) if self.attempts[tau] > 0 else 0.0


def shared_columns(payment: Payment, merchant: Merchant, issuer: Merchant) -> list[float]:
    """Count the attempt, then return SHARED."""
    merchant.attempt(payment)
    issuer.attempt(payment)
    return [
        merchant.attempts[TAU_15D],
        merchant.share(merchant.frauds[TAU_1D], TAU_1D),
        merchant.share(merchant.frauds[TAU_15D], TAU_15D),
        *merchant.old.values(),
        *(merchant.fraud_share(tau) for tau in merchant.old),
        merchant.attempts[TAU_10M],
        merchant.attempts[TAU_1D],
        merchant.share(merchant.small, TAU_10M),
        merchant.share(merchant.unusable, TAU_10M),
        linear_count(merchant.cards),
        issuer.attempts[TAU_10M],
        issuer.share(issuer.unusable, TAU_10M),
    ]


def least_km(there: int, here: int, km: dict[tuple[int, int], int]) -> int:
    """Return the table's distance between two ISO numbers, 0 for what it does not know."""
    return km.get((there, here), 0)


@dataclass
class Card:
    """What is remembered of a card; sets and dicts instead of bitmaps and rings."""

    updated_s: int = 0
    approved_s: int = 0
    present_s: int = 0
    last_country: int = 0
    present_country: int = 0
    count: list[float] = field(default_factory=lambda: [0.0] * 4)
    amount: list[float] = field(default_factory=lambda: [0.0] * 4)
    ln_mean: float = 0.0
    ln_variance: float = 0.0
    attempts_of_hour: dict[int, int] = field(default_factory=dict)
    merchants_of_day: dict[int, set[int]] = field(default_factory=dict)
    countries_of_week: dict[int, set[int]] = field(default_factory=dict)
    declines: float = 0.0
    small: float = 0.0
    cnp_7d: float = 0.0
    count_7d: float = 0.0
    most: float = 0.0
    large: float = 0.0

    def _merchants(self, now_s: int) -> set[int]:
        days = (now_s // 86_400, now_s // 86_400 - 1)
        return set().union(*(self.merchants_of_day.get(day, set()) for day in days))

    def _countries(self, now_s: int) -> set[int]:
        weeks = (week(now_s), week(now_s) - 1)
        return set().union(*(self.countries_of_week.get(w, set()) for w in weeks))

    def _attempts(self, now_s: int) -> int:
        hours = range(now_s // 3_600 - 23, now_s // 3_600 + 1)
        return sum(self.attempts_of_hour.get(hour, 0) for hour in hours)

    def columns(
        self,
        payment: Payment,
        shared: list[float],
        km_table: dict[tuple[int, int], int],
        mcc_risk: dict[int, float],
    ) -> tuple[list[float], list[float]]:
        """Return FEATURES and EXTRAS of a payment, without remembering it."""
        now_s = max(payment.t_s, self.updated_s)
        dt_s = now_s - self.updated_s
        scale = 10.0**payment.exponent
        amount = max(payment.amount_minor, 0) / scale
        ln = ln_amount(max(payment.amount_minor, 0), payment.exponent)
        hour = payment.t_s // 3_600 % 24
        counts = [self.count[w] * decay(dt_s, tau) + 1 for w, tau in enumerate(SPEND_TAU)]
        sums = [self.amount[w] * decay(dt_s, tau) + amount for w, tau in enumerate(SPEND_TAU)]
        weight = self.count[3] * decay(dt_s, TAU_15D)
        ratio, z = 1.0, 0.0
        if weight >= 1 / 1024:
            spread = math.sqrt((weight * self.ln_variance + 1.0) / (weight + 1.0))
            z = (ln - self.ln_mean) / spread
            if self.amount[3] > 0:
                ratio = amount * self.count[3] / self.amount[3]
        is_cnp = bool(payment.flags & PaymentFlag.CNP)
        travels = self.present_s and not is_cnp and not payment.flags & PaymentFlag.TRAVEL_NOTICE
        km = least_km(self.present_country, payment.country, km_table) if travels else 0
        place = hashed(payment.merchant, 6)
        merchants = self._merchants(now_s)
        countries = self._countries(now_s)
        if payment.country:
            countries = countries | {hashed(payment.country, 5)}
        known = self.last_country and payment.country
        features = [
            amount,
            ln,
            hour,
            (payment.t_s // 86_400 + 3) % 7,
            hour <= 6,
            now_s - self.approved_s if self.approved_s else -1,
            ratio,
            z,
            *counts,
            *(total / count for total, count in zip(sums, counts, strict=True)),
            self.declines * decay(dt_s, TAU_1H),
            self.small * decay(dt_s, TAU_1H) + (payment.amount_minor < 2 * scale),
            linear_count(merchants | {place}),
            len(countries),
            is_cnp,
            self.cnp_7d / self.count_7d if self.count_7d > 0 else 0.0,
            payment.entry,
            bool(known and self.last_country != payment.country),
            km,
            km * 3_600.0 / max(now_s - self.present_s, 60),
            *shared[:3],
            mcc_risk.get(payment.mcc, 0.0),
            self.most * decay(dt_s, TAU_15D),
            self.large * decay(dt_s, TAU_84H),
            *shared[3:9],
        ]
        return features, [self._attempts(now_s) + 1, place not in merchants]

    def bring_forward(self, now_s: int) -> None:
        """Let time pass."""
        dt_s = now_s - self.updated_s
        if dt_s <= 0:
            return
        for w, tau in enumerate(SPEND_TAU):
            self.count[w] = f32(self.count[w] * decay(dt_s, tau))
            self.amount[w] = f32(self.amount[w] * decay(dt_s, tau))
        self.declines = f32(self.declines * decay(dt_s, TAU_1H))
        self.small = f32(self.small * decay(dt_s, TAU_1H))
        self.cnp_7d = f32(self.cnp_7d * decay(dt_s, TAU_7D))
        self.count_7d = f32(self.count_7d * decay(dt_s, TAU_7D))
        self.most = f32(self.most * decay(dt_s, TAU_15D))
        self.large = f32(self.large * decay(dt_s, TAU_84H))
        self.updated_s = now_s

    def decided(self, payment: Payment, *, approved: bool) -> None:
        """Remember a decided payment."""
        if payment.card == 0 or payment.flags & PaymentFlag.UNUSABLE:
            return
        self.bring_forward(payment.t_s)
        hour = self.updated_s // 3_600
        self.attempts_of_hour[hour] = min(self.attempts_of_hour.get(hour, 0) + 1, 255)
        if payment.amount_minor < 2 * 10**payment.exponent:
            self.small = f32(self.small + 1)
        if approved:
            self._spend(payment)
        else:
            self.declines = f32(self.declines + 1)

    def _spend(self, payment: Payment) -> None:
        amount = max(payment.amount_minor, 0) / 10.0**payment.exponent
        distance = ln_amount(max(payment.amount_minor, 0), payment.exponent) - self.ln_mean
        weight = self.count[3]
        share = distance / (weight + 1.0)
        self.ln_mean = f32(self.ln_mean + share)
        self.ln_variance = f32(weight / (weight + 1.0) * (self.ln_variance + distance * share))
        if amount * (weight + 1.0) > 3.0 * (self.amount[3] + amount):
            self.large = f32(self.large + 1)
        self.most = f32(max(self.most, amount))
        for w in range(4):
            self.count[w] = f32(self.count[w] + 1)
            self.amount[w] = f32(self.amount[w] + amount)
        self.count_7d = f32(self.count_7d + 1)
        is_cnp = payment.flags & PaymentFlag.CNP
        if is_cnp:
            self.cnp_7d = f32(self.cnp_7d + 1)
        self.approved_s = self.updated_s
        day = self.updated_s // 86_400
        self.merchants_of_day.setdefault(day, set()).add(hashed(payment.merchant, 6))
        if payment.country:
            countries = self.countries_of_week.setdefault(week(self.updated_s), set())
            countries.add(hashed(payment.country, 5))
            self.last_country = payment.country
            if not is_cnp:
                self.present_country, self.present_s = payment.country, self.updated_s

    def unwind(self, now_s: int, original_t_s: int, amount_minor: int, exponent: int) -> None:
        """Take a reversed payment out of the spend counters."""
        self.bring_forward(now_s)
        amount = max(amount_minor, 0) / 10.0**exponent
        for w, tau in enumerate(SPEND_TAU):
            left = decay(self.updated_s - original_t_s, tau)
            self.count[w] = f32(max(self.count[w] - left, 0.0))
            self.amount[w] = f32(max(self.amount[w] - amount * left, 0.0))


def week(t_s: int) -> int:
    """Return the number of the week that starts on Monday."""
    return (t_s // 86_400 + 3) // 7
