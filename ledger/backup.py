"""Copies of a ledger: made beside a running engine, verified, restored to a point.

A backup is a folder: ``journal/`` up to a batch, in segment files whatever the store,
``snapshots/`` with the newest that fits, ``vault.db``, the newest signed checkpoint, and
``backup.json`` with the SHA-256 of every file. The keys (``vault.key``, ``proof.key``) and the
admin token are never in it: keep them elsewhere.

Where older batches are archived the tree of the checkpoint is in it, too: it cannot be made again.

The order matters beside a running engine: the checkpoint is copied first, so that it states no more
than the journal has; the vault last, so that it knows every card that the journal names.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ledger.disk import OsDisk, storage_errors
from ledger.errors import LedgerError
from ledger.journal import Position, position_from_json
from ledger.proof.log import proof_folder, read_note
from ledger.proof.note import parse
from ledger.proof.tiles import tile_names
from ledger.recovery import Scan
from ledger.segment_copy import copy_file, copy_segments, created
from ledger.snapshot import load_latest, snapshot_folder
from ledger.stores.base import Progress
from ledger.stores.place import StoreChoice, load_journal, open_reader
from ledger.vault import VAULT_FILE

MANIFEST = "backup.json"
FORMAT = "de39-backup/1"
_TRIES = 5


class BackupError(LedgerError):
    """A backup that cannot be made or used; the text names the file."""


def backup(data: Path, target: Path, on_progress: Progress = lambda _: None) -> dict[str, Any]:
    """Copy the ledger of ``data`` to ``target``, a new or empty folder; return its manifest.

    An engine may be running. What is copied is read back and checked before this returns.

    Raises
    ------
    BackupError
        ``target`` is not empty.
    LedgerError
        The journal is damaged, or a disk refused.
    """
    _require_empty(target)
    with storage_errors("writing", target):
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(open_reader(data)) as journal:
        with storage_errors("writing", target):
            _copy_proof(data, target, with_tree=journal.beginning() is not None)
        end, records = journal.copy_to(target, on_progress)
    snapshot = load_latest(data, before_seq=end.seq)
    with storage_errors("writing", target):
        if snapshot is not None:
            name = f"{snapshot.seq:020d}.snap"
            copy_file(snapshot_folder(data) / name, snapshot_folder(target) / name)
        _copy_vault(data, target)
    found = _checked(target, end)
    manifest = {
        "format": FORMAT,
        "records": records,
        "last_record": end.seq - 1,
        "batches": end.batch_no - 1,
        "head": end.head.hex(),
        "end": end.to_json(),
        "files": {str(path.relative_to(target)): _sha256(path) for path in _files(target)},
    }
    assert found == end, "what was written is what was read"
    with storage_errors("writing", target / MANIFEST):
        _write(target / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")
    return manifest


def restore(
    source: Path,
    data: Path,
    *,
    until_record: int | None = None,
    until_ns: int | None = None,
    into: StoreChoice | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Make a data folder from a backup, whole or up to a record or a time.

    Batches are whole or not there, so a restore to a point ends with the last batch that holds
    nothing later. It is then another history than the one that went on: the signed checkpoint is
    left out, and a new log begins.

    Parameters
    ----------
    source, data
        The backup; the new data folder, which is not there or empty.
    until_record
        Leave out batches with records after this one.
    until_ns
        Leave out batches with records after this engine time, Unix ns.
    into
        The store that gets the journal, whichever the backup was made of; None = files.
    dry_run
        Check the backup and say where it would end; write nothing.

    Returns
    -------
    dict
        last_record, batches, head, end (JSON).

    Raises
    ------
    BackupError
        The backup is damaged or of another format, or ``data`` is not empty.
    StoreSettingsError, StoreUnavailable
        The database has a journal already, or cannot be used; nothing was written to it.
    """
    manifest = _manifest(source)
    _require_empty(data)
    end = position_from_json(manifest["end"])
    if until_record is not None or until_ns is not None:
        end = _cut(source, until_record, until_ns)
    facts = {"last_record": end.seq - 1, "batches": end.batch_no - 1, "head": end.head.hex()}
    if dry_run:
        return facts
    is_whole = end == position_from_json(manifest["end"])
    with storage_errors("writing", data):
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if into is not None and into.is_postgres:
        load_journal(source, data, end, into)
    else:
        copy_segments(source, data, end)
        _checked(data, end)
    with storage_errors("writing", data):
        for path in sorted(snapshot_folder(source).glob("*.snap")):
            if int(path.stem) < end.seq:
                copy_file(path, snapshot_folder(data) / path.name)
        copy_file(source / VAULT_FILE, data / VAULT_FILE)
        if is_whole:
            for path in _files(proof_folder(source)):
                copy_file(path, data / path.relative_to(source))
    return facts


def _cut(source: Path, until_record: int | None, until_ns: int | None) -> Position:
    end: Position | None = None
    for batch in Scan(source):
        is_later = until_record is not None and batch.after.seq - 1 > until_record
        if until_ns is not None and len(batch.records):
            is_later |= int(batch.records["ts_ns"].max()) > until_ns
        if is_later:
            break
        end = batch.after
    if end is None:
        raise BackupError(f"nothing in {source} is that old: choose a later point")
    return end


def _copy_proof(data: Path, target: Path, *, with_tree: bool) -> None:
    """Copy the checkpoint and, where the batches it was made of are gone, its tree.

    A running engine replaces the edge of the tree: then a newer checkpoint is taken.
    """
    note = read_note(data)
    if note is None:
        return
    for _ in range(_TRIES):
        names = [f"tile/{name}" for name in tile_names(parse(note).size)] if with_tree else []
        with suppress(FileNotFoundError):  # of a damaged tree the checkpoint is copied all the same
            for name in names:
                copy_file(proof_folder(data) / name, proof_folder(target) / name)
            break
        note = read_note(data) or note
    copy_file(proof_folder(data) / "verifier", proof_folder(target) / "verifier")
    _write(proof_folder(target) / "checkpoint", note.encode())


def _copy_vault(data: Path, target: Path) -> None:
    """Copy the database as one transaction sees it, whoever writes to it meanwhile."""
    path = target / VAULT_FILE
    _write(path, b"")
    with sqlite3.connect(f"file:{data / VAULT_FILE}?mode=ro", uri=True) as reader:
        writer = sqlite3.connect(path)
        reader.backup(writer)
        writer.close()
    reader.close()


def _checked(data: Path, end: Position) -> Position:
    """Read a copied journal back; it must end where it should."""
    scan = Scan(data)
    for _ in scan:
        pass
    if scan.end.head != end.head or scan.torn is not None:
        raise BackupError(f"{data}: what was copied ends in another batch: is its disk sound?")
    return end


def _manifest(source: Path) -> dict[str, Any]:
    path = source / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        files = dict(manifest["files"])
        is_known = manifest["format"] == FORMAT
    except FileNotFoundError:
        raise BackupError(f"{path} is not there: {source} is no finished backup") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{path} is damaged: take another backup") from error
    if not is_known:
        raise BackupError(f"{path} is of format {manifest['format']}, this program reads {FORMAT}")
    for name, digest in sorted(files.items()):
        if not (source / name).is_file() or _sha256(source / name) != digest:
            raise BackupError(f"{source / name} differs from its hash: take another backup")
    return manifest


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} is not empty: name a new folder, nothing was written")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(path: Path, content: bytes) -> None:
    with created(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    OsDisk().fsync_dir(path.parent)


def remove_half(target: Path) -> None:
    """Remove what a backup or restore that failed has left in its new folder."""
    shutil.rmtree(target, ignore_errors=True)
