"""The proof log of a journal: one leaf a batch, and a signed checkpoint over all of them.

A leaf holds 64 bytes: the head of the batch (SHA-256 of its header, which holds the hash of its
body and the head before it) and the root of the tree over its records. So one record can be proven
without showing the others of its batch.

    proof/checkpoint     the newest signed checkpoint
    proof/verifier       the public key, one line: give it to whoever shall verify
    proof/tile/...       the tree, see ``ledger.proof.tiles``
    proof.key            the private key, mode 0600

Everything but the key can be made again from the journal. Leaves are added only for batches that
are durable, so a checkpoint never states more than a restart will find; that makes it a witness of
its own: a journal that ends before its checkpoint has lost records.
"""

import base64
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ledger.disk import Disk, OsDisk, storage_errors, write_exact
from ledger.errors import LedgerError, NoJournalError, RotError, StorageError
from ledger.journal import Batch, Position
from ledger.proof.note import Checkpoint, NoteError, Signer, parse, verified
from ledger.proof.record_kernels import record_root
from ledger.proof.tiles import Tiles, TreeDamagedError
from ledger.record import RECORD_BYTES
from ledger.segment import place_name
from ledger.stores.place import open_reader

KEY_NAME = "proof.key"
_NOTE_BYTES_MAX = 64 * 1024


class ProofError(LedgerError):
    """Journal and checkpoint disagree, or a key or checkpoint cannot be used."""


def proof_folder(data: Path) -> Path:
    """Return the folder of tree and checkpoint in the data folder ``data``."""
    return data / "proof"


def origin_of(cluster: bytes, partition: int) -> str:
    """Return the name of the log of one partition."""
    return f"de39.ledger/{cluster.hex()}/{partition}"


def entry_of(batch: Batch) -> bytes:
    """Return what the leaf of ``batch`` holds: head and root over its records, 64 bytes."""
    raw = np.ascontiguousarray(batch.records).view(np.uint8).reshape(-1, RECORD_BYTES)
    hashes = np.empty((max(1, len(raw)), 32), np.uint8)
    if not len(raw):
        return batch.head + bytes(32)
    record_root(raw, hashes)
    return batch.head + hashes[0].tobytes()


def load_signer(data: Path, origin: str) -> Signer:
    """Return the signing key of the folder, made at first use.

    Raises
    ------
    ProofError
        The file is open to others or holds no key.
    """
    path = data / KEY_NAME
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        with storage_errors("writing", path):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(base64.b64encode(raw) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        return Signer(origin, key)
    with storage_errors("reading", path), path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise ProofError(f"{path} is open to others: chmod 600 {path}")
        text = file.read(256).strip()
    try:
        key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=True))
    except ValueError as error:
        raise ProofError(f"{path} holds no key: restore it from a copy") from error
    return Signer(origin, key)


def read_note(data: Path, disk: Disk | None = None) -> str | None:
    """Return the newest checkpoint as text, or None before the first."""
    return _read_text(disk or OsDisk(), proof_folder(data) / "checkpoint")


def read_verifier(data: Path, disk: Disk | None = None) -> str | None:
    """Return the public key's line, or None before the first checkpoint."""
    text = _read_text(disk or OsDisk(), proof_folder(data) / "verifier")
    return None if text is None else text.strip()


def signed_batches(data: Path) -> int | None:
    """Return how many batches the newest checkpoint of the folder covers.

    0 = there is a signing key and no checkpoint yet; None = no proofs are made of this journal.

    Raises
    ------
    ProofError, NoteError
        The checkpoint is none of the folder's own verifier.
    """
    note, verifier = read_note(data), read_verifier(data)
    if note is None:
        return 0 if (data / KEY_NAME).exists() else None
    if verifier is None:
        raise ProofError(f"{proof_folder(data)} has a checkpoint and no verifier: restore it")
    return verified(note, verifier).size


def check_end(data: Path, end: Position, disk: Disk | None = None) -> None:
    """Compare the end of a recovered journal with what the newest checkpoint has stated.

    Raises
    ------
    RotError
        The checkpoint knows of more batches: acknowledged records are missing.
    """
    note = read_note(data, disk)
    if note is None:
        return
    with suppress(NoteError):  # a damaged checkpoint proves nothing; the log makes it again
        size = parse(note).size
        if size >= end.batch_no:
            reason = f"journal ends before batch {end.batch_no}, its checkpoint states {size}"
            raise RotError(
                reason, batch_no=end.batch_no, segment=place_name(end), offset=end.offset
            )


class ProofLog:
    """The log of a data folder, opened by its one owner.

    Parameters
    ----------
    data
        The data folder.
    signer
        Signs checkpoints; its name is the log's.
    disk
        The file system.

    Raises
    ------
    ProofError
        The journal is not the one that the checkpoint was made for.
    LedgerError
        The journal cannot be read.
    """

    def __init__(self, data: Path, signer: Signer, disk: Disk | None = None) -> None:
        self._data = data
        self._signer = signer
        self._disk = disk or OsDisk()
        self._folder = proof_folder(data)
        self._at: Position | None = None  # of the next batch, once it is known
        self.note = read_note(data, self._disk)
        self._journal = open_reader(data, self._disk)
        try:
            self.tiles = self._opened()
        except BaseException:
            self.close()
            raise
        self._published = self.tiles.size

    @property
    def size(self) -> int:
        """Return the leaves that the newest checkpoint covers."""
        return self._published

    def advance(self, end: Position, batches_max: int | None = None) -> int:
        """Add the durable batches before ``end``, at most ``batches_max``; return how many.

        Raises
        ------
        ProofError
            Another journal than the one of the checkpoint, or than ``end`` states; open it anew.
        LedgerError
            The journal cannot be read, or ends before ``end``.
        """
        due = end.batch_no - 1 - self.tiles.size
        if due <= 0:
            return 0
        wanted = due if batches_max is None else min(due, batches_max)
        for count, batch in enumerate(self._batches(wanted), 1):
            self.tiles.append(entry_of(batch))
            self._at = batch.after
            if count == wanted:
                self._require_acknowledged(batch.after, end)
                return count
        raise StorageError(
            f"the journal of {self._data} ends before batch {self.tiles.size + 1}, which was "
            "acknowledged: is its database the one that the engine writes to?"
        )

    def _require_acknowledged(self, at: Position, end: Position) -> None:
        """Refuse a journal that ends in another batch than the one that was acknowledged.

        A server that was replaced may still answer; by the chain the newest batch vouches for all.
        """
        if at.batch_no == end.batch_no and at.head != end.head:
            raise ProofError(
                f"batch {at.batch_no - 1} of the journal in {self._data} is not the one that was "
                "acknowledged: nothing is signed"
            )

    def close(self) -> None:
        """Let the journal go."""
        self._journal.close()

    def publish(self) -> str:
        """Write the tree's edge and a signed checkpoint over all leaves; return the note."""
        if self.note is not None and self._published == self.tiles.size:
            return self.note
        old = self._published
        self.tiles.save()
        note = self._signer.sign(Checkpoint(self._signer.name, self.tiles.size, self.tiles.root()))
        self._put("verifier", self._signer.verifier + "\n")
        self._put("checkpoint", note)
        self.note = note
        self._published = self.tiles.size
        self.tiles.forget(old)
        return note

    def _opened(self) -> Tiles:
        """Open the tree at the size of the checkpoint; one that does not fit is made again."""
        folder = self._folder
        if self.note is None:
            return Tiles(self._disk, folder)
        try:
            stated = verified(self.note, self._signer.verifier)
        except NoteError as error:
            raise ProofError(
                f"{folder / 'checkpoint'}: {error}; put the right proof.key in place, "
                "or move the proof folder away to begin a new log"
            ) from error
        with suppress(TreeDamagedError):
            tiles = Tiles(self._disk, folder, stated.size)
            if tiles.root() == stated.root:
                return tiles
        return self._made_again(stated)

    def _made_again(self, stated: Checkpoint) -> Tiles:
        """Read the journal from its first batch; it must give the root that was signed."""
        tiles = Tiles(self._disk, self._folder)
        begin = self._journal.beginning()
        if begin is not None:
            raise ProofError(
                f"files of the tree in {self._folder} are missing, and the batches before "
                f"{begin.batch_no} that they were made of are archived: restore the folder tile"
            )
        for batch in self._journal.scan():
            if tiles.size == stated.size:
                break
            tiles.append(entry_of(batch))
        if tiles.size != stated.size or tiles.root() != stated.root:
            raise ProofError(
                f"the journal in {self._data} is not the one that its checkpoint of "
                f"{stated.size} batches was signed for: nothing more is signed"
            )
        tiles.save()
        return tiles

    def _batches(self, count: int) -> Iterator[Batch]:
        """Yield the ``count`` batches that come next; the newest in the tree must fit before."""
        if self._at is not None:
            yield from self._journal.scan(self._at, count)
            return
        skip = self.tiles.size
        start = self._journal.before_batch(max(skip, 1))
        if start is None:
            yield from self._journal.scan(self._begin_after_archive(skip), count)
            return
        for batch in self._journal.scan(start):
            if batch.header.batch_no > skip:
                yield batch
            elif batch.header.batch_no == skip and entry_of(batch) != self.tiles.entry(skip - 1):
                raise ProofError(
                    f"batch {skip} of the journal in {self._data} is not the one in its "
                    "checkpoint: nothing more is signed"
                )

    def _begin_after_archive(self, skip: int) -> Position | None:
        """Return where the journal begins; the batch before must be the newest in the tree."""
        begin = self._journal.beginning()
        if begin is None:
            return None
        if 0 < skip == begin.batch_no - 1 and self.tiles.entry(skip - 1).startswith(begin.head):
            return begin
        raise ProofError(
            f"the batches of {self._data} from {skip + 1} to {begin.batch_no - 1} are archived and "
            "in no checkpoint: nothing can be signed without them"
        )

    def _put(self, name: str, text: str) -> None:
        """Replace a small file as a whole, durably."""
        path = self._folder / name
        aside = path.with_suffix(".tmp")
        with storage_errors("writing", path):
            self._disk.mkdir(self._folder)
            handle = self._disk.open(aside, create=True)
            try:
                write_exact(self._disk, handle, text.encode(), 0, aside)
                self._disk.fdatasync(handle)
            finally:
                self._disk.close(handle)
            self._disk.rename(aside, path)


def batch_of_record(data: Path, seq: int) -> Batch:
    """Return the batch that holds record ``seq``.

    Raises
    ------
    NoJournalError
        The journal has no such record, or it was archived.
    """
    with closing(open_reader(data)) as journal:
        start = journal.before_record(seq) if seq > 0 else None
        for batch in journal.scan(start) if start is not None else ():
            if batch.header.first_seq <= seq < batch.after.seq:
                return batch
            if batch.header.first_seq > seq:
                break
        begin = journal.beginning()
    if begin is not None and 0 < seq < begin.seq:
        raise NoJournalError(
            f"record {seq} of {data} was archived: the journal begins with record {begin.seq}"
        )
    raise NoJournalError(f"no record {seq} in the journal of {data}")


def _read_text(disk: Disk, path: Path) -> str | None:
    try:
        handle = disk.open(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        with storage_errors("reading", path):
            buffer = bytearray(min(disk.size(handle), _NOTE_BYTES_MAX))
            disk.read_into(handle, memoryview(buffer), 0)
    finally:
        disk.close(handle)
    return buffer.decode("utf-8", "replace")
