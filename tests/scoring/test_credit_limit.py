"""The limit policy by its own tables: gates, capacity, matrix, expected loss, reviews."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.credit_limit import (
    LGD_BP,
    LINES_MINOR,
    LOSS_BUDGET_BP,
    SCORE_MIN,
    TEXTS,
    Applicant,
    Bound,
    Review,
    capacity_minor,
    expected_loss_minor,
    first_line,
    loss_cap_minor,
    matrix_minor,
    reviewed_line,
)

GOOD = Applicant(610, 500_000, 100_000, 24, 40)
SOUND = Review(200_000, 80_000, 8, 4_000, 600)


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({"identity_verified": False}, Bound.IDENTITY),
        ({"sanctioned": True}, Bound.SANCTIONS),
        ({"age_years": 17}, Bound.AGE),
        ({"open_fraud_case": True}, Bound.FRAUD_CASE),
        ({"history_months": 2}, Bound.HISTORY),
        ({"score": SCORE_MIN - 1}, Bound.SCORE),
    ],
)
def test_a_closed_gate_refuses_and_says_which(change: dict[str, int], bound: Bound) -> None:
    """One closed gate is no line and one reason with a text."""
    line = first_line(GOOD._replace(**change))
    assert line == (0, (bound,))
    assert TEXTS[bound]


def test_capacity_covers_the_minimum_at_full_use() -> None:
    """40 % of 4,000.00 free is 1,600.00 a month, at 3 % a line of 53,300.00 in whole hundreds."""
    assert capacity_minor(GOOD) == 5_330_000
    assert capacity_minor(GOOD._replace(obligations_minor=600_000)) == 0


def test_matrix_is_the_table() -> None:
    """Score 610 is the fifth band, 5,000.00 a month the third column."""
    assert matrix_minor(GOOD) == LINES_MINOR[4][2] == 800_000
    assert matrix_minor(GOOD._replace(score=519)) == 0


def test_expected_loss_by_hand() -> None:
    """Score 600 is 1 in 51: 197 bp, and a line of 200.00 is the smallest, so no surcharge."""
    assert expected_loss_minor(600, 0, 20_000) == -(-197 * LGD_BP * 12_000 // 10**8) == 178


@given(st.integers(480, 700), st.integers(0, 400_000))
def test_the_loss_cap_is_the_largest_within_budget(score: int, balance: int) -> None:
    """The cap keeps to the budget and one step more does not, unless the table ends there."""
    cap = loss_cap_minor(score, balance)
    if cap:
        assert expected_loss_minor(score, balance, cap) * 10_000 <= LOSS_BUDGET_BP * cap
    if 0 < cap < 2_000_000 and not balance:
        more = cap + 10_000
        assert expected_loss_minor(score, balance, more) * 10_000 > LOSS_BUDGET_BP * more


@given(
    st.integers(450, 700), st.integers(0, 2_000_000), st.integers(0, 2_000_000), st.integers(0, 99)
)
def test_every_line_names_what_bound_it(
    score: int, income: int, obligations: int, months: int
) -> None:
    """A line is in whole steps, within every cap, and always has a reason with a text."""
    applicant = Applicant(score, income, obligations, months, 30)
    line = first_line(applicant)
    assert line.bounds
    assert all(TEXTS[bound] for bound in line.bounds)
    assert line.limit_minor % 10_000 == 0
    assert line.limit_minor <= min(capacity_minor(applicant), matrix_minor(applicant))


def test_a_sound_account_is_raised() -> None:
    """A quarter more after clean cycles and moderate use."""
    assert reviewed_line(GOOD, SOUND) == (250_000, ())


@pytest.mark.parametrize(
    ("change", "bound"),
    [({"clean_cycles": 5}, Bound.CYCLES), ({"mean_use_bp": 8_001}, Bound.USE)],
)
def test_what_is_not_raised_says_why(change: dict[str, int], bound: Bound) -> None:
    """Too few clean cycles or the wrong use keep the line."""
    assert reviewed_line(GOOD, SOUND._replace(**change)) == (200_000, (bound,))


def test_an_increase_needs_capacity_too() -> None:
    """Obligations that eat the income hold the line, and that is the reason."""
    line = reviewed_line(GOOD._replace(obligations_minor=490_000), SOUND)
    assert line == (200_000, (Bound.CAPACITY,))


def test_never_below_the_balance() -> None:
    """Hardship and a fallen score lower the line, down to what is owed."""
    applicant = GOOD._replace(score=525, income_minor=10_000, obligations_minor=0)
    line = reviewed_line(applicant, SOUND._replace(balance_minor=150_000, hardship=True))
    assert line == (150_000, (Bound.SCORE_FELL, Bound.HARDSHIP))
