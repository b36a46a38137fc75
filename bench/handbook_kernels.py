"""The published features of a stream: exact windows, from their description, over sorted history.

A window of W days that ends at a payment holds the payments with t - W < t' <= t that come no later
in the stream. Each entity's payments lie side by side in ``order``, so a window is two places.
"""

import numpy as np
from numpy.typing import NDArray

from ledger.jit import kernel

WINDOW_COUNT = 3


@kernel
def card_windows(
    order: NDArray[np.int64],
    entity: NDArray[np.int64],
    t_s: NDArray[np.int64],
    amount_minor: NDArray[np.int64],
    windows_s: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Write count and mean amount of each window that ends at and holds the payment.

    Parameters: order i64[n], rows sorted by entity and then as in the stream; entity, t_s (s) and
    amount_minor i64[n]; windows_s i64[3]; out f64[n, 6]: count and mean of each window, in minor
    units.
    """
    for window in range(WINDOW_COUNT):
        first, total = 0, 0
        for place in range(len(order)):
            row = order[place]
            if place and entity[order[place - 1]] != entity[row]:
                first, total = place, 0
            total += amount_minor[row]
            while t_s[order[first]] <= t_s[row] - windows_s[window]:
                total -= amount_minor[order[first]]
                first += 1
            count = place - first + 1
            out[row, 2 * window] = count
            out[row, 2 * window + 1] = total / count


@kernel
def delayed_windows(
    order: NDArray[np.int64],
    entity: NDArray[np.int64],
    t_s: NDArray[np.int64],
    fraud: NDArray[np.int64],
    windows_s: NDArray[np.int64],
    delay_s: int,
    out: NDArray[np.float64],
) -> None:
    """Write count and fraud share of each window that ends ``delay_s`` before the payment.

    Parameters as in ``card_windows``; fraud i64[n] 0 or 1; an empty window has the share 0.
    """
    for window in range(WINDOW_COUNT):
        first, end, frauds = 0, 0, 0
        for place in range(len(order)):
            row = order[place]
            if place and entity[order[place - 1]] != entity[row]:
                first, end, frauds = place, place, 0
            known_s = t_s[row] - delay_s
            while end <= place and t_s[order[end]] <= known_s:
                frauds += fraud[order[end]]
                end += 1
            while first < end and t_s[order[first]] <= known_s - windows_s[window]:
                frauds -= fraud[order[first]]
                first += 1
            count = end - first
            out[row, 2 * window] = count
            out[row, 2 * window + 1] = frauds / count if count else 0.0
