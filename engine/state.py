"""Everything the journal folds into: accounts, cards, holds, velocities, and the indexes over them.

Arrays are allocated at their stated bound and touched only as they fill, so they never move; the
indexes grow by whole new tables off the hot path. ``arrays`` names what a snapshot keeps and the
state hash covers; indexes and tokens are left out: they are rebuilt (tokens live in the vault).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.card_checks import new_chips
from engine.cards import new_cards
from engine.rules.book import RuleBook
from engine.zones import new_card_zones
from ledger.accounts import new_accounts
from ledger.authorizations import Cursor, State, new_cursor, new_ring, remembered_rows
from ledger.clearings import new_posted
from ledger.deadlines import Wheel, new_wheel, rebuild
from ledger.index import Index
from scoring import velocity

_MESSAGES_EXPECTED = 1 << 18  # room before the first growth: a second or two of full load
CLEARINGS_REMEMBERED = 1 << 21  # ids of clearing and repayment
BIN_ROWS = 1_000_000  # BIN velocity is indexed by the first six digits themselves


@dataclass(frozen=True, slots=True)
class Bounds:
    """Rows each table may hold; past them requests are declined and counted, never queued."""

    accounts_max: int = 1 << 20
    cards_max: int = 1 << 20
    merchants_max: int = 1 << 20
    authorizations_max: int = 1 << 22
    authorizations_expected: int = _MESSAGES_EXPECTED  # indexes have room for these at the start
    clearings_max: int = CLEARINGS_REMEMBERED


@dataclass(slots=True)
class EngineState:
    """The arrays and indexes of one partition; one owner thread."""

    bounds: Bounds
    accounts: NDArray[np.void] = field(init=False)
    cards: NDArray[np.void] = field(init=False)
    chips: NDArray[np.void] = field(init=False)
    card_zones: NDArray[np.uint16] = field(init=False)
    tokens: NDArray[np.uint64] = field(init=False)
    ring: NDArray[np.void] = field(init=False)
    wheel: Wheel = field(init=False)
    posted: NDArray[np.void] = field(init=False)
    merchants: NDArray[np.uint64] = field(init=False)
    card_velocity: NDArray[np.void] = field(init=False)
    merchant_velocity: NDArray[np.void] = field(init=False)
    bin_velocity: NDArray[np.void] = field(init=False)
    cursor: NDArray[np.int64] = field(init=False)
    card_index: Index = field(init=False)
    id_index: Index = field(init=False)
    rrn_index: Index = field(init=False)
    lives: NDArray[np.uint64] = field(init=False)  # lifecycle ids of the ring's rows; 0 = none
    life_index: Index = field(init=False)
    merchant_index: Index = field(init=False)
    rules: RuleBook = field(init=False)
    posted_index: Index = field(init=False)

    def __post_init__(self) -> None:
        bounds = self.bounds
        self.accounts = new_accounts(bounds.accounts_max + 1)
        self.cards = new_cards(bounds.cards_max + 1)
        self.chips = new_chips(bounds.cards_max + 1)
        self.card_zones = new_card_zones(bounds.cards_max + 1)
        self.tokens = np.zeros((bounds.cards_max + 1, 2), np.uint64)
        self.ring = new_ring(bounds.authorizations_max)
        self.wheel = new_wheel(bounds.authorizations_max)
        self.posted = new_posted(bounds.clearings_max)
        self.merchants = np.zeros(bounds.merchants_max, np.uint64)
        self.card_velocity = velocity.new_cards(bounds.cards_max + 1)
        self.merchant_velocity = velocity.new_merchants(bounds.merchants_max)
        self.bin_velocity = velocity.new_merchants(BIN_ROWS)
        self.cursor = new_cursor()
        self.rules = RuleBook()
        ring = len(self.ring)
        expected = min(ring, bounds.authorizations_expected)
        self.card_index = Index(rows_max=bounds.cards_max, source=self._card_keys)
        self.id_index = Index(rows_max=ring, source=self._id_keys, rows_expected=expected)
        self.rrn_index = Index(rows_max=ring, source=self._rrn_keys, rows_expected=expected)
        self.lives = np.zeros((ring, 2), np.uint64)
        self.life_index = Index(rows_max=ring, source=self._life_keys, rows_expected=expected)
        self.merchant_index = Index(rows_max=bounds.merchants_max, source=self._merchant_keys)
        self.posted_index = Index(rows_max=bounds.clearings_max, source=self._posted_keys)

    @property
    def next_seq(self) -> int:
        """The number the next record gets."""
        return int(self.cursor[Cursor.NEXT_SEQ])

    @property
    def account_count(self) -> int:
        """The last account number given out."""
        return int(self.cursor[Cursor.ACCOUNTS])

    @property
    def card_count(self) -> int:
        """The last card number given out."""
        return int(self.cursor[Cursor.CARDS])

    def add_tokens(self, numbers: NDArray[np.integer[Any]], tokens: NDArray[np.uint64]) -> None:
        """Let cards be found by token: ``tokens`` u64 (k, 2) of the cards ``numbers`` (k,).

        Numbers follow each other, and all cards with lower numbers can be found already.
        """
        keys = np.ascontiguousarray(tokens)
        rows = np.ascontiguousarray(numbers, np.int64)
        added = 0
        while added < len(rows):  # again when the table was full and a larger one is ready
            count = self.card_index.insert_many(keys[added:], rows[added:])
            # Only now: a growth under way takes what stands here, and would take it twice.
            self.tokens[rows[added : added + count]] = keys[added : added + count]
            added += count
            self.card_index.maintain(int(rows[0]) + added)

    def load_tokens(self, numbers: NDArray[np.integer[Any]], tokens: NDArray[np.uint64]) -> None:
        """Replace the token index at start-up."""
        self.tokens[numbers] = tokens
        self.card_index.load(np.ascontiguousarray(tokens), np.ascontiguousarray(numbers, np.int64))

    def tables(self) -> tuple[NDArray[Any], ...]:
        """Return what finds a row of the ring, as ``engine.entries`` takes it."""
        return self.id_index.slots, self.rrn_index.slots, self.life_index.slots, self.lives

    def maintain(self) -> None:
        """Between batches: start, further or finish the growth of an index. Never waits."""
        head = int(self.cursor[Cursor.HEAD])
        self.card_index.maintain(self.card_count + 1)
        self.id_index.maintain(head + 1)
        self.rrn_index.maintain(head + 1, may_wait=self.id_index.is_growing)
        self.life_index.maintain(head + 1, may_wait=self.rrn_index.is_growing)
        self.merchant_index.maintain(int(self.cursor[Cursor.MERCHANTS]) + 1)
        self.rules.lists.maintain()
        self.posted_index.maintain(int(self.cursor[Cursor.POSTED]) + 1)

    def make_room(self, records: int) -> None:
        """Wait until the indexes take what ``records`` more ledger records may add to them."""
        head = int(self.cursor[Cursor.HEAD])
        self.id_index.make_room(2 * records, head + 1)  # an orphan plants a tombstone too
        self.rrn_index.make_room(2 * records, head + 1)
        self.life_index.make_room(2 * records, head + 1)
        self.merchant_index.make_room(records, int(self.cursor[Cursor.MERCHANTS]) + 1)
        self.make_room_for_posted(records)

    def make_room_for_posted(self, items: int) -> None:
        """Wait until the index of clearing ids takes ``items`` more."""
        self.posted_index.make_room(items + 1, int(self.cursor[Cursor.POSTED]) + 1)

    def close(self) -> None:
        """Stop the builder threads of growths under way."""
        for index in (
            self.card_index,
            self.id_index,
            self.rrn_index,
            self.life_index,
            self.merchant_index,
            self.posted_index,
        ):
            index.close()
        self.rules.lists.close()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what the journal folds into, trimmed to what is in use, by name.

        The ring comes as its living rows in order of entry; BIN counters as the rows in use and
        their numbers. Sweep position and engine time are left out: the one follows from the ring,
        the other moves with messages that leave no record.
        """
        cursor = self.cursor.copy()
        cursor[Cursor.SWEEP] = 0
        cursor[Cursor.REFUSED] = 0
        cursor[Cursor.LAST_TS_NS] = 0
        merchant_rows = int(cursor[Cursor.MERCHANTS]) + 1
        self.rules.advance(self.next_seq - 1)
        used_bins = np.flatnonzero(self.bin_velocity["updated_s"]).astype(np.int64)
        return {
            "accounts": self.accounts[: self.account_count + 1],
            "cards": self.cards[: self.card_count + 1],
            "chips": self.chips[: self.card_count + 1],
            "card_zones": self.card_zones[: self.card_count + 1],
            "ring": self.ring[self._ring_places()],
            **self._lives_in_use(),
            "posted": self.posted[self._posted_places()],
            "merchants": self.merchants[:merchant_rows],
            "card_velocity": self.card_velocity[: self.card_count + 1],
            "merchant_velocity": self.merchant_velocity[:merchant_rows],
            "bins": used_bins,
            "bin_velocity": self.bin_velocity[used_bins],
            "cursor": cursor,
            **self.rules.arrays(),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over a snapshot's ``arrays``; ``ValueError`` names a bound that is too small."""
        self.cursor[:] = arrays["cursor"]
        bounds = self.bounds
        for name, key, limit in (
            ("limits.accounts_max", "accounts", bounds.accounts_max + 1),
            ("limits.cards_max", "cards", bounds.cards_max + 1),
            ("limits.merchants_max", "merchants", bounds.merchants_max),
        ):
            if len(arrays[key]) > limit:
                msg = f"{name} is below what the ledger holds already: {len(arrays[key])} {key}"
                raise ValueError(msg)
        holding = np.flatnonzero(arrays["ring"]["state"] == State.OPEN)
        needed = len(arrays["ring"]) - int(holding[0]) if len(holding) else 0
        if needed > remembered_rows(len(self.ring)):
            msg = f"limits.authorizations_max is too low: a hold is open since {needed} requests"
            raise ValueError(msg)
        for key in ("accounts", "cards", "merchants", "card_velocity", "merchant_velocity"):
            getattr(self, key)[: len(arrays[key])] = arrays[key]
        for key in ("chips", "card_zones"):  # a snapshot of a version without them has seen none
            if key in arrays:
                getattr(self, key)[: len(arrays[key])] = arrays[key]
        self.bin_velocity[arrays["bins"]] = arrays["bin_velocity"]
        ring = arrays["ring"][-len(self.ring) :]
        first = int(self.cursor[Cursor.HEAD]) + 1 - len(ring)
        places = np.arange(first, first + len(ring), dtype=np.int64) & (len(self.ring) - 1)
        self.ring[places] = ring
        self._restore_lives(arrays)
        rebuild(self.ring, np.int64(first), self.wheel, self.cursor)
        posted = arrays["posted"][-len(self.posted) :]
        first = int(self.cursor[Cursor.POSTED]) + 1 - len(posted)
        places = np.arange(first, first + len(posted), dtype=np.int64) & (len(self.posted) - 1)
        self.posted[places] = posted
        if len(ring):
            self.cursor[Cursor.LAST_TS_NS] = int(ring["t_s"].max()) * 1_000_000_000
        self.rules.restore(arrays)
        self.rebuild_indexes()

    def rebuild_indexes(self) -> None:
        """Fill the indexes over ring and merchants from their rows."""
        head = int(self.cursor[Cursor.HEAD])
        first = max(0, head + 1 - len(self.ring))
        self.id_index.load(*self._id_keys(first, head + 1))
        self.rrn_index.load(*self._rrn_keys(first, head + 1))
        self.life_index.load(*self._life_keys(first, head + 1))
        self.merchant_index.load(*self._merchant_keys(0, int(self.cursor[Cursor.MERCHANTS]) + 1))
        self.posted_index.load(*self._posted_keys(0, int(self.cursor[Cursor.POSTED]) + 1))

    def _ring_places(self) -> NDArray[np.int64]:
        head = int(self.cursor[Cursor.HEAD])
        first = max(1, head + 1 - len(self.ring))
        return np.arange(first, head + 1, dtype=np.int64) & (len(self.ring) - 1)

    def _posted_places(self) -> NDArray[np.int64]:
        last = int(self.cursor[Cursor.POSTED])
        first = max(1, last + 1 - len(self.posted))
        return np.arange(first, last + 1, dtype=np.int64) & (len(self.posted) - 1)

    def _posted_keys(self, first: int, last: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        oldest = max(1, int(self.cursor[Cursor.POSTED]) + 1 - len(self.posted))
        numbers = np.arange(max(first, oldest), max(last, oldest), dtype=np.int64)
        rows = self.posted[numbers & (len(self.posted) - 1)]
        return _present(rows["id_lo"], rows["id_hi"], numbers)

    def _ring_rows(self, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        remembered = remembered_rows(len(self.ring))
        oldest = max(1, int(self.cursor[Cursor.HEAD]) + 1 - remembered)
        entries = np.arange(max(first, oldest), max(last, oldest), dtype=np.int64)
        rows = self.ring[entries & (len(self.ring) - 1)]
        alive = rows["state"] != State.EMPTY
        return entries[alive], rows[alive]

    def _id_keys(self, first: int, last: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        entries, rows = self._ring_rows(first, last)
        return _present(rows["id_lo"], rows["id_hi"], entries)

    def _rrn_keys(self, first: int, last: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        entries, rows = self._ring_rows(first, last)
        return _present(rows["rrn_lo"], rows["rrn_hi"], entries)

    def _life_keys(self, first: int, last: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        entries, _ = self._ring_rows(first, last)
        keys = self.lives[entries & (len(self.ring) - 1)]
        return _present(keys[:, 1], keys[:, 0], entries)

    def _lives_in_use(self) -> dict[str, NDArray[Any]]:
        """Return the lifecycle ids of the rows that have one, by entry; nothing where none has."""
        if not self.life_index.count:
            return {}
        keys, entries = self._life_keys(0, int(self.cursor[Cursor.HEAD]) + 1)
        return {"life_entries": entries, "lives": keys[:, ::-1].copy()}

    def _restore_lives(self, arrays: dict[str, NDArray[Any]]) -> None:
        if "lives" not in arrays:
            return
        kept, mask = remembered_rows(len(self.ring)), len(self.ring) - 1
        is_kept = arrays["life_entries"] > int(self.cursor[Cursor.HEAD]) - kept
        entries = arrays["life_entries"][is_kept]
        self.lives[entries & mask] = arrays["lives"][is_kept]

    def _card_keys(self, first: int, last: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        keys = self.tokens[first:last]
        return _present(keys[:, 0], keys[:, 1], np.arange(first, first + len(keys)))

    def _merchant_keys(self, first: int, last: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        hashes = self.merchants[first:last]
        return _present(hashes, hashes, np.arange(first, first + len(hashes)))


def _present(
    hashes: NDArray[np.uint64], checks: NDArray[np.uint64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return keys u64 (k, 2) and rows i64 (k,) of those that have a key."""
    known = (hashes != 0) | (checks != 0)
    keys = np.empty((int(known.sum()), 2), np.uint64)
    keys[:, 0] = hashes[known]
    keys[:, 1] = checks[known]
    return keys, np.ascontiguousarray(rows[known], np.int64)
