"""One payment as the scorer sees it: numbers only, no ISO 8583, no money movement.

Training, authorization and replay fill the same row and call the same kernels, so a feature has
one definition.
"""

from enum import IntEnum

import numpy as np


class Entry(IntEnum):
    """How the card was read; a feature and a rule constant."""

    UNKNOWN = 0
    CHIP = 1
    CONTACTLESS = 2
    MAGSTRIPE = 3
    FALLBACK = 4  # magstripe read of a chip card
    KEYED = 5
    ECOMMERCE = 6
    ON_FILE = 7  # stored credential


class PaymentFlag(IntEnum):
    """Bits of ``flags``."""

    CNP = 1  # card not present
    WALLET = 2
    TRAVEL_NOTICE = 4
    UNUSABLE = 8  # names no usable card: counted on merchant and BIN, never on a card


PAYMENT = np.dtype(
    [
        ("amount_minor", "<i8"),
        ("t_s", "<u4"),  # seconds since 1970-01-01 UTC, never falls
        ("card", "<u4"),  # row of the card velocity array; row 0 = no card
        ("merchant", "<u4"),  # row of the merchant velocity array; row 0 = shared by the unknown
        ("bin", "<u4"),  # row of the BIN velocity array; row 0 = shared by the unknown
        ("mcc", "<u2"),
        ("country", "<u2"),  # ISO 3166 number of the acceptor; 0 = unknown
        ("flags", "<u2"),
        ("entry", "u1"),
        ("exponent", "u1"),  # decimals of the currency: 2 for most, 0 JPY, 3 KWD
    ]
)
assert PAYMENT.itemsize == 32
