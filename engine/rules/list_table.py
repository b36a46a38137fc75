"""Lists that change while serving: entries in one table with one index, and their canonical form.

The table is what the journal's LIST records fold into. Entries have a bound; at the bound those
whose time is over make room, and then the change is refused.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.rules.columns import ColumnType
from engine.rules.list_kernels import LIST_ENTRY, hash_many, remove_many
from engine.rules.values import terminal_text
from ledger.index import Index

Tables: TypeAlias = tuple[NDArray[np.void], NDArray[np.void]]
ENTRIES_MAX = 1 << 22  # of all lists together; memory is touched only as entries come


class ListTable:
    """Entries by (list number, key); one owner thread."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self.entries: NDArray[np.void] = np.zeros(entries_max, LIST_ENTRY)
        self._index = Index(rows_max=entries_max, source=self._keys_of)
        self._used = 0  # rows that were ever in use: the rest is untouched
        self._free: list[int] = []
        self.counts: dict[int, int] = {}  # entries of each list, those whose time is over too

    @property
    def tables(self) -> Tables:
        """What kernels look in: index slots and entries; anew after each change."""
        return (self._index.slots, self.entries)

    @property
    def count(self) -> int:
        """Entries of all lists."""
        return self._used - len(self._free)

    def room(self, now_s: int) -> int:
        """Return how many entries may still come at ``now_s``."""
        over = 0
        if self.count + 1 > len(self.entries) // 2:
            over = int((self._rows()["until_s"] <= now_s).sum())
        return len(self.entries) - self.count + over

    def add(self, list_: int, keys: NDArray[np.uint64], now_s: int, until_s: int) -> None:
        """Put ``keys`` u64[n], each once, into a list; one that is there is dated anew."""
        rows = self.find(list_, keys)
        new = keys[rows < 0]
        if len(new) > len(self.entries) - self.count:
            self._drop_over(now_s)
            rows = self.find(list_, keys)
            new = keys[rows < 0]
        known = self.entries[rows[rows >= 0]]
        known["added_s"], known["until_s"] = now_s, until_s
        self.entries[rows[rows >= 0]] = known
        places = self._take_rows(len(new))
        self._insert(list_, new, places)  # first: a growth must not take the new rows by itself
        fresh = np.zeros(len(new), LIST_ENTRY)
        fresh["list"], fresh["key"] = list_, new
        fresh["added_s"], fresh["until_s"] = now_s, until_s
        self.entries[places] = fresh
        self.counts[list_] = self.counts.get(list_, 0) + len(new)

    def remove(self, list_: int, keys: NDArray[np.uint64]) -> int:
        """Take ``keys`` u64[n] out of a list; return how many were there."""
        rows = self.find(list_, keys)
        self._remove_rows(list_, keys[rows >= 0], rows[rows >= 0])
        return int((rows >= 0).sum())

    def clear(self, list_: int) -> int:
        """Take everything out of a list; return how many there were."""
        entries = self._rows()
        rows = np.flatnonzero(entries["list"] == list_)
        self._remove_rows(list_, np.ascontiguousarray(entries["key"][rows]), rows)
        return len(rows)

    def of(self, list_: int) -> NDArray[np.void]:
        """Return the entries of a list, LIST_ENTRY[n], by key."""
        entries = self._rows()
        mine = entries[entries["list"] == list_]
        return mine[np.argsort(mine["key"], kind="stable")]

    def all_entries(self) -> NDArray[np.void]:
        """Return every entry, LIST_ENTRY[n], by list and key: what a snapshot keeps."""
        entries = self._rows()
        used = entries[entries["list"] != 0]
        return used[np.lexsort((used["key"], used["list"]))]

    def load(self, entries: NDArray[np.void]) -> None:
        """Replace everything by ``entries``; ValueError past the bound."""
        if len(entries) > len(self.entries):
            raise ValueError(f"{len(entries)} list entries, at most {len(self.entries)} fit")
        self.entries[: self._used] = np.zeros(1, LIST_ENTRY)
        self.entries[: len(entries)] = entries
        self._used, self._free = len(entries), []
        self._index.load(*self._keys_of(0, len(entries)))
        numbers, counts = np.unique(entries["list"], return_counts=True)
        self.counts = dict(zip(numbers.tolist(), counts.tolist(), strict=True))

    def maintain(self) -> None:
        """Between batches: start, further or finish a growth of the index."""
        self._index.maintain(self._used)

    def close(self) -> None:
        """Stop a growth under way."""
        self._index.close()

    def find(self, list_: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the row of each of ``keys`` u64[n] in a list, -1 = not there."""
        pairs = _pairs(list_, keys)
        rows = np.empty(len(keys), np.int64)
        self._index.find_many(pairs, rows)
        return rows

    def have(
        self, list_: int, keys: NDArray[np.uint64], now_s: NDArray[np.int64], ttl_s: int
    ) -> NDArray[np.bool_]:
        """Return what ``list_kernels.is_listed`` says of ``keys`` u64[n] at ``now_s`` i64[n]."""
        rows = self.find(list_, keys)
        entries = self.entries[rows]  # of one that is not there the last: it does not count
        until_s = entries["until_s"].astype(np.int64)
        if ttl_s:
            until_s = np.minimum(until_s, entries["added_s"].astype(np.int64) + ttl_s)
        return (rows >= 0) & (now_s < until_s)

    def _rows(self) -> NDArray[np.void]:
        return self.entries[: self._used]

    def _take_rows(self, count: int) -> NDArray[np.int64]:
        reused = [self._free.pop() for _ in range(min(count, len(self._free)))]
        fresh = range(self._used, self._used + count - len(reused))
        self._used += len(fresh)
        return np.array([*reused, *fresh], np.int64)

    def _insert(self, list_: int, keys: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
        self._index.make_room(len(rows), self._used - len(rows))
        added = self._index.insert_many(_pairs(list_, keys), rows)
        assert added == len(rows), "room was made before"

    def _remove_rows(self, list_: int, keys: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
        self._index.close()  # a growth under way would have to be told of each
        remove_many(self._index.slots, _pairs(list_, keys), rows)
        self._free += rows.tolist()
        self.entries[rows] = np.zeros(1, LIST_ENTRY)
        if len(rows):
            self.counts[list_] -= len(rows)

    def _drop_over(self, now_s: int) -> None:
        """Take out every entry whose time is over."""
        entries = self._rows()
        is_over = (entries["list"] != 0) & (entries["until_s"] <= now_s)
        for list_ in np.unique(entries["list"][is_over]).tolist():
            rows = np.flatnonzero(is_over & (entries["list"] == list_))
            self._remove_rows(list_, np.ascontiguousarray(entries["key"][rows]), rows)

    def _keys_of(self, first: int, last: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        entries = self.entries[first:last]
        rows = np.flatnonzero(entries["list"] != 0)
        pairs = np.empty((len(rows), 2), np.uint64)
        for list_ in np.unique(entries["list"][rows]).tolist():
            mine = entries["list"][rows] == list_
            pairs[mine] = _pairs(list_, np.ascontiguousarray(entries["key"][rows[mine]]))
        return pairs, rows + first


def _pairs(list_: int, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    pairs = np.empty((len(keys), 2), np.uint64)
    hash_many(np.uint64(list_), keys, pairs)
    return pairs


def packed(keys: NDArray[np.uint64], size: int) -> Iterator[bytes]:
    """Yield the bytes of ``keys`` u64[n] in pieces of at most ``size`` keys."""
    for first in range(0, len(keys), size):
        yield keys[first : first + size].astype("<u8").tobytes()


def value_of_key(key: int, kind: ColumnType) -> str:
    """Return an entry as a file writes it."""
    if kind is ColumnType.MERCHANT:
        return f"m{key:016x}"
    if kind is ColumnType.TERMINAL:
        return terminal_text(key)
    value = float(np.array([key], np.uint64).view(np.float64)[0])
    return str(int(value)) if value == int(value) else repr(value)


def no_lists() -> Tables:
    """Return empty tables, for rule sets that run on their own."""
    return ListTable(64).tables
