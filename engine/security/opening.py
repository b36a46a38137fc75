"""Opens the key store that the configuration names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.security.errors import KeyStoreError
from engine.security.file_store import FileStore, check_mode, parse_master_key, read_master_key
from engine.security.keys import valid_versions
from engine.security.settings import Issuer, Security, SecurityProfile
from engine.security.store import KeyStore
from engine.security.token_store import TokenStore

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


def missing_keys(
    store: KeyStore, profiles: Sequence[SecurityProfile], issuers: Sequence[Issuer], now_s: int
) -> list[str]:
    """Return what has no valid key at ``now_s``: the configuration's key, the name in brackets."""
    infos = store.infos()
    named = [
        (f"security_profile[{i}].{field}", getattr(profile, field))
        for i, profile in enumerate(profiles)
        for field in ("mac_key", "pin_key", "kek")
    ]
    named += [
        (f"issuer[{i}].{field}", getattr(issuer, field))
        for i, issuer in enumerate(issuers)
        for field in ("pvk", "cvk", "imk_ac")
    ]
    return [
        f"{key} ({name})" for key, name in named if name and not valid_versions(infos, name, now_s)
    ]
