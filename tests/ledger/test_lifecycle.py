"""The postings table: balanced, complete, the same for kernel and books; and as the page says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.accounts import has_headroom, identity_gap_minor, new_accounts, post
from ledger.lifecycle import (
    TABLE,
    Amount,
    Fin,
    Leg,
    Memo,
    Position,
    Posting,
    settlement_of,
    table_lines,
)
from ledger.record import RECORD, Kind
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

_SPENDING = (Kind.AUTHORIZE, Kind.PARTIAL, Kind.INCREMENT)
_CLEARINGS = (Kind.CLEARING, Kind.CLEARING_PART, Kind.OVER_CAPTURE, Kind.FORCE_POST)
_GIVING = (Kind.REFUND, Kind.CLEARING_REVERSAL, Kind.REPAYMENT, Kind.PAYMENT_RETURNED)
_amounts = st.one_of(st.integers(1, 300), st.integers(1, 10**12))
_steps = st.lists(
    st.tuples(st.sampled_from(sorted(set(TABLE) - {Kind.ACCOUNT_OPEN})), _amounts, _amounts),
    max_size=40,
)
_FINANCIAL = {"RCV_PURCH": "purchases_minor", "RCV_CASH": "cash_minor"}


def _plan(kind: Kind, whole: int, other: int, at: Position) -> tuple[int, int] | None:
    """Return (amount, freed) that the guard of the event allows, or None."""
    if kind in _SPENDING:
        return (whole, -whole) if whole <= at.otb_minor else None
    if kind == Kind.FINANCIAL:
        return (whole, 0) if whole <= at.otb_minor else None
    if kind == Kind.ADVICE:
        return (whole, -whole) if other % 2 else (whole, min(other, at.hold_minor))
    if kind in (Kind.REVERSAL, Kind.EXPIRE):
        return whole, min(other, at.hold_minor)
    if kind == Kind.CLEARING_PART:
        return min(whole, at.hold_minor), min(whole, at.hold_minor)
    if kind in _CLEARINGS:
        return whole, min(other, at.hold_minor)
    if kind == Kind.CLEARING_REVERSAL:
        return whole, -min(other, whole + at.otb_minor)
    return whole, 0


def _record(kind: Kind, whole: int, hold_after: int, pcode: int) -> Any:
    record = np.zeros(1, RECORD)[0]
    record["kind"], record["pcode"] = kind, pcode
    record["amount_minor"], record["hold_after_minor"] = whole, hold_after
    return record


@settings(max_examples=examples(200))
@given(_amounts, _steps, st.sampled_from([0, 10_000]))
def test_kernel_and_books_move_the_same_and_all_invariants_hold(
    limit: int, steps: list[tuple[Kind, int, int]], pcode: int
) -> None:
    """I1, I2 and I6 after any events within their guards; the kernel's row equals the position."""
    accounts, books = new_accounts(2), Position()
    post(accounts[1], np.int64(Kind.LIMIT), np.int64(limit), np.int64(0))
    opening = books.post(_record(Kind.ACCOUNT_OPEN, limit, 0, 0))
    totals = dict.fromkeys([*Memo, *Fin], 0)
    for kind, whole, other in [(Kind.CHECK, 1, 1), *steps]:
        plan = _plan(kind, whole, other, books)
        if plan is None:
            continue
        amount, freed = plan
        assert has_headroom(accounts[1], np.int64(amount))
        post(accounts[1], np.int64(kind), np.int64(amount), np.int64(freed))
        over_before = books.over_minor
        postings = books.post(_record(kind, amount, books.hold_minor - freed, pcode))
        for debit, credit, moved in opening + postings:
            assert moved > 0
            assert type(debit) is type(credit)  # each book balances by itself
            totals[debit] += moved
            totals[credit] -= moved
        opening = []
        row = accounts[1]
        for name in ("limit", "prepaid", "otb", "hold", "used", "over"):
            assert int(row[f"{name}_minor"]) == getattr(books, f"{name}_minor"), (kind, name)
        assert not identity_gap_minor(accounts).any()
        assert books.otb_minor >= 0 <= books.over_minor
        assert books.otb_minor * books.over_minor == 0
        assert books.purchases_minor + books.cash_minor == books.used_minor
        assert min(books.purchases_minor, books.cash_minor, books.prepaid_minor) >= 0
        assert totals[Fin.CUST_CREDIT] == -books.prepaid_minor
        assert totals[Fin.RCV_PURCH] == books.purchases_minor
        assert totals[Fin.RCV_CASH] == books.cash_minor
        assert totals[Fin.UNALLOC] == 0
        if kind in (*_SPENDING, Kind.FINANCIAL, Kind.CLEARING_REVERSAL):  # I5
            assert books.over_minor <= over_before


def test_a_clearing_reversal_is_the_clearing_the_other_way_round() -> None:
    """Both books: the legs from the last to the first, debit and credit exchanged."""
    turned = {Memo.SPEND: Memo.FREE, Memo.FREE: Memo.SPEND}
    amounts = {Amount.CREDIT: Amount.EXCESS, Amount.OWED: Amount.PAID}

    def mirrored(legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
        return tuple(
            Leg(
                turned.get(leg.credit, leg.credit),  # type: ignore[call-overload]
                turned.get(leg.debit, leg.debit),  # type: ignore[call-overload]
                amounts.get(leg.amount, leg.amount),
            )
            for leg in reversed(legs)
        )

    back = TABLE[Kind.CLEARING_REVERSAL]
    for kind in _CLEARINGS:
        assert back.memo == mirrored(TABLE[kind].memo)
        assert back.financial == mirrored(TABLE[kind].financial)


@settings(max_examples=examples(200))
@given(
    st.sampled_from(_CLEARINGS),
    _amounts,
    _amounts,
    st.tuples(*[st.integers(0, 400)] * 3),
    st.sampled_from([0, 10_000]),
)
def test_a_reversal_leaves_the_account_as_it_was_before_the_clearing(
    kind: Kind, whole: int, freed: int, before: tuple[int, int, int], pcode: int
) -> None:
    """Whatever was open to buy, held, owed or the customer's own: all balances, all accounts."""
    otb, hold, own = before
    at = Position(otb + hold + own, 0, otb, hold, own, 0, own)
    if pcode:  # the customer's own money, and cash
        at = Position(otb + hold, own, otb + own, hold)
    was = replace(at)
    freed = min(freed, hold, whole if kind in (Kind.CLEARING_PART, Kind.OVER_CAPTURE) else hold)
    freed = 0 if kind == Kind.FORCE_POST else freed
    totals = dict.fromkeys([*Memo, *Fin], 0)

    done = at.post(_record(kind, whole, hold - freed, pcode))
    undone = at.post(_record(Kind.CLEARING_REVERSAL, whole, hold, pcode))

    assert at == was
    for debit, credit, amount in done + undone:
        totals[debit] += amount
        totals[credit] -= amount
    assert not any(totals.values())
    assert sorted(undone) == sorted(Posting(c, d, minor) for d, c, minor in done)


def test_a_decline_and_an_unknown_kind_post_nothing() -> None:
    """The result of the record decides; changes of cards move no money."""
    position = Position(limit_minor=100, otb_minor=100)
    declined = _record(Kind.FINANCIAL, 50, 0, 0)
    declined["result"] = 201

    assert position.post(declined) == []
    assert position.post(_record(Kind.CARD_ISSUE, 0, 0, 0)) == []
    assert position == Position(limit_minor=100, otb_minor=100)


def test_an_amount_near_the_end_of_int64_has_no_headroom() -> None:
    """Forced events stop before any balance can wrap."""
    accounts = new_accounts(1)
    post(accounts[0], np.int64(Kind.FORCE_POST), np.int64(10**18 - 5), np.int64(0))

    assert has_headroom(accounts[0], np.int64(5))
    assert not has_headroom(accounts[0], np.int64(6))
    assert not has_headroom(accounts[0], np.int64(-1))


def test_settlement_is_the_clearings_own_or_the_day_of_the_record() -> None:
    """A DE7 is never taken for a date."""
    record = _record(Kind.CLEARING, 1, 0, 0)
    record["ts_ns"], record["status"], record["transmitted"] = 86_400 * 10**9, 3, 20_260_131
    assert settlement_of(record) == (3, 20_260_131)
    record["transmitted"] = 101_000_000
    assert settlement_of(record) == (0, 19_700_102)


def test_the_page_shows_the_table() -> None:
    """docs/ledger.md has the postings as the code has them."""
    page = (Path(__file__).parents[2] / "docs/ledger.md").read_text(encoding="utf-8")
    for line in table_lines():
        assert line in page
