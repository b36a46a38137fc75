"""The kernel's tree over records is the one that hashlib and RFC 6962 give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.proof.record_kernels import record_root
from ledger.record import RECORD_BYTES
from tests.oracle.merkle import mth
from tests.support.effort import examples


@pytest.mark.kernels
@settings(max_examples=examples(40), deadline=None)
@given(count=st.integers(1, 70), seed=st.integers(0, 2**32))
def test_root_of_a_batch(count: int, seed: int) -> None:
    """Any records, any number of them."""
    raw = np.random.default_rng(seed).integers(0, 256, (count, RECORD_BYTES), np.uint8)
    hashes = np.zeros((count, 32), np.uint8)
    record_root(raw, hashes)
    assert hashes[0].tobytes() == mth([row.tobytes() for row in raw])
