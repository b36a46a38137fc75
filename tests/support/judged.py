"""One payment, and what is asked about it: of the tests of message semantics."""

from typing import Any

from tests.support.small_engine import START_NS, pan
from tests.support.streams import Message, Player, Result, at

LIMIT = 10_000
PAYMENT = Message(
    START_NS,
    0,
    {
        "mti": 100, "pan": pan(1), "pcode": 0, "amount": 4_000, "transmitted": 601120000, "stan": 1,
        "acquirer": 42, "terminal": "TERM0001", "currency": 840, "rrn": "000000000001",
        "mcc": 5411,
    },
)  # fmt: skip
DAY_NS = 86_400 * 10**9
FULL = 1 << 20  # more than any limit here


def ask(player: Player, *messages: Message) -> list[Result]:
    """Play messages one by one; return what was said to each."""
    before = len(player.played.results)
    player.play(list(messages), [1] * len(messages))
    return player.played.results[before:]


def book_of(player: Player) -> tuple[int, int, int, int]:
    """Return open to buy, hold, used and over of the account."""
    row = player.engine.state.accounts[1]
    return tuple(int(row[f"{name}_minor"]) for name in ("otb", "hold", "used", "over"))  # type: ignore[return-value]


def last_record(player: Player) -> Any:
    """Return the newest record."""
    return player.played.all_records()[-1]


def reversal(of: Message = PAYMENT, **changes: Any) -> Message:
    """Return the 0420 of a payment; ``changes`` as of ``at``."""
    original = {name: of.request[name] for name in ("mti", "stan", "transmitted", "acquirer")}
    original["forwarder"] = 0
    return at(
        of, **{"mti": 420, "pan": None, "pcode": None, "original": original, "stan": 900, **changes}
    )


def decisions_of(results: list[Result]) -> list[str]:
    """Return the names of the decisions."""
    return [result.decision for result in results]
