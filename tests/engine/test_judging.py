"""Message semantics by number: advices, completions, 0200, increments, reversals, by profile."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engine.decision import Decision
from engine.wire.profile import Profile
from ledger.authorizations import State
from ledger.record import Flag, Kind
from tests.support.small_engine import START_NS, TABLE, SmallEngine, pan
from tests.support.streams import Message, Player, Result, at

pytestmark = pytest.mark.kernels

_LIMIT = 10_000
_PAYMENT = Message(
    START_NS,
    0,
    {
        "mti": 100, "pan": pan(1), "pcode": 0, "amount": 4_000, "transmitted": 601120000, "stan": 1,
        "acquirer": 42, "terminal": "TERM0001", "currency": 840, "rrn": "000000000001",
        "mcc": 5411,
    },
)  # fmt: skip
_DAY_NS = 86_400 * 10**9
_FULL = 1 << 20  # more than any limit here


@pytest.fixture
def profile() -> Iterator[Any]:
    """Return a function that turns switches of the shared dialect; they are put back."""
    plain = TABLE.profile.copy()

    def turn(**switches: int) -> None:
        for name, value in switches.items():
            TABLE.profile[:, Profile[name.upper()]] = value

    yield turn
    TABLE.profile[:] = plain


@pytest.fixture
def player() -> Player:
    """Return an engine with one account of 10,000 and two cards."""
    return Player(SmallEngine(1, 2, _LIMIT, plain=True))


def _ask(player: Player, *messages: Message) -> list[Result]:
    before = len(player.played.results)
    player.play(list(messages), [1] * len(messages))
    return player.played.results[before:]


def _book(player: Player) -> tuple[int, int, int, int]:
    row = player.engine.state.accounts[1]
    return tuple(int(row[f"{name}_minor"]) for name in ("otb", "hold", "used", "over"))  # type: ignore[return-value]


def _last(player: Player) -> Any:
    return player.played.all_records()[-1]


def _reversal(of: Message = _PAYMENT, **changes: Any) -> Message:
    original = {name: of.request[name] for name in ("mti", "stan", "transmitted", "acquirer")}
    original["forwarder"] = 0
    return at(
        of, **{"mti": 420, "pan": None, "pcode": None, "original": original, "stan": 900, **changes}
    )


def _decisions(results: list[Result]) -> list[str]:
    return [result.decision for result in results]


def test_behaviour_23_a_0200_is_authorized_and_cleared_at_once(player: Player) -> None:
    """0210 with an approval code; the amount is used, nothing is held; without funds it is 51."""
    first, second = _ask(player, at(_PAYMENT, mti=200), at(_PAYMENT, mti=200, stan=2, amount=6_001))

    assert (first.fields["t"], first.fields["39"], len(first.fields["38"])) == ("0210", "00", 6)
    assert second.fields["39"] == "51"
    assert _book(player) == (6_000, 0, 4_000, 0)
    kinds = player.played.all_records()["kind"].tolist()
    assert kinds == [Kind.FINANCIAL, Kind.FINANCIAL]


@pytest.mark.parametrize("pcode", [0, 10_000, 90_000])
def test_behaviour_23_purchase_cash_and_cashback_hold_alike(player: Player, pcode: int) -> None:
    """Processing codes 00, 01 and 09 hold what they ask for."""
    (result,) = _ask(player, at(_PAYMENT, pcode=pcode))

    assert result.decision == "APPROVED"
    assert _book(player) == (6_000, 4_000, 0, 0)


def test_behaviour_23_a_refund_authorization_frees_nothing_and_a_refund_is_given(
    player: Player,
) -> None:
    """0100 with 20 is noted; 0200 with 20 pays what is used, the rest is the customer's own."""
    results = _ask(
        player,
        at(_PAYMENT, mti=200),
        at(_PAYMENT, pcode=200_000, stan=2),
        at(_PAYMENT, mti=200, pcode=200_000, stan=3, amount=5_000),
    )

    assert _decisions(results) == ["APPROVED", "NOTED", "APPROVED"]
    assert _book(player) == (11_000, 0, 0, 0)
    assert int(player.engine.state.accounts[1]["prepaid_minor"]) == 1_000


@pytest.mark.parametrize(("choice", "partial"), [(0, 1), (1, -1), (1, 0)])
def test_behaviour_28_no_part_is_approved_where_profile_or_terminal_does_not_allow_it(
    player: Player, profile: Any, choice: int, partial: int
) -> None:
    """51, and nothing is held."""
    profile(partial_approval=choice)
    player.engine.authorizer.work.request["partial"] = partial

    (result,) = _ask(player, at(_PAYMENT, amount=10_001))

    assert result.fields["39"] == "51"
    assert _book(player) == (10_000, 0, 0, 0)


@pytest.mark.parametrize("mti", [100, 200])
def test_behaviour_28_a_part_is_approved(player: Player, profile: Any, mti: int) -> None:
    """10, DE4 is what was approved, DE54 what was asked; its repeat says the same."""
    profile(partial_approval=2)

    first, again = _ask(
        player, at(_PAYMENT, mti=mti, amount=12_345), at(_PAYMENT, mti=mti + 1, amount=12_345)
    )

    assert first.fields["39"] == "10"
    assert first.fields["4"] == "000000010000"
    assert first.fields["54"] == "0057840D000000012345"
    assert len(first.fields["38"]) == 6
    assert first.fields == again.fields
    book = (0, 10_000, 0, 0) if mti == 100 else (0, 0, 10_000, 0)
    assert _book(player) == book
    record = player.played.all_records()[0]
    assert (record["amount_minor"], record["amount2_minor"]) == (10_000, 12_345)


@pytest.mark.parametrize("amount", [12_345, 10_000])
@pytest.mark.parametrize("cuts", [(1, 1), (2,)])
def test_behaviour_28_a_part_is_reversed_by_what_was_asked_or_what_was_approved(
    player: Player, profile: Any, amount: int, cuts: tuple[int, ...]
) -> None:
    """DE4 of the reversal is either, in one batch too; any other amount names nothing."""
    profile(partial_approval=2)
    asked = at(_PAYMENT, amount=12_345)

    player.play([asked, _reversal(asked, amount=amount)], list(cuts))

    assert player.played.results[-1].decision == "REVERSED"
    assert _book(player) == (10_000, 0, 0, 0)


@pytest.mark.parametrize("cuts", [(1, 1), (2,)])
def test_behaviour_28_another_amount_does_not_reverse_a_part(
    player: Player, profile: Any, cuts: tuple[int, ...]
) -> None:
    """Nor is the whole reversed by an amount below it."""
    profile(partial_approval=2)
    asked = at(_PAYMENT, amount=12_345)

    player.play([asked, _reversal(asked, amount=9_999)], list(cuts))

    assert player.played.results[-1].decision == "REVERSAL_RECORDED"
    assert _book(player) == (0, 10_000, 0, 0)


@pytest.mark.parametrize("pcode", [10_000, 90_000])
def test_behaviour_28_cash_is_never_approved_in_part(
    player: Player, profile: Any, pcode: int
) -> None:
    """Half the cash is not what anyone came for."""
    profile(partial_approval=2)

    assert _ask(player, at(_PAYMENT, amount=10_001, pcode=pcode))[0].fields["39"] == "51"


@pytest.mark.parametrize("pcode", [300_000, 310_000])
def test_behaviour_29_a_balance_inquiry_tells_balances_and_holds_nothing(
    player: Player, pcode: int
) -> None:
    """DE54 has ledger balance and open to buy; the repeat tells what the first answer told."""
    inquiry = at(_PAYMENT, pcode=pcode, amount=0, stan=5)
    *_, first, _, again = _ask(
        player,
        at(_PAYMENT, mti=200, stan=2),
        at(_PAYMENT, stan=3, amount=1_000),
        inquiry,
        at(_PAYMENT, stan=6, amount=500),
        at(inquiry, mti=101),
    )

    assert first.fields["39"] == "00"
    assert first.fields["54"] == "0001840D000000004000" + "0002840C000000005000"
    assert "38" not in first.fields
    assert again.fields == first.fields
    assert _book(player) == (4_500, 1_500, 4_000, 0)


def test_behaviour_36_an_unmarked_repeat_by_profile(player: Player, profile: Any) -> None:
    """The first answer again, or 94; a marked one always gets the first answer."""
    first, same = _ask(player, _PAYMENT, _PAYMENT)
    assert same.fields == first.fields
    profile(duplicate=1)
    refused, marked = _ask(player, _PAYMENT, at(_PAYMENT, mti=101))
    assert refused.fields["39"] == "94"
    assert marked.fields == first.fields
    assert _book(player) == (6_000, 4_000, 0, 0)


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
        first = at(_PAYMENT, amount=100, merchant="MERCHANT0000001")
        results = _ask(
            player,
            first,
            at(first, amount=101, rrn="000000000002"),
            at(first, amount=102, merchant="MERCHANT0000002"),
            _reversal(first, rrn=None),
        )
    finally:
        TABLE.messages["key_bits"] = plain
    # A reversal without DE37 names nothing where DE37 is part of the key.
    found = "REVERSAL_RECORDED" if bits & 64 else "REVERSED"
    assert _decisions(results) == [*decisions, found]


def test_behaviour_38_without_de7_a_stan_comes_again(player: Player) -> None:
    """Within seconds it is a repeat, later only when it says so; else it is a new payment."""
    plain = TABLE.messages["mandatory_hi"].copy()
    TABLE.messages["mandatory_hi"] &= ~np.uint64(1 << (64 - 7))
    try:
        payment = at(_PAYMENT, transmitted=None, rrn=None, amount=1_000)
        later = Message(START_NS + 60 * 10**9, 0, payment.request)
        results = _ask(player, payment, payment, at(later, mti=101), later)
    finally:
        TABLE.messages["mandatory_hi"] = plain
    codes = [result.fields["38"] for result in results]
    assert codes[0] == codes[1] == codes[2] != codes[3]
    assert _book(player) == (8_000, 2_000, 0, 0)


@pytest.mark.parametrize("mti", [120, 220])
def test_behaviour_41_an_advice_is_never_declined(player: Player, mti: int) -> None:
    """Over the limit, of a blocked card, of an unknown card: 00, recorded, flagged."""
    player.engine.state.cards[1]["status"] = 2
    over, unknown = _ask(
        player,
        at(_PAYMENT, mti=mti, amount=15_000),
        at(_PAYMENT, mti=mti, stan=2, pan=pan(60)),
    )

    assert (over.fields["t"], over.fields["39"]) == (f"{mti + 10:04d}", "00")
    assert unknown.fields["39"] == "00"
    held, used = (15_000, 0) if mti == 120 else (0, 15_000)
    assert _book(player) == (0, held, used, 5_000)
    flags = int(player.played.all_records()[0]["flags"])
    assert flags & Flag.OVER_LIMIT
    assert flags & Flag.FORCED
    assert int(_last(player)["result"]) == Decision.ADVICE_UNPOSTED


def test_behaviour_42_an_advice_again_posts_once(player: Player) -> None:
    """0121 and 0120 again: 0130, one hold."""
    results = _ask(player, *[at(_PAYMENT, mti=mti) for mti in (120, 121, 120)])

    assert [result.fields["t"] for result in results] == ["0130"] * 3
    assert _book(player) == (6_000, 4_000, 0, 0)


@pytest.mark.parametrize("amount", [3_000, 4_000, 11_000])
def test_behaviour_42_an_advice_of_an_approved_payment_replaces_its_hold(
    player: Player, amount: int
) -> None:
    """Our approval came late, the network stood in: exactly one hold remains, the advised one."""
    _ask(player, _PAYMENT, at(_PAYMENT, mti=120, stan=2, amount=amount))

    assert _book(player)[1] == amount
    assert sum(player.engine.state.ring["held_minor"]) == amount
    assert int(_last(player)["ref_seq"]) == int(player.played.all_records()[0]["seq"])


def test_behaviour_42_an_advice_of_a_declined_payment_holds(player: Player) -> None:
    """Ours no, stand-in yes: it is held, and what names the payment later means the advice."""
    big = at(_PAYMENT, amount=12_000)
    results = _ask(player, big, at(big, mti=120, stan=2), _reversal(big))

    assert _decisions(results) == ["NOT_ENOUGH_FUNDS", "ADVICE_RECORDED", "REVERSED"]
    assert _book(player) == (10_000, 0, 0, 0)


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

    results = _ask(player, _PAYMENT, at(_PAYMENT, mti=220, stan=2, amount=amount))

    assert (results[1].fields["t"], results[1].fields["39"]) == ("0230", "00")
    assert _book(player) == book
    record = _last(player)
    assert record["kind"] == kind
    assert bool(record["flags"] & Flag.OVER_TOLERANCE) == (amount > 4_600)


def test_behaviour_43_a_completion_without_its_payment_is_posted_by_force(player: Player) -> None:
    """Unknown, and known but expired: posted and flagged, in whatever order."""
    late = Message(START_NS + 3 * _DAY_NS, 0, at(_PAYMENT, mti=220, stan=3).request)
    _ask(player, at(_PAYMENT, mti=220, stan=2, rrn="000000000009"), _PAYMENT)
    nothing = Message(START_NS + 2 * _DAY_NS, 0, at(_PAYMENT, stan=8, amount=0, rrn=None).request)
    _ask(player, nothing, late)

    records = player.played.all_records()
    forced = records[records["kind"] == Kind.FORCE_POST]
    assert [bool(flags & Flag.LATE) for flags in forced["flags"]] == [False, True]
    assert _book(player) == (2_000, 0, 8_000, 0)


def test_behaviour_44_an_advice_that_cannot_be_kept_is_asked_for_again(player: Player) -> None:
    """Past the bound of a balance the answer is 96 and nothing moves."""
    player.engine.state.accounts[1]["limit_minor"] = 10**18
    before = _book(player)

    results = _ask(player, *[at(_PAYMENT, mti=mti, stan=mti) for mti in (120, 220)])

    assert [result.fields["39"] for result in results] == ["96", "96"]
    assert _book(player) == before


@pytest.mark.parametrize(("mti", "switch"), [(420, "orphan_advice"), (400, "orphan_request")])
@pytest.mark.parametrize("code", ["00", "25", "76"])
def test_behaviour_47_the_code_of_an_orphan_is_the_profiles(
    player: Player, profile: Any, mti: int, switch: str, code: str
) -> None:
    """Recorded as an orphan either way; the payment that comes later is declined."""
    profile(**{switch: int.from_bytes(code.encode(), "little")})

    orphan, payment = _ask(player, _reversal(mti=mti), _PAYMENT)

    assert orphan.fields["39"] == code
    assert payment.decision == "VOIDED_BY_REVERSAL"
    assert _book(player) == (10_000, 0, 0, 0)


def test_behaviour_48_a_reversal_in_the_batch_of_its_original_waits_for_it(player: Player) -> None:
    """In one batch, in either order, the payment holds nothing in the end."""
    other = at(_PAYMENT, stan=2, rrn="000000000002")
    player.play([_PAYMENT, _reversal(), _reversal(other, stan=901), other])

    assert _decisions(player.played.results) == [
        "APPROVED", "REVERSED", "REVERSAL_RECORDED", "VOIDED_BY_REVERSAL",
    ]  # fmt: skip
    assert _book(player) == (10_000, 0, 0, 0)


def test_behaviour_49_a_reversal_of_a_declined_payment_moves_nothing(player: Player) -> None:
    """00."""
    big = at(_PAYMENT, amount=12_000)
    assert _ask(player, big, _reversal(big))[1].decision == "REVERSED_NOTHING"


@pytest.mark.parametrize("mti", [200, 220])
def test_behaviour_49_a_reversal_of_what_was_captured(
    player: Player, profile: Any, mti: int
) -> None:
    """A refund entry, once; or 12 where the profile refuses."""
    captured = at(_PAYMENT, mti=mti)
    _ask(player, captured)
    profile(captured_reversal=1)
    assert _ask(player, _reversal(captured))[0].fields["39"] == "12"
    assert _book(player) == (6_000, 0, 4_000, 0)
    profile(captured_reversal=0)
    first, second = _ask(player, _reversal(captured, stan=901), _reversal(captured, stan=902))
    assert _decisions([first, second]) == ["CAPTURE_REFUNDED", "REVERSED_NOTHING"]
    assert first.fields["39"] == second.fields["39"] == "00"
    assert _book(player) == (10_000, 0, 0, 0)
    refunds = player.played.all_records()
    assert refunds[refunds["kind"] == Kind.REFUND]["amount_minor"].tolist() == [4_000]


def test_behaviour_50_a_partial_reversal_by_de4(player: Player, profile: Any) -> None:
    """By profile DE4 of the reversal is what remains; more than the payment is refused."""
    profile(reversal_amount=1)
    less, more, whole = _ask(
        player,
        _reversal(amount=1_000),
        _PAYMENT,
        at(_PAYMENT, stan=2, rrn="000000000002"),
    )
    assert (less.decision, more.decision) == ("REVERSAL_RECORDED", "VOIDED_BY_REVERSAL")
    second = at(_PAYMENT, stan=2, rrn="000000000002")
    results = _ask(
        player,
        _reversal(second, stan=903, amount=1_500),
        _reversal(second, stan=904, amount=4_001),
        _reversal(second, stan=905),
    )
    assert whole.decision == "APPROVED"
    assert _decisions(results) == ["REVERSED", "AMOUNT_INVALID", "REVERSED"]
    assert _book(player) == (10_000, 0, 0, 0)


def test_behaviour_51_an_increment_is_reversed_by_itself(player: Player, profile: Any) -> None:
    """By profile a 0100 with the RRN of an open payment adds to it; named, it alone goes."""
    profile(incremental=1)
    more = at(_PAYMENT, stan=2, amount=1_000)
    too_much = at(_PAYMENT, stan=3, amount=9_000)
    results = _ask(player, _PAYMENT, more, too_much)
    assert _decisions(results) == ["APPROVED", "APPROVED", "NOT_ENOUGH_FUNDS"]
    assert _book(player) == (5_000, 5_000, 0, 0)
    ring = player.engine.state.ring
    assert (ring[1]["held_minor"], ring[2]["state"]) == (5_000, State.ADDED)

    assert _decisions(_ask(player, _reversal(more), _reversal(more, stan=901))) == [
        "REVERSED", "REVERSED_NOTHING",
    ]  # fmt: skip
    assert _book(player) == (6_000, 4_000, 0, 0)
    _ask(player, _reversal(stan=902))
    assert _book(player) == (10_000, 0, 0, 0)


def test_an_increment_of_a_closed_payment_is_a_payment(player: Player, profile: Any) -> None:
    """After a reversal the same RRN begins a new hold; in one batch too."""
    profile(incremental=1)
    again = at(_PAYMENT, stan=2, amount=1_000)
    player.play([_PAYMENT, _reversal(), again])

    kinds = player.played.all_records()["kind"].tolist()
    assert kinds == [Kind.AUTHORIZE, Kind.REVERSAL, Kind.AUTHORIZE]
    assert _book(player) == (9_000, 1_000, 0, 0)


def test_behaviour_52_only_the_request_form_may_be_refused(player: Player) -> None:
    """0400 without its original is refused, 0420 is not."""
    request, advice = _ask(player, _reversal(mti=400, stan=901), _reversal(stan=902))

    assert (request.fields["39"], advice.fields["39"]) == ("25", "00")
