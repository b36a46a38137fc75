"""The wheel of deadlines against a sorted list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.authorizations import Cursor, State, new_cursor, new_ring
from ledger.deadlines import (
    LIFE_H_MAX,
    deadline_of,
    new_wheel,
    next_due,
    rebuild,
    reschedule,
    schedule,
    unschedule,
)
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

_ROWS = 64
_START_S = 1_780_000_000
_steps = st.lists(
    st.tuples(
        st.sampled_from(["place", "place", "close", "close", "reopen", "wait", "restart"]),
        st.sampled_from([1, 1, 2, 24, LIFE_H_MAX]),
        st.sampled_from([0, 1, 59, 3_600, 90_000, 40 * 86_400, 100 * 86_400]),
    ),
    max_size=60,
)


@settings(max_examples=examples(200))
@given(_steps)
def test_holds_fall_due_by_deadline_then_by_entry(steps: list[tuple[str, int, int]]) -> None:
    """Of all lives, closed and open again at any time, restarts between: due as in the list."""
    ring, wheel, cursor = new_ring(_ROWS), new_wheel(_ROWS), new_cursor()
    now_s, expected, closed = _START_S, [], []
    for what, life_h, gap_s in steps:
        if what == "place" and cursor[Cursor.HEAD] < _ROWS - 1:
            cursor[Cursor.HEAD] += 1
            entry = int(cursor[Cursor.HEAD])
            row = ring[entry]
            row["state"], row["deadline_s"] = State.OPEN, deadline_of(now_s, life_h)
            assert 0 <= int(row["deadline_s"]) - now_s - life_h * 3600 < 60
            schedule(np.int64(entry), ring, wheel, cursor)
            expected.append((int(row["deadline_s"]), entry))
        elif what == "close" and expected:
            closed.append(expected.pop(gap_s % len(expected)))
            entry = closed[-1][1]
            ring[entry]["state"] = State.REVERSED
            unschedule(np.int64(entry), ring, wheel)
            unschedule(np.int64(entry), ring, wheel)  # twice is as good as once
            assert ring[entry]["deadline_s"] == 0
        elif what == "reopen" and closed:
            deadline_s, entry = closed.pop(life_h % len(closed))
            if deadline_s <= now_s:
                continue
            ring[entry]["state"], ring[entry]["deadline_s"] = State.OPEN, deadline_s
            reschedule(np.int64(entry), ring, wheel, cursor)
            expected.append((deadline_s, entry))
        elif what == "restart":
            wheel = new_wheel(_ROWS)
            rebuild(ring, np.int64(1), wheel, cursor)
        else:
            now_s += gap_s
        # The wheel goes round in 45 days; holds that are overdue for longer come in any order.
        while due := int(next_due(ring, wheel, cursor, np.int64(now_s))):
            deadline_s = int(ring[due]["deadline_s"])
            assert deadline_s <= now_s
            if now_s - min(expected)[0] < 44 * 86_400:
                assert (deadline_s, due) == min(expected)
            expected.remove((deadline_s, due))
            ring[due]["state"] = State.EXPIRED
            unschedule(np.int64(due), ring, wheel)
        assert all(deadline_s > now_s for deadline_s, _ in expected)
