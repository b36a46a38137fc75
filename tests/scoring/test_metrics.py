"""Measures against their definitions."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scoring.metrics import average_precision, roc_auc, threshold_table

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=1, max_size=40)


@given(ROWS)
def test_auc_is_the_chance_of_the_right_order(rows: list[tuple[int, int]]) -> None:
    """The area is the share of (fraud, genuine) pairs in the right order, ties half."""
    frauds = [score for label, score in rows if label]
    genuine = [score for label, score in rows if not label]
    found = roc_auc(np.array([r[0] for r in rows], "u1"), np.array([r[1] for r in rows], "f4"))
    if not frauds or not genuine:
        assert math.isnan(found)
        return
    pairs = [(f > g) + (f == g) / 2 for f in frauds for g in genuine]
    assert math.isclose(found, sum(pairs) / len(pairs), abs_tol=1e-12)


@given(ROWS)
def test_average_precision_sums_over_thresholds(rows: list[tuple[int, int]]) -> None:
    """It is the precision at each threshold times the recall gained there."""
    total = sum(label for label, _ in rows)
    found = average_precision(
        np.array([r[0] for r in rows], "u1"), np.array([r[1] for r in rows], "f4")
    )
    if total == 0:
        assert math.isnan(found)
        return
    expected = 0.0
    for bound in sorted({score for _, score in rows}):
        at = [label for label, score in rows if score == bound]
        above = [label for label, score in rows if score >= bound]
        expected += sum(above) / len(above) * sum(at) / total
    assert math.isclose(found, expected, abs_tol=1e-12)


def test_threshold_table() -> None:
    """A threshold flags what scores at least that much."""
    table = threshold_table(np.array([1, 0, 1, 0], "u1"), np.array([9_500, 9_000, 600, 0], "u2"))
    assert [(row.score_bp, row.flagged_share) for row in table][:2] == [(500, 0.75), (2_500, 0.5)]
    assert (table[-1].precision, table[-1].recall) == (0.5, 0.5)
