"""What the host asks by itself: numbers, answers in time, late, strange."""

import numpy as np

from engine.messages import MessageCodec
from engine.metrics import Upstream
from engine.originate import (
    LATE_MAX,
    Answered,
    Exchange,
    Exchanges,
    Numbers,
    Purpose,
    reversal_of,
)
from engine.wire.dialect import load_builtin

_NOW_NS = 1_780_000_000 * 10**9
_CODEC = MessageCodec(load_builtin("iso87-bin"))


class _Desk:
    """Exchanges with their counts and what was reversed."""

    def __init__(self) -> None:
        self.counts = np.zeros(len(Upstream), np.int64)
        self.reversed: list[Exchange] = []
        self.told: list[Answered | None] = []
        self.exchanges = Exchanges(_CODEC, Numbers(0), self.counts, self.reversed.append)

    def ask(self, mti: str = "0800", until_ns: int = _NOW_NS + 1, **more: str) -> Exchange:
        """Open an exchange."""
        fields = self.exchanges.numbered({int(n[2:]): v for n, v in more.items()}, _NOW_NS)
        exchange = Exchange(Purpose.MESSAGE, mti, fields, until_ns, self.told.append)
        self.exchanges.open(exchange)
        return exchange


def test_numbers_go_round_without_zero() -> None:
    """After 999999 comes 1."""
    numbers = Numbers(999_997)
    assert [numbers.take() for _ in range(3)] == [999_998, 999_999, 1]


def test_a_frame_has_time_and_number() -> None:
    """DE7 is the time of the clock, DE11 the next number."""
    desk = _Desk()
    exchange = desk.ask(de70="301")
    message = _CODEC.read(_CODEC.frame("0800", exchange.fields)[2:])
    assert message.fields == {7: "0528202640", 11: "000001", 70: "301"}


def test_an_answer_in_time_ends_its_question_once() -> None:
    """The same answer again is one that nobody waits for."""
    desk = _Desk()
    desk.ask()
    answer = Answered(810, 1, "00")
    assert desk.exchanges.take(answer)
    assert desk.told == [answer]
    assert not desk.exchanges.take(answer)
    assert desk.counts[[Upstream.ANSWERED, Upstream.UNMATCHED]].tolist() == [1, 1]


def test_behaviour_58_an_answer_of_another_type_or_number_is_unmatched() -> None:
    """Type and STAN must agree."""
    desk = _Desk()
    desk.ask()
    assert not desk.exchanges.take(Answered(830, 1, "00"))
    assert not desk.exchanges.take(Answered(810, 2, "00"))
    assert len(desk.exchanges) == 1


def test_behaviour_58_only_late_approvals_of_money_are_reversed() -> None:
    """A late decline, and a late answer to a network message, are counted and no more."""
    desk = _Desk()
    for mti, code, count in (
        ("0200", "51", 0),
        ("0800", "00", 0),
        ("0100", "10", 1),
        ("0200", "00", 2),
    ):
        exchange = desk.ask(mti, de3="000000", de4="000000000100", de49="840")
        assert desk.exchanges.give_up(_NOW_NS + 1) == [exchange]
        assert desk.told.pop() is None
        assert desk.exchanges.take(Answered(int(mti) + 10, int(exchange.fields[11]), code))
        assert len(desk.reversed) == count
    assert desk.counts[[Upstream.LATE, Upstream.REVERSED]].tolist() == [4, 2]


def test_time_is_over_for_those_whose_time_it_is() -> None:
    """An exchange with time left stays open; a lost link ends all."""
    desk = _Desk()
    desk.ask(until_ns=_NOW_NS + 1)
    later = desk.ask(until_ns=_NOW_NS + 2)
    assert len(desk.exchanges.give_up(_NOW_NS + 1)) == 1
    assert desk.exchanges.lose_all() == [later]
    assert len(desk.exchanges) == 0


def test_what_was_given_up_is_remembered_up_to_a_bound() -> None:
    """The oldest is forgotten; its answer is then a strange one."""
    desk = _Desk()
    for _ in range(LATE_MAX + 1):
        desk.ask("0200", de3="000000", de4="000000000100", de49="840")
        desk.exchanges.lose_all()
    assert not desk.exchanges.take(Answered(210, 1, "00"))
    assert desk.exchanges.take(Answered(210, 2, "00"))


def test_a_reversal_names_its_original_and_no_card() -> None:
    """DE90 has type, STAN, time and institutions; DE2 and DE14 stay behind."""
    desk = _Desk()
    exchange = desk.ask("0200", de2="4111111111111111", de4="000000000100", de14="3012", de32="42")
    fields = reversal_of(exchange)
    assert fields[90] == "0200" + "000001" + "0528202640" + "00000000042" + "00000000000"
    assert {2, 14}.isdisjoint(fields)
    assert fields[4] == "000000000100"
