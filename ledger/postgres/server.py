"""A PostgreSQL of our own in the data folder: on a Unix socket only, checksums on.

``DATA/postgres/`` holds ``cluster`` (PostgreSQL's files), ``password`` (0600), ``lock`` and
``server.log``. Each process that uses the server holds a shared lock while it does, which ends with
the process however it ends; the last one to leave stops the server. One that was left running by a
process that was killed is found by ``postmaster.pid`` and used again.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ledger.errors import StoreUnavailable
from ledger.postgres.programs import NOBODY, give_to_program, run_program, start_program

USER = "de39"
DATABASE = "postgres"
_SOCKET_PATH_MAX = 100  # bytes; the kernel takes 107
_SOCKET_NAME_BYTES = len("/.s.PGSQL.5432.lock")
_READY_S = 120.0  # a server that was killed replays its log first
_STOP_S = 60.0
_LOOK_S = 0.01
_TRIES = 20
_TRY_AGAIN_S = 0.25
_READY = ("ready", "standby")
_STATUS_LINE = 7  # of postmaster.pid
_PASSWORD_BYTES = 24

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "32",
    "max_wal_size": "2GB",
    "wal_compression": "off",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "client_connection_check_interval": "2s",
}


def server_folder(data: Path) -> Path:
    """Return where the embedded server of a data folder lives."""
    return data / "postgres"


class EmbeddedServer:
    """The server of one data folder, in use by this process until ``close``.

    Parameters
    ----------
    data
        The data folder.
    settings
        Further settings of ``postgresql.conf``, which go before ours.

    Raises
    ------
    StoreUnavailable
        No programs, or the server does not start; the text names the log.
    """

    def __init__(self, data: Path, settings: dict[str, str] | None = None) -> None:
        self.folder = server_folder(data).absolute()
        self._cluster = self.folder / "cluster"
        self._settings = {**SETTINGS, **(settings or {})}
        self._child: subprocess.Popen[Any] | None = None
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._lock = os.open(self.folder / "lock", flags, 0o600)
        try:
            self._wait_for_turn()
            self._make_cluster()
            self._start()
            fcntl.flock(self._lock, fcntl.LOCK_SH)
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def dsn(self) -> str:
        """Return where to connect, password included."""
        return dsn_of(self.folder)

    def close(self) -> None:
        """Leave; stop the server if no other process uses it."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stop()
        except BlockingIOError:
            if self._child is not None:
                self._child.returncode = 0  # it runs on for others: not ours to wait for
        finally:
            os.close(self._lock)

    @property
    def pid(self) -> int | None:
        """Return the process id of the running server, or None."""
        return running_pid(self._cluster)

    def _wait_for_turn(self) -> None:
        """Lock alone if nobody uses the server, else wait for who starts it and share the lock."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _make_cluster(self) -> None:
        give_to_program(self.folder)
        if (self._cluster / "PG_VERSION").exists():
            return
        password = self.folder / "password"
        with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(secrets.token_urlsafe(_PASSWORD_BYTES))
        give_to_program(password)
        init_cluster(self._cluster, password)

    def _start(self) -> None:
        sockets = socket_folder(self.folder)
        log = self.folder / "server.log"
        give_to_program(sockets)
        tries = _TRIES if (self._cluster / "postmaster.pid").exists() else 1
        while self.pid is None:
            self._child = start_server(self._cluster, log, sockets, self._settings)
            try:
                wait_ready(self._cluster, self._child, log)
            except StoreUnavailable:
                tries -= 1  # children of one that was killed go within a moment
                if tries == 0:
                    raise
                time.sleep(_TRY_AGAIN_S)
        wait_ready(self._cluster, self._child, log)

    def _stop(self) -> None:
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, signal.SIGINT)  # PostgreSQL's fast shutdown
        until = time.monotonic() + _STOP_S
        while self.pid is not None and time.monotonic() < until:
            if self._child is not None:
                self._child.poll()
            time.sleep(_LOOK_S)
        if self._child is not None:
            self._child.wait(_STOP_S)


def dsn_of(folder: Path) -> str:
    """Return where the server in ``folder`` is reached; ``StoreUnavailable`` if there is none."""
    try:
        password = (folder / "password").read_text(encoding="ascii")
    except FileNotFoundError:
        raise StoreUnavailable(f"no embedded PostgreSQL in {folder}: check --data") from None
    sockets = quote(str(socket_folder(folder)), safe="")
    return f"postgresql://{USER}:{password}@/{DATABASE}?host={sockets}"


def socket_folder(folder: Path) -> Path:
    """Return the folder of the socket: ``run`` in ``folder``, or a short one where that is long."""
    place = folder.absolute() / "run"
    if len(os.fsencode(place)) + _SOCKET_NAME_BYTES <= _SOCKET_PATH_MAX:
        return place
    name = hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"de39-{os.geteuid()}-{name}"
    with contextlib.suppress(FileNotFoundError):
        facts = short.lstat()
        ours = facts.st_uid in (os.geteuid(), NOBODY) and stat.S_ISDIR(facts.st_mode)
        if not ours or stat.S_IMODE(facts.st_mode) & 0o77:
            raise StoreUnavailable(f"{short} is somebody else's or open to others: remove it")
    return short


def init_cluster(cluster: Path, password: Path) -> None:
    """Make PostgreSQL's files in the new folder ``cluster``: checksums, passwords, UTF-8."""
    aside = cluster.with_name(cluster.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    give_to_program(aside)
    run_program(
        "initdb",
        f"--pgdata={aside}",
        f"--username={USER}",
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale=C",
    )
    aside.rename(cluster)  # half a cluster never has the name


def start_server(
    cluster: Path, log: Path, sockets: Path, settings: Mapping[str, str]
) -> subprocess.Popen[Any]:
    """Start PostgreSQL over ``cluster`` with its socket in ``sockets``; see ``wait_ready``."""
    words = ["-D", str(cluster), "-k", str(sockets)]
    for name, value in settings.items():
        words += ["-c", f"{name}={value}"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with os.fdopen(os.open(log, flags, 0o600), "wb") as out:
        return start_program("postgres", *words, log=out)


def wait_ready(cluster: Path, child: subprocess.Popen[Any] | None, log: Path) -> None:
    """Wait until the server takes connections.

    Raises
    ------
    StoreUnavailable
        It ended, or is not ready after two minutes.
    """
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        lines = _postmaster_lines(cluster)
        is_ours = child is None or (lines and lines[0] == str(child.pid))
        if is_ours and len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() in _READY:
            return
        if child is not None and child.poll() is not None:
            raise StoreUnavailable(f"PostgreSQL ended with {child.returncode}: see {log}")
        time.sleep(_LOOK_S)
    raise StoreUnavailable(f"PostgreSQL is not ready after {_READY_S:.0f} s: see {log}")


def running_pid(cluster: Path) -> int | None:
    """Return the process id of the server over ``cluster``, or None if none runs."""
    lines = _postmaster_lines(cluster)
    if not lines or not lines[0].isdigit():
        return None
    pid = int(lines[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    place = Path(f"/proc/{pid}/cwd")  # where there is no /proc the file is believed
    with contextlib.suppress(OSError):
        if place.exists() and place.resolve() != cluster.resolve():
            return None  # the number belongs to another process by now
    return None if _is_zombie(pid) else pid


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2][1] == "Z"
    return False


def _postmaster_lines(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
