"""Labels: what a payment turned out to be, as ledger records that count when they arrive.

A fraud report raises the risk of the payment's merchant from its own record on and never before:
the record carries the merchant, so applying it needs nothing of the past. A confirmation that a
payment was genuine changes no velocity; it is kept for training and for measuring models. The
record also repeats which rules held on the payment: their precision follows from labels alone.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from engine import metrics_kernels
from engine.events import event_record
from engine.state import EngineState
from ledger.index import index_find
from ledger.jit import kernel
from ledger.record import Kind
from scoring.kernels import merchant_label
from scoring.tables import Tables

_NS = 1_000_000_000


class Label(IntEnum):
    """What a payment was; ``status`` of its record."""

    FRAUD = 1
    GENUINE = 2


assert metrics_kernels.FRAUD == Label.FRAUD


def label_record(original: NDArray[np.void], label: Label, ts_ns: int) -> NDArray[np.void]:
    """Return the record of a label that arrives at ``ts_ns`` about the payment ``original``."""
    record = event_record(
        Kind.LABEL,
        ts_ns,
        status=label,
        ref_seq=int(original["seq"]),
        account=int(original["account"]),
        card=int(original["card"]),
        amount_minor=int(original["amount_minor"]),
        currency=int(original["currency"]),
        merchant=int(original["merchant"]),
        terminal=int(original["terminal"]),
        mcc=int(original["mcc"]),
        rules_version=int(original["rules_version"]),
        hits_lo=int(original["hits_lo"]),
        hits_hi=int(original["hits_hi"]),
    )
    record["score"] = original["score"]
    return record


def apply_labels(records: NDArray[np.void], state: EngineState, tables: Tables) -> None:
    """Count the fraud reports among ``records`` RECORD (k,), in order; others are passed over."""
    slots, velocity = state.merchant_index.slots, state.merchant_velocity
    count_labels(records, slots, velocity, tables.curves)


@kernel
def count_labels(
    records: NDArray[np.void],
    slots: NDArray[np.void],
    merchant_velocity: NDArray[np.void],
    curves: NDArray[np.float64],
) -> None:
    """Count each fraud report on its merchant at the record's own time.

    A merchant past the bound has row 0, where its payments were counted too.
    """
    for i in range(len(records)):
        record = records[i]
        if record["kind"] != Kind.LABEL or record["status"] != Label.FRAUD:
            continue
        found = index_find(slots, record["merchant"], record["merchant"])
        now_s = np.int64(record["ts_ns"] // np.uint64(_NS))
        merchant_label(merchant_velocity, max(found, 0), now_s, curves)
