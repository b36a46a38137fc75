"""A data folder with test cards and a switch that serves it, as a process of its own.

The demo, the switch benchmark and system tests start their switch here. Everything is on loopback
and on free ports.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.frames import EXPIRY_YYMM, test_pan
from engine.cards import CardStatus
from engine.config import Config, load_config
from engine.errors import UnavailableError
from engine.importing import Import
from engine.partition import bounds_of, open_partition
from engine.registrar import Registrar
from ledger.pan import Pan

_READY = re.compile(r"ready: .* on ([0-9.]+):(\d+); http on ([0-9.]+):(\d+)")
_STOP_S = 30.0

Say = Callable[[str], None]


class Ports(NamedTuple):
    """Where a switch listens, and its process."""

    iso: tuple[str, int]
    http: tuple[str, int]
    process: "subprocess.Popen[str]"


def write_config(folder: Path, *, cards: int, authorizations: int, extra: str = "") -> Path:
    """Write the configuration of a test switch in ``folder``; return the file."""
    path = folder / "de39.toml"
    path.write_text(
        f"""# Made for a demonstration or a measurement: loopback, free ports.
data = "data"
[[listen]]
address = "127.0.0.1:0"
deadline_ms = 30000 # whatever the machine does meanwhile, all of the work is done
overload_wait_ms = 30000
[http]
address = "127.0.0.1:0"
[limits]
cards_max = {cards}
accounts_max = {cards}
authorizations_max = {authorizations}
{extra}""",
        encoding="utf-8",
    )
    return path


def open_test_cards(
    config: Config, count: int, limits_minor: "np.ndarray[tuple[int], np.dtype[np.int64]]"
) -> None:
    """Open ``count`` accounts with one test card each in the folder of ``config``."""
    partition = open_partition(Path(config.data), bounds_of(config))
    try:
        names = range(1, count + 1)
        batch = Import(
            accounts=[f"A{n}" for n in names],
            customers=[f"C{n}" for n in names],
            products=["standard"] * count,
            currency=np.full(count, 840, np.uint16),
            limit_minor=limits_minor.astype(np.int64),
            pans=[Pan(test_pan(n - 1)) for n in names],
            card_account=np.arange(count, dtype=np.int64),
            expiry_yymm=np.full(count, int(EXPIRY_YYMM), np.uint16),
            status=np.full(count, CardStatus.ACTIVE, np.uint16),
            is_made=np.ones(count, np.bool_),
            zones=np.zeros(count, np.uint16),
        )
        registrar = Registrar(partition.vault, partition.tokenizer, partition.state)
        records = registrar.register(batch, time.time_ns()).records
        partition.append(records, b"bench")
        partition.snapshot()
    finally:
        partition.close()


@contextmanager
def switch_process(config_path: Path, say: Say, *, pin: int | None = None) -> Iterator[Ports]:
    """Start ``de39 serve``, yield its ports, stop it with SIGTERM; its log is beside the config.

    Raises ``UnavailableError`` with the last line of its log when it does not come up or does not
    stop with exit code 0.
    """
    log_path = config_path.with_name("serve.log")
    command = [sys.executable, "-m", "engine.cli", "serve", "--config", str(config_path)]
    with log_path.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL, text=True)
    try:
        if pin is not None:
            os.sched_setaffinity(process.pid, {pin})
        yield _wait_ready(process, log_path, say)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    if code != 0:
        raise UnavailableError(f"the switch ended with exit code {code}: {_last_line(log_path)}")


def _wait_ready(process: "subprocess.Popen[str]", log_path: Path, say: Say) -> Ports:
    """Follow the log, pass on what is meant for people, until the ports are known."""
    with log_path.open(encoding="utf-8") as log:
        while True:
            line = log.readline()
            if not line:
                if process.poll() is not None:
                    raise UnavailableError(f"the switch did not start: {_last_line(log_path)}")
                time.sleep(0.02)  # nothing new in its log yet
                continue
            found = _READY.search(line)
            if found:
                iso, http = (found[1], int(found[2])), (found[3], int(found[4]))
                return Ports(iso, http, process)
            if line.startswith("de39: "):
                say(line.removeprefix("de39: ").strip())


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def config_of(path: Path) -> Config:
    """Return the configuration that the switch will read."""
    return load_config(path, os.environ)
