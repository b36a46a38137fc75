"""Clearing reversals case by case: what is held again, what is not, and what comes after."""

from typing import Any

import numpy as np
import pytest

from engine.filing import Clearing
from engine.replay import Replayer, ReplayError
from ledger.authorizations import Cursor, State
from ledger.lifecycle import Position
from ledger.record import Flag, Kind
from tests.support.filings import settle_items
from tests.support.judged import LIMIT, PAYMENT, ask, book_of, decisions_of, last_record, reversal
from tests.support.presented import check_folds, clear, facts_of, file_items, take_back
from tests.support.small_engine import HASH_KEY, START_NS, TABLES, SmallEngine
from tests.support.streams import Message, Player, at

pytestmark = pytest.mark.kernels

HOUR_S = 3600
_MINUTE_S = 60
_DEADLINE_S = -(-(START_NS // 10**9 + 24 * HOUR_S) // _MINUTE_S) * _MINUTE_S - START_NS // 10**9


@pytest.fixture(autouse=True)
def _folded(player: Player) -> Any:
    """After each case: records fold into the state, a snapshot goes back, the books agree."""
    yield
    check_folds(player)


def test_a_clearing_taken_back_is_held_again_and_clears_again(player: Player) -> None:
    """The authorization is open as before: a later presentment is matched, not forced."""
    ask(player, PAYMENT)
    assert clear(player, 4_000) == "MATCHED"
    assert facts_of(player) == (State.CLEARED, 0, 4_000)

    assert take_back(player, 4_000) == "REVERSED"

    assert book_of(player) == (6_000, 4_000, 0, 0)
    assert facts_of(player) == (State.OPEN, 4_000, 0)
    record = last_record(player)
    assert (record["amount2_minor"], record["hold_after_minor"]) == (-4_000, 4_000)
    assert clear(player, 4_000, "C2") == "MATCHED"
    assert book_of(player) == (6_000, 0, 4_000, 0)
    assert take_back(player, 4_000, "R2", "C2") == "REVERSED"
    assert facts_of(player) == (State.OPEN, 4_000, 0)


def test_a_reversal_posts_once(player: Player) -> None:
    """The same id is a duplicate; another one has nothing left to take back."""
    ask(player, PAYMENT)
    clear(player, 4_000)

    results = [take_back(player, 4_000) for _ in range(2)]
    results += [take_back(player, 1, "R2"), take_back(player, 4_000, "R3", of="R")]

    assert results == ["REVERSED", "DUPLICATE", "MORE_THAN_TARGET", "TARGET_DIFFERS"]
    assert book_of(player) == (6_000, 4_000, 0, 0)


def test_the_rest_of_a_final_clearing_is_held_again(player: Player) -> None:
    """3,000 of 4,000 were taken and 1,000 let go: all of it is held as before."""
    ask(player, PAYMENT)
    clear(player, 3_000)
    assert book_of(player) == (7_000, 0, 3_000, 0)

    take_back(player, 3_000)

    assert book_of(player) == (6_000, 4_000, 0, 0)


@pytest.mark.parametrize(("spent", "held"), [(6_400, 3_600), (7_000, 3_000)])
def test_a_rest_that_was_spent_is_not_held_again(player: Player, spent: int, held: int) -> None:
    """What was let go was open to buy: nothing is counted twice, and nothing goes over."""
    ask(player, PAYMENT)
    clear(player, 3_000)
    ask(player, at(PAYMENT, mti=200, stan=2, amount=spent, rrn="000000000002"))

    take_back(player, 3_000)

    assert book_of(player) == (0, held, spent, 0)


def test_a_part_taken_back_is_held_again_without_the_rest(player: Player) -> None:
    """The rest of a final clearing stays let go as long as a part of it stands."""
    ask(player, PAYMENT)
    clear(player, 3_000)

    take_back(player, 500)
    assert book_of(player) == (7_000, 500, 2_500, 0)
    assert facts_of(player) == (State.OPEN, 500, 2_500)
    take_back(player, 2_500, "R2")
    assert book_of(player) == (7_000, 3_000, 0, 0)


@pytest.mark.parametrize(
    ("of", "amount", "expected"),
    [
        ("C1", 1_000, (State.OPEN, 1_000, 3_000)),
        ("C2", 2_000, (State.OPEN, 3_000, 1_000)),
        ("C3", 1_000, (State.OPEN, 1_000, 3_000)),
    ],
)
def test_one_of_several_clearings(
    player: Player, of: str, amount: int, expected: tuple[int, int, int]
) -> None:
    """1,000 and then 2,000, last of all 1,000 while the hold has 1,000; one of them comes back."""
    ask(player, PAYMENT)
    clear(player, 1_000, "C1", final=False)
    if of == "C2":
        clear(player, 2_000, "C2")
    else:
        clear(player, 2_000, "C2", final=False)
        clear(player, 1_000, "C3")

    take_back(player, amount, of=of)

    assert facts_of(player) == expected
    assert sum(book_of(player)[:3]) == LIMIT


def test_a_part_comes_back_while_the_rest_is_held(player: Player) -> None:
    """Still open: the hold grows by what is taken back."""
    ask(player, PAYMENT)
    clear(player, 1_000, final=False)
    assert facts_of(player) == (State.OPEN, 3_000, 1_000)

    take_back(player, 1_000)

    assert facts_of(player) == (State.OPEN, 4_000, 0)


def test_of_an_over_capture_what_went_beyond_goes_first(player: Player) -> None:
    """5,000 of 4,000: the first 1,000 taken back was never held."""
    ask(player, PAYMENT)
    assert clear(player, 5_000) == "OVER_CAPTURED"

    take_back(player, 1_000)
    assert book_of(player) == (6_000, 0, 4_000, 0)
    assert facts_of(player) == (State.CLEARED, 0, 4_000)
    take_back(player, 4_000, "R2")
    assert book_of(player) == (6_000, 4_000, 0, 0)
    assert facts_of(player) == (State.OPEN, 4_000, 0)


def test_an_over_capture_past_the_limit_taken_back_at_once(player: Player) -> None:
    """What was over the limit is paid down, the hold is as before."""
    ask(player, PAYMENT)
    clear(player, 12_000)
    assert book_of(player) == (0, 0, 12_000, 2_000)

    take_back(player, 12_000)

    assert book_of(player) == (6_000, 4_000, 0, 0)


def test_a_refund_counts_against_what_can_be_taken_back(player: Player) -> None:
    """What was refunded is not held again; what is left of the clearing is."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    refund = {"id": "F", "type": "refund", "amount_minor": 1_500, "original_id": "C"}
    assert file_items(player, refund) == ["REFUNDED"]

    assert take_back(player, 4_000) == "MORE_THAN_TARGET"
    assert take_back(player, 2_500) == "REVERSED"

    assert book_of(player) == (7_500, 2_500, 0, 0)


def test_a_forced_clearing_had_no_hold(player: Player) -> None:
    """It goes back to what may be spent."""
    ask(player, PAYMENT)
    assert file_items(player, {"id": "C", "amount_minor": 700}) == ["FORCED"]

    assert take_back(player, 700) == "REVERSED"

    assert book_of(player) == (6_000, 4_000, 0, 0)
    assert last_record(player)["amount2_minor"] == 0


@pytest.mark.parametrize("is_cleared", [True, False])
@pytest.mark.parametrize("early_s", [1, 0])
def test_a_hold_past_its_life_does_not_come_back(
    player: Player, is_cleared: bool, early_s: int
) -> None:
    """A second before its deadline it is held and ends then, once; from then on it is not."""
    ask(player, PAYMENT)
    clear(player, 4_000 if is_cleared else 1_000, final=is_cleared)

    take_back(player, 4_000 if is_cleared else 1_000, after_s=_DEADLINE_S - early_s)

    if early_s or not is_cleared:
        assert facts_of(player)[:2] == (State.OPEN, 4_000 if early_s else 3_000)
        player.expire(START_NS + _DEADLINE_S * 10**9)
    assert book_of(player) == (LIMIT, 0, 0, 0)
    assert facts_of(player) == (State.EXPIRED, 0, 0)
    player.expire(START_NS + 9 * _DEADLINE_S * 10**9)
    assert book_of(player) == (LIMIT, 0, 0, 0)
    assert clear(player, 4_000, "C2", after_s=_DEADLINE_S) == "FORCED"
    assert last_record(player)["flags"] & Flag.LATE
    assert facts_of(player) == (State.CLEARED, 0, 4_000)


def test_a_late_clearing_taken_back(player: Player) -> None:
    """The expired authorization that it closed is expired again."""
    ask(player, PAYMENT)
    player.expire(START_NS + _DEADLINE_S * 10**9)
    assert clear(player, 4_000) == "FORCED"
    assert facts_of(player) == (State.CLEARED, 0, 4_000)

    take_back(player, 4_000, after_s=_DEADLINE_S)

    assert book_of(player) == (LIMIT, 0, 0, 0)
    assert facts_of(player) == (State.EXPIRED, 0, 0)


def test_a_reversed_authorization_stays_reversed(player: Player) -> None:
    """Its rest was given back by message: what is taken back goes to what may be spent."""
    ask(player, PAYMENT)
    clear(player, 1_000, final=False)
    assert decisions_of(ask(player, reversal())) == ["REVERSED"]

    take_back(player, 1_000)

    assert book_of(player) == (LIMIT, 0, 0, 0)
    assert facts_of(player) == (State.REVERSED, 0, 0)


def test_what_is_open_again_is_reversed_and_expires_as_ever(player: Player) -> None:
    """A message gives back the hold; nothing is left for the timer, nor to refund."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    take_back(player, 4_000)

    assert decisions_of(ask(player, reversal())) == ["REVERSED"]

    assert book_of(player) == (LIMIT, 0, 0, 0)
    player.expire(START_NS + 9 * _DEADLINE_S * 10**9)
    assert decisions_of(ask(player, reversal(stan=901))) == ["REVERSED_NOTHING"]
    assert book_of(player) == (LIMIT, 0, 0, 0)


def test_a_capture_refunded_by_message_is_not_open_again(player: Player) -> None:
    """The authorization was reversed: a clearing reversal after it holds nothing."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    assert decisions_of(ask(player, reversal())) == ["CAPTURE_REFUNDED"]

    take_back(player, 4_000)

    assert book_of(player)[1] == 0
    assert facts_of(player) == (State.REVERSED, 0, 0)


def test_money_paid_in_meanwhile_becomes_the_customers(player: Player) -> None:
    """Repaid, then taken back: the hold stands against the customer's own money."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    repaid = {"id": "P", "type": "repayment", "amount_minor": 4_000}
    assert file_items(player, repaid) == ["PAID"]

    take_back(player, 4_000)

    assert book_of(player) == (10_000, 4_000, 0, 0)
    assert player.engine.state.accounts[1]["prepaid_minor"] == 4_000


def test_cash_is_taken_back_from_cash(player: Player) -> None:
    """The receivable is that of the clearing, whatever the reversal says of its kind."""
    ask(player, at(PAYMENT, pcode=10_000))
    clear(player, 4_000, pcode="011000")
    assert file_items(player, {"id": "X", "amount_minor": 1_000}) == ["FORCED"]

    take_back(player, 4_000)

    assert last_record(player)["pcode"] == 10_000
    position = Position()
    for record in [player.engine.events[0], *player.played.all_records()]:
        position.post(record)
    assert (position.purchases_minor, position.cash_minor) == (1_000, 0)


def test_holds_of_a_minute_end_in_order_of_entry(player: Player) -> None:
    """The first of three was closed and is open again: it ends first, as after a restart."""
    ask(player, PAYMENT, *[at(PAYMENT, stan=n, amount=100, rrn=f"{n:012d}") for n in (2, 3)])
    clear(player, 4_000)
    take_back(player, 4_000)
    first = int(player.played.all_records()[0]["seq"])

    player.expire(START_NS + _DEADLINE_S * 10**9)

    ended = player.played.records[-1]
    assert ended["kind"].tolist() == [Kind.EXPIRE] * 3
    assert ended["ref_seq"].tolist() == [first, first + 1, first + 2]


def _crowd(player: Player, count: int) -> None:
    for n in range(count):
        ask(player, Message(START_NS, 0, {**PAYMENT.request, "stan": 100 + n, "amount": 0}))


def test_an_authorization_that_is_forgotten_is_not_held_again(player: Player) -> None:
    """Its row is another message's soon; up to then a hold that is open again keeps its row."""
    ask(player, PAYMENT)
    clear(player, 3_000, final=False)
    clear(player, 1_000, "C2")
    remembered = len(player.engine.state.ring) // 2
    _crowd(player, remembered - 1)
    assert player.engine.state.cursor[Cursor.HEAD] == remembered

    take_back(player, 1_000, of="C2")
    assert facts_of(player) == (State.OPEN, 1_000, 3_000)
    refused = at(PAYMENT, stan=99, amount=0)
    assert decisions_of(ask(player, refused)) == ["CAPACITY"]
    clear(player, 1_000, "C3")
    assert decisions_of(ask(player, refused)) == ["CHECKED"]

    assert take_back(player, 1_000, "R3", of="C3") == "REVERSED"
    assert book_of(player) == (7_000, 0, 3_000, 0)


def test_a_dry_run_moves_nothing(player: Player) -> None:
    """It says what would come of it."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    before = {name: a.tobytes() for name, a in player.engine.state.arrays().items()}
    item = Clearing(
        id="R", type="reversal", account="A1", amount_minor=4_000, currency="840", original_id="C"
    )

    results, records = settle_items(player.engine, [item], [(1, 0)], START_NS, is_dry=True)

    assert (results, len(records)) == (["REVERSED"], 0)
    assert before == {name: a.tobytes() for name, a in player.engine.state.arrays().items()}


def test_a_reversal_of_an_older_journal_folds_as_it_was_made(player: Player) -> None:
    """It held nothing again; what the record says counts, not what would be decided now."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    take_back(player, 4_000)
    records = player.played.all_records()
    older = records.copy()
    older[-1]["amount2_minor"], older[-1]["hold_after_minor"] = 0, 0
    older[-1]["otb_after_minor"] = LIMIT
    engine = SmallEngine(1, 2, LIMIT, plain=True)

    Replayer(engine.state, TABLES, HASH_KEY).apply(older, [])

    account, row = engine.state.accounts[1], engine.state.ring[1]
    assert (account["otb_minor"], account["hold_minor"], account["used_minor"]) == (LIMIT, 0, 0)
    assert (row["state"], row["held_minor"], row["cleared_minor"]) == (State.EXPIRED, 0, 0)


def test_a_hold_again_of_what_is_not_there_stops_the_fold(player: Player) -> None:
    """A journal that names a clearing without an authorization is not believed."""
    ask(player, PAYMENT)
    assert file_items(player, {"id": "C", "amount_minor": 700}) == ["FORCED"]
    take_back(player, 700)
    spoilt = player.played.all_records().copy()
    spoilt[-1]["amount2_minor"] = -700
    engine = SmallEngine(1, 2, LIMIT, plain=True)

    with pytest.raises(ReplayError, match="refers to is not there"):
        Replayer(engine.state, TABLES, HASH_KEY).apply(spoilt, [])
    assert not np.any(engine.state.ring["held_minor"] < 0)


def test_a_clearing_finds_its_authorization_by_lifecycle_id(player: Player) -> None:
    """Before RRN, after the record number; leading zeros are none, and all zeros name nothing."""
    first, second, third = (
        at(PAYMENT, stan=n, amount=100, rrn=f"{n:012d}", lifecycle=n * 10) for n in (1, 2, 3)
    )
    ask(player, first, second, third)
    seqs = player.played.all_records()["seq"].tolist()
    by_rrn = {"rrn": f"{3:012d}", "terminal": "TERM0001", "acquirer": "42", "amount_minor": 100}
    items = [
        {"id": "A", "lifecycle_id": "000000000000020", **by_rrn},
        {"id": "B", "lifecycle_id": "20", "authorization": seqs[0], "amount_minor": 100},
        {"id": "C", "lifecycle_id": "0", **by_rrn},
        {"id": "D", "lifecycle_id": "77", "amount_minor": 100},
    ]
    assert file_items(player, *items) == ["MATCHED", "MATCHED", "MATCHED", "FORCED"]
    refs = player.played.all_records()["ref_seq"][-4:].tolist()
    assert refs == [seqs[1], seqs[0], seqs[2], 0]


def test_a_lifecycle_id_of_another_account_matches_nothing(player: Player) -> None:
    """What is not this card's authorization is passed over, and the next key is asked."""
    ask(player, at(PAYMENT, lifecycle=7))
    items = [Clearing(id="X", account="A2", currency="840", amount_minor=5, lifecycle_id="7")]
    results, _ = settle_items(player.engine, items, [(1, 2)], START_NS, is_dry=True)
    assert results == ["FORCED"]
    results, _ = settle_items(player.engine, items, [(1, 1)], START_NS, is_dry=True)
    assert results == ["MATCHED"]
