"""ISO 8583:1987 frames of card traffic: one template a message kind, digits patched by a kernel.

Every message of one kind has the same fields at the same offsets, so building one is a copy and a
few patched digits. Authorizations (0100, repeat 0101) carry fields 2, 3, 4, 7, 11, 12, 13, 14, 18,
19, 22, 25, 32, 37, 41, 42, 49; reversals (0420) add 90. Retrieval reference number (DE37) is a
running number, STAN (DE11) follows from it, DE7/12/13 come from the payment's simulated time or
from the run's clock. A repeat equals its original but for the MTI; a reversal has the original's
STAN and DE37.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.frame_kernels import FRAME_CAP, encode_orders

TEST_BIN = "400000"
EXPIRY_YYMM = "3012"
ACQUIRER = "400099"
DIALECTS = ("iso87-bin", "iso87-hex")
MAX_NUMBER = 10**12 - 1  # DE37 has twelve digits


class Place(IntEnum):
    """Columns of ``Templates.places``: where in a frame a patched field's last digit ends."""

    SIZE = 0  # bytes of the frame, its two length bytes included
    MTI = 1
    PAN = 2
    AMOUNT = 3
    TRANSMITTED = 4
    STAN = 5
    LOCAL_TIME = 6
    LOCAL_DATE = 7
    MCC = 8
    COUNTRY = 9
    ENTRY_MODE = 10
    CONDITION = 11
    RRN = 12
    TERMINAL = 13
    MERCHANT = 14
    ORIGINAL_STAN = 15  # 0 = the kind has no DE90
    ORIGINAL_TRANSMITTED = 16


class Templates(NamedTuple):
    """Frame templates of one dialect: row 0 the authorization, row 1 the reversal."""

    bytes: NDArray[np.uint8]  # [2, FRAME_CAP]
    places: NDArray[np.int64]  # [2, len(Place)], exclusive end offset of each patched field


# Field: (text of the template, place of its last digit). LL prefixes stand in the text.
_PAN = "16" + TEST_BIN + "0" * 10
_FIELDS: dict[int, tuple[str, Place | None]] = {
    2: (_PAN, Place.PAN),
    3: ("000000", None),
    4: ("0" * 12, Place.AMOUNT),
    7: ("0" * 10, Place.TRANSMITTED),
    11: ("0" * 6, Place.STAN),
    12: ("0" * 6, Place.LOCAL_TIME),
    13: ("0" * 4, Place.LOCAL_DATE),
    14: (EXPIRY_YYMM, None),
    18: ("0" * 4, Place.MCC),
    19: ("0" * 3, Place.COUNTRY),
    22: ("0" * 3, Place.ENTRY_MODE),
    25: ("0" * 2, Place.CONDITION),
    32: (f"{len(ACQUIRER):02d}{ACQUIRER}", None),
    37: ("0" * 12, Place.RRN),
    41: ("T" + "0" * 7, Place.TERMINAL),
    42: ("M" + "0" * 14, Place.MERCHANT),
    49: ("840", None),
}
_ORIGINAL = "0100" + "0" * 6 + "0" * 10 + ACQUIRER.zfill(11) + "0" * 11


def test_pan(index: int) -> str:
    """Return the test card number of customer ``index`` (0 to 999,999,999): 16 digits, Luhn."""
    if not 0 <= index < 10**9:
        raise ValueError("a test card index has at most nine digits")
    body = f"{TEST_BIN}{index:09d}"
    total = 0
    for position, character in enumerate(reversed(body)):
        doubled = int(character) * (2 if position % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return body + str(-total % 10)


test_pan.__test__ = False  # type: ignore[attr-defined] # not a test, whatever pytest thinks of it


def stan_of(number: int) -> int:
    """Return the STAN (1 to 999,999) of the message with running number ``number``."""
    return number % 999_999 + 1


def templates(dialect: str = "iso87-bin") -> Templates:
    """Return the frame templates of a dialect.

    Raises ValueError for a dialect other than DIALECTS.
    """
    if dialect not in DIALECTS:
        raise ValueError(f"dialect {dialect!r} is not one of {', '.join(DIALECTS)}")
    frames = np.zeros((2, FRAME_CAP), dtype=np.uint8)
    places = np.zeros((2, len(Place)), dtype=np.int64)
    _fill_template(dialect, "0100", {}, frames[0], places[0])
    _fill_template(dialect, "0420", {90: (_ORIGINAL, None)}, frames[1], places[1])
    return Templates(frames, places)


def _fill_template(
    dialect: str,
    mti: str,
    extra: dict[int, tuple[str, Place | None]],
    frame: NDArray[np.uint8],
    places: NDArray[np.int64],
) -> None:
    fields = _FIELDS | extra
    bits = 0
    for number in fields:
        bits |= 1 << (128 - number)
    bits |= (1 << 127) if extra else 0
    bitmap = bits.to_bytes(16, "big")[: 16 if extra else 8]
    head = mti.encode() + (bitmap if dialect == "iso87-bin" else bitmap.hex().upper().encode())
    body = b""
    for number in sorted(fields):
        text, place = fields[number]
        if number == 90:
            places[Place.ORIGINAL_STAN] = 2 + len(head) + len(body) + 10
            places[Place.ORIGINAL_TRANSMITTED] = 2 + len(head) + len(body) + 20
        body += text.encode()
        if place is not None:
            places[place] = 2 + len(head) + len(body)
    message = head + body
    whole = len(message).to_bytes(2, "big") + message
    places[Place.MTI] = 6
    places[Place.SIZE] = len(whole)
    frame[: len(whole)] = np.frombuffer(whole, dtype=np.uint8)


class Frames(NamedTuple):
    """Encoded frames: frame ``i`` is ``buffer[offsets[i]:offsets[i + 1]]``, length included."""

    buffer: NDArray[np.uint8]
    offsets: NDArray[np.int64]


def encode(
    orders: NDArray[np.void],
    *,
    first_number: int = 1,
    dialect: str = "iso87-bin",
    clock_s: int | None = None,
    mti: int = 100,
) -> Frames:
    """Encode a frame for every ORDER row, numbered from ``first_number``.

    Parameters: ``mti`` is 100, 101 or 420; ``clock_s`` the Unix seconds of all messages, None =
    each payment's simulated time. A 0420 reverses the 0100 of the same row and number.
    """
    if not 0 <= first_number <= MAX_NUMBER - len(orders):
        raise ValueError("message numbers must fit in the twelve digits of DE37")
    if mti not in (100, 101, 420):
        raise ValueError(f"mti {mti} is not one of 100, 101, 420")
    shapes = templates(dialect)
    size = int(shapes.places[1 if mti == 420 else 0, Place.SIZE])
    out = np.zeros(size * len(orders), dtype=np.uint8)
    clock = -1 if clock_s is None else clock_s
    encode_orders(orders, first_number, clock, mti, shapes.bytes, shapes.places, out)
    return Frames(out, np.arange(len(orders) + 1, dtype=np.int64) * size)
