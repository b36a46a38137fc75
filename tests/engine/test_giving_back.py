"""What was captured comes back once: by message, by file, or a part by each, in any order."""

from typing import Any

import numpy as np
import pytest

from engine.replay import Replayer
from ledger.authorizations import Cursor, State
from ledger.record import RECORD, Flag, Kind
from tests.support.judged import (
    LIMIT,
    PAYMENT,
    ask,
    book_of,
    decisions_of,
    last_record,
    reversal,
)
from tests.support.presented import check_folds, clear, facts_of, file_items, take_back
from tests.support.small_engine import HASH_KEY, TABLES, SmallEngine
from tests.support.streams import Message, Player, at

pytestmark = pytest.mark.kernels

_COMPLETION = at(PAYMENT, mti=220, stan=5)
_ALL_BACK = (LIMIT, 0, 0, 0)


@pytest.fixture(autouse=True)
def _folded(player: Player) -> Any:
    """After each case: records fold into the state, a snapshot goes back, the books agree."""
    yield
    check_folds(player)


def _undo(player: Player, of: Message = PAYMENT, **changes: Any) -> str:
    """Send the 0420 of a message; return the decision."""
    changes.setdefault("stan", 900 + player.rows)
    (result,) = ask(player, reversal(of, **changes))
    assert result.fields["39"] in ("00", "13")
    return result.decision


def _crowd(player: Player, count: int, first: int = 100) -> None:
    """Let ``count`` messages come that hold nothing."""
    for n in range(first, first + count):
        ask(player, at(PAYMENT, stan=n, amount=0, rrn=f"{n:012d}"))


def test_what_a_message_refunded_is_not_taken_back(player: Player) -> None:
    """Cleared by file, reversed by message: the clearing has nothing left, for file or message."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    assert _undo(player) == "CAPTURE_REFUNDED"
    seq = player.engine.state.next_seq

    assert take_back(player, 4_000) == "MORE_THAN_TARGET"
    assert take_back(player, 1, "R2") == "MORE_THAN_TARGET"
    assert take_back(player, 1, "F", kind="refund") == "MORE_THAN_TARGET"

    assert player.engine.state.next_seq == seq
    assert book_of(player) == _ALL_BACK
    assert facts_of(player) == (State.REVERSED, 0, 0)


@pytest.mark.parametrize("kind", ["refund", "reversal"])
def test_behaviour_49_what_a_file_gave_back_is_not_refunded(player: Player, kind: str) -> None:
    """All of it came back by file: the message is answered as a repeat is, and moves nothing."""
    ask(player, PAYMENT)
    clear(player, 4_000, after_s=1)
    take_back(player, 4_000, kind=kind, after_s=30 * 86_400)
    assert book_of(player) == _ALL_BACK

    assert [_undo(player), _undo(player)] == ["REVERSED_NOTHING"] * 2

    assert book_of(player) == _ALL_BACK
    assert facts_of(player)[1:] == (0, 0)


def test_a_message_refunds_what_a_file_left(player: Player) -> None:
    """1,500 of 4,000 were refunded by file: 2,500 are left, and then nothing."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    take_back(player, 1_500, "F", kind="refund")
    assert facts_of(player) == (State.CLEARED, 0, 2_500)

    assert _undo(player) == "CAPTURE_REFUNDED"

    record = last_record(player)
    assert (record["kind"], record["amount_minor"]) == (Kind.REFUND, 2_500)
    assert book_of(player) == _ALL_BACK
    assert take_back(player, 1, "R") == "MORE_THAN_TARGET"


def test_refunds_of_one_clearing_never_exceed_it(player: Player) -> None:
    """What names a clearing is bounded by it; a credit that names nothing is what it is."""
    ask(player, PAYMENT)
    clear(player, 4_000)

    results = [
        take_back(player, 3_000, "F1", kind="refund"),
        take_back(player, 1_001, "F2", kind="refund"),
        take_back(player, 1_000, "F3", kind="refund"),
    ]

    assert results == ["REFUNDED", "MORE_THAN_TARGET", "REFUNDED"]
    free = {"id": "F4", "type": "refund", "amount_minor": 500}
    assert file_items(player, free) == ["REFUNDED"]
    assert player.engine.state.accounts[1]["prepaid_minor"] == 500
    assert _undo(player) == "REVERSED_NOTHING"


def test_a_partial_reversal_then_a_refund_of_the_rest(player: Player) -> None:
    """The hold goes down to 2,500, which is cleared, refunded by file and reversed."""
    ask(player, PAYMENT)
    assert _undo(player, replacement=2_500) == "REVERSED"
    clear(player, 2_500)
    take_back(player, 2_500, "F", kind="refund")

    assert _undo(player) == "REVERSED_NOTHING"
    assert take_back(player, 2_500, "R") == "MORE_THAN_TARGET"

    assert book_of(player) == _ALL_BACK


@pytest.mark.parametrize("mti", [200, 220])
def test_behaviour_50_a_part_of_a_captured_payment_comes_back(player: Player, mti: int) -> None:
    """DE95 says what stays; then less stays, then nothing; more than it was is refused."""
    captured = at(PAYMENT, mti=mti)
    ask(player, captured)

    assert _undo(player, captured, replacement=4_001) == "AMOUNT_INVALID"
    assert _undo(player, captured, replacement=2_500) == "CAPTURE_REFUNDED"
    assert book_of(player) == (7_500, 0, 2_500, 0)
    assert _undo(player, captured, replacement=2_500) == "REVERSED_NOTHING"
    assert _undo(player, captured, replacement=1_000) == "CAPTURE_REFUNDED"
    assert book_of(player) == (9_000, 0, 1_000, 0)
    assert _undo(player, captured) == "CAPTURE_REFUNDED"
    assert _undo(player, captured) == "REVERSED_NOTHING"

    assert book_of(player) == _ALL_BACK


def test_a_part_by_de4(player: Player, profile: Any) -> None:
    """By profile DE4 is what stays; the whole goes when it is the original's."""
    profile(reversal_amount=1)
    captured = at(PAYMENT, mti=200)
    ask(player, captured)

    assert _undo(player, captured, amount=1_000) == "CAPTURE_REFUNDED"
    assert book_of(player) == (9_000, 0, 1_000, 0)
    assert _undo(player, captured) == "CAPTURE_REFUNDED"

    assert book_of(player) == _ALL_BACK


def test_a_part_by_message_is_the_newest(player: Player) -> None:
    """1,000, 2,000 and 1,000 were cleared; 2,500 come back: the last, and 1,500 of the second."""
    ask(player, PAYMENT)
    clear(player, 1_000, "C1", final=False)
    clear(player, 2_000, "C2", final=False)
    clear(player, 1_000, "C3")

    assert _undo(player, replacement=1_500) == "CAPTURE_REFUNDED"
    assert facts_of(player) == (State.CLEARED, 0, 1_500)

    assert take_back(player, 1, "R3", of="C3") == "MORE_THAN_TARGET"
    assert take_back(player, 501, "R2", of="C2") == "MORE_THAN_TARGET"
    assert take_back(player, 500, "F2", of="C2", kind="refund") == "REFUNDED"
    assert take_back(player, 1_000, "F1", of="C1", kind="refund") == "REFUNDED"
    assert _undo(player) == "REVERSED_NOTHING"
    assert book_of(player) == _ALL_BACK


@pytest.mark.parametrize("first", [PAYMENT, _COMPLETION])
def test_a_completion_and_its_authorization_come_back_once(player: Player, first: Message) -> None:
    """Whichever is reversed first, nothing is left for the other."""
    ask(player, PAYMENT, _COMPLETION)
    assert facts_of(player) == (State.CLEARED, 0, 4_000)
    second = _COMPLETION if first is PAYMENT else PAYMENT

    decisions = [_undo(player, first), _undo(player, second), _undo(player, first)]

    assert decisions == ["CAPTURE_REFUNDED", "REVERSED_NOTHING", "REVERSED_NOTHING"]
    assert book_of(player) == _ALL_BACK


def test_completions_and_clearings_together(player: Player, profile: Any) -> None:
    """Two completions, a clearing between them: one is reversed alone, the rest together."""
    profile(completion_keeps_rest=1)
    completions = [at(_COMPLETION, stan=5 + n, amount=1_000) for n in range(2)]
    ask(player, PAYMENT, completions[0])
    clear(player, 1_500, final=False)
    ask(player, completions[1])
    assert facts_of(player) == (State.OPEN, 500, 3_500)
    assert _undo(player, completions[0]) == "CAPTURE_REFUNDED"
    assert facts_of(player) == (State.OPEN, 500, 2_500)
    clear(player, 500, "C2")

    assert _undo(player, replacement=1_200) == "CAPTURE_REFUNDED"

    assert facts_of(player) == (State.CLEARED, 0, 1_200)
    assert take_back(player, 1, "R2", of="C2") == "MORE_THAN_TARGET"
    assert _undo(player, completions[1]) == "REVERSED_NOTHING"
    assert take_back(player, 1_201, "R1") == "MORE_THAN_TARGET"
    assert take_back(player, 1_200, "F1", kind="refund") == "REFUNDED"
    assert book_of(player) == _ALL_BACK


def test_in_one_batch(player: Player) -> None:
    """The authorization, its completion and both reversals at once."""
    player.play([PAYMENT, _COMPLETION, reversal(stan=901), reversal(_COMPLETION, stan=902)])

    assert decisions_of(player.played.results)[2:] == ["CAPTURE_REFUNDED", "REVERSED_NOTHING"]
    assert book_of(player) == _ALL_BACK


@pytest.mark.parametrize("cut", [1, 2])
def test_an_advice_takes_its_place_right_after_the_reversal(player: Player, cut: int) -> None:
    """In one batch or in two: the clearing has nothing left, the advice holds for itself."""
    ask(player, PAYMENT)
    clear(player, 4_000)

    player.play([reversal(stan=901), at(PAYMENT, mti=120, stan=6, amount=500)], [cut])

    assert decisions_of(player.played.results)[1:] == ["CAPTURE_REFUNDED", "ADVICE_RECORDED"]
    assert take_back(player, 1) == "MORE_THAN_TARGET"
    assert book_of(player) == (LIMIT - 500, 500, 0, 0)


def test_what_is_cleared_after_the_refund_stands_by_itself(player: Player) -> None:
    """It is posted by force, and taken back by itself; the clearing before it stays exhausted."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    _undo(player)

    assert clear(player, 700, "C2") == "FORCED"
    assert last_record(player)["flags"] & Flag.LATE
    ask(player, at(_COMPLETION, amount=300))

    assert take_back(player, 1, "R") == "MORE_THAN_TARGET"
    assert _undo(player) == "REVERSED_NOTHING"
    assert take_back(player, 700, "R2", of="C2") == "REVERSED"
    assert _undo(player, at(_COMPLETION, amount=300)) == "CAPTURE_REFUNDED"
    assert book_of(player) == _ALL_BACK


def test_a_part_cleared_and_the_rest_reversed(player: Player) -> None:
    """The message gave back the hold only: what was cleared is still there to give back."""
    ask(player, PAYMENT)
    clear(player, 1_000, final=False)
    assert _undo(player) == "REVERSED"
    assert facts_of(player) == (State.REVERSED, 0, 1_000)

    assert take_back(player, 400, "F", kind="refund") == "REFUNDED"
    assert facts_of(player) == (State.REVERSED, 0, 600)
    assert take_back(player, 600) == "REVERSED"

    assert _undo(player) == "REVERSED_NOTHING"
    assert book_of(player) == _ALL_BACK


@pytest.mark.parametrize("mti", [200, 220])
def test_a_credit_by_message_is_what_it_is(player: Player, mti: int) -> None:
    """Processing code 20 gives money whatever it names; its own reversal takes it again, once."""
    credit = at(PAYMENT, mti=mti, stan=7, pcode=200_000)
    ask(player, at(PAYMENT, mti=200))
    ask(player, credit)
    assert book_of(player) == _ALL_BACK

    assert _undo(player, at(PAYMENT, mti=200)) == "CAPTURE_REFUNDED"
    assert player.engine.state.accounts[1]["prepaid_minor"] == 4_000
    assert _undo(player, credit, replacement=1_000) == "CAPTURE_REFUNDED"
    assert player.engine.state.accounts[1]["prepaid_minor"] == 1_000
    assert [_undo(player, credit), _undo(player, credit)] == [
        "CAPTURE_REFUNDED",
        "REVERSED_NOTHING",
    ]
    assert book_of(player) == _ALL_BACK


def test_a_captured_payment_a_refund_by_file_and_the_reversal(player: Player) -> None:
    """No file posted a 0200, so no file item can name it: the refund is a credit of its own."""
    captured = at(PAYMENT, mti=200)
    ask(player, captured)
    free = {"id": "F", "type": "refund", "amount_minor": 4_000}
    assert file_items(player, {**free, "original_id": "nothing"}) == ["NO_TARGET"]
    assert file_items(player, free) == ["REFUNDED"]

    assert _undo(player, captured) == "CAPTURE_REFUNDED"

    assert player.engine.state.accounts[1]["prepaid_minor"] == 4_000


def test_a_refund_outlives_its_authorization(player: Player) -> None:
    """The ring has forgotten the authorization: clearing and completion still have nothing left."""
    ask(player, PAYMENT)
    clear(player, 1_000, final=False)
    remembered = len(player.engine.state.ring) // 2
    _crowd(player, remembered - 5)
    completion = at(_COMPLETION, amount=3_000)
    ask(player, completion)
    assert _undo(player) == "CAPTURE_REFUNDED"
    _crowd(player, 10, 500)
    assert player.engine.state.cursor[Cursor.HEAD] > remembered + 1
    assert book_of(player) == _ALL_BACK

    assert _undo(player, completion) == "REVERSED_NOTHING"
    assert take_back(player, 1_000) == "MORE_THAN_TARGET"

    assert book_of(player) == _ALL_BACK


def test_a_forgotten_authorization_leaves_its_captures_alone(player: Player) -> None:
    """What belonged to it then stands alone, and the reversal of one is not that of the others."""
    ask(player, PAYMENT)
    _crowd(player, len(player.engine.state.ring) // 2 - 3)
    completions = [at(_COMPLETION, stan=5 + n, amount=3_000 - 1_000 * n) for n in range(2)]
    ask(player, *completions)
    _crowd(player, 3, 500)

    assert _undo(player, completions[1]) == "CAPTURE_REFUNDED"
    assert _undo(player, completions[0]) == "CAPTURE_REFUNDED"

    assert book_of(player) == _ALL_BACK


def test_a_journal_in_which_it_came_back_twice_folds_as_it_was_made(player: Player) -> None:
    """What the record says counts, not what would be decided now."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    take_back(player, 4_000, "F", kind="refund")
    assert _undo(player) == "REVERSED_NOTHING"
    older = player.played.all_records().copy()
    older[-1]["kind"], older[-1]["amount_minor"] = Kind.REFUND, 4_000
    older[-1]["flags"] |= Flag.REVERSES
    older[-1]["otb_after_minor"] = LIMIT + 4_000
    engine = SmallEngine(1, 2, LIMIT, plain=True)

    Replayer(engine.state, TABLES, HASH_KEY).apply(older, [])

    account, row = engine.state.accounts[1], engine.state.ring[1]
    assert (account["otb_minor"], account["prepaid_minor"]) == (LIMIT + 4_000, 4_000)
    assert (row["state"], row["cleared_minor"]) == (State.REVERSED, 0)


def test_a_clearing_that_an_older_journal_took_back_after_the_message(player: Player) -> None:
    """It folds as it was made, and more was given back of the clearing than it had."""
    ask(player, PAYMENT)
    clear(player, 4_000)
    before = player.engine.state.next_seq
    _undo(player)
    refund = player.played.all_records()[-1:].copy()
    other = Player(SmallEngine(1, 2, LIMIT, plain=True))
    ask(other, PAYMENT)
    clear(other, 4_000)
    take_back(other, 4_000, after_s=30 * 86_400)
    taken = other.played.all_records()[-1:].copy()
    taken["seq"], taken["otb_after_minor"] = before + 1, LIMIT + 4_000
    engine = SmallEngine(1, 2, LIMIT, plain=True)

    older = [*player.played.all_records()[:-1], *refund, *taken]
    Replayer(engine.state, TABLES, HASH_KEY).apply(np.array(older, RECORD), [])

    assert int(engine.state.accounts[1]["prepaid_minor"]) == 4_000
    item = engine.state.posted[1]
    assert (int(item["amount_minor"]), int(item["back_minor"])) == (4_000, 8_000)
    assert facts_of(player) == (State.REVERSED, 0, 0)
