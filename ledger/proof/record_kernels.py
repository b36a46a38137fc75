"""The tree over the records of one batch, hashed without holding the interpreter's lock.

RFC 6962 hashes: a leaf is SHA-256(00 | record), a node SHA-256(01 | left | right). ``hashlib``
would hold the lock for each of so small inputs; here a whole batch is one call, in a thread of its
own. SHA-256 as in FIPS 180-4.
"""

import numpy as np
from numpy.typing import NDArray

from ledger.jit import Int, allocating_kernel, kernel
from ledger.record import RECORD_BYTES

_BLOCK_BYTES = 64
_LEAF_BYTES = 1 + RECORD_BYTES
_NODE_BYTES = 1 + 32 + 32


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _root_bits(number: int, power: int) -> int:
    """Return the first 32 bits of the fractional part of ``number ** (1 / power)``, exactly."""
    scaled = number << (32 * power)
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        if middle**power <= scaled:
            low = middle
        else:
            high = middle - 1
    return low & 0xFFFFFFFF


_K = np.array([_root_bits(prime, 3) for prime in _primes(64)], np.uint32)
_START = np.array([_root_bits(prime, 2) for prime in _primes(8)], np.uint32)


@kernel
def _turn(word: np.uint32, bits: Int) -> np.uint32:
    return np.uint32((word >> np.uint32(bits)) | (word << np.uint32(32 - bits)))


@kernel
def _compress(state: NDArray[np.uint32], block: NDArray[np.uint8], w: NDArray[np.uint32]) -> None:
    """Take 64 bytes into ``state`` u32[8]; ``w`` u32[64] is scratch."""
    for i in range(16):
        w[i] = (
            (np.uint32(block[4 * i]) << np.uint32(24))
            | (np.uint32(block[4 * i + 1]) << np.uint32(16))
            | (np.uint32(block[4 * i + 2]) << np.uint32(8))
            | np.uint32(block[4 * i + 3])
        )
    for i in range(16, 64):
        s0 = _turn(w[i - 15], 7) ^ _turn(w[i - 15], 18) ^ (w[i - 15] >> np.uint32(3))
        s1 = _turn(w[i - 2], 17) ^ _turn(w[i - 2], 19) ^ (w[i - 2] >> np.uint32(10))
        w[i] = np.uint32(w[i - 16] + s0 + w[i - 7] + s1)
    a, b, c, d = state[0], state[1], state[2], state[3]
    e, f, g, h = state[4], state[5], state[6], state[7]
    for i in range(64):
        s1 = _turn(e, 6) ^ _turn(e, 11) ^ _turn(e, 25)
        choice = (e & f) ^ (~e & g)
        t1 = np.uint32(h + s1 + choice + _K[i] + w[i])
        s0 = _turn(a, 2) ^ _turn(a, 13) ^ _turn(a, 22)
        most = (a & b) ^ (a & c) ^ (b & c)
        t2 = np.uint32(s0 + most)
        h, g, f = g, f, e
        e = np.uint32(d + t1)
        d, c, b = c, b, a
        a = np.uint32(t1 + t2)
    state[0] = np.uint32(state[0] + a)
    state[1] = np.uint32(state[1] + b)
    state[2] = np.uint32(state[2] + c)
    state[3] = np.uint32(state[3] + d)
    state[4] = np.uint32(state[4] + e)
    state[5] = np.uint32(state[5] + f)
    state[6] = np.uint32(state[6] + g)
    state[7] = np.uint32(state[7] + h)


@kernel
def _digest(
    text: NDArray[np.uint8],
    size: Int,
    state: NDArray[np.uint32],
    w: NDArray[np.uint32],
    out: NDArray[np.uint8],
) -> None:
    """Write SHA-256 of ``text[:size]`` to ``out`` u8[32]; ``text`` is a multiple of 64 long.

    What stands behind ``size`` is overwritten with the padding.
    """
    blocks = (size + 9 + _BLOCK_BYTES - 1) // _BLOCK_BYTES
    end = blocks * _BLOCK_BYTES
    text[size] = 0x80
    for i in range(size + 1, end - 8):
        text[i] = 0
    for i in range(8):
        text[end - 1 - i] = (size * 8 >> (8 * i)) & 0xFF
    for i in range(8):
        state[i] = _START[i]
    for block in range(blocks):
        _compress(state, text[block * _BLOCK_BYTES : (block + 1) * _BLOCK_BYTES], w)
    for i in range(8):
        for k in range(4):
            out[4 * i + k] = (state[i] >> np.uint32(24 - 8 * k)) & np.uint32(0xFF)


@allocating_kernel
def record_root(raw: NDArray[np.uint8], hashes: NDArray[np.uint8]) -> None:
    """Write the root of the tree over the records to ``hashes[0]``.

    Parameters
    ----------
    raw : u8 (n, 192), n >= 1, the bytes of the records in order.
    hashes : u8 (n, 32), scratch and out.
    """
    state = np.empty(8, np.uint32)
    w = np.empty(64, np.uint32)
    text = np.empty(4 * _BLOCK_BYTES, np.uint8)
    count = raw.shape[0]
    for i in range(count):
        text[0] = 0
        text[1:_LEAF_BYTES] = raw[i]
        _digest(text, _LEAF_BYTES, state, w, hashes[i])
    while count > 1:
        for i in range(count // 2):
            text[0] = 1
            text[1:33] = hashes[2 * i]
            text[33:_NODE_BYTES] = hashes[2 * i + 1]
            _digest(text, _NODE_BYTES, state, w, hashes[i])
        if count % 2:  # the last one goes up as it is: RFC 6962 splits the same way
            hashes[count // 2] = hashes[count - 1]
        count = (count + 1) // 2
