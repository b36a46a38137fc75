"""Acknowledgement witnesses: what somebody outside remembers of records that were answered.

A witness is (partition, epoch, record number, first 8 bytes of the head of its batch), one JSON
object a line. Front ends may keep the last one they saw, and the engine can keep one on another
disk. When the journal is opened, every witness must be in it: one that is ahead of its end, or that
names another head, means that acknowledged records are gone. Nothing else can see a tail that was
cut off cleanly.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ledger.disk import Disk, OsDisk, storage_errors, write_exact
from ledger.errors import LedgerError, RotError
from ledger.journal import Position
from ledger.segment import place_name
from ledger.stores.base import JournalReader

HEAD_BYTES = 8


class WitnessError(LedgerError):
    """A line of a witness file that is none."""


class Witness(NamedTuple):
    """One acknowledged record, as remembered outside."""

    partition: int
    epoch: int
    seq: int  # of the last record of a batch
    head: bytes  # first 8 bytes of the batch's head

    def line(self) -> str:
        """Return the line of a witness file."""
        return json.dumps({**self._asdict(), "head": self.head.hex()}) + "\n"


def witness_of(partition: int, end: Position) -> Witness:
    """Return the witness of everything before ``end``, a durable position."""
    return Witness(partition, end.epoch, end.seq - 1, end.head[:HEAD_BYTES])


def read_witnesses(path: Path, partition: int) -> list[Witness]:
    """Return the witnesses of ``partition`` in a file; none when there is no file.

    Raises
    ------
    WitnessError
        A line is no witness; the last one may be cut short (it was being written) and is passed.
    """
    try:
        lines = path.read_text("utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            head = bytes.fromhex(fields["head"])
            witness = Witness(
                int(fields["partition"]), int(fields["epoch"]), int(fields["seq"]), head
            )
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise WitnessError(f"{path}:{number}: not a witness: correct or remove it") from error
        if witness.partition == partition and witness.seq > 0:
            found.append(witness)
    return found


def check_witnesses(journal: JournalReader, end: Position, witnesses: Iterable[Witness]) -> None:
    """Compare a recovered journal, whose end is ``end``, with what was acknowledged.

    Raises
    ------
    RotError
        A witness is ahead of the journal, or its batch is another one.
    """
    newest = sorted(set(witnesses), key=lambda witness: witness.seq)[-16:]
    for witness in newest:
        if witness.seq >= end.seq:
            reason = f"it ends at record {end.seq - 1}, a witness saw record {witness.seq}"
            raise _lost(reason, end)
        at = _end_of_record(journal, witness.seq)
        if at is not None and at.head[:HEAD_BYTES] != witness.head:
            reason = f"record {witness.seq} is not in the batch that a witness saw"
            raise _lost(reason, at)


def write_witness(path: Path, witness: Witness, disk: Disk | None = None) -> None:
    """Replace a witness file with one line, durably."""
    disk = disk or OsDisk()
    aside = path.with_name(path.name + ".tmp")
    with storage_errors("writing", path):
        handle = disk.open(aside, create=True)
        try:
            write_exact(disk, handle, witness.line().encode(), 0, aside)
            disk.fdatasync(handle)
        finally:
            disk.close(handle)
        disk.rename(aside, path)


def _end_of_record(journal: JournalReader, seq: int) -> Position | None:
    """Return the place after the batch that holds ``seq``; None if that is archived."""
    start = journal.before_record(seq)
    if start is None:
        return None
    for batch in journal.scan(start):
        if seq < batch.after.seq:
            return batch.after
    return None


def _lost(reason: str, at: Position) -> RotError:
    text = f"acknowledged records are missing: {reason}"
    return RotError(text, batch_no=at.batch_no, segment=place_name(at), offset=at.offset)
