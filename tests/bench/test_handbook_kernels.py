"""The windows of the published features equal the naive twin and the published values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import handbook
from bench.traffic import Traffic
from tests.oracle import handbook as oracle
from tests.support.effort import examples

pytestmark = pytest.mark.kernels


@settings(max_examples=examples(40), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 40 * 24), st.integers(0, 3), st.integers(0, 3), st.integers(1, 9_999),
            st.integers(0, 1),
        ),
        min_size=1, max_size=60,
    ),
    st.integers(0, 9),
)  # fmt: skip
def test_windows_equal_the_oracle(rows: list[tuple[int, ...]], delay_days: int) -> None:
    """Any stream, payments in the same second among it: every count, mean and share."""
    stream = [
        (hour * 3_600, card, terminal, cents, fraud)
        for hour, card, terminal, cents, fraud in sorted(rows, key=lambda row: row[0])
    ]
    columns = [np.array(column) for column in zip(*stream, strict=True)]
    found = handbook.published_features(Traffic(*columns, 0), delay_days)
    for row in range(len(stream)):
        wanted = oracle.features(stream, row, delay_days)
        assert found[row, 3:].tolist() == pytest.approx(wanted, abs=1e-9)
