"""The state as arrays: what a snapshot keeps, and into which bounds it goes back."""

from random import Random
from typing import Any

import numpy as np
import pytest

from engine.state import Bounds, EngineState
from ledger.authorizations import Cursor, remembered_rows
from tests.support.draws import SECONDS_S, Traffic, stream
from tests.support.small_engine import SmallEngine
from tests.support.streams import Player

pytestmark = pytest.mark.kernels

_MANY = Traffic(cards=6, accounts=3, stans=900_000, events=False, gaps_s=SECONDS_S, merchants=9)


def _arrays(count: int = 60, **options: Any) -> dict[str, np.ndarray]:
    player = Player(SmallEngine(plain=True, **options), (False, False))
    player.play(stream(Random(3), _MANY, count))
    return {name: array.copy() for name, array in player.engine.state.arrays().items()}


@pytest.mark.parametrize("ring", [64, 128, 1024])
def test_a_snapshot_goes_back_whole_into_the_same_or_larger_tables(ring: int) -> None:
    """The same arrays come out again; holds and identities are found."""
    arrays = _arrays(ring=64, limit_minor=100)
    state = EngineState(Bounds(64, 64, 64, ring))

    state.restore(arrays)

    for name, array in state.arrays().items():
        if name != "ring" or ring == 64:
            assert array.tobytes() == arrays[name].tobytes(), name
    head = int(state.cursor[Cursor.HEAD])
    row = state.ring[head & (ring - 1)]
    assert state.id_index.find(int(row["id_lo"]), int(row["id_hi"])) == head
    assert state.id_index.count <= remembered_rows(ring)


def test_a_smaller_ring_forgets_old_answers_but_never_an_open_hold() -> None:
    """Closed rows may go when the limit was lowered; a hold that would go refuses the start."""
    closed = _arrays(ring=256, limit_minor=100)
    closed["ring"]["state"][closed["ring"]["state"] == 4] = 2
    small = EngineState(Bounds(64, 64, 64, 16))
    small.restore(closed)
    assert small.id_index.count <= remembered_rows(16)

    with pytest.raises(ValueError, match=r"limits\.authorizations_max"):
        EngineState(Bounds(64, 64, 64, 16)).restore(_arrays(ring=256, limit_minor=10**9))


@pytest.mark.parametrize(
    ("bounds", "name"),
    [
        (Bounds(2, 64, 64, 64), "accounts_max"),
        (Bounds(64, 5, 64, 64), "cards_max"),
        (Bounds(64, 64, 3, 64), "merchants_max"),
    ],
)
def test_bounds_below_what_is_kept_are_named(bounds: Bounds, name: str) -> None:
    """The error says which limit and how much is there."""
    with pytest.raises(ValueError, match=rf"limits\.{name}"):
        EngineState(bounds).restore(_arrays(ring=64))


def test_where_the_sweep_looks_and_what_was_refused_are_no_part_of_the_state() -> None:
    """Neither is engine time, which moves with messages that leave no record."""
    state = EngineState(Bounds(4, 4, 4, 16))
    before = {name: array.tobytes() for name, array in state.arrays().items()}
    for slot in (Cursor.SWEEP, Cursor.REFUSED, Cursor.LAST_TS_NS):
        state.cursor[slot] = 7

    assert {name: array.tobytes() for name, array in state.arrays().items()} == before


def test_tokens_are_added_past_a_full_index() -> None:
    """More cards than the index has room for at first: it grows until all are in."""
    state = EngineState(Bounds(4, 1000, 4, 16))
    state.card_index = type(state.card_index)(
        rows_max=1000, source=state._card_keys, rows_expected=16
    )
    tokens = np.arange(1, 2001, dtype=np.uint64).reshape(-1, 2) * np.uint64(0x9E3779B97F4A7C15)

    for first in range(0, 1000, 50):
        numbers = np.arange(first + 1, first + 51)
        state.cursor[Cursor.CARDS] = 1000  # their events came first
        state.maintain()
        state.add_tokens(numbers, tokens[first : first + 50])

    found = [state.card_index.find(int(a), int(b)) for a, b in tokens]
    assert found == list(range(1, 1001))
    assert state.card_index.count == 1000
    state.close()
