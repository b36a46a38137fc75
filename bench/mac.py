"""``de39 bench mac``: the switch with and without MACs on its links, in one run.

A durable switch over loopback with a listener of each kind: without a profile, with AES-CMAC, with
retail MAC (TDES, ANSI X9.19), with CBC-MAC (TDES, ISO 9797-1 algorithm 1); runs take turns. Every
request carries its MAC and every answer gets one. Requests are made before the clock starts, so
that the generator costs the same in all four; the MACs of the last answers are checked afterwards.
The processor time of the switch is measured too: a busy machine blurs rates and not that.
"""

import re
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.figures import Figure, cost_figure, print_figures, rate_figure
from bench.frames import EXPIRY_YYMM, test_pan
from bench.switch_process import config_of, open_test_cards, switch_process, write_config
from engine.command_options import Flag
from engine.errors import ProblemFoundError, UsageError, run_command
from engine.security.ciphers import Cipher
from engine.security.file_store import FileStore, replace_file
from engine.security.keys import Usage
from engine.security.macs import MAC_BYTES, Padding, differ, macs
from engine.security.store import KeyStore, draft
from engine.wire.dialect import load_builtin
from engine.wire.text import build_message

_LIMIT_MINOR = 10**12
_AUTHORIZATIONS = 1 << 22  # that the switch holds at once: all of them
_HEADER_BYTES = 2
_CHUNKS_IN_FLIGHT = 2
_TIMEOUT_S = 60.0
_CPU_CLOCK = 2  # of all threads of the process in the bits above: clock_getcpuclockid(3)
_RUNS_MAX, _CONNECTIONS_MAX = 14, 59  # minutes and seconds of DE7 tell them apart
_MASTER = "5d" * 32  # of a folder that is thrown away
_KINDS = {
    "cmac": (Usage.MAC_CMAC, "A"),
    "retail": (Usage.MAC_3, "T"),
    "chained": (Usage.MAC_1, "T"),
}
_FIELDS: dict[int, str | bytes] = {
    2: test_pan(0),
    3: "000000",
    4: "000000001000",
    7: "0601120000",
    11: "111111",
    14: EXPIRY_YYMM,
    18: "5411",
    19: "840",
    22: "051",
    32: "400099",
    37: "222222222222",
    41: "TERM0001",
    42: "MERCHANT0000001",
    49: "840",
}


class _Key(NamedTuple):
    cipher: Cipher
    usage: Usage


@run_command
def run(
    *,
    cards: int = 2_000,
    connections: int = 4,
    chunk: int = 1024,
    payments: int = 100_000,
    runs: int = 5,
    json: Flag = False,
) -> None:
    """Measure what MACs cost a switch: AES-CMAC, retail MAC and CBC-MAC against none, same run.

    Parameters
    ----------
    cards
        Cards that pay.
    connections
        Links, each with a closed loop of its own.
    chunk
        Payments sent together on a link; two chunks are in flight.
    payments
        Of each measured run.
    runs
        Measured runs of each kind.
    json
        Print a JSON list, the headline figure first.
    """
    if runs > _RUNS_MAX or connections > _CONNECTIONS_MAX:
        raise UsageError(f"at most {_RUNS_MAX} runs and {_CONNECTIONS_MAX} connections")
    if min(cards, connections, chunk, runs) < 1 or payments < connections * chunk:
        raise UsageError("every number must be over 0, --payments at least a chunk for each link")
    if (runs + 1) * (1 + len(_KINDS)) * payments > _AUTHORIZATIONS:
        raise UsageError(f"at most {_AUTHORIZATIONS:,} payments in all runs of all kinds")
    parent = Path.cwd() / "var"
    parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    try:
        path = write_config(folder, cards=cards, authorizations=_AUTHORIZATIONS, extra=_EXTRA)
        open_test_cards(config_of(path), cards, np.full(cards, _LIMIT_MINOR, np.int64))
        keys = {"none": None, **_make_keys(folder / "data")}
        sizes = (cards, connections, chunk, payments // (connections * chunk))
        with switch_process(path, _say) as ports:
            targets = dict(zip(keys, _ports(path), strict=True))
            seconds: dict[str, list[float]] = {kind: [] for kind in keys}
            used: dict[str, list[float]] = {kind: [] for kind in keys}
            # Turn about, so that whatever the machine does meanwhile falls on all of them.
            for number in range((runs + 1) * len(keys)):
                kind = list(keys)[number % len(keys)]
                before = _cpu_s(ports.process.pid)
                seconds[kind].append(_measure(targets[kind], keys[kind], sizes, number))
                used[kind].append(_cpu_s(ports.process.pid) - before)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    count = sizes[1] * sizes[2] * sizes[3]
    measured = {kind: each[1:] for kind, each in seconds.items()}  # the first one warms up
    costs = {kind: [1e6 * s / count for s in each[1:]] for kind, each in used.items()}
    print_figures(_figures(measured, costs, count), as_json=json)


def _cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has used, all its threads."""
    return time.clock_gettime(~pid << 3 | _CPU_CLOCK)


# The configuration has a listener without a profile; these are the others, in order.
_LISTENER = """[[listen]]
address = "127.0.0.1:0"
deadline_ms = 30000
overload_wait_ms = 30000
security = "{kind}"
[[security_profile]]
name = "{kind}"
mac_key = "{kind}"
"""
_EXTRA = (
    '[rules]\nfile = "none"\n[scoring]\nmodel = "none"\n[security]\nstore = "file"\n'
    + "".join(_LISTENER.format(kind=kind) for kind in _KINDS)
)
_PORT = re.compile(r" on ([0-9.]+):(\d+)")


def _ports(path: Path) -> list[tuple[str, int]]:
    """Return where the switch listens, in order of its listeners."""
    log = path.with_name("serve.log").read_text(encoding="utf-8")
    line = log[log.rindex("ready: ") :].splitlines()[0]
    return [(host, int(port)) for host, port in _PORT.findall(line)][:-1]  # the last is HTTP


def _make_keys(data: Path) -> dict[str, _Key]:
    replace_file(data / "keys.master", _MASTER.encode("ascii"))
    store: KeyStore = FileStore(data / "keys.bin", bytes.fromhex(_MASTER))
    for kind, (usage, algorithm) in _KINDS.items():
        store.generate(draft(store, kind, usage, algorithm, 16))
    store.close()
    store = FileStore(data / "keys.bin", bytes.fromhex(_MASTER), is_read_only=True)
    infos = {key.name: key for key in store.infos()}
    return {
        kind: _Key(store.cipher(infos[kind], usage), usage) for kind, (usage, _) in _KINDS.items()
    }


def _measure(
    target: tuple[str, int], key: _Key | None, sizes: tuple[int, int, int, int], number: int
) -> float:
    """Return the seconds of one run; ``number`` tells its messages from those of others."""
    cards, connections, chunk, chunks = sizes
    links = [
        _Link(target, _frames(cards, chunk, chunks, (number, c), key), chunk)
        for c in range(connections)
    ]
    started = time.perf_counter()
    for link in links:
        link.start()
    for link in links:
        link.join()
    seconds = time.perf_counter() - started
    for link in links:
        link.check(key)
    return seconds


def _frames(
    cards: int, chunk: int, chunks: int, at: tuple[int, int], key: _Key | None
) -> list[bytes]:
    """Return the frames of one link, ``chunks`` pieces of ``chunk``; ``at``: run and link."""
    count = chunk * chunks
    fields = dict(_FIELDS) if key is None else {**_FIELDS, 64: bytes(MAC_BYTES)}
    message = build_message(load_builtin("iso87-bin"), "0100", fields)
    frame = len(message).to_bytes(_HEADER_BYTES, "big") + message
    rows = np.tile(np.frombuffer(frame, np.uint8), (count, 1))
    numbers = np.arange(count)
    pans = np.array([list(test_pan(card).encode()) for card in range(cards)], np.uint8)
    place = frame.index(test_pan(0).encode())
    rows[:, place : place + pans.shape[1]] = pans[numbers % cards]
    _digits(rows, frame.index(b"111111"), numbers % 1_000_000, 6)
    rrn = (at[0] * 100 + at[1]) * 10_000_000 + numbers
    _digits(rows, frame.index(b"222222222222"), rrn, 12)
    _digits(rows, frame.index(b"0601120000") + 6, at[0] * 100 + at[1] + 0 * numbers, 4)
    if key is not None:
        starts = np.arange(count, dtype=np.int64) * len(frame) + _HEADER_BYTES
        ends = np.full(count, len(message) - MAC_BYTES, np.int64)
        made = macs(key.cipher, key.usage, Padding.ZEROS, rows.reshape(-1), starts, ends)
        rows[:, -MAC_BYTES:] = made
    size = chunk * len(frame)
    data = rows.tobytes()
    return [data[start : start + size] for start in range(0, len(data), size)]


def _digits(rows: NDArray[np.uint8], place: int, numbers: NDArray[np.int64], width: int) -> None:
    for k in range(width):
        rows[:, place + k] = 48 + numbers // 10 ** (width - 1 - k) % 10


class _Link(threading.Thread):
    """One link in a closed loop: a chunk goes out when one has been answered."""

    def __init__(self, target: tuple[str, int], chunks: list[bytes], chunk: int) -> None:
        super().__init__(daemon=True)
        self._chunks = chunks
        self._chunk = chunk
        self._socket = socket.create_connection(target, _TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = bytearray()
        self._last: list[bytes] = []
        self._problem = ""

    def run(self) -> None:
        """Send everything; read every answer."""
        try:
            for sent, data in enumerate(self._chunks, start=1):
                self._socket.sendall(data)
                if sent >= _CHUNKS_IN_FLIGHT:
                    self._read()
            for _ in range(min(len(self._chunks), _CHUNKS_IN_FLIGHT) - 1):
                self._read()
        except OSError as problem:
            self._problem = str(problem)
        finally:
            self._socket.close()

    def check(self, key: _Key | None) -> None:
        """Check that the last answers approve and carry right MACs; ``ProblemFoundError``."""
        answers = [frame for frame in self._last if frame[:4] == b"0110"]
        if self._problem or len(answers) != self._chunk:
            raise ProblemFoundError(f"a link went wrong: {self._problem or 'answers are missing'}")
        at = len(answers[0]) - (0 if key is None else MAC_BYTES) - 3 - 15 - 8 - 2
        if any(frame[at : at + 2] != b"00" for frame in answers):
            raise ProblemFoundError("a payment was not approved")
        if key is None:
            return
        data = np.frombuffer(b"".join(answers), np.uint8).copy()
        sizes = np.array([len(frame) for frame in answers], np.int64)
        starts = np.cumsum(sizes) - sizes
        made = macs(key.cipher, key.usage, Padding.ZEROS, data, starts, sizes - MAC_BYTES)
        theirs = np.array([list(frame[-MAC_BYTES:]) for frame in answers], np.uint8)
        if differ(made, theirs).any():
            raise ProblemFoundError("an answer has a wrong MAC")

    def _read(self) -> None:
        """Read the answers of one chunk and keep them as the last ones."""
        answers: list[bytes] = []
        rest = self._rest
        while len(answers) < self._chunk:
            at = 0
            while at + _HEADER_BYTES <= len(rest) and len(answers) < self._chunk:
                end = at + _HEADER_BYTES + int.from_bytes(rest[at : at + _HEADER_BYTES], "big")
                if end > len(rest):
                    break
                answers.append(bytes(rest[at + _HEADER_BYTES : end]))
                at = end
            del rest[:at]
            if len(answers) < self._chunk:
                data = self._socket.recv(1 << 18)
                if not data:
                    raise ConnectionError("the switch closed the link")
                rest += data
        self._last = answers


def _figures(
    seconds: dict[str, list[float]], costs: dict[str, list[float]], count: int
) -> list[Figure]:
    """Return the rates, then the processor time of a payment."""
    plain = rate_figure("switch without MAC", "auth/s", count, seconds["none"], "itself", 1.0).value
    names = {
        "cmac": "switch with AES-CMAC",
        "retail": "switch with retail MAC (TDES)",
        "chained": "switch with CBC-MAC (TDES)",
    }
    plain_us = statistics.median(costs["none"])
    rates = [
        rate_figure(name, "auth/s", count, seconds[kind], "switch without MAC", plain)
        for kind, name in names.items()
    ]
    rates.append(
        rate_figure("switch without MAC", "auth/s", count, seconds["none"], "itself", plain)
    )
    return [
        *rates,
        *(
            cost_figure(f"{name}, processor", "us", costs[kind], "without MAC", plain_us)
            for kind, name in names.items()
        ),
    ]


def _say(text: str) -> None:
    sys.stderr.write(f"de39: {text}\n")
    sys.stderr.flush()
