"""How long the rule set takes for a row: the kernel against Python that walks the rules per row.

The baseline is not the slowest Python: every condition is turned into closures once, so that a row
costs calls and comparisons only. Both see the same rules and rows and must find the same hits,
which is checked before anything is timed.
"""

import operator
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.figures import Figure, cost_figure, print_figures
from engine.rules.bound import BoundRules
from engine.rules.columns import (
    COLUMN_COUNT,
    COLUMNS,
    RULE_FACTS,
    Column,
    ColumnType,
    constant_at,
)
from engine.rules.deployed import deploy
from engine.rules.language import parse
from engine.rules.list_table import no_lists
from engine.rules.program import VERDICT, Program, program_from_file
from engine.rules.tree import And, Compare, Expression, Operator
from engine.zones import new_card_zones
from ledger.accounts import new_accounts
from scoring.features import EXTRAS, FEATURES, SHARED
from scoring.payment import PAYMENT

_RULE_COUNTS = (100, 20)  # the headline figure first
_CURVE = (10, 50, 200, 500, 1_000, 2_000)  # cost against number of rules, at batch 64
_BATCHES = (64, 1, 1_024)
_ROWS = 64  # that batches of one take in turn, so that no branch is known beforehand
_CONDITIONS_PER_RULE = 4
_SECONDS_PER_RUN = 0.1
_SEED = 39
_COMPARE: dict[Operator, Callable[[float, float], bool]] = {
    Operator.LT: operator.lt,
    Operator.GE: operator.ge,
}
_Test = Callable[[list[float]], bool]
Work = Callable[[], NDArray[np.uint64]]


def run(*, json: bool = False, runs: int = 5, svg: Path | None = None) -> None:
    """Measure both phases and the verdict, in us a row; the baseline is per-row Python.

    Parameters
    ----------
    json : bool
        Print a JSON list of figures instead of a table.
    runs : int
        Measurements of each figure; the median is reported.
    svg : Path | None
        Write a plot of cost against number of rules there.
    """
    found = figures(runs=runs)
    if svg is not None:
        svg.write_text(plot_of(found), encoding="utf-8")
    print_figures(found, as_json=json)


def figures(*, runs: int = 5) -> list[Figure]:
    """Return the figures of every number of rules and batch size."""
    found = []
    for rule_count in _RULE_COUNTS:
        program = bench_program(rule_count)
        values = bench_rows(max(_BATCHES))
        tests = [_closure(rule.when) for rule in program.source.rules]
        _check_equal(program, values, tests)
        baseline = partial(_interpret, tests, values[:_ROWS])
        baseline_us = statistics.median(_us_a_row(baseline, _ROWS) for _ in range(runs))
        for batch in _BATCHES:
            work = kernel_work(program, values[: max(batch, _ROWS)].copy(), batch)
            costs = [_us_a_row(work, batch) for _ in range(runs)]
            name = f"{rule_count} rules x {_CONDITIONS_PER_RULE}, batch {batch}"
            found.append(cost_figure(name, "us/row", costs, "Python per row", baseline_us))
    for rule_count in _CURVE:
        program, values = bench_program(rule_count), bench_rows(_ROWS)
        tests = [_closure(rule.when) for rule in program.source.rules]
        _check_equal(program, values, tests)
        baseline_us = _us_a_row(partial(_interpret, tests, values), _ROWS)
        work = kernel_work(program, values.copy(), _ROWS)
        costs = [_us_a_row(work, _ROWS) for _ in range(runs)]
        name = f"{rule_count} rules x {_CONDITIONS_PER_RULE}, batch 64"
        found.append(cost_figure(name, "us/row", costs, "Python per row", baseline_us))
    return found


def plot_of(found: list[Figure]) -> str:
    """Return an SVG of us a row against number of rules, at batch 64."""
    points = sorted((int(f.name.split()[0]), f.value) for f in found if f.name.endswith("batch 64"))
    most = max(value for _, value in points)
    line = " ".join(f"{60 + n * 0.35:.1f},{260 - v * 230 / most:.1f}" for n, v in points)
    texts = "".join(
        f'<circle cx="{60 + n * 0.35:.1f}" cy="{260 - v * 230 / most:.1f}" r="3"/>'
        f'<text x="{64 + n * 0.35:.1f}" y="{256 - v * 230 / most:.1f}">{n}: {v:.2f}</text>'
        for n, v in points
    )
    return (
        '<svg xmlns="http:'
        '//www.w3.org/2000/svg" width="860" height="300" font-size="12" font-family="sans-serif">'
        f'<text x="10" y="16">us a row against number of rules (4 conditions each, batch 64)</text>'
        f'<polyline points="{line}" fill="none" stroke="#1c6dd0"/>{texts}</svg>\n'
    )


def bench_program(rule_count: int) -> Program:
    """Return ``rule_count`` rules of four conditions each, alike for every run.

    The text is made by a seeded generator: three rules in four are PRE, thresholds are spread so
    that a condition holds for between a tenth and nine tenths of the rows.
    """
    rng = random.Random(_SEED)
    columns = [c for c in COLUMNS if c.type is ColumnType.NUMBER and c.name != "score"]
    lines = []
    for i in range(rule_count):
        conditions = " and ".join(_condition(rng, c) for c in rng.sample(columns, k=4))
        phase = "post" if i % 4 == 3 else "pre"
        lines.append(f'rule R{i} {phase} decline(59) "bench" when {conditions}')
    return program_from_file(parse("\n".join(lines)))


def _condition(rng: random.Random, column: Column) -> str:
    return f"{column.name} {rng.choice(('<', '>='))} {rng.uniform(0.1, 0.9):.3f}"


def bench_rows(count: int) -> NDArray[np.float64]:
    """Return values f64[count, COLUMN_COUNT], uniform in 0 to 1, float32 like the features."""
    rng = np.random.default_rng(_SEED)
    return rng.random((count, COLUMN_COUNT), np.float32).astype(np.float64)


def kernel_work(program: Program, values: NDArray[np.float64], batch: int) -> Work:
    """Return what is timed: both phases and the verdict of the next ``batch`` rows of ``values``.

    It is called as an engine without a model calls it; with one it is two calls. The columns are
    filled already, so the set needs none. Returns the hits of all rows, u64[n, words].
    """
    live = replace(deploy(program), needed=np.zeros(0, np.int16))
    rows = _Rows(values, program.words)
    bound = BoundRules(live, rows, new_accounts(1), new_card_zones(1), no_lists())
    places = np.arange(len(values), dtype=np.int32).reshape(-1, batch)
    turn = cycle(tuple(np.ascontiguousarray(part) for part in places))

    def work() -> NDArray[np.uint64]:
        bound.without_score(next(turn), 0)
        return rows.hits

    return work


class _Rows:
    """The columns of a batch as the rules want them; hits are ORed in, so they stay the same."""

    def __init__(self, values: NDArray[np.float64], words: int) -> None:
        count = len(values)
        self.values = values
        self.hits = np.zeros((count, words), np.uint64)
        self.scores = np.zeros(count, np.uint16)
        self.verdicts = np.zeros(count, VERDICT)
        self.payments = np.zeros(count, PAYMENT)
        self.facts = np.zeros(count, RULE_FACTS)
        self.features = np.zeros((count, len(FEATURES)), np.float32)
        self.shared = np.zeros((count, len(SHARED)), np.float32)
        self.extras = np.zeros((count, len(EXTRAS)), np.float32)


def _closure(node: Expression) -> _Test:
    if isinstance(node, And):
        tests = [_closure(item) for item in node.items]
        return lambda row: all(test(row) for test in tests)
    assert isinstance(node, Compare)
    index, compare = node.column.index, _COMPARE[node.operator]
    constant = constant_at(node.column, node.value)
    return lambda row: compare(row[index], constant)


def _interpret(tests: list[_Test], values: NDArray[np.float64]) -> list[list[int]]:
    """Return the indexes of the rules that hit, row by row; the first would decide."""
    return [[i for i, test in enumerate(tests) if test(row)] for row in values.tolist()]


def _check_equal(program: Program, values: NDArray[np.float64], tests: list[_Test]) -> None:
    hits = kernel_work(program, values.copy(), len(values))()
    numbers = [int.from_bytes(row.tobytes(), "little") for row in hits]
    found = [[i for i in range(len(tests)) if bits >> i & 1] for bits in numbers]
    if found != _interpret(tests, values):
        raise RuntimeError("kernel and per-row Python disagree on which rules hit")


def _us_a_row(work: Callable[[], object], row_count: int) -> float:
    """Return what a row takes of this thread's time, which a busy machine does not stretch."""
    work()
    calls = 0
    started = time.thread_time()
    while time.thread_time() - started < _SECONDS_PER_RUN:
        for _ in range(64):
            work()
        calls += 64
    return (time.thread_time() - started) * 1e6 / (calls * row_count)
