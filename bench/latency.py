"""Latency counts in log-linear buckets: exact to the microsecond below 2,048 us, else to 0.1 %.

Kernels count into an int64 array (``bucket_of`` says where); reports are made from it with
HdrHistogram, three significant digits, filled once a bucket and not once a value.
"""

from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from ledger.jit import kernel

_EXACT = 2_048
_HALF = 1_024
_TOP_BITS = 36  # the longest latency told apart: 2**36 us, 19 hours
LONGEST_US = 2**_TOP_BITS - 1
BUCKETS = _EXACT + (_TOP_BITS - 11) * _HALF


@kernel
def bucket_of(latency_us: int) -> int:
    """Return the bucket of a latency in us; below 0 counts as 0, above LONGEST_US as that."""
    value = min(max(latency_us, 0), LONGEST_US)
    shift = 0
    while value >> shift >= _EXACT:
        shift += 1
    if shift == 0:
        return int(value)
    return int(_EXACT + (shift - 1) * _HALF + (value >> shift) - _HALF)


def value_of(bucket: int) -> int:
    """Return the middle of a bucket in us."""
    if bucket < _EXACT:
        return bucket
    shift, place = divmod(bucket - _EXACT, _HALF)
    return ((place + _HALF) << (shift + 1)) + (1 << shift)


def percentile_us(counts: NDArray[np.int64], share: float) -> int:
    """Return the latency in us below or at which ``share`` (0-1) of ``counts`` lie; 0 if none."""
    reached = np.cumsum(counts)
    if not reached[-1]:
        return 0
    wanted = max(int(np.ceil(share * reached[-1])), 1)
    return value_of(int(np.searchsorted(reached, wanted)))


def histogram(counts: NDArray[np.int64]) -> Any:
    """Return ``counts`` as an HdrHistogram in us with three significant digits."""
    report = HdrHistogram(1, LONGEST_US, 3)
    for bucket in np.flatnonzero(counts):
        report.record_value(value_of(int(bucket)), int(counts[bucket]))
    return report
