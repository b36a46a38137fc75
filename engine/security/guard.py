"""The cryptographic checks of a batch, and the fields that its answers get from them.

MACs, PINs and card verification values are checked for the whole batch at once, a key at a time.
Chip cryptograms have a key of their own each, so they are the one thing here that is worked a
message at a time (``engine.security.card_guard``).

A key change takes effect for the messages after it, so the MACs of a batch are checked up to each
change, in order: where a batch is cut makes no difference. An answer has the key of its request.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.security.batch import Batch, Rows
from engine.security.card_guard import PIN_VALUE, CardGuard, keep_pin_value
from engine.security.ciphers import Cipher
from engine.security.errors import SecurityError
from engine.security.key_change import KeyChanges
from engine.security.keys import Usage, valid_versions
from engine.security.lay_kernels import put_macs
from engine.security.mac_kernels import (
    Asked,
    ask_for_macs,
    find_macs,
    find_rooms,
    refuse_unchecked,
    room_for,
    settle_macs,
)
from engine.security.macs import Padding, macs
from engine.security.settings import Issuer, SecurityProfile
from engine.security.store import KeyStore
from engine.wire.columns import Fault
from engine.wire.profile import Profile
from engine.wire.table import DialectTable

_NS = 1_000_000_000
_PADDING = {"zeros": Padding.ZEROS, "mark": Padding.MARK}


class MacKey(NamedTuple):
    """A working MAC key, and how messages under it are filled and their MACs cut."""

    cipher: Cipher
    usage: Usage
    padding: Padding
    size: int

    def of(self, data: NDArray[np.uint8], starts: Rows, sizes: Rows) -> NDArray[np.uint8]:
        """Return the MACs u8 (n, 8) as they stand on the wire."""
        made = macs(self.cipher, self.usage, self.padding, data, starts, sizes)
        made[:, self.size :] = 0
        return made


class Guard:
    """Checks one batch after the other; one thread.

    ``profiles`` are numbered from 1 in this order: ``LINK.security`` says which a link has.
    """

    def __init__(
        self,
        store: KeyStore,
        table: DialectTable,
        profiles: Sequence[SecurityProfile],
        cards: CardGuard,
        changes: KeyChanges,
    ) -> None:
        self.store = store
        self.profiles = (SecurityProfile("none"), *profiles)
        self.cards = cards
        self.changes = changes
        self.change(table)
        self._keys: list[MacKey] = []  # of this batch; ``CHECK.wants_mac`` counts them from 1

    def check(self, batch: Batch, count: int, links: NDArray[np.void]) -> None:
        """Fill ``batch.checks`` of the first ``count`` requests."""
        batch.checks[:count] = 0
        self._keys.clear()
        self.cards.begin()
        if not count:
            return
        links = links[: int(batch.request["segment"][count - 1]) + 1]  # those of this batch
        if not links["security"].any():
            return
        seconds = (links["arrival_ns"] // _NS).astype(np.int64)  # when each request came
        self._check_macs_and_changes(batch, count, links, seconds)
        if self.cards.has_issuers:
            self._check_cards(batch, count, links, seconds)

    def _check_cards(
        self, batch: Batch, count: int, links: NDArray[np.void], seconds: Rows
    ) -> None:
        request = batch.request[:count]
        segments = request["segment"]
        numbers, seconds = links["security"][segments], seconds[segments]
        classes = request["mti"] // 100 % 10
        is_payment = (request["mti"] > 0) & (request["mti"] // 10 % 10 == 0) & (numbers != 0)
        is_payment &= ((classes == 1) | (classes == 2)) & (request["fault"] == Fault.NONE)
        rows = np.flatnonzero(is_payment & (batch.checks["decision"][:count] == 0))
        rows = rows[request["pan_length"][rows] > 0]
        for number in np.unique(numbers[rows]).tolist():
            mine = rows[numbers[rows] == number]
            for now_s in np.unique(seconds[mine]).tolist():
                of_second = mine[seconds[mine] == now_s]
                self.cards.check(batch, of_second, self.profiles[number], now_s)

    def dress(self, batch: Batch, reply_count: int) -> None:
        """Ask for room for MACs, and add the chip data of answers."""
        ask_for_macs(batch.checks, reply_count, batch.replies)
        self.cards.dress(batch, reply_count)

    def seal(self, batch: Batch, reply_count: int) -> None:
        """Write the MACs of the answers into the room that was left for them."""
        for number, key in enumerate(self._keys, start=1):
            found = room_for(reply_count)
            count = find_rooms(
                batch.replies, reply_count, number, batch.request, self.table.fields, found
            )
            if not count:
                continue
            starts, sizes = found.starts[:count], found.sizes[:count]
            try:
                made = key.of(batch.out, starts, sizes)
            except SecurityError:
                continue  # the room stays filled with 0: no MAC, and the peer will see it
            put_macs(made, starts + sizes, found.widths, found.codes, batch.out)

    def has_macs(self, number: int) -> bool:
        """Whether links of a profile have a key for authentication codes; 0 = no profile."""
        return bool(self.profiles[number].mac_key)

    def mac_of(self, number: int, data: bytes, now_s: int) -> bytes:
        """Return the MAC, 8 bytes, of what the host says by itself on a link of a profile.

        Under the newest key that is valid at ``now_s``; ``SecurityError`` when none is.
        """
        key = self._mac_keys(self.profiles[number], now_s)[0]
        whole = np.array([0], np.int64), np.array([len(data)], np.int64)
        return key.of(np.frombuffer(data, np.uint8).copy(), *whole).tobytes()

    def note_pin_value(self, card: int, index: int, digits: str) -> None:
        """Take what proves the PIN of a card from now on: PVKI and PVV, or 0 and an offset."""
        keep_pin_value(self.cards.values, card, index, digits)

    def count_calls(self, counts: NDArray[np.int64]) -> None:
        """Let the key store add the calls of its module to ``counts``."""
        self.store.count_calls(counts)

    def change(self, table: DialectTable) -> None:
        """Read fields by these dialects from the next batch on."""
        self.table = self.cards.table = self.changes.table = table
        self._must_have = (table.profile[:, Profile.MAC_REQUIRED] != 0).astype(np.uint8)

    def close(self) -> None:
        """Forget the keys."""
        self.cards.begin()
        self.store.close()

    def _check_macs_and_changes(
        self, batch: Batch, count: int, links: NDArray[np.void], seconds: Rows
    ) -> None:
        """Check MACs up to each key change, make the change, go on behind it."""
        used = zip(links["security"].tolist(), seconds.tolist(), strict=True)
        # Validity of keys goes by the second in which each message came, whatever the batch.
        groups = sorted({group for group in used if self.profiles[group[0]].mac_key})
        first = 0
        segments = batch.request["segment"]
        numbers = links["security"][segments[:count]]
        for row in self.changes.rows(batch, numbers, self.profiles):
            self._check_macs(batch, (first, row + 1), links, groups)
            if batch.checks["decision"][row] == 0:
                profile, now_s = self.profiles[int(numbers[row])], int(seconds[segments[row]])
                batch.checks["decision"][row] = self.changes.make(batch, row, profile, now_s)
            first = row + 1
        self._check_macs(batch, (first, count), links, groups)

    def _check_macs(
        self,
        batch: Batch,
        rows: tuple[int, int],
        links: NDArray[np.void],
        groups: Sequence[tuple[int, int]],
    ) -> None:
        """Check the rows from the first up to behind the last of ``rows``, a group at a time."""
        for number, now_s in groups:
            profile = self.profiles[number]
            classes = sum(1 << int(text) for text in set(profile.mac_classes))
            try:
                self._check_group(batch, rows, links, profile, Asked(number, now_s, classes, 0))
            except SecurityError:
                refuse_unchecked(
                    batch.request,
                    *rows,
                    links,
                    Asked(number, now_s, classes, 0),
                    self._must_have,
                    int(Decision.SECURITY_UNAVAILABLE),
                    batch.checks,
                )

    def _check_group(
        self,
        batch: Batch,
        rows: tuple[int, int],
        links: NDArray[np.void],
        profile: SecurityProfile,
        asked: Asked,
    ) -> None:
        """Check the rows of one profile and second with each valid key, the newest first."""
        keys = self._mac_keys(profile, asked.now_s)
        numbers = [self._number_of(key) for key in keys]
        found = room_for(rows[1] - rows[0])
        left = find_macs(
            batch.request,
            *rows,
            links,
            asked._replace(key=numbers[0]),
            self._must_have,
            self.table.fields,
            batch.spans,
            batch.checks,
            found,
        )
        for number, key in zip(numbers, keys, strict=True):
            if not left:
                return
            made = key.of(batch.arena, found.starts[:left], found.sizes[:left])
            left = settle_macs(made, batch.arena, number, left, batch.checks, found)

    def _number_of(self, key: MacKey) -> int:
        """Return the number of a key in this batch, from 1."""
        for number, known in enumerate(self._keys, start=1):
            if known.cipher is key.cipher and known[1:] == key[1:]:
                return number
        self._keys.append(key)
        return len(self._keys)

    def _mac_keys(self, profile: SecurityProfile, now_s: int) -> list[MacKey]:
        """Return the valid keys of a profile, the newest first; ``SecurityError`` when none is."""
        found = valid_versions(self.store.infos(), profile.mac_key, now_s)
        keys = [
            MacKey(
                self.store.cipher(key, key.usage),
                key.usage,
                _PADDING[profile.mac_padding],
                profile.mac_bytes,
            )
            for key in found
        ]
        if not keys:
            raise SecurityError(f"no valid key {profile.mac_key!r}")
        return keys


def make_guard(
    store: KeyStore,
    table: DialectTable,
    profiles: Sequence[SecurityProfile],
    issuers: Sequence[Issuer],
    pin_values: Iterable[tuple[int, int, str]],
    card_rows: int,
) -> Guard:
    """Put the checks together; ``pin_values`` are (card number, PVKI, PVV or offset)."""
    values = np.zeros(card_rows, PIN_VALUE)
    for card, index, digits in pin_values:
        keep_pin_value(values, card, index, digits)
    cards = CardGuard(store, table, issuers, values)
    return Guard(store, table, profiles, cards, KeyChanges(store, table))
