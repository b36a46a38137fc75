"""Clearings of one payment, and what becomes of it: of the tests of clearing."""

from typing import Any

from engine.filing import Clearing, Repayment
from engine.replay import Replayer
from ledger.lifecycle import Position
from tests.support.filings import settle_items
from tests.support.judged import LIMIT
from tests.support.small_engine import HASH_KEY, START_NS, TABLES, SmallEngine
from tests.support.streams import Player


def file_items(player: Player, *items: dict[str, Any], after_s: int = 0) -> list[str]:
    """Post items of account 1, as the desk does; return the results."""
    made: list[Clearing | Repayment] = []
    for item in items:
        about = {"account": "A1", "currency": "840", **item}
        made.append(Repayment(**about) if item.get("type") == "repayment" else Clearing(**about))
    owners = [(1, 0)] * len(made)
    results, records = settle_items(player.engine, made, owners, START_NS + after_s * 10**9)
    player.played.records.append(records)
    player.rows += len(records)
    return results


def clear(player: Player, amount: int, name: str = "C", after_s: int = 0, **more: Any) -> str:
    """Present ``amount`` of the first authorization; return the result."""
    first = int(player.played.all_records()[0]["seq"])
    item = {"id": name, "amount_minor": amount, "authorization": first, **more}
    return file_items(player, item, after_s=after_s)[0]


def take_back(
    player: Player,
    amount: int,
    name: str = "R",
    of: str = "C",
    after_s: int = 0,
    kind: str = "reversal",
) -> str:
    """Take back, or refund, ``amount`` of the clearing ``of``; return the result."""
    item = {"id": name, "type": kind, "amount_minor": amount, "original_id": of}
    return file_items(player, item, after_s=after_s)[0]


def first_of(player: Player) -> Any:
    """Return the ring's row of the first authorization."""
    return player.engine.state.ring[1]


def facts_of(player: Player) -> tuple[int, int, int]:
    """Return state, held and cleared of the first authorization."""
    row = first_of(player)
    return int(row["state"]), int(row["held_minor"]), int(row["cleared_minor"])


def check_folds(player: Player) -> None:
    """Records fold into the state, a snapshot goes back, the books agree."""
    records = player.played.all_records()
    mine = player.engine.state.arrays()
    bounds = {"plain": True, "ring": len(player.engine.state.ring)}
    replayed = SmallEngine(1, 2, LIMIT, **bounds)
    replayer = Replayer(replayed.state, TABLES, HASH_KEY, chunk=3)
    replayer.apply(records, player.played.originals, player.played.blobs)
    restored = SmallEngine(1, 2, LIMIT, **bounds)
    restored.state.restore({name: array.copy() for name, array in mine.items()})
    for again in (replayed, restored):
        for name, array in again.state.arrays().items():
            assert array.tobytes() == mine[name].tobytes(), name
    position = Position()
    for record in [player.engine.events[0], *records]:
        position.post(record)
    account = player.engine.state.accounts[1]
    for name in ("limit", "prepaid", "otb", "hold", "used", "over"):
        assert getattr(position, f"{name}_minor") == int(account[f"{name}_minor"])
    assert position.purchases_minor + position.cash_minor == position.used_minor
    assert int(first_of(player)["held_minor"]) <= int(first_of(player)["granted_minor"])
