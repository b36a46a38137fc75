"""Sign-on, sign-off, echo: behaviours 19, 20 and 22."""

import pytest

from tests.system.link import changed, network, payment, reversal
from tests.system.process import BIN, HEX, SIGN_ON, Switch


@pytest.mark.parametrize("listener", [BIN, HEX, SIGN_ON])
@pytest.mark.parametrize("code", ["001", "002", "301"])
def test_behaviour_19_network_messages_are_answered(
    switch: Switch, listener: int, code: str
) -> None:
    """0800 with 001, 002 or 301 gets 0810 with 00 and its fields back, signed on or not."""
    ask = network(code, de41="TERM0001")
    with switch.link(listener) as link:
        assert link.ask(ask) == {**ask, "t": "0810", "39": "00"}
        assert link.ask(changed(ask, t="0801"))["t"] == "0810"


def test_behaviour_19_a_repeat_of_fields_is_only_what_was_sent(switch: Switch) -> None:
    """Without DE41 and DE7 none is made up."""
    ask = changed(network(), de7=None)
    with switch.link() as link:
        assert link.ask(ask) == {**ask, "t": "0810", "39": "00"}


def test_behaviour_19_an_unknown_network_code_is_refused(switch: Switch) -> None:
    """A function that is not served is answered, and not with 00."""
    with switch.link() as link:
        assert link.ask(network("999"))["39"] == "12"
        assert link.ask(changed(network(), de70=None))["39"] == "30"


def test_behaviour_20_a_request_before_sign_on_gets_91(switch: Switch) -> None:
    """Where sign-on is required, nothing is decided or posted before it; 301 is answered."""
    card = switch.open_card()
    ask = payment(card.pan)
    with switch.link(SIGN_ON) as link:
        assert link.ask(ask)["39"] == "91"
        assert link.ask(reversal(ask))["39"] == "91"
        assert link.is_alive()
        assert link.ask(network("001"))["39"] == "00"
        assert link.ask(ask)["39"] == "00"  # what was refused is not remembered
        assert link.ask(network("002"))["39"] == "00"
        assert link.ask(payment(card.pan))["39"] == "91"
    assert switch.held(card) == 1_000


def test_behaviour_20_sign_on_and_payment_may_come_together(switch: Switch) -> None:
    """Order on the link counts, not which batch a message falls into."""
    card = switch.open_card()
    with switch.link(SIGN_ON) as link:
        link.send(payment(card.pan), network("001"), payment(card.pan), network("002"))
        link.send(payment(card.pan))
        codes = [link.receive()["39"] for _ in range(5)]
    assert codes == ["91", "00", "00", "00", "91"]


def test_behaviour_20_no_sign_on_is_needed_elsewhere(switch: Switch) -> None:
    """A listener that does not require it serves a link from its first message."""
    with switch.link() as link:
        assert link.ask(payment(switch.open_card().pan))["39"] == "00"


def test_behaviour_22_sessions_are_apart(switch: Switch) -> None:
    """Sign-off of one link does not touch another; a reconnect starts signed off."""
    card = switch.open_card()
    with switch.link(SIGN_ON) as one, switch.link(SIGN_ON) as two:
        assert one.ask(network("001"))["39"] == two.ask(network("001"))["39"] == "00"
        assert one.ask(network("002"))["39"] == "00"
        assert one.ask(payment(card.pan))["39"] == "91"
        assert two.ask(payment(card.pan))["39"] == "00"
    with switch.link(SIGN_ON) as again:
        assert again.ask(payment(card.pan))["39"] == "91"
