"""The epoch file: whose folder this is and how often it was opened for writing.

Each opening for writing raises the epoch before the first append, so batches of two owners can be
told apart. The file is a cache of what the journal says: it is replaced as a whole (written aside,
synced, renamed), and one that was lost is made again from the journal.
"""

import json
import zlib
from pathlib import Path
from typing import NamedTuple

from ledger.disk import Disk, storage_errors, write_exact
from ledger.errors import RotError
from ledger.segment import journal_folder

EPOCH_NAME = "epoch"
_SIZE_MAX = 4096


class Ownership(NamedTuple):
    """What the epoch file says."""

    cluster: bytes
    partition: int
    epoch: int


def read_epoch(disk: Disk, data: Path) -> Ownership | None:
    """Return what the file says, or None if there is none; ``RotError`` if it is damaged."""
    folder = journal_folder(data)
    if EPOCH_NAME not in disk.names(folder):
        return None
    path = folder / EPOCH_NAME
    with storage_errors("reading", path):
        handle = disk.open(path)
        try:
            buffer = bytearray(min(disk.size(handle), _SIZE_MAX))
            count = disk.read_into(handle, memoryview(buffer), 0)
        finally:
            disk.close(handle)
    owner = _ownership_from(bytes(buffer[:count]))
    if owner is None:
        reason = "epoch file damaged (it may be deleted: the journal tells its content)"
        raise RotError(reason, batch_no=0, segment=EPOCH_NAME, offset=0)
    return owner


def _ownership_from(data: bytes) -> Ownership | None:
    line, _, checksum = data.partition(b"\n")
    if checksum != b"%08x\n" % zlib.crc32(line):
        return None
    try:
        fields = json.loads(line)
        cluster = bytes.fromhex(fields["cluster"])
        return Ownership(cluster, int(fields["partition"]), int(fields["epoch"]))
    except (ValueError, KeyError, TypeError):
        return None


def write_epoch(disk: Disk, data: Path, owner: Ownership) -> None:
    """Replace the file, durably."""
    path = journal_folder(data) / EPOCH_NAME
    aside = path.with_suffix(".tmp")
    fields = {"cluster": owner.cluster.hex(), "partition": owner.partition, "epoch": owner.epoch}
    line = json.dumps(fields).encode()
    with storage_errors("writing", path):
        handle = disk.open(aside, create=True)
        try:
            write_exact(disk, handle, line + b"\n%08x\n" % zlib.crc32(line), 0, aside)
            disk.fdatasync(handle)
        finally:
            disk.close(handle)
        disk.rename(aside, path)
        disk.fsync_dir(path.parent)
