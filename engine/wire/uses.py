"""What the engine reads from a message, and the shapes in which a dialect may write it.

A dialect file gives a field its ``use`` by name. The kernels read a used field without looking at
its declaration again, so what it may look like is checked when the file is read.
"""

from enum import IntEnum
from typing import NamedTuple


class Use(IntEnum):
    """Which REQUEST column the engine fills from a field; a file names it in lower case."""

    NONE = 0
    PAN = 1
    TRACK1 = 2
    TRACK2 = 3
    MERCHANT = 4
    PCODE = 5
    AMOUNT = 6
    BILLING_AMOUNT = 7
    TRANSMITTED = 8  # MMDDhhmmss
    STAN = 9
    LOCAL_TIME = 10  # hhmmss
    LOCAL_DATE = 11  # MMDD
    EXPIRY = 12  # YYMM
    MCC = 13
    COUNTRY = 14
    ENTRY_MODE = 15  # DE22 of 1987
    CONDITION = 16  # DE25 of 1987
    ACQUIRER = 17
    FORWARDER = 18
    NETWORK_CODE = 19
    RRN = 20
    TERMINAL = 21
    CURRENCY = 22
    BILLING_CURRENCY = 23
    ORIGINAL = 24  # MTI 4, STAN 6, transmitted 10, acquirer 11, forwarder 11
    REPLACEMENT = 25  # the first 12 characters are the amount
    LOCAL_MOMENT = 26  # YYMMDDhhmmss: DE12 of 1993, or with the century before it, of 2003
    POS_CODES = 27  # DE22 of 1993: twelve codes of one character
    POS_BITS = 28  # DE22 of 2003: 16 bytes of flags
    ORIGINAL_LOCAL = 29  # DE56 of 1993 and 2003: MTI 4, STAN, local date and time, acquirer LL
    AMOUNT_AND_CURRENCY = 30  # DE4 of 2003: currency 3, exponent 1, amount 12
    BILLING_AND_CURRENCY = 31  # DE6 of 2003, the same
    FUNCTION = 32  # DE24 of 1993 and 2003
    REASON = 33  # DE25 of 1993 and 2003
    APPROVAL = 34  # DE38 of a request
    ORIGINAL_AMOUNT = 35  # DE30 of 1993: the first 12 digits are the original amount
    PARTIAL = 36  # begins with 1 where the terminal takes less than it asked for
    # Of these the engine needs the place only; ``number_of`` and the spans say where they lie.
    CHIP = 37
    PIN_BLOCK = 38
    SECURITY = 39
    MAC = 40
    MAC_SECOND = 41
    AMOUNTS = 42  # DE54: balances and the amount asked for
    KEY = 43  # where a new key comes in
    REMARK = 44  # DE44: the field at fault
    LIFECYCLE = 45  # the network's number of the payment: an element inside a field, digits


USE_LIMIT = 46  # every Use is below


class Shape(NamedTuple):
    """What a field with a use must be: ``largest`` in characters, digits or bytes."""

    formats: tuple[str, ...]
    is_fixed: bool
    largest: int
    least: int  # = largest where a fixed field has one size only


_TEXT = ("n", "an", "ans")


def _fixed(formats: tuple[str, ...], size: int, least: int = 0) -> Shape:
    return Shape(formats, is_fixed=True, largest=size, least=least or size)


def _variable(formats: tuple[str, ...], size: int) -> Shape:
    return Shape(formats, is_fixed=False, largest=size, least=1)


SHAPES: dict[Use, Shape] = {
    Use.PAN: _variable(("n",), 19),
    Use.PCODE: _fixed(("n",), 6),
    Use.AMOUNT: _fixed(("n",), 12),
    Use.BILLING_AMOUNT: _fixed(("n",), 12),
    Use.TRANSMITTED: _fixed(("n",), 10),
    Use.STAN: _fixed(("n",), 12, 6),
    Use.LOCAL_TIME: _fixed(("n",), 6),
    Use.LOCAL_DATE: _fixed(("n",), 4),
    Use.EXPIRY: _fixed(("n",), 4),
    Use.MCC: _fixed(("n",), 4),
    Use.COUNTRY: _fixed(("n",), 3),
    Use.ENTRY_MODE: _fixed(("n",), 4, 3),
    Use.CONDITION: _fixed(("n",), 2),
    Use.ACQUIRER: _variable(("n",), 18),
    Use.FORWARDER: _variable(("n",), 18),
    Use.TRACK2: _variable(("z",), 37),
    Use.RRN: _fixed(_TEXT, 12),
    Use.TERMINAL: _fixed(_TEXT, 16, 8),
    Use.MERCHANT: Shape(_TEXT, is_fixed=True, largest=35, least=15),
    Use.TRACK1: _variable(("ans",), 76),
    Use.CURRENCY: _fixed(("n", "an"), 3),
    Use.BILLING_CURRENCY: _fixed(("n", "an"), 3),
    Use.NETWORK_CODE: _fixed(("n",), 3),
    Use.ORIGINAL: _fixed(("n", "an"), 42),
    Use.REPLACEMENT: _fixed(("n", "an"), 42),
    Use.LOCAL_MOMENT: _fixed(("n",), 14, 12),
    Use.POS_CODES: _fixed(("an", "ans"), 12),
    Use.POS_BITS: _fixed(("b",), 16),
    Use.ORIGINAL_LOCAL: _variable(("n", "an", "ans"), 56),
    Use.AMOUNT_AND_CURRENCY: _fixed(("n",), 16),
    Use.BILLING_AND_CURRENCY: _fixed(("n",), 16),
    Use.FUNCTION: _fixed(("n",), 3),
    Use.REASON: _fixed(("n",), 4),
    Use.APPROVAL: _fixed(("an", "ans"), 6),
    Use.ORIGINAL_AMOUNT: _fixed(("n",), 24, 12),
    Use.CHIP: _variable(("b",), 999),
    Use.PIN_BLOCK: _fixed(("b",), 8),
    Use.MAC: _fixed(("b",), 8, 4),
    Use.MAC_SECOND: _fixed(("b",), 8, 4),
    Use.AMOUNTS: _variable(("an", "ans"), 255),
    Use.REMARK: _variable(("an", "ans"), 999),
}
# Read as characters, so a dialect that writes them otherwise has them turned into ASCII first.
TEXT_USES = frozenset(
    {
        *(Use.PAN, Use.TRACK1, Use.TRACK2, Use.MERCHANT, Use.RRN, Use.TERMINAL, Use.CURRENCY),
        *(Use.BILLING_CURRENCY, Use.ORIGINAL, Use.REPLACEMENT, Use.LOCAL_MOMENT, Use.POS_CODES),
        *(Use.ORIGINAL_LOCAL, Use.AMOUNT_AND_CURRENCY, Use.BILLING_AND_CURRENCY, Use.APPROVAL),
        *(Use.ORIGINAL_AMOUNT, Use.POS_BITS),
    }
)
EITHER_LENGTH = frozenset({Use.MERCHANT})  # fixed or with a length prefix
CARD_USES = frozenset({Use.PAN, Use.TRACK1, Use.TRACK2})
