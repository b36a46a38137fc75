"""A small engine over a data folder: vault, journal and snapshots are the real ones."""

from pathlib import Path

import numpy as np

from engine.authorize import Authorizer, Settings, Workspace
from engine.events import apply_events
from engine.importing import Import
from engine.partition import open_partition
from engine.registrar import Registrar, Registration
from engine.rule_events import Event, apply_rule_events
from engine.state import Bounds
from ledger.commit import CommitJob, Committer
from ledger.journal import Blob, BlobKind
from ledger.pan import Pan
from ledger.snapshot import state_hash
from ledger.stores.place import StoreChoice
from tests.support.small_engine import MODEL, RULES, START_NS, TABLE, TABLES, pan
from tests.support.streams import Player

BOUNDS = Bounds(64, 64, 64, 256)


def import_of(accounts: int, cards_each: int, first: int = 1) -> Import:
    """Return accounts A<first> and on, customers of two accounts each, and their cards."""
    numbers = range(first, first + accounts)
    cards = accounts * cards_each
    first_card = (first - 1) * cards_each + 1
    return Import(
        accounts=[f"A{n}" for n in numbers],
        customers=[f"C{(n + 1) // 2}" for n in numbers],
        products=["standard"] * accounts,
        currency=np.full(accounts, 840, np.uint16),
        limit_minor=np.full(accounts, 50_000, np.int64),
        pans=[Pan(pan(c)) for c in range(first_card, first_card + cards)],
        card_account=np.repeat(np.arange(accounts), cards_each),
        expiry_yymm=np.full(cards, 3512, np.uint16),
        status=np.ones(cards, np.uint16),
        is_made=np.zeros(cards, np.bool_),
        zones=np.zeros(cards, np.uint16),
    )


class DiskEngine:
    """Opens ``data``; close it by ``with``. Everything played is committed before it returns."""

    def __init__(
        self, data: Path, bounds: Bounds = BOUNDS, choice: StoreChoice | None = None
    ) -> None:
        self.notes: list[str] = []
        self.partition = open_partition(
            data, bounds, segment_bytes=1 << 20, choice=choice, note=self.notes.append
        )
        self.state = self.partition.state
        self.authorizer = Authorizer(
            self.state,
            TABLE,
            RULES,
            MODEL,
            TABLES,
            self.partition.tokenizer,
            self.partition.hash_key,
            Settings(hold_life_h=24),
            Workspace(32, 1 << 16),
        )
        self.failures: list[Exception] = []
        self._committer = Committer(self.partition.store, lambda _: None, self.failures.append)
        self.registrar = Registrar(self.partition.vault, self.partition.tokenizer, self.state)

    def __enter__(self) -> "DiskEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self._committer.close()
        assert not self.failures
        self.partition.close()

    def register(self, batch: Import) -> Registration:
        """Open accounts and issue cards, journal first."""
        done = self.registrar.register(batch, START_NS)
        state = self.state
        count = apply_events(done.records, state.accounts, state.cards, state.cursor)
        assert count == len(done.records)
        state.add_tokens(done.card_numbers, done.tokens)
        self._committer.submit(CommitJob(done.records, START_NS))
        return done

    def change(self, event: Event) -> None:
        """Apply a record about rules and hand it to the journal."""
        records, blobs = apply_rule_events([event], self.state)
        self._committer.submit(CommitJob(records, START_NS, blobs))

    def commit(self, player: Player) -> None:
        """Hand what ``player`` has played so far to the journal, one job a batch."""
        first = 0
        for records in player.played.records:
            named = [(r - first, i) for r, i in player.played.originals if r >= first]
            blobs = [Blob(r, BlobKind.ORIGINAL, i) for r, i in named if r < len(records)]
            about = [b._replace(row=b.row - first) for b in player.played.blobs]
            blobs += [b for b in about if 0 <= b.row < len(records)]
            if len(records):
                self._committer.submit(CommitJob(records, int(records["ts_ns"][-1]), blobs))
            first += len(records)

    def drain(self) -> None:
        """Wait until all that was handed in is durable."""
        self._committer.close()

    def hash(self) -> str:
        """Return the hash of the state."""
        return state_hash(self.state.arrays())
