"""Upgrades by their own tables: who may, and that plans and line keep to one cap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.credit_limit import TEXTS, Applicant, Bound, capacity_minor, first_line, matrix_minor
from scoring.plan_upgrade import PLAN_SHARE_BP, Plans, plan_gates, room_minor, upgraded_line

GOOD = Applicant(610, 500_000, 100_000, 24, 40)  # the matrix grants 8,000.00
SOUND = Plans(3, 60, 0, 0, 400_000, 0, 0)


@pytest.mark.parametrize(
    ("change", "bounds"),
    [
        ({"repaid": 2, "days_since_first": 119}, (Bound.PLANS_REPAID,)),
        ({"repaid": 2, "days_since_first": 120}, ()),
        ({"repaid": 1, "days_since_first": 900}, (Bound.PLANS_REPAID,)),
        ({"repaid": 3, "days_since_first": 0}, ()),
        ({"late_days_most": 3}, ()),
        ({"late_days_most": 4}, (Bound.PLAN_LATE,)),
        ({"returned_payments": 1}, (Bound.PAYMENT_RETURNED,)),
        ({"repaid": 0, "late_days_most": 9}, (Bound.PLANS_REPAID, Bound.PLAN_LATE)),
    ],
)
def test_who_may(change: dict[str, int], bounds: tuple[Bound, ...]) -> None:
    """Each gate at its edge; a refusal is no line and names them all."""
    plans = SOUND._replace(**change)
    assert plan_gates(plans) == bounds
    line = upgraded_line(GOOD, plans)
    assert (line.limit_minor == 0) == bool(bounds)
    if bounds:
        assert line.bounds == bounds


def test_the_gates_of_the_limit_policy_stand_first() -> None:
    """Good plans open no gate that is closed to the person."""
    line = upgraded_line(GOOD._replace(sanctioned=True), SOUND._replace(returned_payments=2))
    assert line == (0, (Bound.SANCTIONS, Bound.PAYMENT_RETURNED))


@pytest.mark.parametrize(
    ("change", "limit_minor", "bound"),
    [
        ({"largest_repaid_minor": 100_000}, 150_000, Bound.PLAN_SIZE),
        ({"largest_repaid_minor": 0}, 0, Bound.PLAN_SIZE),
        ({"outstanding_minor": 650_001}, 140_000, Bound.EXPOSURE),  # 1,499.99 in whole hundreds
        ({"outstanding_minor": 900_000}, 0, Bound.EXPOSURE),
        ({"monthly_minor": 395_000}, 60_000, Bound.CAPACITY),  # 40 % of 50.00 at 3 %: 666.66
    ],
)
def test_what_binds_is_told(change: dict[str, int], limit_minor: int, bound: Bound) -> None:
    """Each cap by hand, where it is the least."""
    assert upgraded_line(GOOD, SOUND._replace(**change)) == (limit_minor, (bound,))


@given(
    score=st.integers(480, 700),
    income=st.integers(0, 2_000_000),
    obligations=st.integers(0, 600_000),
    largest=st.integers(0, 2_000_000),
    outstanding=st.integers(0, 2_500_000),
    monthly=st.integers(0, 400_000),
)
def test_every_line_keeps_to_every_cap(
    score: int, income: int, obligations: int, largest: int, outstanding: int, monthly: int
) -> None:
    """Never more than a new customer gets, with the plans the cap holds, and always a reason."""
    applicant = Applicant(score, income, obligations, 24, 40)
    plans = Plans(5, 400, 0, 0, largest, outstanding, monthly)
    line = upgraded_line(applicant, plans)
    assert line.limit_minor % 10_000 == 0
    assert line.limit_minor <= first_line(applicant).limit_minor
    assert line.limit_minor * 10_000 <= largest * PLAN_SHARE_BP
    burdened = applicant._replace(obligations_minor=obligations + monthly)
    assert line.limit_minor <= capacity_minor(burdened)
    if line.limit_minor:
        assert line.limit_minor + outstanding <= matrix_minor(applicant)
    assert line.bounds
    assert all(TEXTS[bound] for bound in line.bounds)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_room_under_one_cap(cap: int, plans: int, card: int) -> None:
    """What is owed anywhere leaves so much less everywhere, and nothing below nothing."""
    room = room_minor(cap, plans, card)
    assert 0 <= room <= cap
    assert room == room_minor(cap, card, plans)
    assert room == 0 or plans + card + room == cap
