"""Merkle trees of RFC 6962: roots, inclusion proofs and consistency proofs.

``get(level, index)`` returns the hash of the complete subtree over leaves
[index << level, (index + 1) << level); where the hashes come from is the caller's matter.
"""

import hashlib
from collections.abc import Callable, Sequence

Get = Callable[[int, int], bytes]
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf that holds ``data``."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


def getter(leaves: Sequence[bytes]) -> Get:
    """Return the subtree hashes over leaf hashes that are all in memory."""

    def get(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        return node_hash(get(level - 1, 2 * index), get(level - 1, 2 * index + 1))

    return get


def root(get: Get, size: int) -> bytes:
    """Return the root of the tree over the first ``size`` leaves."""
    return range_root(get, 0, size) if size else EMPTY_ROOT


def range_root(get: Get, low: int, high: int) -> bytes:
    """Return the root over leaves [low, high), a stretch that RFC 6962 splits off."""
    size = high - low
    if size & (size - 1) == 0 and low % size == 0:
        level = size.bit_length() - 1
        return get(level, low >> level)
    middle = low + _split(size)
    return node_hash(range_root(get, low, middle), range_root(get, middle, high))


def inclusion(get: Get, index: int, size: int) -> list[bytes]:
    """Return the hashes that lead from leaf ``index`` to the root over ``size`` leaves, upward."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    low, high = 0, size
    path: list[bytes] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(range_root(get, middle, high))
            high = middle
        else:
            path.append(range_root(get, low, middle))
            low = middle
    return path[::-1]


def consistency(get: Get, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of ``old`` leaves is a beginning of the one of ``new``."""
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof from {old} to {new}")
    low, high = 0, new
    path: list[bytes] = []
    while high != old:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(range_root(get, middle, high))
            high = middle
        else:
            path.append(range_root(get, low, middle))
            low = middle
    if low:  # the old root itself is known to whoever asks
        path.append(range_root(get, low, high))
    return path[::-1]


def _split(size: int) -> int:
    """Return the largest power of two below ``size``, which is over 1."""
    return 1 << (size - 1).bit_length() - 1
