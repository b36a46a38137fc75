"""What a decision moves, and what its record says of it."""

from typing import Any

import pytest
from hypothesis import given, settings

from engine.decision import Decision
from engine.events import event_record
from ledger.accounts import AMOUNT_MINOR_MAX
from ledger.authorizations import State
from ledger.record import SCORE_NONE, Flag, Kind
from tests.support.draws import SECONDS_S, Traffic, streams
from tests.support.effort import examples
from tests.support.small_engine import RULES, START_NS, SmallEngine, pan
from tests.support.streams import Message, Player, at

pytestmark = pytest.mark.kernels

_HOUR_NS = 3600 * 10**9
_PAYMENT = Message(
    START_NS,
    0,
    {
        "mti": 100, "pan": pan(1), "pcode": 0, "amount": 5000, "transmitted": 601120000, "stan": 1,
        "acquirer": 42, "terminal": "TERM0001", "currency": 840, "rrn": "000000000001",
    },
)  # fmt: skip
_REVERSAL = at(_PAYMENT, mti=420, pan=None, pcode=None, currency=None)
_NOT_RECORDED = ("", "DUPLICATE_DIFFERS", "MESSAGE_NOT_SERVED", "NETWORK_OK")


def _player(limit_minor: int = 50_000) -> Player:
    return Player(SmallEngine(2, 2, limit_minor, plain=True))


def test_records_say_what_moved() -> None:
    """Approve, give back in part, give back the rest, expire another: balances after each."""
    player = _player()
    later = Message(START_NS + 30 * _HOUR_NS, 0, at(_PAYMENT, stan=3, amount=1).request)

    player.play(
        [
            _PAYMENT,
            at(_REVERSAL, replacement=2000),
            at(_REVERSAL, mti=400),
            at(_PAYMENT, stan=2, amount=700),
            later,
        ]
    )

    rows = player.played.all_records()
    said = [
        (int(r["kind"]), int(r["amount_minor"]), int(r["amount2_minor"]),
         int(r["otb_after_minor"]), int(r["hold_after_minor"]), int(r["ref_seq"]))
        for r in rows
    ]  # fmt: skip
    first = int(rows[0]["seq"])
    assert said == [
        (Kind.AUTHORIZE, 5000, 5000, 45_000, 5000, 0),
        (Kind.REVERSAL, 5000, 3000, 48_000, 2000, first),
        (Kind.REVERSAL, 5000, 2000, 50_000, 0, first),
        (Kind.AUTHORIZE, 700, 700, 49_300, 700, 0),
        (Kind.EXPIRE, 700, 700, 50_000, 0, first + 3),
        (Kind.AUTHORIZE, 1, 1, 49_999, 1, 0),
    ]
    assert rows["seq"].tolist() == list(range(first, first + 6))


def test_a_partial_reversal_past_what_is_held_moves_nothing_more() -> None:
    """Two replacements in a row: the smaller one stays, a larger one later gives nothing back."""
    player = _player()

    player.play(
        [_PAYMENT, at(_REVERSAL, replacement=1000), at(_REVERSAL, mti=400, replacement=3000)],
        [1, 1, 1],
    )

    row = player.engine.state.accounts[1]
    assert (row["otb_minor"], row["hold_minor"]) == (49_000, 1000)
    entry = player.engine.state.ring[1]
    assert (entry["state"], entry["held_minor"]) == (State.OPEN, 1000)


def test_many_cards_of_one_account_never_spend_more_than_its_limit() -> None:
    """Behaviour 32: all in one batch, each approval sees the ones before it."""
    player = _player(limit_minor=10_000)
    payments = [
        at(_PAYMENT, stan=n, rrn=None, amount=3000, pan=pan(1 + n % 2)) for n in range(1, 9)
    ]

    player.play(payments)

    decisions = [result.decision for result in player.played.results]
    assert decisions == ["APPROVED"] * 3 + ["NOT_ENOUGH_FUNDS"] * 5
    assert player.engine.state.accounts[1]["otb_minor"] == 1000


def test_a_limit_below_the_holds_is_paid_back_before_anything_is_approved() -> None:
    """Event 23 down, a release, event 23 up: OVER is first in every credit."""
    player = _player()
    player.play([at(_PAYMENT, amount=40_000), at(_PAYMENT, stan=2, amount=10_000)])

    def limit(minor: int) -> None:
        player.apply(event_record(Kind.LIMIT, START_NS, account=1, amount_minor=minor))

    limit(20_000)
    player.play([at(_REVERSAL, stan=2, amount=10_000, rrn=None), at(_PAYMENT, stan=3, amount=1)])
    row = player.engine.state.accounts[1]
    assert (row["otb_minor"], row["hold_minor"], row["over_minor"]) == (0, 40_000, 20_000)
    assert player.played.results[-1].decision == "NOT_ENOUGH_FUNDS"

    limit(40_001)
    player.play([at(_PAYMENT, stan=4, amount=1)])

    assert player.played.results[-1].decision == "APPROVED"


def test_amounts_near_the_bound_do_not_wrap() -> None:
    """A limit at the bound takes the largest DE4 many times and gives all of it back."""
    player = _player(AMOUNT_MINOR_MAX)
    largest = 10**12 - 1
    payments = [at(_PAYMENT, stan=n, rrn=None, amount=largest) for n in range(1, 41)]
    player.play(payments)
    row = player.engine.state.accounts[1]
    assert row["hold_minor"] == 40 * largest
    assert row["otb_minor"] == AMOUNT_MINOR_MAX - 40 * largest

    player.play([at(_REVERSAL, stan=n, rrn=None, amount=largest) for n in range(1, 41)])

    assert (row["hold_minor"], row["otb_minor"]) == (0, AMOUNT_MINOR_MAX)


@settings(max_examples=examples(30))
@given(streams(Traffic(cards=4, events=False, gaps_s=SECONDS_S)))
def test_duplicates_change_nothing(messages: list[Any]) -> None:
    """I7: every recorded message once more, in any batch: same answers, no record, same state."""
    player = Player(SmallEngine(2, 2, plain=True))
    player.play(messages, [4, 1, 9])
    newest = {
        _key(message): (message, result)
        for message, result in zip(messages, player.played.results, strict=True)
        if result.decision not in _NOT_RECORDED
    }
    before = {name: array.copy() for name, array in player.engine.state.arrays().items()}
    said = len(player.played.results)

    player.play([Message(messages[-1].ts_ns, 0, m.request) for m, _ in newest.values()])

    expected = [result.fields for _, result in newest.values()]
    assert [result.fields for result in player.played.results[said:]] == expected
    assert not newest or not len(player.played.records[-1])
    for name, array in player.engine.state.arrays().items():
        assert array.tobytes() == before[name].tobytes(), name


def _key(message: Message) -> tuple[Any, ...]:
    from tests.oracle.core_values import identity

    return identity(message.request)


def test_rules_and_model_are_named_in_records_of_payments_only() -> None:
    """Versions, score and hits are of the payment; a reversal was neither scored nor ruled on."""
    player = Player(SmallEngine(2, 2))

    player.play([_PAYMENT, _REVERSAL])

    payment, reversal = player.played.all_records()
    model = player.engine.authorizer.model
    assert model is not None
    assert payment["rules_version"] == RULES.version
    assert payment["model_version"] == model.version
    assert payment["score"] != SCORE_NONE
    assert (reversal["rules_version"], reversal["model_version"]) == (0, 0)
    assert (reversal["score"], reversal["hits_lo"], reversal["hits_hi"]) == (SCORE_NONE, 0, 0)


def test_an_orphan_is_marked_and_belongs_to_no_account() -> None:
    """Its original's identity is handed to the journal beside the record."""
    player = _player()

    player.play([_REVERSAL])

    record = player.played.all_records()[0]
    assert record["flags"] & Flag.ORPHAN
    assert record["flags"] & Flag.ADVICE
    assert (record["account"], record["ref_seq"]) == (0, 0)
    assert record["result"] == Decision.REVERSAL_RECORDED
    assert [row for row, _ in player.played.originals] == [0]
    assert len(player.played.originals[0][1]) == 16
