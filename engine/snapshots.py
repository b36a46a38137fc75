"""SHELL: when a running engine takes a snapshot of itself, and what becomes of it.

Called on the loop's thread between two batches. A snapshot that fails is told and counted; the
engine goes on with the one before, since the journal is the truth.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from engine.rule_counts import RuleCounts
from engine.state import EngineState
from ledger.errors import LedgerError
from ledger.journal import Position
from ledger.snapshot import latest_seq
from ledger.snapshot_fork import SnapshotChild


def meta_of(state: EngineState, counts: RuleCounts | None = None) -> dict[str, Any]:
    """Return what a start must know beside the arrays: how large the tables were; counts."""
    meta: dict[str, Any] = {"bounds": asdict(state.bounds)}
    return meta if counts is None else {**meta, "rule_counts": counts.to_json()}


class Snapshots:
    """Takes them by time, by records and on demand; one at a time.

    Parameters
    ----------
    state, store
        The live state, and the store its records go to.
    data
        The data folder.
    interval_s, record_count
        After so many seconds or records since the last one, whichever comes first; 0 = not by it.
    note
        Told of a failure, one line.
    counts
        Of rules. They have the durable records only and may lack the last of these, so a snapshot
        names a place of the journal from which on the start finds all that they lack.
    """

    def __init__(
        self,
        state: EngineState,
        store: Any,
        data: Any,
        interval_s: float,
        record_count: int,
        note: Callable[[str], None],
        counts: RuleCounts | None = None,
    ) -> None:
        self._state = state
        self._store = store
        self._data = data
        self._interval_s = interval_s
        self._record_count = record_count
        self._note = note
        self._counts = counts
        self._places: tuple[Position, Position] = (store.position, store.position)
        self._child: SnapshotChild | None = None
        self._is_written = False
        self._last_s = time.monotonic()
        self.last_seq = latest_seq(data)
        self.taken = 0
        self.failures = 0
        self.pause_ns = 0  # of the last one: how long the loop stood still

    @property
    def is_busy(self) -> bool:
        """Return whether one is being written."""
        return self._child is not None

    @property
    def is_due(self) -> bool:
        """Return whether one should begin now."""
        news = self._state.next_seq - 1 - self.last_seq
        if self.is_busy or news <= 0:
            return False
        if self._record_count and news >= self._record_count:
            return True
        return bool(self._interval_s) and time.monotonic() - self._last_s >= self._interval_s

    def begin(self) -> int:
        """Begin one; return the last record in it, 0 where one is under way or it failed."""
        if self.is_busy:
            return 0
        self._last_s = time.monotonic()
        state, position = self._state, self._counted_place()
        meta = meta_of(state, self._counts)
        try:
            self._child = SnapshotChild(
                self._data, state.next_seq - 1, position, state.arrays, meta
            )
        except LedgerError as error:
            self._failed(error)
            return 0
        self._is_written = False
        self.pause_ns = self._child.pause_ns
        return self._child.seq

    def note_place(self) -> None:
        """Now and then, on the loop: remember where the journal stands."""
        counted, latest = self._places
        if self._has_counted(latest):
            counted = latest
        self._places = counted, self._store.position

    def _counted_place(self) -> Position:
        """Return the last known place before which every record is counted."""
        places: tuple[Position, ...] = (self._store.position, *reversed(self._places))
        return next((place for place in places if self._has_counted(place)), self._places[0])

    def _has_counted(self, place: Position) -> bool:
        return self._counts is None or place.seq <= self._counts.seq + 1

    def further(self) -> None:
        """Look whether it is written, and give it its name once its records are durable."""
        child = self._child
        if child is None:
            return
        try:
            self._is_written = self._is_written or child.poll()
            if self._is_written and self._store.position.seq > child.seq:
                child.adopt()
                self.last_seq = child.seq
                self.taken += 1
                self._child = None
        except LedgerError as error:
            self._failed(error)

    def close(self) -> None:
        """Give up what is under way: a stop writes its own."""
        if self._child is not None:
            self._child.give_up()
            self._child = None

    def _failed(self, error: LedgerError) -> None:
        self._child = None
        self.failures += 1
        self._note(f"snapshot: {error}")
