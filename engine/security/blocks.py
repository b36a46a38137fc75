"""How a message is cut into blocks, ISO 9797-1: what both DES kernels read messages by."""

import numpy as np
from numpy.typing import NDArray

from ledger.jit import Int, hot_kernel, load_word

_MARK = 0x80
_U = np.uint64
_BYTES, _PAIRS = _U(0x00FF00FF00FF00FF), _U(0x0000FFFF0000FFFF)


@hot_kernel
def block_count(size: Int, block: Int, marked: Int) -> Int:
    """Return the blocks of a message of ``size`` bytes, at least one.

    ``marked`` says how the last one is filled: 0 = with zeros (method 1 of ISO 9797-1), 1 = with
    0x80 and zeros, always, so that a message of whole blocks gets one more (method 2), 2 = the
    same, but only where the last block is not whole (CMAC).
    """
    if marked == 1:
        return size // block + 1
    return max((size + block - 1) // block, 1)


@hot_kernel
def is_whole(size: Int, block: Int) -> Int:
    """Return whether the last block of a message is its own bytes: CMAC mixes it with K1."""
    return size > 0 and size % block == 0


@hot_kernel
def stored_word(data: NDArray[np.uint8], start: Int, size: Int, step: Int, marked: Int) -> Int:
    """Return eight bytes of a message, those from 8 x ``step`` on, the first one lowest: uint64.

    Where the message ends, the mark stands if there is one, then zeros.
    """
    at = 8 * step
    if at + 8 <= size:
        return load_word(data, start + at)
    word = _U(0)
    for b in range(size - at):
        word |= _U(data[start + at + b]) << _U(8 * b)
    # A message that ends with a whole word has its mark in the next one, if that is laid at all.
    if marked and at <= size:
        word |= _U(_MARK) << _U(8 * (size - at))
    return word


@hot_kernel
def block_word(data: NDArray[np.uint8], start: Int, size: Int, step: Int, marked: Int) -> Int:
    """Return block ``step`` of 8 bytes as a number, its first byte the highest: uint64."""
    word = stored_word(data, start, size, step, marked)
    word = ((word & _BYTES) << _U(8)) | ((word >> _U(8)) & _BYTES)
    word = ((word & _PAIRS) << _U(16)) | ((word >> _U(16)) & _PAIRS)
    return (word << _U(32)) | (word >> _U(32))
