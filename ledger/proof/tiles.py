"""A Merkle tree on disk in the C2SP tlog-tiles layout.

    tile/<L>/<N>          256 hashes of level 8 L, or
    tile/<L>/<N>.p/<W>    the first W of them: the right edge of the tree
    tile/entries/<N>[.p/<W>]   the entries of those leaves, each with its length in two bytes

<N> is written in groups of three digits, all but the last with an ``x`` before (x001/x234/067). The
files can all be made again from the journal, so they are not synced: what a power loss takes is
noticed when the tree is opened, by the root that the signed checkpoint states.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ledger.disk import Disk, storage_errors, write_exact
from ledger.errors import LedgerError
from ledger.proof.merkle import getter, leaf_hash, root

WIDTH = 256
_HASH_BYTES = 32
_LEVELS_MAX = 8


class TreeDamagedError(LedgerError):
    """A file of the tree is missing or has the wrong size; all can be made again."""


def number_path(number: int) -> str:
    """Return the path of tile ``number``: x001/x234/067."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03d}")
    return "/".join(groups)


def tile_names(size: int) -> Iterator[str]:
    """Yield the files of the tree of ``size`` leaves, relative to its folder ``tile``."""
    for level in range(_LEVELS_MAX):
        width = size >> (8 * level)
        if not width:
            return
        folders = (str(level), "entries") if level == 0 else (str(level),)
        for number in range(-(-width // WIDTH)):
            part = min(WIDTH, width - number * WIDTH)
            edge = "" if part == WIDTH else f".p/{part}"
            yield from (f"{folder}/{number_path(number)}{edge}" for folder in folders)


class Tiles:
    """The tree in one folder.

    Parameters
    ----------
    disk, folder
        Where the files are.
    size
        Leaves of the tree as it was last published; files of these are expected to be there.
    """

    def __init__(self, disk: Disk, folder: Path, size: int = 0) -> None:
        self._disk = disk
        self._folder = folder
        self.size = size
        self._saved = size
        self._edges: list[list[bytes]] = []  # hashes of the tile being filled, a level each
        self._entries: list[bytes] = []
        for level in range(_LEVELS_MAX):
            width = size >> (8 * level)
            if level and not width:
                break
            self._edges.append(self._tile(level, width // WIDTH, size) if width % WIDTH else [])
        if size % WIDTH:
            self._entries = self._read_entries(size // WIDTH, size)

    def append(self, entry: bytes) -> None:
        """Add a leaf that holds ``entry``; full tiles are written at once."""
        self._entries.append(entry)
        if len(self._entries) == WIDTH:
            self._write(f"entries/{number_path(self.size // WIDTH)}", _bundle(self._entries))
            self._entries = []
        self._push(0, leaf_hash(entry))
        self.size += 1

    def save(self) -> None:
        """Write the right edge, so that the tree of ``size`` leaves can be read from the files."""
        if self.size == self._saved:
            return
        for level, edge in enumerate(self._edges):
            if edge:
                number = number_path((self.size >> (8 * level)) // WIDTH)
                self._write(f"{level}/{number}.p/{len(edge)}", b"".join(edge))
        if self._entries:
            number = number_path(self.size // WIDTH)
            self._write(f"entries/{number}.p/{len(self._entries)}", _bundle(self._entries))
        self._saved = self.size

    def forget(self, size: int) -> None:
        """Remove the right edge of the tree of ``size`` leaves: a newer one is published."""
        for level in range(_LEVELS_MAX):
            width = size >> (8 * level)
            if width % WIDTH and width != self.size >> (8 * level):
                self._remove(f"{level}/{number_path(width // WIDTH)}.p/{width % WIDTH}")
        if size % WIDTH and size != self.size:
            self._remove(f"entries/{number_path(size // WIDTH)}.p/{size % WIDTH}")

    def get(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree: see ``ledger.proof.merkle``."""
        if level % 8:
            tile = self._tile(level // 8, (index << (level % 8)) // WIDTH, self.size)
            first = (index << (level % 8)) % WIDTH
            part = tile[first : first + (1 << (level % 8))]
            return root(getter(part), len(part))
        tile = self._tile(level // 8, index // WIDTH, self.size)
        return tile[index % WIDTH]

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first ``size`` leaves; None = all."""
        return root(self.get, self.size if size is None else size)

    def entry(self, index: int) -> bytes:
        """Return what leaf ``index`` holds."""
        return self._read_entries(index // WIDTH, self.size)[index % WIDTH]

    def _push(self, level: int, value: bytes) -> None:
        if level == len(self._edges):
            self._edges.append([])
        edge = self._edges[level]
        edge.append(value)
        if len(edge) == WIDTH:
            above = root(getter(edge), WIDTH)
            number = (self.size >> (8 * level)) // WIDTH
            self._write(f"{level}/{number_path(number)}", b"".join(edge))
            self._edges[level] = []
            self._push(level + 1, above)

    def _tile(self, level: int, number: int, size: int) -> list[bytes]:
        """Return the hashes of a tile in the tree of ``size`` leaves."""
        width = min(WIDTH, (size >> (8 * level)) - number * WIDTH)
        if level < len(self._edges) and number == (self.size >> (8 * level)) // WIDTH:
            return self._edges[level]
        raw = self._read(f"{level}/{number_path(number)}", width)
        if len(raw) != width * _HASH_BYTES:
            raise TreeDamagedError(f"{self._folder}: tile {level}/{number} has {len(raw)} bytes")
        return [raw[at : at + _HASH_BYTES] for at in range(0, len(raw), _HASH_BYTES)]

    def _read_entries(self, number: int, size: int) -> list[bytes]:
        if number == self.size // WIDTH and self._entries:
            return self._entries
        width = min(WIDTH, size - number * WIDTH)
        raw = self._read(f"entries/{number_path(number)}", width)
        entries = []
        while raw:
            end = 2 + int.from_bytes(raw[:2], "big")
            entries.append(raw[2:end])
            raw = raw[end:]
        if len(entries) != width:
            raise TreeDamagedError(f"{self._folder}: entries {number} hold {len(entries)}")
        return entries

    def _read(self, name: str, width: int) -> bytes:
        path = self._path(name if width == WIDTH else f"{name}.p/{width}")
        try:
            handle = self._disk.open(path)
        except OSError as error:
            raise TreeDamagedError(f"{path} cannot be read: {error.strerror}") from error
        try:
            with storage_errors("reading", path):
                buffer = bytearray(self._disk.size(handle))
                self._disk.read_into(handle, memoryview(buffer), 0)
        finally:
            self._disk.close(handle)
        return bytes(buffer)

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with storage_errors("writing", path):
            self._disk.mkdir(path.parent)
            handle = self._disk.open(path, create=True)
            try:
                write_exact(self._disk, handle, data, 0, path)
            finally:
                self._disk.close(handle)

    def _remove(self, name: str) -> None:
        path = self._path(name)
        with storage_errors("removing", path):
            self._disk.unlink(path)

    def _path(self, name: str) -> Path:
        return self._folder / "tile" / name


def _bundle(entries: Sequence[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
