"""House rules that no linter knows, checked on the source as it is tracked."""

import ast
import functools
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engine import config, config_tree
from engine.decision import DEFAULT_RESPONSE, Decision

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("engine", "scoring", "ledger", "bench")
LINES_MAX = 500
FUNCTION_LINES_MAX = 70  # docstring not counted
LONG_FUNCTIONS = {
    "bench/load_kernels.py:fill": "one loop over the payments that are due",
    "engine/wire/encode_kernels.py:encode_batch": "one loop over answers, in order of the fields",
    "engine/wire/kernels.py:_decode_rows": "one loop over frames, in order of the bytes",
}
JIT_MODULES = {"ledger/jit.py", "scoring/jit.py"}
MONEY_FILES = [f"ledger/{name}.py" for name in ("accounts", "authorizations", "journal", "record")]
# Each shell may catch whatever comes in one place, where it stops or answers "our mistake".
CATCH_ALL = {
    "engine/admin/api.py",  # a handler's own mistake is a 500, and the server goes on
    "engine/scorer.py",  # whatever is wrong with a scorer: limits and rules decide, and say so
    "engine/errors.py",  # the last word of every command
    "ledger/commit.py",  # the commit thread: whatever it is, stop the engine
}
UNITS = ("_s", "_ms", "_ns", "_bytes", "_minor", "_bp", "_max", "_count")
# Said in parts, for the same reason as below.
NOTES = re.compile(
    r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b"
)
LOCKS = ("requirements/run.txt", "requirements/dev.txt")
LINKED_HOSTS = {"www.apache.org"}  # of the licence
# A folder of one machine. Said in parts, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile("/(?:" + "|".join(("home", "root", "work", "Users", "tmp", "mnt")) + ")/")
REGISTRY = re.compile(
    "|".join(("py" + r"pi\.", "python" + "hosted", "arti" + "factory", "--index"))
)
URL_HOST = re.compile(r"https?://([\w-]+(?:\.[\w-]+)+)")


@functools.cache
def tracked() -> tuple[str, ...]:
    """Return the tracked files that exist, relative to the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: git says which files are ours")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return tuple(name for name in listed.stdout.split("\0") if (ROOT / name).is_file())


@functools.cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax tree of every tracked Python file."""
    names = [name for name in tracked() if name.endswith(".py")]
    return {name: ast.parse((ROOT / name).read_text(encoding="utf-8")) for name in names}


def texts() -> Iterator[tuple[str, str]]:
    """Yield name and text of every tracked file that is text."""
    for name in tracked():
        data = (ROOT / name).read_bytes()
        if b"\0" not in data:
            yield name, data.decode("utf-8")


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a module, methods and inner ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        first = function.body[0]
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_files_are_short() -> None:
    """No file has over 500 lines."""
    sizes = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in trees()}
    assert {name: lines for name, lines in sizes.items() if lines > LINES_MAX} == {}


def test_functions_are_short() -> None:
    """Functions over 70 lines are those with a stated reason, and no others."""
    found = {
        f"{name}:{function.name}"
        for name, tree in trees().items()
        for function in functions(tree)
        if body_lines(function) > FUNCTION_LINES_MAX
    }
    assert found == set(LONG_FUNCTIONS)


def test_modules_say_what_they_are() -> None:
    """Every module has a docstring."""
    bare = [name for name, tree in trees().items() if ast.get_docstring(tree) is None]
    assert bare == []


def test_tests_say_what_they_test() -> None:
    """Every test has a docstring."""
    bare = [
        f"{name}:{function.name}"
        for name, tree in trees().items()
        for function in functions(tree)
        if name.startswith("tests/")
        and function.name.startswith("test_")
        and ast.get_docstring(function) is None
    ]
    assert bare == []


def test_one_door_to_numba() -> None:
    """Numba is imported by the two jit modules alone, so its options are stated once a package."""
    found = {
        name
        for name, tree in trees().items()
        if any(module.split(".")[0] == "numba" for module in imported(tree))
    }
    assert found == JIT_MODULES


def test_nothing_prints() -> None:
    """Output goes to a stream by name; print() is for debugging."""
    calls = [
        f"{name}:{node.lineno}"
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("print", "breakpoint")
    ]
    assert calls == []


@pytest.mark.parametrize("name", MONEY_FILES)
def test_money_is_whole_numbers(name: str) -> None:
    """No float literal and no float type where money is kept."""
    lines = [
        getattr(node, "lineno", 0)
        for node in ast.walk(trees()[name])
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Attribute) and node.attr in ("float32", "float64"))
        or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    ]
    assert lines == []


def test_no_place_of_one_machine() -> None:
    """No file names a folder of a machine or a package registry, or links to an unknown host."""
    mine = str(Path(__file__).relative_to(ROOT))
    found = [
        f"{name}: {match.group()}"
        for name, text in texts()
        if name != mine
        for pattern in (MACHINE_PATH, REGISTRY)
        for match in pattern.finditer(text)
    ]
    hosts = {host for _, text in texts() for host in URL_HOST.findall(text)}
    assert found == []
    assert {h for h in hosts if not h.replace(".", "").isdigit()} - LINKED_HOSTS == set()


@pytest.mark.parametrize("name", LOCKS)
def test_lock_files_are_hashed(name: str) -> None:
    """Every package of a lock has its exact version and a hash, and no line names an index."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pinned = re.compile(r"[\w.-]+(?:\[[\w,-]+\])?==[\w.!+]+ .*--hash=sha256:[0-9a-f]{64}")
    assert len(lines) > 10
    assert [line for line in lines if not pinned.match(line.lstrip())] == []


def test_dependencies_have_reasons() -> None:
    """Every dependency of pyproject.toml has a remark on its line, or above a block of lines."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)
    wanted = list(project["project"]["dependencies"])
    for group in project["dependency-groups"].values():
        wanted += group
    lines = [line.strip() for line in text.splitlines()]
    bare = []
    for entry in wanted:
        at = next(i for i, line in enumerate(lines) if line.startswith(f'"{entry}"'))
        above = at - 1
        while lines[above].startswith('"') and "#" not in lines[above]:
            above -= 1
        if "#" not in lines[at] and not lines[above].startswith("#"):
            bare.append(entry)
    assert bare == []


def test_readme_names_the_two_commands() -> None:
    """A newcomer finds how to run and how to test in the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "./run demo" in text
    assert "./run test" in text


def test_every_decision_has_a_response_code() -> None:
    """Each outcome has the two characters of DE39."""
    assert set(DEFAULT_RESPONSE) == set(Decision)
    assert all(re.fullmatch("[0-9A-Z]{2}", code) for code in DEFAULT_RESPONSE.values())


def test_kernels_are_in_the_contract_of_the_core() -> None:
    """Every module of kernels that decides is named by the contract against I/O and clocks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    core = next(c for c in contracts if c["name"].startswith("the core does no I/O"))
    kernels = {
        name[: -len(".py")].replace("/", ".")
        for name, tree in trees().items()
        if not name.startswith(("bench/", "tests/"))
        and any(
            isinstance(decorator, ast.Name) and decorator.id == "kernel"
            for function in functions(tree)
            for decorator in function.decorator_list
        )
    }
    assert kernels - set(core["source_modules"]) == set()


def test_only_shells_catch_everything() -> None:
    """``except Exception`` hides our mistakes; where it stands is on the list, with the reason."""
    found = []
    for name, tree in trees().items():
        if name.startswith("tests/"):
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            kind = node.type.id if isinstance(node.type, ast.Name) else None
            if node.type is None or (kind == "Exception" and name not in CATCH_ALL):
                found.append(f"{name}:{node.lineno}")
    assert found == []


def test_nothing_is_left_for_later() -> None:
    """What is not done is in the list of limits, not in a comment."""
    found = [f"{name}: {match}" for name, text in texts() for match in NOTES.findall(text)]
    assert [line for line in found if not line.startswith("requirements/")] == []


def test_numbers_of_the_configuration_have_units() -> None:
    """The unit ends the key: seconds, bytes, or how many of what its name says at most."""
    bare = []
    for section in config_tree.fields_of(config.Config).values():
        kind = config_tree.list_item(section.type) or section.type
        for key in (config_tree.fields_of(kind) or {}).values():
            is_number = msgspec.json.schema(key.type).get("type") in ("integer", "number")
            named = key.name.endswith(UNITS) or "max_" in key.name
            if is_number and not named:
                bare.append(f"{section.name}.{key.name}")
    assert bare == []
