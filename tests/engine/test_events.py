"""Account and card events: what they change, and which are refused."""

import numpy as np
import pytest

from engine.cards import CardFlag, CardStatus
from engine.events import Outcome, apply_event, apply_events, apply_zones, event_record
from engine.state import Bounds, EngineState
from ledger.accounts import AccountStatus
from ledger.authorizations import Cursor
from ledger.record import SCORE_NONE, Kind

pytestmark = pytest.mark.kernels


@pytest.fixture
def state() -> EngineState:
    """One account with one card, room for three of each."""
    state = EngineState(Bounds(3, 3, 4, 16))
    opened = event_record(
        Kind.ACCOUNT_OPEN, 5, account=1, amount_minor=1000, currency=840, status=1, customer=9
    )
    issued = event_record(Kind.CARD_ISSUE, 5, card=2, account=1, expiry_yymm=3012, status=1)
    both = np.concatenate([opened, issued])
    assert apply_events(both, state.accounts, state.cards, state.cursor) == 2
    return state


def _apply(state: EngineState, kind: Kind, **fields: int) -> tuple[Outcome, np.void]:
    record = event_record(kind, 7, **fields)[0]
    return Outcome(apply_event(record, state.accounts, state.cards, state.cursor)), record


def test_an_account_opens_with_its_limit_open_to_buy(state: EngineState) -> None:
    """All of the limit may be spent, nothing is held; numbers and records are counted on."""
    row = state.accounts[1]
    assert (row["limit_minor"], row["otb_minor"], row["hold_minor"]) == (1000, 1000, 0)
    assert (row["customer"], row["currency"], row["last_seq"]) == (9, 840, 2)
    assert (state.account_count, state.card_count, state.next_seq) == (1, 2, 3)


def test_each_event_changes_its_own_field(state: EngineState) -> None:
    """Limit, statuses and flags; the record gets the balances after it as check values."""
    outcome, record = _apply(state, Kind.LIMIT, account=1, amount_minor=400)
    assert (outcome, record["otb_after_minor"]) == (Outcome.OK, 400)
    _apply(state, Kind.ACCOUNT_STATUS, account=1, status=AccountStatus.BLOCKED)
    _apply(state, Kind.CARD_STATUS, card=2, status=CardStatus.STOLEN)
    _apply(state, Kind.CARD_FLAGS, card=2, status=CardFlag.TRAVEL_NOTICE)

    account, card = state.accounts[1], state.cards[2]
    assert (account["limit_minor"], account["status"]) == (400, AccountStatus.BLOCKED)
    assert (card["status"], card["flags"], card["expiry_yymm"]) == (4, 1, 3012)


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (Kind.LIMIT, {"account": 2, "amount_minor": 5}, Outcome.UNKNOWN),
        (Kind.ACCOUNT_STATUS, {"account": 3, "status": 2}, Outcome.UNKNOWN),
        (Kind.CARD_ISSUE, {"account": 2, "card": 3, "status": 1}, Outcome.UNKNOWN),
        (Kind.CARD_STATUS, {"card": 3, "status": 2}, Outcome.UNKNOWN),
        (Kind.CARD_ZONE, {"card": 3, "status": 2}, Outcome.UNKNOWN),
        (Kind.CARD_ZONE, {"card": 4, "status": 2}, Outcome.NO_ROOM),
        (Kind.ACCOUNT_OPEN, {"account": 4, "status": 1}, Outcome.NO_ROOM),
        (Kind.CARD_ISSUE, {"account": 1, "card": 4, "status": 1}, Outcome.NO_ROOM),
    ],
)
def test_what_was_never_opened_or_has_no_room_is_refused(
    state: EngineState, kind: Kind, fields: dict[str, int], expected: Outcome
) -> None:
    """Nothing changes, and no record number is taken."""
    before = [array.tobytes() for array in (state.accounts, state.cards, state.cursor)]

    outcome, _ = _apply(state, kind, **fields)

    assert outcome == expected
    after = [array.tobytes() for array in (state.accounts, state.cards, state.cursor)]
    assert before == after


def test_events_are_applied_up_to_the_first_that_cannot(state: EngineState) -> None:
    """The number of those that went in is returned; they are numbered without a gap."""
    records = np.concatenate(
        [
            event_record(Kind.LIMIT, 7, account=1, amount_minor=5),
            event_record(Kind.LIMIT, 7, account=3, amount_minor=5),
            event_record(Kind.LIMIT, 7, account=1, amount_minor=6),
        ]
    )

    assert apply_events(records, state.accounts, state.cards, state.cursor) == 1
    assert records["seq"][0] == 3
    assert state.cursor[Cursor.NEXT_SEQ] == 4
    assert state.accounts[1]["limit_minor"] == 5


def test_an_event_is_neutral_in_all_it_does_not_say() -> None:
    """No score, no acquirer, everything else zero."""
    record = event_record(Kind.LIMIT, 7, account=1)[0]

    assert (record["score"], record["acquirer"]) == (SCORE_NONE, -1)
    told = {"kind", "ts_ns", "account", "score", "acquirer"}
    assert not any(record[name] for name in record.dtype.names if name not in told)


def test_a_zone_is_the_cards_and_the_last_one_counts(state: EngineState) -> None:
    """Other cards and other facts of the card stay; 0 takes it away again."""
    before = state.cards.tobytes()
    for zones in ([469], [469, 153], [0]):
        records = np.concatenate(
            [event_record(Kind.CARD_ZONE, 7, card=2, status=zone) for zone in zones]
        )
        assert apply_events(records, state.accounts, state.cards, state.cursor) == len(zones)
        apply_zones(records, state.card_zones)
        assert state.card_zones.tolist() == [0, 0, zones[-1], 0]
    assert state.cards.tobytes() == before
