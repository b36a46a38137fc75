"""Latency buckets: the kernel's bucket, its bounds and the percentiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.latency import BUCKETS, LONGEST_US, bucket_of, histogram, percentile_us, value_of
from tests.oracle import load as oracle

pytestmark = pytest.mark.kernels


@given(st.integers(0, LONGEST_US))
def test_a_bucket_holds_its_bounds_and_no_more(latency_us: int) -> None:
    """All latencies of a bucket share it, the next ones do not, its value lies inside."""
    low, high = oracle.bucket_bounds(latency_us)
    bucket = bucket_of(latency_us)
    assert 0 <= bucket < BUCKETS
    assert bucket_of(low) == bucket_of(high) == bucket
    assert low <= value_of(bucket) <= high
    if high < LONGEST_US:
        assert bucket_of(high + 1) == bucket + 1


def test_out_of_range_latencies_are_clamped() -> None:
    """Below 0 counts as 0, over the longest as the longest."""
    assert bucket_of(-5) == 0
    assert bucket_of(2**50) == bucket_of(LONGEST_US) == BUCKETS - 1


@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_percentiles_are_within_a_thousandth(values: list[int], share: float) -> None:
    """A percentile equals the sorted value at its rank, to 0.1 %."""
    counts = np.zeros(BUCKETS, dtype=np.int64)
    for value in values:
        counts[bucket_of(value)] += 1
    rank = max(int(np.ceil(share * len(values))), 1) - 1
    expected = sorted(values)[rank]
    assert abs(percentile_us(counts, share) - expected) <= expected / 1000 + 1
    assert histogram(counts).get_total_count() == len(values)


def test_no_latencies_give_zero() -> None:
    """An empty count has percentile 0."""
    assert percentile_us(np.zeros(BUCKETS, dtype=np.int64), 0.99) == 0
