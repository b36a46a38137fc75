"""Plays what ``draws`` drew: messages in batches, operators' events where they stand."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.events import event_record
from ledger.record import Kind
from tests.support.draws import Event
from tests.support.small_engine import START_NS
from tests.support.streams import Message, Player


def play_steps(player: Player, steps: list[Any], cuts: Iterable[int]) -> None:
    """Play messages in batches of at most ``cuts``, one after the other, the rest in large ones.

    An event ends the batch before it; it comes at the time of the message before.
    """
    sizes = iter(cuts)
    waiting: list[Message] = []
    ts_ns = START_NS
    for step in [*steps, None]:
        if isinstance(step, Message):
            waiting.append(step)
            ts_ns = step.ts_ns
            continue
        while waiting:
            size = next(sizes, len(waiting))
            player.play(waiting[:size])
            waiting = waiting[size:]
        if step is not None:
            player.apply(record_of(step, ts_ns))


def record_of(event: Event, ts_ns: int) -> NDArray[np.void]:
    """Return the event as its record, RECORD (1,)."""
    if event.kind == "limit":
        fields = {"account": event.number, "amount_minor": event.value}
        return event_record(Kind.LIMIT, ts_ns, **fields)
    if event.kind == "account":
        return event_record(Kind.ACCOUNT_STATUS, ts_ns, account=event.number, status=event.value)
    return event_record(Kind.CARD_STATUS, ts_ns, card=event.number, status=event.value)
