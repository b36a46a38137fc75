"""Message semantics by number: advices, completions, 0200, increments, reversals, by profile."""

from typing import Any

import numpy as np
import pytest

from ledger.authorizations import State
from ledger.record import Kind
from tests.support.judged import DAY_NS, LIMIT, PAYMENT, ask, book_of, decisions_of, reversal
from tests.support.small_engine import START_NS, TABLE, pan
from tests.support.streams import Message, Player, at

pytestmark = pytest.mark.kernels


def test_behaviour_23_a_0200_is_authorized_and_cleared_at_once(player: Player) -> None:
    """0210 with an approval code; the amount is used, nothing is held; without funds it is 51."""
    first, second = ask(player, at(PAYMENT, mti=200), at(PAYMENT, mti=200, stan=2, amount=6_001))

    assert (first.fields["t"], first.fields["39"], len(first.fields["38"])) == ("0210", "00", 6)
    assert second.fields["39"] == "51"
    assert book_of(player) == (6_000, 0, 4_000, 0)
    kinds = player.played.all_records()["kind"].tolist()
    assert kinds == [Kind.FINANCIAL, Kind.FINANCIAL]


@pytest.mark.parametrize("pcode", [0, 10_000, 90_000])
def test_behaviour_23_purchase_cash_and_cashback_hold_alike(player: Player, pcode: int) -> None:
    """Processing codes 00, 01 and 09 hold what they ask for."""
    (result,) = ask(player, at(PAYMENT, pcode=pcode))

    assert result.decision == "APPROVED"
    assert book_of(player) == (6_000, 4_000, 0, 0)


def test_behaviour_23_a_refund_authorization_frees_nothing_and_a_refund_is_given(
    player: Player,
) -> None:
    """0100 with 20 is noted; 0200 with 20 pays what is used, the rest is the customer's own."""
    results = ask(
        player,
        at(PAYMENT, mti=200),
        at(PAYMENT, pcode=200_000, stan=2),
        at(PAYMENT, mti=200, pcode=200_000, stan=3, amount=5_000),
    )

    assert decisions_of(results) == ["APPROVED", "NOTED", "APPROVED"]
    assert book_of(player) == (11_000, 0, 0, 0)
    assert int(player.engine.state.accounts[1]["prepaid_minor"]) == 1_000


@pytest.mark.parametrize(("choice", "partial"), [(0, 1), (1, -1), (1, 0)])
def test_behaviour_28_no_part_is_approved_where_profile_or_terminal_does_not_allow_it(
    player: Player, profile: Any, choice: int, partial: int
) -> None:
    """51, and nothing is held."""
    profile(partial_approval=choice)
    player.engine.authorizer.work.request["partial"] = partial

    (result,) = ask(player, at(PAYMENT, amount=10_001))

    assert result.fields["39"] == "51"
    assert book_of(player) == (10_000, 0, 0, 0)


@pytest.mark.parametrize("mti", [100, 200])
def test_behaviour_28_a_part_is_approved(player: Player, profile: Any, mti: int) -> None:
    """10, DE4 is what was approved, DE54 what was asked; its repeat says the same."""
    profile(partial_approval=2)

    first, again = ask(
        player, at(PAYMENT, mti=mti, amount=12_345), at(PAYMENT, mti=mti + 1, amount=12_345)
    )

    assert first.fields["39"] == "10"
    assert first.fields["4"] == "000000010000"
    assert first.fields["54"] == "0057840D000000012345"
    assert len(first.fields["38"]) == 6
    assert first.fields == again.fields
    book = (0, 10_000, 0, 0) if mti == 100 else (0, 0, 10_000, 0)
    assert book_of(player) == book
    record = player.played.all_records()[0]
    assert (record["amount_minor"], record["amount2_minor"]) == (10_000, 12_345)


@pytest.mark.parametrize("amount", [12_345, 10_000])
@pytest.mark.parametrize("cuts", [(1, 1), (2,)])
def test_behaviour_28_a_part_is_reversed_by_what_was_asked_or_what_was_approved(
    player: Player, profile: Any, amount: int, cuts: tuple[int, ...]
) -> None:
    """DE4 of the reversal is either, in one batch too; any other amount names nothing."""
    profile(partial_approval=2)
    asked = at(PAYMENT, amount=12_345)

    player.play([asked, reversal(asked, amount=amount)], list(cuts))

    assert player.played.results[-1].decision == "REVERSED"
    assert book_of(player) == (10_000, 0, 0, 0)


@pytest.mark.parametrize("mti", [100, 200])
@pytest.mark.parametrize("amount", [12_345, 10_000])
@pytest.mark.behaviour(50)
def test_behaviour_28_a_part_is_reversed_by_either_where_de4_says_what_remains(
    player: Player, profile: Any, mti: int, amount: int
) -> None:
    """Neither what was asked nor what was approved leaves anything; less does."""
    profile(partial_approval=2, reversal_amount=1)
    asked = at(PAYMENT, mti=mti, amount=12_345)

    ask(player, asked, reversal(asked, amount=6_000))
    assert book_of(player)[0] == 4_000
    ask(player, reversal(asked, stan=901, amount=amount))

    assert book_of(player) == (10_000, 0, 0, 0)


@pytest.mark.parametrize("cuts", [(1, 1), (2,)])
def test_behaviour_28_another_amount_does_not_reverse_a_part(
    player: Player, profile: Any, cuts: tuple[int, ...]
) -> None:
    """Nor is the whole reversed by an amount below it."""
    profile(partial_approval=2)
    asked = at(PAYMENT, amount=12_345)

    player.play([asked, reversal(asked, amount=9_999)], list(cuts))

    assert player.played.results[-1].decision == "REVERSAL_RECORDED"
    assert book_of(player) == (0, 10_000, 0, 0)


@pytest.mark.parametrize("pcode", [10_000, 90_000])
def test_behaviour_28_cash_is_never_approved_in_part(
    player: Player, profile: Any, pcode: int
) -> None:
    """Half the cash is not what anyone came for."""
    profile(partial_approval=2)

    assert ask(player, at(PAYMENT, amount=10_001, pcode=pcode))[0].fields["39"] == "51"


@pytest.mark.parametrize("pcode", [300_000, 310_000])
def test_behaviour_29_a_balance_inquiry_tells_balances_and_holds_nothing(
    player: Player, pcode: int
) -> None:
    """DE54 has ledger balance and open to buy; the repeat tells what the first answer told."""
    inquiry = at(PAYMENT, pcode=pcode, amount=0, stan=5)
    *_, first, _, again = ask(
        player,
        at(PAYMENT, mti=200, stan=2),
        at(PAYMENT, stan=3, amount=1_000),
        inquiry,
        at(PAYMENT, stan=6, amount=500),
        at(inquiry, mti=101),
    )

    assert first.fields["39"] == "00"
    assert first.fields["54"] == "0001840D000000004000" + "0002840C000000005000"
    assert "38" not in first.fields
    assert again.fields == first.fields
    assert book_of(player) == (4_500, 1_500, 4_000, 0)


def test_behaviour_36_an_unmarked_repeat_by_profile(player: Player, profile: Any) -> None:
    """The first answer again, or 94; a marked one always gets the first answer."""
    first, same = ask(player, PAYMENT, PAYMENT)
    assert same.fields == first.fields
    profile(duplicate=1)
    refused, marked = ask(player, PAYMENT, at(PAYMENT, mti=101))
    assert refused.fields["39"] == "94"
    assert marked.fields == first.fields
    assert book_of(player) == (6_000, 4_000, 0, 0)


@pytest.mark.parametrize(
    ("bits", "decisions"),
    [
        (31, ["APPROVED", "DUPLICATE_DIFFERS", "DUPLICATE_DIFFERS"]),
        (31 | 32, ["APPROVED", "DUPLICATE_DIFFERS", "APPROVED"]),
        (31 | 64, ["APPROVED", "APPROVED", "DUPLICATE_DIFFERS"]),
        (31 ^ 8, ["APPROVED", "DUPLICATE_DIFFERS", "DUPLICATE_DIFFERS"]),
    ],
)
def test_behaviour_37_the_dialect_says_what_makes_two_messages_one(
    player: Player, bits: int, decisions: list[str]
) -> None:
    """DE37 and DE42 may be parts of the key, parts may be left out; a reversal finds its own."""
    plain = TABLE.messages["key_bits"].copy()
    TABLE.messages["key_bits"] = bits
    try:
        first = at(PAYMENT, amount=100, merchant="MERCHANT0000001")
        results = ask(
            player,
            first,
            at(first, amount=101, rrn="000000000002"),
            at(first, amount=102, merchant="MERCHANT0000002"),
            reversal(first, rrn=None),
        )
    finally:
        TABLE.messages["key_bits"] = plain
    # A reversal without DE37 names nothing where DE37 is part of the key.
    found = "REVERSAL_RECORDED" if bits & 64 else "REVERSED"
    assert decisions_of(results) == [*decisions, found]


def test_behaviour_38_without_de7_a_stan_comes_again(player: Player) -> None:
    """Within seconds it is a repeat, later only when it says so; else it is a new payment."""
    plain = TABLE.messages["mandatory_hi"].copy()
    TABLE.messages["mandatory_hi"] &= ~np.uint64(1 << (64 - 7))
    try:
        payment = at(PAYMENT, transmitted=None, rrn=None, amount=1_000)
        later = Message(START_NS + 60 * 10**9, 0, payment.request)
        results = ask(player, payment, payment, at(later, mti=101), later)
    finally:
        TABLE.messages["mandatory_hi"] = plain
    codes = [result.fields["38"] for result in results]
    assert codes[0] == codes[1] == codes[2] != codes[3]
    assert book_of(player) == (8_000, 2_000, 0, 0)


@pytest.mark.parametrize(("mti", "switch"), [(420, "orphan_advice"), (400, "orphan_request")])
@pytest.mark.parametrize("code", ["00", "25", "76"])
def test_behaviour_47_the_code_of_an_orphan_is_the_profiles(
    player: Player, profile: Any, mti: int, switch: str, code: str
) -> None:
    """Recorded as an orphan either way; the payment that comes later is declined."""
    profile(**{switch: int.from_bytes(code.encode(), "little")})

    orphan, payment = ask(player, reversal(mti=mti), PAYMENT)

    assert orphan.fields["39"] == code
    assert payment.decision == "VOIDED_BY_REVERSAL"
    assert book_of(player) == (10_000, 0, 0, 0)


def test_behaviour_48_a_reversal_in_the_batch_of_its_original_waits_for_it(player: Player) -> None:
    """In one batch, in either order, the payment holds nothing in the end."""
    other = at(PAYMENT, stan=2, rrn="000000000002")
    player.play([PAYMENT, reversal(), reversal(other, stan=901), other])

    assert decisions_of(player.played.results) == [
        "APPROVED", "REVERSED", "REVERSAL_RECORDED", "VOIDED_BY_REVERSAL",
    ]  # fmt: skip
    assert book_of(player) == (10_000, 0, 0, 0)


def test_behaviour_49_a_reversal_of_a_declined_payment_moves_nothing(player: Player) -> None:
    """00."""
    big = at(PAYMENT, amount=12_000)
    assert ask(player, big, reversal(big))[1].decision == "REVERSED_NOTHING"


@pytest.mark.parametrize("mti", [200, 220])
def test_behaviour_49_a_reversal_of_what_was_captured(
    player: Player, profile: Any, mti: int
) -> None:
    """A refund entry, once; or 12 where the profile refuses."""
    captured = at(PAYMENT, mti=mti)
    ask(player, captured)
    profile(captured_reversal=1)
    assert ask(player, reversal(captured))[0].fields["39"] == "12"
    assert book_of(player) == (6_000, 0, 4_000, 0)
    profile(captured_reversal=0)
    first, second = ask(player, reversal(captured, stan=901), reversal(captured, stan=902))
    assert decisions_of([first, second]) == ["CAPTURE_REFUNDED", "REVERSED_NOTHING"]
    assert first.fields["39"] == second.fields["39"] == "00"
    assert book_of(player) == (10_000, 0, 0, 0)
    refunds = player.played.all_records()
    assert refunds[refunds["kind"] == Kind.REFUND]["amount_minor"].tolist() == [4_000]


@pytest.mark.parametrize("mti", [200, 220])
@pytest.mark.behaviour(50)
def test_behaviour_49_a_part_of_what_was_captured_is_given_back(
    player: Player, profile: Any, mti: int
) -> None:
    """DE95, or DE4 by profile, is what stays cleared; the next reversal gives the rest, once."""
    captured = at(PAYMENT, mti=mti)
    more, part, again = ask(
        player,
        captured,
        reversal(captured, mti=400, replacement=4_001),
        reversal(captured, stan=901, replacement=1_500),
        reversal(captured, stan=902, replacement=1_500),
    )[1:]
    assert (more.decision, more.fields["39"]) == ("AMOUNT_INVALID", "13")
    assert decisions_of([part, again]) == ["CAPTURE_REFUNDED", "REVERSED_NOTHING"]
    assert book_of(player) == (8_500, 0, 1_500, 0)
    profile(reversal_amount=1)
    rest = ask(
        player,
        reversal(captured, stan=903, amount=500),
        reversal(captured, stan=904, amount=4_000),
    )
    assert decisions_of(rest) == ["CAPTURE_REFUNDED"] * 2
    assert book_of(player) == (10_000, 0, 0, 0)
    refunds = player.played.all_records()
    assert refunds[refunds["kind"] == Kind.REFUND]["amount_minor"].tolist() == [2_500, 1_000, 500]


@pytest.mark.parametrize("cuts", [(1, 1, 1, 1), (2, 2)])
@pytest.mark.parametrize("completion_first", [True, False])
def test_behaviour_49_a_captured_payment_is_given_back_once(
    player: Player, cuts: tuple[int, ...], completion_first: bool
) -> None:
    """Reversed by its 0100 and by its 0220 too: together they give what was cleared, no more."""
    captured = at(PAYMENT, mti=220, stan=2, amount=3_500)
    backs = [reversal(captured, stan=901), reversal(PAYMENT, stan=902)]
    if not completion_first:
        backs.reverse()

    player.play([PAYMENT, captured, *backs], list(cuts))

    assert decisions_of(player.played.results)[2:] == ["CAPTURE_REFUNDED", "REVERSED_NOTHING"]
    assert {result.fields["39"] for result in player.played.results} == {"00"}
    assert book_of(player) == (10_000, 0, 0, 0)


@pytest.mark.parametrize("mti", [100, 120, 200, 220])
@pytest.mark.parametrize(
    ("amount", "billed", "keeps", "stays"),
    [
        (900, 1_000, 450, 500),
        (900, 1_000, 900, 1_000),
        (90_000, 700, 45_000, 350),
        (3, 100, 2, 67),
        (6 * 10**11, 9_999, 10**11, 1_667),
        (700, 9_999, 1, 14),
        (700, 9_999, 0, 0),
    ],
)
def test_behaviour_50_what_stays_of_a_billed_payment_is_its_share(
    player: Player, mti: int, amount: int, billed: int, keeps: int, stays: int
) -> None:
    """DE95 is in the payment's currency (978), the account in what DE6 billed (840)."""
    bill = {"currency": 978, "billing_currency": 840, "billing_amount": billed}
    payment = at(PAYMENT, mti=mti, amount=amount, **bill)
    over, part = ask(
        player,
        payment,
        reversal(payment, mti=400, currency=978, replacement=amount + amount // 2),
        reversal(payment, stan=901, currency=978, replacement=keeps),
    )[1:]
    assert (over.decision, part.fields["39"]) == ("AMOUNT_INVALID", "00")
    otb, hold, used, _ = book_of(player)
    assert (otb, hold + used) == (LIMIT - stays, stays)


def test_behaviour_50_a_partial_reversal_by_de4(player: Player, profile: Any) -> None:
    """By profile DE4 of the reversal is what remains; more than the payment is refused."""
    profile(reversal_amount=1)
    less, more, whole = ask(
        player,
        reversal(amount=1_000),
        PAYMENT,
        at(PAYMENT, stan=2, rrn="000000000002"),
    )
    assert (less.decision, more.decision) == ("REVERSAL_RECORDED", "VOIDED_BY_REVERSAL")
    second = at(PAYMENT, stan=2, rrn="000000000002")
    results = ask(
        player,
        reversal(second, stan=903, amount=1_500),
        reversal(second, stan=904, amount=4_001),
        reversal(second, stan=905),
    )
    assert whole.decision == "APPROVED"
    assert decisions_of(results) == ["REVERSED", "AMOUNT_INVALID", "REVERSED"]
    assert book_of(player) == (10_000, 0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "days", "decision"),
    [
        ({}, 0, "REVERSED"),
        ({"local_date": 528}, 0, "REVERSED"),
        ({"local_date": 529}, 0, "REVERSED"),
        ({"local_date": 531}, 0, "REVERSAL_RECORDED"),
        ({"local_date": 528}, 3, "REVERSED_NOTHING"),
        ({}, 3, "REVERSAL_RECORDED"),
        ({"amount": 3_999}, 0, "REVERSAL_RECORDED"),
        ({"pan": pan(2)}, 0, "REVERSAL_RECORDED"),
        ({"terminal": "TERM0002"}, 0, "REVERSAL_RECORDED"),
        ({"stan": 2}, 0, "REVERSAL_RECORDED"),
    ],
)
def test_behaviour_51_an_original_is_found_by_stan_terminal_and_local_date(
    player: Player, changes: dict[str, Any], days: int, decision: str
) -> None:
    """Neither DE90 nor DE37, a DE7 of its own: card and amount must agree, and the day (28 May)."""
    payment = at(PAYMENT, rrn=None)
    back = reversal(payment, original=None, transmitted=601120500, **{"stan": 1, **changes})
    ask(player, payment)

    (result,) = ask(player, Message(START_NS + days * DAY_NS, 0, back.request))

    assert result.decision == decision
    assert result.fields["39"] == "00"


def test_behaviour_51_a_reversal_with_another_original_does_not_go_by_its_own_stan(
    player: Player,
) -> None:
    """DE90 names what is not known: the payment of that STAN stays; so does one with an RRN."""
    payment = at(PAYMENT, rrn=None)
    named = {"mti": 100, "stan": 77, "transmitted": 601120000, "acquirer": 42, "forwarder": 0}
    with_rrn = at(PAYMENT, stan=2, amount=1_000)
    results = ask(
        player,
        payment,
        with_rrn,
        reversal(payment, original=named, stan=1, transmitted=601120500),
        reversal(with_rrn, original=None, rrn=None, stan=2, transmitted=601120500),
    )
    assert decisions_of(results)[2:] == ["REVERSAL_RECORDED"] * 2
    assert book_of(player) == (5_000, 5_000, 0, 0)


def test_behaviour_48_an_orphan_without_an_rrn_voids_no_payment_of_its_stan(
    player: Player,
) -> None:
    """A STAN comes again: the payment after it is another one, and is approved."""
    payment = at(PAYMENT, rrn=None)
    orphan = reversal(payment, original=None, stan=1, transmitted=601110000)
    assert decisions_of(ask(player, orphan, payment)) == ["REVERSAL_RECORDED", "APPROVED"]


def test_behaviour_51_an_increment_is_reversed_by_itself(player: Player, profile: Any) -> None:
    """By profile a 0100 with the RRN of an open payment adds to it; named, it alone goes."""
    profile(incremental=1)
    more = at(PAYMENT, stan=2, amount=1_000)
    too_much = at(PAYMENT, stan=3, amount=9_000)
    results = ask(player, PAYMENT, more, too_much)
    assert decisions_of(results) == ["APPROVED", "APPROVED", "NOT_ENOUGH_FUNDS"]
    assert book_of(player) == (5_000, 5_000, 0, 0)
    ring = player.engine.state.ring
    assert (ring[1]["held_minor"], ring[2]["state"]) == (5_000, State.ADDED)

    assert decisions_of(ask(player, reversal(more), reversal(more, stan=901))) == [
        "REVERSED", "REVERSED_NOTHING",
    ]  # fmt: skip
    assert book_of(player) == (6_000, 4_000, 0, 0)
    ask(player, reversal(stan=902))
    assert book_of(player) == (10_000, 0, 0, 0)


def test_an_increment_of_a_closed_payment_is_a_payment(player: Player, profile: Any) -> None:
    """After a reversal the same RRN begins a new hold; in one batch too."""
    profile(incremental=1)
    again = at(PAYMENT, stan=2, amount=1_000)
    player.play([PAYMENT, reversal(), again])

    kinds = player.played.all_records()["kind"].tolist()
    assert kinds == [Kind.AUTHORIZE, Kind.REVERSAL, Kind.AUTHORIZE]
    assert book_of(player) == (9_000, 1_000, 0, 0)


def test_behaviour_52_only_the_request_form_may_be_refused(player: Player) -> None:
    """0400 without its original is refused, 0420 is not."""
    request, advice = ask(player, reversal(mti=400, stan=901), reversal(stan=902))

    assert (request.fields["39"], advice.fields["39"]) == ("25", "00")
