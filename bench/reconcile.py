"""After a run: every approval that the load generator saw is in the ledger, exactly once.

Payments and records are matched by DE37. The ledger may hold approvals that the generator never
saw (their answers were lost with the connection); the reverse is lost money.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.load_result import LoadResult, code_number
from ledger.record import Kind

_PAYMENTS = (int(Kind.AUTHORIZE), int(Kind.PARTIAL), int(Kind.CHECK))
_APPROVED = tuple(code_number(code) for code in ("00", "10", "85"))


class Reconciliation(NamedTuple):
    """What a comparison found; arrays hold numbers (DE37), sorted."""

    seen: int  # approvals the generator saw
    recorded: int  # approved payments in the ledger, within the run's numbers
    missing: NDArray[np.int64]  # seen, not in the ledger: must be empty
    doubled: NDArray[np.int64]  # more than once in the ledger: must be empty
    differing: NDArray[np.int64]  # the ledger has another amount: must be empty
    contradicted: NDArray[np.int64]  # answered as declined, approved in the ledger: must be empty
    unseen: NDArray[np.int64]  # approved in the ledger, never answered: right only after a break

    @property
    def ok(self) -> bool:
        """Whether nothing is missing, doubled, differing or contradicted."""
        wrong = (self.missing, self.doubled, self.differing, self.contradicted)
        return not any(numbers.size for numbers in wrong)

    def line(self) -> str:
        """Return the outcome in one line."""
        return (
            f"{self.seen} approvals seen, {self.recorded} in the ledger: {self.missing.size} "
            f"missing, {self.doubled.size} doubled, {self.differing.size} with another amount, "
            f"{self.contradicted.size} contradicted, {self.unseen.size} unseen"
        )


def rrn_numbers(records: NDArray[Any]) -> NDArray[np.int64]:
    """Return DE37 of RECORD rows as a number; -1 when it is absent or not twelve digits."""
    text = np.empty((len(records), 12), dtype=np.uint8)
    text[:, :8] = np.ascontiguousarray(records["rrn_a"]).view(np.uint8).reshape(-1, 8)
    text[:, 8:] = np.ascontiguousarray(records["rrn_b"]).view(np.uint8).reshape(-1, 4)
    values = text.astype(np.int64) - ord("0")
    number = values @ (10 ** np.arange(11, -1, -1, dtype=np.int64))
    return np.where(((values >= 0) & (values <= 9)).all(axis=1), number, -1)


def reconcile(result: LoadResult, records: NDArray[Any]) -> Reconciliation:
    """Compare a run's outcome with the ledger's RECORD rows (more than the run's may be given)."""
    numbers = rrn_numbers(records)
    first, count = result.first_number, len(result.slots)
    chosen = np.flatnonzero(
        np.isin(records["kind"], _PAYMENTS)
        & np.isin(records["response"], _APPROVED)
        & (numbers >= first)
        & (numbers < first + count)
    )
    recorded, times = np.unique(numbers[chosen], return_counts=True)
    seen, _ = result.approvals()
    asked = result.orders["amount_minor"][(numbers[chosen] - first) % len(result.orders)]
    others = (records["amount_minor"][chosen] != asked) & (
        records["kind"][chosen] != int(Kind.PARTIAL)
    )
    slots = result.slots[recorded - first]
    declined = (slots["answered"] > 0) & ~np.isin(slots["response"], _APPROVED)
    return Reconciliation(
        seen=seen.size,
        recorded=chosen.size,
        missing=np.setdiff1d(seen, recorded),
        doubled=recorded[times > 1],
        differing=np.unique(numbers[chosen][others]),
        contradicted=recorded[declined],
        unseen=recorded[slots["answered"] == 0],
    )
