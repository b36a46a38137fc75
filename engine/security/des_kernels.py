"""MACs of a few messages under TDES: all chains in one call, by tables.

Algorithm 3 of ISO 9797-1 encrypts every block but the last under single DES. The library has DES
only as TDES with a key three times, which is three times the work, in a call a step. Like the
library's, this DES looks tables up by data and so takes no more care of cache timing than that
does. Many messages take less time bit by bit (``engine.security.des_slices``).

Source: FIPS 46-3. The initial permutation is linear and the final one undoes it, so a chain stays
between the two until its end.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.security.blocks import block_count, block_word, is_whole
from ledger.jit import Int, allocating_kernel, kernel

_S = (
    "e4d12fb83a6c59070f74e2d1a6cb953841e8d62bfc973a50fc8249175b3ea06d",
    "f18e6b34972dc05a3d47f28ec01a69b50e7ba4d158c6932fd8a13f42b67c05e9",
    "a09e63f51dc7b428d709346a285ecbf1d6498f30b12c5ae71ad069874fe3b52c",
    "7de3069a1285bc4fd8b56f03472c1ae9a690cb7df13e52843f06a1d8945bc72e",
    "2c417ab6853fd0e9eb2c47d150fa3986421bad78f9c5630eb8c71e2d6f09a453",
    "c1af92680d34e75baf427c9561de0b389ef528c3704a1db6432c95fabe17608d",
    "4b2ef08d3c975a61d0b7491ae35c2f8614bdc37eaf6805926bd814a7950fe23c",
    "d2846fb1a93e50c71fd8a374c56b0e927b419ce206adf35821e74a8dfc90356b",
)
_P = (
    *(16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10),
    *(2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25),
)
_PC_1 = (
    *(57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3),
    *(60, 52, 44, 36, 63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45),
    *(37, 29, 21, 13, 5, 28, 20, 12, 4),
)
_PC_2 = (
    *(14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2),
    *(41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36),
    *(29, 32),
)
_SHIFTS = (1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1)
_HALF = (1 << 28) - 1
_U, _U64 = np.uint32, np.uint64
_LOW_6 = _U(63)


def _permuted(value: int, width: int, places: Sequence[int]) -> int:
    """Return the bits of ``value`` at ``places``, 1 = the highest of ``width``."""
    out = 0
    for place in places:
        out = out << 1 | value >> (width - place) & 1
    return out


def _tables() -> NDArray[np.uint32]:
    """Return S-boxes and P in one: u4 (8, 64), by the six bits that go into each box."""
    out = np.zeros((8, 64), np.uint32)
    for box, rows in enumerate(_S):
        for bits in range(64):
            row, column = bits >> 4 & 2 | bits & 1, bits >> 1 & 15
            value = int(rows[16 * row + column], 16) << (28 - 4 * box)
            out[box, bits] = _permuted(value, 32, _P)
    return out


SP = _tables()


def schedule(key: bytes | bytearray) -> NDArray[np.uint32]:
    """Return the round keys u4 (16, 2) of eight key bytes: those of even boxes, of odd ones."""
    halves = _permuted(int.from_bytes(key, "big"), 64, _PC_1)
    left, right = halves >> 28, halves & _HALF
    out = np.zeros((16, 2), np.uint32)
    for number, shift in enumerate(_SHIFTS):
        left = (left << shift | left >> (28 - shift)) & _HALF
        right = (right << shift | right >> (28 - shift)) & _HALF
        bits = _permuted(left << 28 | right, 56, _PC_2)
        groups = [bits >> (42 - 6 * box) & 63 for box in range(8)]
        for odd in (0, 1):
            out[number, odd] = sum(groups[2 * k + odd] << (26 - 8 * k) for k in range(4))
    return out


def passes(key: bytes | bytearray) -> NDArray[np.uint32]:
    """Return the round keys u4 (3, 16, 2) of a TDES key of 16 or 24 bytes: E, D, E."""
    first, second, third = (schedule(key[at % len(key) :][:8]) for at in (0, 8, 16))
    return np.stack([first, second[::-1], third])


@allocating_kernel
def table_macs(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    order: NDArray[np.int64],
    marked: Int,
    inner: Int,
    keys: NDArray[np.uint32],
    tails: NDArray[np.uint64],
    tables: NDArray[np.uint32],
    out: NDArray[np.uint8],
) -> None:
    """Write the MACs of messages under a key of three passes of DES.

    Parameters
    ----------
    starts, sizes : i64 (n,); order : i64 (n,), rows by falling size.
    marked : how the last block is filled, ``engine.security.blocks``.
    inner : passes of DES over each block but the last, of the three that ``keys`` has: 1 is
        algorithm 3 of ISO 9797-1, 3 are algorithms 1 and 5.
    keys : u4 (3, 16, 2), round keys of each pass, of ``passes``; tables : u4 (8, 64), ``SP``.
    tails : u64 (2,), what last blocks are mixed with: those that were filled, those that are whole.
    out : u8 (n, 8), out.
    """
    count = len(order)
    left, right = np.zeros(count, np.uint32), np.zeros(count, np.uint32)
    running, step = count, 0
    while running:
        for i in range(running):
            row = order[i]
            word = block_word(data, starts[row], sizes[row], step, marked)
            if block_count(sizes[row], 8, marked) == step + 1:
                word ^= tails[1 if is_whole(sizes[row], 8) else 0]
            high, low = _permute_in(_U(word >> _U64(32)), _U(word & _U64(0xFFFFFFFF)))
            left[i] ^= high
            right[i] ^= low
        step += 1
        while running and block_count(sizes[order[running - 1]], 8, marked) <= step:
            running -= 1
        for part in range(inner):
            _pass(left, right, running, keys[part], tables)
    for part in range(3):
        _pass(left, right, count, keys[part], tables)
    for i in range(count):
        high, low = _permute_out(left[i], right[i])
        for b in range(4):
            out[order[i], b] = (high >> _U(24 - 8 * b)) & _U(255)
            out[order[i], 4 + b] = (low >> _U(24 - 8 * b)) & _U(255)


@kernel
def _pass(
    left: NDArray[np.uint32],
    right: NDArray[np.uint32],
    rows: Int,
    keys: NDArray[np.uint32],
    tables: NDArray[np.uint32],
) -> None:
    """One pass of DES over the first ``rows``: sixteen rounds, then the halves change places."""
    for number in range(0, 16, 2):
        _round(left, right, rows, keys[number, 0], keys[number, 1], tables)
        _round(right, left, rows, keys[number + 1, 0], keys[number + 1, 1], tables)
    for i in range(rows):
        left[i], right[i] = right[i], left[i]


@kernel
def _round(
    into: NDArray[np.uint32],
    source: NDArray[np.uint32],
    rows: Int,
    even: Int,
    odd: Int,
    tables: NDArray[np.uint32],
) -> None:
    """Half of a round pair: ``into`` takes what the boxes make of ``source``."""
    s0, s1, s2, s3 = tables[0], tables[1], tables[2], tables[3]
    s4, s5, s6, s7 = tables[4], tables[5], tables[6], tables[7]
    for i in range(rows):
        x = source[i]
        a = _U((x >> _U(1)) | _U(x << _U(31)))
        b = _U(_U(a << _U(4)) | (a >> _U(28))) ^ odd
        a ^= even
        into[i] ^= (
            s0[a >> _U(26)]
            | s2[(a >> _U(18)) & _LOW_6]
            | s4[(a >> _U(10)) & _LOW_6]
            | s6[(a >> _U(2)) & _LOW_6]
            | s1[b >> _U(26)]
            | s3[(b >> _U(18)) & _LOW_6]
            | s5[(b >> _U(10)) & _LOW_6]
            | s7[(b >> _U(2)) & _LOW_6]
        )


@kernel
def _swap(a: Int, b: Int, shift: Int, mask: Int) -> tuple[Int, Int]:
    """Exchange the bits of ``b`` under ``mask`` with those of ``a`` that stand ``shift`` higher."""
    t = ((a >> shift) ^ b) & mask
    return a ^ _U(t << shift), b ^ t


@kernel
def _permute_in(left: Int, right: Int) -> tuple[Int, Int]:
    """The initial permutation."""
    left, right = _swap(left, right, _U(4), _U(0x0F0F0F0F))
    left, right = _swap(left, right, _U(16), _U(0x0000FFFF))
    right, left = _swap(right, left, _U(2), _U(0x33333333))
    right, left = _swap(right, left, _U(8), _U(0x00FF00FF))
    left, right = _swap(left, right, _U(1), _U(0x55555555))
    return left, right


@kernel
def _permute_out(left: Int, right: Int) -> tuple[Int, Int]:
    """The final permutation: the initial one undone."""
    left, right = _swap(left, right, _U(1), _U(0x55555555))
    right, left = _swap(right, left, _U(8), _U(0x00FF00FF))
    right, left = _swap(right, left, _U(2), _U(0x33333333))
    left, right = _swap(left, right, _U(16), _U(0x0000FFFF))
    left, right = _swap(left, right, _U(4), _U(0x0F0F0F0F))
    return left, right
