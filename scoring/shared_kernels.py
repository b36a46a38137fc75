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
from scoring.tables import RATE_1D, RATE_10M, RATE_15D, RATE_84H

_UNUSABLE = int(PaymentFlag.UNUSABLE)
_HALF_DAY_S = 43_200
_HALF_DAYS = 16  # slots of the ring; more than _OLD_HALF_DAYS, so none is used again too early
_OLD_HALF_DAYS = 14  # a week after a half day began its attempts are old
_BLOCK_ROWS = 16  # rows whose counters are fetched together
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
    MERCHANT_VELOCITY[...], changed; curves from ``Tables``; shared f32[n, 16], rows of idx written.
    """
    for first in range(0, len(idx), _BLOCK_ROWS):
        part = idx[first : first + _BLOCK_ROWS]
        if _touched(payments, part, merchants, bins) < 0:
            return
        for k in range(len(part)):
            row = part[k]
            payment = payments[row]
            merchant, issuer = merchants[payment["merchant"]], bins[payment["bin"]]
            shared_row(payment, merchant, issuer, curves, shared[row])


@kernel
def _touched(
    payments: NDArray[np.void],
    idx: NDArray[np.int32],
    merchants: NDArray[np.void],
    bins: NDArray[np.void],
) -> Int:
    """Read the rows that those of ``idx`` count on, as ``card_kernels`` does with cards."""
    total = np.int64(0)
    for k in range(len(idx)):
        merchant = merchants[payments[idx[k]]["merchant"]]
        total += np.int64(merchant["updated_s"]) + np.int64(merchant["half_days"][0])
        issuer = bins[payments[idx[k]]["bin"]]
        total += np.int64(issuer["updated_s"]) + np.int64(issuer["half_days"][0])
    return total


@kernel
def shared_row(
    payment: Row, merchant: Row, issuer: Row, curves: NDArray[np.float64], out: NDArray[np.float32]
) -> None:
    """Do ``shared_pass`` for one payment; out f32[16]."""
    _count_attempt(merchant, payment, curves)
    _count_attempt(issuer, payment, curves)
    out[0] = merchant["attempts_15d"]
    out[1] = _share(merchant["frauds_1d"], merchant["attempts_1d"])
    out[2] = _share(merchant["frauds_15d"], merchant["attempts_15d"])
    out[3] = merchant["old_1d"]
    out[4] = merchant["old_84h"]
    out[5] = merchant["old_15d"]
    out[6] = _share(merchant["frauds_1d"], merchant["old_1d"])
    out[7] = _share(merchant["frauds_84h"], merchant["old_84h"])
    out[8] = _share(merchant["frauds_15d"], merchant["old_15d"])
    out[9] = merchant["attempts_10m"]
    out[10] = merchant["attempts_1d"]
    out[11] = _share(merchant["small_10m"], merchant["attempts_10m"])
    out[12] = _share(merchant["unusable_10m"], merchant["attempts_10m"])
    out[13] = members(curves, merchant["cards"])
    out[14] = issuer["attempts_10m"]
    out[15] = _share(issuer["unusable_10m"], issuer["attempts_10m"])


@kernel
def merchant_label(
    merchants: NDArray[np.void], merchant: Int, now_s: Int, curves: NDArray[np.float64]
) -> None:
    """Count one confirmed fraud on row ``merchant``, when its label arrives (Unix seconds)."""
    row = merchants[merchant]
    _bring_forward(row, now_s, curves)
    row["frauds_1d"] = np.float32(np.float64(row["frauds_1d"]) + 1.0)
    row["frauds_84h"] = np.float32(np.float64(row["frauds_84h"]) + 1.0)
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
    row["half_days"][np.int64(row["updated_s"]) // _HALF_DAY_S % _HALF_DAYS] += np.uint32(1)


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
    _fade_old(row, then_s, now_s, curves)
    if now_s // _BURST_S != then_s // _BURST_S:
        row["cards"] = np.uint64(0)
    if then_s == 0:
        row["first_seen_day"] = np.uint16(day_of(now_s))
    row["updated_s"] = np.uint32(now_s)


@kernel
def _fade_old(row: Row, then_s: Int, now_s: Int, curves: NDArray[np.float64]) -> None:
    """Decay what counts reported frauds by age, and count the attempts that became old.

    A half day's attempts become old together, _OLD_HALF_DAYS half days after it began, and fade
    from that moment on.
    """
    dt_s = now_s - then_s
    factor_84h = decay_factor(curves, dt_s, RATE_84H)
    row["frauds_84h"] = np.float32(row["frauds_84h"] * factor_84h)
    old_1d = row["old_1d"] * decay_factor(curves, dt_s, RATE_1D)
    old_84h = row["old_84h"] * factor_84h
    old_15d = row["old_15d"] * decay_factor(curves, dt_s, RATE_15D)
    first = then_s // _HALF_DAY_S + 1
    for half_day in range(first, min(now_s // _HALF_DAY_S, first + _OLD_HALF_DAYS - 1) + 1):
        slot = (half_day - _OLD_HALF_DAYS) % _HALF_DAYS
        count = np.float64(row["half_days"][slot])
        if count > 0.0:
            age_s = now_s - half_day * _HALF_DAY_S
            old_1d += count * decay_factor(curves, age_s, RATE_1D)
            old_84h += count * decay_factor(curves, age_s, RATE_84H)
            old_15d += count * decay_factor(curves, age_s, RATE_15D)
            row["half_days"][slot] = np.uint32(0)
    row["old_1d"] = np.float32(old_1d)
    row["old_84h"] = np.float32(old_84h)
    row["old_15d"] = np.float32(old_15d)


@kernel
def _share(part: float, whole: float) -> np.float32:
    """Return part / whole within 0..1; 0 of nothing is 0."""
    if whole <= 0.0:
        return np.float32(0.0)
    return np.float32(min(np.float64(part) / np.float64(whole), 1.0))
