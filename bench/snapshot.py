"""What a snapshot of a running engine costs the traffic: the pause, and the batches beside it.

A state with 1,000,000 accounts and cards and as many open authorizations. The pause is the fork of
the child that writes the snapshot; its baseline is copying the tables at once, which is what a
snapshot without a child would stop for. The second figure is the longest batch (1,024 rows of
account, card velocity and authorization changed at random places) while the child writes: the
kernel copies each page at its first change; its baseline is the longest one without a child.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.figures import Figure, cost_figure
from engine.state import Bounds, EngineState
from ledger.authorizations import Cursor, State
from ledger.journal import Position
from ledger.snapshot_fork import SnapshotChild

ACCOUNTS = 1_000_000
_BATCH = 1_024
_BATCHES = 400
_MERCHANTS = 100_000
_SEED = 39


def snapshot_figures(place: Path, *, runs: int, accounts: int = ACCOUNTS) -> list[Figure]:
    """Return the pause and the longest batch beside a snapshot, each with its baseline, in ms."""
    state = filled(accounts)
    batch = _changes(state, accounts)
    copies, pauses, calm, beside = [], [], [], []
    for _ in range(runs):
        copies.append(_ms(lambda: {name: rows.copy() for name, rows in state.arrays().items()}))
        calm.append(max(_ms(batch) for _ in range(_BATCHES)))
        child = SnapshotChild(place, accounts, Position(), state.arrays)
        pauses.append(child.pause_ns / 1e6)
        beside.append(max(_ms(batch) for _ in range(_BATCHES)))
        child.give_up()
    state.close()
    copy_ms, calm_ms = float(np.median(copies)), float(np.median(calm))
    return [
        cost_figure("journal.snapshot.pause", "ms", pauses, "copy all tables at once", copy_ms),
        cost_figure("journal.snapshot.beside", "ms", beside, "longest batch without", calm_ms),
    ]


def filled(accounts: int) -> EngineState:
    """Return a state whose tables are in use, every page of them touched."""
    ring = 1 << accounts.bit_length()
    state = EngineState(Bounds(accounts + 1, accounts + 1, _MERCHANTS, ring, 1024))
    state.accounts["limit_minor"] = state.accounts["otb_minor"] = 10**9
    state.cards["account"] = np.arange(len(state.cards))
    state.card_velocity["updated_s"] = 1
    state.ring["state"] = State.OPEN
    cursor = state.cursor
    cursor[Cursor.ACCOUNTS] = cursor[Cursor.CARDS] = cursor[Cursor.HEAD] = accounts
    cursor[Cursor.NEXT_SEQ] = accounts + 1
    cursor[Cursor.MERCHANTS] = _MERCHANTS - 1
    return state


def _changes(state: EngineState, accounts: int) -> Callable[[], None]:
    """Return a call that changes one batch of rows, other ones each time."""
    draw = np.random.default_rng(_SEED)

    def batch() -> None:
        rows = draw.integers(1, accounts, _BATCH)
        state.accounts["hold_minor"][rows] += 1
        state.card_velocity["updated_s"][rows] += 1
        state.ring["held_minor"][rows] += 1

    return batch


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3
