"""A comparison as one range of keys holds for the values that the comparison holds for."""

import math
import operator
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.rules.kernels import evaluate
from engine.rules.list_table import no_lists
from engine.rules.program import PREDICATE, TERM
from engine.rules.row_kernels import ranges_of
from engine.rules.tree import Operator
from tests.oracle.rule_sets import scratch_of

pytestmark = pytest.mark.kernels

_PLAIN: dict[Operator, Callable[[float, float], bool]] = {
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
    Operator.EQ: operator.eq,
    Operator.NE: lambda a, b: a < b or a > b,
}
_EDGES = (0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, -math.nan, 5e-324, -5e-324, 1e308)
_VALUES = st.floats(width=64) | st.sampled_from(_EDGES)


@given(
    which=st.sampled_from(list(_PLAIN)),
    constant=_VALUES,
    value=_VALUES,
    is_wanted=st.booleans(),
    is_column=st.booleans(),
)
@example(Operator.LT, 0.0, -0.0, True, False)
@example(Operator.GE, -0.0, 0.0, True, False)
@example(Operator.LT, math.inf, math.inf, False, False)
@example(Operator.GT, -math.inf, -math.inf, True, False)
@example(Operator.EQ, math.nan, math.nan, False, False)
def test_one_row_compares_as_floats_do(
    which: Operator, constant: float, value: float, is_wanted: bool, is_column: bool
) -> None:
    """Each operator and its negation, with numbers of every kind; a missing value never compares.

    Values next to the constant are tried too, and the constant may stand in another column.
    """
    near = (math.nextafter(constant, math.inf), math.nextafter(constant, -math.inf), constant)
    predicates = np.zeros(1, PREDICATE)
    predicates["operator"], predicates["constant"] = which, constant
    predicates["other"] = 1 if is_column else -1
    literals = np.array([0 if is_wanted else ~0], np.int16)
    ranges = ranges_of(predicates, literals)
    range_end = int(which is not Operator.NE and not is_column)
    terms = np.array([(0, 1, 0, range_end, 1, 0)], TERM)
    for one in (value, *near):
        values, hits = np.array([[one, constant]]), np.zeros((1, 2), np.uint64)
        tables = (predicates, np.zeros(0, np.uint64), terms, 0, 1, literals, ranges)
        evaluate(values, np.zeros(1, np.int32), *tables, no_lists(), scratch_of(values), hits)
        assert bool(hits[0, 0]) == (_PLAIN[which](one, constant) == is_wanted)
