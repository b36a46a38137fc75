"""Evaluate a rule set over the rows of a batch, and pick what acts.

Rows are taken 64 at a time: a predicate becomes one 64-bit word with a bit a row, a term is the AND
of the words of its literals, and a rule holds where a term's bits are left. A column of the 64 rows
is copied together, and a predicate's word is made, when the first term asks for it; a term stops at
the first word that leaves no row. So the cost of and, or and not is shared by 64 rows, comparisons
run over neighbouring numbers, and conditions behind rare ones are seldom looked at.
"""

import numpy as np
from numpy.typing import NDArray

from engine.rules.tree import ActionKind, Mode, Operator
from ledger.jit import kernel

_LT = int(Operator.LT)
_LE = int(Operator.LE)
_GT = int(Operator.GT)
_GE = int(Operator.GE)
_EQ = int(Operator.EQ)
_NE = int(Operator.NE)
_IN = int(Operator.IN)
_ACTIVE = int(Mode.ACTIVE)
_NONE = int(ActionKind.NONE)
_ALLOW = int(ActionKind.ALLOW)
_DECLINE = int(ActionKind.DECLINE)
_REVIEW = int(ActionKind.REVIEW)
_SCORE = int(ActionKind.SCORE)
assert (_ALLOW, _DECLINE, int(ActionKind.STEP_UP), _REVIEW) == (1, 2, 3, 4)  # ranks of resolve
_SCORE_MAX_BP = 10_000
_BLOCK_ROWS = 64  # one bit of a word each


@kernel
def evaluate(
    values: NDArray[np.float64],
    idx: NDArray[np.int32],
    predicates: NDArray[np.void],
    list_values: NDArray[np.float64],
    terms: NDArray[np.void],
    literals: NDArray[np.int16],
    phase: int,
    hits: NDArray[np.uint64],
) -> None:
    """Set the bit of every rule of ``phase`` that holds, for the rows ``idx``.

    Parameters
    ----------
    values : f64[n, COLUMN_COUNT]
        Columns of the batch; NaN = missing, for which every comparison is false.
    idx : i32[k]
        Rows to look at.
    predicates, list_values, terms, literals
        Arrays of a Program.
    phase : int
        ``Phase.PRE`` or ``Phase.POST``.
    hits : u64[n, 2], out
        Bits are ORed in: rule r is bit r % 64 of word r // 64. Other rows are not touched.
    """
    words = np.zeros(len(predicates), np.uint64)
    made = np.full(len(predicates), -1, np.int32)  # first row of the block that ``words`` is for
    block = np.empty((values.shape[1], _BLOCK_ROWS), np.float64)  # columns of a block, transposed
    copied = np.full(values.shape[1], -1, np.int32)  # first row of the block that is in ``block``
    for start in range(0, len(idx), _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, len(idx) - start)
        all_rows = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(_BLOCK_ROWS - count)
        for t in range(len(terms)):
            if terms[t]["phase"] != phase:
                continue
            rows = all_rows
            for k in range(terms[t]["literal_start"], terms[t]["literal_end"]):
                p = np.int32(literals[k])
                flip = np.uint64(0)
                if p < 0:
                    p = ~p
                    flip = np.uint64(0xFFFFFFFFFFFFFFFF)
                if made[p] != start:
                    column = np.int64(predicates[p]["column"])
                    if copied[column] != start:
                        for j in range(count):
                            block[column, j] = values[idx[start + j], column]
                        copied[column] = start
                    words[p] = _word(block, column, count, predicates[p], list_values)
                    made[p] = start
                rows &= words[p] ^ flip
                if rows == np.uint64(0):
                    break
            if rows != np.uint64(0):
                _mark(rows, idx, start, terms[t]["rule"], hits)


@kernel
def _word(
    block: NDArray[np.float64],
    column: np.int64,
    count: int,
    predicate: np.void,
    list_values: NDArray[np.float64],
) -> np.uint64:
    """Return the predicate of ``count`` <= 64 values, bit j for ``block[column, j]``."""
    operator = predicate["operator"]
    constant = predicate["constant"]
    word = np.uint64(0)
    if operator == _GE:
        for j in range(count):
            word |= np.uint64(block[column, j] >= constant) << np.uint64(j)
    elif operator == _LT:
        for j in range(count):
            word |= np.uint64(block[column, j] < constant) << np.uint64(j)
    elif operator == _NE:  # not "!=", which holds for NaN
        for j in range(count):
            differs = (block[column, j] < constant) | (block[column, j] > constant)
            word |= np.uint64(differs) << np.uint64(j)
    elif operator == _EQ:
        for j in range(count):
            word |= np.uint64(block[column, j] == constant) << np.uint64(j)
    elif operator == _GT:
        for j in range(count):
            word |= np.uint64(block[column, j] > constant) << np.uint64(j)
    elif operator == _LE:
        for j in range(count):
            word |= np.uint64(block[column, j] <= constant) << np.uint64(j)
    else:
        is_wanted = operator == _IN
        start = predicate["list_start"]
        end = start + predicate["list_size"]
        for j in range(count):
            value = block[column, j]
            is_known = value == value  # noqa: PLR0124 - only NaN differs from itself
            if is_known and _is_member(value, list_values, start, end) == is_wanted:
                word |= np.uint64(1) << np.uint64(j)
    return word


@kernel
def _is_member(value: float, list_values: NDArray[np.float64], start: int, end: int) -> bool:
    """Return whether the sorted slice start..end holds ``value``, by bisection."""
    low = start
    high = end
    while low < high:
        middle = (low + high) >> 1
        if list_values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < end and list_values[low] == value


@kernel
def _mark(
    bits: np.uint64, idx: NDArray[np.int32], start: int, rule: int, hits: NDArray[np.uint64]
) -> None:
    """Set the bit of ``rule`` in row ``idx[start + j]`` for every bit j; steps over empty bytes."""
    half = rule >> 6
    mask = np.uint64(1) << np.uint64(rule & 63)
    j = start
    while bits != np.uint64(0):
        if bits & np.uint64(0xFF) == np.uint64(0):
            bits >>= np.uint64(8)
            j += 8
            continue
        if bits & np.uint64(1):
            hits[idx[j], half] |= mask
        bits >>= np.uint64(1)
        j += 1


@kernel
def add_points(
    idx: NDArray[np.int32],
    hits: NDArray[np.uint64],
    rules: NDArray[np.void],
    score_bp: NDArray[np.uint16],
) -> None:
    """Add to the score what active SCORE rules that hit say; call between scorer and POST.

    Parameters
    ----------
    idx : i32[k]
        Rows to look at.
    hits : u64[n, 2]
        After the PRE phase.
    rules : RULE[r]
    score_bp : u16[n], out
        Probability x 10,000, capped at 10,000; a row without a score (SCORE_NONE) stays without.
    """
    for r in range(len(rules)):
        if rules[r]["action"] != _SCORE or rules[r]["mode"] != _ACTIVE:
            continue
        for i in idx:
            if (hits[i, r >> 6] >> np.uint64(r & 63)) & np.uint64(1) and score_bp[
                i
            ] <= _SCORE_MAX_BP:
                score_bp[i] = min(_SCORE_MAX_BP, np.int64(score_bp[i]) + rules[r]["points_bp"])


@kernel
def resolve(
    idx: NDArray[np.int32],
    hits: NDArray[np.uint64],
    rules: NDArray[np.void],
    verdict: NDArray[np.void],
) -> None:
    """Pick what acts on each row once both phases are evaluated.

    Only active rules act. An ALLOW that hit removes the rules that it names; of what is left
    DECLINE goes before STEP_UP before REVIEW before ALLOW, and the first in file order within each.

    Parameters
    ----------
    idx : i32[k]
        Rows to look at.
    hits : u64[n, 2]
    rules : RULE[r]
    verdict : VERDICT[n], out
        Every field of the rows ``idx`` is written.
    """
    acting = np.zeros((_REVIEW + 1, 2), np.uint64)  # bits of the active rules of each action
    for r in range(len(rules)):
        if rules[r]["mode"] == _ACTIVE and rules[r]["action"] <= _REVIEW:
            acting[rules[r]["action"], r >> 6] |= np.uint64(1) << np.uint64(r & 63)
    for i in idx:
        verdict[i]["rule"] = -1
        verdict[i]["response"] = 0
        verdict[i]["action"] = _NONE
        verdict[i]["review"] = 0
        low = hits[i, 0]
        high = hits[i, 1]
        if low | high == np.uint64(0):
            continue
        if (low & acting[_ALLOW, 0]) | (high & acting[_ALLOW, 1]) != np.uint64(0):
            for r in range(len(rules)):
                bit = np.uint64(1) << np.uint64(r & 63)
                if hits[i, r >> 6] & acting[_ALLOW, r >> 6] & bit != np.uint64(0):
                    low &= ~rules[r]["overrides_lo"]
                    high &= ~rules[r]["overrides_hi"]
        if (low & acting[_REVIEW, 0]) | (high & acting[_REVIEW, 1]) != np.uint64(0):
            verdict[i]["review"] = 1
        for rank in range(4):
            action = _DECLINE + rank if rank < 3 else _ALLOW
            first = _first_bit(low & acting[action, 0], high & acting[action, 1])
            if first >= 0:
                verdict[i]["rule"] = first
                verdict[i]["response"] = rules[first]["response"]
                verdict[i]["action"] = action
                break


@kernel
def _first_bit(low: np.uint64, high: np.uint64) -> int:
    """Return the number of the lowest bit of 128 that is set; -1 = none."""
    bits = low
    first = 0
    if low == np.uint64(0):
        bits = high
        first = 64
    if bits == np.uint64(0):
        return -1
    while bits & np.uint64(0xFF) == np.uint64(0):
        bits >>= np.uint64(8)
        first += 8
    while bits & np.uint64(1) == np.uint64(0):
        bits >>= np.uint64(1)
        first += 1
    return first
