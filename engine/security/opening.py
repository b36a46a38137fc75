"""Opens the key store that the configuration names, and puts the guard of a switch together."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.security.card_guard import PIN_VALUE, CardGuard, keep_pin_value
from engine.security.errors import KeyStoreError
from engine.security.file_store import FileStore, check_mode, parse_master_key, read_master_key
from engine.security.guard import Guard
from engine.security.key_change import KeyChanges
from engine.security.settings import Issuer, Security, SecurityProfile
from engine.security.store import KeyStore
from engine.security.token_store import TokenStore
from engine.wire.table import DialectTable

MASTER_KEY_VARIABLE = "DE39_MASTER_KEY"


def open_store(
    security: Security, data: Path, env: Mapping[str, str], *, is_read_only: bool = False
) -> KeyStore:
    """Open the store; relative paths count from ``data``.

    Raises ``KeyStoreError`` and its kin; the text says what to do.
    """
    if security.store == "none":
        raise KeyStoreError('security.store is "none": there are no keys')
    if security.store == "file":
        master = master_key(security, data, env)
        return FileStore(data / security.file, master, is_read_only=is_read_only)
    for name, value in (("module", security.module), ("token", security.token)):
        if not value:
            raise KeyStoreError(f'security.{name} is needed with security.store = "pkcs11"')
    pin_path = data / security.pin_file
    if not security.pin_file or not pin_path.is_file():
        raise KeyStoreError(f"{pin_path}: expected a file of mode 0600 with the token's PIN")
    check_mode(pin_path)
    pin = pin_path.read_text(encoding="utf-8").strip()
    return TokenStore(Path(security.module), security.token, pin)


def master_key(security: Security, data: Path, env: Mapping[str, str]) -> bytes:
    """Return the master key of the key file, from the environment or its file."""
    if MASTER_KEY_VARIABLE in env:
        return parse_master_key(env[MASTER_KEY_VARIABLE], MASTER_KEY_VARIABLE)
    return read_master_key(data / security.master_key_file)


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


def number_of_profile(profiles: Sequence[SecurityProfile], name: str) -> int:
    """Return the number that links have for a profile's name: from 1, 0 for none."""
    names = [profile.name for profile in profiles]
    return names.index(name) + 1 if name else 0
