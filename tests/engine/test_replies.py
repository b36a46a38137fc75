"""Answers: approval codes, echo, and the bytes of a repeat."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.replies import approval_code, decisions_of, segment_ends
from engine.wire.columns import REPLY, REQUEST
from tests.oracle import core
from tests.support.draws import Traffic, streams
from tests.support.effort import examples
from tests.support.small_engine import START_NS, SmallEngine, pan
from tests.support.streams import Message, Player, at

pytestmark = pytest.mark.kernels

_ECHO = ("2", "3", "4", "7", "11", "12", "13", "32", "33", "37", "41", "42", "49")
_PAYMENT = Message(
    START_NS,
    0,
    {
        "mti": 100, "pan": pan(1), "pcode": 0, "amount": 5000, "transmitted": 601120000, "stan": 1,
        "acquirer": 42, "terminal": "TERM0001", "merchant": "MERCHANT0000001",
        "rrn": "000000000007", "currency": 840, "expiry": 3512, "entry_mode": 51, "forwarder": 9,
    },
)  # fmt: skip


def _code(seq: int) -> str:
    return int(approval_code(np.int64(seq))).to_bytes(6, "little").decode()


@given(st.integers(1, 2**62))
def test_an_approval_code_is_the_naive_one(seq: int) -> None:
    """Six of 0-9 and A-Z, a function of the record's number, for any number."""
    code = _code(seq)

    assert code == core.approval_code(seq)
    assert len(code) == 6
    assert code.isalnum()
    assert code == code.upper()


def test_neighbouring_records_never_share_a_code() -> None:
    """The step is coprime with 36^6, so a hundred thousand in a row differ."""
    assert len({_code(seq) for seq in range(1, 100_001)}) == 100_000
    assert np.gcd(1_586_752_429, 36**6) == 1


@settings(max_examples=examples(40))
@given(streams(Traffic(cards=4, events=False)))
def test_every_answer_echoes_what_it_must_and_nothing_else(messages: list[Any]) -> None:
    """Echoed fields are as they came; 39 always, 38 on approvals, nothing secret, no surprise."""
    player = Player(SmallEngine(2, 2, plain=True))
    player.play(messages, [3, 1, 8])

    for message, result in zip(messages, player.played.results, strict=True):
        if not result.decision:
            continue
        asked = _wire(message)
        is_reversal = message.request["mti"] // 100 == 4
        extra = ("70",) if message.request["mti"] // 100 == 8 else ()
        extra = ("90", "95") if is_reversal else extra
        echo = [n for n in (*_ECHO, *extra) if n in asked]
        if message.request["mti"] // 100 == 8:
            echo = [n for n in echo if n not in ("2", "3", "4", "49")]
        assert {n: asked[n] for n in echo} == {n: result.fields[n] for n in echo}
        told = {"54"} if result.decision == "INQUIRED" else set()
        assert set(result.fields) - set(echo) <= {"t", "38", "39", "44"} | told
        approved = result.decision in ("APPROVED", "CHECKED", "NOTED")
        assert ("38" in result.fields) == approved


def _wire(message: Message) -> dict[str, str]:
    import iso8583
    from iso8583.specs import default

    from tests.support.streams import encode

    fields, _ = iso8583.decode(encode(message.request)[2:], default)
    return fields


def test_a_repeat_gets_the_same_bytes_but_for_the_request_it_answers() -> None:
    """0100 and 0101 are both answered by the same 0110, later ones too, in or out of a batch."""
    player = Player(SmallEngine(2, 2, plain=True))
    repeat = at(_PAYMENT, mti=101)
    other = at(_PAYMENT, stan=2, amount=999_999)
    player.play([_PAYMENT, repeat, other, at(other, mti=101), repeat], [2, 1])

    first, again, declined, declined_again, later = player.played.answers[0]

    assert first == again == later
    assert declined == declined_again
    assert len(player.played.all_records()) == 2


def test_a_format_error_names_its_field() -> None:
    """DE39 is 30, DE44 the number of the missing field, and nothing is recorded."""
    player = Player(SmallEngine(2, 2, plain=True))

    player.play([at(_PAYMENT, currency=None)])

    fields = player.played.results[0].fields
    assert (fields["39"], fields["44"], fields["t"]) == ("30", "049", "0110")
    assert len(player.played.all_records()) == 0


@pytest.mark.behaviour(11)
@pytest.mark.parametrize(("number", "wanted"), [(44, "049"), (38, "000049"), (0, None)])
def test_the_profile_says_where_a_format_error_names_its_field(
    profile: Any, number: int, wanted: str | None
) -> None:
    """DE44, DE38 filled from the left, or nowhere."""
    profile(format_field=number)
    player = Player(SmallEngine(2, 2, plain=True))

    player.play([at(_PAYMENT, currency=None)])

    fields = player.played.results[0].fields
    assert fields["39"] == "30"
    assert fields.get(str(number)) == wanted
    assert [n for n in ("38", "44") if n in fields] == ([str(number)] if wanted else [])


@pytest.mark.behaviour(24)
def test_the_profile_says_whose_time_an_answer_carries(profile: Any) -> None:
    """DE7 as it came; or the time of the decision, the same for a repeat that comes later."""
    later = Message(START_NS + 90 * 10**9, 0, at(_PAYMENT, mti=101).request)
    echo = Message(START_NS, 0, {"mti": 800, "stan": 5, "network_code": 301})
    for restamp, wanted in ((0, "0601120000"), (1, _moment(START_NS))):
        profile(restamp=restamp)
        player = Player(SmallEngine(2, 2, plain=True))

        player.play([_PAYMENT, later, echo], [1, 1, 1])

        first, again, network = player.played.results
        assert first.fields["7"] == again.fields["7"] == wanted
        assert first.fields == again.fields
        restamped = _moment(START_NS + 90 * 10**9) if restamp else None
        assert network.fields.get("7") == restamped, "engine time never falls"


def _moment(ns: int) -> str:
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%m%d%H%M%S")


def test_answers_are_cut_by_link() -> None:
    """Each segment's answers end where the next one's begin; a silent link has none."""
    replies, request = np.zeros(4, REPLY), np.zeros(5, REQUEST)
    request["segment"] = [0, 0, 2, 2, 3]
    replies["request"] = [0, 1, 2, 4]
    ends = np.zeros(5, np.int64)

    segment_ends(replies, 4, request, np.array([10, 20, 35, 50]), 5, ends)

    assert ends.tolist() == [20, 20, 35, 50, 50]


def test_silence_and_repeats_count_as_no_decision() -> None:
    """Metrics see each decision once, where it was taken."""
    player = Player(SmallEngine(2, 2, plain=True))
    silent = Message(START_NS, 0, {"mti": 810, "transmitted": 601120000, "stan": 1})
    player.play([_PAYMENT, at(_PAYMENT, mti=101), silent, at(_PAYMENT, stan=3, amount=60_000)])
    out = np.zeros(4, np.uint16)

    decisions_of(player.engine.authorizer.work.items, 4, 4, 999, out)

    assert out.tolist() == [0, 999, 999, 201]
