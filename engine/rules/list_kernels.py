"""Entries of lists as kernels find them: one hash table for all lists, snoozes of rules included.

An entry is a 64-bit key in the list with a 64-bit number; the number is a hash of the list's name
(``list_number``), so a rule set is compiled without asking which lists have entries. Keys of
numbers are the bits of the float64 that the column holds; merchants and terminals are keys already.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from engine.rules.columns import BY_NAME
from engine.rules.tree import Operator
from ledger.index import index_find, index_remove
from ledger.jit import Int, kernel

LIST_ENTRY = np.dtype(
    [
        ("list", "<u8"),  # number of the list; 0 = the row is free
        ("key", "<u8"),
        ("added_s", "<u4"),  # Unix seconds
        ("until_s", "<u4"),  # counts before this second; FOREVER = no end
    ]
)
assert LIST_ENTRY.itemsize == 24
FOREVER = 0xFFFFFFFF
_UNIX = BY_NAME["unix_s"].index
_IN = int(Operator.IN)
SNOOZE_PREFIX = "snooze:"  # no list of a rule file can be called so

_MIX_A, _MIX_B, _GOLDEN = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15


def list_number(name: str) -> int:
    """Return the number of the list ``name``: 64 bits of its SHA-256, never 0."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") or 1


def snooze_name(rule: str) -> str:
    """Return the name of the list of cards for which ``rule`` does not act."""
    return SNOOZE_PREFIX + rule


def key_from_value(value: float, *, is_key: bool) -> int:
    """Return the key of a constant: itself, or the bits of its float64."""
    if is_key:
        return int(value)
    return int(np.array([value + 0.0]).view(np.uint64)[0])


@kernel
def mixed(value: Int) -> np.uint64:
    """Return 64 mixed bits (the finalizer of SplitMix64)."""
    word = np.uint64(value) + np.uint64(_GOLDEN)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(_MIX_A)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(_MIX_B)
    return word ^ (word >> np.uint64(31))


@kernel
def entry_hash(list_: Int, key: Int) -> tuple[np.uint64, np.uint64]:
    """Return the two halves under which the index keeps ``key`` of ``list_``."""
    number = np.uint64(list_)
    word = np.uint64(key)
    return mixed(word ^ mixed(number)), word ^ number


@kernel
def is_listed(
    list_: Int,
    key: Int,
    now_s: Int,
    ttl_s: Int,
    slots: NDArray[np.void],
    entries: NDArray[np.void],
) -> bool:
    """Return whether ``key`` is in the list at ``now_s`` and was added less than ``ttl_s`` ago.

    Parameters
    ----------
    ttl_s : 0 = however long ago; slots : SLOT[:] of the index; entries : LIST_ENTRY[:].
    """
    hash_, check = entry_hash(list_, key)
    row = index_find(slots, hash_, check)
    if row < 0:
        return False
    entry = entries[row]
    if now_s >= np.int64(entry["until_s"]):
        return False
    return ttl_s == 0 or now_s < np.int64(entry["added_s"]) + ttl_s


@kernel
def listed(
    values: NDArray[np.float64],
    keys: NDArray[np.uint64],
    part: NDArray[np.int32],
    predicate: np.void,
    list_keys: NDArray[np.uint64],
    lists: tuple[NDArray[np.void], NDArray[np.void]],
) -> np.uint64:
    """Return membership of the rows ``part``, bit j for row part[j]: in the file or in the list.

    ``values`` f64[n, columns] and ``keys``, its view as u64; ``predicate`` and ``list_keys`` of a
    Program; ``lists`` as ``kernels.evaluate`` takes them.
    """
    column = np.int64(predicate["column"])
    is_wanted = predicate["operator"] == _IN
    start = predicate["list_start"]
    end = start + predicate["list_size"]
    word = np.uint64(0)
    for j in range(len(part)):
        key = keys[part[j], column]
        if predicate["is_key"] != 0:
            if key == np.uint64(0):
                continue
        else:
            value = values[part[j], column]
            if value != value:  # noqa: PLR0124 - only NaN differs from itself
                continue
            if value == 0.0:
                key = np.uint64(0)  # -0 too
        is_member = _is_member(key, list_keys, start, end)
        if not is_member and predicate["list"] != np.uint64(0):
            now_s = np.int64(values[part[j], _UNIX])
            ttl_s = np.int64(predicate["ttl_s"])
            is_member = is_listed(predicate["list"], key, now_s, ttl_s, lists[0], lists[1])
        if is_member == is_wanted:
            word |= np.uint64(1) << np.uint64(j)
    return word


@kernel
def _is_member(key: np.uint64, list_keys: NDArray[np.uint64], start: int, end: int) -> bool:
    """Return whether the sorted slice start..end holds ``key``, by bisection."""
    low = start
    high = end
    while low < high:
        middle = (low + high) >> 1
        if list_keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low < end and list_keys[low] == key


@kernel
def hash_many(list_: Int, keys: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Write the index keys of ``keys`` u64[n] in ``list_`` to ``out`` u64[n, 2]."""
    for i in range(keys.shape[0]):
        out[i, 0], out[i, 1] = entry_hash(list_, keys[i])


@kernel
def remove_many(
    slots: NDArray[np.void], pairs: NDArray[np.uint64], rows: NDArray[np.int64]
) -> None:
    """Take the entries ``pairs`` u64[n, 2] of ``rows`` i64[n] out of the index."""
    for i in range(rows.shape[0]):
        index_remove(slots, pairs[i, 0], pairs[i, 1], rows[i])
