"""Cards: account, expiry, status and controls of one card a row, indexed by its internal number.

The map from token to card number is an ``Index`` over the vault's tokens; a card row itself holds
nothing that identifies a person. Row 0 stays empty: card number 0 means "no such card".
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class CardStatus(IntEnum):
    """Whether a card may be used. 0 is a row that no event has issued."""

    NONE = 0
    ACTIVE = 1
    BLOCKED = 2
    LOST = 3
    STOLEN = 4


class CardFlag(IntEnum):
    """Bits of ``flags``."""

    TRAVEL_NOTICE = 1


CARD = np.dtype([("account", "<u4"), ("expiry_yymm", "<u2"), ("status", "u1"), ("flags", "u1")])
assert CARD.itemsize == 8


def new_cards(capacity: int) -> NDArray[np.void]:
    """Return ``capacity`` empty CARD rows."""
    return np.zeros(capacity, CARD)
