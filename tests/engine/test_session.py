"""What waits on a link: taken in order, together only what came together."""

from hypothesis import given
from hypothesis import strategies as st

from engine.limits import LINK_PENDING_BYTES_MAX
from engine.session import ARRIVAL_SPREAD_NS, Link, Profile
from tests.support.peer import Peer

_LATER = ARRIVAL_SPREAD_NS + 1


def _link() -> Link:
    return Link(1, Peer(), 0, Profile())


def test_what_came_together_is_taken_together() -> None:
    """Chunks within the spread are one piece; its time is that of its last byte."""
    link = _link()
    link.put(b"ab", 1_000)
    link.put(b"cd", 1_000 + ARRIVAL_SPREAD_NS)
    assert link.take(100) == (b"abcd", 1_000 + ARRIVAL_SPREAD_NS)
    assert (link.pending_bytes, len(link.chunks), len(link.times)) == (0, 0, 0)


def test_what_came_later_is_for_the_next_batch() -> None:
    """A chunk past the spread keeps its own time of arrival."""
    link = _link()
    link.put(b"ab", 1)
    link.put(b"cd", 1 + _LATER)
    assert link.take(100) == (b"ab", 1)
    assert link.pending_bytes == 2
    assert link.take(100) == (b"cd", 1 + _LATER)


def test_the_beginning_of_a_frame_arrives_with_its_rest() -> None:
    """Half a frame that waited for a minute is not a late one when its other half comes."""
    link = _link()
    link.put(b"ab", 1)
    assert link.take(100) == (b"ab", 1)
    link.put_back(b"b", 0)
    link.put(b"cd", 60 * 10**9)
    assert link.take(100) == (b"bcd", 60 * 10**9)


def test_whole_frames_that_found_no_room_keep_their_time() -> None:
    """What is put back with its time is as old as it was."""
    link = _link()
    link.put(b"abcd", 1)
    link.take(100)
    link.put_back(b"cd", 1)
    link.put(b"ef", 1 + _LATER)
    assert link.take(100) == (b"cd", 1)
    assert link.take(100) == (b"ef", 1 + _LATER)


def test_a_link_is_full_past_its_bound() -> None:
    """One byte more than the bound is one too many."""
    link = _link()
    link.put(bytes(LINK_PENDING_BYTES_MAX), 1)
    assert not link.is_full
    link.put(b"x", 1)
    assert link.is_full


@given(
    st.lists(st.tuples(st.binary(max_size=9), st.integers(0, 2 * ARRIVAL_SPREAD_NS)), max_size=20),
    st.integers(1, 12),
)
def test_nothing_is_lost_and_nothing_changes_its_place(
    parts: list[tuple[bytes, int]], room: int
) -> None:
    """Whatever the room and the times, the bytes come out as they went in, at times that rise."""
    link = _link()
    now_ns, sent, taken, last_ns = 1, b"", b"", 0
    for data, gap_ns in parts:
        now_ns += gap_ns
        if data:
            link.put(data, now_ns)
            sent += data
    while link.pending_bytes:
        data, arrival_ns = link.take(room)
        assert 0 < len(data) <= room
        assert last_ns <= arrival_ns <= now_ns
        taken, last_ns = taken + data, arrival_ns
    assert taken == sent
