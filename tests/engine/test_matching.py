"""What came before: bounds of the ring, what a refusal leaves behind, merchants past the bound."""

from typing import Any

import numpy as np
import pytest

from engine.entries import merchant_row
from engine.items import Setting
from ledger.authorizations import Cursor, State
from ledger.index import Index
from tests.support.small_engine import START_NS, SmallEngine, pan
from tests.support.streams import Message, Player, at

pytestmark = pytest.mark.kernels

_HOUR_NS = 3600 * 10**9
_PAYMENT = Message(
    START_NS,
    0,
    {
        "mti": 100, "pan": pan(1), "pcode": 0, "amount": 10, "transmitted": 601120000, "stan": 1,
        "acquirer": 42, "terminal": "TERM0001", "currency": 840,
    },
)  # fmt: skip
_REVERSAL = at(_PAYMENT, mti=420, pan=None, pcode=None, currency=None)


def _full(count: int = 7) -> Player:
    """A ring that remembers 8 of 16 rows, filled with open holds: one row is for a tombstone."""
    player = Player(SmallEngine(2, 2, plain=True, ring=16))
    player.play([at(_PAYMENT, stan=100 + n) for n in range(count)], [1] * count)
    return player


def _state(player: Player) -> dict[str, Any]:
    return {name: array.copy() for name, array in player.engine.state.arrays().items()}


@pytest.mark.parametrize("request_", [_PAYMENT, _REVERSAL], ids=["payment", "orphan reversal"])
def test_a_ring_full_of_open_holds_refuses_and_keeps_nothing(request_: Message) -> None:
    """96, counted, no record, no change: an open hold is never forgotten."""
    player = _full()
    before, seq = _state(player), player.engine.state.next_seq

    player.play([request_])

    after = _state(player)
    assert player.played.results[-1].fields["39"] == "96"
    assert len(player.played.records[-1]) == 0
    assert player.engine.state.next_seq == seq
    assert player.engine.state.cursor[Cursor.REFUSED] == 1
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_a_repeat_and_a_reversal_of_a_known_payment_meet_a_full_ring() -> None:
    """The repeat needs no room and is answered; the reversal needs a row and is asked to return."""
    player = _full()

    player.play([at(_PAYMENT, stan=103, mti=101), at(_REVERSAL, stan=103)])

    assert [result.decision for result in player.played.results[-2:]] == ["APPROVED", "CAPACITY"]


def test_room_comes_back_when_the_oldest_hold_ends() -> None:
    """Holds expire before the request that needs their row."""
    player = _full()
    player.play([_PAYMENT])

    player.play([Message(START_NS + 25 * _HOUR_NS, 0, _PAYMENT.request)] * 3, [1, 1, 1])

    decisions = [result.decision for result in player.played.results[-4:]]
    assert decisions[0] == "CAPACITY"
    assert "APPROVED" in decisions[1:]


def test_a_refused_original_does_not_use_up_its_tombstone() -> None:
    """The reversal came first, its original meets a full ring, comes again and is voided."""
    player = Player(SmallEngine(2, 2, plain=True, ring=16))
    player.play([at(_PAYMENT, stan=100 + n) for n in range(6)], [1] * 6)
    player.play([_REVERSAL])
    player.play([_PAYMENT])
    assert player.played.results[-1].decision == "CAPACITY"
    for stan in range(100, 102):
        row = player.engine.state.ring["state"]
        row[1 + stan - 100] = State.REVERSED  # as if these holds had ended

    player.play([at(_PAYMENT, mti=101)])

    assert player.played.results[-1].decision == "VOIDED_BY_REVERSAL"


def test_a_repeat_of_a_row_forgotten_in_its_batch_still_gets_its_answer() -> None:
    """Repeat and reversal find the oldest rows, which later messages of the batch push out."""
    player = Player(SmallEngine(2, 2, plain=True, ring=16))
    declined = [at(_PAYMENT, stan=100 + n, amount=60_000 + n) for n in range(8)]
    player.play(declined, [1] * 8)
    batch = [at(declined[0], mti=101), *[at(_PAYMENT, stan=n, amount=n) for n in range(1, 4)]]

    player.play(batch, [4])

    assert player.played.answers[0][8] == player.played.answers[0][0]


def test_a_batch_larger_than_the_spare_rows_is_refused_at_the_start() -> None:
    """The bound is named; nothing starts with a ring that a batch could overrun."""
    from engine.authorize import Authorizer, Settings, Workspace

    one = SmallEngine(1, 1, plain=True, ring=64).authorizer

    with pytest.raises(ValueError, match=r"limits\.authorizations_max"):
        Authorizer(
            one.state, one.table, one.program, None, one.tables, one.tokenizer, one.hash_key,
            Settings(), Workspace(17, 1 << 16),
        )  # fmt: skip


def test_merchants_get_rows_in_order_of_sight_up_to_the_bound() -> None:
    """Past the bound and without a name they share row 0; a known one keeps its row."""
    index, cursor = Index(rows_max=64), np.zeros(len(Cursor), np.int64)
    merchants, settings = np.zeros(4, np.uint64), np.zeros(len(Setting), np.int64)
    settings[Setting.MERCHANTS_MAX] = 4
    rows = [
        merchant_row(np.uint64(hash_), index.slots, merchants, settings, cursor)
        for hash_ in (11, 22, 0, 11, 33, 44, 55, 33)
    ]

    assert rows == [1, 2, 0, 1, 3, 0, 0, 3]
    assert merchants.tolist() == [0, 11, 22, 33]
