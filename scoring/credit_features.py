"""Characteristics of a card account from six months of bills, payments and repayment status.

Each has a direction (worse when it rises, or when it falls; 0 = either) that the challenger must
keep, and a text for the customer. Sex, marriage, age and education are not inputs: nothing here
takes them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MONTHS = 6
_RATIO_MAX = 2.0


class Behaviour(NamedTuple):
    """One characteristic: +1 = risk rises with it, -1 = risk falls, 0 = not said beforehand."""

    name: str
    direction: int
    reason: str


BEHAVIOURS = (
    Behaviour("limit", -1, "The credit line already granted is low"),
    Behaviour("late_months", 1, "Payments were late in several of the last six months"),
    Behaviour("late_two_months", 1, "Payments were two or more months late"),
    Behaviour("late_most", 1, "A payment was many months late"),
    *(
        Behaviour(f"status_{month}", 1, f"Repayment {month} month(s) ago was late")
        for month in range(1, MONTHS + 1)
    ),
    Behaviour("use_last", 1, "The last balance is high for the credit line"),
    Behaviour("use_mean", 1, "Balances are high for the credit line"),
    Behaviour("use_most", 1, "The highest balance is near or over the credit line"),
    Behaviour("use_growth", 0, "The balance has changed much in six months"),
    Behaviour("paid_last", -1, "The last payment was small for the bill"),
    Behaviour("paid_before", -1, "The payment before the last was small for the bill"),
    Behaviour("paid_mean", -1, "Payments are small for the bills"),
    Behaviour("amount_1", -1, "The last payment was small"),
    Behaviour("amount_2", -1, "The payment before the last was small"),
    Behaviour("amount_3", -1, "An earlier payment was small"),
    Behaviour("amount_all", -1, "Payments of the last six months add up to little"),
    Behaviour("amount_least", -1, "The smallest payment of the last six months was low"),
    Behaviour("months_unpaid", 1, "Some of the last six months had no payment"),
    Behaviour("paid_share", -1, "Payments are small for the credit line"),
    Behaviour("months_since_late", -1, "A payment was late only a short time ago"),
    Behaviour("months_full", 0, "Few or no bills were paid in full"),
    Behaviour("months_revolving", 0, "A balance was carried over in many months"),
    Behaviour("months_idle", 0, "The account was little used"),
    Behaviour("late_weighted", 1, "Late payments are recent or long"),
    Behaviour("late_recent", 1, "Payments of the last three months were late"),
)
NAMES = tuple(behaviour.name for behaviour in BEHAVIOURS)
REASONS = {behaviour.name: behaviour.reason for behaviour in BEHAVIOURS}


def behaviours(
    limit: NDArray[np.float64],
    status: NDArray[np.float64],
    bill: NDArray[np.float64],
    paid: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return f64[n, len(NAMES)]; NaN where a ratio has no bill to stand on.

    Parameters: limit f64[n] > 0; status, bill, paid f64[n, 6], newest month first. ``status`` is
    months late, 0 = balance carried, -1 = paid in full, -2 = not used. ``paid[:, k]`` is paid in
    the month of ``bill[:, k]``, so on the bill of the month before.
    """
    late = np.maximum(status, 0.0)
    use = bill / limit[:, None]
    recency = np.arange(MONTHS, 0, -1.0)
    columns = [
        limit,
        (status > 0).sum(axis=1),
        (status >= 2).sum(axis=1),
        late.max(axis=1),
        *status.T,
        use[:, 0],
        use.mean(axis=1),
        use.max(axis=1),
        use[:, 0] - use[:, -1],
        _ratio(paid[:, 0], bill[:, 1]),
        _ratio(paid[:, 1], bill[:, 2]),
        _ratio(paid[:, :-1].sum(axis=1), bill[:, 1:].sum(axis=1)),
        *paid[:, :3].T,
        paid.sum(axis=1),
        paid.min(axis=1),
        (paid == 0).sum(axis=1),
        paid.sum(axis=1) / limit,
        np.where(status > 0, np.arange(MONTHS), MONTHS).min(axis=1),
        (status == -1).sum(axis=1),
        (status == 0).sum(axis=1),
        (status == -2).sum(axis=1),
        late @ recency,
        late[:, :3].sum(axis=1),
    ]
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return part / whole up to _RATIO_MAX, NaN where nothing was billed."""
    billed = whole > 0
    found = np.divide(part, whole, out=np.full(len(part), np.nan), where=billed)
    return np.minimum(found, _RATIO_MAX)
