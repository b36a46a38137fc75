"""Credit accounts: what may be spent, what is held, what is used.

One row an account, indexed by the internal account number (row 0 stays empty). The memo book of
each row keeps LIMIT + PREPAID = OTB + HOLD + USED - OVER, with OTB >= 0, OVER >= 0 and never both
positive. Amounts are int64 minor units of the account's currency.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ledger.jit import Int, Row, aligned_zeros, kernel
from ledger.lifecycle import MEMO_LEG_COUNT, MEMO_LEGS, Memo

AMOUNT_MINOR_MAX = 10**15  # a limit or a sum of holds; far from int64's end, so sums cannot wrap
BALANCE_MINOR_MAX = 10**18  # what events that cannot be declined may pile up; a ninth of int64


class AccountStatus(IntEnum):
    """Whether an account may spend. 0 is a row that no event has opened."""

    NONE = 0
    ACTIVE = 1
    BLOCKED = 2
    CLOSED = 3


ACCOUNT = np.dtype(
    [
        ("limit_minor", "<i8"),
        ("prepaid_minor", "<i8"),  # money in credit
        ("otb_minor", "<i8"),  # open to buy
        ("hold_minor", "<i8"),
        ("used_minor", "<i8"),
        ("over_minor", "<i8"),  # spent past the limit by events that cannot be declined
        ("last_seq", "<u8"),  # the last record about this account
        ("customer", "<u4"),
        ("currency", "<u2"),
        ("status", "u1"),
        ("product", "u1"),
    ]
)
assert ACCOUNT.itemsize == 64


def new_accounts(capacity: int) -> NDArray[np.void]:
    """Return ``capacity`` empty ACCOUNT rows; pages are touched only when a row is opened."""
    return aligned_zeros(capacity, ACCOUNT)


@kernel
def take(account: Row, amount_minor: int) -> None:
    """Dr OTB / Cr HOLD. The caller has checked ``0 < amount_minor <= otb_minor``."""
    account["otb_minor"] -= amount_minor
    account["hold_minor"] += amount_minor


@kernel
def give_back(account: Row, amount_minor: int) -> None:
    """Dr HOLD / Cr OTB, OVER paid down first."""
    account["hold_minor"] -= amount_minor
    _credit_otb(account, amount_minor)


@kernel
def set_limit(account: Row, limit_minor: int) -> None:
    """Move LIMIT to ``limit_minor``: up pays OVER, then OTB; down takes OTB, the rest is OVER."""
    change = limit_minor - account["limit_minor"]
    account["limit_minor"] = limit_minor
    if change >= 0:
        _credit_otb(account, change)
    else:
        from_otb = min(-change, account["otb_minor"])
        account["otb_minor"] -= from_otb
        account["over_minor"] += -change - from_otb


@kernel
def has_headroom(account: Row, amount_minor: Int) -> bool:
    """Whether ``amount_minor`` (0 or more) can be posted without any balance nearing int64's end.

    Every balance is at most the sum of the debit side, which this bounds.
    """
    debits = account["limit_minor"] + account["prepaid_minor"] + account["over_minor"]
    return 0 <= amount_minor <= BALANCE_MINOR_MAX - debits


@kernel
def post(account: Row, kind: Int, whole_minor: Int, freed_minor: Int) -> None:
    """Run the memo legs of event ``kind`` (``ledger.lifecycle.TABLE``) on the account.

    ``whole_minor`` is the amount of the event; ``freed_minor`` by how much its hold shrinks, below
    zero by how much it grows. The caller has checked the guard of the event and the headroom.
    """
    changed = abs(freed_minor)
    from_hold = min(whole_minor, changed)
    credit = min(whole_minor, account["prepaid_minor"])
    paid = min(whole_minor, account["used_minor"])
    change = whole_minor - account["limit_minor"]
    amounts = (  # in the order of lifecycle.Amount
        np.int64(whole_minor),
        np.int64(max(-freed_minor, 0)),
        np.int64(max(freed_minor, 0)),
        np.int64(from_hold),
        np.int64(whole_minor - from_hold),
        np.int64(changed - from_hold),
        np.int64(credit),
        np.int64(whole_minor - credit),
        np.int64(paid),
        np.int64(whole_minor - paid),
        np.int64(max(change, 0)),
        np.int64(max(-change, 0)),
    )
    for k in range(MEMO_LEG_COUNT[kind]):
        amount = amounts[MEMO_LEGS[kind, k, 2]]
        if amount > 0:
            _debit(account, MEMO_LEGS[kind, k, 0], amount)
            _credit(account, MEMO_LEGS[kind, k, 1], amount)


@kernel
def _debit(account: Row, which: Int, amount: Int) -> None:
    if which == Memo.LIMIT:
        account["limit_minor"] += amount
    elif which == Memo.PREPAID:
        account["prepaid_minor"] += amount
    elif which == Memo.OTB:
        account["otb_minor"] -= amount
    elif which == Memo.HOLD:
        account["hold_minor"] -= amount
    elif which == Memo.USED:
        account["used_minor"] -= amount
    else:  # Memo.SPEND
        from_otb = min(amount, account["otb_minor"])
        account["otb_minor"] -= from_otb
        account["over_minor"] += amount - from_otb


@kernel
def _credit(account: Row, which: Int, amount: Int) -> None:
    if which == Memo.LIMIT:
        account["limit_minor"] -= amount
    elif which == Memo.PREPAID:
        account["prepaid_minor"] -= amount
    elif which == Memo.HOLD:
        account["hold_minor"] += amount
    elif which == Memo.USED:
        account["used_minor"] += amount
    else:  # Memo.FREE
        _credit_otb(account, amount)


@kernel
def _credit_otb(account: Row, amount_minor: int) -> None:
    to_over = min(amount_minor, account["over_minor"])
    account["over_minor"] -= to_over
    account["otb_minor"] += amount_minor - to_over


def identity_gap_minor(accounts: NDArray[np.void]) -> NDArray[np.int64]:
    """Return LIMIT + PREPAID - OTB - HOLD - USED + OVER of each row: zeros when all is well."""
    gap: NDArray[np.int64] = (
        accounts["limit_minor"]
        + accounts["prepaid_minor"]
        - accounts["otb_minor"]
        - accounts["hold_minor"]
        - accounts["used_minor"]
        + accounts["over_minor"]
    )
    return gap
