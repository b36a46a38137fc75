"""Rules bound to the columns of a batch do what their kernels do one by one."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.bound import BoundRules
from engine.rules.column_kernels import fill_columns, fill_score
from engine.rules.columns import BY_NAME, RULE_FACTS
from engine.rules.deployed import Deployed, deploy
from engine.rules.kernels import add_points, evaluate, resolve
from engine.rules.language import parse
from engine.rules.list_table import ListTable
from engine.rules.program import program_from_file
from engine.rules.sum_kernels import fill_sums
from engine.rules.tree import Phase
from engine.workspace import Workspace
from engine.zones import zone_number, zone_table
from ledger.accounts import new_accounts
from ledger.record import SCORE_NONE
from scoring.payment import PAYMENT
from tests.oracle.rule_sets import random_file, scratch_of
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

_ROWS = 24

_ZONES = np.array([0, 434, 171, 285], np.uint16)  # by card


def _filled(seed: int, live: Deployed) -> Workspace:
    """Return columns of any numbers; missing ones among the features."""
    rng, work = np.random.default_rng(seed), Workspace(_ROWS, 1 << 12)
    for column in (work.features, work.shared, work.extras):
        column[:] = rng.choice([-1.0, 0.0, 0.5, 1.0, 3.0, 40.0, np.nan], column.shape)
    for name in PAYMENT.names or ():
        work.payments[name] = rng.integers(0, 5, _ROWS)
    for name in RULE_FACTS.names or ():
        work.facts[name] = rng.integers(0, 4, _ROWS)
    work.scores[:_ROWS] = rng.choice([0, 40, 5_000, 9_999, 10_000, SCORE_NONE], _ROWS)
    work.hits = np.zeros((2 * _ROWS, live.program.words), np.uint64)
    return work


def _one_by_one(live: Deployed, work: Workspace, idx: np.ndarray, accounts, lists) -> None:
    program, values = live.program, work.values
    table = zone_table()
    zone = program.source.zone_s, zone_number(program.source.zone)
    clock = (*zone, _ZONES, table.zones, table.transitions)
    facts = (work.features, work.shared, work.extras, work.facts, accounts, clock)
    fill_columns(work.payments, idx, *facts, live.needed, values, values.view(np.uint64))
    for phase in Phase:
        if phase is Phase.POST:
            add_points(idx, work.hits, program.rules, live.adding, work.scores)
            fill_score(work.scores, idx, values)
        first, last = live.bounds(phase)
        fill_sums(idx, program.steps, program.sums, int(phase), values)
        tables = (program.predicates, program.list_keys, live.terms, first, last)
        forms = (program.literals, program.ranges)
        evaluate(values, idx, *tables, *forms, lists.tables, scratch_of(values), work.hits)
    acting = (program.rules, live.acting, program.overrides, work.payments)
    resolve(idx, work.hits, *acting, 0, lists.tables, scratch_of(values), work.verdicts)


@settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rule_count=st.integers(1, 140), count=st.integers(0, _ROWS))
def test_bound_equals_one_by_one(seed: int, rule_count: int, count: int) -> None:
    """The two calls, or the one, fill, evaluate, add points and decide as the single kernels do."""
    rng = random.Random(seed)
    live, lists = deploy(program_from_file(random_file(rng, rule_count))), ListTable(64)
    accounts = new_accounts(4)
    accounts["limit_minor"], accounts["otb_minor"] = 5_000, 3_000
    idx = np.array(rng.sample(range(_ROWS), k=count), np.int32)
    ours, theirs = _filled(seed, live), _filled(seed, live)
    bound = BoundRules(live, ours, accounts, _ZONES, lists.tables)
    if seed % 2:
        bound.before_score(idx)
        bound.after_score(idx, 0)
    else:
        bound.without_score(idx, 0)
    _one_by_one(live, theirs, idx, accounts, lists)
    for name in ("hits", "scores", "verdicts", "values"):
        assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes(), name


def test_another_array_does_not_fit() -> None:
    """A new set, new hits, new accounts or a grown list index asks for a new binding."""
    live, lists = deploy(program_from_file(random_file(random.Random(1), 3))), ListTable(64)
    work, accounts = _filled(1, live), new_accounts(4)
    slots = lists.tables[0]
    bound = BoundRules(live, work, accounts, _ZONES, lists.tables)
    assert bound.fits(live, work.hits, accounts, slots)
    assert not bound.fits(replace(live), work.hits, accounts, slots)
    assert not bound.fits(live, work.hits.copy(), accounts, slots)
    assert not bound.fits(live, work.hits, accounts.copy(), slots)
    assert not bound.fits(live, work.hits, accounts, slots.copy())


def test_wrong_arrays_are_refused() -> None:
    """What a kernel would misread is refused by name: another type, too few words, gaps."""
    live, lists = deploy(program_from_file(random_file(random.Random(1), 3))), ListTable(64)
    work, accounts = _filled(1, live), new_accounts(4)
    work.scores = work.scores.astype(np.uint32)
    with pytest.raises(TypeError, match="scores: uint32, not uint16"):
        BoundRules(live, work, accounts, _ZONES, lists.tables)
    work = _filled(1, live)
    work.hits = np.zeros((_ROWS, 1), np.uint64)
    with pytest.raises(ValueError, match="hits have 1 words a row, not 2"):
        BoundRules(live, work, accounts, _ZONES, lists.tables)
    work = _filled(1, live)
    with pytest.raises(ValueError, match="not contiguous"):
        BoundRules(live, work, accounts[::2], _ZONES, lists.tables)


def test_sums_are_made_where_no_rule_runs_before_the_score() -> None:
    """A sum that needs no score is made before it, even when all rules that do are off."""
    text = 'rule A post tag a "a" when amount > 2 * mean_15d rule B pre off tag b "b" when cnp'
    live, lists = deploy(program_from_file(parse(text))), ListTable(64)
    work, idx = _filled(1, live), np.arange(_ROWS, dtype=np.int32)
    work.payments["amount_minor"], work.payments["exponent"] = 300, 2
    work.features[:, BY_NAME["mean_15d"].index] = np.arange(_ROWS) / 4
    bound = BoundRules(live, work, new_accounts(4), _ZONES, lists.tables)
    bound.before_score(idx)
    bound.after_score(idx, 0)
    assert work.hits[:_ROWS, 0].tolist() == [int(2 * n / 4 < 3.0) for n in range(_ROWS)]
