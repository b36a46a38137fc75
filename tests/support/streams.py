"""Streams of decoded messages: drawn, encoded, cut into batches, played, and their answers read."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import iso8583
import numpy as np
from iso8583.specs import default
from numpy.typing import NDArray

from engine.decision import Decision
from engine.events import apply_events
from engine.items import LINK
from engine.wire.table import SEGMENT
from engine.wire.text import add_header, build_message
from ledger.journal import Blob
from tests.support.small_engine import DIALECT, START_NS, SmallEngine

_PLACES = {
    "pan": (2, "{}"), "pcode": (3, "{:06d}"), "amount": (4, "{:012d}"),
    "billing_amount": (6, "{:012d}"), "transmitted": (7, "{:010d}"), "stan": (11, "{:06d}"),
    "expiry": (14, "{:04d}"), "mcc": (18, "{:04d}"), "country": (19, "{:03d}"),
    "entry_mode": (22, "{:03d}"), "acquirer": (32, "{}"), "forwarder": (33, "{}"),
    "rrn": (37, "{}"), "terminal": (41, "{}"), "merchant": (42, "{}"), "currency": (49, "{:03d}"),
    "billing_currency": (51, "{:03d}"), "network_code": (70, "{:03d}"), "condition": (25, "{:02d}"),
    "told": (39, "{}"), "local_date": (13, "{:04d}"), "lifecycle": (62, "{:015d}"),
}  # fmt: skip


@dataclass(frozen=True)
class Message:
    """One message of a link; links are numbered, ``required`` = the link must sign on first.

    ``waited_ns`` is from its arrival to the start of its batch.
    """

    ts_ns: int
    link: int
    request: dict[str, Any]
    waited_ns: int = 0


@dataclass
class Result:
    """What the engine said to one message; ``decision`` "" = silence."""

    decision: str
    fields: dict[str, str] = field(default_factory=dict)  # of the answer, "t" its MTI


@dataclass
class Played:
    """What a stream led to."""

    records: list[NDArray[np.void]] = field(default_factory=list)
    originals: list[tuple[int, bytes]] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)  # rows among all records
    answers: list[list[bytes]] = field(default_factory=list)  # by link
    results: list[Result] = field(default_factory=list)

    def all_records(self) -> NDArray[np.void]:
        """Return the records of all batches."""
        return np.concatenate(self.records)


def encode(request: dict[str, Any]) -> bytes:
    """Return the frame of a decoded request."""
    values: dict[int, str | bytes] = {
        place: shape.format(request[name])
        for name, (place, shape) in _PLACES.items()
        if name in request
    }
    if "original" in request:
        values[90] = (
            "{mti:04d}{stan:06d}{transmitted:010d}{acquirer:011d}{forwarder:011d}"
        ).format(**request["original"])
    if "replacement" in request:
        values[95] = f"{request['replacement']:012d}" + "0" * 12 + "D00000000" * 2
    return add_header(DIALECT, build_message(DIALECT, f"{request['mti']:04d}", values))


class Player:
    """Plays messages of several links to an engine; keeps the sessions between batches."""

    def __init__(
        self,
        engine: SmallEngine,
        required: Sequence[bool] = (False, False),
        *,
        reads_fields: bool = True,
    ) -> None:
        self.engine = engine
        self.reads_fields = reads_fields
        self.links = np.zeros(len(required), LINK)
        self.links["sign_on_required"] = required
        self.played = Played(answers=[[] for _ in required])
        self.rows = 0

    def apply(self, events: NDArray[np.void]) -> None:
        """Apply operators' events between two batches; they are records like all others."""
        state = self.engine.state
        events = events.copy()
        assert apply_events(events, state.accounts, state.cards, state.cursor) == len(events)
        self._keep(events)

    def play(self, messages: Sequence[Message], cuts: Sequence[int] = ()) -> Played:
        """Run ``messages`` in batches of at most ``cuts``, the rest in large ones."""
        sizes = list(cuts)
        at = 0
        while at < len(messages):
            most = sizes.pop(0) if sizes else len(messages)
            size = self._fits(messages[at : at + most])
            self._batch(messages[at : at + size])
            at += size
        return self.played

    def expire(self, now_ns: int) -> None:
        """Let the timer release what is due."""
        self._keep(self.engine.authorizer.expire(now_ns))

    def _fits(self, messages: Sequence[Message]) -> int:
        """Return how many may share a batch: a link sends one segment of one time each."""
        work = self.engine.authorizer.work
        seen: list[tuple[int, int, int]] = []
        for i, message in enumerate(messages[: work.rows]):
            key = (message.link, message.ts_ns, message.waited_ns)
            if not seen or seen[-1] != key:
                if any(link == message.link for link, *_ in seen):
                    return i
                seen.append(key)
        return min(len(messages), work.rows)

    def _batch(self, messages: Sequence[Message]) -> None:
        authorizer = self.engine.authorizer
        segments, numbers, at = np.zeros(len(messages), SEGMENT), [], 0
        for message in messages:
            data = encode(message.request)
            authorizer.work.arena[at : at + len(data)] = np.frombuffer(data, np.uint8)
            if not numbers or numbers[-1] != message.link:
                numbers.append(message.link)
                segments[len(numbers) - 1]["start"] = at
                self.links[message.link]["arrival_ns"] = message.ts_ns
                self.links[message.link]["waited_ns"] = message.waited_ns
            at += len(data)
            segments[len(numbers) - 1]["end"] = at
        links = self.links[numbers].copy()
        outcome = authorizer.run(
            segments[: len(numbers)].copy(), len(numbers), links, lambda _: None
        )
        assert outcome.request_count == len(messages)
        self.links[numbers] = links
        self._read(messages, outcome.reply_count)
        self.played.originals += [(self.rows + row, name) for row, name in outcome.originals]
        self.played.blobs += [b._replace(row=self.rows + b.row) for b in outcome.blobs]
        self._keep(outcome.records)
        self.engine.state.maintain()

    def _read(self, messages: Sequence[Message], reply_count: int) -> None:
        work = self.engine.authorizer.work
        results = [Result("") for _ in messages]
        start = 0
        for reply, end in zip(work.replies[:reply_count], work.out_end[:reply_count], strict=True):
            row, data = int(reply["request"]), bytes(work.out[start:end])
            start = int(end)
            assert int.from_bytes(data[:2], "big") == len(data) - 2
            fields: dict[str, str] = {}
            if self.reads_fields:
                read, _ = iso8583.decode(data[2:], default)
                fields = {n: v for n, v in read.items() if n.isdigit() and n not in ("1", "p")}
            fields["t"] = data[2:6].decode()
            decision = Decision(int(work.items[row]["decision"])).name
            results[row] = Result(decision, fields)
            self.played.answers[messages[row].link].append(data)
        self.played.results += results

    def _keep(self, records: NDArray[np.void]) -> None:
        self.played.records.append(records)
        self.rows += len(records)


def at(message: Message, **changes: Any) -> Message:
    """Return the message with values of its request changed; None removes one."""
    request = {**message.request, **changes}
    return replace(message, request={k: v for k, v in request.items() if v is not None})


def in_its_own_time(message: Message) -> Message:
    """Return the message as it comes where its DE7 is the clock: all of them arrive at once.

    The original that a reversal names keeps its DE7.
    """
    moment = datetime.fromtimestamp(message.ts_ns // 10**9, UTC)
    request = {**message.request, "transmitted": int(moment.strftime("%m%d%H%M%S"))}
    return Message(START_NS, message.link, request)
