"""A day in short: generated traffic, clearings, reversals, refunds, repayments; then the books.

``DE39_DAY_SECONDS`` makes the card traffic longer (two seconds otherwise).
"""

import csv
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np

from bench.load_client import LoadRun, Plan, Source
from bench.switch_process import open_test_cards
from bench.workload import Workload
from engine.config import load_config
from ledger.record import Kind
from ledger.recovery import scan_running
from tests.support.commands import de39
from tests.support.postgres import Database
from tests.system.link import payment, reversal
from tests.system.process import Card, Switch

_CARDS = 200
_SECONDS = float(os.environ.get("DE39_DAY_SECONDS") or 2)
_CLEARED_MAX = 4000
_CLEARING = ["id", "type", "account", "amount_minor", "currency", "authorization", "final",
             "scheme", "settlement_date", "original_id", "pcode"]  # fmt: skip
_REPAYMENT = ["id", "type", "account", "amount_minor", "currency", "original_id"]


def test_the_books_equal_the_engine_after_a_day(database: Database, tmp_path: Path) -> None:
    """Every account's figures and every open hold agree; trial balance zero in each currency."""
    rng = random.Random(39)
    switch = Switch(tmp_path)
    limits = np.full(_CARDS, 10**8, np.int64)
    limits[::5] = 20_000  # some decline
    open_test_cards(load_config(switch.config), _CARDS, limits)
    with switch.start():
        euro = switch.open_card(limit_minor=500_000, currency="978")
        _play(switch)
        _play_euro(switch, euro, rng)
        records = np.concatenate([batch.records.copy() for batch in scan_running(switch.data)])
        items = _clearings(records, euro, rng)
        counts = _post(switch, tmp_path, "clearing", _CLEARING, items)
        assert {"matched", "refunded", "reversed", "forced"} <= set(counts)
        paid = _repayments(items, rng)
        counts = _post(switch, tmp_path, "repayment", _REPAYMENT, paid)
        assert counts["paid"] > 0
        assert counts["returned"] > 0
        code, out, err = de39(
            "ledger", "books", "--data", switch.data, "--check", "--json",
            DE39_BOOKS_DSN=database.dsn,
        )  # fmt: skip
        assert code == 0, err
        facts = json.loads(out)
        assert facts["ok"], facts
        assert facts["records"] == facts["projected"] > len(records)
        assert switch.stop() == 0
    checks = database.fetch("SELECT currency, book, difference FROM de39_books.trial_balance_check")
    assert sorted(checks) == [
        (currency, book, 0) for currency in (840, 978) for book in ("financial", "memo")
    ]
    days = database.fetch("SELECT DISTINCT scheme FROM de39_books.settlement ORDER BY 1")
    assert (2,) in days
    kinds = {kind for (kind,) in database.fetch("SELECT DISTINCT kind FROM de39_books.event")}
    assert {Kind.CLEARING, Kind.REFUND, Kind.REPAYMENT, Kind.PAYMENT_RETURNED} <= kinds
    assert Kind.CLEARING_REVERSAL in kinds


def _play(switch: Switch) -> None:
    """Play card traffic with repeats and reversals."""
    plan = Plan(
        in_flight=32,
        connections=2,
        seconds=_SECONDS,
        drain_s=5,
        repeat_share=0.05,
        reversal_share=0.05,
        first_number=1,
        seed=1,
    )
    orders = Workload(_CARDS, 100, 30, 1).orders()
    LoadRun(("127.0.0.1", switch.ports[0][1]), Source(orders), plan).run(lambda _: None)


def _play_euro(switch: Switch, card: Card, rng: random.Random) -> None:
    """Pay with a card of another currency, and take some back."""
    with switch.link() as link:
        for number in range(60):
            ask = payment(card.pan, rng.randint(100, 9_000), de49="978", de19="276")
            link.ask(ask)
            if number % 10 == 0:
                link.ask(reversal(ask))


def _clearings(records: Any, euro: Card, rng: random.Random) -> list[dict[str, Any]]:
    """Return presentments, in one or several parts, over or under, and what follows from them."""
    held = records[(records["kind"] == Kind.AUTHORIZE) & (records["result"] == 0)]
    rows = rng.sample(range(len(held)), min(len(held), _CLEARED_MAX))
    rows += [i for i in range(len(held)) if held["currency"][i] == 978]
    items: list[dict[str, Any]] = []

    def add(row: Any, amount: int, kind: str = "clearing", **more: Any) -> str:
        account = euro.account if row["currency"] == 978 else f"A{row['account']}"
        name = f"ARN{len(items)}"
        items.append(
            {
                "id": name,
                "type": kind,
                "account": account,
                "amount_minor": amount,
                "currency": f"{row['currency']:03d}",
                "scheme": rng.randint(1, 2),
                "settlement_date": rng.choice(["20261127", "20261128", ""]),
                **more,
            }
        )
        return name

    for i in dict.fromkeys(rows):
        row = held[i]
        amount, seq = int(row["amount_minor"]), int(row["seq"])
        way = rng.random()
        if way < 0.5:
            name = add(row, amount, authorization=seq)
        elif way < 0.7 and amount > 1:
            part = rng.randint(1, amount - 1)
            add(row, part, authorization=seq, final="no")
            name = add(row, amount - part, authorization=seq)
        elif way < 0.8:
            name = add(row, amount + amount // 10 + 1, authorization=seq)
        elif way < 0.9:
            name = add(row, rng.randint(1, amount), authorization=seq)
        else:
            name = add(row, rng.randint(1, 500), pcode="010000")  # nobody asked: forced
        if rng.random() < 0.1:
            add(row, rng.randint(1, amount), "refund", original_id=name)
        elif rng.random() < 0.05:
            add(row, items[-1]["amount_minor"], "reversal", original_id=name)
    return items


def _repayments(items: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """Return payments of half of the customers, some too much, and some that come back."""
    paid: list[dict[str, Any]] = []
    for account in sorted({item["account"] for item in items}):
        if rng.random() < 0.5 and not account.startswith("S"):
            continue
        row = {
            "account": account,
            "amount_minor": rng.choice([rng.randint(1, 20_000), 50_000_000]),
            "currency": "978" if account.startswith("S") else "840",
        }
        paid.append({"id": f"PAY-{account}", "type": "repayment", **row})
        if rng.random() < 0.2:
            back = {"id": f"BACK-{account}", "type": "returned", "original_id": f"PAY-{account}"}
            paid.append({**row, **back})
    return paid


def _post(
    switch: Switch, folder: Path, verb: str, names: list[str], rows: list[dict[str, Any]]
) -> dict[str, int]:
    """Send a file of items; return how many had which result. Single items may be rejected."""
    file = folder / f"{verb}.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            defaults = {"pcode": "000000", "authorization": 0, "final": "yes", "scheme": 0}
            filled = {**{k: v for k, v in defaults.items() if k in names}, **row}
            writer.writerow(filled)
    code, out_text, err = de39(verb, file, "--http", switch.http, "--data", switch.data, "--json")
    assert code in (0, 1), err
    counts: dict[str, int] = json.loads(out_text.splitlines()[-1])["counts"]
    return counts
