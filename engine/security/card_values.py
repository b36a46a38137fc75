"""Values that prove a PIN or a card: Visa PVV, IBM 3624 offset, CVV, CVV2 and iCVV.

Each is a block encryption and a decimalisation; many cards under one key cost one or two calls.
Sources: the Visa PVV and CVV algorithms and the IBM 3624 method as published with the IBM CCA
(PIN formats and algorithms; CVV generate and verify).
"""

import numpy as np
from numpy.typing import NDArray

from engine.security.ciphers import DES_BLOCK, Cipher
from engine.security.digits import (
    Bytes,
    as_rows,
    decimals_first,
    nibbles,
    packed,
    pan_digits,
    rightmost,
)

PVV_DIGITS = 4
CVV_DIGITS = 3
_PVV_PAN_DIGITS = 11
_CVV_WIDTH = 32
DECIMALS = "0123456789012345"  # the usual decimalisation table


def pvvs(cipher: Cipher, pan_blocks: Bytes, indexes: Bytes, pin_digits: Bytes) -> Bytes:
    """Return Visa PVVs u8 (n, 4): of 11 card digits, the key index and the first 4 PIN digits."""
    digits, counts = pan_digits(pan_blocks)
    field = np.empty((len(pan_blocks), 2 * DES_BLOCK), np.uint8)
    field[:, :_PVV_PAN_DIGITS] = rightmost(digits, counts, _PVV_PAN_DIGITS)
    field[:, _PVV_PAN_DIGITS] = indexes
    field[:, _PVV_PAN_DIGITS + 1 :] = pin_digits[:, :PVV_DIGITS]
    sealed = as_rows(cipher.encrypt(packed(field).tobytes()), DES_BLOCK)
    field[:] = 0
    return decimals_first(nibbles(sealed), PVV_DIGITS)


def natural_pins(
    cipher: Cipher,
    pan_blocks: Bytes,
    table: str = DECIMALS,
    first: int = 0,
    size: int = 16,
    filler: int = 0,
) -> Bytes:
    """Return the IBM 3624 natural PINs u8 (n, 16); the PIN's length says how many digits count.

    Parameters
    ----------
    table : 16 digits: what each half byte of the cipher block becomes.
    first, size : which digits of the card number are encrypted; filler : half byte after them.
    """
    digits, counts = pan_digits(pan_blocks)
    field = np.full((len(pan_blocks), 2 * DES_BLOCK), filler, np.uint8)
    size = min(size, digits.shape[1] - first)
    taken = digits[:, first : first + size]
    is_there = np.arange(first, first + size) < counts[:, None]
    np.copyto(field[:, :size], taken, where=is_there)
    sealed = as_rows(cipher.encrypt(packed(field).tobytes()), DES_BLOCK)
    decimals = np.frombuffer(table.encode("ascii"), np.uint8) - ord("0")
    out: Bytes = decimals[nibbles(sealed)]
    return out


def offsets(natural: Bytes, pin_digits: Bytes) -> Bytes:
    """Return what is added to natural PINs, digit by digit modulo 10, to give the PINs."""
    width = pin_digits.shape[1]
    out: Bytes = (pin_digits + 10 - natural[:, :width]) % 10
    return out


def cvvs(
    cipher: Cipher, pan_blocks: Bytes, dates: NDArray[np.int64], service_codes: NDArray[np.int64]
) -> Bytes:
    """Return card verification values u8 (n, 3).

    Parameters
    ----------
    dates : the four digits of the expiry as a number, YYMM (CVV2 may have MMYY).
    service_codes : three digits as a number: of the track; 0 for CVV2, 999 for iCVV.
    """
    digits, counts = pan_digits(pan_blocks)
    field = np.zeros((len(pan_blocks), _CVV_WIDTH), np.uint8)
    is_digit = np.arange(digits.shape[1]) < counts[:, None]
    np.copyto(field[:, : digits.shape[1]], digits, where=is_digit)
    tail = dates * 1000 + service_codes
    for k in range(7):
        place = counts + k
        field[np.arange(len(field)), place] = tail // 10 ** (6 - k) % 10
    blocks = packed(field)
    first = as_rows(cipher.encrypt_left(blocks[:, :DES_BLOCK].tobytes()), DES_BLOCK)
    first ^= blocks[:, DES_BLOCK:]
    sealed = as_rows(cipher.encrypt(first.tobytes()), DES_BLOCK)
    return decimals_first(nibbles(sealed), CVV_DIGITS)
