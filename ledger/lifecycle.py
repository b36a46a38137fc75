"""The life of an authorization as one table: which event moves what from where to where.

``TABLE`` is the only place that says so. The engine's kernel runs its memo part on the account rows
(``ledger.accounts.post``), the books expand all of it into double-entry postings (``Position``).
Nothing of this is stored: a record's kind, its amount, its date and the hold after it imply the
postings, given the balances before.

Two books, each balanced by itself in each currency. The memo book says what may be spent:

    LIMIT + PREPAID = OTB + HOLD + USED - OVER,   OTB >= 0, OVER >= 0, never both positive

LIMIT, PREPAID and OVER are debit-normal, OTB (open to buy), HOLD and USED credit-normal. The
financial book says what is owed: receivables for purchases and cash, the customer's credit, money
received and not yet given a place, what is due to the networks, the bank's own account.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ledger.record import Kind

APPROVED_BELOW = 100  # results under it post; 101 and above are reasons of declines
CASH_PAIR = 1  # first two digits of DE3: cash is a receivable of its own
KIND_LIMIT = 32  # kinds that post are below it; accounts and cards from 101 on


class Memo(IntEnum):
    """Accounts of the memo book; the first six are the balances of an ACCOUNT row."""

    LIMIT = 0
    PREPAID = 1
    OTB = 2
    HOLD = 3
    USED = 4
    OVER = 5
    SPEND = 6  # as a debit: OTB down to zero, the rest OVER
    FREE = 7  # as a credit: OVER is paid down first, the rest OTB


class Fin(IntEnum):
    """Accounts of the financial book."""

    RCV_PURCH = 10
    RCV_CASH = 11
    CUST_CREDIT = 12
    UNALLOC = 13
    NET_SETTLE = 14  # by scheme, currency and settlement date
    NOSTRO = 15
    RECEIVABLE = 16  # cash or purchases: which one, ``Position`` says


class Amount(IntEnum):
    """What a leg moves; all of them are known before the first leg is."""

    WHOLE = 0  # the amount of the event
    HELD = 1  # by how much the hold grew
    FREED = 2  # by how much it shrank
    FROM_HOLD = 3  # the part of the amount that the hold covered, or takes back
    BEYOND = 4  # the part it did not
    REST = 5  # freed, and not by the amount; held again, and not by the amount
    CREDIT = 6  # the part that the customer's own money pays
    OWED = 7  # the part that it does not
    PAID = 8  # the part that pays what is used
    EXCESS = 9  # the part beyond that
    UP = 10  # by how much the limit rises
    DOWN = 11  # by how much it falls


class Leg(NamedTuple):
    """Dr ``debit`` / Cr ``credit``."""

    debit: Memo | Fin
    credit: Memo | Fin
    amount: Amount


class Event(NamedTuple):
    """One event: its memo legs and its financial legs, in order."""

    memo: tuple[Leg, ...]
    financial: tuple[Leg, ...] = ()


_TO_HOLD = Leg(Memo.OTB, Memo.HOLD, Amount.HELD)
_FROM_HOLD = Leg(Memo.HOLD, Memo.FREE, Amount.FREED)
_USE_CREDIT = Leg(Memo.USED, Memo.PREPAID, Amount.CREDIT)
_BILLED = (
    Leg(Fin.CUST_CREDIT, Fin.NET_SETTLE, Amount.CREDIT),
    Leg(Fin.RECEIVABLE, Fin.NET_SETTLE, Amount.OWED),
)
_CLEARED = Event(
    (
        Leg(Memo.HOLD, Memo.USED, Amount.FROM_HOLD),
        Leg(Memo.SPEND, Memo.USED, Amount.BEYOND),
        Leg(Memo.HOLD, Memo.FREE, Amount.REST),
        _USE_CREDIT,
    ),
    _BILLED,
)
_GIVEN = (
    Leg(Memo.USED, Memo.FREE, Amount.PAID),
    Leg(Memo.PREPAID, Memo.FREE, Amount.EXCESS),
)
_NOT_BILLED = (
    Leg(Fin.NET_SETTLE, Fin.RECEIVABLE, Amount.PAID),
    Leg(Fin.NET_SETTLE, Fin.CUST_CREDIT, Amount.EXCESS),
)
_TAKEN_BACK = Event(  # the legs of _CLEARED from the last to the first, each the other way round
    (
        Leg(Memo.PREPAID, Memo.USED, Amount.EXCESS),
        Leg(Memo.SPEND, Memo.HOLD, Amount.REST),
        Leg(Memo.USED, Memo.FREE, Amount.BEYOND),
        Leg(Memo.USED, Memo.HOLD, Amount.FROM_HOLD),
    ),
    _NOT_BILLED,
)

TABLE: Mapping[Kind, Event] = MappingProxyType(
    {
        Kind.AUTHORIZE: Event((_TO_HOLD,)),
        Kind.PARTIAL: Event((_TO_HOLD,)),
        Kind.CHECK: Event(()),
        Kind.INCREMENT: Event((_TO_HOLD,)),
        Kind.ADVICE: Event((Leg(Memo.SPEND, Memo.HOLD, Amount.HELD), _FROM_HOLD)),
        Kind.REVERSAL: Event((_FROM_HOLD,)),
        Kind.EXPIRE: Event((_FROM_HOLD,)),
        Kind.CLEARING: _CLEARED,
        Kind.CLEARING_PART: _CLEARED,
        Kind.OVER_CAPTURE: _CLEARED,
        Kind.FORCE_POST: _CLEARED,
        Kind.REFUND: Event(_GIVEN, _NOT_BILLED),
        Kind.CLEARING_REVERSAL: _TAKEN_BACK,
        Kind.REPAYMENT: Event(
            _GIVEN,
            (
                Leg(Fin.NOSTRO, Fin.UNALLOC, Amount.WHOLE),
                Leg(Fin.UNALLOC, Fin.RECEIVABLE, Amount.PAID),
                Leg(Fin.UNALLOC, Fin.CUST_CREDIT, Amount.EXCESS),
            ),
        ),
        Kind.PAYMENT_RETURNED: Event(
            (Leg(Memo.SPEND, Memo.USED, Amount.WHOLE), _USE_CREDIT),
            (
                Leg(Fin.CUST_CREDIT, Fin.UNALLOC, Amount.CREDIT),
                Leg(Fin.RECEIVABLE, Fin.UNALLOC, Amount.OWED),
                Leg(Fin.UNALLOC, Fin.NOSTRO, Amount.WHOLE),
            ),
        ),
        Kind.LIMIT: Event(
            (
                Leg(Memo.LIMIT, Memo.FREE, Amount.UP),
                Leg(Memo.SPEND, Memo.LIMIT, Amount.DOWN),
            )
        ),
        Kind.FINANCIAL: Event(
            (Leg(Memo.OTB, Memo.USED, Amount.WHOLE), _USE_CREDIT),
            _BILLED,
        ),
        Kind.ACCOUNT_OPEN: Event((Leg(Memo.LIMIT, Memo.FREE, Amount.UP),)),
    }
)
_CREDIT_NORMAL = frozenset({Memo.OTB, Memo.HOLD, Memo.USED})
_LEGS_MAX = max(len(event.memo) for event in TABLE.values())
# The memo part as kernels read it: i64 (kind, leg, 3) = debit, credit, amount; and legs of a kind.
MEMO_LEGS = np.zeros((KIND_LIMIT, _LEGS_MAX, 3), np.int64)
MEMO_LEG_COUNT = np.zeros(KIND_LIMIT, np.int64)
for _kind, _event in TABLE.items():
    if _kind < KIND_LIMIT:
        MEMO_LEG_COUNT[_kind] = len(_event.memo)
        for _place, _leg in enumerate(_event.memo):
            MEMO_LEGS[_kind, _place] = _leg


class Posting(NamedTuple):
    """Dr ``debit`` / Cr ``credit`` of one book; no composite account, and never an empty amount."""

    debit: Memo | Fin
    credit: Memo | Fin
    amount_minor: int


@dataclass(slots=True)
class Position:
    """The balances of one account, in plain integers: folds records, gives back their postings.

    Amounts are minor units of the account's currency. ``purchases_minor`` and ``cash_minor`` are
    what is owed; together they are ``used_minor``, and CUST_CREDIT is ``prepaid_minor``.
    """

    limit_minor: int = 0
    prepaid_minor: int = 0
    otb_minor: int = 0
    hold_minor: int = 0
    used_minor: int = 0
    over_minor: int = 0
    purchases_minor: int = 0
    cash_minor: int = 0

    def post(self, record: Any) -> list[Posting]:
        """Apply one ledger record of this account (in order); return its postings in both books.

        ``record`` has the fields of RECORD by name: kind, result, pcode, amount_minor and
        hold_after_minor are read. Kinds that move nothing give none. Raises ``KeyError`` for a
        kind that this version does not know.
        """
        kind = Kind(int(record["kind"]))
        event = TABLE.get(kind)
        if event is None or int(record["result"]) >= APPROVED_BELOW:
            return []
        is_cash = int(record["pcode"]) // 10_000 == CASH_PAIR
        hold_after = self.hold_minor if kind in _HOLD_STAYS else int(record["hold_after_minor"])
        whole = int(record["amount_minor"])
        amounts = self.amounts(whole, self.hold_minor - hold_after)
        postings: list[Posting] = []
        for leg in event.memo:
            self._move(leg, amounts[leg.amount], postings)
        for leg in event.financial:
            self._owe(leg, amounts[leg.amount], kind, is_cash, postings)
        return postings

    def amounts(self, whole_minor: int, freed_minor: int) -> dict[Amount, int]:
        """Return every ``Amount`` of an event, given how much the hold shrinks (< 0: it grows)."""
        freed = max(freed_minor, 0)
        from_hold = min(whole_minor, abs(freed_minor))
        credit = min(whole_minor, self.prepaid_minor)
        paid = min(whole_minor, self.used_minor)
        return {
            Amount.WHOLE: whole_minor,
            Amount.HELD: max(-freed_minor, 0),
            Amount.FREED: freed,
            Amount.FROM_HOLD: from_hold,
            Amount.BEYOND: whole_minor - from_hold,
            Amount.REST: abs(freed_minor) - from_hold,
            Amount.CREDIT: credit,
            Amount.OWED: whole_minor - credit,
            Amount.PAID: paid,
            Amount.EXCESS: whole_minor - paid,
            Amount.UP: max(whole_minor - self.limit_minor, 0),
            Amount.DOWN: max(self.limit_minor - whole_minor, 0),
        }

    def _move(self, leg: Leg, amount: int, postings: list[Posting]) -> None:
        """Split a memo leg into plain accounts and move the balances."""
        if leg.debit == Memo.SPEND:
            first = min(amount, self.otb_minor)
            debits = [(Memo.OTB, first), (Memo.OVER, amount - first)]
        else:
            debits = [(Memo(leg.debit), amount)]
        for debit, part in debits:
            if leg.credit == Memo.FREE:
                pays = min(part, self.over_minor)
                self._plain(debit, Memo.OVER, pays, postings)
                self._plain(debit, Memo.OTB, part - pays, postings)
            else:
                self._plain(debit, Memo(leg.credit), part, postings)

    def _plain(self, debit: Memo, credit: Memo, amount: int, postings: list[Posting]) -> None:
        if amount == 0:
            return
        for account, sign in ((debit, 1), (credit, -1)):
            name = f"{account.name.lower()}_minor"
            change = -sign * amount if account in _CREDIT_NORMAL else sign * amount
            setattr(self, name, getattr(self, name) + change)
        postings.append(Posting(debit, credit, amount))

    def _owe(
        self,
        leg: Leg,
        amount: int,
        kind: Kind,
        is_cash: bool,  # noqa: FBT001
        postings: list[Posting],
    ) -> None:
        """Split a financial leg by receivable; credits pay one first, then the other."""
        debits, credits_ = [(leg.debit, amount)], [(leg.credit, amount)]
        if leg.debit == Fin.RECEIVABLE:
            debits = [(Fin.RCV_CASH if is_cash else Fin.RCV_PURCH, amount)]
        if leg.credit == Fin.RECEIVABLE:
            # A repayment pays cash first, which costs the most; a refund what it gives back.
            cash_first = is_cash or kind == Kind.REPAYMENT
            own = self.cash_minor if cash_first else self.purchases_minor
            order = (Fin.RCV_CASH, Fin.RCV_PURCH) if cash_first else (Fin.RCV_PURCH, Fin.RCV_CASH)
            first = min(amount, own)
            credits_ = [(order[0], first), (order[1], amount - first)]
        for debit, part in debits:
            for credit, share in credits_:
                moved = min(part, share)
                if moved:
                    self._receivable(debit, moved)
                    self._receivable(credit, -moved)
                    postings.append(Posting(debit, credit, moved))

    def _receivable(self, account: Memo | Fin, change: int) -> None:
        if account == Fin.RCV_CASH:
            self.cash_minor += change
        elif account == Fin.RCV_PURCH:
            self.purchases_minor += change


_HOLD_STAYS = frozenset({Kind.LIMIT, Kind.ACCOUNT_OPEN})


def settlement_of(record: Any) -> tuple[int, int]:
    """Return (scheme number, settlement date YYYYMMDD) under which NET_SETTLE is kept.

    A clearing names both (``status`` and ``transmitted``). A card message names neither: scheme 0
    and the UTC date of the record; ``transmitted`` is then DE7, which is never below 100,000,000.
    """
    named = int(record["transmitted"])
    if 0 < named < 100_000_000:
        return int(record["status"]), named
    day = np.datetime64(int(record["ts_ns"]) // 86_400_000_000_000, "D")
    return 0, int(str(day).replace("-", ""))


def table_lines() -> list[str]:
    """Return the table as docs/ledger.md shows it, one Markdown row an event."""
    lines = ["| kind | event | memo book | financial book |", "|---|---|---|---|"]
    for kind, event in TABLE.items():
        cells = ["; ".join(map(_leg_text, legs)) or "-" for legs in event]
        lines.append(f"| {int(kind)} | {kind.name.lower()} | {cells[0]} | {cells[1]} |")
    return lines


def _leg_text(leg: Leg) -> str:
    return f"{leg.debit.name} → {leg.credit.name} {leg.amount.name.lower()}"
