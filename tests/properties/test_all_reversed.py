"""Whatever was sent: once every message of it is reversed, in any order, the account is as before.

Needs no oracle of the decisions, so it cannot share a mistake with one.
"""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.wire.profile import Profile
from tests.support.effort import examples
from tests.support.histories import profiles
from tests.support.judged import LIMIT, PAYMENT, book_of, decisions_of, reversal
from tests.support.small_engine import TABLE, SmallEngine
from tests.support.streams import Message, Player, at

pytestmark = pytest.mark.kernels


class _Sender:
    """Draws messages about a few payments of one card, and their reversals."""

    def __init__(self, random: Random, *, by_de4: bool) -> None:
        self.sent: list[Message] = []
        self._random, self._by_de4, self._stan = random, by_de4, 0
        self._is_billed = random.random() < 0.3

    def draw(self) -> Message:
        """Draw one message: a payment, or one about a payment or a message sent before."""
        kind = self._random.choice([100, 100, 200, 120, 220, 220, "more", "again", "part", "whole"])
        if not self.sent or kind in (100, 200):
            mti = kind if isinstance(kind, int) else 100
            return self._new(mti, self._random.choice([100, 700, 4_000, 12_000]), None)
        base = self._random.choice(self.sent)
        amount = base.request["amount"]
        if kind == "again":
            return at(base, mti=base.request["mti"] + 1)
        if kind == "whole":
            return self.back(base)
        if kind == "part":
            keeps = self._random.choice([1, amount // 3, amount - 1])
            return self.back(base, **{"amount" if self._by_de4 else "replacement": keeps})
        amount = self._random.choice([amount, amount // 2, amount + 50, 700])
        return self._new(100 if isinstance(kind, str) else kind, amount, base.request["rrn"])

    def back(self, message: Message, **changes: Any) -> Message:
        """Return the 0420 of a message under a STAN of its own; ``changes`` as of ``at``."""
        self._stan += 1
        return reversal(message, stan=self._stan, **changes)

    def _new(self, mti: int, amount: int, rrn: str | None) -> Message:
        self._stan += 1
        changes: dict[str, Any] = {"mti": mti, "amount": amount, "stan": self._stan}
        if self._is_billed:
            bill = {"billing_currency": 840, "billing_amount": amount * 3 // 2}
            changes.update(currency=978, **bill)
        self.sent.append(at(PAYMENT, rrn=rrn or f"{self._stan:012d}", **changes))
        return self.sent[-1]


@settings(max_examples=examples(400))
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_what_is_all_reversed_leaves_nothing(seed: int, length: int) -> None:
    """No 0420 is refused, and neither limit nor balance has gained or lost a unit."""
    random = Random(seed)
    switches = {**profiles(random), Profile.CAPTURED_REVERSAL: 0}
    plain = TABLE.profile.copy()
    for switch, value in switches.items():
        TABLE.profile[:, switch] = value
    try:
        player = Player(SmallEngine(1, 2, LIMIT, plain=True))
        sender = _Sender(random, by_de4=bool(switches[Profile.REVERSAL_AMOUNT]))
        player.play([sender.draw() for _ in range(length)], [random.choice([1, 2, 5])] * length)
        assert book_of(player)[0] <= LIMIT
        backs = [sender.back(message) for message in sender.sent]
        random.shuffle(backs)
        before = len(player.played.results)
        player.play(backs + [sender.back(message) for message in sender.sent])
        results = player.played.results[before:]
    finally:
        TABLE.profile[:] = plain

    assert {result.fields["39"] for result in results} == {"00"}, decisions_of(results)
    assert book_of(player) == (LIMIT, 0, 0, 0)
    assert int(player.engine.state.accounts[1]["prepaid_minor"]) == 0
