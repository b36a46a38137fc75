"""Snapshots: the state arrays at one record, so that a restart does not replay everything.

A snapshot is a cache of the fold of the journal and is never trusted over it: it carries its own
hash, a damaged one is skipped for the one before, and losing all of them costs time only. Written
aside, synced, renamed; the three newest are kept.

File: a 4 KiB head page, each array from a 4 KiB boundary on, then a JSON index; the head page tells
where the index is and its SHA-256, the index holds the hash of the arrays.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ledger.disk import Disk, OsDisk, storage_errors, write_exact
from ledger.journal import PAGE_BYTES, Position, padded, position_from_json

KEEP_COUNT = 3
# 2: holds keep how long they live, posted items which authorization they drew on.
# 3: an authorization counts down what came back of its clearings and leads to them.
# 4: posted items say what came back by message; lifecycle ids.
SNAPSHOT_FORMAT = 4
_MAGIC = b"DE39snp"
_HEAD = struct.Struct("<7sBQQ32s")  # magic, format, index offset, index size, index SHA-256
_CRC = struct.Struct("<I")
_CHUNK_BYTES = 4 * 1024 * 1024
_INDEX_BYTES_MAX = 64 * 1024 * 1024
_SHA256 = hashlib.sha256()  # copied, not made: making one takes a lock, which a fork may have cut

Arrays = Mapping[str, NDArray[Any]]


class _OtherFormatError(ValueError):
    """A snapshot that another version of the program wrote."""


class Snapshot(NamedTuple):
    """State up to record ``seq``; read on from ``position`` and skip the records up to ``seq``."""

    seq: int
    position: Position  # between two batches, at or before the record after ``seq``
    arrays: dict[str, NDArray[Any]]  # writable, C-contiguous
    meta: dict[str, Any]
    state_hash: str


def snapshot_folder(data: Path) -> Path:
    """Return the folder of the snapshots in the data folder ``data``."""
    return data / "snapshots"


def state_hash(arrays: Arrays) -> str:
    """Return SHA-256 (hex) over names, dtypes, shapes and bytes, in order of names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        _hash_array(digest, name, arrays[name], lambda _: None)
    return digest.hexdigest()


def write_snapshot(
    data: Path,
    seq: int,
    position: Position,
    arrays: Arrays,
    meta: Mapping[str, Any] | None = None,
    *,
    disk: Disk | None = None,
) -> Path:
    """Write a snapshot durably and remove all but the three newest; return its file.

    Parameters
    ----------
    data
        The data folder.
    seq
        The last record that is folded into ``arrays``; it must be durable already.
    position
        A place between two batches of the journal with ``position.seq <= seq + 1``.
    arrays
        State by name, not changed until this returns; copy them between two batches.
    meta
        Anything else, as JSON.

    Raises
    ------
    StorageError
        Disk error or full disk; earlier snapshots stay as they were.
    """
    disk = disk or OsDisk()
    folder = snapshot_folder(data)
    with storage_errors("writing", folder):
        disk.mkdir(folder)
        remove_leftovers(disk, folder)
    aside = write_aside(data, seq, position, arrays, meta, disk=disk)
    return adopt_snapshot(data, aside, disk=disk)


def write_aside(
    data: Path,
    seq: int,
    position: Position,
    arrays: Arrays,
    meta: Mapping[str, Any] | None = None,
    *,
    disk: Disk,
) -> Path:
    """Write a snapshot under a name that nobody reads yet, and sync it; return the file.

    Parameters as in ``write_snapshot``; record ``seq`` need not be durable yet.
    """
    if position.seq > seq + 1:
        raise ValueError("a snapshot cannot be older than the journal position it names")
    aside = snapshot_folder(data) / f"{seq:020d}.tmp"
    with storage_errors("writing", aside):
        handle = disk.open(aside, create=True)
        try:
            _write_all(disk, handle, aside, (seq, position, arrays, dict(meta or {})))
            disk.fdatasync(handle)
        finally:
            disk.close(handle)
    return aside


def adopt_snapshot(data: Path, aside: Path, *, disk: Disk | None = None) -> Path:
    """Give a synced snapshot its name and remove all but the three newest; return its file.

    Everything in it must be durable in the journal by now.
    """
    disk = disk or OsDisk()
    folder = snapshot_folder(data)
    path = aside.with_suffix(".snap")
    with storage_errors("writing", path):
        disk.rename(aside, path)
        disk.fsync_dir(folder)
        for name in _names(disk, folder)[:-KEEP_COUNT]:
            disk.unlink(folder / name)
    return path


def snapshot_seqs(data: Path, disk: Disk | None = None) -> list[int]:
    """Return the records that snapshots are about, by their names, oldest first."""
    return [int(Path(name).stem) for name in _names(disk or OsDisk(), snapshot_folder(data))]


def load_latest(
    data: Path,
    *,
    on_damaged: Callable[[str], None] | None = None,
    before_seq: int | None = None,
    disk: Disk | None = None,
) -> Snapshot | None:
    """Return the newest snapshot that is whole, or None.

    Parameters
    ----------
    data
        The data folder.
    on_damaged
        Told of each snapshot that was skipped, one line.
    before_seq
        Pass over those of this record and later ones; None = the newest of all.

    Raises
    ------
    StorageError
        The disk refused to read. (A damaged file is not an error, only skipped.)
    """
    disk = disk or OsDisk()
    folder = snapshot_folder(data)
    for name in reversed(_names(disk, folder)):
        path = folder / name
        if before_seq is not None and int(path.stem) >= before_seq:
            continue
        try:
            return _load(disk, path)
        except _OtherFormatError as error:
            if on_damaged is not None:
                on_damaged(f"snapshot {path} {error}: skipped, the journal is read instead")
        except (ValueError, KeyError, TypeError) as error:
            if on_damaged is not None:
                on_damaged(f"snapshot {path} is damaged ({error}): skipped, it may be deleted")
    return None


def of_other_format(data: Path, disk: Disk | None = None) -> list[int]:
    """Return the records of snapshots that another version of the program wrote, oldest first."""
    disk = disk or OsDisk()
    folder = snapshot_folder(data)
    return [int(Path(n).stem) for n in _names(disk, folder) if _is_other(disk, folder / n)]


def _is_other(disk: Disk, path: Path) -> bool:
    with storage_errors("opening", path):
        handle = disk.open(path)
    try:
        _read_head(disk, handle, path)
    except _OtherFormatError:
        return True
    except ValueError:
        return False
    finally:
        disk.close(handle)
    return False


def latest_seq(data: Path, disk: Disk | None = None) -> int:
    """Return the record the newest snapshot is about, by its name alone; 0 = no snapshot."""
    return max(snapshot_seqs(data, disk), default=0)


def _names(disk: Disk, folder: Path) -> list[str]:
    names = disk.names(folder)
    return [n for n in names if n.endswith(".snap") and n[:-5].isascii() and n[:-5].isdigit()]


def remove_leftovers(disk: Disk, folder: Path) -> None:
    """Remove what writers that were killed have left in the folder of the snapshots."""
    for name in disk.names(folder):
        if name.endswith(".tmp"):
            disk.unlink(folder / name)


def _write_all(
    disk: Disk,
    handle: int,
    path: Path,
    content: tuple[int, Position, Arrays, dict[str, Any]],
) -> None:
    """Write arrays while hashing them, then the index, then the head page that makes it valid."""
    seq, position, arrays, meta = content
    digest = _SHA256.copy()
    offset = PAGE_BYTES
    entries = []
    for name in sorted(arrays):
        array = arrays[name]
        at = offset

        def put(chunk: memoryview) -> None:
            nonlocal at
            write_exact(disk, handle, chunk, at, path)
            at += len(chunk)

        _hash_array(digest, name, array, put)
        descr = np.lib.format.dtype_to_descr(array.dtype)
        entries.append({"name": name, "dtype": descr, "shape": array.shape, "offset": offset})
        offset = padded(at)
    index = json.dumps(
        {
            "seq": seq,
            "position": position.to_json(),
            "meta": meta,
            "arrays": entries,
            "state_hash": digest.hexdigest(),
        }
    ).encode()
    write_exact(disk, handle, index, offset, path)
    index_hash = _SHA256.copy()
    index_hash.update(index)
    head = _HEAD.pack(_MAGIC, SNAPSHOT_FORMAT, offset, len(index), index_hash.digest())
    head += _CRC.pack(zlib.crc32(head))
    write_exact(disk, handle, head.ljust(PAGE_BYTES, b"\0"), 0, path)


def _hash_array(
    digest: "hashlib._Hash", name: str, array: NDArray[Any], put: Callable[[memoryview], None]
) -> None:
    """Feed one array to ``digest`` and, a chunk at a time, to ``put``."""
    descr = json.dumps([name, np.lib.format.dtype_to_descr(array.dtype), array.shape])
    digest.update(descr.encode() + b"\n")
    raw = _bytes_of(array)
    for start in range(0, len(raw), _CHUNK_BYTES):
        chunk = raw[start : start + _CHUNK_BYTES]
        digest.update(chunk)
        put(chunk)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _load(disk: Disk, path: Path) -> Snapshot:
    """Read and check one snapshot; ``ValueError``, ``KeyError`` or ``TypeError`` if not whole."""
    with storage_errors("opening", path):
        handle = disk.open(path)
    try:
        index = _read_index(disk, handle, path)
        arrays = {e["name"]: _read_array(disk, handle, path, e) for e in index["arrays"]}
    finally:
        disk.close(handle)
    found = state_hash(arrays)
    if found != index["state_hash"]:
        raise ValueError("arrays differ from their hash")
    position = position_from_json(index["position"])
    return Snapshot(int(index["seq"]), position, arrays, index["meta"], found)


def _read_head(disk: Disk, handle: int, path: Path) -> tuple[int, int, bytes]:
    """Return offset, size and SHA-256 of the index."""
    head = _read(disk, handle, path, 0, PAGE_BYTES)
    fields = bytes(head[: _HEAD.size])
    if zlib.crc32(fields) != _CRC.unpack_from(head, _HEAD.size)[0]:
        raise ValueError("head page checksum")
    magic, version, offset, size, index_hash = _HEAD.unpack(fields)
    if magic != _MAGIC:
        raise ValueError("no snapshot")
    if version != SNAPSHOT_FORMAT:
        message = f"has snapshot format {version}, this program reads format {SNAPSHOT_FORMAT}"
        raise _OtherFormatError(message)
    return offset, size, index_hash


def _read_index(disk: Disk, handle: int, path: Path) -> dict[str, Any]:
    offset, size, index_hash = _read_head(disk, handle, path)
    if size > _INDEX_BYTES_MAX:
        raise ValueError("index too long")
    raw = bytes(_read(disk, handle, path, offset, size))
    if hashlib.sha256(raw).digest() != index_hash:
        raise ValueError("index differs from its hash")
    index: dict[str, Any] = json.loads(raw)
    return index


def _read_array(disk: Disk, handle: int, path: Path, entry: dict[str, Any]) -> NDArray[Any]:
    dtype = np.lib.format.descr_to_dtype(_tuples(entry["dtype"]))
    array = np.empty(tuple(entry["shape"]), dtype)
    raw = array.reshape(-1).view(np.uint8).data
    with storage_errors("reading", path):
        count = disk.read_into(handle, raw, int(entry["offset"]))
    if count != len(raw):
        raise ValueError("file is cut short")
    return array


def _read(disk: Disk, handle: int, path: Path, offset: int, size: int) -> bytearray:
    buffer = bytearray(size)
    with storage_errors("reading", path):
        count = disk.read_into(handle, memoryview(buffer), offset)
    if count != size:
        raise ValueError("file is cut short")
    return buffer


def _tuples(descr: Any) -> Any:
    """Return a dtype description read from JSON with the tuples that NumPy expects."""
    if isinstance(descr, list):
        return [tuple(_shape(part) for part in field) for field in descr]
    return descr


def _shape(part: Any) -> Any:
    if isinstance(part, list):
        return _tuples(part) if part and isinstance(part[0], list) else tuple(part)
    return part
