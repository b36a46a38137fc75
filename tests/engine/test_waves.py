"""Waves: every account at most once in each, order of arrival kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.items import ITEM, Role
from engine.waves import order_waves

pytestmark = pytest.mark.kernels

_items = st.lists(
    st.tuples(
        st.integers(0, 4),  # account; 0 = none
        st.sampled_from([Role.AUTHORIZE, Role.REVERSE, Role.EXPIRE]),
        st.booleans(),  # recorded
    ),
    max_size=30,
)


@given(_items)
def test_waves_are_the_naive_groups(drawn: list[tuple[int, Role, bool]]) -> None:
    """Payments of a wave, then its others, then the items without an account; each by arrival."""
    items = np.zeros(max(len(drawn), 1), ITEM)
    seen: dict[int, int] = {}
    groups: dict[tuple[int, int], list[int]] = {}
    loose: list[int] = []
    for i, (account, role, is_recorded) in enumerate(drawn):
        items[i]["role"], items[i]["record"] = role, 0 if is_recorded else -1
        items[i]["account"], items[i]["wave"] = account, -1
        if not is_recorded:
            continue
        if account == 0:
            loose.append(i)
            continue
        wave = seen.get(account, 0)
        seen[account] = wave + 1
        items[i]["wave"] = wave
        groups.setdefault((wave, int(role != Role.AUTHORIZE)), []).append(i)
    wave_count = max(seen.values(), default=0)
    bounds = np.full(2 * wave_count + 3, -1, np.int32)
    order = np.full(len(items), -1, np.int32)

    half = len(drawn) // 2  # the second half as if they were the expiries
    order_waves(0, half, half, len(drawn), items, wave_count, bounds, order)

    for wave in range(wave_count):
        first, others, last = bounds[2 * wave : 2 * wave + 3]
        assert order[first:others].tolist() == groups.get((wave, 0), [])
        assert order[others:last].tolist() == groups.get((wave, 1), [])
        accounts = items["account"][order[first:last]].tolist()
        assert len(set(accounts)) == len(accounts)
    assert order[bounds[2 * wave_count] : bounds[2 * wave_count + 1]].tolist() == loose
