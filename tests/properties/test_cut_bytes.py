"""Bytes of links, damaged frames among them, cut anywhere: same records, answers and state.

A cut falls inside a length, a bitmap or a field as readily as between two frames; what is cut short
waits for the rest. The shipped rules and the shipped model are on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.decision import Decision
from engine.items import LINK, Role, Setting
from engine.wire.table import SEGMENT
from ledger.authorizations import Cursor
from tests.support.draws import SECONDS_S, Traffic, stream
from tests.support.effort import examples
from tests.support.small_engine import START_NS, SmallEngine
from tests.support.streams import Message, encode

pytestmark = pytest.mark.kernels

_TRAFFIC = Traffic(cards=4, accounts=2, stans=12, events=False, gaps_s=SECONDS_S)
_KEEPALIVE = b"\0\0"
_HEADER_BYTES = 2
_seeds = st.integers(0, 2**32 - 1)
_cuts = st.lists(st.integers(0, 400), max_size=40)


@dataclass
class _Links:
    """Links with their bytes not yet worked; what they were answered, and the records."""

    engine: SmallEngine
    count: int = 1
    states: NDArray[np.void] = field(init=False)
    waiting: list[bytes] = field(init=False)
    answers: list[bytes] = field(init=False)
    records: list[bytes] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.states = np.zeros(self.count, LINK)
        self.states["sign_on_required"][1:] = 1
        self.waiting = [b""] * self.count
        self.answers = [b""] * self.count

    def feed(self, parts: Sequence[tuple[int, bytes]], ts_ns: int) -> None:
        """Work ``parts`` (link, bytes), each link at most once, until no whole frame is left."""
        numbers = [number for number, _ in parts]
        for number, data in parts:
            self.waiting[number] += data
        self.states["arrival_ns"][numbers] = ts_ns
        while self._batch(numbers):
            pass

    def _batch(self, numbers: list[int]) -> int:
        authorizer = self.engine.authorizer
        segments, at = np.zeros(len(numbers), SEGMENT), 0
        for segment, number in zip(segments, numbers, strict=True):
            data = self.waiting[number]
            authorizer.work.arena[at : at + len(data)] = np.frombuffer(data, np.uint8)
            segment["start"], segment["end"] = at, at + len(data)
            at += len(data)
        states = self.states[numbers].copy()
        outcome = authorizer.run(segments, len(numbers), states, lambda _: None)
        self.states[numbers] = states
        for segment, number in zip(segments, numbers, strict=True):
            self.waiting[number] = self.waiting[number][int(segment["consumed"]) :]
        self._keep(numbers, outcome.reply_count, outcome.request_count)
        self.records.append(outcome.records.tobytes())
        self.engine.state.maintain()
        return outcome.request_count

    def _keep(self, numbers: list[int], reply_count: int, request_count: int) -> None:
        work, start = self.engine.authorizer.work, 0
        for reply, end in zip(work.replies[:reply_count], work.out_end[:reply_count], strict=True):
            number = numbers[int(work.request[reply["request"]]["segment"])]
            self.answers[number] += work.out[start:end].tobytes()
            start = int(end)
        for item in work.items[:request_count]:
            is_silent = item["role"] == Role.SILENT
            self.decisions.append("" if is_silent else Decision(int(item["decision"])).name)


def _same(one: _Links, other: _Links) -> None:
    assert b"".join(one.records) == b"".join(other.records)
    assert one.answers == other.answers
    assert one.waiting == other.waiting
    assert one.decisions == other.decisions
    assert one.states.tobytes() == other.states.tobytes()
    mine, theirs = one.engine.state.arrays(), other.engine.state.arrays()
    for name, array in mine.items():
        assert array.tobytes() == theirs[name].tobytes(), name


def _damaged(random: Random, frame: bytes) -> bytes:
    """Return the frame, in half the cases hurt behind its length, which always stays true."""
    body = bytearray(frame[_HEADER_BYTES:])
    odd = random.randint(0, 11)
    if odd == 0:  # one bit, anywhere: MTI, bitmap, a length, a value
        body[random.randrange(len(body))] ^= 1 << random.randrange(8)
    elif odd == 1:
        body[random.randrange(4, 12)] ^= 1 << random.randrange(8)
    elif odd == 2:
        body = body[: random.randint(12, len(body))]
    elif odd == 3:
        body += random.randbytes(random.randint(1, 9))
    elif odd == 4:
        body = bytearray(random.randbytes(random.randint(12, 60)))
    elif odd == 5:
        return _KEEPALIVE + frame
    return len(body).to_bytes(_HEADER_BYTES, "big") + bytes(body)


def _frames(seed: int, length: int) -> list[tuple[Message, bytes]]:
    random = Random(seed)
    return [(m, _damaged(random, encode(m.request))) for m in stream(random, _TRAFFIC, length)]


@settings(max_examples=examples(60))
@given(_seeds, st.integers(1, 50), _cuts)
@example(4, 30, [1] * 400)  # byte by byte
def test_the_bytes_of_a_link_may_be_cut_anywhere(seed: int, length: int, cuts: list[int]) -> None:
    """Behaviour 1 through the whole core: damaged and good frames, in pieces of any size."""
    data = b"".join(frame for _, frame in _frames(seed, length))
    whole, cut = _Links(SmallEngine(2, 2)), _Links(SmallEngine(2, 2))
    whole.feed([(0, data)], START_NS)
    at = 0
    for size in cuts:
        cut.feed([(0, data[at : at + size])], START_NS)
        at += size
    cut.feed([(0, data[at:])], START_NS)

    assert whole.waiting == [b""]
    _same(whole, cut)


@settings(max_examples=examples(60))
@given(_seeds, st.integers(1, 60))
def test_damaged_frames_of_several_links_may_share_a_batch(seed: int, length: int) -> None:
    """Alone or beside the frames of other links, at the same time or later: the same bytes."""
    frames = _frames(seed, length)
    random = Random(seed)
    parts = [(random.randint(0, 2), m.ts_ns, frame) for m, frame in frames]
    single, together = _Links(SmallEngine(2, 2), 3), _Links(SmallEngine(2, 2), 3)
    for number, ts_ns, frame in parts:
        single.feed([(number, frame)], ts_ns)
    batch: list[tuple[int, bytes]] = []
    batch_ns = 0
    for number, ts_ns, frame in [*parts, (0, -1, b"")]:
        is_another = ts_ns != batch_ns or any(n == number for n, _ in batch[:-1])
        if batch and (is_another or random.random() < 0.1):
            together.feed(batch, batch_ns)
            batch = []
        if batch and batch[-1][0] == number:
            batch[-1] = (number, batch[-1][1] + frame)
        else:
            batch.append((number, frame))
        batch_ns = ts_ns

    single.states["arrival_ns"] = together.states["arrival_ns"] = 0
    _same(single, together)


@settings(max_examples=examples(40))
@given(_seeds, st.integers(1, 50), _cuts)
def test_time_from_messages_does_not_depend_on_the_cut(
    seed: int, length: int, cuts: list[int]
) -> None:
    """With the clock of DE7, where a damaged or an odd one is passed over, too."""
    random = Random(seed)
    frames, minute = [], 0
    for message in stream(random, _TRAFFIC, length):
        minute += random.choice([0, 0, 1, 9])
        late = random.choice([0, 0, 0, -5])  # sent earlier than one that came before
        clock = 9 * 60 + max(minute + late, 0)
        transmitted = 529_000_000 + clock // 60 * 10_000 + clock % 60 * 100
        request = {**message.request, "transmitted": transmitted}
        frames.append(_damaged(random, encode(request)))
    data = b"".join(frames)
    whole, cut = _Links(SmallEngine(2, 2)), _Links(SmallEngine(2, 2))
    for links in (whole, cut):
        links.engine.authorizer.settings[Setting.CLOCK_FROM_MESSAGES] = 1
        links.engine.state.cursor[Cursor.LAST_TS_NS] = START_NS
    whole.feed([(0, data)], START_NS)
    at = 0
    for size in cuts:
        cut.feed([(0, data[at : at + size])], START_NS)
        at += size
    cut.feed([(0, data[at:])], START_NS)

    _same(whole, cut)
