"""Opens a data folder: vault, snapshot, journal; gives back the state at its last record.

Used by the switch, by offline commands and by tests. Opening takes the folder's lock; a second
process is refused. What a snapshot holds is not replayed; everything after it is.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.config import Config
from engine.errors import ConfigError
from engine.events import apply_events, apply_zones
from engine.replay import Replayer
from engine.rule_counts import RuleCounts
from engine.snapshots import meta_of
from engine.state import Bounds, EngineState
from engine.tokens import Tokenizer
from ledger.authorizations import Cursor
from ledger.commit import CommitJob, Committer
from ledger.disk import OsDisk
from ledger.errors import NoJournalError
from ledger.journal import Batch, Blob, BlobKind, Position
from ledger.proof.log import check_end
from ledger.record import RECORD
from ledger.segment import SEGMENT_BYTES, archived_mark
from ledger.snapshot import Snapshot, load_latest, write_snapshot
from ledger.snapshot import state_hash as snapshot_hash
from ledger.stores.base import JournalReader
from ledger.stores.file import lock_folder
from ledger.stores.place import Store, StoreChoice, open_store
from ledger.stores.postgres import Patience
from ledger.vault import VAULT_FILE, Vault, VaultError
from ledger.witness import check_witnesses, read_witnesses
from scoring.tables import Tables, tables

Note = Callable[[str], None]
EVENTS_A_BATCH = 4096
_BLOBS_REPLAYED = (
    BlobKind.RULES_SHA256,
    BlobKind.RULES_TEXT,
    BlobKind.NAME,
    BlobKind.KEYS,
    BlobKind.RULE,
    BlobKind.ZONES,
    BlobKind.HITS,
    BlobKind.LIFECYCLE,
)


@dataclass(slots=True)
class Partition:
    """An open data folder. ``close`` gives everything back; the state stays readable."""

    data: Path
    vault: Vault
    state: EngineState
    counts: RuleCounts  # of all records at the start; then kept by who serves
    store: Store
    tables: Tables
    tokenizer: Tokenizer
    hash_key: NDArray[np.uint64]
    replayed_count: int
    lock: int

    def snapshot(self) -> None:
        """Write a snapshot of the state; everything in it must be durable."""
        state = self.state
        write_snapshot(
            self.data,
            state.next_seq - 1,
            self.store.position,
            state.arrays(),
            meta_of(state, self.counts),
        )

    def append(self, records: NDArray[np.void], who: bytes) -> None:
        """Apply events RECORD (k,) and wait until they are durable, for a folder nobody serves.

        ``who`` is noted with the first of each batch. Raises StorageError.
        """
        failures: list[Exception] = []
        committer = Committer(self.store, lambda _: None, failures.append)
        blobs = [Blob(0, BlobKind.OPERATOR, who)]
        for first in range(0, len(records), EVENTS_A_BATCH):
            part = np.ascontiguousarray(records[first : first + EVENTS_A_BATCH])
            apply_events(part, self.state.accounts, self.state.cards, self.state.cursor)
            apply_zones(part, self.state.card_zones)
            while not committer.has_room and committer.failure is None:
                time.sleep(0.001)  # the disk is slower than this loop
            committer.submit(CommitJob(part, time.time_ns(), blobs))
        committer.close()
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Close journal and vault and release the folder."""
        self.state.close()
        self.store.close()
        self.vault.close()
        os.close(self.lock)


def _refuse_lost_vault(data: Path, known: tuple[int, int, int], state: EngineState) -> None:
    """Raise VaultError when the vault knows nobody of a journal with accounts: it is not there.

    An engine without it would decline every payment as of an unknown card. One that is only behind,
    an older copy, serves what it knows.
    """
    if known[0] == 0 < state.account_count:
        raise VaultError(
            f"{data / VAULT_FILE} knows no account, the journal {state.account_count} accounts and "
            f"{state.card_count} cards: put the vault of that engine in place"
        )


def bounds_of(config: Config) -> Bounds:
    """Return the table bounds of a configuration.

    Those of rings are rounded up to a power of two, that of authorizations to four times the
    largest batch.
    """
    limits = config.limits
    ring = max(limits.authorizations_max, 4 * limits.batch_max_frames)
    return Bounds(
        accounts_max=limits.accounts_max,
        cards_max=limits.cards_max,
        merchants_max=limits.merchants_max,
        authorizations_max=1 << (ring - 1).bit_length(),
        clearings_max=1 << (limits.clearings_max - 1).bit_length(),
    )


def choice_of(config: Config) -> StoreChoice:
    """Return where the journal is by a configuration."""
    ledger = config.ledger
    return StoreChoice(
        is_postgres=ledger.store == "postgres",
        dsn=ledger.dsn,
        replica_count=ledger.replica_count,
        patience=Patience(ledger.commit_timeout_s, ledger.retry_s),
        segment_bytes=ledger.segment_bytes,
    )


def open_partition(
    data: Path,
    bounds: Bounds,
    *,
    segment_bytes: int | None = None,
    choice: StoreChoice | None = None,
    witnesses: Sequence[Path] = (),
    note: Note = lambda _: None,
    lock: int | None = None,
) -> Partition:
    """Open ``data`` for writing, made if it is not there.

    ``lock`` is of ``lock_folder`` where the caller has it: the partition closes it in the end.

    ``choice`` says where the journal is; None = in files, of ``segment_bytes`` each. A journal that
    ends before a witness or the newest signed checkpoint is refused with ``RotError``.
    ``note`` is told, one line each, of anything an operator should see: a cut tail, a skipped
    snapshot. Raises the ledger's and the vault's errors, ``ConfigError`` where a bound is below
    what the folder holds, ``ReplayError`` where records and state disagree.
    """
    choice = choice or StoreChoice(segment_bytes=segment_bytes or SEGMENT_BYTES)
    if lock is not None:
        return _open(data, bounds, choice, witnesses, note, lock)
    lock = lock_folder(data)
    try:
        return _open(data, bounds, choice, witnesses, note, lock)
    except BaseException:
        os.close(lock)
        raise


def _open(
    data: Path,
    bounds: Bounds,
    choice: StoreChoice,
    witnesses: Sequence[Path],
    note: Note,
    lock: int,
) -> Partition:
    seen = [witness for path in witnesses for witness in read_witnesses(path, 0)]

    def check(end: Position, journal: JournalReader) -> None:
        check_end(data, end)
        check_witnesses(journal, end, seen)

    vault = Vault.open(data)
    try:
        hash_key = np.frombuffer(vault.keys.hash_key, np.uint64).copy()
        state, constants = EngineState(bounds), tables()
        replayer = Replayer(state, constants, hash_key)
        snapshot = load_latest(data, on_damaged=note)
        if snapshot is None:
            _refuse_archived(data)
        feed = _Feed(replayer, _restore(state, snapshot), counts=_counts(state, snapshot))
        store = open_store(
            data,
            choice,
            start=None if snapshot is None else snapshot.position,
            at_least_seq=0 if snapshot is None else snapshot.seq,
            on_batch=feed,
            on_end=check,
            note=note,
        )
        counts = feed.end()
        if store.torn is not None:
            note("the journal ended in a batch that was never complete: it was cut off")
        dropped = vault.drop_unjournalled(state.account_count, state.card_count)
        if any(dropped):
            note(f"{dropped[0]} accounts and {dropped[1]} cards had no journal record: dropped")
        known = vault.last_numbers()
        _refuse_lost_vault(data, known, state)
        if known[0] < state.account_count or known[1] < state.card_count:
            note(
                f"the vault knows {known[0]} accounts and {known[1]} cards, the journal "
                f"{state.account_count} and {state.card_count}: bring the vault of that engine"
            )
        state.load_tokens(*vault.load_tokens())
    except BaseException:
        vault.close()
        raise
    return Partition(
        data=data,
        vault=vault,
        state=state,
        counts=counts,
        store=store,
        tables=constants,
        tokenizer=Tokenizer(vault.keys.token_key),
        hash_key=hash_key,
        replayed_count=feed.count,
        lock=lock,
    )


def _refuse_archived(data: Path) -> None:
    """Raise ``NoJournalError`` when the journal's first segments are not there to be read."""
    if archived_mark(OsDisk(), data) is not None:
        raise NoJournalError(
            f"older segments of {data} are archived and no snapshot can be read: "
            "bring the segments back from the archive"
        )


def _restore(state: EngineState, snapshot: Snapshot | None) -> int:
    """Load the snapshot into ``state``; return the last record in it, 0 without one."""
    if snapshot is None:
        return 0
    try:
        state.restore(snapshot.arrays)
    except ValueError as problem:
        raise ConfigError(str(problem)) from None
    assert state.cursor[Cursor.NEXT_SEQ] == snapshot.seq + 1, "the snapshot says where it stands"
    return snapshot.seq


def _counts(state: EngineState, snapshot: Snapshot | None) -> RuleCounts:
    """Return the counts of rules that a snapshot holds; a snapshot of before has none."""
    counts = RuleCounts()
    kept = None if snapshot is None else snapshot.meta.get("rule_counts")
    if kept is not None:
        counts.restore(kept)
    elif snapshot is not None:
        counts.seq = snapshot.seq
    counts.changed(state.rules)
    return counts


class _Feed:
    """Hands journal batches to the replayer in larger pieces; small batches cost little then.

    ``counts`` are kept along, from the record that they are true at.
    """

    def __init__(
        self,
        replayer: Replayer,
        done_seq: int,
        piece: int = 8192,
        counts: RuleCounts | None = None,
    ) -> None:
        self._replayer = replayer
        self._counts = counts
        replayer.state.rules.watcher = counts
        self._done_seq = done_seq
        self._piece = piece
        self._parts: list[NDArray[np.void]] = []
        self._originals: list[tuple[int, bytes]] = []
        self._blobs: list[Blob] = []
        self._waiting = 0
        self.count = 0

    def __call__(self, batch: Batch) -> None:
        """Take one batch; records that the snapshot has are passed over."""
        skipped = int(np.searchsorted(batch.records["seq"], self._done_seq, "right"))
        if skipped and self._counts is not None:
            self._count_skipped(batch, skipped)
        records = batch.records[skipped:]
        if not len(records):
            return
        for blob in batch.blobs:
            row = self._waiting + blob.row - skipped
            if blob.kind == BlobKind.ORIGINAL and blob.row >= skipped:
                self._originals.append((row, blob.data))
            elif blob.kind in _BLOBS_REPLAYED and blob.row >= skipped:
                self._blobs.append(blob._replace(row=row))
        self._parts.append(records)
        self._waiting += len(records)
        if self._waiting >= self._piece:
            self.flush()

    def pass_over(self, seq: int) -> None:
        """Leave out records up to ``seq`` from now on: they have been taken."""
        self._done_seq = seq

    def end(self) -> RuleCounts:
        """Apply what waits; return the counts of all records."""
        self.flush()
        state, counts = self._replayer.state, self._counts
        assert counts is not None, "who reads a journal to serve has them kept"
        state.rules.watcher = None
        counts.seq = state.next_seq - 1
        return counts

    def _count_skipped(self, batch: Batch, skipped: int) -> None:
        """Count those of the first ``skipped`` records that no count has: see ``Snapshots``."""
        assert self._counts is not None
        first = int(np.searchsorted(batch.records["seq"], self._counts.seq, "right"))
        if first < skipped:
            blobs = [blob for blob in batch.blobs if first <= blob.row < skipped]
            self._counts.saw(batch.records[first:skipped], blobs)

    def flush(self) -> None:
        """Apply what waits."""
        if self._parts:
            records = _joined(self._parts)
            self._replayer.apply(records, self._originals, self._blobs)
            self.count += len(records)
        self._parts, self._originals, self._blobs, self._waiting = [], [], [], 0


def _joined(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    """Return ``parts`` RECORD (k,) one after the other, copied as plain bytes."""
    if len(parts) == 1:
        return parts[0]
    raw = np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in parts])
    return raw.view(RECORD)


class StateFold:
    """The fold that ``ledger.verify`` takes: replays batches into a state of its own."""

    def __init__(
        self,
        bounds: Bounds,
        hash_key: NDArray[np.uint64],
        snapshot: Snapshot | None = None,
        make: Callable[[EngineState, Tables, NDArray[np.uint64]], Replayer] = Replayer,
    ) -> None:
        self.state = EngineState(bounds)
        done_seq = _restore(self.state, snapshot)
        self._feed = _Feed(make(self.state, tables(), hash_key), done_seq)

    def __call__(self, batch: Batch) -> None:
        """Apply one batch."""
        self._feed(batch)

    def apply_up_to(self, batch: Batch, seq: int) -> None:
        """Apply the records of ``batch`` up to ``seq``; handing it in again applies the rest."""
        count = int(np.searchsorted(batch.records["seq"], seq, "right"))
        blobs = tuple(blob for blob in batch.blobs if blob.row < count)
        self._feed(batch._replace(records=batch.records[:count], blobs=blobs))
        self._feed.pass_over(seq)

    def finish(self) -> None:
        """Apply what still waits to be applied."""
        self._feed.flush()

    def state_hash(self) -> str:
        """Return the SHA-256 of the state after the last batch."""
        self.finish()
        return snapshot_hash(self.state.arrays())
