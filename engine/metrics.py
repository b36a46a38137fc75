"""What the engine counts: plain int64 arrays, filled by the loop thread, read by anyone.

One writer, the thread of the switch's event loop; readers (the HTTP thread) take what they see.
An aligned 8-byte load is whole on every machine served, so no value is ever torn; two values may be
a batch apart, and a histogram's total is therefore made from its buckets when it is read. No
Prometheus object is here (``engine.admin.collector`` names the series) and no label can hold a card
number, a merchant or a terminal: everything counted is one of a stated number of places.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import metrics_kernels as kernels
from engine.decision import Decision
from engine.presentment import Result as Filed
from engine.rule_counts import RuleCounts, RuleTimes
from engine.wire.columns import Fault
from ledger.record import SCORE_NONE, Flag

assert kernels.SCORE_NONE == SCORE_NONE
assert (kernels.RULE_DECLINED, kernels.STEP_UP) == (Decision.RULE_DECLINED, Decision.STEP_UP)
assert kernels.REVIEW == Flag.REVIEW
NO_DECISION = kernels.NO_DECISION
SCORE_PARTS = 20
DECISIONS = 1000  # place 999 also takes any number past it
RESPONSE_CODES = 48  # place 0 takes the codes that come after 47 others

# 1 us to 1.5 s, each edge half as much again as the one before, to three digits.
DURATION_EDGES_NS = tuple(int(float(f"{1_000 * 1.5**n:.3g}")) for n in range(36))
SIZE_EDGES = tuple(1 << n for n in range(14))  # rows of a batch, records of a commit

REQUEST_MTIS = (100, 101, 120, 121, 200, 201, 220, 221, 400, 401, 420, 421, 800, 801, 820)
REPLY_MTIS = (110, 130, 210, 230, 410, 430, 810, 830)


class Stage(IntEnum):
    """The stages of a batch that are timed, in order."""

    DECODE = 0
    TOKENS = 1
    FIND = 2
    FEATURES = 3
    RULES = 4
    SCORE = 5
    DECIDE = 6
    COMMIT = 7
    ENCODE = 8
    CRYPTO = 9  # checks before matching, and the MACs of the answers


STAGE_OF = {  # by what the authorizer calls its laps
    "decode": Stage.DECODE,
    "crypto": Stage.CRYPTO,
    "tokens": Stage.TOKENS,
    "find": Stage.FIND,
    "shared": Stage.FEATURES,
    "features": Stage.FEATURES,
    "rules": Stage.RULES,
    "score": Stage.SCORE,
    "decide": Stage.DECIDE,
    "encode": Stage.ENCODE,
}


class Counter(IntEnum):
    """Counts that need no label."""

    KEEPALIVES = 0
    BYTES_IN = 1
    BYTES_OUT = 2
    CONNECTIONS = 3  # accepted since the start
    RECORDS = 4
    LATE_ANSWERS = 5  # ready when the link that asked had gone
    LOG_LINES_DROPPED = 6
    STORE_UNKNOWN = 7  # commits whose outcome had to be asked for
    STORE_RETRIES = 8  # batches sent to the store again
    STORE_CONNECTS = 9  # connections to the store's primary since the start
    UPKEEP_FAILURES = 10  # snapshots and checkpoints that could not be made
    DIALS = 11  # tries to open a line
    RELOADS = 12  # of the configuration, taken
    RELOADS_REFUSED = 13  # the old one stays
    STAND_IN = 14  # payments decided without the scorer
    REASONS_MADE = 15  # exact reasons of payments that were refused or sent to review
    REASONS_DROPPED = 16  # of which nothing was kept: a bound, or a file that failed
    MERCHANTS_UNSEEN = 17  # that the engine had not seen before it started
    SCORER_FAILURES = 18  # scoring stages of a batch that came to nothing
    ARCHIVED = 19  # segments moved to the archive since the start
    REASONS_FORGOTTEN = 20  # payments whose reasons went so that the file stays within its bound


class Gauge(IntEnum):
    """Values that go up and down."""

    CONNECTED = 0
    SIGNED_ON = 1
    IN_FLIGHT = 2  # requests taken and not answered yet
    LAST_SEQUENCE = 3  # of the last durable record
    FREE_BYTES = 4  # of the file system that holds the journal
    LOOP_LAG_NS = 5  # how late the last timer of the event loop was
    REPLICAS = 6  # standbys that commits wait for and that keep up
    STORE_REACHABLE = 7  # whether the store took a question at the last look
    PROOF_LAG = 8  # durable batches that no signed checkpoint covers yet
    SNAPSHOT_SEQUENCE = 9  # last record in the newest snapshot
    SNAPSHOT_PAUSE_NS = 10  # how long traffic stood still for the last one
    LINES_UP = 11  # that the host has opened and signed on to
    OUTBOX_WAITING = 12  # messages that the host must still deliver
    REASONS_WAITING = 13  # payments whose exact reasons are still to be made
    SCORER_OFF = 14  # 1 = it failed or was slow; the stand-in decides until it is tried again
    WRITING_NS = 15  # for how long the batch at hand has been on its way to the disk


class Queue(IntEnum):
    """Queues whose depth is shown."""

    RECEIVED_BYTES = 0  # bytes that wait for a batch
    COMMIT = 1  # records that wait for their sync
    SEND_BYTES = 2  # answer bytes that wait for slow links


class Duplicate(IntEnum):
    """How a request repeated another one."""

    REPEAT = 0  # said so itself (xxx1): the stored answer went out
    IDENTICAL = 1  # did not say so: the stored answer went out
    IN_FLIGHT = 2  # the first had no answer yet
    DIFFERS = 3  # same identity, other amount or card: refused


class FrameError(IntEnum):
    """Why a link could not go on: its bytes are no frames any more."""

    TOO_LONG = 0
    TOO_SHORT = 1
    NOT_DIGITS = 2
    BAD_HEADER = 3
    TIMEOUT = 4  # half a frame, then silence
    CUT_SHORT = 5  # closed inside a frame
    KEEPALIVES = 6  # too many empty frames in a row


class Shed(IntEnum):
    """What was refused to stay within bounds."""

    OVERLOAD = 0  # requests answered at once: a queue was at its bound
    CAPACITY = 1  # requests answered at once: a table was at its bound
    CONNECTIONS = 2  # connections: too many
    ADDRESS = 3  # connections: not on the list
    SLOW_READER = 4  # connections: did not read their answers
    IDLE = 5  # connections: silent for too long
    DRAINING = 6  # connections or requests: the engine stops
    DEADLINE = 7  # requests not posted: they had waited for longer than their sender does
    QUEUE = 8  # readings of a link that stopped: what waits of all links was at its bound
    UNKNOWN_PEER = 9  # connections: no [[peer]] block fits


class Unanswered(IntEnum):
    """Messages that get no answer."""

    UNREADABLE_MTI = 0
    RESPONSE_MTI = 1  # an answer that nobody asked for
    NO_STAN = 2  # nothing that an answer could be matched by
    LINK_GONE = 3
    LATE = 4  # past its deadline, where the listener says silence


class Upstream(IntEnum):
    """What became of messages that the host sends by itself."""

    SENT = 0
    REPEATED = 1  # of those sent: repeats
    ANSWERED = 2  # in time
    TIMED_OUT = 3
    LATE = 4  # answers after that
    UNMATCHED = 5  # answers to nothing that was asked
    REVERSED = 6  # late approvals of a request, taken back by a 0420
    DELIVERED = 7  # messages of the outbox
    REFUSED = 8  # messages of the outbox that the other side will not have
    GAVE_UP = 9  # messages of the outbox after their last try
    UNPROVEN = 10  # answers whose authentication code was wrong, or missing where it must be there


class Table(IntEnum):
    """Tables with a stated capacity."""

    CARDS = 0
    ACCOUNTS = 1
    MERCHANTS = 2
    AUTHORIZATIONS = 3


class BuildInfo(NamedTuple):
    """What decides: versions of the program, the rule set and the model."""

    version: str
    python: str
    ruleset_sha256: str = ""  # hex; empty = no rules
    model_sha256: str = ""  # hex; empty = no model


def _counts(*shape: int) -> NDArray[np.int64]:
    return np.zeros(shape, dtype=np.int64)


class Metrics:
    """The arrays, and the calls that fill them; indices are the enums above, except where noted.

    The pipeline adds to ``counters``, ``gauges``, ``queues``, ``duplicates``, ``frame_errors``,
    ``shed``, ``unanswered``, ``table_*`` directly (``metrics.shed[Shed.OVERLOAD] += 3``) and calls
    the methods once per batch.
    """

    def __init__(self, build: BuildInfo, rules: RuleCounts | None = None) -> None:
        self.build = build  # replaced as a whole when a rule set or a model goes live
        self.requests_in = _counts(len(REQUEST_MTIS) + 2)  # then: other, unreadable
        self.responses = _counts(len(REPLY_MTIS) + 1, RESPONSE_CODES)  # last row: other
        self.faults = _counts(len(Fault))
        self.decided = _counts(DECISIONS)
        self.codes = _counts(RESPONSE_CODES)  # 0: how many are in use; s: code of place s
        self.stage_counts = _counts(len(Stage), len(DURATION_EDGES_NS) + 1)
        self.stage_sums_ns = _counts(len(Stage))
        self.request_counts = _counts(len(DURATION_EDGES_NS) + 1)
        self.request_sum_ns = _counts(1)
        self.batch_counts = _counts(len(SIZE_EDGES) + 1)
        self.batch_sum = _counts(1)
        self.group_counts = _counts(len(SIZE_EDGES) + 1)
        self.group_sum = _counts(1)
        self.sync_counts = _counts(len(DURATION_EDGES_NS) + 1)
        self.sync_sum_ns = _counts(1)
        self.rules = rules or RuleCounts()  # as of the records so far
        self.rule_times: RuleTimes | None = None  # None = not measured since the rules changed
        self.breaker_trips = _counts(1)
        self.scores = _counts(SCORE_PARTS)
        self.score_facts = _counts(3)  # sum of scores x 10,000; not scored; alerts
        self.labels = _counts(2)  # frauds reported, payments confirmed as genuine
        self.label_lag_s = _counts(1)  # of the last labels taken, median
        self.model_changes = _counts(1)
        self.challengers = _counts(1)
        self.drift: Callable[[], Mapping[str, float]] = dict  # of each feature and the score
        self.counters = _counts(len(Counter))
        self.gauges = _counts(len(Gauge))
        self.queues = _counts(len(Queue))
        self.duplicates = _counts(len(Duplicate))
        self.frame_errors = _counts(len(FrameError))
        self.shed = _counts(len(Shed))
        self.filed = _counts(max(Filed) + 1)  # items of clearing and repayment, by what became
        self.unanswered = _counts(len(Unanswered))
        self.upstream = _counts(len(Upstream))
        self.key_module = _counts(3)  # calls, of these failed, ns in them: security.store
        self.table_counts = _counts(len(Table))
        self.table_capacity = _counts(len(Table))
        self.table_growths = _counts(len(Table))
        self.turned_ns = _counts(1)  # time.monotonic_ns() of the loop's last turn; 0 = none yet
        self._merchants_before = -1  # when the engine started; -1 = not noted yet
        self._mti_slots = _mti_slots()
        self._code_slots = np.zeros(1 << 16, dtype=np.uint8)
        self._duration_edges = np.array(DURATION_EDGES_NS, dtype=np.int64)

    def count_batch(
        self,
        requests: NDArray[np.void],
        request_count: int,
        replies: NDArray[np.void],
        reply_count: int,
        decisions: NDArray[np.uint16],
    ) -> None:
        """Count a batch that was answered.

        Parameters: ``requests`` REQUEST[>= request_count], ``replies`` REPLY[>= reply_count],
        ``decisions`` u16[>= request_count] with NO_DECISION where nothing was decided (a repeat
        that got the stored answer, a message without an answer).
        """
        _require_rows(requests, request_count, decisions, request_count)
        _require_rows(replies, reply_count, replies, reply_count)
        kernels.count_batch(
            requests,
            request_count,
            replies,
            reply_count,
            decisions,
            self._mti_slots,
            self._code_slots,
            self.codes,
            self.requests_in,
            self.faults,
            self.decided,
            self.responses,
        )
        self.batch_counts[bisect_left(SIZE_EDGES, request_count)] += 1
        self.batch_sum[0] += request_count

    def count_records(self, records: NDArray[np.void], record_count: int) -> None:
        """Count rule hits, labels and scores of durable records, RECORD[>= record_count]."""
        _require_rows(records, record_count, records, record_count)
        kernels.count_records(records, record_count, self.scores, self.score_facts)
        self.rules.count(records[:record_count])
        self.counters[Counter.RECORDS] += record_count

    def observe(self, stage: Stage, duration_ns: int, weight: int = 1) -> None:
        """Add the time that a stage took, once for each of ``weight`` rows that went through it."""
        duration_ns = min(max(duration_ns, 0), kernels.LONGEST_NS)
        self.stage_counts[stage, bisect_left(DURATION_EDGES_NS, duration_ns)] += weight
        total = int(self.stage_sums_ns[stage]) + duration_ns * weight
        self.stage_sums_ns[stage] = total & kernels.SUM_MASK

    def observe_stages(self, stage_ns: NDArray[np.int64], weight: int) -> None:
        """Add one duration of every stage in one call, i64[len(Stage)]; negative = did not run."""
        assert len(stage_ns) == len(Stage), "one duration of each stage"
        kernels.observe_stages(
            stage_ns, weight, self._duration_edges, self.stage_counts, self.stage_sums_ns
        )

    def observe_requests(
        self, arrived_ns: NDArray[np.int64], request_count: int, now_ns: int
    ) -> None:
        """Add the time from arrival to answer of each request, both by the same clock."""
        assert request_count <= len(arrived_ns), "one arrival time a request"
        kernels.observe_requests(
            arrived_ns,
            request_count,
            now_ns,
            self._duration_edges,
            self.request_counts,
            self.request_sum_ns,
        )

    def observe_commit(self, record_count: int, sync_ns: int) -> None:
        """Add a commit group: how many records shared one sync, and how long the sync took."""
        self.group_counts[bisect_left(SIZE_EDGES, record_count)] += 1
        self.group_sum[0] += record_count
        sync_ns = min(max(sync_ns, 0), kernels.LONGEST_NS)
        self.sync_counts[bisect_left(DURATION_EDGES_NS, sync_ns)] += 1
        self.sync_sum_ns[0] = (int(self.sync_sum_ns[0]) + sync_ns) & kernels.SUM_MASK

    def note_merchants(self, count: int) -> None:
        """Note how many merchants are known; those beyond the first call's are new."""
        if self._merchants_before < 0:
            self._merchants_before = count
        self.counters[Counter.MERCHANTS_UNSEEN] = count - self._merchants_before

    def count_repeat(self, first_seq: int, *, is_marked: bool) -> None:
        """Count a request whose first is record ``first_seq``: answered once that is durable."""
        kind = Duplicate.REPEAT if is_marked else Duplicate.IDENTICAL
        is_in_flight = first_seq > self.gauges[Gauge.LAST_SEQUENCE]
        self.duplicates[Duplicate.IN_FLIGHT if is_in_flight else kind] += 1

    def set_table(self, table: Table, count: int, capacity: int) -> None:
        """Show how full a table is."""
        self.table_counts[table] = count
        self.table_capacity[table] = capacity

    def beat(self, now_ns: int, lag_ns: int = 0) -> None:
        """Note that the event loop turned (``time.monotonic_ns()``), and how late it was."""
        self.turned_ns[0] = now_ns
        self.gauges[Gauge.LOOP_LAG_NS] = lag_ns


def compile_kernels() -> None:
    """Compile the kernels of this file on empty batches; part of the warm-up."""
    from engine.wire.columns import REPLY, REQUEST  # noqa: PLC0415  (only here)
    from ledger.record import RECORD  # noqa: PLC0415

    metrics = Metrics(BuildInfo("", ""))
    decisions = np.zeros(1, dtype=np.uint16)
    metrics.count_batch(np.zeros(1, REQUEST), 0, np.zeros(1, REPLY), 0, decisions)
    metrics.count_records(np.zeros(1, RECORD), 0)
    metrics.observe_stages(np.full(len(Stage), -1, dtype=np.int64), 0)
    metrics.observe_requests(np.zeros(1, dtype=np.int64), 0, time.monotonic_ns())


def _require_rows(rows: NDArray[Any], count: int, others: NDArray[Any], other_count: int) -> None:
    assert 0 <= count <= len(rows), "the count is within the rows"
    assert 0 <= other_count <= len(others), "the count is within the rows"


def _mti_slots() -> NDArray[np.uint8]:
    slots = np.empty((2, 10_000), dtype=np.uint8)
    slots[0] = len(REQUEST_MTIS)
    slots[1] = len(REPLY_MTIS)
    for slot, mti in enumerate(REQUEST_MTIS):
        slots[0, mti] = slot
    for slot, mti in enumerate(REPLY_MTIS):
        slots[1, mti] = slot
    return slots
