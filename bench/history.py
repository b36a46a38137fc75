"""What a model can learn from the engine's own journal: payments with the features they had.

Features come from a replay of the journal, labels from the reports in it. Payments too young for
their frauds to be reported are left out: they would be taught as genuine.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import ProblemFoundError
from engine.model_history import frauds_of, run_history
from ledger.money import EXPONENT
from ledger.record import Flag
from scoring.payment import PAYMENT, PaymentFlag

DAY_S = 86_400
_NS = 1_000_000_000

Examples = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.void]]


def journal_examples(data: Path, delay_days: int) -> Examples:
    """Return features f32[n, k], labels u8[n] and PAYMENT[n] of the journal's scored payments.

    Those of the last ``delay_days`` are left out. ProblemFoundError if nothing is left.
    """
    parts: list[NDArray[np.float32]] = []
    rows: list[NDArray[np.void]] = []

    def sink(records: NDArray[np.void], features: NDArray[np.float32]) -> None:
        rows.append(records.copy())
        parts.append(features.copy())

    run_history(data, sink)
    if not rows:
        raise ProblemFoundError(f"{data}: the journal has no scored payments")
    records, features = np.concatenate(rows), np.concatenate(parts)
    t_s = (records["ts_ns"] // np.uint64(_NS)).astype(np.int64)
    old = t_s <= t_s[-1] - delay_days * DAY_S
    if not old.any():
        raise ProblemFoundError(f"{data}: no payment is {delay_days} days old; labels need time")
    labels = np.isin(records["seq"], frauds_of(data)).astype(np.uint8)
    return features[old].copy(), labels[old].copy(), _payments(records[old], t_s[old])


def _payments(records: NDArray[np.void], t_s: NDArray[np.int64]) -> NDArray[np.void]:
    """Return what training reads of a payment besides its features."""
    payments = np.zeros(len(records), PAYMENT)
    payments["t_s"] = t_s
    for name in ("amount_minor", "card", "mcc", "country"):
        payments[name] = records[name]
    payments["entry"] = records["entry_class"]
    absent = (records["flags"] & Flag.CNP) != 0
    payments["flags"] = np.where(absent, int(PaymentFlag.CNP), 0)
    payments["exponent"] = np.minimum(EXPONENT[np.minimum(records["currency"], 999)], 4)
    return payments
