"""A disk in memory that can lose power and fail a chosen call.

A file is what was synced plus the writes since, kept as 512-byte pieces. Names are what was synced
plus the renames and removals since, in order. ``after_power_loss`` builds the disk one would find:
synced bytes, any chosen subset of the pieces, any chosen prefix of the name changes. Pieces are of
512 bytes unless said otherwise; pieces that do not overlap survive in any order, so subsets are all
there is to reordering.
"""

# ruff: noqa: D102, ARG002 - the methods are those of ledger.disk.Disk

import errno
from collections.abc import Callable
from pathlib import Path

from ledger.disk import Buffer

SECTOR = 512


class _File:
    def __init__(self, synced: bytes = b"", piece: int = SECTOR) -> None:
        self.piece = piece
        self.synced = bytearray(synced)
        self.now = bytearray(synced)
        self.pieces: list[tuple[int, bytes]] = []

    def write(self, data: bytes, offset: int) -> None:
        self.now.extend(bytes(max(0, offset + len(data) - len(self.now))))
        self.now[offset : offset + len(data)] = data
        at = offset
        while at < offset + len(data):
            end = min((at // self.piece + 1) * self.piece, offset + len(data))
            self.pieces.append((at, data[at - offset : end - offset]))
            at = end

    def sync(self) -> None:
        self.synced = bytearray(self.now)
        self.pieces.clear()

    def survivor(self, keep: Callable[[int], bool]) -> "_File":
        content = bytearray(self.synced)
        content.extend(bytes(len(self.now) - len(content)))
        for number, (offset, data) in enumerate(self.pieces):
            if keep(number):
                content[offset : offset + len(data)] = data
        return _File(bytes(content), self.piece)


class FakeDisk:
    """See the module; ``calls`` counts writes, syncs and renames, ``fail_at`` makes one fail.

    ``failure`` is an errno, or "short" for a write that takes half, or "stop" for a power cut
    before the call.
    """

    def __init__(self, piece: int = SECTOR) -> None:
        self.piece = piece
        self.names_now: dict[Path, _File] = {}
        self.names_synced: dict[Path, _File] = {}
        self.name_changes: list[tuple[Path | None, Path | None]] = []
        self.calls = 0
        self.is_off = False
        self.fail_at = -1
        self.failure: int | str = errno.EIO
        self._open: dict[int, _File] = {}
        self._next_handle = 3

    def after_power_loss(
        self, keep: Callable[[int], bool], name_changes_kept: int | None = None
    ) -> "FakeDisk":
        """Return the disk as found after the power came back."""
        names = dict(self.names_synced)
        for source, target in self.name_changes[:name_changes_kept]:
            if source is not None and target is not None and source in names:
                names[target] = names.pop(source)
            elif target is None and source is not None:
                names.pop(source, None)
        found = FakeDisk(self.piece)
        found.names_now = {path: file.survivor(keep) for path, file in names.items()}
        found.names_synced = dict(found.names_now)
        return found

    def unsynced_pieces(self) -> int:
        """Return how many pieces of the fullest file wait for a sync."""
        return max((len(file.pieces) for file in self.names_now.values()), default=0)

    def open(
        self, path: Path, *, write: bool = False, create: bool = False, direct: bool = False
    ) -> int:
        if create:
            self.names_now[path] = self.names_synced[path] = _File(b"", self.piece)
        if path not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        self._next_handle += 1
        self._open[self._next_handle] = self.names_now[path]
        return self._next_handle

    def close(self, handle: int) -> None:
        self._open.pop(handle, None)

    def size(self, handle: int) -> int:
        return len(self._open[handle].now)

    def read_into(self, handle: int, buffer: memoryview, offset: int) -> int:
        data = self._open[handle].now[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    def pwrite(self, handle: int, data: Buffer, offset: int) -> int:
        if self._fails() == "short":
            self._open[handle].write(bytes(data[: len(data) // 2]), offset)
            return len(data) // 2
        self._open[handle].write(bytes(data), offset)
        return len(data)

    def allocate(self, handle: int, size: int) -> None:
        self._fails()
        self._open[handle].now.extend(bytes(size - len(self._open[handle].now)))

    def fdatasync(self, handle: int) -> None:
        self._fails()
        self._open[handle].sync()

    def pwrite_durably(self, handle: int, data: Buffer, offset: int) -> int:
        taken = self.pwrite(handle, data, offset)
        self.fdatasync(handle)
        return taken

    def rename(self, source: Path, target: Path) -> None:
        self._fails()
        self.names_now[target] = self.names_now.pop(source)
        self.name_changes.append((source, target))

    def unlink(self, path: Path) -> None:
        if self.is_off:
            raise PowerCut
        if self.names_now.pop(path, None) is not None:
            self.name_changes.append((path, None))

    def fsync_dir(self, folder: Path) -> None:
        self._fails()
        self.names_synced = dict(self.names_now)
        self.name_changes.clear()

    def mkdir(self, folder: Path) -> None:
        return

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in self.names_now if path.parent == folder)

    def lock(self, path: Path) -> int:
        return 1

    def _fails(self) -> str:
        if self.is_off:
            raise PowerCut
        self.calls += 1
        if self.calls - 1 != self.fail_at:
            return ""
        if self.failure == "stop":
            self.is_off = True
            raise PowerCut
        if isinstance(self.failure, int):
            raise OSError(self.failure, "made to fail")
        return self.failure


class PowerCut(BaseException):
    """The machine is off: no handler of the program under test may run on."""
