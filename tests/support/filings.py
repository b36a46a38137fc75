"""Items of clearing and repayment for the small engine: drawn, posted to it and to the oracle."""

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.filing import Clearing, Item, Repayment, columns_of, settle_rows
from engine.presentment import Result
from tests.oracle.clearing import Desk
from tests.oracle.core import Core
from tests.oracle.core_values import Entry, approval_code
from tests.support.disk_engine import DiskEngine
from tests.support.small_engine import SmallEngine, pan

AMOUNTS = (1, 150, 3_000, 3_000, 20_000, 50_000, 10**12 - 1)
_TYPES = (
    *("clearing",) * 6, *("refund",) * 3, *("reversal",) * 4, *("repayment",) * 2, "returned",
)  # fmt: skip


def draw_item(
    random: Random, core: Core, desk: Desk, cards_each: int
) -> tuple[dict[str, Any], int]:
    """Return an item as the oracle takes it and its account; most are about something that is."""
    kind = random.choice(_TYPES)
    known = list(desk.items)
    item: dict[str, Any] = {
        "id": f"I{len(known)}" if random.random() < 0.85 or not known else random.choice(known),
        "type": kind,
        "amount": random.choice(AMOUNTS),
        "currency": 978 if random.random() < 0.04 else 840,
        "final": random.random() < 0.5,
    }
    account = random.choice([*core.accounts, *core.accounts, 9])
    if kind == "clearing" and core.entries:
        is_open = [entry for entry in core.entries[-40:] if entry.state == "open"]
        entry = random.choice((random.random() < 0.6 and is_open) or core.entries[-12:])
        account = entry.account or account
        _point_at(random, item, entry)
    elif kind != "repayment" and (known or kind != "refund") and random.random() < 0.85:
        drew = [name for name in known if desk.items[name].root and desk.items[name].left]
        about = drew if kind in ("reversal", "refund") and drew and random.random() < 0.8 else known
        name = random.choice([*about[-8:], "I999"])
        item["original_id"] = name
        if name in desk.items:
            first = desk.items[name]
            account = first.account
            left = first.left
            item["amount"] = random.choice(
                [item["amount"], first.amount, left or 1, (left + 1) // 2 or 1]
            )
    elif kind in ("reversal", "returned"):
        item["original_id"] = "I999"
    if item["id"] in desk.items and random.random() < 0.6:
        first = desk.items[item["id"]]
        item["type"], item["amount"], account = first.kind, first.amount, first.account
    if item["type"] not in ("repayment", "returned") and account != 9 and random.random() < 0.5:
        item["pan"] = pan((account - 1) * cards_each + random.randint(1, cards_each))
    return item, account


def _point_at(random: Random, item: dict[str, Any], entry: Entry) -> None:
    item["amount"] = random.choice(
        [item["amount"], entry.amount or 1, max(entry.held, 1), entry.held // 2 or 1]
    )
    how = random.random()
    if how < 0.5:
        item["authorization"] = entry.seq
    elif how < 0.65 and "lifecycle" in entry.request:
        item["lifecycle"] = entry.request["lifecycle"]
    elif how < 0.75 and "rrn" in entry.request:
        item["rrn_key"] = (
            entry.request["rrn"], entry.request.get("terminal", ""),
            entry.request.get("acquirer", 0),
        )  # fmt: skip
    elif how < 0.9:
        item["approval"] = approval_code(entry.seq)
    if random.random() < 0.3:
        item["mcc"] = random.choice([5411, 6011, 7995])


def as_item(item: dict[str, Any], account: int) -> Item:
    """Return the item as the engine's interface takes it."""
    name = f"A{account}"
    if item["type"] in ("repayment", "returned"):
        return Repayment(
            id=item["id"], type=item["type"], account=name, amount_minor=item["amount"],
            currency=f"{item['currency']:03d}", original_id=item.get("original_id", ""),
        )  # fmt: skip
    rrn, terminal, acquirer = item.get("rrn_key", ("", "", 0))
    return Clearing(
        id=item["id"], type=item["type"], account=name, amount_minor=item["amount"],
        currency=f"{item['currency']:03d}", original_id=item.get("original_id", ""),
        authorization=item.get("authorization", 0), rrn=rrn,
        lifecycle_id=str(item.get("lifecycle", "")), terminal=terminal,
        acquirer=str(acquirer) if acquirer else "", approval_code=item.get("approval", ""),
        mcc=f"{item['mcc']:04d}" if "mcc" in item else "", final=item["final"],
    )  # fmt: skip


def post_items(
    engine: SmallEngine,
    items: list[tuple[dict[str, Any], int]],
    now_ns: int,
    *,
    is_dry: bool = False,
) -> tuple[list[str], NDArray[np.void]]:
    """Settle drawn items on the engine; return the names of the results and the records."""
    owners = []
    for item, account in items:
        stands = account <= engine.state.account_count
        card = int(item["pan"][6:15]) if "pan" in item else 0
        owners.append((account if stands else 0, card if stands else 0))
    return settle_items(engine, [as_item(*item) for item in items], owners, now_ns, is_dry=is_dry)


def settle_items(
    engine: SmallEngine | DiskEngine,
    items: Sequence[Item],
    owners: Sequence[tuple[int, int]],
    now_ns: int,
    *,
    is_dry: bool = False,
) -> tuple[list[str], NDArray[np.void]]:
    """Settle ``items`` of (account, card) on the engine; return names of results and records."""
    state, authorizer = engine.state, engine.authorizer
    rows = columns_of(items, owners, authorizer.hash_key, state.next_seq - 1, 20260601)
    records = settle_rows(state, authorizer.terms, rows, now_ns, do_post=not is_dry)
    return [Result(int(result)).name for result in rows["result"]], records
