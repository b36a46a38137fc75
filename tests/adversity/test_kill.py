"""Kill -9 under load, again and again: what was answered is in the ledger, and stays answered."""

import contextlib
import http.client
import itertools
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.frames import encode, test_pan
from bench.load_client import LoadRun, Plan, Source
from bench.load_result import LoadResult, Snapshot, code_number
from bench.reconcile import reconcile
from bench.switch_process import open_test_cards
from bench.workload import Workload
from engine.config import load_config
from ledger.recovery import scan_running
from tests.support.commands import de39
from tests.system.link import Fields, changed, payment, reversal
from tests.system.process import Card, Switch, eventually

_CARDS = 400
_NUMBERS_A_ROUND = 10**8
_SAMPLE = 300


class _Witness:
    """One link that pays and reverses one by one and keeps the bytes of every answer."""

    def __init__(self, switch: Switch, card: Card) -> None:
        self._switch = switch
        self._card = card
        self.answers: list[tuple[Fields, bytes]] = []
        self.unanswered: list[Fields] = []

    def run(self) -> None:
        """Go on until the link breaks."""
        with contextlib.suppress(OSError, AssertionError), self._switch.link() as link:
            while True:
                for ask in self._next():
                    self.unanswered = [ask]
                    link.send(ask)
                    answer = link.receive_bytes()
                    if not answer:
                        return
                    self.answers.append((ask, answer))
                    self.unanswered = []

    def _next(self) -> list[Fields]:
        ask = payment(self._card.pan, 7)
        return [ask, reversal(ask)] if len(self.answers) % 5 == 0 else [ask]

    def check(self, switch: Switch) -> None:
        """Repeats get byte-same answers; the open one gets one; the balance is what they say."""
        with switch.link() as link:
            for ask in self.unanswered:
                link.send(ask)
                self.answers.append((ask, link.receive_bytes()))
            self.unanswered = []
            for ask, answer in self.answers:
                link.send(changed(ask, t=ask["t"][:3] + "1"))
                assert link.receive_bytes() == answer
        payments = sum(ask["t"] == "0100" for ask, _ in self.answers)
        reversals = len(self.answers) - payments
        assert switch.held(self._card) == 7 * (payments - reversals)


def _load_until_killed(switch: Switch, orders: Any, number: int, life_s: float) -> LoadResult:
    """Run closed-loop load; kill the switch after ``life_s``, wherever it then is."""
    plan = Plan(
        in_flight=48,
        connections=3,
        seconds=60,
        drain_s=2,
        repeat_share=0.05,
        reversal_share=0.05,
        first_number=(number + 1) * _NUMBERS_A_ROUND,
        seed=number + 1,
    )
    run = LoadRun(("127.0.0.1", switch.ports[0][1]), Source(orders), plan)
    started_s = time.monotonic()

    def kill_when_due(_: Snapshot) -> None:
        if time.monotonic() - started_s > life_s and not killed:
            killed.append(switch.kill())

    killed: list[int] = []
    result = run.run(kill_when_due, every_s=0.005)
    assert killed, f"the switch ended by itself: {switch.log()[-500:]}"
    return result


def _records(switch: Switch) -> Any:
    return np.concatenate([batch.records.copy() for batch in scan_running(switch.data)])


def _check_repeats(switch: Switch, result: LoadResult, random_: random.Random) -> None:
    """Payments that the load saw answered get that answer again."""
    slots = result.slots
    answered = np.flatnonzero(slots["answered"] > 0)
    rows = random_.sample(answered.tolist(), min(_SAMPLE, len(answered)))
    with switch.link() as link:
        for row in rows:
            number, slot = result.first_number + row, slots[row]
            order = result.orders[row % len(result.orders)][None]
            second = int(slot["second"])
            frame = encode(order, first_number=number, clock_s=second, mti=101).buffer.tobytes()
            link.socket.sendall(frame)
            answer = link.receive()
            assert int(answer["37"]) == number
            assert code_number(answer["39"]) == slot["response"]
            approval = answer.get("38", "").encode()
            assert int.from_bytes(approval, "little") == slot["approval"]


@pytest.mark.timeout(7200)  # for as many rounds as are asked for
def test_kill_9_under_load_loses_nothing_that_was_answered(
    tmp_path_factory: pytest.TempPathFactory, kill_rounds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill, restart, reconcile: no approval missing, doubled or changed; verify finds it whole."""
    random_ = random.Random(39)
    switch = Switch(tmp_path_factory.mktemp("kill"))
    limits = np.full(_CARDS, 10**9, np.int64)
    limits[::4] = 30_000  # some declines
    open_test_cards(load_config(switch.config), _CARDS, limits)
    orders = Workload(_CARDS, 500, 30, 1).orders()
    seen: list[LoadResult] = []
    with switch.start():
        witness = _Witness(switch, switch.open_card(limit_minor=10**9))
        for number in range(kill_rounds):
            thread = threading.Thread(target=witness.run)
            thread.start()
            life_s = random_.uniform(0.2, 1.2)
            result = _load_until_killed(switch, orders, number, life_s)
            thread.join()
            seen = [*seen[-4:], result]
            switch.start()
            code, out, err = de39("ledger", "verify", "--data", switch.data)
            assert code == 0, out + err
            records = _records(switch)
            assert (np.diff(records["seq"].astype(np.int64)) == 1).all()
            lines = [reconcile(one, records) for one in seen]
            assert all(line.ok for line in lines), lines[-1].line()
            _check_repeats(switch, result, random_)
            witness.check(switch)
            with capsys.disabled():
                text = f"kill -9 round {number + 1} of {kill_rounds}: {lines[-1].line()}\n"
                sys.stderr.write(text if kill_rounds > 5 else "")
        assert switch.stop() == 0
        assert "Traceback" not in switch.log()


def _open_until_broken(switch: Switch, first: int, opened: list[Card]) -> None:
    """Open accounts and cards one by one until the switch is gone; keep what it confirmed."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        for number in itertools.count(first):
            account = f"K{number}"
            body = {"account": account, "customer": account, "limit_minor": 10_000}
            assert switch.call("POST", "/v1/accounts", body).status == 201
            card = {"account": account, "pan": test_pan(number), "expiry_yymm": "3012"}
            answer = switch.call("POST", "/v1/cards", card)
            assert answer.status == 201
            opened.append(Card(account, test_pan(number), answer.json["card"]))


def test_kill_9_while_cards_are_issued_keeps_vault_and_journal_together(tmp_path: Path) -> None:
    """Every confirmed card pays after the restart; a half-made one leaves nothing in the way."""
    random_ = random.Random(77)
    opened: list[Card] = []
    with Switch(tmp_path) as switch:
        for round_ in range(3):
            switch.start()
            thread = threading.Thread(
                target=_open_until_broken, args=(switch, 1_000 * (round_ + 1), opened)
            )
            wanted = len(opened) + random_.randint(5, 25)
            thread.start()
            eventually(lambda n=wanted: len(opened) >= n)
            switch.kill()
            thread.join()
        switch.start()
        assert len(opened) > 15
        with switch.link() as link:
            assert {link.ask(payment(card.pan, 10))["39"] for card in opened} == {"00"}
        assert [switch.account(card)["cards"][0]["card"] for card in opened] == [
            card.number for card in opened
        ]
        fresh = switch.open_card()
        assert fresh.number not in {card.number for card in opened}
        code, out, err = de39("ledger", "verify", "--data", switch.data)
        assert code == 0, out + err
        assert switch.stop() == 0
