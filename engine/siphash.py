"""SipHash-2-4 as kernels: keyed 64- and 128-bit hashes of bytes and of words.

Merchants and message identities are kept as keyed hashes. SipHash is short, keyed and public, so a
peer that chooses its field values cannot aim for collisions without the key. Source: J.-P. Aumasson
and D. J. Bernstein, "SipHash: a fast short-input PRF", 2012, and the authors' reference vectors.

Every operand is a uint64: Numba turns uint64 with int64 into float64.
"""

import numpy as np
from numpy.typing import NDArray

from ledger.jit import kernel, load_word

State = tuple[np.uint64, np.uint64, np.uint64, np.uint64]

_INIT0 = np.uint64(0x736F6D6570736575)
_INIT1 = np.uint64(0x646F72616E646F6D)
_INIT2 = np.uint64(0x6C7967656E657261)
_INIT3 = np.uint64(0x7465646279746573)
_WIDE = np.uint64(0xEE)  # marks the 128-bit variant in the state
_WIDE_SECOND = np.uint64(0xDD)
_NARROW = np.uint64(0xFF)
_LENGTH_SHIFT = np.uint64(56)
_R13, _R16, _R17, _R21, _R32 = (np.uint64(n) for n in (13, 16, 17, 21, 32))
_L13, _L16, _L17, _L21 = (np.uint64(64 - n) for n in (13, 16, 17, 21))


@kernel
def _round(v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64) -> State:
    v0 = v0 + v1
    v1 = ((v1 << _R13) | (v1 >> _L13)) ^ v0
    v0 = (v0 << _R32) | (v0 >> _R32)
    v2 = v2 + v3
    v3 = ((v3 << _R16) | (v3 >> _L16)) ^ v2
    v0 = v0 + v3
    v3 = ((v3 << _R21) | (v3 >> _L21)) ^ v0
    v2 = v2 + v1
    v1 = ((v1 << _R17) | (v1 >> _L17)) ^ v2
    v2 = (v2 << _R32) | (v2 >> _R32)
    return v0, v1, v2, v3


@kernel
def _absorb(v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64, word: np.uint64) -> State:
    v3 = v3 ^ word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ word, v1, v2, v3


@kernel
def _finish(v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64) -> State:
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0, v1, v2, v3


@kernel
def _tail(data: NDArray[np.uint8], start: int, size: int, rest: int) -> np.uint64:
    """Return the last ``rest`` bytes, seven at most, of ``size`` as a little-endian word."""
    word = np.uint64(0)
    if size >= 8 and rest != 0:
        return load_word(data, start + size - 8) >> np.uint64(64 - 8 * rest)
    for k in range(rest):
        word |= np.uint64(data[np.uint64(start + size - rest + k)]) << np.uint64(8 * k)
    return word


@kernel
def siphash_bytes(
    k0: np.uint64, k1: np.uint64, data: NDArray[np.uint8], start: int, size: int
) -> np.uint64:
    """Return SipHash-2-4 of ``data[start:start + size]`` under the key words ``k0, k1``: u64."""
    v0, v1, v2, v3 = k0 ^ _INIT0, k1 ^ _INIT1, k0 ^ _INIT2, k1 ^ _INIT3
    whole = size // 8
    for block in range(whole):
        v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, load_word(data, start + 8 * block))
    last = _tail(data, start, size, size - 8 * whole)
    last |= np.uint64(size) << _LENGTH_SHIFT
    v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, last)
    v0, v1, v2, v3 = _finish(v0, v1, v2 ^ _NARROW, v3)
    return v0 ^ v1 ^ v2 ^ v3


@kernel
def siphash_bytes_word(
    k0: np.uint64, k1: np.uint64, data: NDArray[np.uint8], start: int, size: int, word: np.uint64
) -> np.uint64:
    """Return SipHash-2-4 of ``data[start:start + size]`` and then the 8 bytes of ``word``: u64.

    ``word`` is a uint64, taken little-endian; equal to hashing the joined bytes without joining.
    """
    v0, v1, v2, v3 = k0 ^ _INIT0, k1 ^ _INIT1, k0 ^ _INIT2, k1 ^ _INIT3
    whole = size // 8
    for block in range(whole):
        v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, load_word(data, start + 8 * block))
    rest = size - 8 * whole
    tail = _tail(data, start, size, rest)
    last = np.uint64(0)
    if rest == 0:  # a shift by 64 is undefined
        v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, word)
    else:
        v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, tail | (word << np.uint64(8 * rest)))
        last = word >> np.uint64(64 - 8 * rest)
    last |= np.uint64(size + 8) << _LENGTH_SHIFT
    v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, last)
    v0, v1, v2, v3 = _finish(v0, v1, v2 ^ _NARROW, v3)
    return v0 ^ v1 ^ v2 ^ v3


@kernel
def siphash128_words(
    k0: np.uint64, k1: np.uint64, words: NDArray[np.uint64], count: int
) -> tuple[np.uint64, np.uint64]:
    """Return SipHash-2-4-128 of the first ``count`` words, little-endian: (hi, lo), u64.

    The published 16-byte output is ``lo`` then ``hi``, both little-endian.
    """
    v0, v1, v2, v3 = k0 ^ _INIT0, k1 ^ _INIT1 ^ _WIDE, k0 ^ _INIT2, k1 ^ _INIT3
    for i in range(count):
        v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, words[i])
    v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, np.uint64(8 * count) << _LENGTH_SHIFT)
    v0, v1, v2, v3 = _finish(v0, v1, v2 ^ _WIDE, v3)
    low = v0 ^ v1 ^ v2 ^ v3
    v0, v1, v2, v3 = _finish(v0, v1 ^ _WIDE_SECOND, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3, low
