"""Requests that waited for too long: shed before anything moves, the same in any cut."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.decision import Decision
from engine.items import StandIn
from engine.workspace import Settings
from ledger.record import SCORE_NONE, Flag
from tests.oracle.core import Account, Card, Core
from tests.support.draws import SECONDS_S, Traffic, stream
from tests.support.effort import examples
from tests.support.small_engine import START_NS, SmallEngine, pan
from tests.support.streams import Message, Player

pytestmark = pytest.mark.kernels

_MS = 1_000_000
_TRAFFIC = Traffic(cards=4, accounts=2, events=False, gaps_s=SECONDS_S, stans=8)
_LIMIT = 50_000
_BASE = {"mti": 100, "pcode": 0, "transmitted": 601120000, "acquirer": 42, "currency": 840}
# Of link 0, which is answered, and link 1, which is not.
_BOUNDS = (
    {"deadline_ms": 20, "overload_ms": 10, "silent": False},
    {"deadline_ms": 5, "silent": True},
)


def _waiting(seed: int, length: int) -> list[Message]:
    """Draw traffic in which every message has waited for some time, at a bound or beside it."""
    random = Random(seed)
    messages: list[Any] = stream(random, _TRAFFIC, length)
    waits = (0, 0, 0, 5, 6, 10, 11, 20, 21)
    return [replace(m, waited_ns=random.choice(waits) * _MS) for m in messages]


def _player() -> Player:
    player = Player(SmallEngine(2, 2, _LIMIT, plain=True))
    for link, bounds in zip(player.links, _BOUNDS, strict=True):
        link["deadline_ns"] = bounds["deadline_ms"] * _MS
        link["overload_ns"] = bounds.get("overload_ms", 0) * _MS
        link["late_is_silent"] = bounds["silent"]
    return player


@settings(max_examples=examples(80))
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_behaviour_54_late_requests_are_shed_as_the_naive_core_sheds_them(
    seed: int, length: int
) -> None:
    """Decision, answer and balances agree; what was answered once is answered again."""
    accounts = {n: Account(_LIMIT, 840, otb=_LIMIT) for n in (1, 2)}
    cards = {pan(c): Card((c - 1) // 2 + 1, 3512) for c in range(1, 5)}
    core = Core(accounts, cards, hold_life_h=24, next_seq=7)
    player = _player()
    for message in _waiting(seed, length):
        facts = {"required": False, "signed_on": False, "waited_ms": message.waited_ns // _MS}
        expected = core.step(message.request, message.ts_ns // 10**9, facts | _BOUNDS[message.link])
        player.play([message])
        got = player.played.results[-1]
        assert (expected.decision, expected.response) == (got.decision, got.fields.get("39", ""))
    for number, account in core.accounts.items():
        row = player.engine.state.accounts[number]
        assert (account.otb, account.hold) == (int(row["otb_minor"]), int(row["hold_minor"]))


@settings(max_examples=examples(40))
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 7), max_size=12))
def test_behaviour_54_the_same_waits_give_the_same_bytes_in_any_cut(
    seed: int, cuts: list[int]
) -> None:
    """Times of waiting come with the bytes, so records and answers do not depend on batches."""
    messages = _waiting(seed, 40)
    single, cut = _player(), _player()
    single.play(messages, [1] * len(messages))
    cut.play(messages, cuts)
    assert single.played.all_records().tobytes() == cut.played.all_records().tobytes()
    assert single.played.answers == cut.played.answers


def test_behaviour_56_advices_and_reversals_are_never_shed() -> None:
    """Of messages that waited for a minute, a payment is refused and its reversal is worked."""
    minute_ns = 60 * 10**9
    paid = {**_BASE, "pan": pan(1), "stan": 1, "amount": 500}
    again = {**paid, "stan": 2}
    back = {**paid, "mti": 420}
    player = _player()
    player.play([Message(START_NS, 0, paid)])
    player.play([Message(START_NS, 0, again, minute_ns), Message(START_NS, 0, back, minute_ns)])
    names = [result.decision for result in player.played.results]
    assert names == [
        d.name for d in (Decision.APPROVED, Decision.DEADLINE_PASSED, Decision.REVERSED)
    ]
    assert int(player.engine.state.accounts[1]["hold_minor"]) == 0


@settings(max_examples=examples(60))
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.sampled_from([(5, "rules", 0), (5, "decline", 0), (5, "floor", 3_000), (0, "decline", 0)]),
)
def test_behaviour_55_the_stand_in_decides_as_the_naive_core_does(
    seed: int, length: int, stand_in: tuple[int, str, int]
) -> None:
    """What waited too long for a score: rules only, nothing, or up to a floor; balances agree."""
    after_ms, policy, floor = stand_in
    accounts = {n: Account(_LIMIT, 840, otb=_LIMIT) for n in (1, 2)}
    cards = {pan(c): Card((c - 1) // 2 + 1, 3512) for c in range(1, 5)}
    core = Core(accounts, cards, hold_life_h=24, next_seq=7, stand_in=stand_in)
    player = Player(SmallEngine(2, 2, _LIMIT, plain=True))
    Settings(
        hold_life_h=24,
        stand_in_after_ms=after_ms,
        stand_in=StandIn[policy.upper()],
        floor_minor=floor,
    ).fill(player.engine.authorizer.settings)
    for message in _waiting(seed, length):
        facts = {"required": False, "signed_on": False, "waited_ms": message.waited_ns // _MS}
        expected = core.step(message.request, message.ts_ns // 10**9, facts)
        player.play([message])
        got = player.played.results[-1]
        assert (expected.decision, expected.response) == (got.decision, got.fields.get("39", ""))
    for number, account in core.accounts.items():
        row = player.engine.state.accounts[number]
        assert (account.otb, account.hold) == (int(row["otb_minor"]), int(row["hold_minor"]))


def test_behaviour_55_only_the_stand_in_goes_without_a_score_and_is_marked() -> None:
    """Of two payments in one batch the one that waited has the flag and no score, in any cut."""
    messages = [
        Message(START_NS, 0, {**_BASE, "pan": pan(1), "stan": 1, "amount": 500}, 6 * _MS),
        Message(START_NS, 1, {**_BASE, "pan": pan(1), "stan": 2, "amount": 500}),
    ]
    records = []
    for cuts in ([], [1, 1]):
        player = Player(SmallEngine(2, 2, _LIMIT))
        Settings(hold_life_h=24, stand_in_after_ms=5).fill(player.engine.authorizer.settings)
        player.play(messages, cuts)
        records.append(player.played.all_records())
    assert records[0].tobytes() == records[1].tobytes()
    flags, scores = records[0]["flags"] & Flag.STAND_IN, records[0]["score"]
    assert (flags != 0).tolist() == [True, False]
    assert (scores == SCORE_NONE).tolist() == [True, False]
