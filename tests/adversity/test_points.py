"""Kill -9 at every named point of a commit and at random; a disk that says no at each call.

The parent keeps what was acknowledged in its own memory. After each round the journal is read back:
every acknowledged record is there with every byte, what was not acknowledged is there as whole
batches or not at all. Rounds go on in one folder, as restarts do. ``DE39_FAULT_ROUNDS=1000`` runs
longer.
"""

import itertools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ledger.failpoints import FAILURES, KILLS, VARIABLE, FailpointError, make_disk
from ledger.stores.file import open_file_store
from tests.support.ledger_process import SEGMENT_BYTES, check_numbered, numbered
from tests.support.ledger_processes import Processes

_AT_RANDOM = "at random"
_ROUNDS_A_FOLDER = 25


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    """Start the server of processes."""
    server = Processes()
    yield server
    server.close()


@pytest.mark.timeout(7200)  # for as many rounds as are asked for
def test_a_kill_at_any_point_loses_nothing_acknowledged(
    tmp_path: Path, fault_rounds: int, processes: Processes
) -> None:
    """Named points in turn, then random moments; the journal also opens for writing after each."""
    draw = random.Random(39)
    acknowledged = rounds_with_news = 0
    folder = tmp_path
    points = itertools.cycle((*KILLS, _AT_RANDOM))
    for number, point in zip(range(fault_rounds), points, strict=False):
        if number % _ROUNDS_A_FOLDER == 0:  # a whole journal is read in every round
            shutil.rmtree(folder)
            tmp_path.mkdir(exist_ok=True)
            folder, acknowledged = tmp_path / str(number), 0
        count, life_s = draw.randint(2, 40), draw.uniform(0.0, 0.1)
        if point == _AT_RANDOM:
            code, seen, _ = processes.run(folder, number, life_s=life_s)
        else:
            code, seen, _ = processes.run(folder, number, f"{point}:{count}")
        assert code == -9, (point, code)
        acknowledged = max([acknowledged, *seen])
        rounds_with_news += bool(seen)
        last = check_numbered(folder, acknowledged)
        store = open_file_store(folder, segment_bytes=SEGMENT_BYTES)
        assert store.position.seq == last + 1
        store.close()
        assert check_numbered(folder, acknowledged) == last
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
        assert check_numbered(tmp_path, acknowledged) >= acknowledged > 0


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
