"""The rules of a wave, ready to be called: the notes of every array that they read and write."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.rules.bound_kernels import (
    AHEAD_S,
    NUMBER_COUNT,
    PRE_COUNT,
    ZONE_NUMBER,
    Part,
    after_score,
    before_score,
    without_score,
)
from engine.rules.columns import RULE_FACTS
from engine.rules.deployed import Deployed
from engine.rules.list_kernels import LIST_ENTRY
from engine.rules.list_table import Tables
from engine.rules.program import PREDICATE, RULE, TERM, VERDICT
from engine.rules.row_kernels import RANGE
from engine.rules.sum_kernels import SUM, SUM_STEP
from engine.zones import TRANSITION, ZONE, zone_number, zone_table
from ledger.accounts import ACCOUNT
from ledger.index import SLOT
from ledger.jit import note_arrays
from scoring.payment import PAYMENT

_DTYPES = {
    Part.VALUES: np.dtype(np.float64),
    Part.HITS: np.dtype(np.uint64),
    Part.SCORES: np.dtype(np.uint16),
    Part.VERDICTS: VERDICT,
    Part.PAYMENTS: PAYMENT,
    Part.FACTS: RULE_FACTS,
    Part.FEATURES: np.dtype(np.float32),
    Part.SHARED: np.dtype(np.float32),
    Part.EXTRAS: np.dtype(np.float32),
    Part.ACCOUNTS: ACCOUNT,
    Part.SLOTS: SLOT,
    Part.ENTRIES: LIST_ENTRY,
    Part.PREDICATES: PREDICATE,
    Part.LIST_KEYS: np.dtype(np.uint64),
    Part.TERMS: TERM,
    Part.LITERALS: np.dtype(np.int16),
    Part.STEPS: SUM_STEP,
    Part.SUMS: SUM,
    Part.RULES: RULE,
    Part.ADDING: np.dtype(np.int16),
    Part.ACTING: np.dtype(np.uint64),
    Part.OVERRIDES: np.dtype(np.uint64),
    Part.NEEDED: np.dtype(np.int16),
    Part.RANGES: RANGE,
    Part.SCRATCH: np.dtype(np.uint64),
    Part.CARD_ZONES: np.dtype(np.uint16),
    Part.ZONES: ZONE,
    Part.TRANSITIONS: TRANSITION,
}


class Rows(Protocol):
    """The columns of a batch that rules read and write; an ``engine.workspace.Workspace``."""

    values: NDArray[np.float64]  # [n, COLUMN_COUNT or more]
    hits: NDArray[np.uint64]  # [n, words]
    scores: NDArray[np.uint16]
    verdicts: NDArray[np.void]  # VERDICT[n]
    payments: NDArray[np.void]  # PAYMENT[n]
    facts: NDArray[np.void]  # RULE_FACTS[n]
    features: NDArray[np.float32]
    shared: NDArray[np.float32]
    extras: NDArray[np.float32]


class BoundRules:
    """A deployed set over the columns of a batch, accounts, zones of cards u16 by card, and lists.

    It holds all these arrays.

    Whoever owns them asks ``fits`` before each wave and binds anew when it says no. ``rows.hits``
    may be exchanged between waves, the other columns stay.
    """

    __slots__ = ("_arrays", "after_score", "before_score", "live", "without_score")

    def __init__(
        self,
        live: Deployed,
        rows: Rows,
        accounts: NDArray[np.void],
        card_zones: NDArray[np.uint16],
        lists: Tables,
    ) -> None:
        program, clocks = live.program, zone_table()
        found: dict[Part, NDArray[Any]] = {
            Part.VALUES: rows.values,
            Part.HITS: rows.hits,
            Part.SCORES: rows.scores,
            Part.VERDICTS: rows.verdicts,
            Part.PAYMENTS: rows.payments,
            Part.FACTS: rows.facts,
            Part.FEATURES: rows.features,
            Part.SHARED: rows.shared,
            Part.EXTRAS: rows.extras,
            Part.ACCOUNTS: accounts,
            Part.SLOTS: lists[0],
            Part.ENTRIES: lists[1],
            Part.PREDICATES: program.predicates,
            Part.LIST_KEYS: program.list_keys,
            Part.TERMS: live.terms,
            Part.LITERALS: program.literals,
            Part.STEPS: program.steps,
            Part.SUMS: program.sums,
            Part.RULES: program.rules,
            Part.ADDING: live.adding,
            Part.ACTING: live.acting,
            Part.OVERRIDES: program.overrides,
            Part.NEEDED: live.needed,
            Part.RANGES: program.ranges,
            Part.SCRATCH: np.zeros(max(rows.values.shape[1], program.words), np.uint64),
            Part.CARD_ZONES: card_zones,
            Part.ZONES: clocks.zones,
            Part.TRANSITIONS: clocks.transitions,
        }
        for part, array in found.items():
            if array.dtype != _DTYPES[part]:
                raise TypeError(f"{part.name.lower()}: {array.dtype}, not {_DTYPES[part]}")
        if rows.hits.shape[1] != program.words:
            raise ValueError(f"hits have {rows.hits.shape[1]} words a row, not {program.words}")
        self.live = live
        self._arrays = tuple(found[part] for part in Part)
        notes = note_arrays(self._arrays, NUMBER_COUNT)
        notes[PRE_COUNT] = live.pre_count
        notes[AHEAD_S] = program.source.zone_s
        notes[ZONE_NUMBER] = zone_number(program.source.zone)
        # Of the kernels in bound_kernels, what is left to say: (idx), or (idx, snooze_count).
        self.before_score: Callable[[NDArray[np.int32]], None] = partial(before_score, notes)
        self.after_score: Callable[[NDArray[np.int32], int], None] = partial(after_score, notes)
        self.without_score: Callable[[NDArray[np.int32], int], None] = partial(without_score, notes)

    def fits(
        self,
        live: Deployed,
        hits: NDArray[np.uint64],
        accounts: NDArray[np.void],
        slots: NDArray[np.void],
    ) -> bool:
        """Whether these are still the set, hits, accounts and list index that were bound."""
        known = self._arrays
        return (
            live is self.live
            and hits is known[Part.HITS]
            and slots is known[Part.SLOTS]
            and accounts is known[Part.ACCOUNTS]
        )
