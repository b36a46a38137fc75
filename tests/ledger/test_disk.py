"""The operating system's disk: direct access where it can be had, and nothing lost where not."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from ledger.disk import OsDisk, write_durably
from ledger.errors import StorageError
from ledger.pages import in_page_memory, page_memory

PAGE = 4096


def _is_direct(handle: int) -> bool:
    return bool(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_DIRECT)


def _opened(disk: OsDisk, path: Path) -> int:
    handle = disk.open(path, create=True, direct=True)
    if not _is_direct(handle):
        disk.close(handle)
        pytest.skip("this file system has no direct access")
    return handle


@pytest.mark.parametrize("direct", [False, True])
def test_pages_come_back(tmp_path: Path, direct: bool) -> None:
    """What was written at an offset is read from there, and the file has its whole size before."""
    disk = OsDisk()
    handle = disk.open(tmp_path / "file", create=True, direct=direct)
    disk.allocate(handle, 4 * PAGE)
    assert disk.size(handle) == 4 * PAGE
    data = in_page_memory(os.urandom(2 * PAGE))
    assert disk.pwrite(handle, data, PAGE) == 2 * PAGE
    assert disk.pwrite_durably(handle, data[:PAGE], 3 * PAGE) == PAGE
    found = page_memory(4 * PAGE).data
    assert disk.read_into(handle, found, 0) == 4 * PAGE
    disk.close(handle)
    assert bytes(found) == bytes(PAGE) + bytes(data) + bytes(data[:PAGE])
    assert (tmp_path / "file").read_bytes() == bytes(found)


@pytest.mark.parametrize("call", ["pwrite", "pwrite_durably", "read_into"])
def test_refused_direct_access_is_done_without(tmp_path: Path, call: str) -> None:
    """Bytes that the disk cannot take directly go through the page cache, all later ones too."""
    disk = OsDisk()
    handle = _opened(disk, tmp_path / "file")
    disk.pwrite(handle, in_page_memory(b"a" * PAGE), 0)
    odd = memoryview(bytearray(b"b" * (PAGE + 1)))[1:11]  # neither place nor size is a page's
    assert getattr(disk, call)(handle, odd, 7) == 10
    assert not _is_direct(handle)
    assert disk.pwrite(handle, b"c", PAGE - 1) == 1
    disk.close(handle)
    kept = b"a" * 10 if call == "read_into" else b"b" * 10
    assert (tmp_path / "file").read_bytes() == b"a" * 7 + kept + b"a" * (PAGE - 18) + b"c"
    assert call != "read_into" or bytes(odd) == b"a" * 10


def test_errors_are_told_with_the_file(tmp_path: Path) -> None:
    """A missing file, and a write that the disk refuses, are errors as ever."""
    disk = OsDisk()
    with pytest.raises(FileNotFoundError):
        disk.open(tmp_path / "none", write=True, direct=True)
    path = tmp_path / "file"
    path.write_bytes(b"")
    handle = disk.open(path, direct=True)  # for reading
    with pytest.raises(OSError, match="descriptor") as caught:
        disk.pwrite(handle, in_page_memory(bytes(PAGE)), 0)
    assert caught.value.errno == errno.EBADF
    with pytest.raises(StorageError, match=r"input/output error while writing .*file"):
        write_durably(disk, handle, in_page_memory(bytes(PAGE)), 0, path)
    disk.close(handle)
