"""The limit policy: how large a credit line may be, as pure functions of stated inputs.

Money is whole minor units. The steps and their order: gates, capacity to pay the minimum at full
use, a matrix of score band by income band, and a cap by expected loss. A line is never more than
the least of the three; whatever bound it is a reason. Tables below are the policy; ``POLICY``
names them, so that a decision can say under which it was made.

Sources: 12 CFR 1026.51(a) for capacity, also at every increase; expected loss as in the usual
PD x LGD x EAD, the probability rising with the line (Rosenberg and Gleit 1994).
"""

from enum import IntEnum
from typing import NamedTuple

from scoring.scorecard import pd_of_score

POLICY = "credit-limit-1"
AGE_MIN = 18
HISTORY_MONTHS_MIN = 3
SCORE_MIN = 520
MINIMUM_PAYMENT_BP = 300  # of the balance, the required monthly payment
CAPACITY_SHARE_BP = 4_000  # of what is left of the income after obligations
LGD_BP = 7_500
CCF_BP = 6_000  # of the undrawn line that is drawn by the time of default
LOSS_BUDGET_BP = 600  # expected loss a year, of the line
LINE_STEP_MINOR = 10_000  # lines are whole hundreds of the currency
SCORE_BANDS = (520, 540, 560, 580, 600, 640)  # lower ends
INCOME_BANDS_MINOR = (0, 150_000, 300_000, 600_000)  # monthly, lower ends
LINES_MINOR = (
    (20_000, 50_000, 80_000, 100_000),
    (40_000, 80_000, 150_000, 200_000),
    (60_000, 150_000, 300_000, 500_000),
    (80_000, 200_000, 500_000, 800_000),
    (100_000, 300_000, 800_000, 1_200_000),
    (150_000, 500_000, 1_000_000, 2_000_000),
)
CLEAN_CYCLES_MIN = 6
USE_FOR_INCREASE_BP = (3_000, 8_000)
INCREASE_BP = 12_500  # of the old line, at most
SCORE_DROP = 40  # since the last review: the line is lowered


class Bound(IntEnum):
    """Why a line is what it is, or why there is none."""

    NONE = 0
    IDENTITY = 1
    SANCTIONS = 2
    AGE = 3
    FRAUD_CASE = 4
    HISTORY = 5
    SCORE = 6
    CAPACITY = 7
    MATRIX = 8
    LOSS = 9
    CYCLES = 10
    USE = 11
    SCORE_FELL = 12
    HARDSHIP = 13
    PLANS_REPAID = 14  # these are of an upgrade (scoring.plan_upgrade)
    PLAN_LATE = 15
    PAYMENT_RETURNED = 16
    PLAN_SIZE = 17
    EXPOSURE = 18


TEXTS = {
    Bound.IDENTITY: "We could not verify your identity",
    Bound.SANCTIONS: "We are not permitted to open an account for you",
    Bound.AGE: "You have not reached the age at which a line can be granted",
    Bound.FRAUD_CASE: "There is an open fraud case on the account",
    Bound.HISTORY: "The account history is too short",
    Bound.SCORE: "The credit score is below the minimum",
    Bound.CAPACITY: "Income is insufficient for the obligations and this line",
    Bound.MATRIX: "The line is the largest for this score and income",
    Bound.LOSS: "The risk of default is too high for a larger line",
    Bound.CYCLES: "Too few statements in a row were paid on time",
    Bound.USE: "The present line is used too little or too much",
    Bound.SCORE_FELL: "The credit score has fallen since the last review",
    Bound.HARDSHIP: "A hardship arrangement is in force",
    Bound.PLANS_REPAID: "Too few instalment plans were repaid so far",
    Bound.PLAN_LATE: "An instalment was paid late in the last six months",
    Bound.PAYMENT_RETURNED: "A payment was returned by the bank",
    Bound.PLAN_SIZE: "The plans repaid so far were small",
    Bound.EXPOSURE: "Plans that run at present use up what may be owed in all",
}


class Applicant(NamedTuple):
    """What the policy reads of a person; money in minor units a month."""

    score: int
    income_minor: int
    obligations_minor: int
    history_months: int
    age_years: int
    identity_verified: bool = True
    sanctioned: bool = False
    open_fraud_case: bool = False


class Line(NamedTuple):
    """A granted line, 0 if refused, and what bound it."""

    limit_minor: int
    bounds: tuple[Bound, ...]


class Review(NamedTuple):
    """What a periodic review reads beside the applicant; money in minor units."""

    limit_minor: int
    balance_minor: int
    clean_cycles: int
    mean_use_bp: int
    score_before: int
    hardship: bool = False


def first_line(applicant: Applicant) -> Line:
    """Return the line of a new account."""
    closed = gates(applicant)
    if closed:
        return Line(0, closed)
    caps = (
        (capacity_minor(applicant), Bound.CAPACITY),
        (matrix_minor(applicant), Bound.MATRIX),
        (loss_cap_minor(applicant.score, 0), Bound.LOSS),
    )
    least = min(cap for cap, _ in caps)
    bounds = tuple(bound for cap, bound in caps if cap == least)
    return Line(least, bounds)


def gates(applicant: Applicant) -> tuple[Bound, ...]:
    """Return every gate that is closed to the applicant; empty = none."""
    checks = (
        (not applicant.identity_verified, Bound.IDENTITY),
        (applicant.sanctioned, Bound.SANCTIONS),
        (applicant.age_years < AGE_MIN, Bound.AGE),
        (applicant.open_fraud_case, Bound.FRAUD_CASE),
        (applicant.history_months < HISTORY_MONTHS_MIN, Bound.HISTORY),
        (applicant.score < SCORE_MIN, Bound.SCORE),
    )
    return tuple(bound for is_closed, bound in checks if is_closed)


def capacity_minor(applicant: Applicant) -> int:
    """Return the largest line whose minimum payment at full use the income still covers."""
    free = max(applicant.income_minor - applicant.obligations_minor, 0)
    payment = free * CAPACITY_SHARE_BP // 10_000
    return _whole(payment * 10_000 // MINIMUM_PAYMENT_BP)


def matrix_minor(applicant: Applicant) -> int:
    """Return the line of the table for score and income; 0 under the lowest band."""
    row = sum(applicant.score >= low for low in SCORE_BANDS) - 1
    column = sum(applicant.income_minor >= low for low in INCOME_BANDS_MINOR) - 1
    return LINES_MINOR[row][column] if row >= 0 and column >= 0 else 0


def loss_cap_minor(score: int, balance_minor: int) -> int:
    """Return the largest line whose expected loss keeps to LOSS_BUDGET_BP of it.

    Found by halving over whole steps: the loss share does not fall as the line grows.
    """
    low, high = 0, max(row[-1] for row in LINES_MINOR) // LINE_STEP_MINOR
    while low < high:
        middle = (low + high + 1) // 2
        line = middle * LINE_STEP_MINOR
        if expected_loss_minor(score, balance_minor, line) * 10_000 <= LOSS_BUDGET_BP * line:
            low = middle
        else:
            high = middle - 1
    return low * LINE_STEP_MINOR


def expected_loss_minor(score: int, balance_minor: int, limit_minor: int) -> int:
    """Return PD x LGD x EAD, rounded up; EAD = balance + CCF x what is left of the line.

    The probability is that of the score raised by the line: 10 points worse for each doubling
    beyond the smallest line of the table.
    """
    doublings = max((limit_minor // LINES_MINOR[0][0]).bit_length() - 1, 0)
    chance_bp = -int(-pd_of_score(score - 10 * doublings) * 10_000 // 1)
    undrawn = max(limit_minor - balance_minor, 0)
    exposure = balance_minor + undrawn * CCF_BP // 10_000
    return -(-chance_bp * LGD_BP * exposure // 100_000_000)


def reviewed_line(applicant: Applicant, review: Review) -> Line:
    """Return the line after a review: raised, kept or lowered, never below the balance.

    ``bounds`` say why it was lowered, or why it was not raised; empty when raised.
    """
    worse = (
        (applicant.score <= review.score_before - SCORE_DROP, Bound.SCORE_FELL),
        (review.hardship, Bound.HARDSHIP),
        *((True, bound) for bound in gates(applicant)),
    )
    lowering = tuple(bound for holds, bound in worse if holds)
    if lowering:
        most = 0 if gates(applicant) else first_line(applicant).limit_minor
        return Line(max(min(most, review.limit_minor), review.balance_minor), lowering)
    holding = []
    if review.clean_cycles < CLEAN_CYCLES_MIN:
        holding.append(Bound.CYCLES)
    low, high = USE_FOR_INCREASE_BP
    if not low <= review.mean_use_bp <= high:
        holding.append(Bound.USE)
    if holding:
        return Line(review.limit_minor, tuple(holding))
    capacity = capacity_minor(applicant)
    loss = loss_cap_minor(applicant.score, review.balance_minor)
    wanted = min(
        _whole(review.limit_minor * INCREASE_BP // 10_000), matrix_minor(applicant), capacity, loss
    )
    if wanted > review.limit_minor:
        return Line(wanted, ())
    caps = (
        (capacity, Bound.CAPACITY),
        (matrix_minor(applicant), Bound.MATRIX),
        (loss, Bound.LOSS),
    )
    return Line(
        review.limit_minor, tuple(bound for cap, bound in caps if cap <= review.limit_minor)
    )


def _whole(amount_minor: int) -> int:
    return amount_minor // LINE_STEP_MINOR * LINE_STEP_MINOR
