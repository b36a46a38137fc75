"""The embedded server: one a data folder, stopped by the last who leaves, found after a kill."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from ledger.errors import StoreUnavailable
from ledger.postgres import programs
from ledger.postgres.server import EmbeddedServer, dsn_of, server_folder, socket_folder
from tests.support.postgres import ask, place_for_servers, remove, require_programs

_LEAVES_IT_RUNNING = """
import os, sys
from pathlib import Path
from ledger.postgres import programs
from ledger.postgres.server import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
print(server.pid, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """Return a data folder whose server was made; the tests share it, for making takes seconds."""
    require_programs()
    place = place_for_servers()
    EmbeddedServer(place).close()
    yield place
    remove(place)


def value(server: EmbeddedServer, sql: str) -> object:
    """Return the first value of a statement."""
    return ask(server.dsn, lambda connection: connection.fetchval(sql))


def test_it_is_private_and_checked(data: Path) -> None:
    """Unix socket only, checksums, syncs; password and folders are closed to others."""
    server = EmbeddedServer(data)
    try:
        assert value(server, "SHOW listen_addresses") == ""
        assert value(server, "SHOW data_checksums") == "on"
        assert value(server, "SHOW fsync") == "on"
        folder = server_folder(data)
        for name in ("password", "server.log", "cluster", "run"):
            assert (folder / name).stat().st_mode & 0o077 == 0
        wrong = server.dsn.replace(":", ":x", 2).replace(":x//", "://")
        with pytest.raises(asyncpg.InvalidPasswordError):
            ask(wrong, lambda connection: connection.fetchval("SELECT 1"))
    finally:
        server.close()
    assert server.pid is None


def test_the_last_one_stops_it(data: Path) -> None:
    """Two users share one server; it runs until both have left."""
    first = EmbeddedServer(data)
    second = EmbeddedServer(data)
    assert first.pid == second.pid
    first.close()
    assert value(second, "SELECT 1") == 1
    second.close()
    assert second.pid is None


def test_one_left_running_is_used_again(data: Path) -> None:
    """A user that was killed leaves the server behind; the next finds it and later stops it."""
    told = subprocess.run(
        [sys.executable, "-c", _LEAVES_IT_RUNNING, data],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    server = EmbeddedServer(data)
    assert server.pid == int(told.stdout)
    assert value(server, "SELECT 1") == 1
    server.close()
    assert server.pid is None


def test_a_server_that_was_killed_starts_again(data: Path) -> None:
    """What is left of ``postmaster.pid`` does not keep the next server from starting."""
    server = EmbeddedServer(data)
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert server._child is not None
    server._child.wait(30)  # else the kernel still knows the number
    assert server.pid is None
    again = EmbeddedServer(data)
    assert value(again, "SELECT 1") == 1
    again.close()
    server.close()


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """The kernel takes 107 bytes of a socket's path; longer folders get one beside them."""
    assert socket_folder(tmp_path / "a") == tmp_path / "a" / "run" or len(str(tmp_path)) > 70
    short = socket_folder(tmp_path / ("x" * 120))
    assert len(str(short)) < 80
    assert short == socket_folder(tmp_path / ("x" * 120))
    assert short != socket_folder(tmp_path / ("y" * 120))


def test_a_folder_without_a_server_is_named(tmp_path: Path) -> None:
    """Nobody made one here: one line."""
    with pytest.raises(StoreUnavailable, match="no embedded PostgreSQL in"):
        dsn_of(server_folder(tmp_path))


def test_what_it_says_when_it_cannot_start(data: Path) -> None:
    """A setting that PostgreSQL refuses: the error names its log."""
    with pytest.raises(StoreUnavailable, match=r"PostgreSQL ended with .*server\.log"):
        EmbeddedServer(data, {"shared_buffers": "nonsense"})
    assert "nonsense" in (server_folder(data) / "server.log").read_text(encoding="utf-8")
    EmbeddedServer(data).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_becomes_nobody_where_there_are_no_namespaces(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server runs as uid 65534 over folders given to it; one out of reach is refused."""
    monkeypatch.setattr(programs, "privilege", lambda: programs.Privilege(uid=programs.NOBODY))
    place = data / "nobody"
    data.chmod(0o755)
    place.mkdir(mode=0o755)
    server = EmbeddedServer(place)
    try:
        assert value(server, "SELECT 1") == 1
        assert Path(f"/proc/{server.pid}").stat().st_uid == programs.NOBODY
    finally:
        server.close()
    closed = data / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(StoreUnavailable, match="uid 65534 cannot reach"):
        EmbeddedServer(closed)
