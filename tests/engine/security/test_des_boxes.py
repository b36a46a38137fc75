"""The gates of each S-box against its table, for all 64 inputs at once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine.security import des_boxes as boxes
from engine.security.des_kernels import SP

pytestmark = pytest.mark.kernels

# Where the permutation P of FIPS 46-3 puts the four bits of each box, 0 = the highest bit.
_PLACES = [
    (8, 16, 22, 30), (12, 27, 1, 17), (23, 15, 29, 5), (25, 19, 9, 0),
    (7, 13, 24, 2), (3, 28, 10, 18), (31, 11, 21, 6), (4, 26, 14, 20),
]  # fmt: skip


@pytest.mark.parametrize("number", range(8))
def test_gates_are_the_table(number: int) -> None:
    """Bit i of each word belongs to input i, so one run is the whole table."""
    box: Callable[..., Any] = getattr(boxes, f"box_{number + 1}")
    inputs = [sum((i >> (5 - b) & 1) << i for i in range(64)) for b in range(6)]

    outputs = [int(word) for word in box(*(np.uint64(word) for word in inputs))]

    for i in range(64):
        mixed = sum(
            (word >> i & 1) << (31 - place)
            for word, place in zip(outputs, _PLACES[number], strict=True)
        )
        assert mixed == int(SP[number, i])
