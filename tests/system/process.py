"""A real ``de39 serve`` process on ports of its own in a folder of its own, and its commands."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from bench.frames import test_pan
from tests.support.commands import de39
from tests.system.link import SPEC_OF, Link

DE39 = Path(sys.executable).with_name("de39")
READY_S = 150.0  # the first start of a changed source compiles the kernels
BIN, HEX, SIGN_ON, TIGHT = range(4)  # listeners of support.shared_switch
T = TypeVar("T")

# No scorer and no rules, so that only card, account and funds decide.
PLAIN = """
[scoring]
model = "none"
[rules]
file = "none"
"""


# A busy machine may stand still for longer than senders wait; tests of that say their own times.
PATIENT = "deadline_ms = 30000\noverload_wait_ms = 30000\n"


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    body: str

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Card(NamedTuple):
    """A card as a test knows it."""

    account: str
    pan: str
    number: int  # internal


class Switch:
    """A ``de39 serve`` over ``folder``; ``listen`` are the [[listen]] blocks, address left out."""

    def __init__(
        self,
        folder: Path,
        listen: tuple[str, ...] = ('dialect = "iso87-bin"',),
        more: str = PLAIN,
        *,
        env: Mapping[str, str] | None = None,
        limit: Callable[[], None] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        self.config = folder / "de39.toml"
        blocks = [_listener(block) for block in listen]
        text = 'data = "data"\n' + "".join(blocks) + '[http]\naddress = "127.0.0.1:0"\n' + more
        self.config.write_text(text, encoding="utf-8")
        self.stderr = b""
        self.ports: list[tuple[str, int]] = []
        self.http = ""
        self._env = {**os.environ, **(env or {})}
        self._limit = limit
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._told = threading.Condition()
        self._cards = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGKILL)
            self.wait()

    def start(self) -> Self:
        """Start the process and wait until it is ready."""
        seen = len(self.stderr)
        self._process = subprocess.Popen(
            [DE39, "serve", "--config", self.config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._env,
            cwd=self.config.parent,
            preexec_fn=self._limit,  # noqa: PLW1509 - the parent has no thread that forks
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

        def is_told() -> bool:
            return b"ready: " in self.stderr[seen:] or self._process is None or self._has_ended()

        with self._told:
            assert self._told.wait_for(is_told, READY_S), "the switch does not get ready"
        line = re.search(rb"ready: (.*); http on (\S+)\n", self.stderr[seen:])
        assert line is not None, self.log()[-2000:]
        self.http = "http://" + line[2].decode()
        places = [part.split(" on ") for part in line[1].decode().split(", ")]
        self.ports = [(name, int(at.rpartition(":")[2])) for name, at in places]
        return self

    def run_to_end(self, timeout_s: float = READY_S) -> tuple[int, str]:
        """Run a process that is expected to refuse; return exit code and stderr."""
        done = subprocess.run(
            [DE39, "serve", "--config", self.config],
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env=self._env,
        )
        return done.returncode, done.stderr.decode()

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> int:
        """Send SIGKILL and return the exit code."""
        self.send_signal(signal.SIGKILL)
        return self.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait for the end of the process; return its exit code."""
        assert self._process is not None
        assert self._reader is not None
        code = self._process.wait(timeout_s)
        self._reader.join(5.0)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code

    def log(self) -> str:
        """Return everything the process has written to stderr."""
        return self.stderr.decode("utf-8", "replace")

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self._process is not None
        return self._process.pid

    def resident_bytes(self) -> int:
        """Return how much memory the process has in use."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def link(self, listener: int = 0) -> Link:
        """Connect to a listener, by its place in the configuration."""
        name, port = self.ports[listener]
        return Link(port, SPEC_OF[name])

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """Make an HTTP call with the token; ``body`` goes as JSON, ``raw`` as it is."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        token = (self.data / "admin.token").read_text(encoding="ascii").strip()
        given = {"Authorization": f"Bearer {token}", **(headers or {})}
        request = urllib.request.Request(self.http + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return Answer(answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode())

    def open_card(
        self, limit_minor: int = 100_000, currency: str = "840", expiry_yymm: str = "3012"
    ) -> Card:
        """Open an account with one card, both new."""
        self._cards += 1
        account = f"S{self._cards}"
        opened = {
            "account": account,
            "customer": f"D{self._cards}",
            "currency": currency,
            "limit_minor": limit_minor,
        }
        answer = self.call("POST", "/v1/accounts", opened)
        assert answer.status == 201, answer
        pan = test_pan(900_000 + self._cards)
        card = {"account": account, "pan": pan, "expiry_yymm": expiry_yymm}
        answer = self.call("POST", "/v1/cards", card)
        assert answer.status == 201, answer
        return Card(account, pan, answer.json["card"])

    def account(self, card: Card) -> Any:
        """Return the account of a card as operators see it."""
        return self.call("GET", f"/v1/accounts/{card.account}").json

    def held(self, card: Card) -> int:
        """Return what is held on the account of a card."""
        return int(self.account(card)["held_minor"])

    def metric(self, series: str) -> float:
        """Return the value of a series, labels as on the page; 0 when it is not there."""
        page = self.call("GET", "/metrics").body
        for line in page.splitlines():
            if line.startswith(series + " "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def records(self) -> list[dict[str, Any]]:
        """Return every record of the journal, which may be in use."""
        code, out, err = de39("ledger", "export", "--data", self.data, "--format", "jsonl")
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def _read(self) -> None:
        process = self._process
        assert process is not None
        assert process.stderr is not None
        for line in process.stderr:
            with self._told:
                self.stderr += line
                self._told.notify_all()
        with self._told:
            self._told.notify_all()

    def _has_ended(self) -> bool:
        assert self._process is not None
        assert self._reader is not None
        return self._process.poll() is not None and not self._reader.is_alive()


def de39_process(*words: object, stdin: str | None = None, **env: str) -> tuple[int, str, str]:
    """Run a command of de39 in a process of its own; return exit code, stdout and stderr."""
    done = subprocess.run(
        [DE39, *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=READY_S,
        check=False,
        env={**os.environ, **env},
    )
    return done.returncode, done.stdout, done.stderr


def eventually(look: Callable[[], T], within_s: float = 10.0) -> T:
    """Look again until ``look`` returns something true; return the last it returned."""
    until = time.monotonic() + within_s
    while not (seen := look()) and time.monotonic() < until:
        threading.Event().wait(0.02)
    return seen


def is_one_line(stderr: str) -> bool:
    """Return whether an error is one line, and no stack, after what the command reports."""
    lines = [line for line in stderr.splitlines() if line.startswith("de39: error: ")]
    return len(lines) == 1 and "Traceback" not in stderr and 'File "' not in stderr


def _listener(block: str) -> str:
    patience = "" if "deadline_ms" in block else PATIENT
    return f'[[listen]]\naddress = "127.0.0.1:0"\n{block}\n{patience}'
