"""The ring of posted items against a dict that forgets the oldest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.authorizations import new_cursor
from ledger.clearings import find_posted, new_posted, posted_of_seq, remember_posted
from ledger.index import Index
from ledger.record import RECORD, Kind
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

_CAPACITY = 8


@settings(max_examples=examples(100))
@given(st.lists(st.integers(1, 40), max_size=60, unique=True))
def test_the_last_items_are_found_by_id_and_by_record(ids: list[int]) -> None:
    """As many as there are rows; those before them are not found any more."""
    posted, cursor = new_posted(_CAPACITY), new_cursor()
    index = Index(rows_max=_CAPACITY, source=lambda _a, _b: (np.zeros((0, 2), np.uint64),) * 2)
    kept: dict[int, int] = {}
    for seq, name in enumerate(ids, 100):
        record = np.zeros(1, RECORD)[0]
        record["id_hi"], record["id_lo"], record["seq"] = name, name + 1, seq
        record["amount_minor"], record["amount2_minor"] = name, name - 20
        record["account"], record["kind"], record["pcode"] = 1, Kind.CLEARING, 12_345
        remember_posted(record, np.int64(7 * name), posted, index.slots, cursor)
        kept[name] = seq
        if len(kept) > _CAPACITY:
            del kept[next(iter(kept))]
        for known in range(1, 41):
            number = int(find_posted(index.slots, np.uint64(known), np.uint64(known + 1)))
            assert (number > 0) == (known in kept)
            if number:
                row = posted[number & (_CAPACITY - 1)]
                assert (row["seq"], row["amount_minor"]) == (kept[known], known)
                assert (row["authorization"], row["pair"]) == (7 * known, 1)
                assert row["freed_minor"] == max(known - 20, 0)
                head = np.int64(cursor[8])
                assert posted_of_seq(posted, head, np.int64(kept[known])) == number
        assert posted_of_seq(posted, np.int64(cursor[8]), np.int64(99)) == 0


def test_no_id_is_no_item() -> None:
    """An item that names nothing finds nothing."""
    index = Index(rows_max=8, source=lambda _a, _b: (np.zeros((0, 2), np.uint64),) * 2)
    assert find_posted(index.slots, np.uint64(0), np.uint64(0)) == 0


def test_a_capacity_is_a_power_of_two() -> None:
    """Else numbers would not fall into rows."""
    with pytest.raises(ValueError, match="clearings_max"):
        new_posted(12)
