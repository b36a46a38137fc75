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
from engine.security.batch import Batch, Rows, codes_of, is_hex, places, present
from engine.security.card_guard import PIN_VALUE, CardGuard, keep_pin_value
from engine.security.ciphers import Cipher
from engine.security.errors import SecurityError
from engine.security.key_change import KeyChanges
from engine.security.keys import Usage, valid_versions
from engine.security.lay_kernels import put_macs, take_bytes
from engine.security.macs import MAC_BYTES, Padding, differ, macs
from engine.security.settings import Issuer, SecurityProfile
from engine.security.store import KeyStore
from engine.wire.columns import Fault
from engine.wire.profile import Profile
from engine.wire.table import DialectTable

_NS = 1_000_000_000
_PADDING = {"zeros": Padding.ZEROS, "mark": Padding.MARK}
_MAC_1, _MAC_2 = 64, 128
_OF_MONEY = (1, 2, 4)  # classes of messages


class MacKey(NamedTuple):
    """A working MAC key, and how messages under it are filled and their MACs cut."""

    cipher: Cipher
    usage: Usage
    padding: Padding
    size: int

    def of(self, data: NDArray[np.uint8], starts: Rows, ends: Rows) -> NDArray[np.uint8]:
        """Return the MACs u8 (n, 8) as they stand on the wire."""
        made = macs(self.cipher, self.usage, self.padding, data, starts, ends - starts)
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
        self._seconds = np.zeros(0, np.int64)  # when each request of this batch came

    def check(self, batch: Batch, count: int, links: NDArray[np.void]) -> None:
        """Fill ``batch.checks`` of the first ``count`` requests."""
        batch.checks[:count] = 0
        self._keys.clear()
        self.cards.begin()
        if not count:
            return
        request = batch.request[:count]
        numbers = links["security"][request["segment"]]
        if not numbers.any():
            return
        self._seconds = (links["arrival_ns"][request["segment"]] // _NS).astype(np.int64)
        classes = request["mti"] // 100 % 10
        self._check_macs_and_changes(batch, numbers, classes)
        is_payment = (request["mti"] > 0) & (request["mti"] // 10 % 10 == 0) & (numbers != 0)
        is_payment &= ((classes == 1) | (classes == 2)) & (request["fault"] == Fault.NONE)
        rows = np.flatnonzero(is_payment & (batch.checks["decision"][:count] == 0))
        rows = rows[request["pan_length"][rows] > 0]
        for number in np.unique(numbers[rows]).tolist():
            mine = rows[numbers[rows] == number]
            for now_s in np.unique(self._seconds[mine]).tolist():
                of_second = mine[self._seconds[mine] == now_s]
                self.cards.check(batch, of_second, self.profiles[number], now_s)

    def dress(self, batch: Batch, reply_count: int) -> None:
        """Ask for room for MACs, and add the chip data of answers."""
        replies = batch.replies[:reply_count]
        replies["wants_mac"] = batch.checks["wants_mac"][replies["request"]]
        self.cards.dress(batch, reply_count)

    def seal(self, batch: Batch, reply_count: int) -> None:
        """Write the MACs of the answers into the room that was left for them."""
        replies = batch.replies[:reply_count]
        rows = np.flatnonzero((replies["wants_mac"] != 0) & (replies["mac_at"] >= 0))
        if not len(rows):
            return
        requests = replies["request"][rows].astype(np.int64)
        starts = replies["start"][rows].astype(np.int64)
        at = replies["mac_at"][rows].astype(np.int64)
        dialects = batch.request["dialect"][requests]
        codes = codes_of(self.table, batch, requests, _MAC_1)
        widths = self.table.fields["size"][dialects, _MAC_1] // (1 + is_hex(codes))
        sizes = np.minimum(widths, MAC_BYTES).astype(np.int64)
        numbers = replies["wants_mac"][rows]
        for number, key in enumerate(self._keys, start=1):
            mine = np.flatnonzero(numbers == number)
            if len(mine):
                try:
                    made = key.of(batch.out, starts[mine], at[mine])
                except SecurityError:
                    continue  # the room stays filled with 0: no MAC, and the peer will see it
                put_macs(made, at[mine], sizes[mine], codes[mine], batch.out)

    def has_macs(self, number: int) -> bool:
        """Whether links of a profile have a key for authentication codes; 0 = no profile."""
        return bool(self.profiles[number].mac_key)

    def mac_of(self, number: int, data: bytes, now_s: int) -> bytes:
        """Return the MAC, 8 bytes, of what the host says by itself on a link of a profile.

        Under the newest key that is valid at ``now_s``; ``SecurityError`` when none is.
        """
        key = self._mac_keys(self.profiles[number], now_s)[0]
        whole = np.array([0], np.int64), np.array([len(data)], np.int64)
        return key.of(np.frombuffer(data, np.uint8), *whole).tobytes()

    def note_pin_value(self, card: int, index: int, digits: str) -> None:
        """Take what proves the PIN of a card from now on: PVKI and PVV, or 0 and an offset."""
        keep_pin_value(self.cards.values, card, index, digits)

    def count_calls(self, counts: NDArray[np.int64]) -> None:
        """Let the key store add the calls of its module to ``counts``."""
        self.store.count_calls(counts)

    def change(self, table: DialectTable) -> None:
        """Read fields by these dialects from the next batch on."""
        self.table = self.cards.table = self.changes.table = table
        self._must_have = table.profile[:, Profile.MAC_REQUIRED] != 0

    def close(self) -> None:
        """Forget the keys."""
        self.cards.begin()
        self.store.close()

    def _check_macs_and_changes(
        self, batch: Batch, numbers: NDArray[np.uint8], classes: NDArray[np.int32]
    ) -> None:
        """Check MACs up to each key change, make the change, go on behind it."""
        first = 0
        for row in self.changes.rows(batch, numbers, self.profiles):
            self._check_macs(batch, first, row + 1, numbers, classes)
            profile = self.profiles[int(numbers[row])]
            if batch.checks["decision"][row] == 0:
                decision = self.changes.make(batch, row, profile, int(self._seconds[row]))
                batch.checks["decision"][row] = decision
            first = row + 1
        self._check_macs(batch, first, len(numbers), numbers, classes)

    def _check_macs(
        self,
        batch: Batch,
        first: int,
        last: int,
        numbers: NDArray[np.uint8],
        classes: NDArray[np.int32],
    ) -> None:
        for number in np.unique(numbers[first:last]).tolist():
            profile = self.profiles[number]
            if not profile.mac_key:
                continue
            rows = first + np.flatnonzero(numbers[first:last] == number)
            is_due = np.isin(classes[rows], [int(text) for text in profile.mac_classes])
            is_due |= self._must_have[batch.request["dialect"][rows]] & np.isin(
                classes[rows], _OF_MONEY
            )
            # Validity of keys goes by the second in which each message came, whatever the batch.
            for now_s in np.unique(self._seconds[rows]).tolist():
                mine = self._seconds[rows] == now_s
                self._check_second(batch, rows[mine], is_due[mine], profile, now_s)

    def _check_second(
        self,
        batch: Batch,
        rows: Rows,
        is_due: NDArray[np.bool_],
        profile: SecurityProfile,
        now_s: int,
    ) -> None:
        """Check the rows of one profile that came in one second; without keys none is posted."""
        try:
            self._check_profile(batch, rows, is_due, self._mac_keys(profile, now_s))
        except SecurityError:
            has_mac = present(batch, rows, _MAC_1) | present(batch, rows, _MAC_2)
            batch.checks["decision"][rows[is_due | has_mac]] = Decision.SECURITY_UNAVAILABLE

    def _check_profile(
        self, batch: Batch, rows: Rows, is_due: NDArray[np.bool_], keys: list[MacKey]
    ) -> None:
        """Check the rows of one profile with each key that is valid, the newest first."""
        checks = batch.checks
        # The MAC is the last field: DE64 counts only where no second bitmap has fields behind it.
        in_2 = present(batch, rows, _MAC_2)
        in_1 = present(batch, rows, _MAC_1) & (batch.request["bitmap_lo"][rows] == 0)
        has_mac = in_1 | in_2
        is_sound = batch.request["fault"][rows] == Fault.NONE
        answers = is_due | has_mac
        numbers = [self._number_of(key) for key in keys]
        checks["wants_mac"][rows[answers]] = numbers[0]
        checks["decision"][rows[is_due & ~has_mac & is_sound]] = Decision.MAC_WRONG
        left = rows[has_mac & is_sound]
        fields = np.where(in_2[has_mac & is_sound], _MAC_2, _MAC_1)
        for number, key in zip(numbers, keys, strict=True):
            if not len(left):
                return
            is_wrong = self._wrong(batch, left, fields, key)
            checks["wants_mac"][left[~is_wrong]] = number
            left, fields = left[is_wrong], fields[is_wrong]
        checks["decision"][left] = Decision.MAC_WRONG

    def _number_of(self, key: MacKey) -> int:
        """Return the number of a key in this batch, from 1."""
        for number, known in enumerate(self._keys, start=1):
            if known.cipher is key.cipher and known[1:] == key[1:]:
                return number
        self._keys.append(key)
        return len(self._keys)

    def _wrong(self, batch: Batch, rows: Rows, fields: Rows, key: MacKey) -> NDArray[np.bool_]:
        theirs = np.zeros((len(rows), MAC_BYTES), np.uint8)
        ends = np.zeros(len(rows), np.int64)
        widths = np.zeros(len(rows), np.int64)  # some dialects have room for 4 bytes only
        for field in (_MAC_1, _MAC_2):
            mine = np.flatnonzero(fields == field)
            if not len(mine):
                continue
            ends[mine], sizes = places(batch, rows[mine], field)
            codes = codes_of(self.table, batch, rows[mine], field)
            widths[mine] = np.minimum(sizes // (1 + is_hex(codes)), MAC_BYTES)
            taken = np.zeros((len(mine), MAC_BYTES), np.uint8)
            take_bytes(batch.arena, ends[mine], widths[mine], codes, taken)
            theirs[mine] = taken
        starts = batch.request["start"][rows].astype(np.int64)
        ours = key.of(batch.arena, starts, ends)
        ours[np.arange(MAC_BYTES) >= widths[:, None]] = 0
        return differ(ours, theirs) | (widths == 0)

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
