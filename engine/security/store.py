"""One interface to keys, wherever they are kept; what all stores have in common.

A store gives out ``Cipher`` objects, never key bytes, and only for the usage that the caller names.
A cipher is made once for each key and kept. Changing a key is adding a version: the new one works
from now on, the old ones until their grace period is over.
"""

from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.security.ciphers import Cipher
from engine.security.errors import KeyMissingError, KeyUsageError
from engine.security.keys import KeyInfo, Usage, check_key

VERSIONS_MAX = 1_000  # of one name


class ModuleCall(IntEnum):
    """What is counted of the calls of a security module."""

    CALLS = 0
    FAILED = 1  # of these
    SPENT_NS = 2  # time in calls, waiting for the session not counted


class KeyStore(Protocol):
    """What the engine and the commands ask of a store. Errors are of ``engine.security.errors``."""

    def infos(self) -> list[KeyInfo]:
        """Return every key, by name and version."""
        ...

    def cipher(self, key: KeyInfo, usage: Usage) -> Cipher:
        """Return the working key; ``KeyUsageError`` when it is not of ``usage``."""
        ...

    def add(self, key: KeyInfo, value: bytearray) -> None:
        """Keep a new key durably; ``value`` is overwritten whatever happens."""
        ...

    def generate(self, key: KeyInfo) -> KeyInfo:
        """Make a random key where keys are kept and keep it; return it with its check value."""
        ...

    def change(self, key: KeyInfo) -> None:
        """Keep other times of a key that stands."""
        ...

    def remove(self, key: KeyInfo) -> None:
        """Destroy a key."""
        ...

    def reveal(self, key: KeyInfo) -> bytearray:
        """Return the value of an exportable key; ``KeyUsageError`` for any other."""
        ...

    def count_calls(self, counts: NDArray[np.int64]) -> None:
        """Add what the module is asked to ``counts``, i64 by ``ModuleCall``, from now on.

        A store without a module counts nothing.
        """
        ...

    def close(self) -> None:
        """Forget everything."""
        ...


def next_version(store: KeyStore, name: str) -> int:
    """Return the version that a new key of ``name`` gets."""
    versions = [key.version for key in store.infos() if key.name == name]
    if len(versions) >= VERSIONS_MAX:
        raise KeyUsageError(f"{name}: {VERSIONS_MAX} versions are kept already: remove old ones")
    return max(versions, default=0) + 1


def draft(
    store: KeyStore,
    name: str,
    usage: Usage,
    algorithm: str,
    size_bytes: int,
    *,
    not_before_s: int = 0,
    not_after_s: int = 0,
    exportable: bool = False,
) -> KeyInfo:
    """Return the next version of ``name`` without a check value yet; checks that it can be."""
    check_key(name, usage, algorithm, size_bytes)
    for key in store.infos():
        if key.name == name and key.usage is not usage:
            raise KeyUsageError(f"{name} is a {key.usage.name} key, not {usage.name}: other name")
    return KeyInfo(
        name,
        next_version(store, name),
        usage,
        algorithm,
        size_bytes,
        "",
        not_before_s,
        not_after_s,
        exportable,
    )


def retire_older(store: KeyStore, newest: KeyInfo, until_s: int) -> None:
    """End every older version of the name at ``until_s``, the end of the grace period."""
    for key in store.infos():
        is_older = key.name == newest.name and key.version < newest.version
        if is_older and (key.not_after_s == 0 or key.not_after_s > until_s):
            store.change(replaced(key, not_after_s=until_s))


def replaced(key: KeyInfo, *, not_after_s: int) -> KeyInfo:
    """Return ``key`` with another end."""
    return KeyInfo(
        key.name,
        key.version,
        key.usage,
        key.algorithm,
        key.size_bytes,
        key.kcv,
        key.not_before_s,
        not_after_s,
        key.exportable,
    )


def named(store: KeyStore, name: str, version: int = 0) -> KeyInfo:
    """Return a key by name and version (0 = the newest), valid or not; ``KeyMissingError``."""
    found = [k for k in store.infos() if k.name == name and version in (0, k.version)]
    if not found:
        which = f" version {version}" if version else ""
        raise KeyMissingError(f"no key {name!r}{which} in the store: see de39 key show")
    return max(found, key=lambda key: key.version)


def check_usage(key: KeyInfo, usage: Usage) -> None:
    """Raise ``KeyUsageError`` unless the key is of ``usage``."""
    if key.usage is not usage:
        raise KeyUsageError(f"{key.name} is a {key.usage.name} key and not for {usage.name}")
