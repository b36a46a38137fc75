"""The two calls in which a wave goes through the rules: before the score and after it; or one.

A call from Python looks up the type of each array and hands over its words, a tenth of a
microsecond an array: more than the rules cost for one payment. So the arrays, which stay where they
are from wave to wave, are noted once (``engine.rules.bound``) and their notes are handed over.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from engine.rules.column_kernels import fill_columns, fill_score
from engine.rules.columns import RULE_FACTS
from engine.rules.kernels import add_points, evaluate, resolve
from engine.rules.list_kernels import LIST_ENTRY
from engine.rules.program import PREDICATE, RULE, TERM, VERDICT
from engine.rules.row_kernels import RANGE
from engine.rules.sum_kernels import SUM, SUM_STEP, fill_sums
from engine.rules.tree import Phase
from engine.zones import TRANSITION, ZONE
from ledger.accounts import ACCOUNT
from ledger.index import SLOT
from ledger.jit import Int, hot_kernel, kernel, noted_rows, noted_table
from scoring.payment import PAYMENT


class Part(IntEnum):
    """Places of the arrays in the notes."""

    VALUES = 0
    HITS = 1
    SCORES = 2
    VERDICTS = 3
    PAYMENTS = 4
    FACTS = 5
    FEATURES = 6
    SHARED = 7
    EXTRAS = 8
    ACCOUNTS = 9
    SLOTS = 10
    ENTRIES = 11
    PREDICATES = 12
    LIST_KEYS = 13
    TERMS = 14
    LITERALS = 15
    STEPS = 16
    SUMS = 17
    RULES = 18
    ADDING = 19
    ACTING = 20
    OVERRIDES = 21
    NEEDED = 22
    RANGES = 23
    SCRATCH = 24
    CARD_ZONES = 25
    ZONES = 26
    TRANSITIONS = 27


PRE_COUNT, AHEAD_S, ZONE_NUMBER = (3 * len(Part) + n for n in range(3))  # behind the notes
NUMBER_COUNT = 3

_VALUES = int(Part.VALUES)
_HITS = int(Part.HITS)
_SCORES = int(Part.SCORES)
_VERDICTS = int(Part.VERDICTS)
_PAYMENTS = int(Part.PAYMENTS)
_FACTS = int(Part.FACTS)
_FEATURES = int(Part.FEATURES)
_SHARED = int(Part.SHARED)
_EXTRAS = int(Part.EXTRAS)
_ACCOUNTS = int(Part.ACCOUNTS)
_SLOTS = int(Part.SLOTS)
_ENTRIES = int(Part.ENTRIES)
_PREDICATES = int(Part.PREDICATES)
_LIST_KEYS = int(Part.LIST_KEYS)
_TERMS = int(Part.TERMS)
_LITERALS = int(Part.LITERALS)
_STEPS = int(Part.STEPS)
_SUMS = int(Part.SUMS)
_RULES = int(Part.RULES)
_ADDING = int(Part.ADDING)
_ACTING = int(Part.ACTING)
_OVERRIDES = int(Part.OVERRIDES)
_NEEDED = int(Part.NEEDED)
_RANGES = int(Part.RANGES)
_SCRATCH = int(Part.SCRATCH)
_CARD_ZONES = int(Part.CARD_ZONES)
_ZONES = int(Part.ZONES)
_TRANSITIONS = int(Part.TRANSITIONS)
_PRE = int(Phase.PRE)
_POST = int(Phase.POST)


@kernel
def before_score(notes: NDArray[np.int64], idx: NDArray[np.int32]) -> None:
    """Fill the columns of the rows ``idx`` i32[k] and set the bits of the PRE rules that hold."""
    fill_columns(
        noted_rows(notes, _PAYMENTS, PAYMENT),
        idx,
        noted_table(notes, _FEATURES, np.float32),
        noted_table(notes, _SHARED, np.float32),
        noted_table(notes, _EXTRAS, np.float32),
        noted_rows(notes, _FACTS, RULE_FACTS),
        noted_rows(notes, _ACCOUNTS, ACCOUNT),
        (
            notes[AHEAD_S],
            notes[ZONE_NUMBER],
            noted_rows(notes, _CARD_ZONES, np.uint16),
            noted_rows(notes, _ZONES, ZONE),
            noted_rows(notes, _TRANSITIONS, TRANSITION),
        ),
        noted_rows(notes, _NEEDED, np.int16),
        noted_table(notes, _VALUES, np.float64),
        noted_table(notes, _VALUES, np.uint64),
    )
    _phase(notes, idx, _PRE, 0, notes[PRE_COUNT])


@kernel
def after_score(notes: NDArray[np.int64], idx: NDArray[np.int32], snooze_count: int) -> None:
    """Add points to the score, set the bits of the POST rules that hold, and write the verdicts.

    ``snooze_count`` is of the entries that snooze a rule; 0 = nothing to look up.
    """
    hits = noted_table(notes, _HITS, np.uint64)
    rules = noted_rows(notes, _RULES, RULE)
    scores = noted_rows(notes, _SCORES, np.uint16)
    add_points(idx, hits, rules, noted_rows(notes, _ADDING, np.int16), scores)
    fill_score(scores, idx, noted_table(notes, _VALUES, np.float64))
    _phase(notes, idx, _POST, notes[PRE_COUNT], notes[3 * _TERMS + 1])
    resolve(
        idx,
        hits,
        rules,
        noted_table(notes, _ACTING, np.uint64),
        noted_table(notes, _OVERRIDES, np.uint64),
        noted_rows(notes, _PAYMENTS, PAYMENT),
        snooze_count,
        (noted_rows(notes, _SLOTS, SLOT), noted_rows(notes, _ENTRIES, LIST_ENTRY)),
        noted_rows(notes, _SCRATCH, np.uint64),
        noted_rows(notes, _VERDICTS, VERDICT),
    )


@kernel
def without_score(notes: NDArray[np.int64], idx: NDArray[np.int32], snooze_count: int) -> None:
    """As ``before_score`` and ``after_score``, where nothing scores in between."""
    before_score(notes, idx)
    after_score(notes, idx, snooze_count)


@hot_kernel
def _phase(
    notes: NDArray[np.int64], idx: NDArray[np.int32], phase: Int, first: Int, last: Int
) -> None:
    values = noted_table(notes, _VALUES, np.float64)
    sums = noted_rows(notes, _SUMS, SUM)
    if sums.shape[0] > 0:  # also where no term is of this phase: later ones read them
        fill_sums(idx, noted_rows(notes, _STEPS, SUM_STEP), sums, phase, values)
    if first == last:
        return
    evaluate(
        values,
        idx,
        noted_rows(notes, _PREDICATES, PREDICATE),
        noted_rows(notes, _LIST_KEYS, np.uint64),
        noted_rows(notes, _TERMS, TERM),
        first,
        last,
        noted_rows(notes, _LITERALS, np.int16),
        noted_rows(notes, _RANGES, RANGE),
        (noted_rows(notes, _SLOTS, SLOT), noted_rows(notes, _ENTRIES, LIST_ENTRY)),
        noted_rows(notes, _SCRATCH, np.uint64),
        noted_table(notes, _HITS, np.uint64),
    )
