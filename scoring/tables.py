"""Constants the feature kernels read: decay, logarithm, distinct counts, country distances.

Replay must give the same bits on every machine, so no kernel calls exp or log of the platform
(their last bits differ between libraries and processors). The tables are made from exact decimal
arithmetic and the kernels combine them with +, -, * and / in a fixed order.

``curves`` is one f64 array with these parts:

    DECAY_AT   .. 2^(-i / 2048), i = 0..2048
    POWER_AT   .. 2^-i, i = 0..63
    INVERSE_AT .. 1 / c of the 128 slices of [0.5, 1), c = centre of the slice
    LN_AT      .. ln c of the same slices
    COUNT_AT   .. distinct members when k of 64 bits are set (linear counting, Whang 1990)
    SCALE_AT   .. 10^e, e = 0..EXPONENT_MAX: minor units in a major unit
    LN_SCALE_AT.. ln of it
"""

from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from scoring.countries import distance_table

DECAY_AT = 0
POWER_AT = 2049
INVERSE_AT = POWER_AT + 64
LN_AT = INVERSE_AT + 128
COUNT_AT = LN_AT + 128
SCALE_AT = COUNT_AT + 65
EXPONENT_MAX = 6  # ISO 4217 has at most 4 decimals
LN_SCALE_AT = SCALE_AT + EXPONENT_MAX + 1
CURVES_SIZE = LN_SCALE_AT + EXPONENT_MAX + 1
RATE_BITS = 44  # of the fraction of a rate; 2^25 s times the largest rate stays under 2^62
_DIGITS = 40  # of the decimal arithmetic, far beyond the 17 of a float64


def rate_of(tau_s: int) -> int:
    """Return log2(e) / tau in units of 2^-RATE_BITS: halvings a second of exp(-t / tau)."""
    with localcontext() as context:
        context.prec = _DIGITS
        return int((Decimal(2**RATE_BITS) / (Decimal(2).ln() * tau_s)).to_integral_value())


RATE_10M = rate_of(600)
RATE_1H = rate_of(3_600)
RATE_12H = rate_of(43_200)
RATE_1D = rate_of(86_400)
RATE_84H = rate_of(302_400)
RATE_7D = rate_of(604_800)
RATE_15D = rate_of(1_296_000)


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """What the feature kernels read and nobody writes; make it once, with ``tables()``.

    ``curves`` is f64[CURVES_SIZE] as laid out above; ``countries`` i16[1000 + n * n] as made by
    ``scoring.countries.distance_table``.
    """

    curves: NDArray[np.float64]
    countries: NDArray[np.int16]


def tables() -> Tables:
    """Make the tables; some 30 ms."""
    with localcontext() as context:
        context.prec = _DIGITS
        curves = np.array([float(value) for value in _curve_values()], np.float64)
    assert len(curves) == CURVES_SIZE
    return Tables(curves, distance_table())


def _curve_values() -> list[Decimal]:
    """Return every entry of ``curves`` in order, to _DIGITS digits."""
    ln_2 = Decimal(2).ln()
    centres = [Decimal(2 * i + 257) / 512 for i in range(128)]
    scales = [Decimal(10) ** e for e in range(EXPONENT_MAX + 1)]
    return [
        *((-ln_2 * i / 2048).exp() for i in range(2049)),
        *(1 / Decimal(2**i) for i in range(64)),
        *(1 / centre for centre in centres),
        *(centre.ln() for centre in centres),
        *(_members(k) for k in range(65)),
        *scales,
        *(scale.ln() for scale in scales),
    ]


def _members(bits_set: int) -> Decimal:
    """Return -64 ln(zeros / 64); a full map counts as half a zero, about 311."""
    zeros = Decimal(64 - bits_set) if bits_set < 64 else Decimal("0.5")
    return 64 * (64 / zeros).ln()
