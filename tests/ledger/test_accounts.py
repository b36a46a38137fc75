"""The memo book of an account against plain integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.accounts import (
    AMOUNT_MINOR_MAX,
    give_back,
    identity_gap_minor,
    new_accounts,
    set_limit,
    take,
)
from tests.oracle.core import Account

pytestmark = pytest.mark.kernels

_amounts = st.one_of(st.integers(0, 300), st.integers(0, AMOUNT_MINOR_MAX))
_steps = st.lists(st.tuples(st.sampled_from(["take", "give", "limit"]), _amounts), max_size=30)


@given(_amounts, _steps)
def test_any_steps_leave_the_book_of_the_oracle(limit: int, steps: list[tuple[str, int]]) -> None:
    """Holds within what is open, releases within what is held, limits anywhere: same balances."""
    accounts = new_accounts(2)
    row = accounts[1]
    set_limit(row, np.int64(limit))
    oracle = Account(0, 840)
    oracle.move_limit(limit)
    for what, amount in steps:
        if what == "limit":
            set_limit(row, np.int64(amount))
            oracle.move_limit(amount)
        elif what == "take":
            part = min(amount, oracle.otb)
            take(row, np.int64(part))
            oracle.otb -= part
            oracle.hold += part
        else:
            part = min(amount, oracle.hold)
            give_back(row, np.int64(part))
            oracle.hold -= part
            oracle.credit(part)
        names = ("limit", "prepaid", "otb", "hold", "used", "over")
        assert oracle.book() == tuple(int(row[f"{name}_minor"]) for name in names)
        assert oracle.otb >= 0
        assert oracle.over >= 0
        assert oracle.otb * oracle.over == 0
        assert not identity_gap_minor(accounts).any()


def test_a_lower_limit_leaves_what_is_held_and_pays_back_before_it_opens() -> None:
    """Event 23: the shortfall is OVER, a release pays it first, and only the rest may be spent."""
    row = new_accounts(1)[0]
    set_limit(row, np.int64(1000))
    take(row, np.int64(800))
    set_limit(row, np.int64(300))
    assert (row["otb_minor"], row["hold_minor"], row["over_minor"]) == (0, 800, 500)

    give_back(row, np.int64(600))

    assert (row["otb_minor"], row["hold_minor"], row["over_minor"]) == (100, 200, 0)


def test_the_largest_limit_and_holds_stay_far_from_the_end_of_int64() -> None:
    """Limits at the bound, held whole, moved and given back: nothing wraps."""
    row = new_accounts(1)[0]
    set_limit(row, np.int64(AMOUNT_MINOR_MAX))
    take(row, np.int64(AMOUNT_MINOR_MAX))
    set_limit(row, np.int64(0))
    assert row["over_minor"] == AMOUNT_MINOR_MAX
    give_back(row, np.int64(AMOUNT_MINOR_MAX))
    assert (row["otb_minor"], row["hold_minor"], row["over_minor"]) == (0, 0, 0)
    assert AMOUNT_MINOR_MAX * 1000 < 2**63
