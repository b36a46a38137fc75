"""Bins of a characteristic: monotone, never thin, weights by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.woe import SHARE_MIN, bin_of, fit_bins
from tests.support.effort import examples


def test_weights_by_hand() -> None:
    """Two values: weight = ln of the shares, half a count added to both."""
    values = np.array([0.0] * 60 + [1.0] * 40)
    bad = np.array([0] * 50 + [1] * 10 + [0] * 10 + [1] * 30, np.uint8)
    bins = fit_bins(values, bad)
    assert bins.edges == (0.0, math.inf)
    low = math.log((10.5 / 40.5) / (50.5 / 60.5))
    high = math.log((30.5 / 40.5) / (10.5 / 60.5))
    assert bins.weights == pytest.approx((low, high, 0.0))


def test_what_cannot_be_measured_has_its_own_bin() -> None:
    """NaN is a bin after the last edge, with the weight of its own rows."""
    values = np.array([1.0, 2.0] * 50 + [np.nan] * 50)
    bad = np.array([0] * 100 + [1] * 50, np.uint8)
    bins = fit_bins(values, bad)
    assert bin_of(values, bins.edges)[-1] == len(bins.edges)
    assert bins.weights[-1] > 0


@settings(max_examples=examples(60))
@given(st.integers(0, 2**32 - 1))
def test_rates_are_monotone_and_bins_hold_enough(seed: int) -> None:
    """Whatever the data, weights only rise or only fall and each bin has its share of rows."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=400), 1)
    bad = (rng.random(400) < 0.2 + 0.1 * np.sin(values)).astype(np.uint8)
    bad[0], bad[1] = 0, 1
    bins = fit_bins(values, bad)
    place = bin_of(values, bins.edges)
    rows = np.bincount(place, minlength=len(bins.edges))
    rates = np.bincount(place, weights=bad, minlength=len(bins.edges)) / rows
    steps = np.diff(rates)
    assert (steps >= 0).all() or (steps <= 0).all()
    assert len(rows) == 1 or rows.min() >= SHARE_MIN * 400
