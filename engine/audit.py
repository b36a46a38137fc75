"""The invariants of the ledger, checked on a journal as it stands: what ``de39 ledger audit`` runs.

The journal is folded twice, by the engine's own lines and by the postings table in plain integers
(``ledger.lifecycle.Position``); both must agree, and every invariant must hold. Hashes, chain and
epochs are the business of reading the journal (``ledger.recovery``).
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.partition import StateFold
from ledger.accounts import identity_gap_minor
from ledger.authorizations import State
from ledger.journal import Batch
from ledger.lifecycle import APPROVED_BELOW, KIND_LIMIT, Fin, Memo, Position
from ledger.record import Kind

FAULTS_MAX = 20  # named one by one; more are counted
_BALANCES = ("limit", "prepaid", "otb", "hold", "used", "over")
_MAY_BE_DECLINED = (
    Kind.AUTHORIZE, Kind.PARTIAL, Kind.INCREMENT, Kind.FINANCIAL,
)  # fmt: skip

INVARIANTS = {
    "I1": "each posting moves one amount within one book; all accounts of a book sum to zero",
    "I2": "limit + prepaid = open to buy + held + used - over; open to buy and over never below 0, "
    "never both above",
    "I3": "what an account holds is the sum of what its authorizations hold",
    "I4": "no authorization holds less than nothing, or more than it was granted",
    "I5": "what could have been declined never overdrew an account",
    "I6": "used is what is receivable, prepaid is the customer's credit",
    "I7": "no id of clearing or repayment was posted twice",
    "I9": "the engine's balances are those of the postings table",
    "I11": "records are numbered without a gap",
}


@dataclass(slots=True)
class Audit:
    """Takes the batches of a journal in order; ``result`` says what was found."""

    fold: StateFold
    records: int = 0
    postings: int = 0
    fault_count: int = 0
    faults: list[str] = field(default_factory=list)
    _positions: dict[int, Position] = field(default_factory=dict)
    _currency: dict[int, int] = field(default_factory=dict)
    _totals: defaultdict[tuple[int, Memo | Fin], int] = field(
        default_factory=lambda: defaultdict(int)
    )
    _next_seq: int = 1

    def __call__(self, batch: Batch) -> None:
        """Fold one batch; raises a ``LedgerError`` where the engine's own fold fails."""
        self.fold(batch)
        records = batch.records
        seqs = self._next_seq + np.arange(len(records), dtype=np.uint64)
        for seq in records["seq"][records["seq"] != seqs].tolist():
            self._fault("I11", f"record {seq} stands where another number should")
        self._next_seq += len(records)
        self.records += len(records)
        moving = (records["kind"] < KIND_LIMIT) | (records["kind"] == Kind.ACCOUNT_OPEN)
        moving &= (records["account"] != 0) & (records["result"] < APPROVED_BELOW)
        for record in records[moving]:
            self._post(record)

    def _post(self, record: Any) -> None:
        account = int(record["account"])
        position = self._positions.setdefault(account, Position())
        if record["kind"] == Kind.ACCOUNT_OPEN:
            self._currency[account] = int(record["currency"])
        currency, seq = self._currency.get(account, 0), int(record["seq"])
        over_before = position.over_minor
        for debit, credit, amount in position.post(record):
            self.postings += 1
            if amount <= 0 or type(debit) is not type(credit):
                self._fault("I1", f"record {seq}: a posting of {amount} across books")
            self._totals[currency, debit] += amount
            self._totals[currency, credit] -= amount
        if position.over_minor > over_before and record["kind"] in _MAY_BE_DECLINED:
            self._fault("I5", f"record {seq} overdrew account {account}")
        if position.otb_minor < 0 or position.over_minor < 0 or position.hold_minor < 0:
            self._fault("I2", f"record {seq} left a balance of account {account} below zero")

    def result(self) -> dict[str, Any]:
        """Check the state after the last batch; return records, postings, accounts, ok, faults."""
        self.fold.finish()
        state = self.fold.state
        accounts = state.accounts[: state.account_count + 1]
        self._check_balances(accounts)
        self._check_holds(accounts, state.ring)
        self._check_books()
        self._check_posted(state.posted)
        return {
            "records": self.records,
            "accounts": len(accounts) - 1,
            "postings": self.postings,
            "faults": self.fault_count,
            "first_faults": self.faults,
            "ok": self.fault_count == 0,
        }

    def _check_balances(self, accounts: NDArray[np.void]) -> None:
        for account in np.flatnonzero(identity_gap_minor(accounts)).tolist():
            self._fault("I2", f"the memo book of account {account} does not balance")
        both = (accounts["otb_minor"] > 0) & (accounts["over_minor"] > 0)
        below = (accounts["otb_minor"] < 0) | (accounts["over_minor"] < 0)
        for account in np.flatnonzero(both | below).tolist():
            self._fault("I2", f"account {account} has open to buy and over at once, or below zero")
        for number, position in self._positions.items():
            for name in _BALANCES:
                mine = getattr(position, f"{name}_minor")
                if mine != int(accounts[number][f"{name}_minor"]):
                    self._fault("I9", f"account {number}: {name} differs from its postings")
            owed = position.purchases_minor + position.cash_minor
            if (
                owed != position.used_minor
                or min(position.purchases_minor, position.cash_minor) < 0
            ):
                self._fault("I6", f"account {number}: what is used is not what is receivable")

    def _check_holds(self, accounts: NDArray[np.void], ring: NDArray[np.void]) -> None:
        is_open = ring["state"] == State.OPEN
        wrong = (ring["held_minor"] < 0) | (is_open & (ring["held_minor"] > ring["granted_minor"]))
        wrong |= ~is_open & (ring["held_minor"] != 0)
        for seq in ring["seq"][wrong].tolist():
            self._fault("I4", f"the authorization of record {seq} holds what it cannot")
        held = np.zeros(len(accounts), np.int64)
        np.add.at(held, ring["account"][is_open], ring["held_minor"][is_open])
        for account in np.flatnonzero(held != accounts["hold_minor"]).tolist():
            self._fault("I3", f"account {account}: its authorizations hold another sum")

    def _check_books(self) -> None:
        credit: defaultdict[int, int] = defaultdict(int)
        for number, position in self._positions.items():
            credit[self._currency.get(number, 0)] += position.prepaid_minor
        for currency in {currency for currency, _ in self._totals}:
            for book in (Memo, Fin):
                if sum(self._totals[currency, account] for account in book):
                    self._fault("I1", f"the {book.__name__} book of currency {currency} is open")
            if self._totals[currency, Fin.CUST_CREDIT] != -credit[currency]:
                self._fault("I6", f"currency {currency}: customers' credit is not what is prepaid")

    def _check_posted(self, posted: NDArray[np.void]) -> None:
        known = posted[posted["seq"] != 0]
        ids = np.stack([known["id_hi"], known["id_lo"]], axis=1) if len(known) else known
        if len(known) and len(np.unique(ids, axis=0)) != len(known):
            self._fault("I7", "an id of clearing or repayment was posted twice")
        for seq in known["seq"][known["back_minor"] > known["amount_minor"]].tolist():
            self._fault("I4", f"more was given back of record {seq} than it had")

    def _fault(self, invariant: str, text: str) -> None:
        self.fault_count += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(f"{invariant}: {text}")
