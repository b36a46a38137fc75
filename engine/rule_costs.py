"""SHELL: what each rule costs, measured beside the traffic on copies of recent payments.

Rules are evaluated by one kernel that shares columns, comparisons and blocks of rows among them: no
clock could be read in between without costing more than a rule does. So each rule is run alone, by
the same kernel, over rows that the loop has copied from its batches, and what the simplest rule
costs (the call, the block) is taken off. That is the most that the rule can add to a set: what it
shares with others, columns above all, counts for each of them, so the sum is more than the cost of
the set, which is measured too. It is done once rules that have changed stand still, and every ten
minutes, in a thread that rests four times as long as it works; the traffic pays for the copies.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.authorize import Authorizer
from engine.metrics import Metrics
from engine.rule_counts import RuleTimes
from engine.rules.bound import BoundRules
from engine.rules.columns import BY_NAME
from engine.rules.deployed import Deployed, needed_of
from engine.rules.list_table import Tables
from engine.rules.program import PREDICATE, TERM, Program
from engine.rules.row_kernels import ranges_of
from engine.rules.tree import Mode, Operator, Phase
from engine.worker import Worker
from engine.workspace import Workspace

ROWS = 256  # of a measurement: four blocks of the kernel
_LOOK_S = 1.0
_PATIENCE_LOOKS = 10  # at batches; then fewer rows will do
_STILL_S = 5.0  # rules that have changed are measured once they stand
_AGAIN_S = 600.0
_RECENT_S = 600
_REST_SHARE = 4
_READINGS = 7  # the least of them counts: the others were disturbed
_CALLS = 8  # of a reading

_COLUMNS = ("payments", "facts", "features", "shared", "extras", "scores")
Clock = Callable[[], int]


def alone(live: Deployed, place: int) -> Deployed:
    """Return the rule at ``place`` as if it were the only one, at its own bit."""
    program = live.program
    terms = live.terms[live.terms["rule"] == place].copy()
    spans = [np.arange(t["literal_start"], t["literal_end"]) for t in terms]
    at = np.concatenate([np.zeros(0, np.int64), *spans])
    literals = program.literals[at]
    read, places = np.unique(np.where(literals < 0, ~literals, literals), return_inverse=True)
    shift = np.cumsum([0, *map(len, spans)])[: len(terms)] - terms["literal_start"]
    for name in ("literal_start", "range_end", "literal_end"):
        terms[name] += shift.astype(np.int32)
    own = replace(
        program,
        predicates=program.predicates[read],
        terms=terms,
        literals=np.where(literals < 0, ~places, places).astype(np.int16),
        ranges=program.ranges[at],
    )
    columns = {int(c) for name in ("column", "other") for c in own.predicates[name]}
    sums = program.sums[[int(s["column"]) in columns for s in program.sums]]
    return _deployed(live, replace(own, sums=sums))


def _simplest(live: Deployed) -> Deployed:
    """Return a rule that compares one column and never holds: what any evaluation costs."""
    predicates = np.zeros(1, PREDICATE)
    predicates["constant"], predicates["column"] = np.nan, BY_NAME["amount_minor"].index
    predicates["operator"], predicates["other"] = Operator.GE, -1
    terms = np.zeros(1, TERM)
    terms["phase"], terms["range_end"], terms["literal_end"] = Phase.PRE, 1, 1
    literals = np.zeros(1, np.int16)
    ranges = ranges_of(predicates, literals)
    program = live.program
    bare = replace(program, predicates=predicates, terms=terms, literals=literals, ranges=ranges)
    found = _deployed(live, replace(bare, sums=program.sums[:0]))
    return replace(found, needed=np.zeros(0, np.int16))


def _deployed(live: Deployed, program: Program) -> Deployed:
    return replace(
        live,
        program=program,
        terms=program.terms,
        pre_count=int((program.terms["phase"] == Phase.PRE).sum()),
        needed=needed_of(program, program.terms),
    )


class Sample:
    """Copies of rows of batches, the columns that rules are filled from; newer ones go over old."""

    def __init__(self) -> None:
        self.work = Workspace(ROWS, 1)
        self.count = 0
        self._next = 0

    def take(self, work: Workspace, most: int = ROWS) -> None:
        """Copy payments that stand in the columns of the last batch, the latest first.

        Called on the thread that has run it. Rows past the last batch are of larger ones before.
        """
        seconds = work.payments["t_s"].astype(np.int64)
        rows = np.flatnonzero(seconds > max(int(seconds.max()) - _RECENT_S, 0))[:most]
        into = (self._next + np.arange(len(rows))) % ROWS
        for name in _COLUMNS:
            getattr(self.work, name)[into] = getattr(work, name)[rows]
        self._next = (self._next + len(rows)) % ROWS
        self.count = min(self.count + len(rows), ROWS)


class Meter:
    """Measures rules over a sample. Accounts and lists are read as they are, while they change."""

    def __init__(
        self,
        live: Deployed,
        sample: Sample,
        accounts: NDArray[np.void],
        card_zones: NDArray[np.uint16],
        lists: Tables,
        clock: Clock = time.thread_time_ns,
    ) -> None:
        self.live = live
        self._work = sample.work
        self._work.hits = np.zeros((len(sample.work.hits), live.program.words), np.uint64)
        self._idx = np.arange(sample.count, dtype=np.int32)
        self._tables = (accounts, card_zones, lists)
        self._clock = clock

    def all(self, rest: Callable[[float], bool] = lambda _: False) -> RuleTimes | None:
        """Measure every rule; ``rest`` is told the seconds that each took, True = give up."""
        live, found = self.live, {}
        fixed = self._ns_a_row(_simplest(live))
        whole = max(self._ns_a_row(live) - fixed, 0.0) if len(live.terms) else 0.0
        for place, name in enumerate(live.program.names):
            if live.modes[place] == Mode.OFF:
                continue
            began_ns = time.monotonic_ns()
            found[name] = max(self._ns_a_row(alone(live, place)) - fixed, 0.0)
            if rest((time.monotonic_ns() - began_ns) / 1e9):
                return None
        return RuleTimes(found, whole)

    def _ns_a_row(self, live: Deployed) -> float:
        """Return the least time that a set took; this thread's own, which nobody stretches."""
        bound = BoundRules(live, self._work, *self._tables)
        self._work.hits[:] = 0
        bound.without_score(self._idx, 0)
        taken = []
        for _ in range(_READINGS):
            began_ns = self._clock()
            for _ in range(_CALLS):
                bound.without_score(self._idx, 0)
            taken.append(self._clock() - began_ns)
        return min(taken) / (_CALLS * len(self._idx))


class RuleCosts(Worker):
    """Keeps the costs of the rules in force in the metrics.

    Everything but a measurement is done on the loop's thread, between two batches. The sample is
    the loop's until there is a meter, then the worker's until there is none.
    """

    def __init__(
        self, authorizer: Authorizer, metrics: Metrics, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__("costs")
        self._authorizer = authorizer
        self._metrics = metrics
        self._loop = loop
        self._sample = Sample()
        self._looks = 0
        self._next_seq = authorizer.state.next_seq
        self._measured: Deployed | None = None
        self._seen: Deployed | None = None
        self._due_s = 0.0
        self._meter: Meter | None = None
        self._wake = threading.Event()
        self._timer = loop.call_later(_LOOK_S, self._look)

    def close(self) -> None:
        """Stop looking and measuring."""
        self._timer.cancel()
        self._stop.set()
        self._wake.set()
        super().close()

    def _look(self) -> None:
        self._timer = self._loop.call_later(_LOOK_S, self._look)
        state = self._authorizer.state
        live = state.rules.deployed
        if live is not self._measured:
            self._metrics.rule_times = None  # they were those of other rules, or modes
            if live is not self._seen:  # and may change again: the traffic has enough of it
                self._seen, self._due_s = live, self._loop.time() + _STILL_S
        if self._loop.time() < self._due_s:
            return
        if self._meter is not None or state.next_seq == self._next_seq:
            return
        self._next_seq = state.next_seq
        self._sample.take(self._authorizer.work)
        self._looks += 1
        if self._sample.count == ROWS or (self._sample.count and self._looks >= _PATIENCE_LOOKS):
            self._measured, self._due_s = live, self._loop.time() + _AGAIN_S
            tables = (state.accounts, state.card_zones, state.rules.lists.tables)
            self._meter = Meter(live, self._sample, *tables)
            self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._meter is None:
                continue
            found = self._meter.all(lambda seconds: self._stop.wait(_REST_SHARE * seconds))
            if found is not None and self._meter.live is self._authorizer.state.rules.deployed:
                self._metrics.rule_times = found
            self._sample.count = self._looks = 0
            self._meter = None
