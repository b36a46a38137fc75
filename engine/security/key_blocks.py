"""Key blocks of ANSI X9.143 (TR-31): version B (TDES) and D (AES), written and read; A and C read.

A block is a clear header, the key under CBC, and a MAC over header and clear key (key derivation
binding): nothing of the key is used unless the MAC holds. Keys for encryption and MAC are derived
from the protection key by CMAC over a counter and constants (X9.143, 6.4 and 6.5). Optional header
blocks are read over. The protection key stays where it is kept; the two derived keys and the key in
the block are in this process for as long as the call takes.

Versions A and C (TDES) are of before: their keys are the protection key mixed with a constant, the
MAC is four bytes of a CBC-MAC over header and cryptogram. They are opened and never written.
"""

import hmac
import secrets
from typing import NamedTuple

import numpy as np
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher as LibraryCipher
from cryptography.hazmat.primitives.ciphers import modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from engine.security.ciphers import cmac_subkeys, wipe
from engine.security.errors import KeyBlockError, KeyUsageError
from engine.security.keys import KEY_BYTES, KeyInfo, Usage
from engine.security.macs import Padding, macs
from engine.security.store import KeyStore

VERSIONS = {"T": "B", "A": "D"}
OLD_VERSIONS = "AC"
_OPENED = {"T": "B" + OLD_VERSIONS, "A": "D"}
_HEADER_CHARS = 16
_MAC_BYTES = {"A": 4, "B": 8, "C": 4, "D": 16}
_BLOCK_BYTES = {"A": 8, "B": 8, "C": 8, "D": 16}
_ENCRYPTION_MASK, _AUTHENTICATION_MASK = 0x45, 0x4D  # E and M
_LONGEST = {"T": 24, "A": 32}  # keys are filled to it, so that a block does not tell their length
# What a key may do, by usage: mode of use of the header.
_MODES = {
    Usage.KEK: "B",
    Usage.KEY_BLOCK: "B",
    Usage.MAC_1: "C",
    Usage.MAC_3: "C",
    Usage.MAC_CMAC: "C",
    Usage.PIN: "B",
    Usage.PVK_IBM: "C",
    Usage.PVK_VISA: "C",
    Usage.CVK: "C",
    Usage.IMK_AC: "X",
}
_MODES_TAKEN = {"B": "BN", "C": "CGVN", "X": "XN"}
_ENCRYPTION, _AUTHENTICATION = 0, 1
# Algorithm indicator of the derivation constants, and bits of the derived keys, by key length.
_TDES_KINDS = {16: (0, 128), 24: (1, 192)}
_AES_KINDS = {16: (2, 128), 24: (3, 192), 32: (4, 256)}


class WrappedKey(NamedTuple):
    """What a key block held. The caller overwrites ``value``."""

    usage: Usage
    algorithm: str
    value: bytearray
    exportable: bool

    def __repr__(self) -> str:
        return f"WrappedKey({self.usage.name}, {self.algorithm}, [hidden])"


def wrap(store: KeyStore, protection: KeyInfo, key: KeyInfo) -> str:
    """Return an exportable key of ``store`` in a block under ``protection``."""
    version = VERSIONS[protection.algorithm]
    if key.size_bytes > protection.size_bytes and protection.algorithm == "A":
        raise KeyUsageError(f"{key.name} is longer than the key that would protect it")
    value = store.reveal(key)
    block = _BLOCK_BYTES[version]
    clear = bytearray((8 * len(value)).to_bytes(2, "big")) + value
    longest = max(_LONGEST[key.algorithm], len(value)) + 2
    filled = -(-longest // block) * block
    clear += secrets.token_bytes(filled - len(clear))
    chars = _HEADER_CHARS + 2 * (filled + _MAC_BYTES[version])
    exportability = "E" if key.exportable else "N"
    header = (
        f"{version}{chars:04d}{key.usage.value}{key.algorithm}{_MODES[key.usage]}00"
        f"{exportability}0000"
    )
    encryption, authentication = _derived(store, protection)
    mac = _cmac(authentication, protection.algorithm, header.encode("ascii") + clear)
    sealed = _cbc(encryption, protection.algorithm, mac).encryptor().update(bytes(clear))
    for secret in (value, clear, encryption, authentication):
        wipe(secret)
    return header + sealed.hex().upper() + mac.hex().upper()


def unwrap(store: KeyStore, protection: KeyInfo, text: str) -> WrappedKey:
    """Return the key in a block under ``protection``; ``KeyBlockError`` when anything is wrong."""
    usage, algorithm, exportable = _read_header(text, _OPENED[protection.algorithm])
    version = text[0]
    body_at = _HEADER_CHARS + _optional_chars(text)
    mac_chars = 2 * _MAC_BYTES[version]
    try:
        sealed = bytes.fromhex(text[body_at:-mac_chars])
        mac = bytes.fromhex(text[-mac_chars:])
    except ValueError:
        raise KeyBlockError("the key block is not hex behind its header") from None
    if not sealed or len(sealed) % _BLOCK_BYTES[version]:
        raise KeyBlockError("the encrypted part of the key block is not of whole blocks")
    opened = _opened_old if version in OLD_VERSIONS else _opened
    clear, is_right = opened(store, protection, text[:body_at].encode("ascii"), sealed, mac)
    try:
        if not is_right:
            raise KeyBlockError("the key block was altered, or is under another key")
        bits = int.from_bytes(clear[:2], "big")
        if bits % 8 or bits // 8 not in KEY_BYTES[algorithm] or bits // 8 + 2 > len(clear):
            raise KeyBlockError(f"the key block holds a key of {bits} bits")
        return WrappedKey(usage, algorithm, clear[2 : 2 + bits // 8], exportable)
    finally:
        wipe(clear)


def _opened(
    store: KeyStore, protection: KeyInfo, header: bytes, sealed: bytes, mac: bytes
) -> tuple[bytearray, bool]:
    """Return (what is encrypted in a block of version B or D, whether the MAC holds)."""
    kind = protection.algorithm
    encryption, authentication = _derived(store, protection)
    clear = bytearray(_cbc(encryption, kind, mac).decryptor().update(sealed))
    is_right = hmac.compare_digest(mac, _cmac(authentication, kind, header + clear))
    wipe(encryption)
    wipe(authentication)
    return clear, is_right


def _opened_old(
    store: KeyStore, protection: KeyInfo, header: bytes, sealed: bytes, mac: bytes
) -> tuple[bytearray, bool]:
    """Return the same of a block of version A or C; nothing is decrypted unless the MAC holds."""
    cipher = store.cipher(protection, Usage.KEY_BLOCK)
    authentication = cipher.variant(_AUTHENTICATION_MASK)
    data = np.frombuffer(header + sealed, np.uint8).copy()
    whole = np.array([0]), np.array([len(data)])
    made = macs(authentication, Usage.MAC_1, Padding.ZEROS, data, *whole)[0].tobytes()
    authentication.close()
    if not hmac.compare_digest(mac, made[: len(mac)]):
        return bytearray(), False
    encryption = cipher.variant(_ENCRYPTION_MASK)
    # CBC: each block is mixed with the cryptogram before it, the first one with the header.
    before = header[: encryption.block_bytes] + sealed
    clear = bytearray(a ^ b for a, b in zip(encryption.decrypt(sealed), before, strict=False))
    encryption.close()
    return clear, True


def _read_header(text: str, versions: str) -> tuple[Usage, str, bool]:
    if len(text) < _HEADER_CHARS or not text.isascii() or not text.isprintable():
        raise KeyBlockError("a key block begins with a header of 16 characters")
    if text[0] not in versions:
        known = " and ".join(sorted(versions))
        raise KeyBlockError(f"the key block has version {text[0]!r}, and this key opens {known}")
    if text[1:5] != f"{len(text):04d}":
        raise KeyBlockError("the key block is not as long as its header says")
    try:
        usage = Usage(text[5:7])
    except ValueError:
        raise KeyBlockError(f"key usage {text[5:7]!r} is not served") from None
    algorithm = text[7]
    if algorithm not in usage.algorithms:
        raise KeyBlockError(f"a {usage.name} key with algorithm {algorithm!r} is not served")
    if text[8] not in _MODES_TAKEN[_MODES[usage]]:
        raise KeyBlockError(f"mode of use {text[8]!r} does not fit a {usage.name} key")
    if text[11] not in "ENS":
        raise KeyBlockError(f"exportability {text[11]!r} is not E, N or S")
    return usage, algorithm, text[11] != "N"


def _optional_chars(text: str) -> int:
    """Return how many characters the optional header blocks take."""
    if not text[12:14].isdigit():
        raise KeyBlockError("the number of optional blocks is not two digits")
    at = _HEADER_CHARS
    for _ in range(int(text[12:14])):
        try:
            size = int(text[at + 2 : at + 4], 16)
        except ValueError:
            size = 0
        if size < 4 or at + size > len(text):
            raise KeyBlockError("an optional block of the header is cut")
        at += size
    return at - _HEADER_CHARS


def _derived(store: KeyStore, protection: KeyInfo) -> tuple[bytearray, bytearray]:
    """Return the keys for encryption and authentication: CMACs of counter and constants."""
    cipher = store.cipher(protection, Usage.KEY_BLOCK)
    size = protection.size_bytes
    indicator, bits = (_TDES_KINDS if protection.algorithm == "T" else _AES_KINDS)[size]
    block = cipher.block_bytes
    whole_key, cut_key = cmac_subkeys(cipher.encrypt(bytes(block)))
    keys = []
    for purpose in (_ENCRYPTION, _AUTHENTICATION):
        said = b""
        for counter in range(1, -(-size // block) + 1):
            message = bytes((counter,)) + purpose.to_bytes(2, "big") + b"\0"
            message += indicator.to_bytes(2, "big") + bits.to_bytes(2, "big")
            mask = whole_key if len(message) == block else cut_key
            filled = message if len(message) == block else message + b"\x80" + bytes(7)
            said += bytes(a ^ b for a, b in zip(filled, mask, strict=True))
        keys.append(bytearray(cipher.encrypt(said))[:size])
    return keys[0], keys[1]


def _algorithm(key: bytearray, kind: str) -> TripleDES | AES:
    if kind == "A":
        return AES(bytes(key))
    return TripleDES(bytes(key if len(key) == 24 else key + key[:8]))


def _cmac(key: bytearray, kind: str, data: bytes | bytearray) -> bytes:
    made = CMAC(_algorithm(key, kind))
    made.update(bytes(data))
    return made.finalize()


def _cbc(key: bytearray, kind: str, iv: bytes) -> LibraryCipher[modes.CBC]:
    return LibraryCipher(_algorithm(key, kind), modes.CBC(iv))
