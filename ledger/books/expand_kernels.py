"""Ledger records into postings, many at once: the books' side of ``ledger.lifecycle.TABLE``.

The slow twin is ``ledger.lifecycle.Position``, which says the same one record at a time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.jit import Int, Row, allocating_kernel, kernel
from ledger.lifecycle import APPROVED_BELOW, CASH_PAIR, TABLE, Fin, Memo
from ledger.record import Kind

# Columns of the balances: those of ``Memo`` up to OVER, then what is owed for purchases and cash.
PURCHASES = 6
CASH = 7
BALANCES = 8
KINDS = 128
POSTINGS_MAX = 24  # of one record: each leg splits into at most four

POSTING = np.dtype(
    [
        ("amount_minor", "<i8"),  # above zero
        ("row", "<i4"),  # of the record
        ("line", "<i2"),  # from 1, within the record
        ("debit", "<i2"),  # Memo or Fin, without SPEND, FREE and RECEIVABLE
        ("credit", "<i2"),
    ]
)

_LEGS_MAX = max(len(event.memo) + len(event.financial) for event in TABLE.values())
LEGS = np.zeros((KINDS, _LEGS_MAX, 3), np.int64)  # debit, credit, amount; memo before financial
LEG_COUNT = np.zeros(KINDS, np.int64)
for _kind, _event in TABLE.items():
    LEG_COUNT[_kind] = len(_event.memo) + len(_event.financial)
    for _place, _leg in enumerate((*_event.memo, *_event.financial)):
        LEGS[_kind, _place] = _leg
assert 4 * _LEGS_MAX <= POSTINGS_MAX + 8
_FIRST_FIN = min(Fin)


@allocating_kernel
def expand(
    records: NDArray[np.void], balances: NDArray[np.int64], out: NDArray[np.void]
) -> tuple[int, int]:
    """Fold ``records`` into ``balances`` and write their postings.

    Parameters
    ----------
    records : RECORD (k,), in order.
    balances : i64 (accounts + 1, 8), minor units by internal account number; in and out.
    out : POSTING (m,), m at least POSTINGS_MAX.

    Returns
    -------
    (records done, postings written); fewer than all where ``out`` is full.
    """
    made = 0
    amounts = np.zeros(12, np.int64)
    for i in range(records.shape[0]):
        record = records[i]
        kind = np.int64(record["kind"])
        if kind >= KINDS or LEG_COUNT[kind] == 0 or record["result"] >= APPROVED_BELOW:
            continue
        if made + POSTINGS_MAX > out.shape[0]:
            return i, made
        account = balances[np.int64(record["account"])]
        _amounts(record, kind, account, amounts)
        is_cash = np.int64(record["pcode"]) // 10_000 == CASH_PAIR
        first = made
        for k in range(LEG_COUNT[kind]):
            debit, credit = LEGS[kind, k, 0], LEGS[kind, k, 1]
            amount = amounts[LEGS[kind, k, 2]]
            if amount == 0:
                continue
            if debit < _FIRST_FIN:
                made = _memo_leg(account, debit, credit, amount, out, made)
            else:
                made = _owed_leg(account, debit, credit, amount, kind, is_cash, out, made)
        for line in range(first, made):
            out[line]["row"] = i
            out[line]["line"] = line - first + 1
    return records.shape[0], made


@kernel
def _amounts(record: Row, kind: Int, account: Any, amounts: Any) -> None:
    """Fill the amounts of an event, in the order of ``lifecycle.Amount``."""
    whole = np.int64(record["amount_minor"])
    shrinks = np.int64(0)
    if kind != Kind.LIMIT and kind != Kind.ACCOUNT_OPEN:
        shrinks = account[Memo.HOLD] - np.int64(record["hold_after_minor"])
    freed: Any = max(shrinks, 0)
    changed: Any = abs(shrinks)
    from_hold: Any = min(whole, changed)
    credit = min(whole, account[Memo.PREPAID])
    paid = min(whole, account[Memo.USED])
    amounts[0] = whole
    amounts[1] = freed - shrinks
    amounts[2] = freed
    amounts[3] = from_hold
    amounts[4] = whole - from_hold
    amounts[5] = changed - from_hold
    amounts[6] = credit
    amounts[7] = whole - credit
    amounts[8] = paid
    amounts[9] = whole - paid
    amounts[10] = max(whole - account[Memo.LIMIT], 0)
    amounts[11] = max(account[Memo.LIMIT] - whole, 0)


@kernel
def _memo_leg(
    account: NDArray[np.int64],
    debit: Int,
    credit: Int,
    amount: Int,
    out: NDArray[np.void],
    made: Int,
) -> Int:
    """Split SPEND and FREE into plain accounts, move the balances, write the postings."""
    if debit != Memo.SPEND:
        return _memo_credit(account, debit, credit, amount, out, made)
    from_otb = min(amount, account[Memo.OTB])
    made = _memo_credit(account, Memo.OTB, credit, from_otb, out, made)
    return _memo_credit(account, Memo.OVER, credit, amount - from_otb, out, made)


@kernel
def _memo_credit(
    account: NDArray[np.int64],
    debit: Int,
    credit: Int,
    amount: Int,
    out: NDArray[np.void],
    made: Int,
) -> Int:
    if credit != Memo.FREE:
        return _memo_post(account, debit, credit, amount, out, made)
    to_over = min(amount, account[Memo.OVER])
    made = _memo_post(account, debit, Memo.OVER, to_over, out, made)
    return _memo_post(account, debit, Memo.OTB, amount - to_over, out, made)


@kernel
def _memo_post(
    account: NDArray[np.int64],
    debit: Int,
    credit: Int,
    amount: Int,
    out: NDArray[np.void],
    made: Int,
) -> Int:
    if amount == 0:
        return made
    # LIMIT, PREPAID and OVER are debit-normal; OTB, HOLD and USED credit-normal.
    account[debit] += -amount if Memo.OTB <= debit <= Memo.USED else amount
    account[credit] += amount if Memo.OTB <= credit <= Memo.USED else -amount
    return _write(debit, credit, amount, out, made)


@kernel
def _write(debit: Int, credit: Int, amount: Int, out: NDArray[np.void], made: Int) -> Int:
    out[made]["debit"] = debit
    out[made]["credit"] = credit
    out[made]["amount_minor"] = amount
    return made + 1


@kernel
def _owed_leg(
    account: NDArray[np.int64],
    debit: Int,
    credit: Int,
    amount: Int,
    kind: Int,
    is_cash: bool,  # noqa: FBT001 - kernels take positional arguments
    out: NDArray[np.void],
    made: Int,
) -> Int:
    """Split RECEIVABLE: a debit by what was bought; a credit pays one, then the other."""
    if debit == Fin.RECEIVABLE:
        account[CASH if is_cash else PURCHASES] += amount
        return _write(Fin.RCV_CASH if is_cash else Fin.RCV_PURCH, credit, amount, out, made)
    if credit != Fin.RECEIVABLE:
        return _write(debit, credit, amount, out, made)
    cash_first = is_cash or kind == Kind.REPAYMENT
    own = CASH if cash_first else PURCHASES
    first = min(amount, account[own])
    rest = amount - first
    account[own] -= first
    account[PURCHASES if cash_first else CASH] -= rest
    if first != 0:
        made = _write(debit, Fin.RCV_CASH if cash_first else Fin.RCV_PURCH, first, out, made)
    if rest != 0:
        made = _write(debit, Fin.RCV_PURCH if cash_first else Fin.RCV_CASH, rest, out, made)
    return made
