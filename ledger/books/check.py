"""The books against the engine's own state, figure by figure."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ledger.authorizations import State
from ledger.books import tables
from ledger.books.expand_kernels import CASH, PURCHASES
from ledger.books.projector import Books
from ledger.lifecycle import Memo

_FIGURES = tuple(f"{memo.name.lower()}_minor" for memo in Memo if memo < Memo.SPEND)
_HOLDING = (State.OPEN, State.CLOSING)


class Difference(NamedTuple):
    """One figure that is not the same."""

    account: int  # internal number; 0 = the whole book
    figure: str
    books: int
    engine: int

    def __str__(self) -> str:
        """Return it in one line."""
        whose = f"account {self.account}" if self.account else "the books"
        return f"{whose}: {self.figure} is {self.books} in the books, {self.engine} in the engine"


def differences(
    books: Books, accounts: NDArray[np.void], ring: NDArray[np.void] | None = None
) -> list[Difference]:
    """Compare the books with the fold of the journal up to the same record.

    Parameters
    ----------
    books
        Opened just now, so that its balances are read from SQL.
    accounts
        ACCOUNT (accounts + 1,), by internal number.
    ring
        AUTHORIZATION (capacity,), for the open holds one by one; None = not compared.
    """
    found = [
        Difference(0, f"{book} book, currency {currency:03d}, debits less credits", difference, 0)
        for book, currency, difference in books.fetch(tables.IMBALANCES)
        if difference
    ]
    count = max(len(accounts), len(books.balances))
    mine = _fitted(books.balances, count)
    for name, column in zip(_FIGURES, range(len(_FIGURES)), strict=True):
        theirs = np.zeros(count, np.int64)
        theirs[: len(accounts)] = accounts[name]
        found += _unequal(name, mine[:, column], theirs)
    used = np.zeros(count, np.int64)
    used[: len(accounts)] = accounts["used_minor"]
    found += _unequal("purchases and cash owed", mine[:, PURCHASES] + mine[:, CASH], used)
    if ring is not None:
        found += _hold_differences(books, ring)
    return sorted(found)


def _fitted(balances: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    whole = np.zeros((count, balances.shape[1]), np.int64)
    whole[: len(balances)] = balances
    return whole


def _unequal(name: str, mine: NDArray[np.int64], theirs: NDArray[np.int64]) -> list[Difference]:
    return [
        Difference(account, name, int(mine[account]), int(theirs[account]))
        for account in np.flatnonzero(mine != theirs).tolist()
    ]


def _hold_differences(books: Books, ring: NDArray[np.void]) -> list[Difference]:
    """Compare the holds of authorizations; in the ring each is kept under its record number."""
    held: dict[int, tuple[int, int]] = {}
    for row in ring[(ring["held_minor"] > 0) & np.isin(ring["state"], _HOLDING)]:
        held[int(row["seq"])] = (int(row["account"]), int(row["held_minor"]))
    told: dict[int, tuple[int, int]] = {
        auth: (account, minor) for auth, account, minor in books.fetch(tables.HOLDS)
    }
    nothing: Any = (0, 0)
    return [
        Difference(
            (told.get(auth) or held[auth])[0],
            f"hold of authorization {auth}",
            told.get(auth, nothing)[1],
            held.get(auth, nothing)[1],
        )
        for auth in sorted(held.keys() | told.keys())
        if held.get(auth, nothing)[1] != told.get(auth, nothing)[1]
    ]
