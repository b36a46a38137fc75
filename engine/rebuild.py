"""The state made again from the journal, compared with every snapshot on the way.

A snapshot is believed at a start; this is the check that it may be. The state is folded from the
first record that is there, or from an older snapshot, and its hash must be the one in each newer
snapshot at that record. With the tables as large as the engine's own, the hash at the end is the
one that the running engine would write now.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.partition import StateFold
from engine.state import Bounds
from ledger.ahead import read_ahead
from ledger.errors import LedgerError, NoJournalError
from ledger.snapshot import Snapshot, load_latest, of_other_format, snapshot_seqs
from ledger.stores.place import beginning_of, scan_journal


class RebuildError(LedgerError):
    """The state cannot be made again from what is there."""


def rebuild(
    data: Path,
    hash_key: NDArray[np.uint64],
    bounds: Bounds | None = None,
    *,
    from_record: int | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Fold the journal of ``data`` and compare; an engine may be running.

    Parameters
    ----------
    data, hash_key
        The data folder and its key.
    bounds
        Table bounds; None = those that the newest snapshot was made with.
    from_record
        Begin with the newest snapshot at or before this record; None = with the first record, or
        the oldest snapshot where older segments are archived.
    on_progress
        Called with the records folded so far.

    Returns
    -------
    dict
        from_record, records, last_record, state_hash, compared (list of record, ok),
        damaged_snapshots, other_snapshots (of another format: not compared), ok.
    """
    seqs = snapshot_seqs(data)
    known = {found.seq: found for seq in seqs if (found := _facts_of(data, seq)) is not None}
    begin = _begin(data, list(known), from_record)
    newest = known.get(max(known, default=0))
    if bounds is None:
        if newest is None or "bounds" not in newest.meta:
            raise RebuildError(f"no snapshot of {data} has the sizes of its tables: give --config")
        bounds = Bounds(**newest.meta["bounds"])
    fold = StateFold(bounds, hash_key, begin)
    first = done = 0 if begin is None else begin.seq
    ahead = sorted(seq for seq in known if seq > done)
    compared: list[dict[str, Any]] = []
    start = None if begin is None else begin.position
    for batch in read_ahead(scan_journal(data, start=start)):
        while ahead and ahead[0] < batch.after.seq:
            seq = ahead.pop(0)
            fold.apply_up_to(batch, seq)
            compared.append({"record": seq, "ok": fold.state_hash() == known[seq].state_hash})
        fold(batch)
        done = max(done, batch.after.seq - 1)
        on_progress(done - first)
    state_hash = fold.state_hash()
    fold.state.close()
    compared += [{"record": seq, "ok": False} for seq in ahead]  # the journal ends before it
    other = of_other_format(data)
    damaged = sorted(set(seqs) - set(known) - set(other))
    return {
        "from_record": first,
        "records": done - first,
        "last_record": done,
        "state_hash": state_hash,
        "compared": compared,
        "damaged_snapshots": damaged,
        "other_snapshots": other,
        "ok": not damaged and all(one["ok"] for one in compared),
    }


def _facts_of(data: Path, seq: int) -> Snapshot | None:
    """Return the snapshot of record ``seq`` without its arrays, or None if it is damaged."""
    found = load_latest(data, before_seq=seq + 1)
    if found is None or found.seq != seq:
        return None
    return found._replace(arrays={})


def _begin(data: Path, known: list[int], from_record: int | None) -> Snapshot | None:
    """Return the snapshot to begin with; None = the first record."""
    mark = beginning_of(data)
    if from_record is None and mark is None:
        return None
    older = [seq for seq in known if from_record is None or seq <= from_record]
    if older:
        seq = min(older) if from_record is None else max(older)
        return load_latest(data, before_seq=seq + 1)
    if mark is None:
        return None
    raise NoJournalError(
        f"batches of {data} before {mark.batch_no} are archived and no snapshot covers them: "
        "bring them back from the archive"
    )
