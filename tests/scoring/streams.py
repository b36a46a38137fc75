"""Random streams of payments for the tests of scoring."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from scoring.payment import PAYMENT
from tests.oracle.velocity import Payment

CARDS, MERCHANTS, BINS = 5, 4, 3
GAPS_S = (0, 1, 59, 600, 3_599, 3_600, 40_000, 86_400, 90_000, 700_000, 1_300_000, 40_000_000)


@st.composite
def payments(draw: st.DrawFn, max_size: int = 25) -> NDArray[np.void]:
    """Return PAYMENT[n], sorted by time, few cards and merchants, all kinds of gaps."""
    rows: list[tuple[Any, ...]] = []
    t_s = draw(st.integers(1_600_000_000, 1_601_000_000))
    for _ in range(draw(st.integers(1, max_size))):
        t_s += draw(st.sampled_from(GAPS_S))
        rows.append(
            (
                draw(st.one_of(st.integers(-5, 500), st.integers(0, 10**12))),
                t_s,
                draw(st.integers(0, CARDS - 1)),
                draw(st.integers(0, MERCHANTS - 1)),
                draw(st.integers(0, BINS - 1)),
                draw(st.sampled_from((0, 5_411, 9_999, 65_535))),
                draw(st.sampled_from((0, 840, 826, 250, 276, 999, 1_234))),
                draw(st.integers(0, 15)),
                draw(st.integers(0, 7)),
                draw(st.sampled_from((0, 2, 3))),
            )
        )
    return np.array(rows, PAYMENT)


def oracle_payments(rows: NDArray[np.void]) -> list[Payment]:
    """Return the same payments for the oracle."""
    return [Payment(*(int(value) for value in row.item())) for row in rows]


def waves(cards: NDArray[np.uint32]) -> list[NDArray[np.int32]]:
    """Return the rows in waves: each card at most once in a wave, its payments in order."""
    seen: dict[int, int] = {}
    numbers = []
    for card in cards.tolist():
        numbers.append(seen.get(card, 0))
        seen[card] = numbers[-1] + 1
    return [np.flatnonzero(np.array(numbers) == w).astype(np.int32) for w in sorted(set(numbers))]
