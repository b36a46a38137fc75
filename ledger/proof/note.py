"""Checkpoints and their signatures: C2SP tlog-checkpoint and signed-note, Ed25519.

    <origin>
    <leaves>
    <root, base64>
    <empty line>
    - <key name> <base64 of key hash and signature>

The dash is U+2014. A witness may add its line later (C2SP tlog-cosignature, type 0x04); lines
of unknown keys are kept.
"""

import base64
import hashlib
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.errors import LedgerError

_SIGNED = 0x01  # Ed25519 over the text
_COSIGNED = 0x04  # Ed25519 over time and text
_DASH = "\u2014"


class NoteError(LedgerError):
    """A checkpoint that is not one, or whose signature does not hold."""


class Checkpoint(NamedTuple):
    """What a log states: its name, how many leaves, and the root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return what is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Signer:
    """A named Ed25519 key."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.name = name
        self._key = key
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.verifier = verifier_text(name, _SIGNED, public)
        self._hash = key_hash(name, _SIGNED, public)

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return the signed note."""
        text = checkpoint.text()
        signature = base64.b64encode(self._hash + self._key.sign(text.encode())).decode()
        return f"{text}\n{_DASH} {self.name} {signature}\n"


def key_hash(name: str, kind: int, public: bytes) -> bytes:
    """Return the 4 bytes that name a key in a signature line."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def verifier_text(name: str, kind: int, public: bytes) -> str:
    """Return the public key as one line: name+hash+base64."""
    encoded = base64.b64encode(bytes([kind]) + public).decode()
    return f"{name}+{key_hash(name, kind, public).hex()}+{encoded}"


def parse(note: str) -> Checkpoint:
    """Return what ``note`` states, without looking at its signatures.

    Raises
    ------
    NoteError
        It is not a checkpoint.
    """
    text, _, signatures = note.partition("\n\n")
    lines = text.split("\n")
    try:
        origin, size, root = lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)
    except (IndexError, ValueError) as error:
        raise NoteError("not a checkpoint: origin, size and root are expected") from error
    if not signatures or len(root) != 32 or size < 0 or not origin:
        raise NoteError("not a checkpoint: origin, size, root and a signature are expected")
    return Checkpoint(origin, size, root)


def verified(note: str, verifier: str) -> Checkpoint:
    """Return what ``note`` states if the key ``verifier`` (name+hash+base64) signed it.

    Raises
    ------
    NoteError
        It is not a checkpoint, or that key has not signed it.
    """
    checkpoint = parse(note)
    try:
        name, hash_hex, encoded = verifier.split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
        public = Ed25519PublicKey.from_public_bytes(raw[1:])
    except ValueError as error:
        raise NoteError("the key is not name+hash+base64 of an Ed25519 key") from error
    if raw[0] not in (_SIGNED, _COSIGNED) or key_hash(name, raw[0], raw[1:]).hex() != hash_hex:
        raise NoteError("the key's hash differs from its name and bytes")
    text, _, lines = note.partition("\n\n")
    for line in lines.splitlines():
        dash, _, rest = line.partition(" ")
        signer, _, signature = rest.partition(" ")
        if dash == _DASH and signer == name and _holds(text + "\n", signature, raw[0], public):
            return checkpoint
    raise NoteError(f"no valid signature of {name}")


def _holds(text: str, signature: str, kind: int, public: Ed25519PublicKey) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)[4:]
        if kind == _COSIGNED:  # the time of the cosignature stands before it
            text = f"cosignature/v1\ntime {int.from_bytes(raw[:8], 'big')}\n{text}"
            raw = raw[8:]
        public.verify(raw, text.encode())
    except (ValueError, InvalidSignature):
        return False
    return True
