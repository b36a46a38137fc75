"""Evaluate a rule set over the rows of a batch, and pick what acts.

Rows are taken 64 at a time: a predicate becomes one 64-bit word with a bit a row, a term is the AND
of the words of its literals, and a rule holds where a term's bits are left. A column of the 64 rows
is copied together, and a predicate's word is made, when the first term asks for it; a term stops at
the first word that leaves no row. So the cost of and, or and not is shared by 64 rows, comparisons
run over neighbouring numbers, and conditions behind rare ones are seldom looked at. A few rows are
not worth the words: each is walked through the terms on its own (``row_kernels``).
"""

import numpy as np
from numpy.typing import NDArray

from engine.rules.list_kernels import is_listed, listed
from engine.rules.row_kernels import evaluate_row
from engine.rules.tree import ActionKind, Operator
from ledger.jit import allocating_kernel, hot_kernel, kernel

_LT = int(Operator.LT)
_LE = int(Operator.LE)
_GT = int(Operator.GT)
_GE = int(Operator.GE)
_EQ = int(Operator.EQ)
_NE = int(Operator.NE)
_IN = int(Operator.IN)
_NONE = int(ActionKind.NONE)
_ALLOW = int(ActionKind.ALLOW)
_DECLINE = int(ActionKind.DECLINE)
_REVIEW = int(ActionKind.REVIEW)
assert (_ALLOW, _DECLINE, int(ActionKind.STEP_UP), _REVIEW) == (1, 2, 3, 4)  # ranks of resolve
_SCORE_MAX_BP = 10_000
_BLOCK_ROWS = 64  # one bit of a word each
_FEW_ROWS = 8  # as many cost less one by one than as a block, measured with 20 to 500 rules


@hot_kernel
def evaluate(
    values: NDArray[np.float64],
    idx: NDArray[np.int32],
    predicates: NDArray[np.void],
    list_keys: NDArray[np.uint64],
    terms: NDArray[np.void],
    first: int,
    last: int,
    literals: NDArray[np.int16],
    ranges: NDArray[np.void],
    lists: tuple[NDArray[np.void], NDArray[np.void]],
    scratch: NDArray[np.uint64],
    hits: NDArray[np.uint64],
) -> None:
    """Set the bit of every rule that one of the terms [first, last) holds for, in the rows ``idx``.

    Parameters
    ----------
    values : f64[n, columns]
        Columns of the batch; NaN = missing, for which every comparison is false.
    idx : i32[k]
        Rows to look at.
    predicates, list_keys, literals, ranges
        Arrays of a Program; ``terms`` those of a Deployed.
    lists : (SLOT[:], LIST_ENTRY[:])
        Index and entries of the lists that change while serving.
    scratch : u64[columns or more]
    hits : u64[n, words], out
        Bits are ORed in: rule r is bit r % 64 of word r // 64. Other rows are not touched.
    """
    if len(idx) > _FEW_ROWS:
        _evaluate_blocks(
            values, idx, predicates, list_keys, terms, first, last, literals, lists, hits
        )
        return
    for n in range(len(idx)):
        part = idx[n : n + 1]
        evaluate_row(
            values,
            part,
            predicates,
            list_keys,
            terms,
            first,
            last,
            literals,
            ranges,
            lists,
            scratch,
            hits,
        )


@allocating_kernel
def _evaluate_blocks(
    values: NDArray[np.float64],
    idx: NDArray[np.int32],
    predicates: NDArray[np.void],
    list_keys: NDArray[np.uint64],
    terms: NDArray[np.void],
    first: int,
    last: int,
    literals: NDArray[np.int16],
    lists: tuple[NDArray[np.void], NDArray[np.void]],
    hits: NDArray[np.uint64],
) -> None:
    """As ``evaluate``, 64 rows at a time."""
    words = np.empty(predicates.shape[0], np.uint64)
    made = np.full(predicates.shape[0], -1, np.int32)  # first row of the block of ``words``
    block = np.empty((values.shape[1], _BLOCK_ROWS), np.float64)  # columns of a block, transposed
    copied = np.full(values.shape[1], -1, np.int32)  # first row of the block that is in ``block``
    keys = values.view(np.uint64)
    for start in range(0, len(idx), _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, len(idx) - start)
        all_rows = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(_BLOCK_ROWS - count)
        for t in range(first, last):
            rows = all_rows
            for k in range(terms[t]["literal_start"], terms[t]["literal_end"]):
                p = np.int32(literals[k])
                flip = np.uint64(0)
                if p < 0:
                    p = ~p
                    flip = np.uint64(0xFFFFFFFFFFFFFFFF)
                if made[p] != start:
                    predicate = predicates[p]
                    column = np.int64(predicate["column"])
                    if predicate["operator"] >= _IN:
                        part = idx[start : start + count]
                        words[p] = listed(values, keys, part, predicate, list_keys, lists)
                    else:
                        if copied[column] != start:
                            for j in range(count):
                                block[column, j] = values[idx[start + j], column]
                            copied[column] = start
                        other = np.int64(predicate["other"])
                        if other < 0:
                            words[p] = _word(block, column, count, predicate)
                        else:
                            if copied[other] != start:
                                for j in range(count):
                                    block[other, j] = values[idx[start + j], other]
                                copied[other] = start
                            words[p] = _word_of_two(block, column, other, count, predicate)
                    made[p] = start
                rows &= words[p] ^ flip
                if rows == np.uint64(0):
                    break
            if rows != np.uint64(0):
                _mark(rows, idx, start, terms[t]["rule"], hits)


@kernel
def _word(
    block: NDArray[np.float64], column: np.int64, count: int, predicate: np.void
) -> np.uint64:
    """Return the comparison of ``count`` <= 64 values, bit j for ``block[column, j]``."""
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
    else:
        for j in range(count):
            word |= np.uint64(block[column, j] <= constant) << np.uint64(j)
    return word


@kernel
def _word_of_two(
    block: NDArray[np.float64], column: np.int64, other: np.int64, count: int, predicate: np.void
) -> np.uint64:
    """Return the comparison of two columns, bit j for row j of the block."""
    operator = predicate["operator"]
    word = np.uint64(0)
    for j in range(count):
        left = block[column, j]
        right = block[other, j]
        holds = False
        if operator == _GE:
            holds = left >= right
        elif operator == _LT:
            holds = left < right
        elif operator == _NE:
            holds = (left < right) | (left > right)
        elif operator == _EQ:
            holds = left == right
        elif operator == _GT:
            holds = left > right
        else:
            holds = left <= right
        word |= np.uint64(holds) << np.uint64(j)
    return word


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
    adding: NDArray[np.int16],
    score_bp: NDArray[np.uint16],
) -> None:
    """Add to the score what active SCORE rules that hit say; call between scorer and POST.

    Parameters
    ----------
    idx : i32[k]
        Rows to look at.
    hits : u64[n, words]
        After the PRE phase.
    rules : RULE[r]; adding : i16[a], places of the active SCORE rules, of a Deployed
    score_bp : u16[n], out
        Probability x 10,000, capped at 10,000; a row without a score (SCORE_NONE) stays without.
    """
    for r in adding:
        bit = np.uint64(1) << np.uint64(r & 63)
        for i in idx:
            if hits[i, r >> 6] & bit != np.uint64(0) and score_bp[i] <= _SCORE_MAX_BP:
                score_bp[i] = min(_SCORE_MAX_BP, np.int64(score_bp[i]) + rules[r]["points_bp"])


@kernel
def resolve(
    idx: NDArray[np.int32],
    hits: NDArray[np.uint64],
    rules: NDArray[np.void],
    acting: NDArray[np.uint64],
    overrides: NDArray[np.uint64],
    payments: NDArray[np.void],
    snooze_count: int,
    lists: tuple[NDArray[np.void], NDArray[np.void]],
    scratch: NDArray[np.uint64],
    verdict: NDArray[np.void],
) -> None:
    """Pick what acts on each row once both phases are evaluated.

    Only active rules act, and not on a card for which they are snoozed. An ALLOW that hit removes
    the rules that it names; of what is left DECLINE goes before STEP_UP before REVIEW before ALLOW,
    and the first in file order within each.

    Parameters
    ----------
    idx : i32[k]
        Rows to look at.
    hits : u64[n, words]
    rules : RULE[r]
    acting : u64[REVIEW + 1, words], bits of the active rules of each action, of all in row 0
    overrides : u64[a, words], of a Program
    payments : PAYMENT[n], whose card and second are read
    snooze_count : entries that snooze a rule; 0 = nothing to look up in ``lists``
    scratch : u64[words or more]
    verdict : VERDICT[n], out
        Every field of the rows ``idx`` is written.
    """
    words = hits.shape[1]
    left = scratch[:words]
    for i in idx:
        verdict[i]["rule"] = -1
        verdict[i]["response"] = 0
        verdict[i]["action"] = _NONE
        verdict[i]["review"] = 0
        any_bits = np.uint64(0)
        for w in range(words):
            left[w] = hits[i, w] & acting[0, w]
            any_bits |= left[w]
        if any_bits == np.uint64(0):
            continue
        if snooze_count > 0:
            _wake(left, rules, payments[i], lists)
        _override(left, rules, acting, overrides)
        for w in range(words):
            if left[w] & acting[_REVIEW, w] != np.uint64(0):
                verdict[i]["review"] = 1
        for rank in range(4):
            action = _DECLINE + rank if rank < 3 else _ALLOW
            first = _first_bit(left, acting, action)
            if first >= 0:
                verdict[i]["rule"] = first
                verdict[i]["response"] = rules[first]["response"]
                verdict[i]["action"] = action
                break


@kernel
def _wake(
    left: NDArray[np.uint64],
    rules: NDArray[np.void],
    payment: np.void,
    lists: tuple[NDArray[np.void], NDArray[np.void]],
) -> None:
    """Take out of ``left`` the rules that are snoozed for the payment's card."""
    if payment["card"] == 0:
        return
    now_s = np.int64(payment["t_s"])
    for r in range(len(rules)):
        bit = np.uint64(1) << np.uint64(r & 63)
        if left[r >> 6] & bit != np.uint64(0) and is_listed(
            rules[r]["snooze"], payment["card"], now_s, 0, lists[0], lists[1]
        ):
            left[r >> 6] &= ~bit


@kernel
def _override(
    left: NDArray[np.uint64],
    rules: NDArray[np.void],
    acting: NDArray[np.uint64],
    overrides: NDArray[np.uint64],
) -> None:
    """Take out of ``left`` what the allows in it remove; an allow removes no allow."""
    for w in range(len(left)):
        allows = left[w] & acting[_ALLOW, w]
        if allows == np.uint64(0):
            continue
        for r in range(w * 64, min(w * 64 + 64, len(rules))):
            row = rules[r]["overrides"]
            if row >= 0 and allows & (np.uint64(1) << np.uint64(r & 63)) != np.uint64(0):
                for v in range(len(left)):
                    left[v] &= ~overrides[row, v]


@kernel
def _first_bit(left: NDArray[np.uint64], acting: NDArray[np.uint64], action: int) -> int:
    """Return the number of the lowest bit of ``left`` that is a rule of ``action``; -1 = none."""
    for w in range(len(left)):
        bits = left[w] & acting[action, w]
        if bits != np.uint64(0):
            first = w * 64
            while bits & np.uint64(0xFF) == np.uint64(0):
                bits >>= np.uint64(8)
                first += 8
            while bits & np.uint64(1) == np.uint64(0):
                bits >>= np.uint64(1)
                first += 1
            return first
    return -1
