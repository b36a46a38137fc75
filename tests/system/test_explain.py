"""Reasons of record of a running engine: shown with the payment, made again from the journal."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.reason_store import FILE
from scoring.features import FEATURES
from tests.support.commands import de39
from tests.system.link import payment
from tests.system.process import Card, Switch, eventually, is_one_line

RULES = """
list tills terminal =
rule D01 post decline(59) "too much" when amount >= 500.00
rule V01 post review "much" when amount >= 300.00
rule T01 pre tag again "again" when attempts_24h >= 1 and attempts_24h < 3 * count_15d + 90
rule S01 pre shadow decline(62) "till" when terminal in @tills and not cnp
"""
DECLINED, REVIEWED, APPROVED = 60_000, 40_000, 1_000


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """Run a switch with the shipped model and two rules."""
    folder = tmp_path_factory.mktemp("explain")
    (folder / "two.rules").write_text(RULES, encoding="utf-8")
    with Switch(folder, more='[rules]\nfile = "two.rules"\n') as running:
        yield running.start()


@pytest.fixture(scope="module")
def card(switch: Switch) -> Card:
    """Open one card for the module."""
    return switch.open_card(limit_minor=900_000_000)


def _pay(switch: Switch, card: Card, amount_minor: int) -> str:
    """Pay; return the reference number."""
    with switch.link() as link:
        asked = payment(card.pan, amount_minor)
        link.ask(asked)
    return str(asked["37"])


def _seen(switch: Switch, rrn: str) -> dict[str, Any]:
    (found,) = switch.call("GET", f"/v1/authorizations?rrn={rrn}").json["authorizations"]
    return dict(found)


def _explained(switch: Switch, *words: object) -> dict[str, Any]:
    code, out, err = de39("model", "explain", *words, "--data", switch.data, "--json")
    assert code == 0, err
    (found,) = json.loads(out)["explained"]
    return dict(found)


def test_declined_and_reviewed_payments_have_reasons(switch: Switch, card: Card) -> None:
    """They come after the answer, with value and text; what was approved has none."""
    paid = {amount: _pay(switch, card, amount) for amount in (DECLINED, REVIEWED, APPROVED)}
    for amount in (DECLINED, REVIEWED):
        seen = eventually(lambda a=amount: _seen(switch, paid[a])["reasons_of_record"], 120.0)
        strongest = seen["reasons"][0]
        assert strongest["adds"] == max(one["adds"] for one in seen["reasons"])
        assert strongest["text"]
        assert seen["margin"] > seen["expected"]
    assert _seen(switch, paid[APPROVED])["reasons_of_record"] is None
    assert switch.metric("de39_reasons_made_total") == 2
    assert switch.metric("de39_reasons_waiting") == 0


def test_the_command_tells_the_same(switch: Switch, card: Card) -> None:
    """By reference number and by record number; all features, and their sum is the margin."""
    rrn = _pay(switch, card, DECLINED)
    seen = eventually(lambda: _seen(switch, rrn)["reasons_of_record"], 60.0)
    found = _explained(switch, "--rrn", rrn)
    assert found["reasons"] == [
        {**one, "adds": pytest.approx(one["adds"], abs=1e-6)} for one in seen["reasons"]
    ]
    assert found["margin"] == seen["margin"]
    assert found["expected"] + sum(found["adds"].values()) == pytest.approx(
        found["margin"], abs=1e-4
    )
    assert list(found["adds"]) == [feature.name for feature in FEATURES]
    assert _explained(switch, "--record", found["record"]) == found
    code, out, _ = de39("model", "explain", "--rrn", rrn, "--data", switch.data)
    assert (code, found["reasons"][0]["text"] in out) == (0, True)


def test_an_approved_payment_is_explained_by_replay(switch: Switch, card: Card) -> None:
    """Nothing is kept of it, and the journal has all that is needed."""
    found = _explained(switch, "--rrn", _pay(switch, card, APPROVED))
    assert found["features"]["amount"] == 10.0
    row = json.dumps(found["features"])
    again = _explained(switch, "--row", row)
    assert again["adds"] == found["adds"]
    assert again["score"] == found["score"]


def test_a_lost_file_is_made_again(switch: Switch, card: Card) -> None:
    """Every reason comes out of the journal as it was; a second run has nothing to do."""
    rrn = _pay(switch, card, DECLINED)
    before = eventually(lambda: _seen(switch, rrn)["reasons_of_record"], 60.0)
    switch.stop()
    for path in switch.data.glob(FILE + "*"):
        path.unlink()
    switch.start()
    assert _seen(switch, rrn)["reasons_of_record"] is None
    for made in (4, 0):
        code, out, err = de39("model", "explain", "--missing", "--data", switch.data, "--json")
        assert code == 0, err
        assert json.loads(out)["made"] == made
    assert _seen(switch, rrn)["reasons_of_record"] == before
    assert _pay(switch, card, DECLINED)


def _lines(switch: Switch, rrn: str) -> dict[str, list[dict[str, Any]]]:
    """Return the comparisons of each rule as ``de39 rules explain`` has them."""
    words = (switch.config.parent / "two.rules", "--authorization", rrn, "--data", switch.data)
    code, out, err = de39("rules", "explain", *words, "--json")
    assert code == 0, err
    return {
        rule["rule"]: [line for line in rule["lines"] if "operator" in line]
        for rule in json.loads(out)["rules"]
        if rule["held"]
    }


def test_rules_that_held_are_explained_as_by_the_command(switch: Switch, card: Card) -> None:
    """Values, counters and lists of then, though the list has changed and another set came."""
    entries = {"values": ["TERM0001"], "reason": "a test"}
    assert switch.call("POST", "/v1/lists/tills", {"change": "add", **entries}).status == 200
    paid = [_pay(switch, card, amount) for amount in (DECLINED, REVIEWED, APPROVED)]
    assert switch.call("POST", "/v1/lists/tills", {"change": "remove", **entries}).status == 200
    last = _pay(switch, card, DECLINED)
    assert eventually(lambda: _seen(switch, last)["rules_explained"]["rules"], 60.0)
    text = RULES.replace("500.00", "501.00")
    assert switch.call("POST", "/v1/rules", {"text": text, "reason": "a test"}).status == 200

    told = _seen(switch, paid[0])["rules_explained"]
    assert told["note"] == ""
    assert told["rules"][0] == {
        "rule": "D01",
        "text": "too much",
        "action": "decline",
        "predicates": [
            {
                "text": "amount >= 500.00",
                "column": "amount",
                "operator": ">=",
                "threshold": "500.00",
                "held": True,
                "values": {"amount": "600.00"},
                "units": {"amount": "major units of 840"},
            }
        ],
    }
    for rrn, names in (
        (paid[0], ["D01", "V01", "T01", "S01"]),
        (paid[1], ["V01", "T01", "S01"]),
        (last, ["D01", "V01", "T01"]),
    ):
        rules = _seen(switch, rrn)["rules_explained"]["rules"]
        lines = _lines(switch, rrn)
        assert [rule["rule"] for rule in rules] == names == list(lines)
        for rule in rules:
            told_by_both = ("text", "column", "operator", "threshold", "held", "values")
            assert [{name: p[name] for name in told_by_both} for p in rule["predicates"]] == [
                {name: line[name] for name in told_by_both} for line in lines[rule["rule"]]
            ]
    till, present = _seen(switch, paid[0])["rules_explained"]["rules"][3]["predicates"]
    assert (till["threshold"], till["values"]) == ("@tills", {"terminal": '"TERM0001"'})
    assert (present["text"], present["held"], present["values"]) == ("cnp", False, {"cnp": "false"})
    note = _seen(switch, paid[2])["rules_explained"]["note"]
    assert note.startswith("values are kept of refused and reviewed payments only")
    assert card.pan not in json.dumps(told)
    back = switch.call("POST", "/v1/rules", {"text": RULES, "reason": "a test"})
    assert back.status == 200


def test_what_cannot_be_explained(switch: Switch, tmp_path: Path) -> None:
    """Each is one line that says what would be right."""
    short, foreign = json.dumps({"amount": 1.0}), json.dumps({"colour": 1.0})
    for words, code, reason in (
        ((), 2, "give one of --rrn, --record, --row and --missing"),
        (("--rrn", "1", "--record", "1"), 2, "give one of"),
        (("--rrn", "999999999999"), 1, "RRN 999999999999: no payment with a score"),
        (("--record", "1"), 1, "record 1: no payment with a score"),
        (("--row", short), 1, "row: ln_amount: is missing; a row has all 38 features"),
        (("--row", foreign), 1, "row: colour: no feature; expected amount"),
        (("--row", '{"amount": "x"}'), 1, "row: expected an object of features and numbers"),
        (("--row", tmp_path / "no.json"), 1, "no.json: cannot be read"),
    ):
        found, _, err = de39("model", "explain", *words, "--data", switch.data)
        assert (found, is_one_line(err)) == (code, True), err
        assert reason in err
