"""Starts the processes of ``ledger_process`` and keeps what they acknowledged."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Processes:
    """Starts processes that commit, one at a time."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ledger_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=dict(os.environ, PYTHONPATH=str(ROOT)),
            bufsize=0,
        )
        self._unread = b""

    def run(
        self,
        folder: Path,
        seed: int,
        point: str = "-",
        life_s: float | None = None,
        at_death: Callable[[int], None] | None = None,
    ) -> tuple[int, list[int], bool]:
        """Run one to its end; kill it ``life_s`` after its first group.

        ``at_death`` is called while the process stands still, before it is killed, with the last
        record that was acknowledged. Return exit code, what was acknowledged, and whether it
        reported a failure.
        """
        assert self._server.stdin is not None
        self._server.stdin.write(f"{folder} {seed} {point}\n".encode())
        pid = int(self._line().removeprefix("pid "))
        acknowledged: list[int] = []
        has_failed = False
        while not (line := self._line()).startswith("exit "):
            if line == "failed":
                has_failed = True
                continue
            assert not has_failed, "acknowledged after the failure was reported"
            acknowledged.append(int(line))
            if life_s is not None:
                time.sleep(life_s)  # the one thing to wait for is the moment of death
                if at_death is not None:
                    os.kill(pid, signal.SIGSTOP)
                    acknowledged += [int(text) for text in self._lines_at_hand()]
                    at_death(acknowledged[-1])
                os.kill(pid, signal.SIGKILL)
                life_s = None
        return int(line.removeprefix("exit ")), acknowledged, has_failed

    def close(self) -> None:
        """End the server."""
        self._server.communicate(timeout=30)

    def _line(self) -> str:
        while b"\n" not in self._unread:
            self._read()
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def _lines_at_hand(self) -> list[str]:
        """Return the whole lines that were written by now."""
        while select.select([self._server.stdout], [], [], 0)[0]:
            self._read()
        whole, _, self._unread = self._unread.rpartition(b"\n")
        return whole.decode().split()

    def _read(self) -> None:
        assert self._server.stdout is not None
        data = os.read(self._server.stdout.fileno(), 1 << 16)
        assert data, "the server of processes has ended"
        self._unread += data
