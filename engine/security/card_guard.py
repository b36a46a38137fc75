"""PIN, card verification values and chip cryptograms of the issuer's own cards.

Which keys a card has follows from the first digits of its number (``Issuer``), what proves its PIN
from the vault, loaded into columns by card number. A clear PIN is never a string, and is
overwritten before this module returns.
"""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from engine.card_checks import Finding
from engine.security.batch import Batch, Rows, codes_of, field_bytes, is_hex, places, present
from engine.security.card_values import cvvs, natural_pins, offsets, pvvs
from engine.security.chip import ChipData, arpc, card_key, cryptogram, read_chip, session_key
from engine.security.ciphers import Cipher
from engine.security.digits import Bytes
from engine.security.errors import KeyMissingError, SecurityError
from engine.security.keys import Usage, current
from engine.security.lay_kernels import read_track2, take_bytes
from engine.security.macs import differ
from engine.security.pin_blocks import PIN_DIGITS_MAX, Pins, block_bytes, read_pins
from engine.security.settings import Issuer, SecurityProfile
from engine.security.store import KeyStore
from engine.wire.table import DialectTable

_PIN_FIELD, _TRACK_FIELD, _CHIP_FIELD, _SEQUENCE_FIELD = 52, 35, 55, 23
_CHIP_ENTRY = (5, 7, 95)  # first two digits of DE22: chip, contactless chip, chip unreliable
_ICVV_SERVICE, _CVV2_SERVICE = 999, 0
_TAG_ISSUER_AUTHENTICATION, _TAG_SEQUENCE = 0x91, 0x5F34
_PIN_METHODS = (Usage.PVK_VISA, Usage.PVK_IBM)

# What proves a card's PIN, by card number. ``size`` 0 = nothing is kept of this card.
PIN_VALUE = np.dtype(
    [
        ("digits", "u1", (PIN_DIGITS_MAX,)),  # PVV, or offset of IBM 3624
        ("size", "u1"),
        ("index", "u1"),  # PVKI
        ("spare", "<u2"),
    ]
)


def keep_pin_value(values: NDArray[np.void], card: int, index: int, digits: str) -> None:
    """Write PVKI and PVV, or 0 and an offset, to the row of a card; "" forgets what was there."""
    row = values[card]
    row["digits"] = 0
    row["digits"][: len(digits)] = [int(c) for c in digits]
    row["size"] = len(digits)
    row["index"] = index


class CardGuard:
    """Checks of cards; one thread. ``values`` is PIN_VALUE by card number, owned by the caller."""

    def __init__(
        self,
        store: KeyStore,
        table: DialectTable,
        issuers: Sequence[Issuer],
        values: NDArray[np.void],
    ) -> None:
        self.values = values
        self._store = store
        self.table = table
        self._issuers = tuple(issuers)
        self._answers: dict[int, tuple[Issuer, ChipData, Cipher, Cipher]] = {}

    @property
    def has_issuers(self) -> bool:
        """Whether there are cards to check at all."""
        return bool(self._issuers)

    def begin(self) -> None:
        """Forget the keys of the batch before."""
        for _, _, card, session in self._answers.values():
            _close(card, session)
        self._answers.clear()

    def check(self, batch: Batch, rows: Rows, profile: SecurityProfile, now_s: int) -> None:
        """Fill PIN, CVV and chip findings of ``rows``: payments with a card number."""
        bins = batch.request["bin"][rows]
        for issuer in self._issuers:
            mine = rows[_matches(bins, batch, rows, issuer)]
            if not len(mine):
                continue
            for key, column, look in (
                (issuer.pvk if profile.pin_key else "", "pin", self._check_pins),
                (issuer.cvk, "cvv", self._check_values),
                (issuer.imk_ac, "chip", self._check_chips),
            ):
                if key:
                    try:
                        look(batch, mine, profile, issuer, now_s)
                    except SecurityError:
                        touched = mine[_carries(batch, mine, column, issuer)]
                        batch.checks[column][touched] = Finding.UNKNOWN

    def dress(self, batch: Batch, reply_count: int) -> None:
        """Put tag 91, issuer authentication data, into answers to cryptograms that were right."""
        stride = len(batch.extra) // len(batch.replies)
        for place in range(reply_count) if self._answers else ():
            reply = batch.replies[place]
            row = int(reply["request"])
            if row not in self._answers:
                continue
            issuer, chip, card, session = self._answers[row]
            response = int(reply["response"]).to_bytes(2, "little")
            is_approved = bool(reply["has_approval"])
            try:
                value = arpc(issuer.scheme, card, session, chip, response, is_approved=is_approved)
            except SecurityError:
                continue  # the card will not see an answer of its issuer, and may decline by itself
            data = bytes((_TAG_ISSUER_AUTHENTICATION, len(value))) + value
            data += b"\x8a\x02" + response
            self._add(batch, place, data, (row + 1) * stride - len(data))

    def _add(self, batch: Batch, place: int, data: bytes, start: int) -> None:
        reply = batch.replies[place]
        slot = int(reply["extra_count"])
        if slot == len(reply["extra_field"]):
            return
        batch.extra[start : start + len(data)] = np.frombuffer(data, np.uint8)
        reply["extra_field"][slot] = _CHIP_FIELD
        reply["extra_start"][slot] = start
        reply["extra_size"][slot] = len(data)
        reply["extra_count"] = slot + 1

    def _check_pins(
        self, batch: Batch, rows: Rows, profile: SecurityProfile, issuer: Issuer, now_s: int
    ) -> None:
        rows = rows[_carries(batch, rows, "pin", issuer)]
        if not len(rows):
            return
        cipher = self._cipher(profile.pin_key, (Usage.PIN,), now_s)
        size = block_bytes(profile.pin_format)
        starts, lengths = places(batch, rows, _PIN_FIELD)
        codes = codes_of(self.table, batch, rows, _PIN_FIELD)
        is_fit = lengths == size * (1 + is_hex(codes))
        batch.checks["pin"][rows[~is_fit]] = Finding.WRONG
        rows, starts, codes = rows[is_fit], starts[is_fit], codes[is_fit]
        blocks = np.zeros((len(rows), size), np.uint8)
        take_bytes(batch.arena, starts, np.full(len(rows), size, np.int64), codes, blocks)
        cards = batch.pan_block[rows]
        pins = read_pins(cipher, profile.pin_format, blocks, cards)
        kept = self.values[batch.items["card"][rows]]
        try:
            is_wrong, is_known = self._compare(issuer, pins, cards, kept, now_s)
        finally:
            pins.wipe()
        found = np.where(is_wrong | ~pins.is_right, Finding.WRONG, Finding.RIGHT)
        batch.checks["pin"][rows] = np.where(is_known, found, Finding.UNKNOWN)

    def _compare(
        self, issuer: Issuer, pins: Pins, cards: Bytes, kept: NDArray[np.void], now_s: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return (which PINs are wrong, which cards have something to compare with)."""
        key = current(self._store.infos(), issuer.pvk, now_s)
        cipher = self._cipher(issuer.pvk, _PIN_METHODS, now_s)
        if key.usage is Usage.PVK_VISA:
            made = pvvs(cipher, cards, kept["index"], pins.digits)
            return differ(made, kept["digits"][:, : made.shape[1]]), kept["size"] > 0
        natural = natural_pins(cipher, cards, issuer.pin_table)
        made = offsets(natural, pins.digits)
        made[np.arange(PIN_DIGITS_MAX) >= pins.sizes[:, None]] = 0
        # A card without an offset has its natural PIN; an offset of another length is another PIN.
        is_long = (kept["size"] > 0) & (kept["size"] != pins.sizes)
        return differ(made, kept["digits"]) | is_long, np.ones(len(kept), np.bool_)

    def _check_values(
        self, batch: Batch, rows: Rows, profile: SecurityProfile, issuer: Issuer, now_s: int
    ) -> None:
        """Check the CVV of a track (iCVV where a chip was read) and a CVV2 that was sent."""
        del profile
        on_track = rows[present(batch, rows, _TRACK_FIELD)]
        sent = self._sent_cvv2(batch, rows, issuer) if issuer.cvv2_field else {}
        if not len(on_track) and not sent:
            return
        cipher = self._cipher(issuer.cvk, (Usage.CVK,), now_s)
        if len(on_track):
            starts, sizes = places(batch, on_track, _TRACK_FIELD)
            read = np.zeros((len(on_track), 3), np.int64)
            codes = codes_of(self.table, batch, on_track, _TRACK_FIELD)
            read_track2(batch.arena, starts, sizes, codes, issuer.cvv_skip_count, read)
            entry = batch.request["entry_mode"][on_track] // 10
            read[np.isin(entry, _CHIP_ENTRY), 1] = _ICVV_SERVICE
            whole = np.all(read >= 0, axis=1)
            self._compare_values(batch, cipher, on_track[whole], read[whole])
        if sent:
            numbers = np.array(list(sent), np.int64)
            dates = batch.request["expiry_yymm"][numbers].astype(np.int64)
            has_date = dates > 0
            if issuer.cvv2_date == "MMYY":
                dates = dates % 100 * 100 + dates // 100
            read = np.zeros((len(numbers), 3), np.int64)
            read[:, 0], read[:, 1] = dates, _CVV2_SERVICE
            read[:, 2] = list(sent.values())
            self._compare_values(batch, cipher, numbers[has_date], read[has_date])

    def _compare_values(
        self, batch: Batch, cipher: Cipher, rows: Rows, read: NDArray[np.int64]
    ) -> None:
        if not len(rows):
            return
        made = cvvs(cipher, batch.pan_block[rows], read[:, 0], read[:, 1])
        theirs = (read[:, 2:3] // np.array([100, 10, 1]) % 10).astype(np.uint8)
        found = np.where(differ(made, theirs), Finding.WRONG, Finding.RIGHT)
        # A wrong value stays wrong: a card may send both, and both must hold.
        before = batch.checks["cvv"][rows]
        batch.checks["cvv"][rows] = np.where(before == Finding.WRONG, before, found)
        read[:] = 0

    def _sent_cvv2(self, batch: Batch, rows: Rows, issuer: Issuer) -> dict[int, int]:
        """Return the CVV2 of each row that carries one behind the issuer's mark."""
        mark = issuer.cvv2_mark.encode("ascii")
        sent = {}
        for row in rows[present(batch, rows, issuer.cvv2_field)].tolist():
            data = field_bytes(self.table, batch, row, issuer.cvv2_field)
            at = data.find(mark)
            digits = data[at + len(mark) : at + len(mark) + 3] if at >= 0 else b""
            if len(digits) == 3 and digits.isdigit():
                sent[row] = int(digits)
        return sent

    def _check_chips(
        self, batch: Batch, rows: Rows, profile: SecurityProfile, issuer: Issuer, now_s: int
    ) -> None:
        del profile
        rows = rows[present(batch, rows, _CHIP_FIELD)]
        master = self._cipher(issuer.imk_ac, (Usage.IMK_AC,), now_s) if len(rows) else None
        for row in rows.tolist():
            assert master is not None, "there are rows"
            try:
                data = field_bytes(self.table, batch, row, _CHIP_FIELD)
                chip = read_chip(issuer.scheme, data)
            except ValueError:
                chip = None
            if chip is None:  # chip data without a cryptogram that can be checked proves nothing
                batch.checks["chip"][row] = Finding.WRONG
            else:
                self._check_chip(batch, row, issuer, chip, master)

    def _check_chip(
        self, batch: Batch, row: int, issuer: Issuer, chip: ChipData, master: Cipher
    ) -> None:
        block = batch.pan_block[row]
        pan = block[1:11].tobytes().hex()[: int(block[0])]
        card = card_key(master, pan, self._sequence(batch, row))
        session = session_key(issuer.scheme, card, chip)
        made = np.frombuffer(cryptogram(session, chip), np.uint8).reshape(1, -1)
        theirs = np.frombuffer(chip.arqc, np.uint8).reshape(1, -1)
        self._answers[row] = (issuer, chip, card, session)
        batch.checks["atc"][row] = int.from_bytes(chip.atc, "big")
        is_wrong = bool(differ(made, theirs)[0])
        batch.checks["chip"][row] = Finding.WRONG if is_wrong else Finding.RIGHT
        if is_wrong:
            del self._answers[row]
            _close(card, session)

    def _sequence(self, batch: Batch, row: int) -> int:
        """Return the card's sequence number (DE23), 0 without one."""
        data = field_bytes(self.table, batch, row, _SEQUENCE_FIELD)
        return int(data) % 100 if data.isdigit() else 0

    def _cipher(self, name: str, usages: tuple[Usage, ...], now_s: int) -> Cipher:
        key = current(self._store.infos(), name, now_s)
        if key.usage not in usages:
            raise KeyMissingError(f"{name} is a {key.usage.name} key")
        return self._store.cipher(key, key.usage)


def _close(card: Cipher, session: Cipher) -> None:
    """Forget derived keys; a module that has gone has forgotten them already."""
    with suppress(SecurityError):
        if session is not card:
            session.close()
        card.close()


def _matches(
    bins: NDArray[np.int32], batch: Batch, rows: Rows, issuer: Issuer
) -> NDArray[np.bool_]:
    """Return which rows have one of the issuer's first digits."""
    whole = np.zeros(len(rows), np.bool_)
    for text in issuer.bins:
        if len(text) <= 6:
            whole |= bins // 10 ** (6 - len(text)) == int(text)
        else:
            first = batch.pan_block[rows, 1:5].astype(np.int64)
            eight = first @ np.array([1 << 24, 1 << 16, 1 << 8, 1])
            wanted = int(text, 16)
            whole |= eight >> 4 * (8 - len(text)) == wanted
    return whole


def _carries(batch: Batch, rows: Rows, column: str, issuer: Issuer) -> NDArray[np.bool_]:
    """Return which rows have what a check looks at."""
    if column == "pin":
        return present(batch, rows, _PIN_FIELD)
    if column == "chip":
        return present(batch, rows, _CHIP_FIELD)
    has = present(batch, rows, _TRACK_FIELD)
    if issuer.cvv2_field:
        has = has | present(batch, rows, issuer.cvv2_field)
    return has
