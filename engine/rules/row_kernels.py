"""Evaluate a rule set over one row: what a batch of one or a few payments takes.

A comparison with a constant is a range of keys: doubles and NaNs have an order as whole numbers
(``_key``), and "not in a range" is again one, past the largest number and on from the smallest. So
each is one subtraction and one comparison, and there is no branch on what a rule says. What is no
range - two columns, "differs", lists - is asked for only when all ranges of a term hold.
"""

import numpy as np
from numpy.typing import NDArray

from engine.rules.list_kernels import listed
from engine.rules.tree import Operator
from ledger.jit import allocating_kernel, hot_kernel, kernel

RANGE = np.dtype(
    [
        ("low", "<u8"),  # holds where key - low <= width, modulo 2 to the 64th
        ("width", "<u8"),
        ("column", "<u8"),
    ]
)
assert RANGE.itemsize == 24
_LT = int(Operator.LT)
_LE = int(Operator.LE)
_GT = int(Operator.GT)
_GE = int(Operator.GE)
_EQ = int(Operator.EQ)
_NE = int(Operator.NE)
_IN = int(Operator.IN)
_TURN = 0x7FFFFFFFFFFFFFFF
_INFINITY_KEY = 0x7FF0000000000000
_NO_KEY = -1  # that of -0.0, which no value has


def is_range(operator: int, other: int) -> bool:
    """Return whether a predicate is a range: a comparison with a constant that is no "differs"."""
    return operator < _NE and other < 0


def ranges_of(predicates: NDArray[np.void], literals: NDArray[np.int16]) -> NDArray[np.void]:
    """Return RANGE[k], one a literal i16[k]; zeros where its predicate is no range.

    ``predicates`` is ``engine.rules.program.PREDICATE`` [p].
    """
    is_negated = literals < 0
    found = predicates[np.where(is_negated, ~literals, literals)]
    constants = np.ascontiguousarray(found["constant"]) + 0.0
    bits = constants.view(np.int64)
    keys = bits ^ (bits >> 63 & _TURN)
    operators = found["operator"]
    low = np.select([operators == _GT, operators >= _GE], [keys + 1, keys], ~_INFINITY_KEY)
    high = np.select(
        [operators == _LT, (operators == _LE) | (operators == _EQ)], [keys - 1, keys], _INFINITY_KEY
    )
    is_empty = np.isnan(constants) | (low > high)  # less than nothing is
    low[is_empty] = high[is_empty] = _NO_KEY
    ranges = np.zeros(len(literals), RANGE)
    ranges["low"] = np.where(is_negated, high + 1, low).view(np.uint64)
    ranges["width"] = np.where(is_negated, low - high - 2, high - low).view(np.uint64)
    ranges["column"] = np.maximum(found["column"], 0)
    ranges[
        ~np.array([is_range(o, p) for o, p in zip(operators, found["other"], strict=True)], bool)
    ] = 0
    return ranges


@hot_kernel
def evaluate_row(
    values: NDArray[np.float64],
    part: NDArray[np.int32],
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
    """As ``kernels.evaluate``, for the one row ``part[0]``.

    All ranges of a term are looked at: where it ends early cannot be foreseen, and a branch that
    was foreseen wrongly costs more than they do.
    """
    row = np.uint64(part[0])
    for column in range(values.shape[1]):
        scratch[np.uint64(column)] = _key(values[row, np.uint64(column)])
    for t in range(first, last):
        term = terms[np.uint64(t)]
        k = np.uint64(term["literal_start"])
        end = np.uint64(term["range_end"])
        is_out = False
        while k < end:
            range_ = ranges[k]
            is_out |= scratch[range_["column"]] - range_["low"] > range_["width"]
            k += np.uint64(1)
        if is_out:
            continue
        if term["range_end"] < term["literal_end"] and not _holds_rest(
            values, part, predicates, list_keys, term, literals, lists
        ):
            continue
        rule = np.uint64(term["rule"])
        hits[row, rule >> np.uint64(6)] |= np.uint64(1) << (rule & np.uint64(63))


@hot_kernel
def _key(value: float) -> np.uint64:
    """Return a whole number that is in the order of the doubles; NaNs are below or above all."""
    bits = np.int64(np.float64(value + 0.0).view(np.int64))  # + 0.0: -0 is 0
    return np.uint64(bits ^ (bits >> np.int64(63) & np.int64(_TURN)))


@allocating_kernel
def _holds_rest(
    values: NDArray[np.float64],
    part: NDArray[np.int32],
    predicates: NDArray[np.void],
    list_keys: NDArray[np.uint64],
    term: np.void,
    literals: NDArray[np.int16],
    lists: tuple[NDArray[np.void], NDArray[np.void]],
) -> bool:
    """Return whether the row ``part[0]`` passes the literals of a term that are no ranges."""
    for k in range(term["range_end"], term["literal_end"]):
        p = np.int64(literals[k])
        predicate = predicates[p if p >= 0 else ~p]
        if predicate["operator"] >= _IN:
            keys = values.view(np.uint64)
            word = listed(values, keys, part, predicate, list_keys, lists)
            holds = word != np.uint64(0)
        else:
            holds = _compares(values, part[0], predicate)
        if holds == (p < 0):
            return False
    return True


@kernel
def _compares(values: NDArray[np.float64], row: int, predicate: np.void) -> bool:
    """Return whether a comparison holds for a row; never with a missing value."""
    operator = predicate["operator"]
    left = values[row, predicate["column"]]
    right = predicate["constant"]
    if predicate["other"] >= 0:
        right = values[row, predicate["other"]]
    if operator == _GE:
        return left >= right
    if operator == _LT:
        return left < right
    if operator == _NE:
        return (left < right) | (left > right)
    if operator == _EQ:
        return left == right
    if operator == _GT:
        return left > right
    return left <= right
