"""The ring of answered messages: its search, its bounds and its spare rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.authorizations import (
    SPARE_ROWS,
    Cursor,
    batch_rows_max,
    entry_of_seq,
    new_cursor,
    new_ring,
    remembered_rows,
)

pytestmark = pytest.mark.kernels


@given(
    st.sampled_from([2, 16, 64]),
    st.lists(st.integers(0, 3), max_size=150),
    st.integers(0, 400),
)
def test_an_entry_is_found_by_record_as_a_linear_search_finds_it(
    capacity: int, steps: list[int], wanted: int
) -> None:
    """Numbers never fall along the ring and may be skipped or shared; the first entry is meant."""
    ring, seq, entries = new_ring(capacity), 1, []
    for entry, step in enumerate(steps, start=1):
        seq += step
        ring[entry & (capacity - 1)]["seq"] = seq
        entries.append((entry, seq))
    living = entries[-capacity:]
    expected = next((entry for entry, number in living if number == wanted), -1)

    assert entry_of_seq(ring, np.int64(len(steps)), np.int64(wanted)) == expected


@pytest.mark.parametrize("capacity", [0, 1, 3, 100])
def test_a_ring_is_a_power_of_two(capacity: int) -> None:
    """Entry numbers are masked, so another size is refused by the name of its limit."""
    with pytest.raises(ValueError, match="authorizations_max"):
        new_ring(capacity)


@pytest.mark.parametrize("capacity", [2, 16, 1 << 14, 1 << 15, 1 << 22])
def test_a_batch_never_writes_a_row_that_it_may_have_found(capacity: int) -> None:
    """Two rows a message fit the spare rows, and some are remembered."""
    spare = capacity - remembered_rows(capacity)

    assert 0 < spare <= SPARE_ROWS
    assert 2 * batch_rows_max(capacity) <= spare
    assert 2 * batch_rows_max(capacity) <= remembered_rows(capacity)


def test_records_are_numbered_from_one() -> None:
    """A new ledger has no entry yet and gives its first record number 1."""
    cursor = new_cursor()

    assert cursor[Cursor.NEXT_SEQ] == 1
    assert not np.delete(cursor, Cursor.NEXT_SEQ).any()
