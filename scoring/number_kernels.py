"""Arithmetic of the feature kernels: decay, logarithm, hashed bits, rolling windows.

Every function here is exact integer work or +, -, *, / on float64 in a fixed order, so it gives the
same bits on every machine; see ``scoring.tables`` for the tables it reads.
"""

import math

import numpy as np
from numpy.typing import NDArray

from scoring.jit import Int, kernel
from scoring.tables import (
    COUNT_AT,
    DECAY_AT,
    EXPONENT_MAX,
    INVERSE_AT,
    LN_AT,
    LN_SCALE_AT,
    POWER_AT,
    RATE_BITS,
    SCALE_AT,
)

_REACH_S = 1 << 25  # 388 days: every counter is 0 by then, and dt * rate fits in int64
_FRACTION_MASK = (1 << RATE_BITS) - 1
_INDEX_SHIFT = RATE_BITS - 11
_REST_MASK = (1 << _INDEX_SHIFT) - 1
_REST_UNIT = 1.0 / (1 << _INDEX_SHIFT)
_LN_2 = 0.6931471805599453
_THIRD = 1.0 / 3.0


@kernel
def decay_factor(curves: NDArray[np.float64], dt_s: Int, rate: Int) -> float:
    """Return exp(-dt / tau) for a ``rate`` from ``scoring.tables.rate_of``, 1 for dt <= 0.

    2^-x with x = dt * rate in fixed point: table of 2048 points and the chord between two of them
    (error under 2e-8), so it never rises with dt.
    """
    if dt_s <= 0:
        return 1.0
    if dt_s >= _REACH_S:
        return 0.0
    x = dt_s * rate
    halvings = x >> RATE_BITS
    if halvings >= 48:
        return 0.0
    index = (x & _FRACTION_MASK) >> _INDEX_SHIFT
    upper = curves[DECAY_AT + index]
    lower = curves[DECAY_AT + index + 1]
    value = upper - (upper - lower) * ((x & _REST_MASK) * _REST_UNIT)
    return value * curves[POWER_AT + halvings]


@kernel
def scale_of(curves: NDArray[np.float64], exponent: Int) -> float:
    """Return 10^exponent, the minor units in one major unit."""
    return curves[SCALE_AT + min(exponent, EXPONENT_MAX)]


@kernel
def ln_amount(curves: NDArray[np.float64], amount_minor: Int, exponent: Int) -> float:
    """Return ln(amount in major units + 1) for an amount >= 0, error under 1e-9.

    It is ln(minor + 10^e) - ln(10^e): the number is split into mantissa and exponent (exact), the
    mantissa is divided by the centre of its slice, and four terms of the series do the rest.
    """
    exponent = min(exponent, EXPONENT_MAX)
    mantissa, power = math.frexp(float(amount_minor) + curves[SCALE_AT + exponent])
    piece = int(mantissa * 256.0) - 128
    r = mantissa * curves[INVERSE_AT + piece] - 1.0
    series = r * (1.0 - r * (0.5 - r * (_THIRD - r * 0.25)))
    value = power * _LN_2 + curves[LN_AT + piece] + series - curves[LN_SCALE_AT + exponent]
    return max(value, 0.0)


@kernel
def hashed_bit(number: Int, bits: Int) -> np.uint64:
    """Return a word with one of ``2^bits`` bits set, spread by Fibonacci hashing."""
    spread = np.uint64(number) * np.uint64(0x9E3779B97F4A7C15)
    return np.uint64(1) << (spread >> np.uint64(64 - bits))


@kernel
def bits_set(word: np.uint64) -> Int:
    """Return how many bits of ``word`` are set (the usual sums of pairs, nibbles and bytes)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    pairs = np.uint64(0x3333333333333333)
    word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def members(curves: NDArray[np.float64], word: np.uint64) -> float:
    """Return the distinct members that left this 64-bit map, by linear counting."""
    return curves[COUNT_AT + bits_set(word)]


@kernel
def shifted(current: Int, previous: Int, steps: Int) -> tuple[np.uint64, np.uint64]:
    """Return (current, previous) bitmaps ``steps`` periods later."""
    if steps <= 0:
        return np.uint64(current), np.uint64(previous)
    if steps == 1:
        return np.uint64(0), np.uint64(current)
    return np.uint64(0), np.uint64(0)


@kernel
def day_of(t_s: Int) -> Int:
    """Return days since 1970-01-01."""
    return t_s // 86_400


@kernel
def week_of(t_s: Int) -> Int:
    """Return Monday weeks; 1970-01-01 was a Thursday."""
    return (t_s // 86_400 + 3) // 7
