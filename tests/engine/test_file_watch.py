"""A watched file is read once for a change, when it stands still."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engine.file_watch import FileWatch, Stamp

_OLD, _HALF, _NEW, _NONE = (1, 100, 7), (2, 50, 8), (3, 120, 8), (0, 0, 0)


def test_a_file_that_grows_is_not_read() -> None:
    """Half a copy is passed over; the whole is read once; a file that goes is a change too."""
    watch = FileWatch(_OLD)
    looks: list[Stamp] = [_OLD, _HALF, _NEW, _NEW, _NEW, _NONE, _NONE, _NONE, _NEW, _NEW]
    assert [watch.look(stamp) for stamp in looks] == [
        False, False, False, True, False, False, True, False, False, True
    ]  # fmt: skip


@given(st.lists(st.sampled_from([_OLD, _HALF, _NEW, _NONE]), max_size=20))
def test_what_stands_still_was_read(stamps: list[Stamp]) -> None:
    """After two looks at one stamp it is the one read last, and none is read twice in a row."""
    watch = FileWatch(_OLD)
    taken = [_OLD, *(stamp for stamp in (*stamps, _NEW, _NEW) if watch.look(stamp))]
    assert taken[-1] == _NEW
    assert all(before != after for before, after in pairwise(taken))
