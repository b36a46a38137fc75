"""State is the fold of the records: replayed, restored and live engines are one and the same.

Rings wrap, indexes grow and merchants pass their bound; operators' events stand among the traffic.
"""

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.replay import Replayer
from engine.state import EngineState
from ledger.index import Index
from ledger.record import Kind
from ledger.snapshot import state_hash
from tests.support.draws import SECONDS_S, Traffic, stream
from tests.support.effort import examples
from tests.support.small_engine import HASH_KEY, START_NS, TABLES, SmallEngine
from tests.support.steps import play_steps
from tests.support.streams import Player

pytestmark = pytest.mark.kernels

_TRAFFIC = Traffic(cards=6, accounts=3, stans=30, merchants=9, ids=True)
_BRIEF = replace(_TRAFFIC, events=False, gaps_s=SECONDS_S)
_REQUIRED = (False, True)
_SIZES = st.sampled_from(
    [
        {"ring": 16, "hold_life_h": 1, "merchants": 4},
        {"ring": 64, "hold_life_h": 24, "merchants": 4},
        {"ring": 256, "hold_life_h": 24, "merchants": 64},
    ]
)
_seeds = st.integers(0, 2**32 - 1)


def _play(player: Player, steps: list[Any], random: Random) -> None:
    """Play messages in batches of random sizes, events where they stand."""
    play_steps(player, steps, iter(lambda: random.randint(1, 9), 0))


def _same(one: EngineState, other: EngineState) -> None:
    mine, theirs = one.arrays(), other.arrays()
    for name, array in mine.items():
        assert array.tobytes() == theirs[name].tobytes(), name
    assert state_hash(mine) == state_hash(theirs)


def _replayed(player: Player, chunk: int, **options: Any) -> SmallEngine:
    again = SmallEngine(**options)
    played = player.played
    replayer = Replayer(again.state, TABLES, HASH_KEY, chunk=chunk)
    replayer.apply(played.all_records(), played.originals, played.blobs)
    return again


@settings(max_examples=examples(50))
@given(_seeds, _SIZES, st.integers(1, 40))
def test_replay_gives_the_live_state(seed: int, options: dict[str, int], chunk: int) -> None:
    """The records alone, in pieces of any size, fold into the same arrays and the same hash."""
    live = Player(SmallEngine(**options), _REQUIRED)
    _play(live, stream(Random(seed), _TRAFFIC, 100), Random(seed))

    again = _replayed(live, chunk, **options)

    _same(live.engine.state, again.state)


@settings(max_examples=examples(30))
@given(_seeds, st.sampled_from([1, 24]), st.sampled_from([64, 256]))
def test_a_journal_opens_into_a_larger_ring_with_the_same_books(
    seed: int, hold_life_h: int, ring: int
) -> None:
    """A raised limits.authorizations_max lets more be remembered and moves no balance."""
    live = Player(SmallEngine(ring=16, hold_life_h=hold_life_h), _REQUIRED)
    _play(live, stream(Random(seed), _TRAFFIC, 100), Random(seed))

    again = _replayed(live, 7, ring=ring, hold_life_h=hold_life_h)

    mine, theirs = live.engine.state.arrays(), again.state.arrays()
    for name in mine.keys() - {"ring", "cursor", "lives", "life_entries"}:
        assert mine[name].tobytes() == theirs[name].tobytes(), name


@settings(max_examples=examples(30))
@given(_seeds, _SIZES)
def test_a_snapshot_and_its_tail_give_the_live_state(seed: int, options: dict[str, int]) -> None:
    """I9: snapshot and tail fold into the same state as the whole journal."""
    random = Random(seed)
    steps = stream(random, _TRAFFIC, 100)
    half = random.randint(0, 100)
    live = Player(SmallEngine(**options), _REQUIRED)
    _play(live, steps[:half], random)
    snapshot = {name: array.copy() for name, array in live.engine.state.arrays().items()}
    done = sum(map(len, live.played.records))
    _play(live, steps[half:], random)

    restored = SmallEngine(**options)
    restored.state.restore(snapshot)
    tail = np.concatenate([live.played.all_records()[done:]])
    names = [(row - done, name) for row, name in live.played.originals if row >= done]
    blobs = [b._replace(row=b.row - done) for b in live.played.blobs if b.row >= done]
    Replayer(restored.state, TABLES, HASH_KEY).apply(tail, names, blobs)

    _same(live.engine.state, restored.state)


@settings(max_examples=examples(40))
@given(_seeds, _SIZES)
def test_a_restarted_engine_goes_on_as_the_live_one(seed: int, options: dict[str, int]) -> None:
    """Repeats, reversals and payments after a restart get the bytes and records of the live engine.

    Within the life of a hold: where the sweep looks next is not part of the state.
    """
    random = Random(seed)
    steps = stream(random, _BRIEF, 130)
    live = Player(SmallEngine(**options), _REQUIRED)
    _play(live, steps[:80], random)
    replayed = Player(_replayed(live, 7, **options), _REQUIRED)
    restored = Player(SmallEngine(**options), _REQUIRED)
    restored.engine.state.restore(
        {name: array.copy() for name, array in live.engine.state.arrays().items()}
    )
    before = len(live.played.records)
    said = [len(answers) for answers in live.played.answers]
    sessions = live.links.copy()

    live.play(steps[80:], [5, 1, 9])

    for player in (replayed, restored):
        player.links[:] = sessions
        player.play(steps[80:], [3, 11])
        expected = np.concatenate(live.played.records[before:])
        assert expected.tobytes() == player.played.all_records().tobytes()
        for link, count in enumerate(said):
            assert live.played.answers[link][count:] == player.played.answers[link]
        _same(live.engine.state, player.engine.state)


def test_every_due_hold_expires_after_a_restart() -> None:
    """The sweep begins anew after a restart and still releases each hold once."""
    live = Player(SmallEngine(plain=True), _REQUIRED)
    live.play(stream(Random(5), _BRIEF, 60))
    assert live.engine.state.accounts["hold_minor"].any()
    again = Player(_replayed(live, 16, plain=True), _REQUIRED)

    later_ns = START_NS + 40 * 3600 * 10**9
    for player in (live, again):
        while player.engine.authorizer.holds_are_due(later_ns):
            player.expire(later_ns)
        assert not player.engine.state.accounts["hold_minor"].any()
    _same(live.engine.state, again.engine.state)


def test_the_timer_and_replay_agree() -> None:
    """Expiries by the timer are records like those of card traffic."""
    live = Player(SmallEngine(plain=True), _REQUIRED)
    live.play(stream(Random(6), _BRIEF, 60))
    live.expire(START_NS + 40 * 3600 * 10**9)
    assert (live.played.records[-1]["kind"] == Kind.EXPIRE).all()

    _same(live.engine.state, _replayed(live, 3, plain=True).state)


def test_indexes_that_grow_lose_nothing() -> None:
    """Growth in the midst of traffic, merchants past their bound: live and replay agree."""
    options: dict[str, Any] = {"ring": 1 << 13, "merchants": 500, "plain": True}
    many = Traffic(6, 3, stans=900_000, events=False, gaps_s=SECONDS_S, merchants=4000)
    live = Player(SmallEngine(**options), (False, False))
    state = live.engine.state
    state.id_index = Index(rows_max=1 << 13, source=state._id_keys, rows_expected=256)
    steps = stream(Random(1), many, 3000)
    for first in range(0, len(steps), 64):
        live.play(steps[first : first + 64])
        while state.id_index.is_growing:
            state.maintain()

    assert state.id_index.growths >= 2
    assert state.merchants[-1] != 0
    assert "CAPACITY" not in {result.decision for result in live.played.results}
    _same(state, _replayed(live, 2048, **options).state)


def test_replay_waits_until_its_indexes_have_room() -> None:
    """However slowly tables grow, no record of a journal is refused and no merchant is lost."""
    options: dict[str, Any] = {"ring": 1 << 13, "merchants": 2000, "plain": True}
    many = Traffic(6, 3, stans=900_000, events=False, gaps_s=SECONDS_S, merchants=1500)
    live = Player(SmallEngine(**options), (False, False))
    live.play(stream(Random(2), many, 2000))
    again = SmallEngine(**options)
    state = again.state
    state.id_index = Index(rows_max=1 << 13, source=state._id_keys, rows_expected=32)
    state.rrn_index = Index(rows_max=1 << 13, source=state._rrn_keys, rows_expected=32)
    state.merchant_index = Index(rows_max=2000, source=state._merchant_keys, rows_expected=32)

    records, originals = live.played.all_records(), live.played.originals
    Replayer(state, TABLES, HASH_KEY, chunk=300).apply(records, originals)

    assert state.id_index.growths >= 3
    assert state.merchant_index.growths >= 2
    _same(live.engine.state, state)
