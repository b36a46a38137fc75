"""Card traffic as columns: who paid where, when, how much, and whether it was fraud.

The columns are the published ones; ``payments`` gives the rows the scorer trains on and ``orders``
the rows that frames are built from, both enriched by the same rule (``bench.enrich``), so that
training and the engine see the same features.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import enrich
from engine.entry import CONDITION_BITS, CONDITION_CNP, CONDITION_ECOMMERCE, ENTRY_BY_MODE
from scoring.payment import PAYMENT, Entry, PaymentFlag

# What a frame is made of; ``scenario`` (the truth) is never encoded.
ORDER = np.dtype(
    [
        ("amount_minor", "<i8"),
        ("t_s", "<u4"),  # Unix seconds of the payment's simulated time
        ("customer", "<u4"),  # from 0: the number of the test card
        ("terminal", "<u4"),  # from 0
        ("mcc", "<u2"),
        ("country", "<u2"),
        ("entry_mode", "<u2"),  # DE22
        ("condition", "u1"),  # DE25
        ("scenario", "u1"),  # 0 genuine, 1-3 fraud
        ("spare", "<u4"),
    ]
)
assert ORDER.itemsize == 32


class Traffic:
    """Payments sorted by time, as columns of equal length.

    Attributes: ``t_seconds`` i64 (from ``start_s``), ``customer`` i32, ``terminal`` i32 (both from
    0), ``amount_cents`` i64 (> 0), ``scenario`` u8 (0 genuine, 1-3 fraud), ``start_s`` Unix
    seconds. Treat them as read-only.
    """

    def __init__(
        self,
        t_seconds: NDArray[Any],
        customer: NDArray[Any],
        terminal: NDArray[Any],
        amount_cents: NDArray[Any],
        scenario: NDArray[Any],
        start_s: int,
    ) -> None:
        self.t_seconds = t_seconds.astype(np.int64, copy=False)
        self.customer = customer.astype(np.int32, copy=False)
        self.terminal = terminal.astype(np.int32, copy=False)
        self.amount_cents = amount_cents.astype(np.int64, copy=False)
        self.scenario = scenario.astype(np.uint8, copy=False)
        self.start_s = start_s

    def __len__(self) -> int:
        """Return the number of payments."""
        return self.t_seconds.size

    @property
    def customers(self) -> int:
        """How many test cards the traffic needs: the largest customer number + 1."""
        return int(self.customer.max()) + 1 if len(self) else 0

    @property
    def terminals(self) -> int:
        """The largest terminal number + 1."""
        return int(self.terminal.max()) + 1 if len(self) else 0

    def orders(self) -> NDArray[Any]:
        """Return an ORDER row for every payment."""
        rows = np.zeros(len(self), dtype=ORDER)
        if not len(self):
            return rows
        numbers = np.arange(self.terminals)
        rows["amount_minor"] = self.amount_cents
        rows["t_s"] = self.t_seconds + self.start_s
        rows["customer"] = self.customer
        rows["terminal"] = self.terminal
        rows["mcc"] = enrich.merchant_category(numbers)[self.terminal]
        rows["country"] = enrich.terminal_country(numbers)[self.terminal]
        modes = enrich.entry_modes(self.customer, self.terminal, self.t_seconds)
        rows["entry_mode"], rows["condition"] = modes
        rows["scenario"] = self.scenario
        return rows

    def payments(self) -> NDArray[Any]:
        """Return a ``scoring.payment.PAYMENT`` row for every payment.

        Row numbers: card = customer + 1, merchant = terminal + 1 (one merchant a terminal), bin 1.
        """
        orders = self.orders()
        rows = np.zeros(len(self), dtype=PAYMENT)
        for name in ("amount_minor", "t_s", "mcc", "country"):
            rows[name] = orders[name]
        rows["card"] = orders["customer"] + 1
        rows["merchant"] = orders["terminal"] + 1
        rows["bin"] = 1
        rows["entry"], cnp = classify(orders["entry_mode"], orders["condition"])
        rows["flags"] = np.where(cnp, int(PaymentFlag.CNP), 0)
        rows["exponent"] = 2
        return rows


def classify(
    entry_mode: NDArray[Any], condition: NDArray[Any]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return entry class (u8) and card-not-present (bool) of DE22 and DE25, as columns."""
    entry = ENTRY_BY_MODE[entry_mode]
    bits = CONDITION_BITS[condition]
    liftable = (entry == Entry.KEYED) | (entry == Entry.UNKNOWN)
    online = (bits & CONDITION_ECOMMERCE != 0) & liftable
    entry = np.where(online, np.uint8(Entry.ECOMMERCE), entry)
    absent = np.isin(entry, (Entry.KEYED, Entry.ECOMMERCE, Entry.ON_FILE))
    return entry, absent | (bits & CONDITION_CNP != 0)
