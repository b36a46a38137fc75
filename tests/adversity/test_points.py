"""Kill -9 at every named point of a commit and at random; a disk that says no at each call.

The parent keeps what was acknowledged in its own memory. After each round the journal is read back:
every acknowledged record is there with every byte, what was not acknowledged is there as whole
batches or not at all. Rounds go on in one folder, as restarts do. ``DE39_FAULT_ROUNDS=1000`` runs
longer.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ledger.failpoints import FAILURES, KILLS, VARIABLE, FailpointError, make_disk
from ledger.recovery import Scan
from ledger.stores.file import open_file_store
from tests.support.ledger_process import SEGMENT_BYTES, numbered

ROOT = Path(__file__).resolve().parents[2]
_AT_RANDOM = "at random"


class Processes:
    """Starts processes that commit, one at a time."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ledger_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=dict(os.environ, PYTHONPATH=str(ROOT)),
            text=True,
        )

    def run(
        self, folder: Path, seed: int, point: str = "-", life_s: float | None = None
    ) -> tuple[int, list[int], bool]:
        """Run one to its end; kill it ``life_s`` after its first group.

        Return exit code, what was acknowledged, and whether it reported a failure.
        """
        assert self._server.stdin is not None
        self._server.stdin.write(f"{folder} {seed} {point}\n")
        self._server.stdin.flush()
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
                os.kill(pid, signal.SIGKILL)
                life_s = None
        return int(line.removeprefix("exit ")), acknowledged, has_failed

    def close(self) -> None:
        """End the server."""
        self._server.communicate(timeout=30)

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    """Start the server of processes."""
    server = Processes()
    yield server
    server.close()


def check(folder: Path, acknowledged: int) -> int:
    """Read the journal back after a crash; return its last record."""
    expected = 1
    ends = []
    for batch in Scan(folder):
        records = batch.records
        assert records.tobytes() == numbered(expected, len(records)).tobytes()
        expected += len(records)
        ends.append(expected - 1)
    assert not acknowledged or acknowledged in ends, "a batch is whole or not there"
    assert expected - 1 >= acknowledged, "an acknowledged record is gone"
    return expected - 1


@pytest.mark.timeout(7200)  # for as many rounds as are asked for
def test_a_kill_at_any_point_loses_nothing_acknowledged(
    tmp_path: Path, fault_rounds: int, processes: Processes
) -> None:
    """Named points in turn, then random moments; the journal also opens for writing after each."""
    draw = random.Random(39)
    acknowledged = rounds_with_news = 0
    points = itertools.cycle((*KILLS, _AT_RANDOM))
    for number, point in zip(range(fault_rounds), points, strict=False):
        count, life_s = draw.randint(2, 40), draw.uniform(0.0, 0.1)
        if point == _AT_RANDOM:
            code, seen, _ = processes.run(tmp_path, number, life_s=life_s)
        else:
            code, seen, _ = processes.run(tmp_path, number, f"{point}:{count}")
        assert code == -9, (point, code)
        acknowledged = max([acknowledged, *seen])
        rounds_with_news += bool(seen)
        last = check(tmp_path, acknowledged)
        store = open_file_store(tmp_path, segment_bytes=SEGMENT_BYTES)
        assert store.position.seq == last + 1
        store.close()
        assert check(tmp_path, acknowledged) == last
    assert rounds_with_news > fault_rounds // 2


@pytest.mark.parametrize("point", [*FAILURES, "short-write"])
def test_a_disk_that_fails_stops_the_process(
    tmp_path: Path, point: str, processes: Processes
) -> None:
    """The call fails once: the process ends with 74, and nothing is acknowledged after it."""
    acknowledged = 0
    for count in (6, 17):
        code, seen, has_failed = processes.run(tmp_path, count, f"{point}:{count}")
        assert (code, has_failed) == (74, True)
        acknowledged = max([acknowledged, *seen])
        assert check(tmp_path, acknowledged) >= acknowledged > 0


def test_points_are_named() -> None:
    """A variable that names no point is refused; without one the plain disk is used."""
    assert type(make_disk({})).__name__ == "OsDisk"
    for text in ("before-write", "nowhere:1", "eio-sync:0", "eio-sync:x"):
        with pytest.raises(FailpointError, match="expected POINT:N"):
            make_disk({VARIABLE: text})


def test_numbered_records_follow_from_their_number() -> None:
    """Two cuts of the same numbers give the same bytes: the oracle of these tests."""
    whole = numbered(5, 10)
    assert whole.tobytes() == numbered(5, 3).tobytes() + numbered(8, 7).tobytes()
    assert np.array_equal(whole["seq"], np.arange(5, 15, dtype=np.uint64))
