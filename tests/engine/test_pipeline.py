"""Batches, deadlines and queues of the shell, with a clock and a journal that the test turns."""

import asyncio
import time
from collections.abc import Iterator

import iso8583
import pytest
from iso8583.specs import default

from engine.limits import LINK_PENDING_BYTES_MAX
from engine.metrics import BuildInfo, Counter, Metrics, Shed, Unanswered
from engine.pipeline import Pipeline, event_job
from engine.rule_events import apply_rule_events, rules_event
from engine.rules.book import Source
from engine.rules.program import no_rules
from engine.scoring_config import Scoring
from engine.session import Link, Profile
from ledger.commit import CommitJob
from ledger.record import Flag, Kind
from tests.support.peer import Peer
from tests.support.small_engine import MODEL, START_NS, SmallEngine, frame

_MS = 1_000_000
_ROWS = 16
_QUEUE_BYTES_MAX = 2 * LINK_PENDING_BYTES_MAX


class _Journal:
    """A committer whose jobs become durable when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[CommitJob] = []

    def submit(self, job: CommitJob) -> None:
        """Keep a job."""
        self.jobs.append(job)


class _Shell:
    """A pipeline over a small engine; nothing moves but in ``turn`` and ``sync``."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self.loop = asyncio.new_event_loop()
        self.metrics = Metrics(BuildInfo("", ""))
        self.engine = SmallEngine(limit_minor=10**9, plain=True, rows=_ROWS)
        self.pipeline = Pipeline(
            self.engine.authorizer,
            self.metrics,
            self.loop,
            lambda: self.now_ns,
            _QUEUE_BYTES_MAX,
        )
        self.journal = _Journal()
        self.pipeline.committer = self.journal  # type: ignore[assignment]
        self._links = 0

    def link(self, **profile: int | bool) -> tuple[Link, Peer]:
        """Return a new link and its peer."""
        self._links += 1
        peer = Peer()
        return Link(self._links, peer, 0, Profile(**profile)), peer

    def turn(self, after_ms: int = 0) -> None:
        """Let the loop do what is due after ``after_ms`` more of the clock."""
        self.now_ns += after_ms * _MS
        for _ in range(3):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def sync(self) -> None:
        """Make everything handed in durable, then turn."""
        jobs, self.journal.jobs = self.journal.jobs, []
        self.pipeline.on_durable(jobs)
        self.turn()

    @property
    def held_minor(self) -> int:
        """What is held on account 1."""
        return int(self.engine.state.accounts[1]["hold_minor"])


@pytest.fixture
def shell() -> Iterator[_Shell]:
    """Make a pipeline of one test."""
    made = _Shell()
    yield made
    made.loop.close()


def _answers(peer: Peer) -> list[tuple[str, str]]:
    """Return (STAN, DE39) of each answer, and forget them."""
    data, peer.sent, found = peer.sent, b"", []
    while data:
        size = int.from_bytes(data[:2], "big")
        fields, _ = iso8583.decode(data[2 : 2 + size], default)
        found.append((fields["11"], fields["39"]))
        data = data[2 + size :]
    return found


def test_behaviour_54_past_the_deadline_before_the_commit_nothing_is_posted(shell: _Shell) -> None:
    """A request that waited behind a slow sync gets 91; what was in that sync is answered 00."""
    link, peer = shell.link(deadline_ms=1000)
    shell.pipeline.feed(link, frame("0100", 1, 1))
    shell.turn()
    shell.pipeline.feed(link, frame("0100", 1, 2))
    shell.turn(after_ms=1001)
    assert (peer.sent, shell.held_minor) == (b"", 1_000)
    shell.sync()
    shell.sync()
    assert _answers(peer) == [("000001", "00"), ("000002", "91")]
    assert shell.held_minor == 1_000
    assert shell.metrics.shed[Shed.DEADLINE] == 1


def test_behaviour_53_the_deadline_counts_from_the_arrival(shell: _Shell) -> None:
    """Of two requests behind the same slow sync the one that came in time is posted."""
    link, peer = shell.link(deadline_ms=1000)
    shell.pipeline.feed(link, frame("0100", 1, 1))
    shell.turn()
    shell.pipeline.feed(link, frame("0100", 1, 2))
    shell.turn(after_ms=900)
    shell.pipeline.feed(link, frame("0100", 1, 3))
    shell.turn(after_ms=900)
    for _ in range(3):
        shell.sync()
    assert _answers(peer) == [("000001", "00"), ("000002", "91"), ("000003", "00")]
    assert shell.held_minor == 2_000


def test_behaviour_53_a_request_with_time_left_is_posted(shell: _Shell) -> None:
    """At the deadline itself it is still in time, and without a deadline always."""
    for profile in ({"deadline_ms": 1000}, {"deadline_ms": 0}):
        link, peer = shell.link(**profile)
        shell.pipeline.feed(link, frame("0100", 1, link.number * 10))
        shell.turn()
        shell.pipeline.feed(link, frame("0100", 1, link.number * 10 + 1))
        shell.turn(after_ms=1000)
        shell.sync()
        shell.sync()
        assert [code for _, code in _answers(peer)] == ["00", "00"]


def test_behaviour_54_silence_where_the_listener_says_so(shell: _Shell) -> None:
    """With late = silence the late request gets no answer; a repeat of it is decided as new."""
    link, peer = shell.link(deadline_ms=1000, late_is_silent=True)
    shell.pipeline.feed(link, frame("0100", 1, 1))
    shell.turn()
    shell.pipeline.feed(link, frame("0100", 1, 2))
    shell.turn(after_ms=2000)
    shell.sync()
    shell.sync()
    assert _answers(peer) == [("000001", "00")]
    assert shell.metrics.unanswered[Unanswered.LATE] == 1
    shell.pipeline.feed(link, frame("0101", 1, 2))
    shell.turn()
    shell.sync()
    assert _answers(peer) == [("000002", "00")]
    assert shell.held_minor == 2_000


def test_behaviour_54_a_repeat_of_what_was_committed_is_answered_however_late(
    shell: _Shell,
) -> None:
    """The first answer goes out again: after the commit there is nothing to give up."""
    link, peer = shell.link(deadline_ms=1000)
    shell.pipeline.feed(link, frame("0100", 1, 1))
    shell.turn()
    shell.pipeline.feed(link, frame("0101", 1, 1))
    shell.turn(after_ms=5000)
    shell.sync()
    shell.sync()
    assert _answers(peer) == [("000001", "00"), ("000001", "00")]
    assert shell.held_minor == 1_000


def test_behaviour_56_overload_is_refused_fast_and_reversals_are_worked(shell: _Shell) -> None:
    """Of a queue that is too old, payments get 91 unposted, reversals are done, in order."""
    link, peer = shell.link(deadline_ms=10_000, overload_ms=100)
    shell.pipeline.feed(link, frame("0100", 1, 1))
    shell.turn()
    queued = [frame("0100", 1, stan) for stan in (2, 3, 4)]
    queued += [frame("0420", 1, 1), frame("0100", 1, 5)]
    shell.pipeline.feed(link, b"".join(queued))
    shell.turn(after_ms=101)
    shell.sync()
    shell.sync()
    codes = ["00", "91", "91", "91", "00", "91"]
    assert [code for _, code in _answers(peer)] == codes
    assert (shell.held_minor, shell.metrics.shed[Shed.OVERLOAD]) == (0, 4)


def test_behaviour_06_answers_keep_the_order_of_their_requests(shell: _Shell) -> None:
    """Approved, repeated, refused, malformed: on one link answers leave as the requests came."""
    link, peer = shell.link()
    bad = bytearray(frame("0100", 1, 4))
    bad[bad.index(b"000000001000")] = ord("x")
    parts = [
        frame("0100", 1, 1), frame("0600", 1, 2), frame("0101", 1, 1), frame("0100", 60, 3),
        bytes(bad), frame("0420", 1, 1), frame("0100", 1, 6),
    ]  # fmt: skip
    for part in parts * 10:
        shell.pipeline.feed(link, part)
        shell.turn()
    while shell.journal.jobs:
        shell.sync()
    stans = [stan for stan, _ in _answers(peer)]
    assert stans == ["000001", "000002", "000001", "000003", "000004", "000001", "000006"] * 10


def test_behaviour_06_a_busy_link_does_not_starve_another(shell: _Shell) -> None:
    """A link with batches waiting and one with a single request: both are in the second batch."""
    busy, _ = shell.link()
    quiet, peer = shell.link()
    shell.pipeline.feed(busy, b"".join(frame("0100", 1, stan) for stan in range(1, 6 * _ROWS)))
    shell.pipeline.feed(quiet, frame("0100", 3, 999))
    shell.turn()
    shell.sync()
    shell.sync()
    assert _answers(peer) == [("000999", "00")]


def test_behaviour_56_past_the_bound_of_the_queue_no_link_is_read(shell: _Shell) -> None:
    """Reading stops when all links together have as much waiting as may, and goes on later."""
    links = [shell.link() for _ in range(3)]
    first, _ = links[0]
    shell.pipeline.feed(first, frame("0100", 1, 1))
    shell.turn()  # a sync is under way: what comes now waits
    part = frame("0100", 1, 2) * (LINK_PENDING_BYTES_MAX // len(frame("0100", 1, 2)))
    for link, _ in links:
        shell.pipeline.feed(link, part)
    assert [peer.is_reading for _, peer in links] == [True, True, False]
    assert shell.metrics.shed[Shed.QUEUE] == 1
    assert _QUEUE_BYTES_MAX < shell.pipeline.waiting_bytes < 2 * _QUEUE_BYTES_MAX
    for link, _ in links:
        link.take(LINK_PENDING_BYTES_MAX)  # worked, but for the last message of each
    shell.pipeline._ready_bytes = 0
    shell.pipeline._release()
    assert all(peer.is_reading for _, peer in links)


def test_payments_do_not_wait_for_the_record_of_an_event(shell: _Shell) -> None:
    """While a rule set's record is being synced a batch begins; its answers come after it."""
    link, peer = shell.link()
    event = rules_event(no_rules(), Source.OPERATOR, "ada", "test", START_NS)
    durable: list[int] = []

    def put() -> CommitJob:
        records, blobs = apply_rule_events([event], shell.engine.state)
        return event_job(records, START_NS, blobs, lambda: durable.append(len(peer.sent)))

    shell.pipeline.submit(put)
    shell.turn()
    shell.pipeline.feed(link, frame("0100", 1, 1))
    shell.turn()
    kinds = [Kind(int(job.records["kind"][0])) for job in shell.journal.jobs]
    assert kinds == [Kind.RULES, Kind.AUTHORIZE]
    shell.pipeline.feed(link, frame("0100", 1, 2))
    shell.turn()
    assert len(shell.journal.jobs) == 2, "a batch is being synced: the next one gathers"
    shell.sync()
    assert durable == [0], "answers leave after what was handed in before them"
    shell.sync()
    assert _answers(peer) == [("000001", "00"), ("000002", "00")]


def test_a_slow_scorer_is_told_by_its_stage(shell: _Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches whose scoring takes over a millisecond, and the fourth is the stand-in's."""
    scorer, pipeline, told = shell.engine.authorizer.scorer, shell.pipeline, list[str]()
    scorer.model = MODEL
    pipeline.watch.choose(Scoring(slow_ms=1))
    pipeline.watch.told = lambda event, _: told.append(event)
    link, _ = shell.link()

    def busy(*_: object) -> None:
        until = time.perf_counter() + 0.002
        while time.perf_counter() < until:
            pass

    monkeypatch.setattr(scorer, "_score", busy)
    for stan in range(1, 5):
        pipeline.feed(link, frame("0100", 1, stan))
        shell.turn()
        records = shell.journal.jobs[-1].records
        shell.sync()
        assert bool(records["flags"][-1] & Flag.STAND_IN) == (stan == 4)
    assert told == ["scorer.slow"]
    assert shell.metrics.counters[Counter.STAND_IN] == 1
