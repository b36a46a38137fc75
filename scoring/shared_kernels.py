"""Counters of merchants and BINs: attempts in arrival order, confirmed frauds when they arrive.

Nothing here depends on a decision, so the SHARED columns of a batch are taken before any account is
read and are the same however the stream is cut.
"""

import numpy as np
from numpy.typing import NDArray

from scoring.jit import Int, Row, kernel
from scoring.number_kernels import (
    day_of,
    decay_factor,
    hashed_bit,
    members,
    scale_of,
)
from scoring.payment import PaymentFlag
from scoring.tables import RATE_1D, RATE_10M, RATE_15D

_UNUSABLE = int(PaymentFlag.UNUSABLE)
_BURST_S = 600  # width of the clock window in which a merchant's distinct cards are counted


@kernel
def shared_pass(
    payments: NDArray[np.void],
    idx: NDArray[np.int32],
    merchants: NDArray[np.void],
    bins: NDArray[np.void],
    curves: NDArray[np.float64],
    shared: NDArray[np.float32],
) -> None:
    """Count each attempt on its merchant and BIN, then write its SHARED columns, in order of idx.

    Parameters: payments PAYMENT[n]; idx i32[k] rows in arrival order, each once; merchants and bins
    MERCHANT_VELOCITY[...], changed; curves from ``Tables``; shared f32[n, 10], rows of idx written.
    """
    for k in range(len(idx)):
        row = idx[k]
        payment = payments[row]
        shared_row(
            payment, merchants[payment["merchant"]], bins[payment["bin"]], curves, shared[row]
        )


@kernel
def shared_row(
    payment: Row, merchant: Row, issuer: Row, curves: NDArray[np.float64], out: NDArray[np.float32]
) -> None:
    """Do ``shared_pass`` for one payment; out f32[10]."""
    _count_attempt(merchant, payment, curves)
    _count_attempt(issuer, payment, curves)
    out[0] = merchant["attempts_15d"]
    out[1] = _share(merchant["frauds_1d"], merchant["attempts_1d"])
    out[2] = _share(merchant["frauds_15d"], merchant["attempts_15d"])
    out[3] = merchant["attempts_10m"]
    out[4] = merchant["attempts_1d"]
    out[5] = _share(merchant["small_10m"], merchant["attempts_10m"])
    out[6] = _share(merchant["unusable_10m"], merchant["attempts_10m"])
    out[7] = members(curves, merchant["cards"])
    out[8] = issuer["attempts_10m"]
    out[9] = _share(issuer["unusable_10m"], issuer["attempts_10m"])


@kernel
def merchant_label(
    merchants: NDArray[np.void], merchant: Int, now_s: Int, curves: NDArray[np.float64]
) -> None:
    """Count one confirmed fraud on row ``merchant``, when its label arrives (Unix seconds)."""
    row = merchants[merchant]
    _bring_forward(row, now_s, curves)
    row["frauds_1d"] = np.float32(np.float64(row["frauds_1d"]) + 1.0)
    row["frauds_15d"] = np.float32(np.float64(row["frauds_15d"]) + 1.0)
    row["label_s"] = row["updated_s"]


@kernel
def _count_attempt(row: Row, payment: Row, curves: NDArray[np.float64]) -> None:
    """Bring ``row`` forward to the payment and add it."""
    _bring_forward(row, np.int64(payment["t_s"]), curves)
    row["attempts_10m"] = np.float32(np.float64(row["attempts_10m"]) + 1.0)
    row["attempts_1d"] = np.float32(np.float64(row["attempts_1d"]) + 1.0)
    row["attempts_15d"] = np.float32(np.float64(row["attempts_15d"]) + 1.0)
    if payment["amount_minor"] < 2.0 * scale_of(curves, np.int64(payment["exponent"])):
        row["small_10m"] = np.float32(np.float64(row["small_10m"]) + 1.0)
    if np.int64(payment["flags"]) & _UNUSABLE:
        row["unusable_10m"] = np.float32(np.float64(row["unusable_10m"]) + 1.0)
    row["cards"] = np.uint64(row["cards"]) | hashed_bit(payment["card"], 6)


@kernel
def _bring_forward(row: Row, now_s: Int, curves: NDArray[np.float64]) -> None:
    """Decay every counter of ``row`` from its last update to ``now_s``; time never runs back."""
    then_s = np.int64(row["updated_s"])
    dt_s = now_s - then_s
    if dt_s <= 0:
        return
    factor_10m = decay_factor(curves, dt_s, RATE_10M)
    factor_1d = decay_factor(curves, dt_s, RATE_1D)
    factor_15d = decay_factor(curves, dt_s, RATE_15D)
    row["attempts_10m"] = np.float32(row["attempts_10m"] * factor_10m)
    row["small_10m"] = np.float32(row["small_10m"] * factor_10m)
    row["unusable_10m"] = np.float32(row["unusable_10m"] * factor_10m)
    row["attempts_1d"] = np.float32(row["attempts_1d"] * factor_1d)
    row["frauds_1d"] = np.float32(row["frauds_1d"] * factor_1d)
    row["attempts_15d"] = np.float32(row["attempts_15d"] * factor_15d)
    row["frauds_15d"] = np.float32(row["frauds_15d"] * factor_15d)
    if now_s // _BURST_S != then_s // _BURST_S:
        row["cards"] = np.uint64(0)
    if then_s == 0:
        row["first_seen_day"] = np.uint16(day_of(now_s))
    row["updated_s"] = np.uint32(now_s)


@kernel
def _share(part: float, whole: float) -> np.float32:
    """Return part / whole within 0..1; 0 of nothing is 0."""
    if whole <= 0.0:
        return np.float32(0.0)
    return np.float32(min(np.float64(part) / np.float64(whole), 1.0))
