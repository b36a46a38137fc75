"""Any cut of the same stream into batches gives the same records, answers and state, byte for byte.

The shipped rules and the shipped model are on. Time jumps past the life of holds, so that expiries,
reversals of holds that fall due and full rings are among what is cut.
"""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.decision import Decision
from ledger.record import Kind
from tests.support.draws import SECONDS_S, Traffic, stream, streams
from tests.support.effort import examples
from tests.support.small_engine import START_NS, SmallEngine, pan
from tests.support.steps import play_steps
from tests.support.streams import Message, Player, in_its_own_time

pytestmark = pytest.mark.kernels

_SLOW = Traffic(cards=6, accounts=3, events=False, ids=True)
_FAST = Traffic(cards=6, accounts=3, events=False, gaps_s=SECONDS_S, stans=12, ids=True)
_REQUIRED = (False, True)


def _play(messages: list[Any], cuts: list[int], **options: Any) -> Player:
    player = Player(SmallEngine(**options), required=_REQUIRED)
    player.play(messages, cuts)
    return player


def _same(one: Player, other: Player) -> None:
    assert one.played.all_records().tobytes() == other.played.all_records().tobytes()
    assert one.played.originals == other.played.originals
    assert one.played.blobs == other.played.blobs
    assert one.played.answers == other.played.answers
    mine, theirs = one.engine.state.arrays(), other.engine.state.arrays()
    for name, array in mine.items():
        assert array.tobytes() == theirs[name].tobytes(), name


@settings(max_examples=examples(60))
@given(streams(_SLOW), st.lists(st.integers(1, 7), max_size=12))
def test_any_cut_of_days_of_traffic_gives_the_same_bytes(
    messages: list[Any], cuts: list[int]
) -> None:
    """One by one, in large batches and cut anywhere: holds expire before the same messages."""
    single = _play(messages, [1] * len(messages))

    _same(single, _play(messages, []))
    _same(single, _play(messages, cuts))


@settings(max_examples=examples(40))
@given(streams(_FAST, most=60), st.lists(st.integers(1, 20), max_size=12))
def test_any_cut_of_a_burst_gives_the_same_bytes(messages: list[Any], cuts: list[int]) -> None:
    """Many messages of a few accounts in seconds: long waves, reversals beside their originals."""
    single = _play(messages, [1] * len(messages))

    _same(single, _play(messages, []))
    _same(single, _play(messages, cuts))


@settings(max_examples=examples(30))
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 4), min_size=1, max_size=40))
def test_any_cut_gives_the_same_bytes_while_the_ring_wraps(seed: int, cuts: list[int]) -> None:
    """Rows are forgotten and written anew in the batches that still answer from them."""
    short = Traffic(cards=6, accounts=3, events=False, stans=40, merchants=9)
    messages = stream(Random(seed), short, 120)
    options = {"ring": 16, "hold_life_h": 1, "merchants": 4}
    single = _play(messages, [1] * len(messages), **options)

    _same(single, _play(messages, [], **options))
    _same(single, _play(messages, cuts, **options))


@settings(max_examples=examples(30))
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 7), max_size=12))
def test_operators_events_stand_at_their_place_in_any_cut(seed: int, cuts: list[int]) -> None:
    """Limits and statuses change between the same two messages, however those are cut."""
    steps = stream(Random(seed), Traffic(cards=6, accounts=3), 60)
    single, cut = (Player(SmallEngine(), required=_REQUIRED) for _ in range(2))
    play_steps(single, steps, [1] * len(steps))
    play_steps(cut, steps, cuts)

    _same(single, cut)


_HOURS_S = (0, 0, 0, 60, 600, 3_600, 3_600, 5_400, 9 * 3_600, 30 * 3_600)


@settings(max_examples=examples(60))
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 7), max_size=12))
def test_a_batch_may_span_more_than_the_life_of_a_hold(seed: int, cuts: list[int]) -> None:
    """Time comes with the messages: holds are placed, reversed and expire within one batch."""
    traffic = Traffic(cards=6, accounts=3, events=False, gaps_s=_HOURS_S, links=1)
    messages = [in_its_own_time(message) for message in stream(Random(seed), traffic, 50)]
    options = {"hold_life_h": 1, "clock_from_messages": True}
    single = _play(messages, [1] * len(messages), **options)

    _same(single, _play(messages, [], **options))
    _same(single, _play(messages, cuts, **options))


def test_a_hold_expires_before_the_next_message_of_its_own_batch() -> None:
    """A payment, and 30 hours later another one: one batch has the records of two."""
    base = {"mti": 100, "pcode": 0, "acquirer": 42, "currency": 840, "pan": pan(1), "amount": 500}
    messages = [
        in_its_own_time(Message(START_NS + hours * 3600 * 10**9, 0, {**base, "stan": stan}))
        for stan, hours in enumerate((0, 0, 30, 60, 60), 1)
    ]
    options = {"plain": True, "clock_from_messages": True}

    whole = _play(messages, [], **options)

    _same(_play(messages, [1] * 5, **options), whole)
    kinds = whole.played.all_records()["kind"].tolist()
    assert kinds == [1, 1, 8, 1, 8, 1, 8, 1]


def test_holds_expire_at_the_same_place_after_a_batch_of_declines() -> None:
    """Rows that were not decided when the sweep came by do not hold it up longer than others."""
    base = {"mti": 100, "pcode": 0, "transmitted": 601120000, "acquirer": 42, "currency": 840}
    declined = [
        Message(START_NS, 0, {**base, "pan": pan(60), "stan": stan, "amount": 5})
        for stan in range(1, 51)
    ]
    held = [Message(START_NS, 0, {**base, "pan": pan(1), "stan": 60, "amount": 5})]
    later = START_NS + 25 * 3600 * 10**9
    after = [
        Message(later + n, 0, {**base, "pan": pan(3), "stan": 70 + n, "amount": 5})
        for n in range(20)
    ]
    messages = declined + held + after

    single = _play(messages, [1] * len(messages), plain=True)
    whole = _play(messages, [51, 20], plain=True)

    _same(single, whole)
    assert (single.played.all_records()["kind"] == Kind.EXPIRE).any()


def test_a_reversal_and_the_expiry_of_its_original_meet_in_one_batch() -> None:
    """Two holds are due: the first expires before the reversal of the second, which then wins."""
    base = {"mti": 100, "pcode": 0, "transmitted": 601120000, "acquirer": 42, "currency": 840}
    held = [
        Message(START_NS, 0, {**base, "pan": pan(1), "stan": stan, "amount": 500})
        for stan in (1, 2)
    ]
    later = START_NS + 25 * 3600 * 10**9
    reversal = Message(later, 0, {**base, "mti": 420, "stan": 2, "amount": 500})
    after = Message(later, 0, {**base, "pan": pan(1), "stan": 3, "amount": 500})
    messages = [*held, reversal, after]

    single = _play(messages, [1] * 4, plain=True)

    _same(single, _play(messages, [2, 2], plain=True))
    kinds = single.played.all_records()["kind"].tolist()
    assert kinds == [Kind.AUTHORIZE, Kind.AUTHORIZE, Kind.EXPIRE, Kind.REVERSAL, Kind.AUTHORIZE]
    assert single.played.results[2].decision == Decision.REVERSED.name
