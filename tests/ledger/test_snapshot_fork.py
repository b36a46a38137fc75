"""A child process writes the state as it stood; the engine may go on changing it at once."""

import os
from pathlib import Path

import numpy as np
import pytest

from ledger.errors import StorageError
from ledger.journal import Position
from ledger.snapshot import latest_seq, load_latest, snapshot_folder, state_hash
from ledger.snapshot_fork import SnapshotChild


def finished(child: SnapshotChild) -> bool:
    """Wait for the child; return what ``poll`` says then."""
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return child.poll()


def test_the_state_is_that_of_the_moment(tmp_path: Path) -> None:
    """Changes after the fork are not in it; it has a name only once it was adopted."""
    table = np.arange(100_000)
    expected = state_hash({"table": table})
    child = SnapshotChild(tmp_path, 7, Position(seq=5), lambda: {"table": table})
    table[:] = 0
    assert finished(child)
    assert latest_seq(tmp_path) == 0
    child.adopt()
    found = load_latest(tmp_path)
    assert found is not None
    assert (found.seq, found.state_hash, found.position.seq) == (7, expected, 5)
    assert child.pause_ns > 0


def test_a_child_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Its exit is an error that names the snapshot; the file is gone."""

    def arrays() -> dict[str, np.ndarray]:
        raise MemoryError

    child = SnapshotChild(tmp_path, 7, Position(), arrays)
    with pytest.raises(StorageError, match="snapshot 7 was not written"):
        finished(child)
    assert list(snapshot_folder(tmp_path).iterdir()) == []


def test_giving_up_ends_the_child(tmp_path: Path) -> None:
    """Its process is gone, and so is what it wrote."""
    reader, writer = os.pipe()

    def arrays() -> dict[str, np.ndarray]:
        while True:
            pass

    child = SnapshotChild(tmp_path, 7, Position(), arrays)
    pid = child.pid
    child.give_up()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(snapshot_folder(tmp_path).iterdir()) == []
    os.close(reader)
    os.close(writer)


def test_the_child_keeps_no_file_of_the_engine(tmp_path: Path) -> None:
    """A pipe of the engine ends when the engine closes it, though the child lives."""
    reader, writer = os.pipe()

    def arrays() -> dict[str, np.ndarray]:
        while True:
            pass

    child = SnapshotChild(tmp_path, 7, Position(), arrays)
    os.close(writer)
    assert os.read(reader, 1) == b""
    child.give_up()
    os.close(reader)
