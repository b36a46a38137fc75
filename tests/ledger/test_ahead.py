"""An iterator in another thread gives the same items, the same error, and ends with its user."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ahead import read_ahead


@given(items=st.lists(st.integers(), max_size=100), size=st.integers(1, 9))
def test_the_same_items_in_order(items: list[int], size: int) -> None:
    """However they cross, all come, once, in order."""
    assert list(read_ahead(items, size)) == items


def test_an_error_comes_after_the_items_before_it() -> None:
    """What the source raises is raised in the consumer's thread."""

    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("third")

    taken = []
    with pytest.raises(KeyError, match="third"):
        taken.extend(read_ahead(source(), 8))
    assert taken == [1, 2]
    found = read_ahead(source(), 1)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(found)


def test_a_consumer_that_leaves_ends_the_thread() -> None:
    """A long source is not read to its end when nobody takes its items."""
    taken = []

    def source() -> Iterator[int]:
        for number in range(10**9):
            taken.append(number)
            yield number

    before = threading.active_count()
    found = read_ahead(source(), 2)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    found.close()
    assert threading.active_count() == before
    assert len(taken) < 100
