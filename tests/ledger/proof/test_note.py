"""Checkpoints: signed by the log, cosigned by witnesses, refused with anything else."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.proof.note import (
    Checkpoint,
    NoteError,
    Signer,
    key_hash,
    parse,
    verified,
    verifier_text,
)
from tests.ledger.proof.test_receipt import tool

CHECKPOINT = Checkpoint("de39.ledger/00/0", 7, bytes(range(32)))


def signer(number: int, name: str = CHECKPOINT.origin) -> Signer:
    """Return a signer with a fixed key."""
    return Signer(name, Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


def cosigned(note: str, name: str, key: Ed25519PrivateKey, seconds: int) -> str:
    """Return ``note`` with a witness's line: C2SP tlog-cosignature, version 1."""
    text = note.partition("\n\n")[0] + "\n"
    signature = key.sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    raw = key_hash(name, 4, public) + seconds.to_bytes(8, "big") + signature
    return f"{note}\u2014 {name} {base64.b64encode(raw).decode()}\n"


def test_a_signed_note_is_read_back() -> None:
    """By the log's own reader and by the stand-alone verifier."""
    note = signer(1).sign(CHECKPOINT)
    assert parse(note) == verified(note, signer(1).verifier) == CHECKPOINT
    assert tool.checkpoint(note, signer(1).verifier) == tuple(CHECKPOINT)


def test_another_key_or_name_is_refused() -> None:
    """The key must be the one that signed, under the name it signed with."""
    note = signer(1).sign(CHECKPOINT)
    for other in (signer(2), signer(1, "de39.ledger/00/1")):
        with pytest.raises(NoteError, match="no valid signature"):
            verified(note, other.verifier)
        with pytest.raises(tool.Refused):
            tool.checkpoint(note, other.verifier)
    for key in ("", "a+b", signer(1).verifier[:-4], signer(1).verifier.replace("+", "+0", 1)):
        with pytest.raises(NoteError):
            verified(note, key)


def test_a_witness_may_cosign() -> None:
    """Both lines hold; a changed time does not; the log's key does not pass for a witness."""
    key = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    witness = verifier_text("witness.example", 4, public)
    note = cosigned(signer(1).sign(CHECKPOINT), "witness.example", key, 1_800_000_000)
    for check in (verified, tool.checkpoint):
        assert tuple(check(note, witness)) == tuple(CHECKPOINT)
        assert tuple(check(note, signer(1).verifier)) == tuple(CHECKPOINT)
    raw = bytearray(base64.b64decode(note.split()[-1]))
    raw[11] ^= 1
    changed = note.replace(note.split()[-1], base64.b64encode(raw).decode())
    with pytest.raises(NoteError):
        verified(changed, witness)
    with pytest.raises(tool.Refused):
        tool.checkpoint(changed, witness)
    with pytest.raises(NoteError):
        verified(note, verifier_text("witness.example", 1, public))
