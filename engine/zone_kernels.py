"""The clocks of a time zone; apart from ``engine.zones``, which checks rule files without Numba."""

import numpy as np
from numpy.typing import NDArray

from ledger.jit import Int, kernel


@kernel
def offset_of(t_s: Int, number: Int, zones: NDArray[np.void], transitions: NDArray[np.void]) -> Int:
    """Return what the clocks of a zone are ahead of UTC, seconds.

    Parameters: Unix second 0 to 2 to the 32nd, number of a zone from 1 on, ZONE and TRANSITION of
    the table.
    """
    low = np.int64(zones[number]["first"])
    high = np.int64(zones[number]["last"]) - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if np.int64(transitions[middle]["at_s"]) <= t_s:
            low = middle
        else:
            high = middle - 1
    return np.int64(transitions[low]["offset_s"])
