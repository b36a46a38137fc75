"""Opens accounts and issues cards: names and card numbers into the vault, events for the journal.

The vault is written first. If the process dies before the journal has the events, the next start
drops what the journal never heard of; a journal event without its vault row cannot happen.
One thread at a time (the operations thread, or the start).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.cards import CardStatus
from engine.importing import Import
from engine.state import EngineState
from engine.tokens import Tokenizer
from ledger.accounts import AccountStatus
from ledger.pan import Pan
from ledger.record import RECORD, SCORE_NONE, Kind
from ledger.vault import AccountRow, Vault, VaultConflictError

_PRODUCT_NUMBER = 1  # the journal needs a number only; the product's name is in the vault


class RegistrarError(Exception):
    """A request that cannot be done; the text names the account and never a card number."""


class Registration(NamedTuple):
    """What must be journaled and indexed: RECORD (k,), card numbers i64 (c,), tokens u64 (c, 2)."""

    records: NDArray[np.void]
    card_numbers: NDArray[np.int64]
    tokens: NDArray[np.uint64]


class Registrar:
    """Gives out account, card and customer numbers: each once, whatever the vault still knows.

    A vault may be behind its journal (an older copy of it), so the state is asked too.
    """

    def __init__(self, vault: Vault, tokenizer: Tokenizer, state: EngineState) -> None:
        self._vault = vault
        self._tokenizer = tokenizer
        self._state = state
        accounts = state.accounts[: state.account_count + 1]
        self._customers_at_start = int(accounts["customer"].max(initial=0))

    def register(self, batch: Import, ts_ns: int) -> Registration:
        """Write all accounts and cards of ``batch`` to the vault, or none; return the events.

        Raises ``RegistrarError`` when a name or card number is taken or a table is at its bound.
        """
        accounts, cards, _ = self._last_numbers()
        self._check(batch, accounts, cards)
        account_numbers = accounts + 1 + np.arange(len(batch.accounts), dtype=np.int64)
        card_numbers = cards + 1 + np.arange(len(batch.pans), dtype=np.int64)
        customers = self._customer_numbers(batch.customers)
        rows = [
            AccountRow(int(number), ref, customers[customer], customer, product)
            for number, ref, customer, product in zip(
                account_numbers, batch.accounts, batch.customers, batch.products, strict=True
            )
        ]
        tokens = self._tokenizer.of_pans(batch.pans) if batch.pans else np.zeros((0, 2), np.uint64)
        owners = account_numbers[batch.card_account] if len(batch.pans) else np.zeros(0, np.int64)
        try:
            self._vault.add_accounts(rows)
            self._add_cards(card_numbers, owners, tokens, batch.pans, batch.expiry_yymm)
        except VaultConflictError as conflict:
            self._vault.drop_unjournalled(accounts, cards)
            raise RegistrarError(str(conflict)) from None
        opened = _account_records(batch, account_numbers, [customers[c] for c in batch.customers])
        issued = _card_records(card_numbers, owners, batch.expiry_yymm, batch.status)
        placed = _zone_records(card_numbers, owners, batch.zones)
        records = np.concatenate([opened, issued, placed])
        records["ts_ns"] = ts_ns
        return Registration(records, card_numbers, tokens)

    def issue(
        self, account_no: int, pan: Pan, expiry_yymm: int, ts_ns: int, zone: int = 0
    ) -> Registration:
        """Issue one card on an account that stands already; ``zone`` 0 = none of its own."""
        _, cards, _ = self._last_numbers()
        if cards + 1 > self._state.bounds.cards_max:
            raise RegistrarError("limits.cards_max is reached: raise it and restart")
        numbers = np.array([cards + 1], np.int64)
        owners = np.array([account_no], np.int64)
        expiries = np.array([expiry_yymm], np.uint16)
        tokens = self._tokenizer.of_pans([pan])
        try:
            self._add_cards(numbers, owners, tokens, [pan], expiries)
        except VaultConflictError as conflict:
            raise RegistrarError(str(conflict)) from None
        status = np.array([CardStatus.ACTIVE], np.uint16)
        issued = _card_records(numbers, owners, expiries, status)
        placed = _zone_records(numbers, owners, np.array([zone], np.uint16))
        records = np.concatenate([issued, placed])
        records["ts_ns"] = ts_ns
        return Registration(records, numbers, tokens)

    def _last_numbers(self) -> tuple[int, int, int]:
        """Return the highest account, card and customer number that was ever given out."""
        account, card, customer = self._vault.last_numbers()
        return (
            max(account, self._state.account_count),
            max(card, self._state.card_count),
            max(customer, self._customers_at_start),
        )

    def _check(self, batch: Import, accounts: int, cards: int) -> None:
        bounds = self._state.bounds
        if accounts + len(batch.accounts) > bounds.accounts_max:
            raise RegistrarError("limits.accounts_max would be passed: raise it and restart")
        if cards + len(batch.pans) > bounds.cards_max:
            raise RegistrarError("limits.cards_max would be passed: raise it and restart")
        taken = self._vault.account_numbers(batch.accounts)
        if taken:
            raise RegistrarError(f"account {min(taken)} already exists")

    def _customer_numbers(self, refs: list[str]) -> dict[str, int]:
        numbers = dict(self._vault.customer_numbers(refs))
        *_, last = self._last_numbers()
        for ref in refs:
            if ref not in numbers:
                last += 1
                numbers[ref] = last
        return numbers

    def _add_cards(
        self,
        numbers: NDArray[np.int64],
        owners: NDArray[np.int64],
        tokens: NDArray[np.uint64],
        pans: list[Pan],
        expiries: NDArray[np.uint16],
    ) -> None:
        if len(pans):
            card_nos, account_nos = numbers.astype(np.uint32), owners.astype(np.uint32)
            self._vault.add_cards(card_nos, account_nos, tokens, pans, expiries)


def _neutral(count: int, kind: Kind) -> NDArray[np.void]:
    records = np.zeros(count, RECORD)
    records["kind"] = kind
    records["acquirer"] = -1
    records["score"] = SCORE_NONE
    return records


def _account_records(
    batch: Import, numbers: NDArray[np.int64], customers: list[int]
) -> NDArray[np.void]:
    records = _neutral(len(numbers), Kind.ACCOUNT_OPEN)
    records["account"] = numbers
    records["customer"] = customers
    records["product"] = _PRODUCT_NUMBER
    records["currency"] = batch.currency
    records["amount_minor"] = batch.limit_minor
    records["status"] = AccountStatus.ACTIVE
    return records


def _card_records(
    numbers: NDArray[np.int64],
    owners: NDArray[np.int64],
    expiries: NDArray[np.uint16],
    status: NDArray[np.uint16],
) -> NDArray[np.void]:
    records = _neutral(len(numbers), Kind.CARD_ISSUE)
    records["card"] = numbers
    records["account"] = owners
    records["expiry_yymm"] = expiries
    records["status"] = status
    return records


def _zone_records(
    numbers: NDArray[np.int64], owners: NDArray[np.int64], zones: NDArray[np.uint16]
) -> NDArray[np.void]:
    """Return the records of the cards that have a zone of their own."""
    own = np.flatnonzero(zones)
    records = _neutral(len(own), Kind.CARD_ZONE)
    records["card"] = numbers[own]
    records["account"] = owners[own]
    records["status"] = zones[own]
    return records
