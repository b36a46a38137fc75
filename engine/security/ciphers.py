"""A thin wrapper over ``cryptography``: block ciphers whose encryptors are made once and reused.

Everything above works on whole blocks in ECB, many at a time: chains of many messages advance in
lockstep (``engine.security.macs``), so one call encrypts one block of each. TDES comes from the
library's ``decrepit`` module, with keys expanded to 24 bytes. It has no single DES: a key three
times does the same, and MACs have kernels (``engine.security.des_kernels``).
"""

from typing import Any, Protocol

import numpy as np
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher as LibraryCipher
from cryptography.hazmat.primitives.ciphers import modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from numpy.typing import NDArray

from engine.security.des_kernels import passes
from engine.security.errors import KeyUsageError
from engine.security.keys import Op

DES_BLOCK, AES_BLOCK = 8, 16
_KCV_TDES_BYTES, _KCV_AES_BYTES = 3, 5


class Cipher(Protocol):
    """A key that works, wherever it is kept. ``KeyUsageError`` for what its usage forbids."""

    block_bytes: int

    def encrypt(self, data: Any) -> bytes:
        """Return whole blocks, encrypted one by one."""
        ...

    def decrypt(self, data: Any) -> bytes:
        """Return whole blocks, decrypted one by one."""
        ...

    def encrypt_left(self, data: Any) -> bytes:
        """Return whole blocks under single DES with the left half of a double-length key."""
        ...

    def round_keys(self) -> NDArray[np.uint32] | None:
        """Return the round keys of a TDES key, u4 (3, 16, 2) of ``des_kernels.passes``.

        None = it is of AES, or they never come out. The caller overwrites nothing: they live and
        go with the key.
        """
        ...

    def derive(self, data: bytes) -> "Cipher":
        """Return the double-length TDES key that is the encryption of 16 bytes ``data``."""
        ...

    def variant(self, mask: int) -> "Cipher":
        """Return the key with every byte exclusive-or ``mask``; the caller closes it.

        ``KeyUsageError`` where keys are kept that does no such thing.
        """
        ...

    def close(self) -> None:
        """Forget the key."""
        ...


class SoftCipher:
    """A key in this process. ``value`` is taken over and overwritten by ``close``."""

    def __init__(self, value: bytearray, algorithm: str, ops: Op) -> None:
        self.block_bytes = DES_BLOCK if algorithm == "T" else AES_BLOCK
        self._value = value
        self._ops = ops
        self._left: Any = None
        self._rounds: NDArray[np.uint32] | None = None
        self._decryptor: Any = None
        self._cipher = _library_cipher(value, algorithm)
        self._encryptor: Any = self._cipher.encryptor()

    def __repr__(self) -> str:
        return "SoftCipher([hidden])"

    def encrypt(self, data: Any) -> bytes:
        """Return whole blocks, encrypted one by one."""
        self._need(Op.ENCRYPT)
        return bytes(self._encryptor.update(data))

    def decrypt(self, data: Any) -> bytes:
        """Return whole blocks, decrypted one by one."""
        self._need(Op.DECRYPT)
        if self._decryptor is None:
            self._decryptor = self._cipher.decryptor()
        return bytes(self._decryptor.update(data))

    def encrypt_left(self, data: Any) -> bytes:
        """Return whole blocks under single DES with the left half of the key."""
        self._need(Op.LEFT)
        if self._left is None:
            left = self._value[:DES_BLOCK] * 3
            self._left = _library_cipher(left, "T").encryptor()
            wipe(left)
        return bytes(self._left.update(data))

    def round_keys(self) -> NDArray[np.uint32] | None:
        """Return the round keys of a TDES key."""
        self._need(Op.ENCRYPT)
        if self._rounds is None and self.block_bytes == DES_BLOCK:
            self._rounds = passes(self._value)
        return self._rounds

    def derive(self, data: bytes) -> "SoftCipher":
        """Return the key that is the encryption of ``data``; it may do what a session key does."""
        self._need(Op.DERIVE)
        value = bytearray(self._encryptor.update(data))
        return SoftCipher(value, "T", Op.ENCRYPT | Op.LEFT | Op.DERIVE)

    def variant(self, mask: int) -> "SoftCipher":
        """Return the key with every byte exclusive-or ``mask``."""
        self._need(Op.VARIANT)
        algorithm = "T" if self.block_bytes == DES_BLOCK else "A"
        value = bytearray(byte ^ mask for byte in self._value)
        return SoftCipher(value, algorithm, Op.ENCRYPT | Op.DECRYPT)

    def close(self) -> None:
        """Overwrite the key; the library's own copy goes with its objects."""
        wipe(self._value)
        if self._rounds is not None:
            self._rounds[:] = 0
        self._encryptor = self._decryptor = self._left = None

    def _need(self, op: Op) -> None:
        if op not in self._ops:
            raise KeyUsageError(f"the usage of this key does not allow to {op.name}".lower())


def _library_cipher(value: bytearray, algorithm: str) -> LibraryCipher[modes.ECB]:
    if algorithm == "A":
        return LibraryCipher(AES(bytes(value)), modes.ECB())  # noqa: S305 - blocks, chained by us
    whole = value if len(value) == 24 else value + value[:DES_BLOCK]
    return LibraryCipher(TripleDES(bytes(whole)), modes.ECB())  # noqa: S305 - the same


def wipe(value: bytearray) -> None:
    """Overwrite ``value`` with zeros."""
    value[:] = bytes(len(value))


def kcv_of(value: bytearray, algorithm: str) -> str:
    """Return the key check value in hex capitals.

    TDES: first 3 bytes of an encrypted zero block. AES: first 5 bytes of the CMAC of a zero block
    (ANSI X9.24-1:2017, annex A).
    """
    encryptor = _library_cipher(value, algorithm).encryptor()
    if algorithm == "T":
        return encryptor.update(bytes(DES_BLOCK))[:_KCV_TDES_BYTES].hex().upper()
    subkey, _ = cmac_subkeys(encryptor.update(bytes(AES_BLOCK)))
    return encryptor.update(subkey)[:_KCV_AES_BYTES].hex().upper()


def cmac_subkeys(zero_block: bytes) -> tuple[bytes, bytes]:
    """Return K1 and K2 of CMAC from the encrypted zero block (SP 800-38B, 6.1)."""
    k1 = _doubled(zero_block)
    return k1, _doubled(k1)


def _doubled(block: bytes) -> bytes:
    bits = 8 * len(block)
    constant = 0x87 if len(block) == AES_BLOCK else 0x1B
    number = int.from_bytes(block, "big") << 1
    if number >> bits:
        number = (number ^ constant) & ((1 << bits) - 1)
    return number.to_bytes(len(block), "big")
