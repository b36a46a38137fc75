"""What a key is: name, version, usage, algorithm, validity. Never its value.

A key has one usage, named as in ANSI X9.143 (TR-31), and the usage says which operations it may do.
A name has versions: the newest valid one is used for what we write; every valid one is tried on
what we read, so that after a change the old key is taken for its grace period.
"""

from collections.abc import Iterable
from enum import Enum, Flag, auto

import msgspec

from engine.security.errors import KeyMissingError, KeyUsageError

KEY_BYTES = {"T": (16, 24), "A": (16, 24, 32)}
NAME_BYTES_MAX = 64


class Op(Flag):
    """What may be done with a key."""

    ENCRYPT = auto()
    DECRYPT = auto()
    LEFT = auto()  # single DES under the left half: inside retail MAC and CVV only
    DERIVE = auto()  # a further key, which stays where this one is
    VARIANT = auto()  # the key mixed with a constant: what old key blocks are opened by


class Usage(Enum):
    """Usages by their X9.143 code."""

    KEK = "K0"  # wraps keys that are exchanged (ZMK)
    KEY_BLOCK = "K1"  # protects X9.143 key blocks
    MAC_1 = "M1"  # ISO 9797-1 algorithm 1
    MAC_3 = "M3"  # ISO 9797-1 algorithm 3, retail MAC
    MAC_CMAC = "M6"  # ISO 9797-1 algorithm 5
    PIN = "P0"
    PVK_IBM = "V1"
    PVK_VISA = "V2"
    CVK = "C0"
    IMK_AC = "E0"  # issuer master key, application cryptograms

    @property
    def ops(self) -> Op:
        """The operations that a key of this usage may do."""
        return _OPS[self]

    @property
    def algorithms(self) -> str:
        """The algorithms it may have: T = TDES, A = AES."""
        return _ALGORITHMS.get(self, "T")


_OPS = {
    Usage.KEK: Op.DECRYPT | Op.ENCRYPT,
    Usage.KEY_BLOCK: Op.ENCRYPT | Op.VARIANT,
    Usage.MAC_1: Op.ENCRYPT,
    Usage.MAC_3: Op.ENCRYPT | Op.LEFT,
    Usage.MAC_CMAC: Op.ENCRYPT,
    Usage.PIN: Op.ENCRYPT | Op.DECRYPT,
    Usage.PVK_IBM: Op.ENCRYPT,
    Usage.PVK_VISA: Op.ENCRYPT,
    Usage.CVK: Op.ENCRYPT | Op.LEFT,
    Usage.IMK_AC: Op.DERIVE,
}
_ALGORITHMS = {
    Usage.KEK: "TA",
    Usage.KEY_BLOCK: "TA",
    Usage.MAC_1: "TA",
    Usage.MAC_CMAC: "TA",
    Usage.PIN: "TA",
}
MAC_USAGES = (Usage.MAC_1, Usage.MAC_3, Usage.MAC_CMAC)


class KeyInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as it may be shown. Times are whole seconds since 1970, UTC; 0 = no end."""

    name: str
    version: int
    usage: Usage
    algorithm: str  # T or A
    size_bytes: int
    kcv: str  # hex: TDES, 3 bytes of a zero block; AES, 5 bytes of the CMAC of one
    not_before_s: int = 0
    not_after_s: int = 0
    exportable: bool = False

    def is_valid(self, now_s: int) -> bool:
        """Whether the key may be used at ``now_s``."""
        return self.not_before_s <= now_s and not 0 < self.not_after_s <= now_s


def check_key(name: str, usage: Usage, algorithm: str, size_bytes: int) -> None:
    """Raise ``KeyUsageError`` unless name, usage, algorithm and length go together."""
    if not (name.isascii() and name.isprintable() and 0 < len(name) <= NAME_BYTES_MAX):
        raise KeyUsageError(f"a key name has 1 to {NAME_BYTES_MAX} printable ASCII characters")
    if algorithm not in usage.algorithms:
        raise KeyUsageError(f"{name}: a {usage.name} key is {_words(usage.algorithms)}")
    if size_bytes not in KEY_BYTES[algorithm]:
        sizes = " or ".join(map(str, KEY_BYTES[algorithm]))
        raise KeyUsageError(f"{name}: such a key has {sizes} bytes, not {size_bytes}")
    if Op.LEFT in usage.ops and size_bytes != KEY_BYTES["T"][0]:
        raise KeyUsageError(f"{name}: a {usage.name} key is of double length, 16 bytes")
    if usage is Usage.IMK_AC and size_bytes != KEY_BYTES["T"][0]:
        raise KeyUsageError(f"{name}: an issuer master key is of double length, 16 bytes")


def _words(algorithms: str) -> str:
    return " or ".join({"T": "TDES", "A": "AES"}[a] for a in algorithms)


def valid_versions(keys: Iterable[KeyInfo], name: str, now_s: int) -> list[KeyInfo]:
    """Return the versions of ``name`` that are valid at ``now_s``, the newest first."""
    found = [key for key in keys if key.name == name and key.is_valid(now_s)]
    return sorted(found, key=lambda key: -key.version)


def current(keys: Iterable[KeyInfo], name: str, now_s: int) -> KeyInfo:
    """Return the version that is used for writing; ``KeyMissingError`` when none is valid."""
    found = valid_versions(keys, name, now_s)
    if not found:
        raise KeyMissingError(f"no valid key {name!r}: see de39 key show")
    return found[0]
