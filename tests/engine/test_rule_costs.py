"""What a rule costs is measured on the rule itself: alone it hits what it hits in its set."""

import random
from dataclasses import replace
from itertools import count, cycle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rule_costs import ROWS, Meter, Sample, alone
from engine.rules.bound import BoundRules
from engine.rules.deployed import Deployed, deploy
from engine.rules.language import parse
from engine.rules.list_table import ListTable
from engine.rules.program import program_from_file
from engine.rules.tree import Mode
from engine.workspace import Workspace
from engine.zones import new_card_zones
from ledger.accounts import new_accounts
from tests.oracle.rule_sets import random_file, random_rows
from tests.support.effort import examples
from tests.support.small_engine import START_NS, SmallEngine, frame

pytestmark = pytest.mark.kernels

_ROWS = 24
_CALL_NS = 1_000


def _filled(live: Deployed, seed: int) -> Workspace:
    """Return rows whose columns are values of the sets already."""
    work = Workspace(_ROWS, 1)
    work.values[:] = random_rows(random.Random(seed), _ROWS)
    work.hits = np.zeros((2 * _ROWS, live.program.words), np.uint64)
    return work


def _hits(live: Deployed, seed: int) -> np.ndarray:
    """Return the hits of a set whose columns need not be filled, u64[_ROWS, words]."""
    work = _filled(live, seed)
    bare = replace(live, needed=np.zeros(0, np.int16), adding=np.zeros(0, np.int16))
    tables = (new_accounts(4), new_card_zones(4), ListTable(64).tables)
    bound = BoundRules(bare, work, *tables)  # kept: the kernels have addresses only
    bound.without_score(np.arange(_ROWS, dtype=np.int32), 0)
    return work.hits[:_ROWS]


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90))
def test_a_rule_alone_hits_what_it_hits_in_its_set(seed: int, rule_count: int) -> None:
    """Any set, rule by rule: its bit is the same on every row, and there is no other."""
    live = deploy(program_from_file(random_file(random.Random(seed), rule_count)))
    whole = _hits(live, seed)
    for place in range(rule_count):
        one = alone(live, place)
        mask = np.zeros(live.program.words, np.uint64)
        mask[place >> 6] = np.uint64(1 << (place & 63))
        np.testing.assert_array_equal(_hits(one, seed), whole & mask)
        assert set(one.needed.tolist()) <= set(live.needed.tolist())
        assert len(one.program.predicates) <= len(live.program.predicates)


_SET = """
rule A pre decline(59) "a" when amount >= 1.00
rule B pre off decline(59) "b" when amount >= 1.00
rule C post shadow review "c" when amount > 2 * mean_15d + 1.00 and local.hour < 6
"""


def _sample() -> tuple[SmallEngine, Sample]:
    engine, sample = SmallEngine(program=program_from_file(parse(_SET))), Sample()
    for stan in range(1, 40):
        amount = f"{100 * stan:012d}"
        engine.play([(START_NS + stan * 10**9, frame("0100", 1, stan, de4=amount))], [])
        sample.take(engine.authorizer.work)
    return engine, sample


def test_a_sample_holds_the_latest_payments_of_batches() -> None:
    """As rules saw them: the last one of every look, until newer ones take their place."""
    engine, sample = _sample()
    assert sample.count == 39
    assert sample.work.payments["amount_minor"][:39].tolist() == [100 * n for n in range(1, 40)]
    row = engine.authorizer.work
    for name in ("payments", "facts", "features", "shared", "extras"):
        assert getattr(sample.work, name)[38].tobytes() == getattr(row, name)[0].tobytes(), name
    row.payments["t_s"][1] = row.payments["t_s"][0] - 600  # of a larger batch, long ago
    for _ in range(ROWS):
        sample.take(row)
    assert sample.count == ROWS
    assert (sample.work.payments["amount_minor"] == 3_900).all()


def test_the_least_reading_counts_less_the_fixed_cost() -> None:
    """By a clock of steps: the simplest rule, the set, then each rule that is not off."""
    engine, sample = _sample()
    state = engine.state
    tables = (state.accounts, state.card_zones, state.rules.lists.tables)
    of_a_set = [_CALL_NS * n for n in (9, 4, 9, 9, 5, 9, 9)]  # seven readings, the least is 4
    fixed, whole, rule_a, rule_c = of_a_set, [9_000] * 7, [6_000] * 7, [1_000] * 7
    at, steps = 0, cycle([*fixed, *whole, *rule_a, *rule_c])
    calls = count()

    def clock() -> int:
        nonlocal at
        at += next(steps) if next(calls) % 2 else 0
        return at

    rests: list[float] = []
    found = Meter(state.rules.deployed, sample, *tables, clock).all(
        lambda seconds: bool(rests.append(seconds))
    )
    assert found is not None
    a_row = 8 * sample.count
    assert found.whole == pytest.approx((9_000 - 4_000) / a_row)
    assert found.rules == pytest.approx({"A": 2_000 / a_row, "C": 0.0})
    assert len(rests) == 2
    assert min(rests) > 0


def test_who_stops_gets_nothing() -> None:
    """A measurement that is given up says nothing about any rule."""
    engine, sample = _sample()
    state = engine.state
    tables = (state.accounts, state.card_zones, state.rules.lists.tables)
    assert Meter(state.rules.deployed, sample, *tables).all(lambda _: True) is None


def test_real_costs_are_of_every_rule_that_runs() -> None:
    """By the real clock: not below zero, none of a rule that is off, nothing else changes."""
    engine, sample = _sample()
    state = engine.state
    live = state.rules.deployed
    tables = (state.accounts, state.card_zones, state.rules.lists.tables)
    before = [array.tobytes() for array in (live.terms, live.program.predicates, state.accounts)]
    found = Meter(live, sample, *tables).all()
    assert found is not None
    assert set(found.rules) == {"A", "C"}
    assert all(0 <= cost < 1e6 for cost in (*found.rules.values(), found.whole))
    assert live.modes.tolist() == [Mode.ACTIVE, Mode.OFF, Mode.SHADOW]
    after = [array.tobytes() for array in (live.terms, live.program.predicates, state.accounts)]
    assert before == after
