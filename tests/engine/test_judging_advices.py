"""Message semantics by number: advices and completions."""

from typing import Any

import pytest

from engine.decision import Decision
from ledger.record import Flag, Kind
from tests.support.judged import (
    DAY_NS,
    LIMIT,
    PAYMENT,
    ask,
    book_of,
    decisions_of,
    last_record,
    reversal,
)
from tests.support.small_engine import START_NS, SmallEngine, pan
from tests.support.streams import Message, Player, at

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize("mti", [120, 220])
def test_behaviour_41_an_advice_is_never_declined(player: Player, mti: int) -> None:
    """Over the limit, of a blocked card, of an unknown card: 00, recorded, flagged."""
    player.engine.state.cards[1]["status"] = 2
    over, unknown = ask(
        player,
        at(PAYMENT, mti=mti, amount=15_000),
        at(PAYMENT, mti=mti, stan=2, pan=pan(60)),
    )

    assert (over.fields["t"], over.fields["39"]) == (f"{mti + 10:04d}", "00")
    assert unknown.fields["39"] == "00"
    held, used = (15_000, 0) if mti == 120 else (0, 15_000)
    assert book_of(player) == (0, held, used, 5_000)
    flags = int(player.played.all_records()[0]["flags"])
    assert flags & Flag.OVER_LIMIT
    assert flags & Flag.FORCED
    assert int(last_record(player)["result"]) == Decision.ADVICE_UNPOSTED


def test_behaviour_42_an_advice_again_posts_once(player: Player) -> None:
    """0121 and 0120 again: 0130, one hold."""
    results = ask(player, *[at(PAYMENT, mti=mti) for mti in (120, 121, 120)])

    assert [result.fields["t"] for result in results] == ["0130"] * 3
    assert book_of(player) == (6_000, 4_000, 0, 0)


@pytest.mark.parametrize("amount", [3_000, 4_000, 11_000])
def test_behaviour_42_an_advice_of_an_approved_payment_replaces_its_hold(
    player: Player, amount: int
) -> None:
    """Our approval came late, the network stood in: exactly one hold remains, the advised one."""
    ask(player, PAYMENT, at(PAYMENT, mti=120, stan=2, amount=amount))

    assert book_of(player)[1] == amount
    assert sum(player.engine.state.ring["held_minor"]) == amount
    assert int(last_record(player)["ref_seq"]) == int(player.played.all_records()[0]["seq"])


def test_behaviour_42_an_advice_of_a_declined_payment_holds(player: Player) -> None:
    """Ours no, stand-in yes: it is held, and what names the payment later means the advice."""
    big = at(PAYMENT, amount=12_000)
    results = ask(player, big, at(big, mti=120, stan=2), reversal(big))

    assert decisions_of(results) == ["NOT_ENOUGH_FUNDS", "ADVICE_RECORDED", "REVERSED"]
    assert book_of(player) == (10_000, 0, 0, 0)


@pytest.mark.parametrize("first", [12_000, 4_000])
@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], [4]])
def test_behaviour_42_a_reversal_of_the_payment_reverses_the_advice_in_its_place(
    player: Player, profile: Any, first: int, sizes: list[int]
) -> None:
    """Declined here, or reversed before: DE4 is the payment's own, not the advice's, by DE4 too."""
    profile(reversal_amount=1)
    payment = at(PAYMENT, amount=first)
    advice = at(PAYMENT, mti=120, stan=2, amount=1_500)

    player.play([payment, reversal(payment, stan=900), advice, reversal(payment, stan=901)], sizes)

    assert {result.fields["39"] for result in player.played.results[1:]} == {"00"}
    assert player.played.results[-1].decision == "REVERSED"
    assert book_of(player) == (10_000, 0, 0, 0)


@pytest.mark.parametrize(
    ("told", "holds"),
    [(code, code not in ("05", "51", "Z1")) for code in ("00", "08", "10", "Y1", "05", "51", "Z1")],
)
def test_behaviour_41_an_advice_of_a_decline_holds_nothing(
    player: Player, told: str, holds: bool
) -> None:
    """DE39 of a 0120 says what was decided elsewhere: 00 and recorded either way."""
    (result,) = ask(player, at(PAYMENT, mti=120, told=told))

    assert (result.fields["t"], result.fields["39"]) == ("0130", "00")
    assert book_of(player) == ((6_000, 4_000, 0, 0) if holds else (10_000, 0, 0, 0))
    record = last_record(player)
    assert (record["amount_minor"], record["amount2_minor"]) == (4_000 if holds else 0, 4_000)


def test_behaviour_42_ours_yes_and_theirs_no_releases_the_hold(player: Player) -> None:
    """Our approval came late and the network declined: nothing stays held, nor by the repeat."""
    declined = at(PAYMENT, mti=120, stan=2, told="05")
    results = ask(player, PAYMENT, declined, at(declined, mti=121))

    assert decisions_of(results)[:2] == ["APPROVED", "ADVICE_RECORDED"]
    assert [result.fields["39"] for result in results] == ["00", "00", "00"]
    assert book_of(player) == (10_000, 0, 0, 0)
    assert int(last_record(player)["ref_seq"]) == int(player.played.all_records()[0]["seq"])


def test_behaviour_49_what_names_an_unposted_advice_stands_by_itself(player: Player) -> None:
    """A 0120 in another currency moves no account; a 0220 of its RRN does, and is refunded."""
    strange = at(PAYMENT, mti=120, currency=978)
    done = at(PAYMENT, mti=220, stan=2)
    results = ask(player, strange, done, reversal(done))

    assert decisions_of(results) == ["ADVICE_UNPOSTED", "ADVICE_RECORDED", "CAPTURE_REFUNDED"]
    assert book_of(player) == (10_000, 0, 0, 0)
    assert not any(int(player.engine.state.accounts[0][n]) for n in ("otb_minor", "used_minor"))


@pytest.mark.parametrize("strange", [{"pan": pan(60)}, {"currency": 978}])
@pytest.mark.parametrize("sizes", [[1, 1, 1], [3]])
def test_behaviour_41_an_unposted_advice_takes_no_ones_place(
    strange: dict[str, Any], sizes: list[int]
) -> None:
    """Of an unknown card or in another currency: a reversal by RRN still finds the payment."""
    player = Player(SmallEngine(1, 2, LIMIT, plain=True))
    by_rrn = at(reversal(), original=None)
    player.play([PAYMENT, at(PAYMENT, mti=120, stan=2, **strange), by_rrn], sizes)

    decisions = decisions_of(player.played.results)
    assert decisions == ["APPROVED", "ADVICE_UNPOSTED", "REVERSED"]
    assert book_of(player)[1] == 0
    assert int(last_record(player)["ref_seq"]) == int(player.played.all_records()[0]["seq"])


def test_behaviour_41_an_unposted_advice_leaves_the_early_reversal(player: Player) -> None:
    """A reversal that came first is the payment's still, and an advice alone is found by RRN."""
    early = at(reversal(at(PAYMENT, stan=7)), mti=420)
    strange = at(PAYMENT, mti=120, stan=2, pan=pan(60))
    results = ask(player, early, strange, PAYMENT)
    assert decisions_of(results)[1:] == ["ADVICE_UNPOSTED", "VOIDED_BY_REVERSAL"]

    alone = at(strange, stan=3, rrn="000000000003")
    found = ask(player, alone, at(reversal(alone, stan=901), original=None))
    assert decisions_of(found) == ["ADVICE_UNPOSTED", "REVERSED_NOTHING"]


@pytest.mark.parametrize("has_hold", [True, False])
def test_behaviour_43_a_completion_of_a_decline_posts_nothing(
    player: Player, has_hold: bool
) -> None:
    """0230 00, recorded; a hold that it names stays as it is."""
    if has_hold:
        ask(player, PAYMENT)

    (result,) = ask(player, at(PAYMENT, mti=220, stan=2, told="05"))

    assert (result.fields["39"], result.decision) == ("00", "ADVICE_UNPOSTED")
    assert book_of(player) == ((6_000, 4_000, 0, 0) if has_hold else (10_000, 0, 0, 0))
    assert last_record(player)["kind"] == Kind.CHECK


def test_behaviour_41_what_was_declined_elsewhere_is_no_spending(player: Player) -> None:
    """The card's velocity counts an advice that holds, and not one of a decline."""
    velocity = player.engine.state.card_velocity
    before = velocity.copy()
    ask(player, at(PAYMENT, mti=120, told="05"))
    declined = velocity.copy()
    assert player.engine.authorizer.work.approved[0] == 0
    ask(player, at(PAYMENT, mti=120, stan=2, rrn="000000000002", told="00"))
    assert before.tobytes() != declined.tobytes(), "it was tried"
    assert player.engine.authorizer.work.approved[0] == 1


@pytest.mark.parametrize(
    ("amount", "keeps", "book", "kind"),
    [
        (4_000, 0, (6_000, 0, 4_000, 0), Kind.CLEARING),
        (1_500, 0, (8_500, 0, 1_500, 0), Kind.CLEARING),
        (1_500, 1, (6_000, 2_500, 1_500, 0), Kind.CLEARING_PART),
        (4_500, 0, (5_500, 0, 4_500, 0), Kind.OVER_CAPTURE),
        (12_000, 0, (0, 0, 12_000, 2_000), Kind.OVER_CAPTURE),
    ],
)
def test_behaviour_43_a_completion_clears_its_hold(
    player: Player,
    profile: Any,
    amount: int,
    keeps: int,
    book: tuple[int, int, int, int],
    kind: Kind,
) -> None:
    """Up to the hold, the rest released or kept by profile; above it all is posted and flagged."""
    profile(completion_keeps_rest=keeps)

    results = ask(player, PAYMENT, at(PAYMENT, mti=220, stan=2, amount=amount))

    assert (results[1].fields["t"], results[1].fields["39"]) == ("0230", "00")
    assert book_of(player) == book
    record = last_record(player)
    assert record["kind"] == kind
    assert bool(record["flags"] & Flag.OVER_TOLERANCE) == (amount > 4_600)


def test_behaviour_43_a_completion_without_its_payment_is_posted_by_force(player: Player) -> None:
    """Unknown, and known but expired: posted and flagged, in whatever order."""
    late = Message(START_NS + 3 * DAY_NS, 0, at(PAYMENT, mti=220, stan=3).request)
    ask(player, at(PAYMENT, mti=220, stan=2, rrn="000000000009"), PAYMENT)
    nothing = Message(START_NS + 2 * DAY_NS, 0, at(PAYMENT, stan=8, amount=0, rrn=None).request)
    ask(player, nothing, late)

    records = player.played.all_records()
    forced = records[records["kind"] == Kind.FORCE_POST]
    assert [bool(flags & Flag.LATE) for flags in forced["flags"]] == [False, True]
    assert book_of(player) == (2_000, 0, 8_000, 0)


def test_behaviour_44_an_advice_that_cannot_be_kept_is_asked_for_again(player: Player) -> None:
    """Past the bound of a balance the answer is 96 and nothing moves."""
    player.engine.state.accounts[1]["limit_minor"] = 10**18
    before = book_of(player)

    results = ask(player, *[at(PAYMENT, mti=mti, stan=mti) for mti in (120, 220)])

    assert [result.fields["39"] for result in results] == ["96", "96"]
    assert book_of(player) == before
