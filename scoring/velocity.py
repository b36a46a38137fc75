"""What is remembered of a card, a merchant and a BIN: decayed counters, rings and bitmaps.

No history of payments is kept. A counter with time constant tau holds the sum of exp(-age / tau)
over its events and is brought forward only when its row is touched, so an event costs the same
however busy the card. Two kinds of counting stand side by side: spend counts approved payments,
attacks count attempts. Rows of merchants and BINs are shared between accounts and count attempts
and labels only, never decisions, so they do not depend on how a stream is cut into batches.

Not here: who owns row n (dense numbers are given out by the caller) and exact spend limits, which
belong to money, not to floats. Row 0 of cards is "no card" and stays empty; row 0 of merchants and
BINs is shared by all that are not known.

Sizes: 128 bytes a card (1.28 GB for 10 million), 128 bytes a merchant or BIN.
"""

import numpy as np
from numpy.typing import NDArray

CARD_VELOCITY = np.dtype(
    [
        (
            "updated_s",
            "<u4",
        ),  # last attempt, Unix seconds; every counter is decayed to here; 0 = new
        ("approved_s", "<u4"),  # last approved payment; 0 = none
        ("present_s", "<u4"),  # last approved card-present payment with a known country; 0 = none
        ("last_country", "<u2"),  # of the last approved payment that named one, ISO 3166 number
        ("present_country", "<u2"),  # of the payment at present_s
        ("count", "<f4", 4),  # approved payments, tau 10 min, 1 h, 12 h, 15 d
        ("amount", "<f4", 4),  # their amounts, major units, same tau
        ("ln_mean", "<f4"),  # mean of ln(amount + 1) of approved payments, weights of tau 15 d
        ("ln_variance", "<f4"),  # their variance
        (
            "hours",
            "u1",
            24,
        ),  # attempts in each of 24 clock hours, slot = hour number % 24, up to 255
        ("merchants_today", "<u8"),  # approved, one hashed bit each, UTC day of updated_s
        ("merchants_yesterday", "<u8"),
        ("countries_week", "<u4"),  # approved, one hashed bit each, Monday week of updated_s
        ("countries_last_week", "<u4"),
        ("declines", "<f4"),  # declined attempts, tau 1 h
        ("cnp_7d", "<f4"),  # approved card-not-present payments, tau 7 d
        ("count_7d", "<f4"),  # approved payments, tau 7 d
        ("small", "<f4"),  # attempts under 2.00, tau 1 h
        ("most", "<f4"),  # largest approved amount, major units, fading with tau 15 d
        ("large", "<f4"),  # approved payments over 3 times the mean, tau 84 h
    ]
)
assert CARD_VELOCITY.itemsize == 128
assert CARD_VELOCITY.fields is not None
assert CARD_VELOCITY.fields["count"][1] == 16
assert CARD_VELOCITY.fields["merchants_today"][1] == 80

MERCHANT_VELOCITY = np.dtype(
    [
        ("updated_s", "<u4"),  # last attempt or label; every counter is decayed to here; 0 = new
        ("label_s", "<u4"),  # last confirmed fraud; 0 = none
        ("attempts_10m", "<f4"),
        ("attempts_1d", "<f4"),
        ("attempts_15d", "<f4"),
        ("frauds_1d", "<f4"),  # confirmed frauds, counted when the label arrives
        ("frauds_15d", "<f4"),
        ("small_10m", "<f4"),  # attempts under 2.00
        ("unusable_10m", "<f4"),  # attempts that name no usable card
        ("first_seen_day", "<u2"),  # days since 1970-01-01; 0 = never
        ("reserved", "<u2"),
        ("cards", "<u8"),  # one hashed bit a card, clock 10 minutes of updated_s
        ("frauds_84h", "<f4"),
        ("old_1d", "<f4"),  # attempts that are a week old, counted when they become so
        ("old_84h", "<f4"),
        ("old_15d", "<f4"),
        ("half_days", "<u4", 16),  # attempts of each half day, slot = its number % 16, until old
    ]
)
assert MERCHANT_VELOCITY.itemsize == 128
assert MERCHANT_VELOCITY.fields is not None
assert MERCHANT_VELOCITY.fields["cards"][1] == 40

_LINE_BYTES = 64


def new_cards(count: int) -> NDArray[np.void]:
    """Return ``count`` empty CARD_VELOCITY rows, row 0 included; pages are touched when used."""
    return _aligned(count, CARD_VELOCITY)


def new_merchants(count: int) -> NDArray[np.void]:
    """Return ``count`` empty MERCHANT_VELOCITY rows for merchants or BINs, row 0 included."""
    return _aligned(count, MERCHANT_VELOCITY)


def _aligned(count: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """Return zeros that start on a cache line, so that a row never reaches into one more."""
    raw = np.zeros(count * dtype.itemsize + _LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % _LINE_BYTES
    return raw[start : start + count * dtype.itemsize].view(dtype)
