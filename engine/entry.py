"""How a card was read, from DE22 (POS entry mode) and DE25 (POS condition): one rule for all.

The first two digits of DE22 say how the card number came in, the third the terminal's PIN ability
(left aside here). DE25 may add that the payment came by e-commerce or by mail and phone. The same
rule as tables serves kernels: ``ENTRY_BY_MODE[de22]`` and ``CONDITION_BITS[de25]``.

Source: ISO 8583:1987 data elements 22 and 25 with the values card networks use.
"""

import numpy as np
from numpy.typing import NDArray

from scoring.payment import Entry

CONDITION_ECOMMERCE = 1  # bits of CONDITION_BITS
CONDITION_CNP = 2

_CLASS_OF_READ = {
    1: Entry.KEYED,
    2: Entry.MAGSTRIPE,
    5: Entry.CHIP,
    7: Entry.CONTACTLESS,
    9: Entry.ECOMMERCE,
    10: Entry.ON_FILE,
    80: Entry.FALLBACK,
    81: Entry.ECOMMERCE,
    90: Entry.MAGSTRIPE,
    91: Entry.CONTACTLESS,
    95: Entry.CHIP,
}
_CNP_CLASSES = frozenset((Entry.KEYED, Entry.ECOMMERCE, Entry.ON_FILE))


def _entry_table() -> NDArray[np.uint8]:
    table = np.zeros(1000, dtype=np.uint8)
    for read, entry in _CLASS_OF_READ.items():
        table[read * 10 : read * 10 + 10] = int(entry)
    return table


def _condition_table() -> NDArray[np.uint8]:
    table = np.zeros(100, dtype=np.uint8)
    table[59] = CONDITION_ECOMMERCE | CONDITION_CNP
    table[[1, 8]] = CONDITION_CNP
    return table


ENTRY_BY_MODE = _entry_table()  # u8[1000]: DE22 -> Entry
CONDITION_BITS = _condition_table()  # u8[100]: DE25 -> CONDITION_ECOMMERCE | CONDITION_CNP


def entry_class(de22: int, ecommerce: bool = False) -> Entry:  # noqa: FBT001, FBT002
    """Return how the card was read; a value outside 0-999 (absent: -1) is UNKNOWN.

    ``ecommerce`` is whether DE25 says so: it lifts a keyed or unknown read to ECOMMERCE, while a
    card on file stays ON_FILE and a card that was there stays what it was.
    """
    entry = Entry(int(ENTRY_BY_MODE[de22])) if 0 <= de22 < 1000 else Entry.UNKNOWN
    if ecommerce and entry in (Entry.KEYED, Entry.UNKNOWN):
        return Entry.ECOMMERCE
    return entry


def is_card_not_present(entry: int, condition: int = -1) -> bool:
    """Return whether nobody held the card to a terminal: by ``entry``, or by DE25."""
    by_condition = 0 <= condition < 100 and bool(CONDITION_BITS[condition] & CONDITION_CNP)
    return entry in _CNP_CLASSES or by_condition
