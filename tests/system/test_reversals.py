"""Reversals: behaviours 45 to 47, 49 to 52."""

import pytest

from tests.system.link import changed, payment, reversal
from tests.system.process import BIN, HEX, Switch

_DIALECTS = pytest.mark.parametrize("listener", [BIN, HEX])


def _reversed(switch: Switch, outcome: str) -> float:
    return switch.metric(f'de39_reversals_total{{outcome="{outcome}"}}')


@_DIALECTS
@pytest.mark.parametrize("mti", ["0420", "0400"])
def test_behaviour_45_a_reversal_gives_the_money_back(
    switch: Switch, listener: int, mti: str
) -> None:
    """The hold goes, the balance is as before, the ledger has both entries, DE90 is echoed."""
    card = switch.open_card()
    ask = payment(card.pan, 4_000)
    with switch.link(listener) as link:
        assert link.ask(ask)["39"] == "00"
        assert switch.held(card) == 4_000
        back = reversal(ask, mti)
        answer = link.ask(back)
    assert (answer["t"], answer["39"], answer["90"]) == (
        {"0420": "0430", "0400": "0410"}[mti],
        "00",
        back["90"],
    )
    account = switch.account(card)
    assert (account["held_minor"], account["available_minor"]) == (0, 100_000)
    rows = [row for row in switch.records() if row["rrn"] == ask["37"]]
    assert [row["kind"] for row in rows] == ["authorize", "reversal"]
    assert rows[1]["ref_seq"] == rows[0]["seq"]
    assert (rows[1]["amount2_minor"], rows[1]["hold_after_minor"]) == (4_000, 0)


@pytest.mark.parametrize("second", ["0421", "0420"])
def test_behaviour_46_a_second_reversal_moves_nothing(switch: Switch, second: str) -> None:
    """A repeat gets the same answer; another reversal of the same payment gets 00 too."""
    card = switch.open_card()
    ask = payment(card.pan)
    with switch.link() as link:
        link.ask(ask)
        first = link.ask(reversal(ask))
        assert first["39"] == "00"
        assert link.ask(reversal(ask, second)) == first
        before = _reversed(switch, "nothing_to_move")
        assert link.ask(reversal(ask, de11=f"88{ask['11'][2:]}"))["39"] == "00"
        assert _reversed(switch, "nothing_to_move") == before + 1
    account = switch.account(card)
    assert (account["held_minor"], account["available_minor"]) == (0, 100_000)


@pytest.mark.behaviour(52)
def test_behaviour_47_a_reversal_of_something_unknown_is_recorded(switch: Switch) -> None:
    """An advice without its original gets 00 and stays as an orphan; the request form gets 25."""
    card = switch.open_card()
    before = _reversed(switch, "orphan_recorded")
    with switch.link() as link:
        ask = payment(card.pan)
        assert link.ask(reversal(ask))["39"] == "00"
        assert link.ask(reversal(payment(card.pan), "0400"))["39"] == "25"
    assert _reversed(switch, "orphan_recorded") == before + 1
    (row,) = [row for row in switch.records() if row["rrn"] == ask["37"]]
    assert (row["kind"], row["decision"]) == ("reversal", "reversal_recorded")
    assert "orphan" in row["flags"].lower()


@pytest.mark.parametrize("mti", ["0100", "0101"])
@pytest.mark.behaviour(48)
def test_behaviour_47_an_original_after_its_reversal_is_not_approved(
    switch: Switch, mti: str
) -> None:
    """The payment that arrives after it was reversed is declined, again for its repeat."""
    card = switch.open_card()
    ask = payment(card.pan, t=mti)
    with switch.link() as link:
        assert link.ask(reversal(ask))["39"] == "00"
        first = link.ask(ask)
        assert (first["39"], "38" in first) == ("12", False)
        assert link.ask(changed(ask, t="0101")) == first
        assert link.ask(payment(card.pan))["39"] == "00"  # only that payment
    assert switch.held(card) == 1_000


@pytest.mark.behaviour(48)
def test_behaviour_47_reversal_and_original_in_one_piece(switch: Switch) -> None:
    """In whichever order they come, the money is not held in the end."""
    card = switch.open_card()
    early, late = payment(card.pan), payment(card.pan)
    with switch.link() as link:
        link.send(early, reversal(early), reversal(late), late)
        codes = [link.receive()["39"] for _ in range(4)]
    assert codes == ["00", "00", "00", "12"]
    assert switch.held(card) == 0


def test_behaviour_49_a_reversal_of_a_decline_moves_nothing(switch: Switch) -> None:
    """A declined payment is reversed with 00; no balance changes."""
    card = switch.open_card()
    ask = payment(card.pan, 200_000)
    with switch.link() as link:
        assert link.ask(ask)["39"] == "51"
        assert link.ask(reversal(ask))["39"] == "00"
    account = switch.account(card)
    assert (account["held_minor"], account["available_minor"]) == (0, 100_000)


def test_behaviour_50_a_partial_reversal_keeps_the_actual_amount(switch: Switch) -> None:
    """DE95 is what remains held; more than the original is refused."""
    card = switch.open_card()
    ask = payment(card.pan, 5_000)
    rest = "0" * 12 + "C00000000" + "C00000000"
    with switch.link() as link:
        assert link.ask(ask)["39"] == "00"
        more = reversal(ask, "0400", de11="880001", de95=f"{5_001:012d}" + rest)
        assert link.ask(more)["39"] == "13"
        part = reversal(ask, de95=f"{1_200:012d}" + rest)
        assert link.ask(part)["39"] == "00"
    assert switch.held(card) == 1_200


@pytest.mark.parametrize("wrong", ["another card", "an unknown card", "another amount"])
def test_behaviour_51_amount_and_card_must_agree(switch: Switch, wrong: str) -> None:
    """A reversal that names another amount or card does not touch the payment."""
    card, other = switch.open_card(), switch.open_card()
    ask = payment(card.pan)
    change = {
        "another card": {"de2": other.pan},
        "an unknown card": {"de2": "4000000000000002"},
        "another amount": {"de4": f"{999:012d}"},
    }[wrong]
    with switch.link() as link:
        assert link.ask(ask)["39"] == "00"
        assert link.ask(reversal(ask, "0400", **change))["39"] == "25"
    assert switch.held(card) == 1_000


@pytest.mark.parametrize(
    "change",
    [{"de90": None}, {"de90": None, "de11": "880002"}, {"de90": "0" * 42, "de11": "880003"}],
)
def test_behaviour_51_without_a_key_the_reference_number_finds_it(
    switch: Switch, change: dict[str, str | None]
) -> None:
    """Without DE90 the payment is found by its own STAN and time, or by RRN and terminal."""
    card = switch.open_card()
    ask = payment(card.pan)
    with switch.link() as link:
        assert link.ask(ask)["39"] == "00"
        assert link.ask(reversal(ask, **change))["39"] == "00"
    assert switch.held(card) == 0
