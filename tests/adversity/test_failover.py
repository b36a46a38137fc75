"""T10: a primary with two synchronous standbys is killed, paused and cut under load.

Every acknowledged record is on the server that takes over, the engine goes on by itself, and the
old primary can neither acknowledge nor add one. ``DE39_FAILOVER_ROUNDS`` repeats it.
"""

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from ledger.commit import CommitJob, Committer
from ledger.errors import StorageError
from ledger.journal import Position
from ledger.postgres.reading import scan_postgres
from ledger.record import Kind
from ledger.stores.base import Outcome
from ledger.stores.postgres import Patience, PostgresStore
from ledger.stores.postgres_open import Opening, open_postgres_store
from tests.ledger.journals import append, records_from
from tests.support.postgres import dsn_of, place_for_servers, remove, require_programs, until
from tests.support.trio import Trio
from tests.system.link import payment
from tests.system.process import PLAIN, Card, Switch, eventually

ROUNDS = int(os.environ.get("DE39_FAILOVER_ROUNDS") or 1)
_PATIENCE = Patience(commit_s=1.0, retry_s=60.0)


@pytest.fixture
def trio() -> Iterator[Trio]:
    """Start the three servers."""
    require_programs()
    place = place_for_servers()
    servers = Trio(place)
    yield servers
    servers.stop()
    remove(place)


class Load:
    """Commits records through a committer until it is told to stop, and keeps what was told."""

    def __init__(self, store: PostgresStore) -> None:
        self.acknowledged: list[CommitJob] = []
        self.failures: list[Exception] = []
        self._store = store
        self._stop = threading.Event()
        self._turn = threading.Semaphore(3)
        self._committer = Committer(store, self._durable, self._failed)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait until everything handed in is durable or has failed."""
        self._stop.set()
        self._turn.release(1000)
        self._thread.join(60)
        self._committer.close()

    @property
    def last_seq(self) -> int:
        """Return the last record that was acknowledged."""
        return int(self.acknowledged[-1].records["seq"][-1]) if self.acknowledged else 0

    def wait_for(self, more: int) -> None:
        """Wait until ``more`` further records are acknowledged."""
        wanted = self.last_seq + more
        until(lambda: self.last_seq >= wanted or self.failures, 60)
        assert not self.failures

    def _run(self) -> None:
        rng = random.Random(7)
        seq = self._store.position.seq
        while not self._stop.is_set() and not self.failures:
            self._turn.acquire()
            count = rng.randint(1, 200)  # some go alone, some while others are on their way
            with suppress(StorageError):
                self._committer.submit(CommitJob(records_from(seq, count), 5))
            seq += count

    def _durable(self, jobs: list[CommitJob]) -> None:
        self.acknowledged += jobs
        self._turn.release(len(jobs))

    def _failed(self, error: Exception) -> None:
        self.failures.append(error)
        self._turn.release(1000)


def records_at(dsn: str) -> np.ndarray:
    """Return every record of the journal; its chain is checked while it is read."""
    return np.concatenate([batch.records for batch in scan_postgres(dsn)])


def assert_all_there(load: Load, dsn: str) -> None:
    """Every acknowledged record is in the journal, byte for byte, and nothing else is."""
    wanted = np.concatenate([job.records for job in load.acknowledged])
    found = records_at(dsn)
    assert (found[: len(wanted)] == wanted).all()
    assert len(found) == len(wanted)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_primary_killed_under_load_loses_nothing(number: int, trio: Trio, tmp_path: Path) -> None:
    """Kill -9 the primary, promote a standby: the engine goes on, the old primary stays behind."""
    opening = Opening(trio.dsn, replica_count=1, patience=_PATIENCE)
    store = open_postgres_store(tmp_path, opening)
    load = Load(store)
    load.wait_for(2000 + 37 * number)
    trio.a.kill()
    before = load.last_seq
    new = trio.promote()
    load.wait_for(2000)
    assert before < load.last_seq
    assert store.stats.unknown_count > 0
    assert store.stats.ahead_count > 0
    assert str(new.sockets) in store.stats.place
    load.stop()
    assert load.failures == []
    assert_all_there(load, dsn_of(new))

    # The old primary comes back as it was: it waits for standbys that have left it, and the
    # engine's own dsn, which names it first, leads to its successor.
    trio.a.start()
    old = PostgresStore(dsn_of(trio.a), store.writer, _end_at(dsn_of(trio.a)), Patience(0.3, 1.0))
    assert append(old, 5) is Outcome.UNKNOWN
    old.close()
    assert append(store, 3) is Outcome.OK
    assert str(new.sockets) in store.stats.place
    store.close()
    assert len(records_at(trio.dsn)) == load.last_seq + 3


def test_a_primary_that_pauses_is_replaced(trio: Trio, tmp_path: Path) -> None:
    """SIGSTOP under load, promotion, SIGCONT: what it still had in hand never counts twice."""
    store = open_postgres_store(tmp_path, Opening(trio.dsn, replica_count=1, patience=_PATIENCE))
    load = Load(store)
    load.wait_for(1000)
    trio.a.send_signal(signal.SIGSTOP)
    new = trio.promote()
    load.wait_for(1000)
    trio.a.send_signal(signal.SIGCONT)
    load.wait_for(1000)
    load.stop()
    assert load.failures == []
    assert_all_there(load, dsn_of(new))
    store.close()
    with closing(open_postgres_store(tmp_path, Opening(trio.dsn, patience=_PATIENCE))) as again:
        assert again.position.seq == load.last_seq + 1
        assert again.writer.epoch == 2


def test_no_standby_means_no_yes(trio: Trio, tmp_path: Path) -> None:
    """Both standbys stopped: nothing is acknowledged until one is back, then everything is."""
    store = open_postgres_store(tmp_path, Opening(trio.dsn, replica_count=1, patience=_PATIENCE))
    load = Load(store)
    load.wait_for(500)
    for standby in (trio.b, trio.c):
        standby.send_signal(signal.SIGSTOP)
    until(lambda: store.stats.unknown_count > 1)
    stands = load.last_seq
    until(lambda: store.stats.unknown_count > 2)
    assert load.last_seq == stands
    trio.b.send_signal(signal.SIGCONT)
    load.wait_for(500)
    load.stop()
    assert_all_there(load, dsn_of(trio.a))
    store.close()


def _end_at(dsn: str) -> Position:
    """Return the end of the journal as a server has it."""
    *_, last = scan_postgres(dsn)
    return last.after


def test_every_approval_on_the_wire_is_with_the_successor(trio: Trio, tmp_path: Path) -> None:
    """A real engine pays while its primary is killed: it answers on, each yes is in the rows."""
    more = PLAIN + (
        f'[ledger]\nstore = "postgres"\ndsn = "{trio.dsn}"\nreplica_count = 1\n'
        "commit_timeout_s = 1\nretry_s = 60\n"
    )
    with Switch(tmp_path, more=more) as switch:
        switch.start()
        card = switch.open_card(limit_minor=10_000_000)
        assert eventually(lambda: switch.metric("de39_ledger_replicas") == 2)
        payer = Payer(switch, card)
        until(lambda: len(payer.approved) >= 50 or not payer.thread.is_alive(), 60)
        trio.a.kill()
        new = trio.promote()
        seen = len(payer.approved)
        until(lambda: len(payer.approved) >= seen + 50 or not payer.thread.is_alive(), 60)
        payer.stop()
        assert len(payer.approved) >= seen + 50
        assert switch.held(card) == 3 * len(payer.approved)
        assert eventually(lambda: switch.metric("de39_ledger_unknown_commits_total") > 0)
        assert switch.stop() == 0
    records = records_at(dsn_of(new))
    paid = records[(records["kind"] == Kind.AUTHORIZE) & (records["result"] == 0)]
    stans = {f"{stan:06d}" for stan in paid["stan"].tolist()}
    assert set(payer.approved) == stans


class Payer:
    """Pays over one link until it is told to stop; keeps the STAN of each approval."""

    def __init__(self, switch: Switch, card: Card) -> None:
        self.approved: list[str] = []
        self._switch = switch
        self._card = card
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End after the answer that is awaited."""
        self._stop.set()
        self.thread.join(60)

    def _run(self) -> None:
        with self._switch.link() as link:
            link.socket.settimeout(60)
            while not self._stop.is_set():
                answer = link.ask(payment(self._card.pan, 3))
                assert answer["39"] == "00"
                self.approved.append(answer["11"])
