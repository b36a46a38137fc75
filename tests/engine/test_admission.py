"""First look at a request: its time, its identity, its card."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.entry import entry_class, is_card_not_present
from engine.items import Setting
from ledger.authorizations import Cursor
from ledger.record import Flag, Kind
from scoring.payment import Entry
from tests.oracle import core
from tests.support.effort import examples
from tests.support.small_engine import START_NS, SmallEngine, pan
from tests.support.streams import Message, Player, at

pytestmark = pytest.mark.kernels

_DAY_NS = 86_400 * 10**9
_MESSAGE = Message(
    START_NS,
    0,
    {
        "mti": 100, "pan": pan(1), "pcode": 0, "amount": 10, "transmitted": 601120000, "stan": 1,
        "acquirer": 42, "terminal": "TERM0001", "currency": 840,
    },
)  # fmt: skip
_requests = st.fixed_dictionaries(
    {
        "mti": st.sampled_from([100, 101, 400, 401, 420, 421]),
        "transmitted": st.sampled_from([601120000, 601120001]),
        "stan": st.sampled_from([1, 2, 999_999]),
        "acquirer": st.sampled_from([None, 0, 42, 43]),
        "forwarder": st.sampled_from([None, 0, 42]),
        "terminal": st.sampled_from([None, "TERM0001", "TERM0002"]),
    }
)


def _player(**settings_: int) -> Player:
    player = Player(SmallEngine(2, 2, plain=True))
    for name, value in settings_.items():
        player.engine.authorizer.settings[Setting[name.upper()]] = value
    return player


@settings(max_examples=examples(40))
@given(st.lists(_requests, min_size=2, max_size=8))
def test_two_messages_share_an_identity_exactly_when_they_are_repeats(
    requests: list[dict[str, Any]],
) -> None:
    """Acquirer, forwarder, class and function, DE7, STAN and terminal: alike in all or unlike."""
    player = _player()
    messages = [at(_MESSAGE, **request) for request in requests]

    player.play(messages)

    items = player.engine.authorizer.work.items[: len(messages)]
    named = [(int(i["id_hi"]), int(i["id_lo"])) for i in items]
    for one, other in combinations(range(len(messages)), 2):
        is_same = core.identity(messages[one].request) == core.identity(messages[other].request)
        assert (named[one] == named[other]) == is_same


def test_engine_time_never_falls() -> None:
    """A link whose bytes were read earlier is worked later at the time that was reached."""
    player = _player()
    times = [START_NS, START_NS + 50, START_NS + 10, START_NS + 60]

    player.play([at(Message(t, i % 2, _MESSAGE.request), stan=i) for i, t in enumerate(times)])

    stamped = player.played.all_records()["ts_ns"].tolist()
    assert stamped == [START_NS, START_NS + 50, START_NS + 50, START_NS + 60]


def test_time_from_messages_follows_de7_and_leaves_odd_ones_aside() -> None:
    """Forward with DE7, never back, never more than two days at once; over the turn of the year."""
    player = _player(clock_from_messages=1)
    player.engine.state.cursor[Cursor.LAST_TS_NS] = 1_798_761_590 * 10**9  # 31 December, 23:59:50
    sent = [1231235955, 101000003, 1231235959, 601120000, 102120000]

    player.play([at(_MESSAGE, transmitted=t, stan=i) for i, t in enumerate(sent)])

    records = player.played.all_records()
    records = records[records["kind"] != Kind.EXPIRE]  # a day has passed: the first hold ends
    seconds = (records["ts_ns"] // np.uint64(10**9)).tolist()
    new_year = 1_798_761_600
    assert seconds == [
        new_year - 5, new_year + 3, new_year + 3, new_year + 3, new_year + 36 * 3600
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("days", "expected"), [(-1, "APPROVED"), (0, "APPROVED"), (1, "EXPIRED"), (400, "EXPIRED")]
)
def test_a_card_is_good_to_the_end_of_its_month(days: int, expected: str) -> None:
    """The expiry is a month in UTC: good on its last day, gone the next."""
    player = _player()
    last_day_ns = 2_082_672_000 * 10**9  # 2035-12-31 00:00 UTC; the card says 3512
    ts_ns = last_day_ns + days * _DAY_NS + (_DAY_NS - 10**9 if days == 0 else 0)

    player.play([Message(ts_ns, 0, _MESSAGE.request)])

    assert player.played.results[0].decision == expected


@given(st.integers(-1, 999), st.integers(-1, 99))
@settings(max_examples=examples(60))
def test_presence_is_the_rule_of_de22_and_de25(mode: int, condition: int) -> None:
    """The kernel says what the table's own functions say: class of read, card there or not."""
    player = _player()
    request = dict(_MESSAGE.request)
    if mode >= 0:
        request["entry_mode"] = mode
    if condition >= 0:
        request["condition"] = condition

    player.play([Message(START_NS, 0, request)])

    record = player.played.all_records()[0]
    expected = entry_class(mode, ecommerce=condition == 59)
    assert record["entry_class"] == expected
    is_absent = is_card_not_present(expected, condition)
    assert bool(record["flags"] & Flag.CNP) == is_absent
    assert bool(record["flags"] & Flag.PRESENT) == (not is_absent and expected != Entry.UNKNOWN)


def test_attempts_without_a_usable_card_are_marked() -> None:
    """UNUSABLE is what merchant and BIN counters read: no card, a blocked one, a wrong expiry."""
    player = _player()
    messages = [
        _MESSAGE,
        at(_MESSAGE, pan=pan(60), stan=2),
        at(_MESSAGE, expiry=3001, stan=3),
        at(_MESSAGE, amount=10**11, stan=4),
    ]

    player.play(messages)

    flags = player.played.all_records()["flags"]
    assert [bool(f & Flag.UNUSABLE) for f in flags] == [False, True, True, False]


def test_a_billed_payment_is_known_again_after_its_card_was_blocked() -> None:
    """DE6 in the account's currency is booked; a repeat gets that answer whatever came since."""
    from engine.events import event_record
    from ledger.record import Kind

    player = _player()
    billed = at(_MESSAGE, currency=392, billing_currency=840, billing_amount=77)
    player.play([billed])
    player.apply(event_record(Kind.CARD_STATUS, START_NS, card=1, status=2))

    player.play([at(billed, mti=101)])

    record = player.played.all_records()[0]
    assert (record["amount_minor"], record["currency"], record["amount2_minor"]) == (77, 840, 10)
    assert player.played.answers[0][0] == player.played.answers[0][1]
