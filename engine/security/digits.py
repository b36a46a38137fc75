"""Digits of card numbers and cipher blocks as rows of small integers, many at a time."""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_PAN_NIBBLES = 20
NONE = 15  # the filler of a block of digits


def pan_digits(blocks: Bytes) -> tuple[Bytes, NDArray[np.int64]]:
    """Return (digits u8 (n, 20), counts i64 (n,)) of the blocks that decoding makes (n, 16).

    A block is the count and ten bytes of BCD, filled with F (``engine.tokens.pan_block``).
    """
    return nibbles(blocks[:, 1:11]), blocks[:, 0].astype(np.int64)


def nibbles(blocks: Bytes) -> Bytes:
    """Return the half bytes of rows of bytes: u8 (n, 2 x width)."""
    out = np.empty((len(blocks), 2 * blocks.shape[1]), np.uint8)
    out[:, 0::2] = blocks >> 4
    out[:, 1::2] = blocks & 15
    return out


def packed(half_bytes: Bytes) -> Bytes:
    """Return rows of bytes from rows of half bytes."""
    return np.bitwise_or(half_bytes[:, 0::2] << np.uint8(4), half_bytes[:, 1::2])


def rightmost(digits: Bytes, counts: NDArray[np.int64], size: int) -> Bytes:
    """Return the ``size`` digits before the check digit, zeros where there are fewer."""
    places = counts[:, None] - 1 - size + np.arange(size)
    taken = np.take_along_axis(digits, np.clip(places, 0, _PAN_NIBBLES - 1), axis=1)
    return np.where(places >= 0, taken, 0).astype(np.uint8)


def decimals_first(half_bytes: Bytes, size: int) -> Bytes:
    """Return ``size`` digits of cipher blocks: 0-9 from left to right, then A-F less ten."""
    order = np.argsort(half_bytes > 9, axis=1, kind="stable")[:, :size]
    taken = np.take_along_axis(half_bytes, order, axis=1)
    return np.where(taken > 9, taken - 10, taken).astype(np.uint8)


def as_rows(data: bytes, width: int) -> Bytes:
    """Return bytes as rows u8 (n, width), a copy that may be written."""
    return np.frombuffer(bytearray(data), np.uint8).reshape(-1, width)
