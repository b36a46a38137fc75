"""Features of a payment from its card's memory, and what that memory keeps of the decision.

``card_pass`` only reads; ``card_update`` runs after the decision. Between the two an account occurs
at most once, so a card's payments are seen one after the other in arrival order.
"""

import math

import numpy as np
from numpy.typing import NDArray

from scoring.countries import CODE_COUNT
from scoring.features import SHARED_FEATURES
from scoring.jit import Int, Row, kernel
from scoring.number_kernels import (
    bits_set,
    day_of,
    decay_factor,
    hashed_bit,
    ln_amount,
    members,
    scale_of,
    shifted,
    week_of,
)
from scoring.payment import PaymentFlag
from scoring.tables import RATE_1H, RATE_7D, RATE_10M, RATE_12H, RATE_15D, RATE_84H

_SHARED_FIRST = 3  # of SHARED: after the three that stand among the first thirty features
_OLD_AT = 32 - _SHARED_FIRST
LARGE = 3.0  # times the card's mean, this payment included
_CNP = int(PaymentFlag.CNP)
_TRAVEL_NOTICE = int(PaymentFlag.TRAVEL_NOTICE)
_UNUSABLE = int(PaymentFlag.UNUSABLE)
_HOUR_SLOTS = 24
BLOCK_ROWS = 16  # rows whose cards are fetched together; two cache lines each
_HISTORY_MIN = 1.0 / 1024.0  # a decayed count below this is no history: the card slept for months
_TRAVEL_MIN_S = 60.0  # two payments in one minute: a clock, not a speed


@kernel
def card_pass(
    payments: NDArray[np.void],
    idx: NDArray[np.int32],
    cards: NDArray[np.void],
    shared: NDArray[np.float32],
    curves: NDArray[np.float64],
    countries: NDArray[np.int16],
    mcc_risk: NDArray[np.float32],
    features: NDArray[np.float32],
    extras: NDArray[np.float32],
) -> None:
    """Write FEATURES and EXTRAS of the rows of ``idx``; no state changes.

    Parameters: payments PAYMENT[n]; idx i32[k]; cards CARD_VELOCITY[...]; shared f32[n, 16] of
    ``shared_pass``; curves and countries from ``Tables``; mcc_risk f32[10000] of the model (zeros
    without one); features f32[n, 38] and extras f32[n, 2], rows of idx written. Never NaN.
    """
    for first in range(0, len(idx), BLOCK_ROWS):
        part = idx[first : first + BLOCK_ROWS]
        if _touched(payments, part, cards) < 0:
            return
        for k in range(len(part)):
            row = part[k]
            payment = payments[row]
            card_row(
                payment,
                cards[payment["card"]],
                shared[row],
                curves,
                countries,
                mcc_risk,
                features[row],
                extras[row],
            )


@kernel
def _touched(payments: NDArray[np.void], idx: NDArray[np.int32], cards: NDArray[np.void]) -> Int:
    """Read both cache lines of every card of ``idx``, so that their misses overlap; never < 0.

    Cards lie all over memory, and a miss costs as much as the arithmetic of a row. The sum is
    returned, and looked at, only to keep the compiler from dropping the reads.
    """
    total = np.int64(0)
    for k in range(len(idx)):
        card = cards[payments[idx[k]]["card"]]
        total += np.int64(card["updated_s"]) + np.int64(card["countries_week"])
    return total


@kernel
def card_row(
    payment: Row,
    card: Row,
    shared: NDArray[np.float32],
    curves: NDArray[np.float64],
    countries: NDArray[np.int16],
    mcc_risk: NDArray[np.float32],
    out: NDArray[np.float32],
    extra: NDArray[np.float32],
) -> None:
    """Do ``card_pass`` for one payment; out f32[38], extra f32[2]."""
    t_s = np.int64(payment["t_s"])
    then_s = np.int64(card["updated_s"])
    now_s = max(t_s, then_s)
    is_cnp = np.int64(payment["flags"]) & _CNP
    exponent = np.int64(payment["exponent"])
    amount_minor = max(payment["amount_minor"], 0)
    scale = scale_of(curves, exponent)
    amount = amount_minor / scale
    ln = ln_amount(curves, amount_minor, exponent)
    hour = t_s // 3_600 % 24
    out[0] = amount
    out[1] = ln
    out[2] = hour
    out[3] = (t_s // 86_400 + 3) % 7
    out[4] = 1.0 if hour <= 6 else 0.0
    out[5] = now_s - np.int64(card["approved_s"]) if card["approved_s"] else -1.0
    dt_s = now_s - then_s
    factor_1h = decay_factor(curves, dt_s, RATE_1H)
    factor_15d = decay_factor(curves, dt_s, RATE_15D)
    _spend_columns(card, amount, 0, decay_factor(curves, dt_s, RATE_10M), out)
    _spend_columns(card, amount, 1, factor_1h, out)
    _spend_columns(card, amount, 2, decay_factor(curves, dt_s, RATE_12H), out)
    _spend_columns(card, amount, 3, factor_15d, out)
    weight = card["count"][3] * factor_15d
    out[6] = _amount_over_mean(card, amount, weight)
    # The variance is drawn to 1 by one payment's weight, so one look-alike past is no certainty.
    spread = math.sqrt((weight * card["ln_variance"] + 1.0) / (weight + 1.0))
    out[7] = (ln - card["ln_mean"]) / spread if weight >= _HISTORY_MIN else 0.0
    is_small = 1.0 if payment["amount_minor"] < 2.0 * scale else 0.0
    out[16] = card["declines"] * factor_1h
    out[17] = card["small"] * factor_1h + is_small
    days = day_of(now_s) - day_of(then_s)
    today, yesterday = shifted(card["merchants_today"], card["merchants_yesterday"], days)
    merchant_bit = hashed_bit(payment["merchant"], 6)
    out[18] = members(curves, today | yesterday | merchant_bit)
    weeks = week_of(now_s) - week_of(then_s)
    week, last_week = shifted(card["countries_week"], card["countries_last_week"], weeks)
    out[19] = bits_set(week | last_week | _country_bit(payment))
    out[20] = 1.0 if is_cnp else 0.0
    out[21] = card["cnp_7d"] / np.float64(card["count_7d"]) if card["count_7d"] > 0.0 else 0.0
    out[22] = payment["entry"]
    is_abroad = card["last_country"] != payment["country"]
    out[23] = 1.0 if is_abroad and card["last_country"] and payment["country"] else 0.0
    km = _km(payment, card, countries)
    out[24] = km
    travel_s = np.float64(now_s - np.int64(card["present_s"]))
    out[25] = km * 3_600.0 / max(travel_s, _TRAVEL_MIN_S)
    out[26] = shared[0]
    out[27] = shared[1]
    out[28] = shared[2]
    out[29] = mcc_risk[_within(payment["mcc"], len(mcc_risk))]
    out[30] = card["most"] * factor_15d
    out[31] = card["large"] * decay_factor(curves, dt_s, RATE_84H)
    for column in range(_SHARED_FIRST, SHARED_FEATURES):
        out[_OLD_AT + column] = shared[column]
    extra[0] = _attempts_24h(card, now_s) + 1
    extra[1] = 0.0 if (today | yesterday) & merchant_bit else 1.0


@kernel
def card_update(
    payments: NDArray[np.void],
    idx: NDArray[np.int32],
    approved: NDArray[np.uint8],
    cards: NDArray[np.void],
    curves: NDArray[np.float64],
) -> None:
    """Remember the decided payments of ``idx`` on their cards; rows without a card are passed over.

    Parameters: payments PAYMENT[n]; idx i32[k]; approved u8[n] by row, 0 = declined; cards
    CARD_VELOCITY[...], changed; curves from ``Tables``.
    """
    for first in range(0, len(idx), BLOCK_ROWS):
        part = idx[first : first + BLOCK_ROWS]
        if _touched(payments, part, cards) < 0:
            return
        for k in range(len(part)):
            row = part[k]
            payment = payments[row]
            update_row(payment, approved[row], cards[payment["card"]], curves)


@kernel
def update_row(payment: Row, is_approved: Int, card: Row, curves: NDArray[np.float64]) -> None:
    """Do ``card_update`` for one payment."""
    if payment["card"] == 0 or np.int64(payment["flags"]) & _UNUSABLE:
        return
    _bring_forward(card, np.int64(payment["t_s"]), curves)
    slot = np.int64(card["updated_s"]) // 3_600 % _HOUR_SLOTS
    if card["hours"][slot] < 255:
        card["hours"][slot] += np.uint8(1)
    if payment["amount_minor"] < 2.0 * scale_of(curves, np.int64(payment["exponent"])):
        card["small"] = np.float32(np.float64(card["small"]) + 1.0)
    if is_approved:
        _add_spend(payment, card, curves)
        _move_to(payment, card)
    else:
        card["declines"] = np.float32(np.float64(card["declines"]) + 1.0)


@kernel
def card_unwind(
    cards: NDArray[np.void],
    card: Int,
    now_s: Int,
    original_t_s: Int,
    amount_minor: Int,
    exponent: Int,
    curves: NDArray[np.float64],
) -> None:
    """Take a reversed payment out of the spend counters, each by what is left of it at ``now_s``.

    Counts and amounts fall by the decayed payment and never under 0. What the payment taught
    besides (mean of ln amount, merchants, countries, place, attempts) stays: it was presented.
    """
    if card == 0:
        return
    row = cards[card]
    _bring_forward(row, now_s, curves)
    dt_s = np.int64(row["updated_s"]) - original_t_s
    amount = max(amount_minor, 0) / scale_of(curves, exponent)
    _subtract(row, 0, decay_factor(curves, dt_s, RATE_10M), amount)
    _subtract(row, 1, decay_factor(curves, dt_s, RATE_1H), amount)
    _subtract(row, 2, decay_factor(curves, dt_s, RATE_12H), amount)
    _subtract(row, 3, decay_factor(curves, dt_s, RATE_15D), amount)


@kernel
def _spend_columns(
    card: Row, amount: float, window: Int, factor: float, out: NDArray[np.float32]
) -> None:
    """Write count and mean of one time constant, this payment included."""
    count = card["count"][window] * factor + 1.0
    out[8 + window] = count
    out[12 + window] = (card["amount"][window] * factor + amount) / count


@kernel
def _amount_over_mean(card: Row, amount: float, weight: float) -> float:
    """Return amount / mean of the approved past, 1 without one (or with a past of zero amounts)."""
    if weight < _HISTORY_MIN or card["amount"][3] <= 0.0:
        return 1.0
    return amount * card["count"][3] / np.float64(card["amount"][3])


@kernel
def _country_bit(payment: Row) -> np.uint64:
    """Return the bit of the payment's country among 32, none if it names no country."""
    if payment["country"] == 0:
        return np.uint64(0)
    return hashed_bit(payment["country"], 5)


@kernel
def _km(payment: Row, card: Row, countries: NDArray[np.int16]) -> float:
    """Return the least km from the last card-present country; 0 if unknown, near or announced."""
    flags = np.int64(payment["flags"])
    if card["present_s"] == 0 or flags & _CNP or flags & _TRAVEL_NOTICE:
        return 0.0
    count = math.sqrt(float(len(countries) - CODE_COUNT))
    here = np.int64(countries[_within(payment["country"], CODE_COUNT)])
    there = np.int64(countries[_within(card["present_country"], CODE_COUNT)])
    return float(countries[CODE_COUNT + there * np.int64(count) + here])


@kernel
def _within(number: Int, size: Int) -> Int:
    """Return ``number``, or the last index of a table of ``size`` entries if it is past it."""
    return np.int64(number) if number < size else np.int64(size - 1)


@kernel
def _attempts_24h(card: Row, now_s: Int) -> Int:
    """Return the attempts in the 24 clock hours that end with the one of ``now_s``."""
    then_hour = np.int64(card["updated_s"]) // 3_600
    now_hour = now_s // 3_600
    if now_hour - then_hour >= _HOUR_SLOTS:
        return 0
    attempts = np.int64(0)
    for hour in range(max(now_hour - _HOUR_SLOTS, 0) + 1, then_hour + 1):
        attempts += np.int64(card["hours"][hour % _HOUR_SLOTS])
    return attempts


@kernel
def _bring_forward(card: Row, now_s: Int, curves: NDArray[np.float64]) -> None:
    """Decay and shift everything on ``card`` to ``now_s``; time never runs back."""
    then_s = np.int64(card["updated_s"])
    dt_s = now_s - then_s
    if dt_s <= 0:
        return
    _decay_window(card, 0, decay_factor(curves, dt_s, RATE_10M))
    _decay_window(card, 1, decay_factor(curves, dt_s, RATE_1H))
    _decay_window(card, 2, decay_factor(curves, dt_s, RATE_12H))
    _decay_window(card, 3, decay_factor(curves, dt_s, RATE_15D))
    factor_1h = decay_factor(curves, dt_s, RATE_1H)
    card["declines"] = np.float32(card["declines"] * factor_1h)
    card["small"] = np.float32(card["small"] * factor_1h)
    factor_7d = decay_factor(curves, dt_s, RATE_7D)
    card["cnp_7d"] = np.float32(card["cnp_7d"] * factor_7d)
    card["count_7d"] = np.float32(card["count_7d"] * factor_7d)
    then_hour = then_s // 3_600
    for hour in range(then_hour + 1, min(now_s // 3_600, then_hour + _HOUR_SLOTS) + 1):
        card["hours"][hour % _HOUR_SLOTS] = np.uint8(0)
    days = day_of(now_s) - day_of(then_s)
    today, yesterday = shifted(card["merchants_today"], card["merchants_yesterday"], days)
    card["merchants_today"] = today
    card["merchants_yesterday"] = yesterday
    weeks = week_of(now_s) - week_of(then_s)
    week, last_week = shifted(card["countries_week"], card["countries_last_week"], weeks)
    card["countries_week"] = np.uint32(week)
    card["countries_last_week"] = np.uint32(last_week)
    card["most"] = np.float32(card["most"] * decay_factor(curves, dt_s, RATE_15D))
    card["large"] = np.float32(card["large"] * decay_factor(curves, dt_s, RATE_84H))
    card["updated_s"] = np.uint32(now_s)


@kernel
def _decay_window(card: Row, window: Int, factor: float) -> None:
    card["count"][window] = np.float32(card["count"][window] * factor)
    card["amount"][window] = np.float32(card["amount"][window] * factor)


@kernel
def _add_spend(payment: Row, card: Row, curves: NDArray[np.float64]) -> None:
    """Add an approved payment to counts, amounts, mean and variance (West 1979)."""
    exponent = np.int64(payment["exponent"])
    amount_minor = max(payment["amount_minor"], 0)
    amount = amount_minor / scale_of(curves, exponent)
    weight = np.float64(card["count"][3])
    distance = ln_amount(curves, amount_minor, exponent) - card["ln_mean"]
    share = distance / (weight + 1.0)
    card["ln_mean"] = np.float32(card["ln_mean"] + share)
    variance = weight / (weight + 1.0) * (card["ln_variance"] + distance * share)
    card["ln_variance"] = np.float32(variance)
    if amount * (weight + 1.0) > LARGE * (card["amount"][3] + amount):
        card["large"] = np.float32(np.float64(card["large"]) + 1.0)
    card["most"] = np.float32(max(np.float64(card["most"]), amount))
    for window in range(4):
        card["count"][window] = np.float32(np.float64(card["count"][window]) + 1.0)
        card["amount"][window] = np.float32(card["amount"][window] + amount)
    card["count_7d"] = np.float32(np.float64(card["count_7d"]) + 1.0)
    if np.int64(payment["flags"]) & _CNP:
        card["cnp_7d"] = np.float32(np.float64(card["cnp_7d"]) + 1.0)


@kernel
def _move_to(payment: Row, card: Row) -> None:
    """Remember where and when an approved payment was made."""
    card["approved_s"] = card["updated_s"]
    card["merchants_today"] = np.uint64(card["merchants_today"]) | hashed_bit(
        payment["merchant"], 6
    )
    if payment["country"] == 0:
        return
    countries = np.uint64(card["countries_week"]) | _country_bit(payment)
    card["countries_week"] = np.uint32(countries)
    card["last_country"] = payment["country"]
    if not np.int64(payment["flags"]) & _CNP:
        card["present_country"] = payment["country"]
        card["present_s"] = card["updated_s"]


@kernel
def _subtract(card: Row, window: Int, left: float, amount: float) -> None:
    card["count"][window] = np.float32(max(card["count"][window] - left, 0.0))
    card["amount"][window] = np.float32(max(card["amount"][window] - amount * left, 0.0))
