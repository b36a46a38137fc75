"""From a 128-bit key to the row of a dense table: open addressing that grows without a pause.

A slot holds the two halves of the key (``hash`` finds the place, ``check`` verifies) and the row.
Keys are keyed hashes or tokens, so their low bits are uniform already and nothing is mixed again.
Collisions go to the next slot (linear probing), and a removal shifts later entries back (Knuth, The
Art of Computer Programming 3, 6.4, algorithm R), so there are no tombstones.

``slots`` is one array: ``capacity`` slots, then one header slot, then a log. While a new table is
built beside the old one, every insert and removal, from whatever kernel, is also written to the
log; the log is replayed onto the new table before it takes over, so nothing removed comes back and
nothing added is lost. Invariants: the capacity is a power of two; at least one slot in eight stays
empty, so every probe ends; header ``hash`` is the number of entries, ``check`` the most allowed and
``entry`` the log position (negative = no log is kept).
"""

import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.jit import hot_kernel, kernel, prefetch

SLOT = np.dtype(
    [
        ("hash", "<u8"),
        ("check", "<u8"),
        ("entry", "<i8"),  # row + 1; 0 = empty, so that fresh memory from the OS is an empty table
    ]
)
assert SLOT.itemsize == 24

CAPACITY_MIN = 64
LOG_SHARE = 2  # log entries = capacity / LOG_SHARE; memory is touched only when written
CHUNK_ROWS = 16_384  # rows a builder takes at once: about 1 ms with the interpreter held
_HALF, _LATER = 4, 5  # eighths of a table that are filled when it begins to grow
REPLAY_MAX = 16_384  # log entries the owner replays in one go: about 5 ms on a cold table

Slots: TypeAlias = NDArray[np.void]
Keys: TypeAlias = NDArray[np.uint64]
Rows: TypeAlias = NDArray[np.int64]
Source: TypeAlias = Callable[[int, int], tuple[Keys, Rows]]


@hot_kernel
def index_find(slots: Slots, hash_: Any, check: Any) -> Any:
    """Return the row of key (``hash_``, ``check``), both u64, or -1.

    Of several entries with one key, the one inserted first is found. ``slots`` is SLOT[:].
    """
    capacity = header_of(slots)
    mask = np.uint64(capacity - 1)
    place = np.uint64(hash_) & mask
    for _ in range(capacity):
        slot = slots[place]
        if slot["entry"] == 0:
            return np.int64(-1)
        if slot["hash"] == hash_ and slot["check"] == check:
            return np.int64(slot["entry"] - 1)
        place = (place + np.uint64(1)) & mask
    return np.int64(-1)


@hot_kernel
def index_count(slots: Slots) -> Any:
    """Return how many entries there are, u64."""
    return slots[header_of(slots)]["hash"]


@kernel
def index_fetch(slots: Slots, hash_: Any) -> None:
    """Ask for the slot at which ``index_find`` and ``index_insert`` begin to look for ``hash_``."""
    prefetch(slots, np.int64(np.uint64(hash_) & np.uint64(header_of(slots) - 1)))


@hot_kernel
def index_insert(slots: Slots, hash_: Any, check: Any, row: Any) -> Any:
    """Add an entry; return True, or False when the table is full (count it and decline).

    A key that stands already is not looked for: the caller knows, or wants both. ``row`` is i64.
    """
    capacity = header_of(slots)
    if slots[capacity]["hash"] >= slots[capacity]["check"]:
        return False
    if slots[capacity]["entry"] >= 0 and not _log(slots, capacity, hash_, check, row + 1):
        return False
    _place(slots, capacity, hash_, check, row + 1)
    return True


@kernel
def index_remove(slots: Slots, hash_: Any, check: Any, row: Any) -> Any:
    """Remove exactly the entry (``hash_``, ``check``, ``row``); return whether it stood there.

    False with the entry still there is possible only while the log of a growth is full; the
    caller leaves the row in place and tries again after ``Index.maintain``.
    """
    capacity = header_of(slots)
    hole = _seek(slots, capacity, hash_, check, row + 1)
    if hole < 0:
        return False
    if slots[capacity]["entry"] >= 0 and not _log(slots, capacity, hash_, check, -(row + 1)):
        return False
    _close(slots, capacity, hole)
    return True


@kernel
def index_find_many(slots: Slots, keys: Keys, n: int, out: Rows) -> None:
    """Write the row of each key, or -1, to ``out`` i64[n]; ``keys`` is u64[n, 2]."""
    for i in range(n):
        out[i] = index_find(slots, keys[i, 0], keys[i, 1])


@kernel
def index_insert_many(slots: Slots, keys: Keys, rows: Rows, n: int) -> Any:
    """Add ``n`` entries, keys u64[n, 2], rows i64[n]; return how many went in before full."""
    for i in range(n):
        if not index_insert(slots, keys[i, 0], keys[i, 1], rows[i]):
            return i
    return n


@hot_kernel
def header_of(slots: Slots) -> Any:
    """Return the position of the header slot, which equals the capacity."""
    # capacity + 1 + capacity / LOG_SHARE slots in all.
    return (slots.shape[0] - 1) // (LOG_SHARE + 1) * LOG_SHARE


@hot_kernel
def _place(slots: Slots, capacity: Any, hash_: Any, check: Any, entry: Any) -> None:
    mask = np.uint64(capacity - 1)
    place = np.uint64(hash_) & mask
    while slots[place]["entry"] != 0:  # ends: one slot in eight is empty
        place = (place + np.uint64(1)) & mask
    slot = slots[place]
    slot["hash"] = hash_
    slot["check"] = check
    slot["entry"] = entry
    slots[capacity]["hash"] += np.uint64(1)


@kernel
def _seek(slots: Slots, capacity: Any, hash_: Any, check: Any, entry: Any) -> Any:
    mask = np.uint64(capacity - 1)
    place = np.uint64(hash_) & mask
    for _ in range(capacity):
        slot = slots[place]
        if slot["entry"] == 0:
            return np.int64(-1)
        if slot["entry"] == entry and slot["hash"] == hash_ and slot["check"] == check:
            return np.int64(place)
        place = (place + np.uint64(1)) & mask
    return np.int64(-1)


@kernel
def _close(slots: Slots, capacity: Any, hole: Any) -> None:
    """Empty the slot ``hole`` and shift back every later entry that a probe would miss."""
    mask = np.uint64(capacity - 1)
    free = np.uint64(hole)
    place = (free + np.uint64(1)) & mask
    while slots[place]["entry"] != 0:
        home = slots[place]["hash"] & mask
        # It may move when its home does not lie in the cyclic stretch (free, place].
        if ((place - home) & mask) >= ((place - free) & mask):
            slots[free]["hash"] = slots[place]["hash"]
            slots[free]["check"] = slots[place]["check"]
            slots[free]["entry"] = slots[place]["entry"]
            free = place
        place = (place + np.uint64(1)) & mask
    slots[free]["hash"] = np.uint64(0)
    slots[free]["check"] = np.uint64(0)
    slots[free]["entry"] = np.int64(0)
    slots[capacity]["hash"] -= np.uint64(1)


@kernel
def _log(slots: Slots, capacity: Any, hash_: Any, check: Any, signed_entry: Any) -> Any:
    """Append to the log: entry > 0 = inserted, < 0 = removed; False when the log is full."""
    position = slots[capacity]["entry"]
    if capacity + 1 + position >= slots.shape[0]:
        return False
    slot = slots[capacity + 1 + position]
    slot["hash"] = hash_
    slot["check"] = check
    slot["entry"] = signed_entry
    slots[capacity]["entry"] = position + 1
    return True


@kernel
def _replay(old: Slots, first: Any, last: Any, new: Slots) -> Any:
    """Do what log entries [first, last) of ``old`` say on ``new``; False when ``new`` is full."""
    log = header_of(old) + 1
    capacity = header_of(new)
    for i in range(first, last):
        slot = old[log + i]
        if slot["entry"] < 0:
            place = _seek(new, capacity, slot["hash"], slot["check"], -slot["entry"])
            if place >= 0:
                _close(new, capacity, place)
        elif _seek(new, capacity, slot["hash"], slot["check"], slot["entry"]) < 0:
            # The builder may have seen a row that was added after it began: never twice.
            if new[capacity]["hash"] >= new[capacity]["check"]:
                return False
            _place(new, capacity, slot["hash"], slot["check"], slot["entry"])
    return True


class Index:
    """The table with its bound and its growth; one owner thread, plus a builder thread.

    Parameters
    ----------
    rows_max : int
        The most entries it will ever hold; an insert beyond is refused.
    source : callable(first, last) -> (u64[k, 2], i64[k]), optional
        Keys and rows of the owner's dense rows [first, last), k <= last - first; called from the
        builder thread, in pieces. Rows gone before the growth began must be left out (or they come
        back); rows that go meanwhile may be there or not. Without a source the table is made at
        full size at once.
    rows_expected : int
        Room for this many before the first growth. Growth is looked at between batches, so leave
        room for several batches.

    The owner calls ``maintain`` between batches, and uses ``slots`` anew after each call: the
    array is another one after a growth.
    """

    def __init__(
        self, *, rows_max: int, source: Source | None = None, rows_expected: int = 32_768
    ) -> None:
        if rows_max < 1:
            raise ValueError("rows_max is at least 1")
        self._rows_max = rows_max
        self._source = source
        self._capacity_max = _capacity_for(rows_max)
        self._rows_expected = rows_expected
        self.slots: Slots = self._table(self._capacity_at_start(0))
        self._growth: _Growth | None = None
        self.growths = 0  # finished
        self.growths_failed = 0
        self.failure: BaseException | None = None
        self._retry_at = 0

    @property
    def capacity(self) -> int:
        """Slots of the table in use."""
        return int(header_of(self.slots))

    @property
    def count(self) -> int:
        """Entries in the table."""
        return int(self.slots[self.capacity]["hash"])

    @property
    def rows_max(self) -> int:
        """The stated bound."""
        return self._rows_max

    @property
    def bytes(self) -> int:
        """Address space of the table, log included; untouched parts of it take no memory."""
        return int(self.slots.nbytes)

    @property
    def is_growing(self) -> bool:
        """Whether a larger table is being built."""
        return self._growth is not None

    def find(self, hash_: int, check: int) -> int:
        """Return the row of one key, or -1; kernels use ``index_find``."""
        return int(index_find(self.slots, np.uint64(hash_), np.uint64(check)))

    def insert(self, hash_: int, check: int, row: int) -> bool:
        """Add one entry; False when full."""
        return bool(index_insert(self.slots, np.uint64(hash_), np.uint64(check), np.int64(row)))

    def remove(self, hash_: int, check: int, row: int) -> bool:
        """Remove one entry; False when it does not stand there."""
        return bool(index_remove(self.slots, np.uint64(hash_), np.uint64(check), np.int64(row)))

    def find_many(self, keys: Keys, out: Rows) -> None:
        """Write the row of each of ``keys`` u64[n, 2], or -1, to ``out`` i64[n]."""
        index_find_many(self.slots, keys, len(keys), out)

    def insert_many(self, keys: Keys, rows: Rows) -> int:
        """Add entries; return how many went in before the table was full."""
        return int(index_insert_many(self.slots, keys, rows, len(keys)))

    def load(self, keys: Keys, rows: Rows) -> None:
        """Replace the content at start-up: a table of the right size, filled at once.

        Raises ``ValueError`` when there are more than ``rows_max`` rows.
        """
        if len(keys) > self._rows_max:
            raise ValueError(f"{len(keys)} rows, but at most {self._rows_max} are allowed")
        if self._growth is not None:
            self._growth.cancel()
            self._growth = None
        self.slots = self._table(self._capacity_at_start(len(keys)))
        index_insert_many(self.slots, keys, rows, len(keys))

    def maintain(self, row_count: int, *, may_wait: bool = False) -> bool:
        """Start, further or finish a growth; return whether ``slots`` is now another array.

        ``row_count`` is the number of the owner's dense rows, all of them in the table or removed.
        With ``may_wait`` a growth begins later, with a quarter of the table still to fill: builders
        of several tables at once leave the owner too little of a small machine.
        Never waits for the builder, and replays at most REPLAY_MAX log entries itself.
        """
        growth = self._growth
        if growth is None:
            if self._source is not None and self._wants_growth(_LATER if may_wait else _HALF):
                self._begin(self._source, row_count)
            return False
        outcome = growth.advance()
        if outcome is None:
            return False
        self._growth = None
        if outcome is False:
            self._give_up(growth)
            return False
        self.slots = growth.new
        self.slots[self.capacity]["check"] = min(_most(self.capacity), self._rows_max)
        self.growths += 1
        return True

    def make_room(self, rows: int, row_count: int) -> None:
        """Grow until ``rows`` more entries fit or the bound is reached; ``row_count`` as above.

        Waits for the builder, so it is for a start, where nobody waits for an answer yet.
        """
        failed = self.growths_failed
        while self._source is not None and self.growths_failed == failed:
            if self._growth is not None:
                self._growth.wait()
                self.maintain(row_count)
            elif self.capacity < self._capacity_max and self.count + rows > _most(self.capacity):
                self._begin(self._source, row_count)
            else:
                return

    def close(self) -> None:
        """Stop a growth that is under way and wait for its thread."""
        if self._growth is not None:
            self._growth.cancel()
            self._growth = None

    def _begin(self, source: Source, row_count: int) -> None:
        larger = self._table(self.capacity * 2)
        # The source may hand out rows that go meanwhile: the bound holds from the swap on.
        larger[self.capacity * 2]["check"] = _most(self.capacity * 2)
        self._growth = _Growth(self.slots, larger)
        self._growth.start(source, row_count)

    def _wants_growth(self, eighths: int) -> bool:
        capacity, count = self.capacity, self.count
        is_filled = count * 8 > capacity * eighths
        return capacity < self._capacity_max and is_filled and count >= self._retry_at

    def _capacity_at_start(self, rows: int) -> int:
        if self._source is None:
            return self._capacity_max
        room = 2 * max(rows, self._rows_expected, CAPACITY_MIN // 2)
        return min(1 << (room - 1).bit_length(), self._capacity_max)

    def _give_up(self, growth: "_Growth") -> None:
        """Keep the old table; try again when it has filled by another 1/32."""
        self.slots[self.capacity]["entry"] = -1
        self.failure = growth.failure
        self.growths_failed += 1
        self._retry_at = self.count + self.capacity // 32

    def _table(self, capacity: int) -> Slots:
        slots = np.zeros(capacity + 1 + capacity // LOG_SHARE, SLOT)
        slots[capacity]["check"] = min(_most(capacity), self._rows_max)
        slots[capacity]["entry"] = -1
        return slots


class _Growth:
    """A larger table on its way: built from the source, then brought up to date from the log."""

    def __init__(self, old: Slots, new: Slots) -> None:
        self._old = old
        self.new = new
        self.failure: BaseException | None = None
        self._published = 0  # log entries that are complete: set by the owner, read by the builder
        self._replayed = 0
        self._cancelled = False
        self._is_idle = threading.Event()  # the builder waits for the owner
        self._wake = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    def start(self, source: Source, row_count: int) -> None:
        """Begin to log, then to build; called by the owner."""
        self._old[header_of(self._old)]["entry"] = 0
        self._thread = threading.Thread(
            target=self._build, args=(source, row_count), name="index-growth", daemon=True
        )
        self._thread.start()

    def advance(self) -> bool | None:
        """Owner, between batches: None = still building, True = swap now, False = failed."""
        if not self._is_idle.is_set():
            return None
        logged = int(self._old[header_of(self._old)]["entry"])
        if self.failure is not None:
            return False
        if logged - self._replayed > REPLAY_MAX:
            # Too much for one pause: the builder takes what stands so far.
            self._published = logged
            self._is_idle.clear()
            self._wake.release()
            return None
        done = bool(_replay(self._old, self._replayed, logged, self.new))
        self._stop()
        return done

    def wait(self) -> None:
        """Wait until the builder has done what it can without the owner."""
        self._is_idle.wait()

    def cancel(self) -> None:
        """Throw the new table away; called by the owner."""
        self._old[header_of(self._old)]["entry"] = -1
        self._stop()

    def _stop(self) -> None:
        self._cancelled = True
        self._wake.release()
        if self._thread is not None:
            self._thread.join()

    def _build(self, source: Source, row_count: int) -> None:
        try:
            for first in range(0, row_count, CHUNK_ROWS):
                keys, rows = source(first, min(first + CHUNK_ROWS, row_count))
                if index_insert_many(self.new, keys, rows, len(keys)) < len(keys):
                    raise OverflowError("the source has more rows than the larger table takes")  # noqa: TRY301
                if self._cancelled:
                    return
            while not self._cancelled:
                self._catch_up()
                self._is_idle.set()
                self._wake.acquire()
        except BaseException as problem:  # handed to the owner, who keeps the old table
            self.failure = problem
            self._is_idle.set()

    def _catch_up(self) -> None:
        while self._replayed < self._published and not self._cancelled:
            last = min(self._replayed + REPLAY_MAX, self._published)
            if not _replay(self._old, self._replayed, last, self.new):
                raise OverflowError("the larger table is full already")
            self._replayed = last


def _capacity_for(rows: int) -> int:
    """Return the smallest power of two that holds ``rows`` at a load of at most 0.7."""
    return 1 << max(CAPACITY_MIN.bit_length() - 1, (rows * 10 // 7).bit_length())


def _most(capacity: int) -> int:
    """Return the entries a table of ``capacity`` may hold: one slot in eight stays empty."""
    return capacity - capacity // 8
