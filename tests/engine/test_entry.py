"""Entry class from DE22 and DE25."""

import pytest

from engine.entry import (
    CONDITION_BITS,
    ENTRY_BY_MODE,
    entry_class,
    is_card_not_present,
)
from scoring.payment import Entry

_CASES = [
    (51, Entry.CHIP),
    (951, Entry.CHIP),
    (71, Entry.CONTACTLESS),
    (910, Entry.CONTACTLESS),
    (21, Entry.MAGSTRIPE),
    (901, Entry.MAGSTRIPE),
    (801, Entry.FALLBACK),
    (12, Entry.KEYED),
    (812, Entry.ECOMMERCE),
    (92, Entry.ECOMMERCE),
    (102, Entry.ON_FILE),
    (0, Entry.UNKNOWN),
    (999, Entry.UNKNOWN),
    (-1, Entry.UNKNOWN),
    (1000, Entry.UNKNOWN),
]


@pytest.mark.parametrize(("de22", "expected"), _CASES)
def test_first_two_digits_of_de22_name_the_entry(de22: int, expected: Entry) -> None:
    """The first two digits decide, the third is left aside, anything else is unknown."""
    assert entry_class(de22) == expected


@pytest.mark.parametrize(
    ("de22", "expected"), [(12, 6), (0, 6), (102, Entry.ON_FILE), (51, Entry.CHIP)]
)
def test_ecommerce_lifts_keyed_and_unknown_only(de22: int, expected: int) -> None:
    """DE25 = 59 says how a keyed or unknown number came, never that a chip was not there."""
    assert entry_class(de22, ecommerce=True) == expected


def test_table_agrees_with_the_function() -> None:
    """The kernel's table gives what the function gives for every DE22."""
    assert [int(entry_class(mode)) for mode in range(1000)] == ENTRY_BY_MODE.tolist()


def test_card_not_present_by_entry_or_by_condition() -> None:
    """Keyed, e-commerce and on-file are card-not-present, and so is DE25 01, 08 or 59."""
    by_entry = {entry for entry in Entry if is_card_not_present(entry)}
    by_condition = {code for code in range(100) if is_card_not_present(Entry.CHIP, code)}
    assert (by_entry, by_condition) == ({Entry.KEYED, Entry.ECOMMERCE, Entry.ON_FILE}, {1, 8, 59})
    assert {code for code in range(100) if CONDITION_BITS[code]} == by_condition
