"""What came before: bounds of the ring, what a refusal leaves behind, merchants past the bound."""

from collections.abc import Callable
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


def _tied(*changes: dict[str, Any], ring: int = 256) -> Player:
    """Play a payment of 10 with the lifecycle id 7, then others about it, one STAN later each."""
    player = Player(SmallEngine(2, 2, plain=True, ring=ring))
    first = at(_PAYMENT, lifecycle=7, rrn="000000000001")
    later = [at(_PAYMENT, stan=n, **change) for n, change in enumerate(changes, 2)]
    player.play([first, *later], [1] * (len(changes) + 1))
    return player


_REVERSED = {"mti": 400, "pcode": None, "currency": None, "pan": None}


def _codes(player: Player) -> list[str]:
    return [result.decision for result in player.played.results]


def test_a_reversal_finds_its_payment_by_lifecycle_id_alone() -> None:
    """Another STAN, no DE90, no RRN; the second one finds nothing left."""
    by_id = {**_REVERSED, "lifecycle": 7, "terminal": "TERM0002"}
    assert _codes(_tied(by_id, by_id)) == ["APPROVED", "REVERSED", "REVERSED_NOTHING"]


def test_a_lifecycle_id_of_another_card_names_nothing() -> None:
    """Of a known card or not; the RRN is asked then, and the card's own id still stands."""
    other = {**_REVERSED, "lifecycle": 7, "terminal": "TERM0002", "pan": pan(3)}
    unknown = {**other, "pan": pan(60)}
    by_rrn = {**_REVERSED, "lifecycle": 8, "rrn": "000000000001"}
    player = _tied(other, unknown, by_rrn)
    nothing = "ORIGINAL_NOT_FOUND"
    assert _codes(player) == ["APPROVED", nothing, nothing, "REVERSED"]


def test_the_newest_payment_has_a_lifecycle_id_that_comes_again() -> None:
    """With the same id on another card, the first is found by its RRN only."""
    again = {"lifecycle": 7, "pan": pan(3), "amount": 20}
    by_id = {**_REVERSED, "lifecycle": 7, "terminal": "TERM0002"}
    first = {**by_id, "pan": pan(1)}
    player = _tied(again, {**first, "amount": 10}, {**by_id, "amount": 20, "pan": pan(3)})
    assert _codes(player)[2:] == ["ORIGINAL_NOT_FOUND", "REVERSED"]


def test_de90_comes_before_the_lifecycle_id_and_that_before_rrn() -> None:
    """Three payments, each named by one key of the same reversals."""
    by_de90 = {"mti": 100, "stan": 2, "transmitted": 601120000, "acquirer": 42, "forwarder": 0}
    third = {"rrn": "000000000003"}
    keys = {**_REVERSED, "lifecycle": 7, "rrn": "000000000003"}
    player = _tied({}, third, {**keys, "original": by_de90}, keys)
    refs = player.played.all_records()["ref_seq"]
    seqs = player.played.all_records()["seq"]
    assert refs.tolist() == [0, 0, 0, seqs[1], seqs[0]]


def test_a_reversal_before_its_payment_is_known_by_lifecycle_id() -> None:
    """It voids that payment of its card, and no other one with the id."""
    player = Player(SmallEngine(2, 2, plain=True))
    early = at(_REVERSAL, stan=50, pan=pan(1), lifecycle=9, terminal="TERM0002")
    player.play([early, at(_PAYMENT, lifecycle=9), at(_PAYMENT, stan=2, lifecycle=9)], [1, 1, 1])
    assert _codes(player)[1:] == ["VOIDED_BY_REVERSAL", "APPROVED"]
    player = Player(SmallEngine(2, 2, plain=True))
    player.play([early, at(_PAYMENT, lifecycle=9, pan=pan(3))], [1, 1])
    assert _codes(player)[1:] == ["APPROVED"]


def test_a_forgotten_payment_is_not_found_by_lifecycle_id() -> None:
    """Nothing of it stays: neither its id nor an entry of the index."""
    player = _tied({**_REVERSED, "lifecycle": 7}, ring=16)
    player.play([at(_PAYMENT, stan=100 + n, amount=0) for n in range(12)], [1] * 12)
    state = player.engine.state
    assert not state.lives.any()
    assert state.life_index.count == 0
    player.play([at(_REVERSAL, stan=90, mti=400, lifecycle=7)])
    assert player.played.results[-1].decision == "ORIGINAL_NOT_FOUND"


def test_an_increment_goes_by_lifecycle_id_where_the_profile_has_it(
    profile: Callable[..., None],
) -> None:
    """Another RRN adds to the hold; of another card it is a payment of its own."""
    profile(incremental=1)
    more = {"lifecycle": 7, "rrn": "000000000009", "amount": 5}
    player = _tied(more, {**more, "pan": pan(3)})
    records = player.played.all_records()
    assert records["hold_after_minor"].tolist() == [10, 15, 5]
    assert records["ref_seq"].tolist() == [0, records["seq"][0], 0]


def test_a_reversal_that_reuses_stan_and_de7_takes_back_its_increment(
    profile: Callable[..., None],
) -> None:
    """What names one message comes before the lifecycle id, which all of a payment share."""
    profile(incremental=1)
    player = _tied({"lifecycle": 7, "rrn": "000000000009", "amount": 5})
    increment = at(_REVERSAL, stan=2, amount=5, lifecycle=7, rrn="000000000009")
    player.play([increment, at(_REVERSAL, stan=9, lifecycle=7)], [1, 1])
    assert player.played.all_records()["hold_after_minor"].tolist() == [10, 15, 10, 0]


def test_where_the_amount_of_a_lifecycle_id_differs_the_rrn_is_asked() -> None:
    """A reversal of 20 with the id of a payment of 10 is the one of the payment with its RRN."""
    other = {"lifecycle": 8, "rrn": "000000000002", "amount": 20}
    player = _tied(other, {**_REVERSED, **other, "lifecycle": 7})
    records = player.played.all_records()
    assert records["ref_seq"].tolist() == [0, 0, records["seq"][1]]
