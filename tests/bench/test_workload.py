"""The generated payments: repeatable, plausible, close to the published shares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import enrich
from bench.traffic import classify
from bench.workload import DAY_S, RADIUS, Workload
from bench.workload_kernels import CELLS, pick_terminals
from engine.entry import CONDITION_BITS, entry_class, is_card_not_present
from scoring.payment import PaymentFlag
from tests.oracle import load as oracle
from tests.support.effort import examples


@pytest.fixture(scope="module")
def workload() -> Workload:
    """Make a workload large enough for shares to settle."""
    return Workload(2_000, 4_000, 60, 7)


def test_equal_seeds_give_equal_payments() -> None:
    """The same arguments give the same columns, another seed gives others."""
    first, second, other = (Workload(300, 500, 5, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.orders(), second.orders())
    assert not np.array_equal(first.orders()[:50], other.orders()[:50])


def test_payments_are_sorted_positive_and_inside_the_days(workload: Workload) -> None:
    """Times never fall, every amount is over 0, every time lies in the days asked for."""
    assert np.all(np.diff(workload.t_seconds) >= 0)
    assert workload.amount_cents.min() > 0
    assert workload.t_seconds.min() >= 0
    assert workload.t_seconds.max() < 60 * DAY_S
    assert workload.customers <= 2_000
    assert workload.terminals <= 4_000


def test_fraud_share_is_near_the_published_one(workload: Workload) -> None:
    """All fraud together is near 0.84 %, and each scenario near its own share."""
    shares = np.bincount(workload.scenario, minlength=4) / len(workload)
    assert 0.006 < shares[1:].sum() < 0.012
    assert 0.0002 < shares[1] < 0.0015
    assert 0.0035 < shares[2] < 0.0080
    assert 0.0015 < shares[3] < 0.0045


def test_amount_and_pace_are_near_the_published_ones(workload: Workload) -> None:
    """A payment is 53.63 and a card pays 1.92 times a day in the published stream."""
    assert 45 < workload.amount_cents.mean() / 100 < 62
    assert 1.7 < len(workload) / (2_000 * 60) < 2.1


def test_large_amounts_are_fraud_and_thefts_go_online(workload: Workload) -> None:
    """Everything over 220.00 is labelled; leaked cards are used online more than others."""
    assert workload.scenario[workload.amount_cents > 22_000].min() > 0
    online = enrich.is_ecommerce(workload.terminal)
    assert online[workload.scenario == 3].mean() > 0.5
    assert online.mean() < 0.3


def test_enrichment_never_reads_the_label(workload: Workload) -> None:
    """The same payment gets the same category, country and entry mode whatever its label is."""
    orders = workload.orders()
    labels, workload.scenario = workload.scenario, np.zeros_like(workload.scenario)
    blind = workload.orders()
    workload.scenario = labels
    names = [name for name in orders.dtype.names if name != "scenario"]
    assert np.array_equal(orders[names], blind[names])


def test_payment_rows_follow_the_one_entry_rule(workload: Workload) -> None:
    """Entry class and card-not-present of the rows equal the function on DE22 and DE25."""
    orders, rows = workload.orders()[:2_000], workload.payments()[:2_000]
    for order, row in zip(orders, rows, strict=True):
        condition = int(order["condition"])
        entry = entry_class(int(order["entry_mode"]), bool(CONDITION_BITS[condition] & 1))
        assert entry == row["entry"]
        absent = is_card_not_present(entry, condition)
        assert bool(row["flags"] & PaymentFlag.CNP) == absent
        assert row["card"] == order["customer"] + 1
        assert row["merchant"] == order["terminal"] + 1


def test_classify_agrees_with_the_function_on_every_code() -> None:
    """The column form of the entry rule equals the function for all DE22 and DE25."""
    modes, conditions = (axis.ravel() for axis in np.mgrid[0:1000, 0:100])
    entry, absent = classify(modes, conditions)
    for i in range(0, modes.size, 7):
        online = bool(CONDITION_BITS[conditions[i]] & 1)
        expected = entry_class(int(modes[i]), online)
        assert entry[i] == expected
        assert absent[i] == is_card_not_present(expected, int(conditions[i]))


@pytest.mark.parametrize("bad", [(0, 1, 1, 0), (1, 0, 1, 0), (1, 1, 0, 0), (1, 1, 1, -1)])
def test_impossible_workloads_are_refused(bad: tuple[int, int, int, int]) -> None:
    """No customers, terminals or days, or a seed below 0, is an error."""
    with pytest.raises(ValueError, match="1 or more"):
        Workload(*bad)


@pytest.mark.kernels
@given(
    st.lists(st.tuples(st.floats(0, 99.99), st.floats(0, 99.99)), min_size=1, max_size=60),
    st.tuples(st.floats(0, 99.99), st.floats(0, 99.99)),
    st.integers(0, 2**60),
)
@settings(max_examples=examples(80))
def test_picked_terminals_are_exactly_those_in_reach(
    terminals: list[tuple[float, float]], customer: tuple[float, float], seed: int
) -> None:
    """Every pick lies in reach, none is made when none does, and few in reach are all picked."""
    xy = np.array(terminals)
    cell = np.minimum((xy / 5).astype(np.int64), CELLS - 1)
    cell_number = cell[:, 0] * CELLS + cell[:, 1]
    by_cell = np.argsort(cell_number, kind="stable")
    starts = np.searchsorted(cell_number[by_cell], np.arange(CELLS * CELLS + 1)).astype(np.int64)
    out = np.zeros(400, dtype=np.int32)
    customers = np.zeros(400, dtype=np.int32)
    pick_terminals(customers, np.array([customer]), xy[by_cell], by_cell, starts, RADIUS, seed, out)
    near = oracle.in_reach(customer, terminals, RADIUS)
    picked = set(out.tolist())
    assert picked <= near if near else picked == {-1}
    if 0 < len(near) <= 10:
        assert picked == near
