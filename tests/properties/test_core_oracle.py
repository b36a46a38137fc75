"""The engine, message by message, against the naive core: decisions, answers and balances."""

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from numpy.typing import NDArray

from engine.events import event_record
from ledger.accounts import identity_gap_minor
from ledger.authorizations import State
from ledger.record import Kind
from tests.oracle.core import Account, Answer, Card, Core
from tests.support.draws import Event, Traffic, stream, streams
from tests.support.effort import examples
from tests.support.small_engine import START_NS, SmallEngine, pan
from tests.support.streams import Message, Player, Result

pytestmark = pytest.mark.kernels

_ACCOUNTS, _CARDS_EACH, _LIMIT = 2, 2, 50_000
_CARDS = _ACCOUNTS * _CARDS_EACH
_TRAFFIC = Traffic(_CARDS, _ACCOUNTS)
_WITH_IDS = Traffic(_CARDS, _ACCOUNTS, ids=True)
_STREAMS = streams(_TRAFFIC) | streams(_WITH_IDS)
_ACCOUNT_STATUS = {1: "active", 2: "blocked"}
_CARD_STATUS = {1: "active", 2: "blocked", 3: "lost", 4: "stolen"}
_ECHOED = (2, 3, 4, 7, 11, 12, 13, 32, 33, 37, 41, 42, 49)


def _core() -> Core:
    accounts = {n: Account(_LIMIT, 840, otb=_LIMIT) for n in range(1, _ACCOUNTS + 1)}
    cards = {pan(c): Card((c - 1) // _CARDS_EACH + 1, 3512) for c in range(1, _CARDS + 1)}
    return Core(accounts, cards, hold_life_h=24, next_seq=1 + _ACCOUNTS + _CARDS)


def _event(core: Core, event: Event) -> NDArray[np.void]:
    """Do the change to the oracle; return its record for the engine."""
    core.next_seq += 1
    if event.kind == "limit":
        core.accounts[event.number].move_limit(event.value)
        fields = {"account": event.number, "amount_minor": event.value}
        return event_record(Kind.LIMIT, START_NS, **fields)
    if event.kind == "account":
        core.accounts[event.number].status = _ACCOUNT_STATUS[event.value]
        fields = {"account": event.number, "status": event.value}
        return event_record(Kind.ACCOUNT_STATUS, START_NS, **fields)
    core.cards[pan(event.number)].status = _CARD_STATUS[event.value]
    return event_record(Kind.CARD_STATUS, START_NS, card=event.number, status=event.value)


def _check_answer(request: dict[str, Any], expected: Answer, got: Result) -> None:
    assert (expected.decision, expected.response) == (got.decision, got.fields.get("39", ""))
    assert expected.approval == got.fields.get("38", "")
    if expected.decision:
        mti = request["mti"]
        assert got.fields["t"] == f"{mti // 10 * 10 + 10:04d}"
        assert got.fields["11"] == f"{request['stan']:06d}"


def _check_books(core: Core, engine: SmallEngine) -> None:
    """The balances are the oracle's, I2 holds, and HOLD is the sum of what is held (I3)."""
    accounts, ring = engine.state.accounts, engine.state.ring
    assert not identity_gap_minor(accounts).any()
    is_open = ring["state"] == State.OPEN
    assert (ring["held_minor"][is_open] > 0).all()
    assert not ring["held_minor"][~is_open].any()
    for number, account in core.accounts.items():
        row = accounts[number]
        names = ("limit", "prepaid", "otb", "hold", "used", "over")
        assert account.book() == tuple(int(row[f"{name}_minor"]) for name in names)
        assert account.otb >= 0
        assert account.over >= 0
        assert account.otb * account.over == 0
        held = ring["held_minor"][is_open & (ring["account"] == number)].sum()
        assert account.hold == int(held)


@settings(max_examples=examples(150))
@example(stream(Random(500), _TRAFFIC, 15))  # a late reversal whose DE90 names itself
@given(_STREAMS)
def test_every_message_is_answered_as_the_naive_core_answers_it(stream: list[Any]) -> None:
    """Decision, DE39, DE38 and all balances agree after each message, operators' events between."""
    core = _core()
    engine = SmallEngine(_ACCOUNTS, _CARDS_EACH, _LIMIT, plain=True)
    player = Player(engine, required=(False, True))
    links = [{"required": False, "signed_on": False}, {"required": True, "signed_on": False}]
    for step in stream:
        if isinstance(step, Event):
            player.apply(_event(core, step))
            continue
        over_before = [account.over for account in core.accounts.values()]
        expected = core.step(step.request, step.ts_ns // 10**9, links[step.link])
        player.play([step])
        _check_answer(step.request, expected, player.played.results[-1])
        _check_books(core, engine)
        over_after = [account.over for account in core.accounts.values()]
        if step.request["mti"] // 10 in (10, 20):  # I5: what may be declined never overdraws
            assert all(a <= b for a, b in zip(over_after, over_before, strict=True))
        assert core.next_seq == engine.state.next_seq


@settings(max_examples=examples(60))
@given(_STREAMS)
def test_batches_decide_as_the_naive_core_does(stream: list[Any]) -> None:
    """With everything between two events in one batch, decisions and balances still agree."""
    core = _core()
    engine = SmallEngine(_ACCOUNTS, _CARDS_EACH, _LIMIT, plain=True)
    player = Player(engine, required=(False, True))
    links = [{"required": False, "signed_on": False}, {"required": True, "signed_on": False}]
    expected: list[tuple[dict[str, Any], Answer]] = []
    waiting: list[Message] = []
    for step in [*stream, Event("limit", 1, _LIMIT)]:
        if isinstance(step, Message):
            waiting.append(step)
            answer = core.step(step.request, step.ts_ns // 10**9, links[step.link])
            expected.append((step.request, answer))
            continue
        player.play(waiting)
        waiting = []
        _check_books(core, engine)
        player.apply(_event(core, step))
    for (request, answer), got in zip(expected, player.played.results, strict=True):
        _check_answer(request, answer, got)
