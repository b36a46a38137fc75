"""Where compiled kernels are kept between starts.

Numba's own cache looks at the file of a kernel only, not at the kernels it calls, so a cache in a
fixed place serves stale code. Here each file with kernels has a folder named by a hash of that file
and of all it imports, of the Numba version, the processor and the bounds-check switch: a change of
any of them is a new folder, and only the kernels that can see the change compile again. What is the
same elsewhere on the machine, in another clone say, is found there. Must be called before Numba is
imported.
"""

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("engine", "scoring", "ledger", "bench")
_KERNEL = re.compile(rb"^@\w*kernel$", re.MULTILINE)
_IMPORT = re.compile(
    r"^from ((?:engine|scoring|ledger|bench)[\w.]*) import (\([^)]*\)|.*)$", re.MULTILINE
)


def configure() -> Path:
    """Tell Numba to keep kernels as this module says; return the folder of exactly this code.

    That folder holds the mark of a whole compilation (``mark_warm``), the kernels lie beside it.
    """
    assert "numba" not in sys.modules, "the kernel cache is chosen before numba is imported"
    parent = os.environ.get("DE39_KERNEL_CACHE") or _user_cache()
    folder = Path(parent) / f"kernels-{_fingerprint()}"
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    os.environ["NUMBA_CACHE_LOCATOR_CLASSES"] = f"{__name__}.{ModuleLocator.__name__}"
    return folder


class ModuleLocator:
    """Tells Numba where the kernels of one file are kept (a class of ``numba.core.caching``)."""

    def __init__(self, first_line: int, file: Path) -> None:
        parent = Path(os.environ["NUMBA_CACHE_DIR"]).parent
        self._stamp = _fingerprint_of(file)
        self._folder = parent / "kernels" / f"{file.stem}-{self._stamp}"
        self._first_line = first_line

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "ModuleLocator":
        """Return the locator of a function's kernels."""
        locator = cls(function.__code__.co_firstlineno, Path(file).resolve())
        locator.ensure_cache_path()
        return locator

    def ensure_cache_path(self) -> None:
        """Make the folder; raises ``OSError`` where nothing can be written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=self._folder).close()

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """Return what kept code must agree with."""
        return self._stamp

    def get_disambiguator(self) -> str:
        """Return what tells two functions of one name apart."""
        return str(self._first_line)


def is_warm(folder: Path, part: str = "complete") -> bool:
    """Return whether an earlier process finished compiling into ``folder``; a part has its name."""
    return (folder / part).exists()


def mark_warm(folder: Path, part: str = "complete") -> None:
    """Note that every kernel that serves, or of a part that is compiled later, is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / part).touch()


def _user_cache() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return str(Path(base) / "de39")


def _fingerprint() -> str:
    """Return the hash of every file with kernels and all that they import."""
    return _hash_of(_closure([name for name, text in _texts().items() if _KERNEL.search(text)]))


@functools.cache
def _fingerprint_of(file: Path) -> str:
    """Return the hash of one file and all that it imports; any of ours, for a file elsewhere."""
    if file.is_relative_to(_ROOT):
        name = str(file.relative_to(_ROOT))[:-3].replace("/", ".")
        if name in _texts():
            return _hash_of(_closure([name]))
    return _hash_of(_texts() | {"": file.read_bytes()})


def _hash_of(sources: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(sources.items()):
        digest.update(name.encode() + b"\0" + text)
    facts = (
        importlib.metadata.version("numba"),
        platform.machine(),
        _processor(),
        os.environ.get("NUMBA_BOUNDSCHECK", "0"),
    )
    digest.update("\0".join(facts).encode())
    return digest.hexdigest()[:16]


@functools.cache
def _texts() -> dict[str, bytes]:
    """Return all sources of the packages by module name."""
    return {
        str(path.relative_to(_ROOT))[:-3].replace("/", "."): path.read_bytes()
        for package in _PACKAGES
        for path in (_ROOT / package).rglob("*.py")
    }


@functools.cache
def _imports(name: str) -> tuple[str, ...]:
    """Return the modules that a module may import from, as far as they are ours."""
    found: list[str] = []
    for package, names in _IMPORT.findall(_texts()[name].decode()):
        found.append(package)
        found += [f"{package}.{part}" for part in re.findall(r"\w+", names)]
    return tuple(module for module in found if module in _texts())


def _closure(wanted: list[str]) -> dict[str, bytes]:
    """Return the sources of ``wanted`` and all that they import, by module name.

    A constant of another file is compiled into the kernel that reads it, so files without kernels
    count too as soon as a kernel's file imports them.
    """
    found: dict[str, bytes] = {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _texts()[name]
            wanted += _imports(name)
    return found


@functools.cache
def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    return next((line for line in text.splitlines() if line.startswith("flags")), "")
