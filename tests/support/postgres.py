"""PostgreSQL servers of the tests: started from the wheel, each in a folder of its own."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import asyncpg
import pytest

from ledger.errors import StoreUnavailable
from ledger.postgres.programs import give_to_program, program_folder, run_program
from ledger.postgres.server import SETTINGS, USER, init_cluster, start_server, wait_ready

PASSWORD = "a-password-of-tests"
_ROOM_BYTES = 2 << 30


def require_programs() -> None:
    """Skip the test where the wheel has no programs for this machine."""
    try:
        program_folder()
    except StoreUnavailable as problem:
        pytest.skip(str(problem))


class Server:
    """A PostgreSQL over ``folder`` with its socket in there.

    Parameters
    ----------
    folder
        Its folder, with a short path.
    settings
        Further settings.
    copy_of
        A server that runs: this one becomes its standby.
    """

    def __init__(
        self, folder: Path, settings: dict[str, str] | None = None, copy_of: "Server | None" = None
    ) -> None:
        self.folder = folder
        self.name = folder.name
        self.cluster = folder / "cluster"
        self.sockets = folder / "run"
        own = {"fsync": "on", "dynamic_shared_memory_type": "mmap"}  # nothing left when killed
        self.settings = {**SETTINGS, **own, **(settings or {})}
        self._child: subprocess.Popen[Any] | None = None
        give_to_program(folder)
        give_to_program(self.sockets)
        if copy_of is None:
            password = folder / "password"
            password.write_text(PASSWORD, encoding="ascii")
            give_to_program(password)
            init_cluster(self.cluster, password)
        else:
            self._copy(copy_of)

    @property
    def dsn(self) -> str:
        """Return where it is reached."""
        return dsn_of(self)

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        log = self.folder / "server.log"
        self._child = start_server(self.cluster, log, self.sockets, self.settings)
        wait_ready(self.cluster, self._child, log)
        return self

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the server, its children first to none."""
        for pid in (self.pid, *_children(self.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End all its processes at once, as a power cut of the process table would.

        Returns when the last one is gone: until then its memory keeps another server from starting.
        """
        pids = _children(self.pid)
        self.send_signal(signal.SIGKILL)
        assert self._child is not None
        self._child.wait(30)
        until(lambda: not any(map(_runs, pids)))

    def stop(self) -> None:
        """Stop it if it runs."""
        if self._child is not None and self._child.poll() is None:
            self.send_signal(signal.SIGCONT)
            self._child.send_signal(signal.SIGINT)
            self._child.wait(30)

    def promote(self) -> None:
        """Make the standby a primary."""
        self.fetchval("SELECT pg_promote(true, 60)")

    def fetchval(self, sql: str, *words: Any) -> Any:
        """Run one statement and return its first value."""
        return Database(self, "postgres").fetchval(sql, *words)

    def execute(self, sql: str) -> None:
        """Run statements."""
        Database(self, "postgres").execute(sql)

    def _copy(self, source: "Server") -> None:
        primary = (
            f"host={source.sockets} user={USER} password={PASSWORD} application_name={self.name}"
        )
        run_program(
            "pg_basebackup",
            f"--dbname={primary}",
            f"--pgdata={self.cluster}",
            "--checkpoint=fast",
            "--wal-method=stream",
            "--no-manifest",
        )
        self.settings["primary_conninfo"] = primary
        (self.cluster / "standby.signal").touch()
        give_to_program(self.cluster / "standby.signal")


class Database(NamedTuple):
    """A database of a server."""

    server: Server
    name: str

    @property
    def dsn(self) -> str:
        """Return where it is reached."""
        return dsn_at(self.server.sockets, database=self.name)

    def fetchval(self, sql: str, *words: Any) -> Any:
        """Run one statement and return its first value."""
        return ask(self.dsn, lambda connection: connection.fetchval(sql, *words))

    def fetch(self, sql: str, *words: Any) -> list[Any]:
        """Run one statement and return its rows as tuples."""
        rows = ask(self.dsn, lambda connection: connection.fetch(sql, *words))
        return [tuple(row) for row in rows]

    def execute(self, sql: str) -> None:
        """Run statements."""
        ask(self.dsn, lambda connection: connection.execute(sql))


def dsn_of(*servers: Server) -> str:
    """Return a dsn with all of ``servers`` as hosts."""
    return dsn_at(*(server.sockets for server in servers))


def dsn_at(*sockets: Path, database: str = "postgres") -> str:
    """Return a dsn of servers by the folders of their sockets."""
    hosts = ",".join(quote(str(place), safe="") for place in sockets)
    return f"postgresql://{USER}:{PASSWORD}@/{database}?host={hosts}"


def ask(dsn: str, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """Return what ``work(connection)`` returns, over a connection of its own."""

    async def run() -> Any:
        connection = await asyncpg.connect(dsn, timeout=30)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def until(look: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Look until ``look`` returns something true; fail after ``within_s``."""
    end = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)
    return seen


def _children(pid: int) -> list[int]:
    """Return the children of a process; empty where there is no /proc."""
    place = Path(f"/proc/{pid}/task/{pid}/children")
    with contextlib.suppress(OSError):
        return [int(word) for word in place.read_text(encoding="ascii").split()]
    return []


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie; False where there is no /proc."""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        return stat.rpartition(")")[2].split()[0] != "Z"
    return False


def place_for_servers() -> Path:
    """Return a new folder for servers, in memory where there is room: their syncs take no time.

    What is tested with them is what processes do to each other, not what a disk does.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_BYTES
    place = Path(tempfile.mkdtemp(prefix="de39-pg-", dir=memory if roomy else None))
    place.chmod(0o755)  # the servers may run as another user than we do
    return place


def remove(folder: Path) -> None:
    """Remove a folder that servers wrote in."""
    shutil.rmtree(folder, ignore_errors=True)
