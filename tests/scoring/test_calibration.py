"""Platt's line finds the true one; declining starts where it costs less than not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.calibration import cost_thresholds, decline_pays, fit_platt
from scoring.errors import ModelError
from scoring.registry import Calibration


def test_platt_finds_the_line() -> None:
    """Labels drawn from sigmoid(0.5 m - 1) give slope 0.5 and offset -1, nearly."""
    rng = np.random.default_rng(1)
    margins = rng.normal(0, 3, 40_000).astype(np.float32)
    labels = (rng.random(40_000) < 1 / (1 + np.exp(1 - 0.5 * margins))).astype(np.uint8)
    line = fit_platt(margins, labels)
    assert line.slope == pytest.approx(0.5, abs=0.02)
    assert line.offset == pytest.approx(-1.0, abs=0.05)


def test_too_few_or_turned_around_is_left_alone() -> None:
    """Nine frauds, or margins that fall with fraud, leave the model's own probability."""
    margins = np.linspace(-3, 3, 1_000).astype(np.float32)
    labels = np.zeros(1_000, np.uint8)
    labels[:9] = 1
    assert fit_platt(margins, labels) == Calibration(1.0, 0.0, 1_000, 9)
    labels[:500] = 1
    assert fit_platt(margins, labels).slope == 1.0


@given(st.integers(0, 2**32 - 1))
def test_the_cheapest_score_is_the_cheapest(seed: int) -> None:
    """No other score costs less than the one found, counted payment by payment."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 10_001, 60).astype(np.uint16)
    labels = (rng.random(60) < 0.3).astype(np.uint8)
    amounts = rng.integers(1, 200, 60).astype(np.float64)
    (found,) = cost_thresholds(scores, labels, amounts, np.zeros(60, np.bool_))

    def cost(bound: int) -> float:
        refused = scores >= bound
        missed = amounts[(labels == 1) & ~refused].sum() * 0.8
        return float(missed + 5.0 * ((labels == 0) & refused).sum())

    assert found.cost == pytest.approx(cost(found.score_bp), abs=0.01)
    assert found.cost <= min(cost(int(b)) for b in [*scores, 0, 10_001]) + 0.01
    assert found.cost_of_nothing == pytest.approx(cost(10_001), abs=0.01)


def test_declining_pays_from_the_break_even_on() -> None:
    """At 100.00 in a shop 0.8 * 100 p > 5 (1 - p) holds from p = 1/17 on."""
    assert not decline_pays(588, 100.0, "present")
    assert decline_pays(589, 100.0, "present")
    with pytest.raises(ModelError, match="segment is moon"):
        decline_pays(1, 1.0, "moon")
