"""Receipts: what somebody needs to verify, offline, that one record stands in the ledger.

A receipt is JSON in one canonical form (sorted keys, two blanks of indent, a final newline), so
that every byte of the file means something. ``tools/verify_receipt.py`` verifies it and shares no
code with this one; the format is in docs/ledger.md.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ledger.disk import OsDisk
from ledger.journal import Batch, header_bytes
from ledger.proof.log import ProofError, batch_of_record, entry_of, proof_folder, read_note
from ledger.proof.merkle import consistency, getter, inclusion, leaf_hash
from ledger.proof.note import parse
from ledger.proof.tiles import Tiles, TreeDamagedError
from ledger.record import RECORD_BYTES

RECEIPT_FORMAT = "de39-receipt/1"
CONSISTENCY_FORMAT = "de39-consistency/1"
_TRIES = 5


def receipt(data: Path, seq: int) -> dict[str, Any]:
    """Return the receipt of record ``seq``; the newest checkpoint must cover it.

    A running engine replaces the edge of the tree while this reads it: then it is read again.

    Raises
    ------
    ProofError, NoteError
        There is no checkpoint yet, or it does not cover the record.
    NoJournalError
        There is no such record.
    """
    batch = batch_of_record(data, seq)
    for _ in range(_TRIES):
        with suppress(TreeDamagedError):
            return _receipt(data, batch, seq)
    return _receipt(data, batch, seq)


def _receipt(data: Path, batch: Batch, seq: int) -> dict[str, Any]:
    note = _note(data)
    stated = parse(note)
    leaf = batch.header.batch_no - 1
    if leaf >= stated.size:
        raise ProofError(
            f"record {seq} is in batch {leaf + 1}, the newest checkpoint covers {stated.size}: "
            "ask again in a second"
        )
    tiles = Tiles(OsDisk(), proof_folder(data), stated.size)
    if tiles.entry(leaf) != entry_of(batch):
        raise ProofError(f"batch {leaf + 1} differs from its leaf: run de39 ledger verify")
    index = seq - batch.header.first_seq
    records = _records(batch)
    return {
        "format": RECEIPT_FORMAT,
        "record": records[index].hex(),
        "record_path": [
            h.hex() for h in inclusion(getter([leaf_hash(r) for r in records]), index, len(records))
        ],
        "header": header_bytes(batch.header).hex(),
        "batch_path": [h.hex() for h in inclusion(tiles.get, leaf, stated.size)],
        "checkpoint": note,
    }


def consistency_proof(data: Path, old_note: str) -> dict[str, Any]:
    """Return the proof that the newest checkpoint only adds to the older one ``old_note``."""
    note = _note(data)
    old, new = parse(old_note), parse(note)
    if old.origin != new.origin:
        raise ProofError(f"that checkpoint is of {old.origin}, this ledger is {new.origin}")
    if not 0 < old.size <= new.size:
        raise ProofError(f"the newest checkpoint covers {new.size} batches, that one {old.size}")
    tiles = Tiles(OsDisk(), proof_folder(data), new.size)
    path = consistency(tiles.get, old.size, new.size)
    return {
        "format": CONSISTENCY_FORMAT,
        "old": old_note,
        "new": note,
        "path": [h.hex() for h in path],
    }


def as_text(proof: dict[str, Any]) -> str:
    """Return the one text of a receipt or consistency proof."""
    return json.dumps(proof, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _records(batch: Batch) -> list[bytes]:
    raw = np.ascontiguousarray(batch.records).view(np.uint8).reshape(-1, RECORD_BYTES)
    return [row.tobytes() for row in raw]


def _note(data: Path) -> str:
    note = read_note(data)
    if note is None:
        raise ProofError(f"no checkpoint in {proof_folder(data)} yet: ask again in a second")
    return note
