"""Seeded card traffic after the published description of the Fraud Detection Handbook's simulator.

Customers and terminals lie on a 100 x 100 grid; a customer pays at terminals within radius 5, some
0 to 4 times a day, around noon, amounts normal around an own mean. Three kinds of fraud: amounts
over 220.00 (1), terminals compromised for 28 days (2), leaked cards for 14 days, a third of whose
payments are five times as large (3). Own code; differences from the publication: compromises began
before the first day, so the fraud share is the same on every day, their number grows with the
number of cards and terminals, and a thief may take a leaked card to an e-commerce terminal.

Source: Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud
Detection, chapter 3, "Transaction data simulator".
"""

import numpy as np
from numpy.typing import NDArray

from bench.enrich import is_ecommerce
from bench.traffic import Traffic
from bench.workload_kernels import CELLS, pick_terminals

RADIUS = 5.0
GRID = 100.0
DAY_S = 86_400
MAX_CUSTOMERS = 10**9  # nine digits of the test card number
MAX_TERMINALS = 10**7  # seven digits of DE41
START_S = 1_522_540_800  # 2018-04-01 00:00:00 UTC, the first day of the published stream

_LARGE_CENTS = 22_000
_TERMINALS_LOST_A_DAY = 2 / 10_000  # share of all terminals
_TERMINAL_DAYS = 28
_CARDS_LEAKED_A_DAY = 3 / 5_000
_CARD_DAYS = 14
_THEFT_SHARE = 1 / 3
_THEFT_ECOMMERCE_SHARE = 0.6  # of a leaked card's fraudulent payments, where the thief may choose


class Workload(Traffic):
    """Generated traffic: the columns of ``Traffic``, equal for equal arguments.

    Parameters: ``customers`` >= 1, ``terminals`` >= 1, ``days`` >= 1, ``seed`` >= 0, ``start_s``
    (Unix seconds of day 0, midnight UTC). A customer with no terminal in reach never pays.
    """

    def __init__(
        self, customers: int, terminals: int, days: int, seed: int, *, start_s: int = START_S
    ) -> None:
        if min(customers, terminals, days) < 1 or seed < 0:
            raise ValueError("a workload needs 1 or more customers, terminals, days; seed >= 0")
        if customers > MAX_CUSTOMERS or terminals > MAX_TERMINALS:
            raise ValueError(f"at most {MAX_CUSTOMERS} customers and {MAX_TERMINALS} terminals")
        rng = np.random.default_rng(seed)
        t_seconds, customer, amount = _payments(rng, customers, days)
        terminal = _terminals_in_reach(rng, customers, terminals, customer)
        kept = np.flatnonzero(terminal >= 0)
        t_seconds, customer = t_seconds[kept], customer[kept]
        terminal, amount = terminal[kept], amount[kept]
        order = np.argsort(t_seconds, kind="stable")
        t_seconds, customer = t_seconds[order], customer[order]
        terminal, amount = terminal[order], amount[order]
        scenario = np.where(amount > _LARGE_CENTS, 1, 0).astype(np.uint8)
        # Days are slices of the sorted payments; every fraud below is decided a day at a time.
        edges = np.searchsorted(t_seconds, np.arange(days + 1) * DAY_S)
        _compromise_terminals(rng, edges, terminals, terminal, scenario)
        _leak_cards(rng, edges, customers, terminals, customer, terminal, amount, scenario)
        super().__init__(t_seconds, customer, terminal, amount, scenario, start_s)


def _payments(
    rng: np.random.Generator, customers: int, days: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    mean_cents = rng.uniform(500.0, 10_000.0, customers)
    mean_a_day = rng.uniform(0.0, 4.0, customers)
    counts = rng.poisson(mean_a_day[:, None], (customers, days)).ravel()
    cell = np.repeat(np.arange(customers * days), counts)  # one number a customer and day
    customer = (cell // days).astype(np.int32)
    clock = rng.normal(DAY_S / 2, 20_000.0, cell.size).astype(np.int64)
    t_seconds = (cell % days) * DAY_S + clock
    mean = mean_cents[customer]
    cents = rng.normal(mean, mean / 2)
    cents = np.where(cents < 0, rng.uniform(0.0, 2.0, cell.size) * mean, cents)
    amount = np.maximum(np.rint(cents), 1).astype(np.int64)
    inside = np.flatnonzero((clock > 0) & (clock < DAY_S))
    return t_seconds[inside], customer[inside], amount[inside]


def _terminals_in_reach(
    rng: np.random.Generator, customers: int, terminals: int, customer: NDArray[np.int32]
) -> NDArray[np.int32]:
    customer_xy = rng.uniform(0.0, GRID, (customers, 2))
    terminal_xy = rng.uniform(0.0, GRID, (terminals, 2))
    cell = np.minimum((terminal_xy / (GRID / CELLS)).astype(np.int64), CELLS - 1)
    cell_number = cell[:, 0] * CELLS + cell[:, 1]
    by_cell = np.argsort(cell_number, kind="stable")
    starts = np.searchsorted(cell_number[by_cell], np.arange(CELLS * CELLS + 1)).astype(np.int64)
    picked = np.empty(customer.size, dtype=np.int32)
    draw_seed = int(rng.integers(0, 2**62))
    pick_terminals(
        customer, customer_xy, terminal_xy[by_cell], by_cell, starts, RADIUS, draw_seed, picked
    )
    return picked


def _drawn(rng: np.random.Generator, population: int, share: float) -> NDArray[np.int64]:
    """Draw ``share`` of ``population`` without replacement, the fraction of one by luck."""
    wanted = population * share
    count = int(wanted) + int(rng.random() < wanted % 1)
    return rng.choice(population, count, replace=False)


def _compromise_terminals(
    rng: np.random.Generator,
    edges: NDArray[np.int64],
    terminals: int,
    terminal: NDArray[np.int32],
    scenario: NDArray[np.uint8],
) -> None:
    until = np.full(terminals, -1, dtype=np.int64)  # last day on which all payments are fraud
    for day in range(1 - _TERMINAL_DAYS, edges.size - 1):
        until[_drawn(rng, terminals, _TERMINALS_LOST_A_DAY)] = day + _TERMINAL_DAYS - 1
        if day >= 0:
            today = slice(edges[day], edges[day + 1])
            scenario[today][until[terminal[today]] >= day] = 2


def _leak_cards(
    rng: np.random.Generator,
    edges: NDArray[np.int64],
    customers: int,
    terminals: int,
    customer: NDArray[np.int32],
    terminal: NDArray[np.int32],
    amount: NDArray[np.int64],
    scenario: NDArray[np.uint8],
) -> None:
    online = np.flatnonzero(is_ecommerce(np.arange(terminals)))
    until = np.full(customers, -1, dtype=np.int64)
    for day in range(1 - _CARD_DAYS, edges.size - 1):
        until[_drawn(rng, customers, _CARDS_LEAKED_A_DAY)] = day + _CARD_DAYS - 1
        if day < 0:
            continue
        leaked = edges[day] + np.flatnonzero(until[customer[edges[day] : edges[day + 1]]] >= day)
        stolen = leaked[rng.random(leaked.size) < _THEFT_SHARE]
        amount[stolen] *= 5
        scenario[stolen] = 3
        if online.size:
            moved = stolen[rng.random(stolen.size) < _THEFT_ECOMMERCE_SHARE]
            terminal[moved] = rng.choice(online, moved.size)
