"""From instalment plans to a card line: who may, and how large the line is. Pure functions.

A customer who has repaid plans on time is offered a line. Plans and line share one cap: what may be
owed in all is what the matrix of the limit policy grants, plans that run included, so a line never
opens room that the plans have used. What the plans still cost a month counts as an obligation, as
for any line (12 CFR 1026.51(a)). Tables below are the policy; ``POLICY`` names them.
"""

from typing import NamedTuple

from scoring.credit_limit import (
    LINE_STEP_MINOR,
    Applicant,
    Bound,
    Line,
    capacity_minor,
    gates,
    loss_cap_minor,
    matrix_minor,
)

POLICY = "plan-upgrade-1"
REPAID_AND_DAYS = ((3, 0), (2, 120))  # plans repaid, and days since the first: either will do
LATE_DAYS_MAX = 3  # of any instalment in the last six months
PLAN_SHARE_BP = 15_000  # of the largest plan repaid: the first line at most


class Plans(NamedTuple):
    """What is known of a customer's instalment plans; money in minor units."""

    repaid: int  # plans paid to the end
    days_since_first: int
    late_days_most: int  # of an instalment in the last six months
    returned_payments: int  # ever
    largest_repaid_minor: int
    outstanding_minor: int  # of the plans that run
    monthly_minor: int  # instalments of the plans that run, a month


def upgraded_line(applicant: Applicant, plans: Plans) -> Line:
    """Return the first line of a customer with plans, 0 if refused, and what bound it.

    ``obligations_minor`` of the applicant leaves the plans out: they are added here.
    """
    closed = gates(applicant) + plan_gates(plans)
    if closed:
        return Line(0, closed)
    burdened = applicant._replace(
        obligations_minor=applicant.obligations_minor + plans.monthly_minor
    )
    most = matrix_minor(applicant)
    caps = (
        (capacity_minor(burdened), Bound.CAPACITY),
        (most, Bound.MATRIX),
        (loss_cap_minor(applicant.score, 0), Bound.LOSS),
        (_whole(plans.largest_repaid_minor * PLAN_SHARE_BP // 10_000), Bound.PLAN_SIZE),
        (_whole(room_minor(most, plans.outstanding_minor, 0)), Bound.EXPOSURE),
    )
    least = min(cap for cap, _ in caps)
    return Line(least, tuple(bound for cap, bound in caps if cap == least))


def plan_gates(plans: Plans) -> tuple[Bound, ...]:
    """Return what keeps the plans from counting; empty = nothing."""
    checks = (
        (
            not any(
                plans.repaid >= count and plans.days_since_first >= days
                for count, days in REPAID_AND_DAYS
            ),
            Bound.PLANS_REPAID,
        ),
        (plans.late_days_most > LATE_DAYS_MAX, Bound.PLAN_LATE),
        (plans.returned_payments > 0, Bound.PAYMENT_RETURNED),
    )
    return tuple(bound for is_closed, bound in checks if is_closed)


def room_minor(cap_minor: int, plans_minor: int, card_minor: int) -> int:
    """Return what may still be owed under one cap over plans and card; never below 0.

    Parameters: the shared cap; what the plans that run owe; what the card owes and holds.
    """
    return max(cap_minor - plans_minor - card_minor, 0)


def _whole(amount_minor: int) -> int:
    return amount_minor // LINE_STEP_MINOR * LINE_STEP_MINOR
