"""Where compiled kernels are kept between starts.

Numba's cache looks at the file of a kernel only, not at the kernels it calls, so a cache in a
fixed place serves stale code. The folder is therefore named by a hash of every file with kernels
and all they import, the Numba version, the processor and the bounds-check switch: a change of any
of them is a new folder. Must be called before Numba is imported.
"""

import hashlib
import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

_PACKAGES = ("engine", "scoring", "ledger", "bench")
_IMPORT = re.compile(
    r"^from ((?:engine|scoring|ledger|bench)[\w.]*) import (\([^)]*\)|.*)$", re.MULTILINE
)


def configure() -> Path:
    """Point ``NUMBA_CACHE_DIR`` at the folder for exactly this code; return the folder.

    A value that the environment sets already is kept as the parent folder.
    """
    assert "numba" not in sys.modules, "the kernel cache is chosen before numba is imported"
    parent = os.environ.get("DE39_KERNEL_CACHE") or _user_cache()
    folder = Path(parent) / f"kernels-{_fingerprint()}"
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    return folder


def is_warm(folder: Path) -> bool:
    """Return whether an earlier process finished compiling into ``folder``."""
    return (folder / "complete").exists()


def mark_warm(folder: Path) -> None:
    """Note that every kernel is in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "complete").touch()


def _user_cache() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return str(Path(base) / "de39")


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name, text in sorted(_sources().items()):
        digest.update(name.encode() + b"\0" + text)
    facts = (
        importlib.metadata.version("numba"),
        platform.machine(),
        _processor(),
        os.environ.get("NUMBA_BOUNDSCHECK", "0"),
    )
    digest.update("\0".join(facts).encode())
    return digest.hexdigest()[:16]


def _sources() -> dict[str, bytes]:
    """Return the sources that hold kernels and all that they import, by module name.

    A constant of another file is compiled into the kernel that reads it, so files without kernels
    count too as soon as a kernel's file imports them.
    """
    root = Path(__file__).resolve().parent.parent
    texts = {
        str(path.relative_to(root))[:-3].replace("/", "."): path.read_bytes()
        for package in _PACKAGES
        for path in (root / package).rglob("*.py")
    }
    wanted = [name for name, text in texts.items() if b"\n@kernel" in text]
    found: dict[str, bytes] = {}
    while wanted:
        name = wanted.pop()
        if name in texts and name not in found:
            found[name] = texts[name]
            for package, names in _IMPORT.findall(texts[name].decode()):
                wanted.append(package)
                wanted += [f"{package}.{part}" for part in re.findall(r"\w+", names)]
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    return next((line for line in text.splitlines() if line.startswith("flags")), "")
