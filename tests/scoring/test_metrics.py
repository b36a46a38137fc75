"""Measures against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from scoring.metrics import (
    average_precision,
    calibration_bins,
    caught_amounts,
    precision_recall,
    roc_auc,
    threshold_table,
)
from tests.support.effort import examples

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


@settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 200), levels=st.integers(1, 40))
def test_curves_equal_scikit_learn(seed: int, count: int, levels: int) -> None:
    """Precision and recall at each distinct score, ties taken together."""
    labels, scores = _drawn(seed, count, levels)
    recall, precision = precision_recall(labels, scores)
    wanted_precision, wanted_recall, _ = precision_recall_curve(
        labels, scores, drop_intermediate=False
    )
    assert recall[::-1].tolist() == pytest.approx(wanted_recall[:-1].tolist())
    assert precision[::-1].tolist() == pytest.approx(wanted_precision[:-1].tolist())


@settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 60), levels=st.integers(1, 20))
def test_caught_amounts_are_sums(seed: int, count: int, levels: int) -> None:
    """From each score on: genuine payments counted, amounts of frauds added, one by one."""
    labels, scores = _drawn(seed, count, levels)
    amounts = np.random.default_rng(seed).integers(1, 100, count).astype(np.float64)
    declined, caught = caught_amounts(labels, scores, amounts)
    for place, bound in enumerate(np.unique(scores)[::-1]):
        chosen = scores >= bound
        assert declined[place] == int((labels[chosen] == 0).sum())
        assert caught[place] == amounts[chosen & (labels > 0)].sum()


@settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 300))
def test_calibration_bins_hold_every_payment_once(seed: int, count: int) -> None:
    """Rising, and together they are all payments and all frauds."""
    labels, scores = _drawn(seed, count, 30)
    bins = calibration_bins(labels, scores.astype(np.float64))
    assert sum(part.payments for part in bins) == count
    frauds = sum(part.payments * part.observed for part in bins)
    assert frauds == pytest.approx(labels.sum())
    stated = [part.stated for part in bins]
    assert stated == sorted(stated)
    assert len(bins) <= 10


def _drawn(seed: int, count: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of both kinds and scores of so many levels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count).astype(np.uint8)
    labels[:2] = 0, 1
    return labels, (rng.integers(0, levels, count) / levels).astype(np.float32)
