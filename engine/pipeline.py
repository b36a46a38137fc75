"""SHELL: gathers what all links have sent, authorizes it as one batch, commits, then answers.

Batches clock themselves: while one batch syncs, the next gathers, and a second one is begun before
the sync ends only when a good batch full waits already. Nothing waits for a timer. An answer leaves
when the journal has acknowledged its batch, never before; after a failed commit nothing leaves.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.authorize import Authorizer, Outcome
from engine.decision import Decision
from engine.explaining import Explaining
from engine.items import LINK, Role, Setting
from engine.limits import BATCHES_IN_FLIGHT_MAX, LENGTH_HEADER_BYTES, QUEUE_BYTES_MAX
from engine.metrics import (
    NO_DECISION,
    STAGE_OF,
    Counter,
    Duplicate,
    FrameError,
    Gauge,
    Metrics,
    Queue,
    Shed,
    Stage,
    Unanswered,
    Upstream,
)
from engine.reason_store import Captured
from engine.replies import decisions_of, segment_ends
from engine.scorer_watch import ScorerWatch
from engine.session import Link
from engine.wire.table import SEGMENT, FrameFault, keepalive_of
from ledger.authorizations import Cursor
from ledger.commit import CommitJob, Committer
from ledger.journal import Blob, BlobKind
from ledger.record import Flag

EAGER_BYTES = 96 * 1024  # this much waiting starts a second batch beside the one being synced
SEGMENTS_MAX = 1024  # links of one batch; the others are first in the next
_PEER_ENDED = "the peer sends no more"
_FRAME_ERRORS = {
    FrameFault.TOO_LONG: FrameError.TOO_LONG,
    FrameFault.TOO_SHORT: FrameError.TOO_SHORT,
    FrameFault.NOT_DIGITS: FrameError.NOT_DIGITS,
    FrameFault.ENVELOPE: FrameError.BAD_HEADER,
    FrameFault.TRAILER: FrameError.BAD_HEADER,
}
_REPEAT = int(Role.REPEAT)  # an enum would cost the call 3 us
_STAND_IN = [Setting.STAND_IN_AFTER_MS, Setting.SCORER_LOST, Setting.SCORER_OFF]
Event = Callable[[], CommitJob | None]  # changes the state, returns what must be durable first


class _Answers(NamedTuple):
    """What leaves when a batch is durable."""

    answers: list[tuple[Link, bytes]]
    closing: list[tuple[Link, str]]
    arrived_ns: NDArray[np.int64]  # of each answered request, monotonic
    started_ns: int
    done: Callable[[], None] | None
    captured: Captured | None = None  # payments whose exact reasons are made afterwards
    is_event: bool = False


class Pipeline:
    """One owner of the authorizer, on the event loop's thread."""

    def __init__(
        self,
        authorizer: Authorizer,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        clock_ns: Callable[[], int] = time.time_ns,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        self.authorizer = authorizer
        self.metrics = metrics
        self.committer: Committer | None = None
        self.on_trips: Callable[[list[str]], None] | None = None
        self.explaining: Explaining | None = None
        self.watch = ScorerWatch(authorizer.scorer, authorizer.settings, metrics)
        self._loop = loop
        self._clock_ns = clock_ns
        self._ready: deque[Link] = deque()
        self._ready_bytes = 0
        self.queue_bytes_max = queue_bytes_max
        self._held: list[Link] = []  # not read because the queue of all links is full
        self._events: deque[Event] = deque()
        self._in_flight = 0
        self._events_in_flight = 0
        self._is_scheduled = False
        self._is_stopped = False
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()
        self._segments = np.zeros(SEGMENTS_MAX, SEGMENT)
        self._links = np.zeros(SEGMENTS_MAX, LINK)
        self._ends = np.zeros(SEGMENTS_MAX, np.int64)
        self._decisions = np.zeros(authorizer.work.rows, np.uint16)
        self._arena = authorizer.work.arena.data
        self._out = authorizer.work.out.data
        metrics.note_merchants(int(authorizer.state.cursor[Cursor.MERCHANTS]))
        metrics.gauges[Gauge.LAST_SEQUENCE] = authorizer.state.next_seq - 1
        self._stage_ns = np.zeros(len(Stage), np.int64)
        self._lap_ns = 0

    def feed(self, link: Link, data: bytes) -> None:
        """Take bytes of a link; they are worked in this turn of the loop or when there is room."""
        link.put(data, self._clock_ns())
        self.metrics.counters[Counter.BYTES_IN] += len(data)
        self._ready_bytes += len(data)
        if not link.is_ready:
            link.is_ready = True
            self._ready.append(link)
        self._hold(link)
        self._schedule()

    def end(self, link: Link) -> None:
        """Note that the peer sends no more; the link is closed once it has its answers."""
        link.has_ended = True
        self._close_if_done(link)

    def submit(self, event: Event) -> None:
        """Do ``event`` between two batches, in order with card traffic; loop thread only."""
        self._events.append(event)
        self._schedule()

    def now_ns(self) -> int:
        """Return engine time: the system's clock, or the last message's where that is the clock."""
        last = int(self.authorizer.state.cursor[Cursor.LAST_TS_NS])
        if self.authorizer.settings[Setting.CLOCK_FROM_MESSAGES]:
            return last
        return max(self._clock_ns(), last)

    def holds_are_due(self) -> bool:
        """Whether the expiry sweep has something to do now."""
        return self.authorizer.holds_are_due(self.now_ns())

    @property
    def waiting_bytes(self) -> int:
        """Received bytes of all links that wait for a batch."""
        return self._ready_bytes

    @property
    def in_flight(self) -> int:
        """Batches and events handed to the committer and not durable yet."""
        return self._in_flight

    def stop(self) -> None:
        """Take nothing any more: the journal has failed, or the process ends."""
        self._is_stopped = True
        self._ready.clear()
        self._events.clear()
        self._idle.set()

    def close(self) -> None:
        """Stop the thread that makes exact reasons, if there is one; batches are over."""
        if self.explaining is not None:
            self.explaining.close()

    async def wait_idle(self) -> None:
        """Wait until nothing is gathered and everything handed in is durable and answered."""
        await self._idle.wait()

    def on_durable(self, jobs: list[CommitJob]) -> None:
        """Called by the commit thread; the answers leave on the loop's thread."""
        self._loop.call_soon_threadsafe(self._durable, jobs)

    def _schedule(self) -> None:
        self._idle.clear()
        if not self._is_scheduled and not self._is_stopped and self._has_slot():
            self._is_scheduled = True
            # One turn of the loop: everything that arrived in this poll is read first.
            self._loop.call_soon(self._turn)

    def _has_slot(self) -> bool:
        """Whether a batch may begin now: at once when no batch syncs, else when much waits.

        The record of an event syncs beside it: payments do not wait for an operator's change.
        """
        batches = self._in_flight - self._events_in_flight
        if batches == 0:
            return True
        return batches < BATCHES_IN_FLIGHT_MAX and self._ready_bytes >= EAGER_BYTES

    def _turn(self) -> None:
        self._is_scheduled = False
        if self._is_stopped:
            return
        while self._events:
            job = self._events.popleft()()
            if job is not None:
                self._events_in_flight += 1
                self._hand_in(job)
        if self._ready and self._has_slot():
            self._run_batch()
            self._release()
        self.authorizer.state.maintain()
        if (self._ready or self._events) and self._has_slot():
            self._schedule()
        self._note_idle()

    def _run_batch(self) -> None:
        started_ns = time.monotonic_ns()
        links = self._gather(self._clock_ns())
        self._stage_ns[:] = -1
        self._lap_ns = time.monotonic_ns()
        self.watch.before_batch(self._lap_ns)
        outcome = self.authorizer.run(self._segments, len(links), self._links, self._lap)
        self.watch.after_batch(int(self._stage_ns[Stage.SCORE]), self._lap_ns)
        waited_ns = self._clock_ns() - time.monotonic_ns()
        work = self.authorizer.work
        segment_of = work.request["segment"][: outcome.request_count]
        arrived_ns = self._links["arrival_ns"][segment_of].astype(np.int64) - waited_ns
        answers = self._answers(links, outcome)
        closing = self._settle(links, outcome.request_count == work.rows)
        captured = None
        if self.explaining is not None:
            model, rules = self.authorizer.model, self.authorizer.state.rules
            count, records = outcome.request_count, outcome.records
            captured = self.explaining.capture(work, count, records, model, rules)
        token = _Answers(answers, closing, arrived_ns, started_ns, None, captured)
        self._count(outcome, links)
        blobs = [Blob(row, BlobKind.ORIGINAL, identity) for row, identity in outcome.originals]
        blobs += outcome.blobs
        self.metrics.rules.count_later(outcome.blobs)
        if outcome.trips and self.on_trips is not None:
            self.on_trips(outcome.trips)
        self._hand_in(CommitJob(outcome.records, self.now_ns(), blobs, token))

    def _gather(self, now_ns: int) -> list[Link]:
        """Copy the bytes of ready links into the arena, one segment a link."""
        links: list[Link] = []
        at, room = 0, len(self._arena)
        while self._ready and len(links) < SEGMENTS_MAX and room > 0:
            link = self._ready.popleft()
            link.is_ready = False
            data, arrival_ns = link.take(room)
            self._ready_bytes -= len(data)
            self._arena[at : at + len(data)] = data
            segment, profile = self._segments[len(links)], link.profile
            segment["start"], segment["end"] = at, at + len(data)
            segment["dialect"] = link.dialect
            self._links[len(links)] = (  # in the order of LINK
                arrival_ns,
                profile.sign_on_required,
                link.signed_on,
                profile.late_is_silent,
                profile.security,
                link.unreadable,
                max(now_ns - arrival_ns, 0),
                profile.deadline_ns,
                profile.overload_ns,
            )
            at += len(data)
            room -= len(data)
            links.append(link)
        return links

    def _settle(self, links: list[Link], is_full: bool) -> list[tuple[Link, str]]:  # noqa: FBT001
        """Put back what was not used, and say which links must be closed once answered.

        In a full batch the frames of the last links found no room: those links come first in the
        next one, before links that were served in this.
        """
        closing: list[tuple[Link, str]] = []
        served: list[Link] = []
        counts = self._segments["row_count"][: len(links)]
        full_from = int(counts.nonzero()[0][-1]) if is_full else len(links)
        for i, link in enumerate(links):
            segment, facts = self._segments[i], self._links[i]
            link.signed_on = int(facts["signed_on"])
            link.unreadable = int(facts["unreadable"])
            end = int(segment["end"])
            rest = bytes(self._arena[int(segment["start"]) + int(segment["consumed"]) : end])
            reason = self._fault(link, segment)
            if reason is not None:
                closing.append((link, reason))
                link.is_closing = True
                continue
            # What is left of a link that had room is the beginning of a frame.
            link.put_back(rest, int(facts["arrival_ns"]) if i >= full_from else 0)
            self._ready_bytes += len(rest)
            link.has_part = bool(rest)
            self._resume(link)
            more_came = len(rest) != link.pending_bytes
            if (i >= full_from and len(rest) > LENGTH_HEADER_BYTES) or more_came:
                link.is_ready = True
                (served if counts[i] else self._ready).append(link)
            elif link.has_ended:
                closing.append((link, _PEER_ENDED))
        self._ready.extend(served)
        return closing

    def _hold(self, link: Link) -> None:
        """Stop reading a link when it, or all links together, have as much waiting as they may."""
        queue_is_full = self._ready_bytes > self.queue_bytes_max
        if link.is_paused or not (link.is_full or queue_is_full):
            return
        link.is_paused = True
        link.peer.pause()
        if queue_is_full:
            self.metrics.shed[Shed.QUEUE] += 1
            self._held.append(link)

    def _release(self) -> None:
        """Read on from all links once half of what may wait is worked."""
        if self._held and self._ready_bytes <= self.queue_bytes_max // 2:
            held, self._held = self._held, []
            for link in held:
                self._resume(link)

    def _resume(self, link: Link) -> None:
        queue_is_full = self._ready_bytes > self.queue_bytes_max
        if link.is_paused and not link.is_full and not queue_is_full:
            link.is_paused = False
            link.peer.resume()

    def _fault(self, link: Link, segment: Any) -> str | None:
        """Return why the link must be closed, or None; counts the frame error."""
        keepalives = int(segment["keepalives"])
        if keepalives:
            self.metrics.counters[Counter.KEEPALIVES] += keepalives
            alone = int(segment["row_count"]) == 0
            link.keepalives = int(segment["keepalives_last"]) + (link.keepalives if alone else 0)
            if link.keepalives > link.profile.zero_length_max:
                self.metrics.frame_errors[FrameError.KEEPALIVES] += 1
                return "too many empty frames in a row"
        elif int(segment["row_count"]):
            link.keepalives = 0
        fault = FrameFault(int(segment["fault"]))
        if fault != FrameFault.NONE:
            self.metrics.frame_errors[_FRAME_ERRORS[fault]] += 1
            return f"frame {fault.name.lower().replace('_', ' ')}"
        if link.unreadable >= link.profile.unreadable_max:
            self.metrics.frame_errors[FrameError.BAD_HEADER] += 1
            return "messages without a readable MTI"
        return None

    def _answers(self, links: list[Link], outcome: Outcome) -> list[tuple[Link, bytes]]:
        """Cut the answer bytes by link; an empty frame is echoed where the listener says so."""
        work = self.authorizer.work
        segment_ends(
            work.replies, outcome.reply_count, work.request, work.out_end, len(links), self._ends
        )
        answers: list[tuple[Link, bytes]] = []
        start = 0
        for i, (link, end) in enumerate(zip(links, self._ends[: len(links)].tolist(), strict=True)):
            data = bytes(self._out[start:end])
            start = end
            if link.profile.echo_zero_length:
                empty = keepalive_of(self.authorizer.table.framing[link.dialect])
                data += empty * int(self._segments[i]["keepalives"])
            if data:
                answers.append((link, data))
                link.batches_due += 1
        return answers

    def _count(self, outcome: Outcome, links: list[Link]) -> None:
        work, metrics = self.authorizer.work, self.metrics
        decisions_of(work.items, outcome.request_count, _REPEAT, NO_DECISION, self._decisions)
        metrics.count_batch(
            work.request,
            outcome.request_count,
            work.replies,
            outcome.reply_count,
            self._decisions,
        )
        metrics.observe_stages(self._stage_ns, outcome.request_count)
        self._count_unusual(outcome.request_count, links)

    def _count_unusual(self, count: int, links: list[Link]) -> None:
        """Count repeats, refusals at a bound, and messages without an answer: mostly none."""
        work, metrics = self.authorizer.work, self.metrics
        decisions = self._decisions[:count]
        self._count_shed(decisions)
        unusual = np.flatnonzero(
            (decisions == NO_DECISION)
            | (decisions == Decision.DUPLICATE_DIFFERS)
            | (decisions == Decision.CAPACITY)
        )
        for row in unusual.tolist():
            mti = int(work.request["mti"][row])
            if decisions[row] == Decision.DUPLICATE_DIFFERS:
                metrics.duplicates[Duplicate.DIFFERS] += 1
            elif decisions[row] == Decision.CAPACITY:
                metrics.shed[Shed.CAPACITY] += 1
            elif work.items["role"][row] == Role.REPEAT:
                ring = self.authorizer.state.ring
                first = ring[int(work.items["original"][row]) & (len(ring) - 1)]
                metrics.count_repeat(int(first["seq"]), is_marked=mti % 2 == 1)
            elif mti < 0:
                metrics.unanswered[Unanswered.UNREADABLE_MTI] += 1
            elif not mti // 10 % 2:
                metrics.unanswered[Unanswered.NO_STAN] += 1
            elif not self._hand_answer(row, links):
                metrics.unanswered[Unanswered.RESPONSE_MTI] += 1

    def _hand_answer(self, row: int, links: list[Link]) -> bool:
        """Give an answer that came in to the link that may have asked; False when it has not.

        One whose MAC is wrong, or missing where it must be there, is nobody's answer.
        """
        work = self.authorizer.work
        request = work.request[row]
        if int(request["stan"]) < 0:
            return False
        if work.checks["decision"][row] != 0:
            self.metrics.upstream[Upstream.UNPROVEN] += 1
            return False
        start = int(request["start"])
        message = bytes(self._arena[start : start + int(request["size"])])
        peer = links[int(request["segment"])].peer
        return peer.answered(int(request["mti"]), int(request["stan"]), message)

    def _count_shed(self, decisions: NDArray[np.uint16]) -> None:
        """Count what was not posted because it had waited for too long; perhaps a batch full."""
        metrics, authorizer = self.metrics, self.authorizer
        if authorizer.settings[_STAND_IN].any() or authorizer.scorer.failures:
            flags = authorizer.work.items["flags"][: len(decisions)]
            metrics.counters[Counter.STAND_IN] += np.count_nonzero(flags & Flag.STAND_IN)
        metrics.shed[Shed.OVERLOAD] += np.count_nonzero(decisions == Decision.OVERLOADED)
        late = decisions == Decision.DEADLINE_PASSED
        if late.any():
            metrics.shed[Shed.DEADLINE] += np.count_nonzero(late)
            is_silent = self.authorizer.work.items["role"][: len(late)] == Role.SILENT
            metrics.unanswered[Unanswered.LATE] += np.count_nonzero(late & is_silent)

    def _lap(self, stage: str) -> None:
        now_ns = time.monotonic_ns()
        slot = STAGE_OF[stage]
        self._stage_ns[slot] = max(self._stage_ns[slot], 0) + now_ns - self._lap_ns
        self._lap_ns = now_ns

    def _hand_in(self, job: CommitJob) -> None:
        assert self.committer is not None, "the journal is open before the first batch"
        self._in_flight += 1
        self.metrics.queues[Queue.COMMIT] += len(job.records)
        self.committer.submit(job)

    def _durable(self, jobs: list[CommitJob]) -> None:
        """Send what waited for these jobs; then the next batch may begin."""
        now_ns = time.monotonic_ns()
        for job in jobs:
            token = job.token
            assert isinstance(token, _Answers), "the pipeline made the job"
            self._in_flight -= 1
            self._events_in_flight -= token.is_event
            self.metrics.queues[Queue.COMMIT] -= len(job.records)
            self._send(token)
            if token.done is not None:
                token.done()
            if token.captured is not None and self.explaining is not None:
                self.explaining.take(token.captured)
            if len(job.records):
                self.metrics.count_records(job.records, len(job.records))
                self.metrics.gauges[Gauge.LAST_SEQUENCE] = int(job.records["seq"][-1])
            count = len(token.arrived_ns)
            if count:
                self.metrics.observe(Stage.COMMIT, now_ns - token.started_ns, count)
                self.metrics.observe_requests(token.arrived_ns, count, now_ns)
        if self._ready or self._events:
            self._schedule()
        self._note_idle()

    def _send(self, token: _Answers) -> None:
        for link, data in token.answers:
            self.metrics.counters[Counter.BYTES_OUT] += len(data)
            if not link.peer.send(data):
                self.metrics.counters[Counter.LATE_ANSWERS] += 1
            link.batches_due -= 1
            if link.has_ended:
                self._close_if_done(link)
        for link, reason in token.closing:
            link.peer.close(reason)

    def _close_if_done(self, link: Link) -> None:
        if not (link.is_ready or link.batches_due):
            link.peer.close(_PEER_ENDED)

    def _note_idle(self) -> None:
        if not (self._in_flight or self._ready or self._events):
            self._idle.set()


def event_job(
    records: NDArray[np.void], ts_ns: int, blobs: list[Blob], done: Callable[[], None] | None
) -> CommitJob:
    """Return the job of an event; ``done`` is called on the loop once it is durable."""
    token = _Answers([], [], np.zeros(0, np.int64), 0, done, is_event=True)
    return CommitJob(records, ts_ns, blobs, token)
