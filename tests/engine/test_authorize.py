"""One batch as a whole: links, sessions, time without traffic, and stages in order."""

import numpy as np
import pytest

from engine.items import LINK
from engine.wire.table import SEGMENT
from ledger.record import Kind
from tests.support.small_engine import START_NS, SmallEngine, frame, pan
from tests.support.streams import Message, Player, at

pytestmark = pytest.mark.kernels

_HOUR_NS = 3600 * 10**9
_MINUTE_NS = 60 * 10**9
_PAYMENT = Message(
    START_NS,
    0,
    {
        "mti": 100, "pan": pan(1), "pcode": 0, "amount": 10, "transmitted": 601120000, "stan": 1,
        "acquirer": 42, "terminal": "TERM0001", "currency": 840,
    },
)  # fmt: skip
_SIGN_ON = Message(
    START_NS, 0, {"mti": 800, "transmitted": 601120000, "stan": 1, "network_code": 1}
)


def _on(link: int, message: Message, **changes: int) -> Message:
    return at(Message(message.ts_ns, link, message.request), **changes)


def test_a_session_is_its_own_within_a_batch() -> None:
    """Sign-on counts from the next message of that link on, sign-off too; other links stay out."""
    player = Player(SmallEngine(2, 2, plain=True), (True, True))
    messages = [
        _on(0, _PAYMENT, stan=1),
        _on(0, _SIGN_ON),
        _on(0, _PAYMENT, stan=2),
        _on(0, _SIGN_ON, network_code=2),
        _on(0, _PAYMENT, stan=3),
        _on(1, _PAYMENT, stan=4),
        _on(1, _SIGN_ON),
        _on(1, _PAYMENT, stan=5),
    ]

    player.play(messages)

    said = [result.fields["39"] for result in player.played.results]
    assert said == ["91", "00", "00", "00", "91", "91", "00", "00"]
    assert player.links["signed_on"].tolist() == [0, 1]
    assert len(player.played.all_records()) == 2


def test_a_repeat_that_came_unsigned_is_not_answered_from_the_ring() -> None:
    """Behaviour 22: a reconnected link starts signed off and learns nothing before it signs on."""
    player = Player(SmallEngine(2, 2, plain=True), (False, True))
    player.play([_PAYMENT, _on(1, _PAYMENT, mti=101), _on(1, _SIGN_ON), _on(1, _PAYMENT, mti=101)])

    said = [result.fields["39"] for result in player.played.results]
    assert said == ["00", "91", "00", "00"]
    assert player.played.answers[1][-1] == player.played.answers[0][0]


def test_messages_nobody_can_answer_are_counted_by_link() -> None:
    """An unreadable MTI adds one, an answerable message starts anew."""
    engine = SmallEngine(1, 1, plain=True)
    segments, links = np.zeros(1, SEGMENT), np.zeros(1, LINK)
    rubbish = b"\0\x0cABCD12345678"
    for data, expected in ((rubbish * 3, 3), (rubbish + frame("0100", 1, 1), 0), (rubbish, 1)):
        engine.authorizer.work.arena[: len(data)] = np.frombuffer(data, np.uint8)
        segments[0]["end"] = len(data)
        outcome = engine.authorizer.run(segments, 1, links, lambda _: None)
        assert links[0]["unreadable"] == expected
        assert segments[0]["consumed"] == len(data)
    assert outcome.reply_count == 0


def test_nothing_in_is_nothing_out() -> None:
    """A batch without a whole frame leaves no record and no answer."""
    engine = SmallEngine(1, 1)

    outcome = engine.authorizer.run(np.zeros(1, SEGMENT), 1, np.zeros(1, LINK), lambda _: None)

    assert (outcome.request_count, outcome.reply_count, outcome.out_size) == (0, 0, 0)
    assert len(outcome.records) == 0


def test_holds_end_without_traffic_a_batch_at_a_time() -> None:
    """The timer is told what is due, releases at most a batch and is told when all is done."""
    player = Player(SmallEngine(1, 1, plain=True, rows=4), (False,))
    player.play([at(_PAYMENT, stan=n) for n in range(1, 11)])
    state, authorizer = player.engine.state, player.engine.authorizer
    due_ns = -(-(START_NS + 24 * _HOUR_NS) // _MINUTE_NS) * _MINUTE_NS  # at a whole minute
    assert not authorizer.holds_are_due(due_ns - 10**9)

    counts = []
    while authorizer.holds_are_due(due_ns):
        records = authorizer.expire(due_ns)
        counts.append(len(records))
        assert (records["kind"] == Kind.EXPIRE).all()
        assert (records["ts_ns"] == due_ns).all()

    assert counts == [4, 4, 2]
    assert state.accounts[1]["hold_minor"] == 0
    assert state.accounts[1]["otb_minor"] == 50_000


def test_a_batch_takes_what_fits_and_leaves_the_rest() -> None:
    """Frames past the rows of a batch stay unconsumed and are the next batch's."""
    engine = SmallEngine(1, 1, plain=True, rows=4)
    data = b"".join(frame("0100", 1, stan) for stan in range(1, 7))
    segments, links = np.zeros(1, SEGMENT), np.zeros(1, LINK)
    engine.authorizer.work.arena[: len(data)] = np.frombuffer(data, np.uint8)
    segments[0]["end"] = len(data)

    outcome = engine.authorizer.run(segments, 1, links, lambda _: None)

    assert outcome.request_count == 4
    assert segments[0]["consumed"] == len(data) * 4 // 6


def test_stages_are_told_in_order() -> None:
    """Every stage reports once a batch, those of a wave once a wave."""
    engine = SmallEngine(2, 2)
    laps: list[str] = []
    data = frame("0100", 1, 1) + frame("0100", 3, 2)
    segments, links = np.zeros(1, SEGMENT), np.zeros(1, LINK)
    engine.authorizer.work.arena[: len(data)] = np.frombuffer(data, np.uint8)
    segments[0]["end"] = len(data)

    engine.authorizer.run(segments, 1, links, laps.append)

    assert laps == [
        "decode", "tokens", "find", "shared", "features", "rules", "score", "rules", "score",
        "decide", "encode",
    ]  # fmt: skip
