"""Characteristics of an account by hand; no protected trait among them."""

import numpy as np

from scoring.credit_features import BEHAVIOURS, NAMES, behaviours


def test_by_hand() -> None:
    """Two late months, a bill half paid, an unused month without a ratio."""
    found = behaviours(
        np.array([1_000.0]),
        np.array([[2.0, 0.0, 1.0, -1.0, -1.0, -2.0]]),
        np.array([[500.0, 400.0, 0.0, 100.0, 0.0, 0.0]]),
        np.array([[200.0, 100.0, 0.0, 0.0, 50.0, 0.0]]),
    )
    got = dict(zip(NAMES, found[0].tolist(), strict=True))
    assert (got["late_months"], got["late_two_months"], got["late_most"]) == (2, 1, 2)
    assert (got["status_1"], got["status_6"]) == (2, -2)
    assert (got["use_last"], got["use_most"], got["use_growth"]) == (0.5, 0.5, 0.5)
    assert got["paid_last"] == 0.5
    assert np.isnan(got["paid_before"])
    assert (got["months_unpaid"], got["amount_all"], got["paid_share"]) == (3, 350, 0.35)
    assert (got["months_since_late"], got["months_full"], got["months_idle"]) == (0, 2, 1)
    assert (got["late_weighted"], got["late_recent"]) == (2 * 6 + 4, 3)


def test_no_protected_trait_is_read() -> None:
    """No name speaks of sex, marriage, age or education, and each one has a text."""
    assert not {"sex", "marriage", "age", "education"} & set(NAMES)
    assert all(behaviour.reason for behaviour in BEHAVIOURS)
