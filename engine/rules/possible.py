"""Whether a term can hold for any row, and which of its literals say nothing new.

A term is tried on sample values: every constant that it compares a column with, one value between
each two neighbours and one beyond either end, and a missing value. Comparisons with constants
cannot tell other values apart, so a column of real numbers is decided exactly; for whole numbers
the answer errs towards "it can".
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan, nan

from engine.rules.columns import COLUMN_COUNT, COLUMNS, KEYED, ColumnType
from engine.rules.predicates import Predicate
from engine.rules.tree import Operator
from scoring.payment import Entry

_VALUES_MAX = 1_000  # of a set; a longer one is taken as able to hold anything
_OTHER_KEY = -1  # stands for every key that a term does not name
_LOWER = (Operator.GT, Operator.GE)
_UPPER = (Operator.LT, Operator.LE)


def can_hold(term: Iterable[int], predicates: Sequence[Predicate]) -> bool:
    """Return whether some row may make all literals of ``term`` true."""
    by_column: dict[int, list[int]] = defaultdict(list)
    for literal in term:
        by_column[predicates[_index(literal)].column].append(literal)
    return all(
        _column_can_hold(column, literals, predicates) for column, literals in by_column.items()
    )


def without_implied(term: frozenset[int], predicates: Sequence[Predicate]) -> frozenset[int]:
    """Return ``term`` without bounds of a column that a tighter one of the same term implies."""
    tightest: dict[tuple[int, bool], int] = {}
    kept = set(term)
    for literal in sorted(n for n in term if n >= 0):
        predicate = predicates[literal]
        is_bound = predicate.operator in (*_LOWER, *_UPPER) and not isnan(predicate.constant)
        if predicate.other >= 0 or not is_bound:
            continue
        side = (predicate.column, predicate.operator in _LOWER)
        best = tightest.get(side)
        if best is None:
            tightest[side] = literal
        elif _is_tighter(predicate, predicates[best]):
            kept.discard(best)
            tightest[side] = literal
        else:
            kept.discard(literal)
    return frozenset(kept)


def _is_tighter(a: Predicate, b: Predicate) -> bool:
    if a.constant == b.constant:
        return a.operator in (Operator.GT, Operator.LT)
    return (a.constant > b.constant) == (a.operator in _LOWER)


def _column_can_hold(column: int, literals: list[int], predicates: Sequence[Predicate]) -> bool:
    tests = [_test(predicates, literal) for literal in literals]
    if any(test is None for test in tests):
        return True
    known = [test for test in tests if test is not None]
    constants = sorted({value for test in known for value in test.values if not isnan(value)})
    return any(all(test.holds(v) for test in known) for v in _samples(column, constants))


def _samples(column: int, constants: list[float]) -> list[float]:
    kind = COLUMNS[column].type if column < COLUMN_COUNT else ColumnType.NUMBER
    if kind in KEYED:
        return [*constants, _OTHER_KEY, nan]
    if kind is ColumnType.BOOL:
        return [0.0, 1.0]
    if kind is ColumnType.ENTRY:
        return [float(entry) for entry in Entry]
    between = [(a + b) / 2 for a, b in pairwise(constants)]
    ends = [constants[0] - 1.0, constants[-1] + 1.0] if constants else [0.0]
    return [*constants, *between, *ends, nan]


@dataclass(frozen=True, slots=True)
class _Test:
    operator: Operator
    values: tuple[float, ...]
    is_wanted: bool

    def holds(self, value: float) -> bool:
        return self._compares(value) == self.is_wanted

    def _compares(self, value: float) -> bool:
        if isnan(value):
            return False
        if self.operator in (Operator.IN, Operator.NOT_IN):
            return (value in self.values) == (self.operator is Operator.IN)
        constant = self.values[0]
        return {
            Operator.LT: value < constant,
            Operator.LE: value <= constant,
            Operator.GT: value > constant,
            Operator.GE: value >= constant,
            Operator.EQ: value == constant,
            Operator.NE: value < constant or value > constant,
        }[self.operator]


def _test(predicates: Sequence[Predicate], literal: int) -> _Test | None:
    """Return the test of a literal; None where it is about a list or another column."""
    predicate = predicates[_index(literal)]
    if predicate.other >= 0 or predicate.list_name:
        return None
    if predicate.operator not in (Operator.IN, Operator.NOT_IN):
        return _Test(predicate.operator, (predicate.constant,), literal >= 0)
    if len(predicate.values) > _VALUES_MAX:
        return None
    return _Test(predicate.operator, predicate.values, literal >= 0)


def _index(literal: int) -> int:
    return literal if literal >= 0 else ~literal
