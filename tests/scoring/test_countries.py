"""The distance table."""

import numpy as np
import pytest

from scoring.countries import CODE_COUNT, distance_table

TABLE = distance_table().astype(np.int64)
COUNT = int(np.sqrt(len(TABLE) - CODE_COUNT))


def _km(a: int, b: int) -> int:
    return int(TABLE[CODE_COUNT + TABLE[a] * COUNT + TABLE[b]])


@pytest.mark.parametrize(
    ("a", "b", "least", "most"),
    [
        (840, 826, 4_500, 6_000),  # United States, United Kingdom
        (276, 392, 8_000, 9_300),  # Germany, Japan
        (36, 554, 1_500, 2_600),  # Australia, New Zealand
        (840, 124, 0, 0),  # neighbours
        (276, 40, 0, 0),
        (724, 250, 0, 0),
        (840, 840, 0, 0),
        (840, 0, 0, 0),  # unknown
        (840, 999, 0, 0),
    ],
)
def test_distances_are_plausible(a: int, b: int, least: int, most: int) -> None:
    """Far countries are an aeroplane apart, neighbours and unknown ones 0."""
    assert least <= _km(a, b) <= most


def test_table_is_symmetric_and_bounded() -> None:
    """Both ways are as far, nothing is farther than half the earth, under 50 km is 0."""
    km = TABLE[CODE_COUNT:].reshape(COUNT, COUNT)
    assert COUNT > 200
    assert (km == km.T).all()
    assert km.max() < 20_038
    assert not ((km > 0) & (km < 50)).any()
    assert len(set(TABLE[:CODE_COUNT].tolist())) == COUNT
