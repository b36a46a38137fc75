"""The terminal a customer pays at: a uniform draw from those within reach, by grid cells.

A cell is as wide as the radius, so every terminal in reach lies in the 3 x 3 cells around the
customer. Draws come from a counter-based generator (splitmix64), so a payment's draw depends on
the seed and its row only.
"""

import numpy as np
from numpy.typing import NDArray

from ledger.jit import kernel

CELLS = 20  # cells along each side of the grid
_CELL_WIDTH = 5.0
_TRIES = 64  # draws before the exact count; on average three are needed


@kernel
def mix(value: np.uint64) -> np.uint64:
    """Return the splitmix64 finalizer of ``value``: 64 well-mixed bits."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def pick_terminals(
    customer: NDArray[np.int32],
    customer_xy: NDArray[np.float64],
    terminal_xy: NDArray[np.float64],
    terminal_number: NDArray[np.int64],
    starts: NDArray[np.int64],
    radius: float,
    seed: int,
    out: NDArray[np.int32],
) -> None:
    """Draw for each payment a terminal within ``radius`` of its customer.

    Parameters: ``customer`` i32[n]; ``customer_xy`` f64[customers, 2]; ``terminal_xy``
    f64[terminals, 2] and ``terminal_number`` i64[terminals], sorted by cell; ``starts``
    i64[CELLS * CELLS + 1], first row of each cell; ``out`` i32[n], -1 = none in reach.
    """
    reach = radius * radius
    for row in range(customer.size):
        x = customer_xy[customer[row], 0]
        y = customer_xy[customer[row], 1]
        column = min(int(x / _CELL_WIDTH), CELLS - 1)
        line = min(int(y / _CELL_WIDTH), CELLS - 1)
        low = max(line - 1, 0)
        high = min(line + 1, CELLS - 1)
        total = 0
        for c in range(max(column - 1, 0), min(column + 1, CELLS - 1) + 1):
            total += starts[c * CELLS + high + 1] - starts[c * CELLS + low]
        out[row] = -1
        if total == 0:
            continue
        state = np.uint64(seed) + np.uint64(row) * np.uint64(0xD1342543DE82EF95)
        found = np.int64(-1)
        for _ in range(_TRIES):
            state += np.uint64(0x9E3779B97F4A7C15)
            left = np.int64(mix(state) % np.uint64(total))
            place = np.int64(-1)
            for c in range(max(column - 1, 0), min(column + 1, CELLS - 1) + 1):
                first = starts[c * CELLS + low]
                count = starts[c * CELLS + high + 1] - first
                if left < count:
                    place = first + left
                    break
                left -= count
            dx = terminal_xy[place, 0] - x
            dy = terminal_xy[place, 1] - y
            if dx * dx + dy * dy < reach:
                found = place
                break
        if found < 0:
            # Few or none in reach: count them, then draw one of exactly those.
            near = 0
            for wanted in range(2):
                seen = 0
                goal = np.int64(-1)
                if wanted == 1:
                    if near == 0:
                        break
                    state += np.uint64(0x9E3779B97F4A7C15)
                    goal = np.int64(mix(state) % np.uint64(near))
                for c in range(max(column - 1, 0), min(column + 1, CELLS - 1) + 1):
                    for at in range(starts[c * CELLS + low], starts[c * CELLS + high + 1]):
                        dx = terminal_xy[at, 0] - x
                        dy = terminal_xy[at, 1] - y
                        if dx * dx + dy * dy < reach:
                            if seen == goal:
                                found = np.int64(at)
                            seen += 1
                near = seen
        if found >= 0:
            out[row] = terminal_number[found]
