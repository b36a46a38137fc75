"""T13: the answers on the wire and the journal say exactly the same, message for message."""

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

from engine.replies import approval_code
from tests.support.commands import de39
from tests.system.link import Fields, changed, payment, reversal
from tests.system.process import Card, Switch

MESSAGES = int(os.environ.get("DE39_AUDIT_MESSAGES", "240"))
_WIRE_KINDS = frozenset(
    {
        "authorize", "partial", "check", "increment", "advice", "reversal", "clearing",
        "clearing_part", "over_capture", "force_post", "refund", "financial",
    }
)  # fmt: skip
_NOT_RECORDED = ("30", "91", "94", "96")


def _message(random: Random, cards: list[Card], said: list[Fields]) -> Fields:
    """Draw a message of any class; each has a STAN of its own."""
    card = random.choice(cards)
    kind = random.random()
    amount = random.choice([1, 900, 5_000, 5_000, 40_000, 0])
    if kind < 0.5 or not said:
        code = random.choice(["000000", "000000", "000000", "010000", "200000", "310000", "400000"])
        return payment(card.pan, amount, t=random.choice(["0100", "0100", "0200"]), de3=code)
    about = random.choice(said)
    if kind < 0.7:
        fresh = payment(about["2"], amount, t=random.choice(["0120", "0220"]))
        return changed(fresh, de37=about["37"])
    if kind < 0.75:
        return payment("9999000000900042", amount)  # nobody's
    back = reversal(about, random.choice(["0400", "0420"]))
    return changed(back, de11=payment(card.pan)["11"])


def _text(seq: int) -> str:
    return int(approval_code(seq)).to_bytes(8, "little")[:6].decode()


def _audit(answers: dict[str, tuple[Fields, Fields]], records: list[dict[str, Any]]) -> None:
    """Compare by STAN, which is unique here: same set, same code, same approval, same class."""
    by_stan: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record["kind"] in _WIRE_KINDS and "filed" not in record["flags"]:
            by_stan.setdefault(f"{record['stan']:06d}", []).append(record)
    recorded = {stan for stan, (_, answer) in answers.items() if answer["39"] not in _NOT_RECORDED}
    assert set(by_stan) == recorded
    for stan in recorded:
        asked, answer = answers[stan]
        (record,) = by_stan[stan]
        assert record["response"] == answer["39"]
        assert record["rrn"] == asked["37"]
        assert answer.get("38", _text(record["seq"])) == _text(record["seq"])
        is_reversal = record["kind"] == "reversal" or "reverses" in record["flags"]
        assert is_reversal == (asked["t"][1] == "4")
        if record["kind"] in ("authorize", "financial", "advice"):
            assert record["amount2_minor"] == int(asked["4"])


@pytest.mark.parametrize("seed", [1, 2])
def test_answers_and_journal_are_the_same_set(tmp_path: Path, seed: int) -> None:
    """All classes of messages, kill -9 in between, every answer again; then an audit."""
    random = Random(seed)
    answers: dict[str, tuple[Fields, Fields]] = {}
    said: list[Fields] = []
    with Switch(tmp_path) as switch:
        switch.start()
        cards = [switch.open_card(limit_minor=60_000) for _ in range(4)]
        for _ in range(2):
            with switch.link() as link:
                for _ in range(MESSAGES // 2):
                    asked = _message(random, cards, said)
                    answers[asked["11"]] = asked, link.ask(asked)
                    if "2" in asked and asked["t"] in ("0100", "0200"):
                        said.append(asked)
            switch.kill()
            switch.start()
            with switch.link() as link:
                for asked, answer in answers.values():
                    if answer["39"] in _NOT_RECORDED:
                        continue
                    again = link.ask(changed(asked, t=f"{asked['t'][:3]}1"))
                    assert again == answer
        held = sum(switch.held(card) for card in cards)
        _audit(answers, switch.records())
        assert switch.stop() == 0
        code, out, err = de39("ledger", "audit", "--data", switch.data)
        assert code == 0, out + err
        assert "BROKEN" not in out
        assert held >= 0
    assert len(answers) >= MESSAGES * 9 // 10
