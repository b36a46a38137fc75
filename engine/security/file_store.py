"""Keys in one encrypted file: for development and tests, not for real cards.

The file is a mark, a nonce and AES-256-GCM over the keys as JSON; mode 0600, replaced whole (write,
sync, rename), so that a crash leaves the old one or the new one. The master key, 32 bytes in hex,
comes from a file of mode 0600 or from the environment. While the store is open the clear keys are
in this process: overwritten on close, as far as Python allows.
"""

import fcntl
import os
import secrets
import stat
from pathlib import Path

import msgspec
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from engine.security.ciphers import SoftCipher, kcv_of, wipe
from engine.security.errors import (
    KeyBlockError,
    KeyMissingError,
    KeyStoreBusyError,
    KeyStoreError,
    KeyStoreModeError,
    KeyUsageError,
)
from engine.security.keys import KeyInfo, Usage
from engine.security.store import check_usage

MASTER_KEY_BYTES = 32
_MARK = b"DE39keys\x01"
_NONCE_BYTES = 12
_FILE_BYTES_MAX = 16 << 20


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    info: KeyInfo
    value: str  # hex


class FileStore:
    """An open key file. One process at a time may change it: a lock beside it says who.

    ``is_read_only`` opens it beside a process that holds it; nothing can be changed then.
    """

    def __init__(self, path: Path, master: bytes, *, is_read_only: bool = False) -> None:
        if len(master) != MASTER_KEY_BYTES:
            raise KeyStoreError(f"the master key has {MASTER_KEY_BYTES} bytes in hex")
        self._path = path
        self._lock = -1 if is_read_only else _take_lock(path)
        try:
            self._open(master)
        except BaseException:
            self._release()
            raise

    def _open(self, master: bytes) -> None:
        path = self._path
        self._aead = AESGCM(master)
        self._ciphers: dict[tuple[str, int], SoftCipher] = {}
        self._keys: dict[tuple[str, int], tuple[KeyInfo, bytearray]] = {}
        if path.exists():
            self._read()

    def infos(self) -> list[KeyInfo]:
        """Return every key, by name and version."""
        return [self._keys[place][0] for place in sorted(self._keys)]

    def cipher(self, key: KeyInfo, usage: Usage) -> SoftCipher:
        """Return the working key; ``KeyUsageError`` when it is not of ``usage``."""
        kept, value = self._kept(key)
        check_usage(kept, usage)
        place = (key.name, key.version)
        if place not in self._ciphers:
            self._ciphers[place] = SoftCipher(bytearray(value), kept.algorithm, usage.ops)
        return self._ciphers[place]

    def add(self, key: KeyInfo, value: bytearray) -> None:
        """Keep a new key durably; ``value`` is overwritten whatever happens."""
        place = (key.name, key.version)
        try:
            if place in self._keys:
                raise KeyUsageError(f"{key.name} version {key.version} exists already")
            if len(value) != key.size_bytes or key.kcv != kcv_of(value, key.algorithm):
                raise KeyBlockError(f"{key.name}: the key check value does not fit the key")
            self._keys[place] = (key, bytearray(value))
        finally:
            wipe(value)
        try:
            self._write()
        except BaseException:
            wipe(self._keys.pop(place)[1])
            raise

    def generate(self, key: KeyInfo) -> KeyInfo:
        """Make a random key and keep it; return it with its check value."""
        value = fresh_value(key.algorithm, key.size_bytes)
        made = msgspec.structs.replace(key, kcv=kcv_of(value, key.algorithm))
        self.add(made, value)
        return made

    def change(self, key: KeyInfo) -> None:
        """Keep other times of a key that stands."""
        old, value = self._kept(key)
        self._keys[key.name, key.version] = (key, value)
        try:
            self._write()
        except BaseException:
            self._keys[key.name, key.version] = (old, value)
            raise

    def remove(self, key: KeyInfo) -> None:
        """Destroy a key."""
        kept = self._kept(key)
        place = (key.name, key.version)
        del self._keys[place]
        try:
            self._write()
        except BaseException:
            self._keys[place] = kept
            raise
        wipe(kept[1])
        cipher = self._ciphers.pop(place, None)
        if cipher is not None:
            cipher.close()

    def reveal(self, key: KeyInfo) -> bytearray:
        """Return the value of an exportable key; the caller overwrites it."""
        kept, value = self._kept(key)
        if not kept.exportable:
            raise KeyUsageError(f"{key.name} was made without leave to export it")
        return bytearray(value)

    def count_calls(self, counts: NDArray[np.int64]) -> None:
        """Count nothing: there is no module."""

    def close(self) -> None:
        """Overwrite every key."""
        for cipher in self._ciphers.values():
            cipher.close()
        for _, value in self._keys.values():
            wipe(value)
        self._ciphers.clear()
        self._keys.clear()
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _kept(self, key: KeyInfo) -> tuple[KeyInfo, bytearray]:
        try:
            return self._keys[key.name, key.version]
        except KeyError:
            raise KeyMissingError(f"no key {key.name!r} version {key.version}") from None

    def _read(self) -> None:
        check_mode(self._path)
        try:
            data = self._path.read_bytes()
        except OSError as problem:
            raise KeyStoreError(f"{self._path}: cannot be read: {problem.strerror}") from None
        if not data.startswith(_MARK) or len(data) > _FILE_BYTES_MAX:
            raise KeyStoreError(f"{self._path} is not a key file of this version")
        nonce, sealed = data[len(_MARK) :][:_NONCE_BYTES], data[len(_MARK) + _NONCE_BYTES :]
        try:
            clear = self._aead.decrypt(nonce, sealed, _MARK)
            kept = msgspec.json.decode(clear, type=list[_Kept])
        except (InvalidTag, ValueError, msgspec.DecodeError):
            raise KeyStoreError(
                f"{self._path} does not open: another master key, or the file was altered"
            ) from None
        for one in kept:
            place = (one.info.name, one.info.version)
            self._keys[place] = (one.info, bytearray.fromhex(one.value))

    def _write(self) -> None:
        if self._lock < 0:
            raise KeyStoreError(f"{self._path} is open for reading only")
        kept = [_Kept(info, value.hex()) for _, (info, value) in sorted(self._keys.items())]
        nonce = os.urandom(_NONCE_BYTES)
        clear = bytearray(msgspec.json.encode(kept))
        sealed = self._aead.encrypt(nonce, bytes(clear), _MARK)
        wipe(clear)
        replace_file(self._path, _MARK + nonce + sealed)


def _take_lock(path: Path) -> int:
    """Return the open lock file; ``KeyStoreBusyError`` when another process has it."""
    try:
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as problem:
        raise KeyStoreError(f"{path}: cannot be written: {problem.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise KeyStoreBusyError(
            f"{path} is in use: stop the switch that has it, or try again later"
        ) from None
    return handle


def fresh_value(algorithm: str, size_bytes: int) -> bytearray:
    """Return a random key; a TDES key has odd parity and halves that differ."""
    while True:
        value = bytearray(secrets.token_bytes(size_bytes))
        if algorithm == "A":
            return value
        set_odd_parity(value)
        parts = {bytes(value[at : at + 8]) for at in range(0, size_bytes, 8)}
        if len(parts) == size_bytes // 8:
            return value


def set_odd_parity(value: bytearray) -> None:
    """Give every byte odd parity in its lowest bit, as DES keys have."""
    for at, byte in enumerate(value):
        value[at] = (byte & 0xFE) | (((byte >> 1).bit_count() + 1) & 1)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 whole: beside it, synced, renamed, the folder synced."""
    beside = path.with_name(path.name + ".new")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.fchmod(handle, 0o600)
            os.write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as problem:
        raise KeyStoreError(f"{path}: cannot be written: {problem.strerror}") from None


def check_mode(path: Path) -> None:
    """Raise ``KeyStoreModeError`` when ``path`` is open to others or not ours."""
    facts = path.stat()
    mode = stat.S_IMODE(facts.st_mode)
    if mode & 0o077:
        raise KeyStoreModeError(
            f"{path} has mode {mode:04o} and is open to others: run chmod 600 on it"
        )
    if facts.st_uid != os.geteuid():
        raise KeyStoreModeError(f"{path} belongs to another user: give it to the one who serves")


def read_master_key(path: Path) -> bytes:
    """Return the master key of a 0600 file that holds it in hex."""
    if not path.exists():
        raise KeyStoreError(f"{path} is missing: de39 key init makes it")
    check_mode(path)
    return parse_master_key(path.read_text(encoding="ascii", errors="replace"), str(path))


def parse_master_key(text: str, origin: str) -> bytes:
    """Return the bytes of a master key in hex; the error names where it came from."""
    try:
        master = bytes.fromhex(text.strip())
    except ValueError:
        master = b""
    if len(master) != MASTER_KEY_BYTES:
        raise KeyStoreError(f"{origin}: expected {2 * MASTER_KEY_BYTES} hex digits")
    return master
