"""What is decided about a payment, and how it is answered: behaviours 23 to 32."""

import pytest

from tests.system.link import Fields, changed, payment, reversal
from tests.system.process import BIN, HEX, Card, Switch

_ECHOED = ("2", "3", "4", "7", "11", "12", "13", "32", "33", "37", "41", "42", "49")
_DIALECTS = pytest.mark.parametrize("listener", [BIN, HEX])
_TOP = 999_999_999_999  # the largest DE4


@pytest.fixture(scope="module")
def card(switch: Switch) -> Card:
    """Open one card for the module."""
    return switch.open_card(limit_minor=10_000_000)


def _code(switch: Switch, ask: Fields) -> str:
    with switch.link() as link:
        return link.ask(ask)["39"]


@pytest.mark.parametrize(
    ("mti", "expected"), [("0100", "0110"), ("0101", "0110"), ("0200", "0210"), ("0201", "0210")]
)
def test_behaviour_23_the_answer_type_has_no_repeat_digit(
    switch: Switch, card: Card, mti: str, expected: str
) -> None:
    """0100 and 0101 get 0110, 0200 and 0201 get 0210."""
    with switch.link() as link:
        assert link.ask(payment(card.pan, t=mti))["t"] == expected


@_DIALECTS
def test_behaviour_24_fields_come_back_as_they_were_sent(
    switch: Switch, card: Card, listener: int
) -> None:
    """The agreed fields are echoed byte by byte, blanks included, and no others are added."""
    ask = payment(card.pan, de33="00042", de41="T 1     ", de42="M  9           ")
    with switch.link(listener) as link:
        answer = link.ask(ask)
    assert {name: answer.pop(name) for name in _ECHOED} == {name: ask[name] for name in _ECHOED}
    assert answer.keys() == {"t", "38", "39"}


@_DIALECTS
def test_behaviour_24_secret_fields_are_never_echoed(
    switch: Switch, card: Card, listener: int
) -> None:
    """Tracks, PIN block and chip data do not come back, whatever the decision."""
    secret = {"de35": f"{card.pan}=3012101", "de52": "A1B2C3D4E5F60718", "de55": "9F2701809F3602"}
    with switch.link(listener) as link:
        for ask in (payment(card.pan, **secret), payment(card.pan, 99_999_999, **secret)):
            assert link.ask(ask).keys().isdisjoint({"35", "45", "52", "55", "14", "18", "22"})


def test_behaviour_25_an_approval_code_comes_with_approvals_only(
    switch: Switch, card: Card
) -> None:
    """DE38 is six letters or digits, another for each approval; DE39 is always there."""
    with switch.link() as link:
        answers = [link.ask(payment(card.pan, 1)) for _ in range(100)]
        declined = link.ask(payment(card.pan, 99_999_999))
    codes = {answer["38"] for answer in answers}
    assert len(codes) == 100
    assert all(len(c) == 6 and c.isascii() and c.isalnum() and c == c.upper() for c in codes)
    assert ("38" in declined, declined["39"]) == (False, "51")


@_DIALECTS
@pytest.mark.parametrize("field", ["2", "3", "4", "7", "11", "49"])
def test_behaviour_26_a_missing_field_is_a_format_error(
    switch: Switch, card: Card, listener: int, field: str
) -> None:
    """Without a mandatory field the answer is 30 and names it; without a STAN there is none."""
    ask = payment(card.pan, **{f"de{field}": None})
    with switch.link(listener) as link:
        link.send(ask)
        if field != "11":
            answer = link.receive()
            assert (answer["39"], answer["44"]) == ("30", f"{int(field):03d}")
        assert link.is_alive()


def test_behaviour_26_optional_fields_may_be_missing(switch: Switch, card: Card) -> None:
    """Only what is mandatory must be there."""
    kept = {"t", "2", "3", "4", "7", "11", "49"}
    ask = payment(card.pan, de7="1124110000")
    ask = {name: value for name, value in ask.items() if name in kept}
    assert _code(switch, ask) == "00"


def test_behaviour_27_funds(switch: Switch) -> None:
    """A card may spend its limit to the last cent and not one more: 51."""
    card = switch.open_card(limit_minor=5_000)
    assert _code(switch, payment(card.pan, 5_001)) == "51"
    assert _code(switch, payment(card.pan, 5_000)) == "00"
    assert _code(switch, payment(card.pan, 1)) == "51"
    account = switch.account(card)
    assert (account["held_minor"], account["available_minor"]) == (5_000, 0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"de2": "4000000000000002"}, "14"),  # nobody's number, its check digit holds
        ({"de2": "4000000000000003"}, "14"),  # the check digit does not hold
        ({"de14": "2911"}, "54"),  # not the card's expiry
        ({"de18": "7995"}, "59"),  # a rule
        ({"de18": "7996"}, "1A"),  # a rule that asks for more
        ({"de3": "280000"}, "12"),  # a payment to the card is not served,
        ({"de3": "400000"}, "12"),  # nor is a transfer
        ({"de49": "978"}, "57"),  # not the account's currency, and not billed in it
    ],
)
def test_behaviour_27_reasons_to_decline(
    switch: Switch, card: Card, change: Fields, code: str
) -> None:
    """Each reason has its own response code, and no money is held."""
    before = switch.held(card)
    assert _code(switch, payment(card.pan, **change)) == code
    assert switch.held(card) == before


def test_behaviour_27_an_expired_card(switch: Switch) -> None:
    """A card whose month is over is declined with 54, also when DE14 agrees."""
    card = switch.open_card(expiry_yymm="2001")
    assert _code(switch, payment(card.pan, de14="2001")) == "54"
    assert _code(switch, payment(card.pan, de14=None)) == "54"


def test_behaviour_27_the_status_of_the_card(switch: Switch) -> None:
    """Lost 41, stolen 43, blocked 62, active again 00; each change is a ledger record."""
    card = switch.open_card()
    for status, code in [("lost", "41"), ("stolen", "43"), ("blocked", "62"), ("active", "00")]:
        changed_ = switch.call("PATCH", f"/v1/cards/{card.number}", {"status": status})
        assert changed_.status == 200
        assert _code(switch, payment(card.pan)) == code
    kinds = [row["kind"] for row in switch.records() if row["card"] == card.number]
    assert kinds.count("card_status") == 4


def test_behaviour_27_the_status_of_the_account(switch: Switch) -> None:
    """A blocked account declines with 62 whatever its cards may do."""
    card = switch.open_card()
    for status, code in [("blocked", "62"), ("active", "00"), ("closed", "62")]:
        patched = switch.call("PATCH", f"/v1/accounts/{card.account}", {"status": status})
        assert patched.status == 200
        assert _code(switch, payment(card.pan)) == code


def test_behaviour_27_a_new_limit_counts_at_once(switch: Switch) -> None:
    """After a limit was changed, the next payment is decided by it."""
    card = switch.open_card(limit_minor=100)
    assert _code(switch, payment(card.pan, 200)) == "51"
    path = f"/v1/accounts/{card.account}"
    assert switch.call("PATCH", path, {"limit_minor": 200}).json["available_minor"] == 200
    spent = payment(card.pan, 200)
    assert _code(switch, spent) == "00"
    assert switch.call("PATCH", path, {"limit_minor": 50}).json["available_minor"] == 0
    assert _code(switch, payment(card.pan, 1)) == "51"
    assert _code(switch, reversal(spent)) == "00"
    assert switch.account(card)["available_minor"] == 50


def test_behaviour_27_the_reason_is_in_the_ledger(switch: Switch) -> None:
    """The record and the API name what was decided, and the rule that held."""
    card = switch.open_card()
    ask = payment(card.pan, de18="7995")
    assert _code(switch, ask) == "59"
    query = f"/v1/authorizations?rrn={ask['37']}&account={card.account}"
    (view,) = switch.call("GET", query).json["authorizations"]
    assert (view["decision"], view["response_code"]) == ("rule_declined", "59")
    assert [rule["rule"] for rule in view["rules"]] == ["S01"]
    (row,) = [row for row in switch.records() if row["seq"] == view["record"]]
    assert (row["decision"], row["response"], row["hits"]) == ("rule_declined", "59", [0])


def test_behaviour_29_a_zero_amount_checks_the_card(switch: Switch) -> None:
    """Amount 0 is answered 00 with nothing held, and by the card's status like any payment."""
    card = switch.open_card(limit_minor=0)
    with switch.link() as link:
        answer = link.ask(payment(card.pan, 0))
        assert (answer["39"], "38" in answer) == ("00", True)
        assert link.ask(payment(card.pan, 0, de2="4000000000000002"))["39"] == "14"
    assert switch.held(card) == 0
    kinds = [row["kind"] for row in switch.records() if row["card"] == card.number]
    assert kinds == ["card_issue", "check"]


@pytest.mark.parametrize("code", ["300000", "310000"])
def test_behaviour_29_a_balance_inquiry_tells_the_balances(switch: Switch, code: str) -> None:
    """DE54: what is used, and what is open to buy; nothing is held."""
    card = switch.open_card()
    with switch.link() as link:
        assert link.ask(payment(card.pan, 1_000, t="0200"))["39"] == "00"
        answer = link.ask(payment(card.pan, 0, de3=code))
    assert answer["39"] == "00"
    assert answer["54"] == "0001840D000000001000" + "0002840C000000099000"
    assert switch.held(card) == 0


@pytest.mark.parametrize("listener", [BIN, HEX])
def test_behaviour_43_a_completion_takes_its_hold(switch: Switch, listener: int) -> None:
    """0220 after 0100: 0230 with 00, the amount is used, the rest is given back; twice is once."""
    card = switch.open_card()
    ask = payment(card.pan, 5_000)
    done = changed(ask, t="0220", de4="000000003000", de11=f"77{ask['11'][2:]}")
    with switch.link(listener) as link:
        assert link.ask(ask)["39"] == "00"
        first = link.ask(done)
        assert (first["t"], first["39"]) == ("0230", "00")
        assert link.ask(changed(done, t="0221")) == first
    account = switch.account(card)
    assert (account["held_minor"], account["used_minor"]) == (0, 3_000)


@pytest.mark.parametrize(("currency", "amount"), [("392", 1_500), ("414", 1_500_000)])
def test_behaviour_30_currencies_have_their_own_minor_units(
    switch: Switch, currency: str, amount: int
) -> None:
    """Yen without and dinars with three decimals are held as sent."""
    card = switch.open_card(limit_minor=amount, currency=currency)
    assert _code(switch, payment(card.pan, amount + 1, de49=currency)) == "51"
    assert _code(switch, payment(card.pan, amount, de49=currency)) == "00"
    account = switch.account(card)
    assert (account["held_minor"], account["currency"]) == (amount, currency)


def test_behaviour_30_an_unknown_currency_is_not_served(switch: Switch, card: Card) -> None:
    """A currency that nobody has heard of is declined; letters are a format error."""
    assert _code(switch, payment(card.pan, de49="007")) == "57"
    assert _code(switch, payment(card.pan, de49="USD")) == "30"


def test_behaviour_30_a_payment_billed_in_the_cards_currency(switch: Switch) -> None:
    """With DE51 and DE6 in the account's currency, DE6 is what is held."""
    card = switch.open_card()
    ask = payment(card.pan, 5_000, de49="978", de6="000000005432", de51="840")
    assert _code(switch, ask) == "00"
    assert switch.held(card) == 5_432


def test_behaviour_30_the_largest_amount_does_not_overflow(switch: Switch) -> None:
    """DE4 at twelve nines is declined for funds, or held exactly where the limit allows."""
    card = switch.open_card()
    assert _code(switch, payment(card.pan, _TOP)) == "51"
    rich = switch.open_card(limit_minor=2 * _TOP)
    codes = [_code(switch, payment(rich.pan, _TOP)) for _ in range(3)]
    assert codes == ["00", "00", "51"]
    assert switch.account(rich)["available_minor"] == 0


def test_behaviour_32_payments_at_once_never_overspend(switch: Switch) -> None:
    """Of 60 payments sent together on six links, exactly as many pass as the limit holds."""
    card = switch.open_card(limit_minor=2_500)
    links = [switch.link(i % 2) for i in range(6)]
    for _ in range(10):
        for link in links:
            link.send(payment(card.pan, 100))
    codes = [link.receive()["39"] for link in links for _ in range(10)]
    for link in links:
        link.close()
    assert (codes.count("00"), codes.count("51")) == (25, 35)
    assert switch.held(card) == 2_500


def test_behaviour_32_cards_of_one_account_share_its_limit(switch: Switch) -> None:
    """A second card spends from the same limit."""
    card = switch.open_card(limit_minor=1_000)
    made = switch.call("POST", "/v1/cards", {"account": card.account, "pan": "5555555555554444"})
    assert made.status == 201
    assert _code(switch, payment(card.pan, 600)) == "00"
    second = payment("5555555555554444", 600, de14=made.json["expiry_yymm"])
    assert _code(switch, second) == "51"
    assert _code(switch, changed(second, de4=f"{400:012d}", de11="999001")) == "00"
