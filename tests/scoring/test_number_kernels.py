"""Decay, logarithm and distinct counts from tables."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.number_kernels import bits_set, decay_factor, hashed_bit, ln_amount, members
from scoring.tables import CURVES_SIZE, RATE_1D, RATE_10M, RATE_15D, rate_of, tables
from tests.oracle import velocity as oracle

pytestmark = pytest.mark.kernels
CURVES = tables().curves
TAUS = (600, 3_600, 43_200, 86_400, 604_800, 1_296_000)


@given(st.integers(-10, 2**32), st.sampled_from(TAUS))
def test_decay_equals_the_oracle(dt_s: int, tau_s: int) -> None:
    """The factor is the oracle's, bit for bit, and within 1e-7 of exp."""
    found = decay_factor(CURVES, dt_s, rate_of(tau_s))
    assert found == oracle.decay(dt_s, tau_s)
    assert abs(found - math.exp(-max(dt_s, 0) / tau_s)) < 1e-7


@pytest.mark.parametrize("rate", [RATE_10M, RATE_1D, RATE_15D])
def test_decay_never_rises(rate: int) -> None:
    """A longer wait never leaves more."""
    steps = [*range(5_000), *range(5_000, 2**25 + 9, 9_973)]
    found = [decay_factor(CURVES, dt_s, rate) for dt_s in steps]
    assert found[0] == 1.0
    assert all(a >= b for a, b in pairwise(found))
    assert found[-1] < 1e-10


@given(st.integers(0, 10**15), st.integers(0, 6))
def test_ln_equals_the_oracle(amount_minor: int, exponent: int) -> None:
    """The logarithm is the oracle's, bit for bit, and within 1e-9 of log1p."""
    found = ln_amount(CURVES, amount_minor, exponent)
    assert found == oracle.ln_amount(amount_minor, exponent)
    assert abs(found - math.log1p(amount_minor / 10**exponent)) < 1e-9


@given(st.integers(0, 2**64 - 1))
def test_bits_and_members(word: int) -> None:
    """Bits are counted exactly; members follow linear counting."""
    assert bits_set(np.uint64(word)) == word.bit_count()
    assert members(CURVES, np.uint64(word)) == oracle.linear_count(range(word.bit_count()))


@given(st.integers(0, 2**32 - 1), st.sampled_from((5, 6)))
def test_one_hashed_bit(number: int, bits: int) -> None:
    """A number sets the one bit that Fibonacci hashing gives it."""
    assert int(hashed_bit(number, bits)) == 1 << oracle.hashed(number, bits)


def test_curves_have_no_gaps() -> None:
    """Every entry is finite and the array has the stated size."""
    assert len(CURVES) == CURVES_SIZE
    assert np.isfinite(CURVES).all()
