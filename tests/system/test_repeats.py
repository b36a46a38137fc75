"""Repeats and duplicates: behaviours 31 and 33 to 39. After a restart: see test_restart.py."""

import pytest

from tests.system.link import changed, payment, reversal
from tests.system.process import BIN, HEX, Switch

_DIALECTS = pytest.mark.parametrize("listener", [BIN, HEX])


def _duplicates(switch: Switch, kind: str) -> float:
    return switch.metric(f'de39_duplicates_total{{kind="{kind}"}}')


def test_behaviour_31_what_was_answered_is_in_the_journal(switch: Switch) -> None:
    """At the moment an answer arrives, another process reads its record in the journal."""
    card = switch.open_card(limit_minor=1_000)
    asks = [payment(card.pan, 800), payment(card.pan, 800)]
    with switch.link() as link:
        codes = [link.ask(ask)["39"] for ask in asks]
        rows = {row["rrn"]: row for row in switch.records()}
    assert [rows[ask["37"]]["response"] for ask in asks] == codes == ["00", "51"]


@_DIALECTS
@pytest.mark.parametrize("amount", [100, 999_999])
def test_behaviour_33_a_repeat_gets_the_same_bytes(
    switch: Switch, listener: int, amount: int
) -> None:
    """A 0101 of an answered 0100 gets its answer again, approved or not; money moves once."""
    card = switch.open_card()
    ask = payment(card.pan, amount)
    with switch.link(listener) as link:
        link.send(ask)
        first = link.receive_bytes()
    before = _duplicates(switch, "repeat")
    with switch.link(listener) as link:
        for _ in range(3):
            link.send(changed(ask, t="0101"))
            assert link.receive_bytes() == first
    assert _duplicates(switch, "repeat") == before + 3
    assert switch.held(card) == (100 if amount == 100 else 0)
    assert sum(row["rrn"] == ask["37"] for row in switch.records()) == 1


def test_behaviour_33_a_repeat_in_the_other_dialect(switch: Switch) -> None:
    """The key does not depend on the link or its dialect."""
    card = switch.open_card()
    ask = payment(card.pan)
    with switch.link(BIN) as one, switch.link(HEX) as two:
        assert one.ask(ask) == two.ask(changed(ask, t="0101"))
    assert switch.held(card) == 1_000


def test_behaviour_34_a_repeat_of_a_request_in_flight(switch: Switch) -> None:
    """0100 and two 0101 sent in one piece make one decision; all three get the same answer."""
    card = switch.open_card()
    asks = [payment(card.pan, 300) for _ in range(20)]
    before = _duplicates(switch, "in_flight")
    with switch.link() as link:
        for ask in asks:
            link.send(ask, changed(ask, t="0101"), changed(ask, t="0101"))
        for _ in asks:
            answers = {link.receive_bytes() for _ in range(3)}
            assert len(answers) == 1
    assert _duplicates(switch, "in_flight") == before + 40
    assert switch.held(card) == 20 * 300


def test_behaviour_35_a_repeat_whose_request_never_came(switch: Switch) -> None:
    """A 0101 of something unknown is decided as new; a late 0100 then is its duplicate."""
    card = switch.open_card()
    ask = payment(card.pan)
    with switch.link() as link:
        first = link.ask(changed(ask, t="0101"))
        assert (first["t"], first["39"]) == ("0110", "00")
        assert link.ask(ask) == first
    assert switch.held(card) == 1_000


def test_behaviour_36_an_identical_request_is_a_duplicate(switch: Switch) -> None:
    """A second 0100 with the same key gets the stored answer."""
    card = switch.open_card()
    ask = payment(card.pan)
    before = _duplicates(switch, "identical")
    with switch.link() as link:
        assert link.ask(ask) == link.ask(ask)
    assert _duplicates(switch, "identical") == before + 1
    assert switch.held(card) == 1_000


@pytest.mark.parametrize("mti", ["0100", "0101"])
@pytest.mark.parametrize("field", ["2", "3", "4", "49"])
def test_behaviour_36_the_same_key_with_other_facts_gets_94(
    switch: Switch, mti: str, field: str
) -> None:
    """Another amount, card, type or currency under the same key is 94, never the stored answer."""
    card, other = switch.open_card(), switch.open_card()
    facts = {"2": other.pan, "3": "010000", "4": f"{1_001:012d}", "49": "978"}
    ask = payment(card.pan)
    before = _duplicates(switch, "differs")
    with switch.link() as link:
        assert link.ask(ask)["39"] == "00"
        answer = link.ask(changed(ask, t=mti, **{f"de{field}": facts[field]}))
        assert (answer["39"], "38" in answer) == ("94", False)
        assert link.ask(changed(ask, t="0101"))["39"] == "00"  # the first still stands
    assert _duplicates(switch, "differs") == before + 1
    assert (switch.held(card), switch.held(other)) == (1_000, 0)


@pytest.mark.parametrize("change", ["de7", "de11", "de32", "de33", "de41"])
def test_behaviour_37_every_part_of_the_key_counts(switch: Switch, change: str) -> None:
    """With another time, STAN, acquirer, forwarder or terminal it is another payment."""
    other = {
        "de7": "1124120001",
        "de11": "777777",
        "de32": "400098",
        "de33": "17",
        "de41": "TERM0002",
    }
    card = switch.open_card()
    ask = payment(card.pan)
    with switch.link() as link:
        assert link.ask(ask)["39"] == "00"
        assert link.ask(changed(ask, **{change: other[change]}))["39"] == "00"
    assert switch.held(card) == 2_000


def test_behaviour_37_a_reversal_with_the_originals_stan_is_no_duplicate(switch: Switch) -> None:
    """The class of a message is part of its key: 0420 does not collide with its 0100."""
    card = switch.open_card()
    ask = payment(card.pan)
    with switch.link() as link:
        assert link.ask(ask)["39"] == "00"
        answer = link.ask(reversal(ask))
        assert (answer["t"], answer["39"]) == ("0430", "00")
        assert link.ask(changed(ask, t="0101"))["39"] == "00"  # what was answered, answered again
    assert switch.held(card) == 0


def test_behaviour_39_a_stan_may_come_round_again(switch: Switch) -> None:
    """After 999999 the same STAN at another time is new, at the turn of a year too."""
    card = switch.open_card()
    ask = payment(card.pan, 100, de7="1231235959", de11="999999", de13="1231")
    with switch.link() as link:
        for change in (
            {},
            {"de11": "000001", "de7": "0101000000", "de13": "0101"},
            {"de7": "0101000001", "de13": "0101"},
            {"de7": "0229120000", "de13": "0229"},
        ):
            assert link.ask(changed(ask, **change))["39"] == "00"
    assert switch.held(card) == 400
