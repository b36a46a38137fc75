"""The folder of compiled kernels is another one whenever the machine code could differ."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from engine import kernel_cache

KERNELS = """from ledger.jit import kernel
from scoring.bounds import (
    LEAST,
    MOST,
)


@kernel
def clip(value):
    return min(max(value, LEAST), MOST)
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house: a kernel whose constants come from a second and, through it, a third file."""
    files = {
        "engine/clip_kernels.py": KERNELS,
        "engine/cli.py": "print('no kernel imports this')\n",
        "ledger/jit.py": "def kernel(function):\n    return function\n",
        "scoring/bounds.py": "from scoring import deep\nLEAST = 0\nMOST = deep.MOST\n",
        "scoring/deep.py": "MOST = 10\n",
        "bench/nothing.py": "",
        "engine/kernel_cache.py": Path(kernel_cache.__file__).read_text(encoding="utf-8"),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def fingerprint(house: Path) -> str:
    """Return the fingerprint that the house's own copy of the module makes."""
    return str(copy_of(house)._fingerprint())


def copy_of(house: Path) -> ModuleType:
    """Load the house's copy of ``engine.kernel_cache``, which looks at the files around it."""
    spec = importlib.util.spec_from_file_location("copy", house / "engine" / "kernel_cache.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["engine/clip_kernels.py", "scoring/bounds.py", "scoring/deep.py", "ledger/jit.py"]
)
def test_change_of_a_kernel_or_what_it_imports_is_a_new_folder(house: Path, name: str) -> None:
    """A constant of another file is compiled in, so its file counts, however far it is imported."""
    before = fingerprint(house)
    path = house / name
    path.write_text(path.read_text(encoding="utf-8") + "MORE = 1\n", encoding="utf-8")
    assert fingerprint(house) != before


@pytest.mark.parametrize(
    ("name", "compiles"),
    [
        ("engine/clip_kernels.py", {"clip_kernels"}),
        ("scoring/deep.py", {"clip_kernels"}),
        ("ledger/other_kernels.py", {"other_kernels"}),
        ("ledger/jit.py", {"clip_kernels", "other_kernels"}),
        ("engine/cli.py", set()),
    ],
)
def test_only_kernels_that_see_a_change_compile_again(
    house: Path, monkeypatch: pytest.MonkeyPatch, name: str, compiles: set[str]
) -> None:
    """Each file with kernels has a folder of its own; the others keep theirs."""
    text = KERNELS.replace("LEAST", "0").replace("MOST", "1").partition(")\n")[2]
    other = "from ledger.jit import kernel\n" + text
    (house / "ledger" / "other_kernels.py").write_text(other, encoding="utf-8")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(house / "cache" / "kernels-0"))
    before = folders(house)
    path = house / name
    path.write_text(path.read_text(encoding="utf-8") + "MORE = 1\n", encoding="utf-8")
    after = folders(house)
    assert {stem for stem in before if before[stem] != after[stem]} == compiles


def test_equal_sources_share_kernels(
    house: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second clone with the same sources finds the compiled kernels of the first."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache" / "kernels-0"))
    second = tmp_path / "second"
    shutil.copytree(house, second, ignore=shutil.ignore_patterns("second"))
    (second / "ledger" / "other_kernels.py").write_text("x = 1\n", encoding="utf-8")
    (house / "ledger" / "other_kernels.py").write_text("x = 1\n", encoding="utf-8")
    assert folders(house) == folders(second)


def folders(house: Path) -> dict[str, str]:
    """Return where the house's copy keeps the kernels of two files, by the name of the file."""
    locator = copy_of(house).ModuleLocator
    files = (house / "engine" / "clip_kernels.py", house / "ledger" / "other_kernels.py")
    return {file.stem: locator(1, file.resolve()).get_cache_path() for file in files}


@pytest.mark.parametrize("name", ["engine/cli.py", "bench/nothing.py"])
def test_change_elsewhere_keeps_the_folder(house: Path, name: str) -> None:
    """An edit that no kernel can see does not cost a compilation."""
    before = fingerprint(house)
    (house / name).write_text("MORE = 1\n", encoding="utf-8")
    assert fingerprint(house) == before


def test_new_kernel_file_is_a_new_folder(house: Path) -> None:
    """A file with a kernel counts as soon as it exists, imported or not."""
    before = fingerprint(house)
    (house / "bench" / "new.py").write_text(KERNELS, encoding="utf-8")
    assert fingerprint(house) != before


def test_checked_kernels_have_their_own_folder(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels compiled with bounds checks are never served to a run without them."""
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "0")
    before = fingerprint(house)
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert fingerprint(house) != before


def test_processor_has_its_own_folder(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machine code for one processor is not run on another one that shares the disk."""
    module = copy_of(house)
    before = module._fingerprint()
    monkeypatch.setattr(module, "_processor", lambda: "flags: fpu")
    assert module._fingerprint() != before


def test_every_kernel_of_the_project_counts() -> None:
    """All files with kernels, and the jit modules that compile them, are in the hash."""
    root = Path(kernel_cache.__file__).parent.parent
    sources = kernel_cache._closure(
        [name for name, text in kernel_cache._texts().items() if b"\n@kernel" in text]
    )
    with_kernels = {
        str(path.relative_to(root).with_suffix("")).replace("/", ".")
        for package in ("engine", "scoring", "ledger", "bench")
        for path in (root / package).rglob("*.py")
        if "\n@kernel" in path.read_text(encoding="utf-8")
    }
    assert with_kernels | {"ledger.jit", "scoring.jit"} <= set(sources)
    assert "engine.decision" in sources
    assert "engine.cli" not in sources


def test_folder_lies_where_the_environment_says(
    house: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DE39_KERNEL_CACHE is the parent folder, else XDG_CACHE_HOME/de39, else ~/.cache/de39."""
    module = copy_of(house)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "restored after the test")
    monkeypatch.setenv("NUMBA_CACHE_LOCATOR_CLASSES", "restored after the test")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("DE39_KERNEL_CACHE", raising=False)
    assert module.configure().parent == tmp_path / "xdg" / "de39"
    monkeypatch.setenv("DE39_KERNEL_CACHE", str(tmp_path / "own"))
    assert module.configure().parent == tmp_path / "own"


def test_configuring_too_late_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba reads the folder when it is imported, so choosing later would do nothing."""
    monkeypatch.setitem(sys.modules, "numba", ModuleType("numba"))
    with pytest.raises(AssertionError, match="before numba"):
        kernel_cache.configure()


def test_folder_is_warm_once_marked(tmp_path: Path) -> None:
    """Only a process that compiled everything says so."""
    folder = tmp_path / "kernels-0"
    assert not kernel_cache.is_warm(folder)
    kernel_cache.mark_warm(folder)
    assert kernel_cache.is_warm(folder)


def test_kernels_run_without_scipy_and_leave_it_to_others(tmp_path: Path) -> None:
    """A start does not wait for SciPy's linear algebra; whoever wants it imports it afterwards."""
    code = (
        "import os; os.environ.pop('NUMBA_CACHE_DIR', None)  # text has no file to be kept for\n"
        "import sys, numba, numpy as np; from ledger.jit import kernel\n"
        "assert kernel(lambda a: a.sum())(np.ones(3)) == 3\n"
        "assert 'scipy.linalg' not in sys.modules, 'imported'\n"
        "from scipy import linalg\n"
        "assert linalg.det(np.eye(2)) == 1\n"
        "assert numba.njit(lambda a: np.dot(a, a))(np.ones(3)) == 3\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
