"""Population stability: counts equal the oracle, the index is 0 at home and large abroad."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.drift import TENTHS, count_bins, edges_of, psi, spreads_of
from scoring.features import FEATURES
from scoring.registry import Spread
from tests.oracle import drift as oracle

pytestmark = pytest.mark.kernels
WIDTH = len(FEATURES)


@given(st.integers(0, 2**32 - 1))
def test_counts_equal_the_oracle(seed: int) -> None:
    """Every column and the score, rows in any order, unscored rows left out of the score."""
    rng = np.random.default_rng(seed)
    features = np.round(rng.normal(size=(80, WIDTH)), 1).astype(np.float32)
    scores = rng.choice([0, 5, 9_000, 10_000, 65_535], 80).astype(np.uint16)
    edges = edges_of(spreads_of(features, scores[scores <= 10_000]))
    counts = np.zeros((WIDTH + 1, TENTHS), np.int64)
    idx = rng.permutation(80)[:50].astype(np.int32)
    count_bins(features, scores, idx, edges, counts)
    for column in range(WIDTH):
        values = features[idx, column].tolist()
        assert counts[column].tolist() == oracle.bin_counts(values, edges[column].tolist())
    scored = [float(score) for score in scores[idx] if score <= 10_000]
    assert counts[WIDTH].tolist() == oracle.bin_counts(scored, edges[WIDTH].tolist())


def test_index_by_hand() -> None:
    """Halves that became 0.6 and 0.4: 0.1 ln 1.2 - 0.1 ln 0.8."""
    spread = Spread("x", (0.0,), (0.5, 0.5))
    counts = np.array([60, 40, *[0] * 8])
    assert psi(spread, counts) == pytest.approx(0.1 * math.log(1.2) - 0.1 * math.log(0.8))
    assert psi(spread, np.array([50, 50, *[0] * 8])) == 0.0
    assert psi(spread, np.array([100, 0, *[0] * 8])) > 0.25
    assert math.isnan(psi(spread, np.zeros(10, np.int64)))


def test_few_values_make_few_bins() -> None:
    """A flag has two bins, a constant one."""
    features = np.zeros((100, WIDTH), np.float32)
    features[:30, 1] = 1.0
    spreads = spreads_of(features, np.zeros(100, np.uint16))
    assert spreads[0].edges == ()
    assert spreads[1].edges == (0.0,)
    assert spreads[1].shares == (0.7, 0.3)
