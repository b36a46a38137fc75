"""The compiled kernels do what the naive interpreter of the typed tree does."""

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.rules.columns import COLUMN_COUNT, COLUMNS
from engine.rules.deployed import deploy
from engine.rules.kernels import add_points, evaluate, resolve
from engine.rules.language import parse
from engine.rules.list_table import no_lists
from engine.rules.program import (
    VERDICT,
    Program,
    no_rules,
    program_from_file,
    response_number,
)
from engine.rules.sum_kernels import fill_sums
from engine.rules.tree import ActionKind, Phase
from ledger.record import SCORE_NONE
from scoring.payment import PAYMENT
from tests.oracle.rule_sets import random_file, random_rows, rows_of, scratch_of
from tests.oracle.rules import hits_of, score_after_points, verdict_of
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

_NAMES = [column.name for column in COLUMNS]


def _evaluate(
    program: Program,
    values: NDArray[np.float64],
    idx: NDArray[np.int32],
    phase: Phase,
    hits: NDArray[np.uint64],
) -> None:
    live = deploy(program)
    if len(program.sums):
        fill_sums(idx, program.steps, program.sums, int(phase), values)
    tables = (program.predicates, program.list_keys, live.terms, *live.bounds(phase))
    evaluate(
        values, idx, *tables, program.literals, program.ranges, no_lists(), scratch_of(values), hits
    )


def _resolve(
    program: Program,
    idx: NDArray[np.int32],
    hits: NDArray[np.uint64],
    verdict: NDArray[np.void],
) -> None:
    live, payments = deploy(program), np.zeros(len(hits), PAYMENT)
    tables = (program.rules, live.acting, program.overrides)
    resolve(idx, hits, *tables, payments, 0, no_lists(), np.empty(32, np.uint64), verdict)


def _names(program: Program, row: NDArray[np.uint64]) -> set[str]:
    bits = int.from_bytes(row.tobytes(), "little")
    return {name for i, name in enumerate(program.names) if bits >> i & 1}


def _run(program: Program, values: NDArray[np.float64]) -> tuple[NDArray[np.uint64], NDArray]:
    idx = np.arange(len(values), dtype=np.int32)
    hits = np.zeros((len(values), program.words), np.uint64)
    verdict = np.full(len(values), 7, VERDICT)
    _evaluate(program, values, idx, Phase.PRE, hits)
    _evaluate(program, values, idx, Phase.POST, hits)
    _resolve(program, idx, hits, verdict)
    return hits, verdict


def _row_by_row(program: Program, values: NDArray[np.float64]) -> NDArray[np.uint64]:
    hits = np.zeros((len(values), program.words), np.uint64)
    for phase in Phase:
        for n in range(len(values)):
            _evaluate(program, values, np.array([n], np.int32), phase, hits)
    return hits


@settings(max_examples=examples(200))
@given(seed=st.integers(0, 2**32 - 1), rule_count=st.integers(1, 6))
def test_kernel_equals_interpreter(seed: int, rule_count: int) -> None:
    """On any rows, in any batch cut, the rules that hit are those that the tree says."""
    rng = random.Random(seed)
    rule_file = random_file(rng, rule_count)
    program = program_from_file(rule_file)
    values = random_rows(rng, 130)
    hits = np.zeros((len(values), 2), np.uint64)
    order = np.array(rng.sample(range(len(values)), k=len(values)), np.int32)
    cuts = sorted(rng.choices(range(len(values)), k=rng.randint(0, 40)))
    for part in np.split(order, cuts):
        for phase in Phase:
            _evaluate(program, values, part.copy(), phase, hits)
    rows = rows_of(values)
    expected = [hits_of(rule_file, r, Phase.PRE) | hits_of(rule_file, r, Phase.POST) for r in rows]
    assert expected == [_names(program, row) for row in hits]


def test_a_hundred_thousand_pairs() -> None:
    """Kernel and interpreter agree on 100,000 pairs of a random rule and a random row.

    Blocks of rows and single rows take different paths through the kernels.
    """
    pairs = 0
    for seed in range(50):
        rng = random.Random(seed)
        rule_file = random_file(rng, 25)
        program = program_from_file(rule_file)
        values = random_rows(rng, 90)
        hits, _ = _run(program, values)
        assert (hits == _row_by_row(program, values)).all()
        for row, found in zip(rows_of(values), hits, strict=True):
            expected = hits_of(rule_file, row, Phase.PRE) | hits_of(rule_file, row, Phase.POST)
            assert expected == _names(program, found)
        pairs += len(values) * program.rule_count
    assert pairs >= 100_000


@settings(max_examples=examples(100))
@given(seed=st.integers(0, 2**32 - 1), rule_count=st.integers(1, 12))
@example(seed=1, rule_count=128)
@example(seed=2, rule_count=65)
def test_verdict_equals_ranking(seed: int, rule_count: int) -> None:
    """Whatever hits, the verdict is that of the plain ranking after overrides."""
    rng = random.Random(seed)
    program = program_from_file(random_file(rng, rule_count))
    density = rng.choice((0.05, 0.5, 0.95))
    hits = np.zeros((60, 2), np.uint64)
    for row in hits:
        for r in range(rule_count):
            row[r >> 6] |= np.uint64((rng.random() < density) << (r & 63))
    verdict = np.full(len(hits), 7, VERDICT)
    _resolve(program, np.arange(len(hits), dtype=np.int32), hits, verdict)
    for row, found in zip(hits, verdict, strict=True):
        kind, name, is_review = verdict_of(program.source, _names(program, row))
        index = program.names.index(name) if name else -1
        response = int(program.rules[index]["response"]) if name else 0
        assert (kind, index, response, is_review) == (
            found["action"],
            found["rule"],
            found["response"],
            found["review"],
        )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("D R", (ActionKind.DECLINE, "D", True)),
        ("S D", (ActionKind.DECLINE, "D", False)),
        ("S R", (ActionKind.STEP_UP, "S", True)),
        ("R", (ActionKind.REVIEW, "R", True)),
        ("A", (ActionKind.ALLOW, "A", False)),
        ("A S", (ActionKind.ALLOW, "A", False)),
        ("A S D", (ActionKind.DECLINE, "D", False)),
        ("A S R", (ActionKind.REVIEW, "R", True)),
        ("D D2", (ActionKind.DECLINE, "D", False)),
        ("D2", (ActionKind.DECLINE, "D2", False)),
        ("X", (ActionKind.NONE, "", False)),
        ("X R", (ActionKind.REVIEW, "R", True)),
        ("B S", (ActionKind.STEP_UP, "S", False)),
        ("T", (ActionKind.NONE, "", False)),
        ("", (ActionKind.NONE, "", False)),
    ],
)
def test_precedence(rows: str, expected: tuple[ActionKind, str, bool]) -> None:
    """DECLINE, STEP_UP, REVIEW, ALLOW; allows remove what they name; shadow never acts."""
    program = program_from_file(
        parse("""
        rule R post review "r" when km > 1
        rule S pre step_up "s" when km > 1
        rule D pre decline(59) "d" when km > 1
        rule D2 pre decline(62) "d2" when km > 1
        rule A pre allow(1h) overrides(S) "a" when km > 1
        rule B pre shadow allow(1h) overrides(S) "b" when km > 1
        rule X pre shadow decline(65) "x" when km > 1
        rule T pre tag seen "t" when km > 1
        """)
    )
    bits = sum(1 << program.names.index(name) for name in rows.split())
    verdict = np.zeros(1, VERDICT)
    hits = np.array([[bits, 0]], np.uint64)
    _resolve(program, np.zeros(1, np.int32), hits, verdict)
    kind, name, is_review = expected
    index = program.names.index(name) if name else -1
    row = verdict[0]
    assert (kind, index, is_review) == (row["action"], row["rule"], row["review"])


def test_verdict_carries_response() -> None:
    """A decline answers with its own code, a step-up with 1A, the others with none."""
    program = program_from_file(
        parse('rule D pre decline(N7) "d" when km > 1 rule S pre step_up "s" when kmh > 1')
    )
    values = np.zeros((3, COLUMN_COUNT))
    values[0, _NAMES.index("km")] = 2
    values[1, _NAMES.index("kmh")] = 2
    _, verdict = _run(program, values)
    expected = [response_number("N7"), response_number("1A"), 0]
    assert expected == verdict["response"].tolist()


def test_missing_compares_false() -> None:
    """With a missing value every comparison is false and its negation true."""
    conditions = ["< 5", "<= 5", "> 5", ">= 5", "== 5", "!= 5", "in (5)", "not in (5)"]
    rules = [f'rule P{i} pre review "p" when km {c}' for i, c in enumerate(conditions)]
    rules += [f'rule N{i} pre review "n" when not km {c}' for i, c in enumerate(conditions)]
    rules += ['rule B pre review "b" when km between 1 and 9']
    program = program_from_file(parse("\n".join(rules)))
    hits, _ = _run(program, np.full((1, COLUMN_COUNT), np.nan))
    assert {f"N{i}" for i in range(len(conditions))} == _names(program, hits[0])


def test_other_rows_untouched() -> None:
    """Rows outside the index keep their hits and their verdict."""
    program = program_from_file(parse('rule A pre decline(59) "a" when km >= 0'))
    values = np.zeros((4, COLUMN_COUNT))
    hits = np.full((4, 2), 8, np.uint64)
    verdict = np.full(4, 7, VERDICT)
    idx = np.array([1, 3], np.int32)
    _evaluate(program, values, idx, Phase.PRE, hits)
    _resolve(program, idx, hits, verdict)
    assert hits[:, 0].tolist() == [8, 9, 8, 9]
    assert verdict["rule"].tolist() == [7, 0, 7, 0]


def test_no_rules_changes_nothing() -> None:
    """The empty program hits nothing, decides nothing and has version 0."""
    hits, verdict = _run(no_rules(), np.zeros((70, COLUMN_COUNT)))
    assert not hits.any()
    assert {-1} == set(verdict["rule"].tolist())
    assert (no_rules().version, no_rules().rule_count) == (0, 0)


def test_last_rule_uses_last_bit() -> None:
    """Rule 127 is the top bit of the second word."""
    rules = "\n".join(f'rule R{i} pre review "r" when km >= {i}' for i in range(128))
    program = program_from_file(parse(rules))
    values = np.full((1, COLUMN_COUNT), 127.0)
    hits, verdict = _run(program, values)
    assert hits[0].tolist() == [2**64 - 1, 2**64 - 1]
    assert verdict[0]["rule"] == 0


def test_points_raise_score() -> None:
    """Active score rules add up to 10,000 at most; shadow ones and unscored rows add nothing."""
    program = program_from_file(
        parse("""
        rule A pre score +0.05 "a" when km > 1
        rule B pre score +0.9 "b" when kmh > 1
        rule C pre shadow score +0.5 "c" when km > 1
        """)
    )
    hits = np.array([[0, 0], [1, 0], [5, 0], [7, 0], [7, 0], [7, 0]], np.uint64)
    score_bp = np.array([10, 10, 10, 10, 9_999, SCORE_NONE], np.uint16)
    add_points(np.arange(6, dtype=np.int32), hits, program.rules, deploy(program).adding, score_bp)
    assert score_bp.tolist() == [10, 510, 510, 9_510, 10_000, SCORE_NONE]


@given(
    points=st.lists(st.tuples(st.integers(1, 9_999), st.booleans()), min_size=1, max_size=5),
    bits=st.integers(0, 31),
    score_bp=st.integers(0, 10_000) | st.just(SCORE_NONE),
)
def test_points_equal_oracle(points: list[tuple[int, bool]], bits: int, score_bp: int) -> None:
    """Whatever score rules hit, the sum is the capped sum of the active ones."""
    lines = [
        f'rule R{i} pre {"active" if is_active else "shadow"} score +0.{bp:04} "s" when cnp'
        for i, (bp, is_active) in enumerate(points)
    ]
    program = program_from_file(parse("\n".join(lines)))
    hits = np.array([[bits, 0]], np.uint64)
    score = np.array([score_bp], np.uint16)
    add_points(np.zeros(1, np.int32), hits, program.rules, deploy(program).adding, score)
    names = {name for i, name in enumerate(program.names) if bits >> i & 1}
    assert score[0] == score_after_points(program.source, names, score_bp)
