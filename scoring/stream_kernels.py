"""A whole stream through the feature kernels, row by row: training and replay.

Row by row is the reference order; batches and waves of a live engine give the same numbers, because
card rows are read and written by one payment at a time and shared rows in arrival order.
"""

import numpy as np
from numpy.typing import NDArray

from scoring.card_kernels import card_row, update_row
from scoring.jit import kernel
from scoring.shared_kernels import merchant_label, shared_row


@kernel
def features_of_stream(
    payments: NDArray[np.void],
    approved: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    label_delay_s: int,
    merchants: NDArray[np.void],
    bins: NDArray[np.void],
    cards: NDArray[np.void],
    curves: NDArray[np.float64],
    countries: NDArray[np.int16],
    mcc_risk: NDArray[np.float32],
    shared: NDArray[np.float32],
    features: NDArray[np.float32],
    extras: NDArray[np.float32],
    span: NDArray[np.int64],
) -> None:
    """Take rows ``span[0]`` to ``span[1]`` of a stream sorted by time.

    Before each payment the frauds among earlier ones (labels u8[n]) whose label has arrived by then
    (``label_delay_s`` after the payment) are counted on their merchants. ``span`` i64[3] is first
    row, row after the last, and the next row whose label is due (moved on by this call), so a
    stream can be taken in chunks. Other arguments as in ``shared_pass`` and ``card_pass``.
    """
    due = span[2]
    for row in range(span[0], span[1]):
        payment = payments[row]
        now_s = np.int64(payment["t_s"])
        while due < row and np.int64(payments[due]["t_s"]) + label_delay_s <= now_s:
            if labels[due]:
                label_s = np.int64(payments[due]["t_s"]) + label_delay_s
                merchant_label(merchants, payments[due]["merchant"], label_s, curves)
            due += 1
        merchant, issuer = merchants[payment["merchant"]], bins[payment["bin"]]
        card = cards[payment["card"]]
        shared_row(payment, merchant, issuer, curves, shared[row])
        card_row(
            payment, card, shared[row], curves, countries, mcc_risk, features[row], extras[row]
        )
        update_row(payment, approved[row], card, curves)
    span[2] = due
