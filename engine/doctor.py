"""``de39 doctor``: is this machine fit to run the switch, and if not, what would make it so.

Each check looks at one thing and returns a finding: what was seen, what is wished for and what to
do. ``fail`` is what would stop the switch or lose money; ``warn`` what would slow it down or show
more than it should.
"""

import ctypes
import importlib.metadata
import os
import platform
import resource
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from engine import kernel_cache
from engine.config import Config
from engine.ports import addresses_of, bound, why

Level = Literal["ok", "warn", "fail"]

_SYNC_ROUNDS = 50
_SYNC_SLOW_MS = 5.0
_PAGE_BYTES = 4096
_FREE_LEAST_BYTES = 1 << 30
_SPARE_FILES = 128  # journal, vault, HTTP and what the runtime holds open
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})
_SECRET_FILES = ("vault.key", "vault.db", "admin.token")


class Finding(NamedTuple):
    """One thing that was looked at."""

    check: str
    level: Level
    seen: str
    advice: str = ""


def examine(config: Config) -> Iterator[Finding]:
    """Look at machine and surroundings of a switch that would run with ``config``."""
    yield _runtime()
    yield _cores()
    yield _kernels()
    folder = _existing(Path(config.data))
    yield _file_system(folder)
    yield _space(folder)
    yield _sync_time(folder)
    yield from _modes(Path(config.data))
    yield _open_files(config)
    yield _core_dumps()
    yield _swap()
    yield _clock()
    for where, address in addresses_of(config):
        yield _port(where, address)


def _runtime() -> Finding:
    seen = f"Python {platform.python_version()}, {platform.machine()}, {sys.byteorder}-endian"
    if sys.version_info < (3, 11) or sys.byteorder != "little" or struct.calcsize("P") != 8:
        return Finding("runtime", "fail", seen, "use Python 3.11 or newer, 64 bits, little-endian")
    return Finding("runtime", "ok", seen)


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if (count or 1) < 2:
        advice = "give it two: one for batches, one for syncs and metrics"
        return Finding("cores", "warn", f"{count} core", advice)
    return Finding("cores", "ok", f"{count} cores")


def _kernels() -> Finding:
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or kernel_cache.configure())
    seen = f"Numba {importlib.metadata.version('numba')}, kernels in {folder}"
    if not kernel_cache.is_warm(folder):
        advice = "the first start compiles for about a minute"
        return Finding("kernels", "warn", seen + ": not compiled yet", advice)
    return Finding("kernels", "ok", seen)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _file_system(folder: Path) -> Finding:
    kind = _mount_type(folder)
    if kind in _MEMORY_FILE_SYSTEMS:
        advice = "move `data` to a disk: what is kept in memory is gone after a power loss"
        return Finding("file system", "fail", f"{folder} is {kind}", advice)
    return Finding("file system", "ok", f"{folder} is {kind or 'of an unknown kind'}")


def _mount_type(folder: Path) -> str:
    """Return the type of the file system that holds ``folder``; empty where nothing tells."""
    best, kind = "", ""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        _device, mount, found, *_rest = line.split(" ")
        if folder.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def _space(folder: Path) -> Finding:
    facts = os.statvfs(folder)
    free = facts.f_bavail * facts.f_frsize
    seen = f"{free / 2**30:.1f} GiB free"
    if free < _FREE_LEAST_BYTES:
        return Finding("disk space", "fail", seen, "at least 1 GiB: a million records take 200 MB")
    return Finding("disk space", "ok", seen)


def _sync_time(folder: Path) -> Finding:
    """Time a write and fdatasync of a page: every answer waits for one."""
    times_ms: list[float] = []
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PAGE_BYTES * _SYNC_ROUNDS))
            os.fsync(file.fileno())
            for i in range(_SYNC_ROUNDS):
                started_ns = time.perf_counter_ns()
                os.pwrite(file.fileno(), b"\1" * _PAGE_BYTES, i * _PAGE_BYTES)
                os.fdatasync(file.fileno())
                times_ms.append((time.perf_counter_ns() - started_ns) / 1e6)
    except OSError as error:
        return Finding("disk sync", "fail", f"{folder}: {error.strerror}", "make it writable")
    middle, worst = statistics.median(times_ms), max(times_ms)
    seen = f"write and sync of 4 KiB: median {middle:.2f} ms, longest {worst:.2f} ms"
    if middle > _SYNC_SLOW_MS:
        advice = "every answer waits for a sync: take a disk with a power-safe cache"
        return Finding("disk sync", "warn", seen, advice)
    return Finding("disk sync", "ok", seen)


def _modes(data: Path) -> Iterator[Finding]:
    """Look for files of the data folder that others may read."""
    if not data.is_dir():
        yield Finding("file modes", "ok", f"{data} is made at the first start, mode 0700")
        return
    open_to_others = [
        f"{path.name} is {path.stat().st_mode & 0o777:04o}"
        for path in (data, *(data / name for name in _SECRET_FILES))
        if path.exists() and path.stat().st_mode & 0o077
    ]
    if open_to_others:
        advice = f"chmod go-rwx {data} and those files in it"
        yield Finding("file modes", "fail", ", ".join(open_to_others), advice)
    else:
        yield Finding("file modes", "ok", "the data folder is closed to others")


def _open_files(config: Config) -> Finding:
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sum(listen.max_connections for listen in config.listen) + _SPARE_FILES
    seen = f"{limit:,} open files allowed, {wanted:,} wanted for all connections"
    if limit != resource.RLIM_INFINITY and limit < wanted:
        return Finding("open files", "fail", seen, "raise `ulimit -n` or lower max_connections")
    return Finding("open files", "ok", seen)


def _core_dumps() -> Finding:
    soft, _hard = resource.getrlimit(resource.RLIMIT_CORE)
    if soft != 0:
        advice = "`ulimit -c 0`: a dump of memory may hold card numbers"
        return Finding("core dumps", "warn", "allowed", advice)
    return Finding("core dumps", "ok", "off")


def _swap() -> Finding:
    try:
        areas = Path("/proc/swaps").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return Finding("swap", "ok", "the system does not tell")
    if areas:
        advice = "encrypt it or turn it off: memory with card numbers may be written there"
        return Finding("swap", "warn", f"{len(areas)} areas in use", advice)
    return Finding("swap", "ok", "none")


def _clock() -> Finding:
    """Ask the kernel whether time is synchronised: engine time goes into every record."""
    state = _adjtimex_state()
    if state is None:
        return Finding("clock", "warn", "the system does not tell", "check that NTP runs")
    if state == _TIME_ERROR:
        return Finding("clock", "warn", "not synchronised", "run an NTP client")
    return Finding("clock", "ok", "synchronised")


def _adjtimex_state() -> int | None:
    """Return what adjtimex(2) says of the clock; None where it cannot be asked."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = int(libc.adjtimex(ctypes.create_string_buffer(512)))  # modes 0: reads only
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state


def _port(where: str, address: str) -> Finding:
    try:
        bound(address).close()
    except OSError as error:
        advice = "choose another, or stop what holds it (a switch that runs already?)"
        return Finding(where, "fail", f"{address}: {why(error)}", advice)
    return Finding(where, "ok", f"{address} is free")


def worst_of(findings: list[Finding]) -> Level:
    """Return the worst level among ``findings``."""
    levels = {finding.level for finding in findings}
    return "fail" if "fail" in levels else "warn" if "warn" in levels else "ok"
