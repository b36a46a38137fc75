"""Keys that come over the link: 0800 and 0820 with DE70 161 or 101 carry one under the KEK.

The field is either an X9.143 key block, or in hex a cryptogram under ECB followed by the first 6
digits of its check value. The key becomes the next version of the profile's key; the version before
it is taken for the grace period. Whatever is wrong, the old key stays.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.security.batch import Batch, field_bytes
from engine.security.ciphers import kcv_of, wipe
from engine.security.errors import KeyBlockError, SecurityError
from engine.security.key_blocks import unwrap
from engine.security.keys import KeyInfo, Usage, current, valid_versions
from engine.security.mac_kernels import find_key_changes
from engine.security.settings import SecurityProfile
from engine.security.store import KeyStore, draft, retire_older
from engine.wire.table import DialectTable

_KCV_DIGITS = 6
_CRYPTOGRAM_DIGITS = (32, 48, 64)


class KeyChanges:
    """Takes keys from messages into a store."""

    def __init__(self, store: KeyStore, table: DialectTable) -> None:
        self._store = store
        self.table = table

    def rows(
        self,
        batch: Batch,
        numbers: NDArray[np.uint8],
        profiles: Sequence[SecurityProfile],
    ) -> list[int]:
        """Return the requests that change a key, in order; ``numbers`` are their profiles."""
        found = np.empty(len(numbers), np.int64)
        count = find_key_changes(batch.request, len(numbers), found)
        return [
            row
            for row in found[:count].tolist()
            if profiles[int(numbers[row])].kek and _target(profiles[int(numbers[row])])
        ]

    def make(self, batch: Batch, row: int, profile: SecurityProfile, now_s: int) -> Decision:
        """Take the key of one request; return what is answered."""
        try:
            text = field_bytes(self.table, batch, row, profile.key_field)
            self.take(profile, text, now_s)
        except (SecurityError, ValueError):
            return Decision.KEY_REFUSED
        return Decision.NETWORK_OK

    def take(self, profile: SecurityProfile, text: bytes, now_s: int) -> KeyInfo:
        """Keep the key in ``text`` as the next version; ``SecurityError`` when there is none.

        The same key again changes nothing: the answer to the first change may have been lost.
        """
        name = _target(profile)
        old = current(self._store.infos(), name, now_s)
        value, kcv = self._opened(profile, text, old, now_s)
        try:
            if kcv_of(value, old.algorithm)[:_KCV_DIGITS] != kcv[:_KCV_DIGITS]:
                raise KeyBlockError(f"{name}: the key check value does not fit the key")
            whole = kcv_of(value, old.algorithm)
            for known in valid_versions(self._store.infos(), name, now_s):
                if known.kcv == whole:
                    if known.version == old.version:
                        return known
                    raise KeyBlockError(f"{name}: an older key again")
            new = draft(self._store, name, old.usage, old.algorithm, len(value), not_before_s=now_s)
            new = _with_kcv(new, whole)
            self._store.add(new, value)
        finally:
            wipe(value)
        retire_older(self._store, new, now_s + profile.grace_s)
        return new

    def _opened(
        self, profile: SecurityProfile, text: bytes, old: KeyInfo, now_s: int
    ) -> tuple[bytearray, str]:
        """Return the clear key and the check value that came with it."""
        kek = current(self._store.infos(), profile.kek, now_s)
        if text[:1] in (b"B", b"D") and kek.usage is Usage.KEY_BLOCK:
            found = unwrap(self._store, kek, text.decode("ascii", "replace").strip())
            if found.usage is not old.usage or found.algorithm != old.algorithm:
                wipe(found.value)
                raise KeyBlockError(f"{old.name}: a key for another use")
            return found.value, kcv_of(found.value, found.algorithm)
        digits = text.decode("ascii", "replace").strip()
        if len(digits) - _KCV_DIGITS not in _CRYPTOGRAM_DIGITS:
            raise KeyBlockError("expected the key in hex and its check value of 6 digits")
        sealed, kcv = bytes.fromhex(digits[:-_KCV_DIGITS]), digits[-_KCV_DIGITS:].upper()
        cipher = self._store.cipher(kek, Usage.KEK)
        if len(sealed) % cipher.block_bytes:
            raise KeyBlockError("the key is not of whole blocks of its KEK")
        return bytearray(cipher.decrypt(sealed)), kcv


def _target(profile: SecurityProfile) -> str:
    return profile.mac_key if profile.key_role == "mac" else profile.pin_key


def _with_kcv(key: KeyInfo, kcv: str) -> KeyInfo:
    return KeyInfo(
        key.name,
        key.version,
        key.usage,
        key.algorithm,
        key.size_bytes,
        kcv,
        key.not_before_s,
        key.not_after_s,
        key.exportable,
    )
