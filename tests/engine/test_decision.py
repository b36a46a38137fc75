"""Decisions by table: each case of tests/tables/decisions.txt, and every decision has one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.cards import CardStatus
from engine.decision import DEFAULT_RESPONSE, Decision
from engine.events import event_record
from ledger.accounts import AccountStatus
from ledger.record import Kind
from tests.oracle.core_values import RESPONSE
from tests.support.draws import BAD_CHECK_DIGIT
from tests.support.small_engine import START_NS, SmallEngine, pan
from tests.support.streams import Message, Player

_TABLE = Path(__file__).parent.parent / "tables" / "decisions.txt"
_ELSEWHERE = {
    Decision.RULE_DECLINED,
    Decision.STEP_UP,
    Decision.STAND_IN_DECLINED,  # with no scorer at hand: tests/system/test_stand_in.py
    Decision.OVERLOADED,
    Decision.PARTIALLY_APPROVED,  # these three by other profiles: test_judging.py
    Decision.DUPLICATE_REFUSED,
    Decision.ALREADY_CAPTURED,
    Decision.DEADLINE_PASSED,  # by time: tests/properties/test_deadlines.py
    *(d for d in Decision if 110 <= d < 200 or d > Decision.DEADLINE_PASSED),  # by keys
}
_NAMES = {
    "card": "pan",
    "code": "network_code",
    "time": "transmitted",
    "billed": "billing_amount",
    "bill_in": "billing_currency",
    "keep": "replacement",
}
_HOUR_NS = 3600 * 10**9


def _rows() -> list[list[str]]:
    lines = _TABLE.read_text().splitlines()
    cells = [line.split("|") for line in lines if line and not line.startswith("#")]
    return [[cell.strip() for cell in row] for row in cells]


def _message(text: str, ts_ns: int) -> Message:
    """Read one message of the table."""
    words = text.split()
    base: dict[str, Any] = {
        "transmitted": 601120000, "stan": 1, "acquirer": 42, "terminal": "TERM0001"
    }  # fmt: skip
    link, said = 0, dict(w.split("=") for w in words if "=" in w)
    for word in words:
        if word.startswith("+"):
            ts_ns += int(word[1:]) * _HOUR_NS
        elif word.isdigit():
            base["mti"] = int(word)
    if base["mti"] // 100 in (1, 2):
        base |= {"pcode": 0, "currency": 840}
    link = int(said.pop("link", "0"))
    original = int(said.pop("of", "0"))
    kind = int(said.pop("kind", "0100"))
    if original:
        base["original"] = {
            "mti": kind, "stan": original, "transmitted": 601120000, "acquirer": 42, "forwarder": 0
        }  # fmt: skip
    for name, value in said.items():
        base[_NAMES.get(name, name)] = value if name == "terminal" else int(value or -1)
    if "rrn" in base:
        base["rrn"] = f"{base['rrn']:012d}"
    if "pan" in base:
        base["pan"] = BAD_CHECK_DIGIT if base["pan"] == 9 else pan(base["pan"])
    if base.get("currency") == -1:
        del base["currency"]
    return Message(ts_ns, link, base)


def _player() -> Player:
    """Return the cards that the table's head describes."""
    player = Player(SmallEngine(7, 1, 50_000, plain=True, ring=16), (False, True, True))
    for card, status in ((2, CardStatus.BLOCKED), (3, CardStatus.LOST), (4, CardStatus.STOLEN)):
        player.apply(event_record(Kind.CARD_STATUS, START_NS, card=card, status=status))
    issue = {"card": 5, "account": 5, "expiry_yymm": 2601, "status": CardStatus.ACTIVE}
    player.apply(event_record(Kind.CARD_ISSUE, START_NS, **issue))
    blocked = {"account": 6, "status": AccountStatus.BLOCKED}
    player.apply(event_record(Kind.ACCOUNT_STATUS, START_NS, **blocked))
    euro = {"account": 7, "amount_minor": 50_000, "currency": 978, "status": AccountStatus.ACTIVE}
    player.apply(event_record(Kind.ACCOUNT_OPEN, START_NS, **euro))
    return player


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row[0])
def test_each_case_of_the_table(row: list[str]) -> None:
    """The last message of the case gets the decision and the code of the table."""
    _, text, decision, code = row
    player = _player()
    ts_ns = START_NS
    if text.startswith("full"):
        filler = _message("0100 card=1 amount=1", ts_ns)
        for stan in range(1, 9):
            player.play([replace(filler, request={**filler.request, "stan": stan})])
        text = text.removeprefix("full")
    for part in text.split(";"):
        message = _message(part, ts_ns)
        ts_ns = message.ts_ns
        player.play([message])

    result = player.played.results[-1]

    assert (result.decision, result.fields["39"]) == (decision, code)


def test_the_table_has_every_decision_of_the_core() -> None:
    """Rules, the shell, profiles and keys decide more; they are tested where they live."""
    assert {Decision[row[2]] for row in _rows()} == set(Decision) - _ELSEWHERE


def test_response_codes_are_those_of_the_standard() -> None:
    """The default codes are the ones that the oracle spells out from the reference."""
    assert {name: DEFAULT_RESPONSE[Decision[name]] for name in RESPONSE} == RESPONSE
