"""A disk that takes its time: answers wait, it is seen, nothing is lost. And one that fills up."""

import asyncio
import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import iso8583
import pytest
from iso8583.specs import default

from engine.metrics import BuildInfo, Metrics, Queue
from engine.pipeline import Pipeline
from engine.session import Link, Profile
from engine.upkeep import disk_state
from ledger.commit import CommitJob, Committer
from ledger.disk import Buffer, OsDisk
from ledger.errors import StorageError
from ledger.recovery import Scan
from ledger.stores.file import open_file_store
from tests.ledger.journals import records_from
from tests.support.peer import Peer
from tests.support.small_engine import START_NS, SmallEngine, frame

_SEGMENT_BYTES = 1 << 20
_MIB = 1 << 20


class _HeldDisk(OsDisk):
    """Each commit waits until the test lets it through, or fails it."""

    def __init__(self) -> None:
        self.is_held = False
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.error = 0

    def pwrite_durably(self, handle: int, data: Buffer, offset: int) -> int:
        """Wait, then write or fail."""
        if self.is_held:
            self.entered.release()
            assert self.go_on.acquire(timeout=30)
        if self.error:
            raise OSError(self.error, "made to fail")
        return super().pwrite_durably(handle, data, offset)


class _Host:
    """A pipeline, its committer and a file store; the loop turns when the test says so."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.disk = _HeldDisk()
        self.store = open_file_store(data, segment_bytes=_SEGMENT_BYTES, disk=self.disk)
        self.engine = SmallEngine(limit_minor=10**9, plain=True, rows=16)
        self.loop = asyncio.new_event_loop()
        self.metrics = Metrics(BuildInfo("", ""))
        self.pipeline = Pipeline(
            self.engine.authorizer, self.metrics, self.loop, lambda: START_NS, 1 << 24
        )
        self.failures: list[Exception] = []
        self.reported = threading.Semaphore(0)
        self.committer = Committer(self.store, self._durable, self._failed)
        self.first = self.engine.state.next_seq
        self.committer.submit(CommitJob(records_from(1, self.first - 1), START_NS))
        assert self.reported.acquire(timeout=30)
        self.disk.is_held = True
        self.pipeline.committer = self.committer
        self.peer = Peer()
        self.link = Link(1, self.peer, 0, Profile(deadline_ms=0))

    def _durable(self, jobs: list[CommitJob]) -> None:
        if jobs[0].token is not None:
            self.pipeline.on_durable(jobs)
        self.reported.release()

    def _failed(self, error: Exception) -> None:
        self.failures.append(error)
        self.reported.release()

    def turn(self) -> None:
        """Let the loop do what is due."""
        for _ in range(3):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def ask(self, *stans: int) -> None:
        """Send payments."""
        for stan in stans:
            self.pipeline.feed(self.link, frame("0100", 1, stan))
        self.turn()

    def answers(self) -> list[tuple[str, str]]:
        """Return (STAN, DE39) of what was answered so far."""
        data, found = self.peer.sent, []
        while data:
            size = int.from_bytes(data[:2], "big")
            fields, _ = iso8583.decode(data[2 : 2 + size], default)
            found.append((fields["11"], fields["39"]))
            data = data[2 + size :]
        return found

    def written(self) -> list[int]:
        """Stop, and return the numbers of the payments in the journal."""
        self.disk.is_held = False
        self.committer.close()
        self.store.close()
        numbers = [n for batch in Scan(self.data) for n in batch.records["seq"].tolist()]
        return numbers[self.first - 1 :]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[_Host]:
    """Make a host of one test."""
    made = _Host(tmp_path)
    yield made
    made.disk.is_held = False
    made.disk.go_on.release(100)
    made.committer.close()
    made.store.close()
    made.loop.close()


def test_behind_a_slow_sync_answers_wait_and_nothing_is_lost(host: _Host) -> None:
    """No answer leaves before its own sync; the wait is seen; then all are answered in order."""
    host.ask(1)
    assert host.disk.entered.acquire(timeout=30)
    host.ask(2, 3)  # these gather for the next batch
    assert host.answers() == []
    assert host.metrics.queues[Queue.COMMIT] == 1
    waited_s = host.committer.writing_s
    assert waited_s > 0
    assert host.committer.writing_s > waited_s
    host.disk.go_on.release()
    assert host.reported.acquire(timeout=30)
    host.turn()
    assert host.answers() == [("000001", "00")]
    assert host.disk.entered.acquire(timeout=30)
    assert host.answers() == [("000001", "00")]
    host.disk.go_on.release()
    assert host.reported.acquire(timeout=30)
    host.turn()
    assert host.answers() == [("000001", "00"), ("000002", "00"), ("000003", "00")]
    assert host.metrics.queues[Queue.COMMIT] == 0
    assert host.committer.writing_s == 0
    assert host.written() == [host.first, host.first + 1, host.first + 2]


def test_a_disk_that_is_full_after_a_wait_answers_nothing(host: _Host) -> None:
    """What was on its way is not acknowledged, and the journal ends before it."""
    host.ask(1)
    assert host.disk.entered.acquire(timeout=30)
    host.disk.error = errno.ENOSPC
    host.disk.go_on.release()
    assert host.reported.acquire(timeout=30)
    host.turn()
    assert host.answers() == []
    assert isinstance(host.failures[0], StorageError)
    assert "disk full" in str(host.failures[0])
    assert host.committer.failure is host.failures[0]
    assert host.written() == []


def test_what_readiness_says_of_the_disk() -> None:
    """Room is what the reserve leaves, to the byte; a write of five seconds is no answer."""
    assert disk_state(192 * _MIB, 192 * _MIB, 4.9) == {"disk_has_room": True, "disk_answers": True}
    assert not disk_state(192 * _MIB - 1, 192 * _MIB, 0)["disk_has_room"]
    assert disk_state(0, 192 * _MIB, 0)["disk_has_room"]  # before the first look
    assert disk_state(1, 0, 0)["disk_has_room"]
    assert not disk_state(1 << 40, 0, 5.0)["disk_answers"]
