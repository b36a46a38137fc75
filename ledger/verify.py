"""Reading a journal for people: is it whole, and what came last.

Both may be used beside a running engine; nothing on disk is changed and no snapshot is believed.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ledger.disk import OsDisk
from ledger.errors import LedgerError, NoJournalError, RotError, StorageError
from ledger.journal import Batch, Position
from ledger.lifecycle import APPROVED_BELOW
from ledger.record import Flag, Kind
from ledger.recovery import SegmentFile
from ledger.rows import CardText, Row, chunks_of, rows_of
from ledger.segment import place_name, segment_indexes, segment_path
from ledger.snapshot import latest_seq
from ledger.stores.place import read_place, scan_journal, start_of_newest

_REQUEST_KINDS = (Kind.AUTHORIZE, Kind.PARTIAL, Kind.CHECK, Kind.INCREMENT, Kind.FINANCIAL)
_POLL_MS = 200


class Fold(Protocol):
    """A state that records are applied to."""

    def __call__(self, batch: Batch) -> None:
        """Apply the records of ``batch``; raise a ``LedgerError`` if a check value differs."""
        ...

    def state_hash(self) -> str:
        """Return the hash of the state."""
        ...


def verify(
    data: Path,
    fold: Fold | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Read the whole journal and check headers, hashes, chain, numbering and, with ``fold``, state.

    Parameters
    ----------
    data
        The data folder.
    fold
        Replays the records; None = ``state_hash`` is None.
    on_progress
        Called after each batch with the records read so far.

    Returns
    -------
    dict
        records, batches, approved, declined, head (hex), state_hash, ok, error (None or one line).
        Counts go up to the first damage.

    Raises
    ------
    NoJournalError, StorageError
        There is nothing to verify, or it cannot be read.
    """
    known_seq = latest_seq(data)  # read first: a running engine may add one while we read
    counts = {"records": 0, "batches": 0, "approved": 0, "declined": 0}
    end = Position()
    error: LedgerError | None = None
    try:
        for batch in scan_journal(data):
            _count(counts, batch)
            end = batch.after
            if fold is not None:
                fold(batch)
            if on_progress is not None:
                on_progress(counts["records"])
        _require_reached(end, known_seq)
    except (NoJournalError, StorageError):
        raise
    except LedgerError as found:
        error = found
    return {
        **counts,
        "head": end.head.hex(),
        "state_hash": fold.state_hash() if fold is not None and error is None else None,
        "ok": error is None,
        "error": str(error) if error is not None else None,
    }


def tail(
    data: Path,
    count: int,
    *,
    follow: bool = False,
    card_text: CardText | None = None,
    decisions: Mapping[int, str] | None = None,
    wait: Callable[[], bool] | None = None,
) -> Iterator[Row]:
    """Yield the last ``count`` records as rows, then, with ``follow``, each one that comes.

    Parameters
    ----------
    data, count
        The data folder; how many records.
    card_text, decisions
        See ``ledger.rows.chunks_of``.
    wait
        Called between looks when following; False ends it. None = 0.2 s, for ever.
    """
    batches = _last_batches(data, count)
    held = sum(len(batch.records) for batch in batches)
    rows = chain.from_iterable(map(rows_of, chunks_of(batches, card_text, decisions)))
    yield from islice(rows, max(0, held - count), None)
    end = batches[-1].after if batches else None
    while follow and (wait or _wait)():
        news: list[Batch] = list(scan_journal(data, start=end))
        for columns in chunks_of(news, card_text, decisions):
            yield from rows_of(columns)
        end = news[-1].after if news else end


def _wait() -> bool:
    time.sleep(_POLL_MS / 1000)
    return True


def _count(counts: dict[str, int], batch: Batch) -> None:
    records = batch.records
    expected = np.arange(batch.header.first_seq, batch.after.seq, dtype=np.uint64)
    if not np.array_equal(records["seq"], expected):
        reason = "record numbers have a gap"
        raise RotError(reason, batch_no=batch.header.batch_no, segment="", offset=0)
    is_request = np.isin(records["kind"], _REQUEST_KINDS)
    is_request &= (records["flags"] & np.uint32(Flag.ADVICE)) == 0
    is_yes = records["result"] < APPROVED_BELOW
    counts["records"] += len(records)
    counts["batches"] += 1
    counts["approved"] += int(np.count_nonzero(is_request & is_yes))
    counts["declined"] += int(np.count_nonzero(is_request & ~is_yes))


def _require_reached(end: Position, known_seq: int) -> None:
    if end.seq <= known_seq:
        reason = f"journal ends at record {end.seq - 1}, a snapshot knows record {known_seq}"
        raise RotError(reason, batch_no=end.batch_no, segment=place_name(end), offset=end.offset)


def _last_batches(data: Path, count: int) -> list[Batch]:
    """Return the newest batches that together hold ``count`` records, or all there are."""
    if read_place(data) is not None:
        return _newest(scan_journal(data, start=start_of_newest(data, count)), count)
    disk = OsDisk()
    indexes = segment_indexes(disk, data)
    back = 1
    while True:
        first = max(0, len(indexes) - back)
        start = _start_of(data, indexes[first]) if indexes else None
        kept = _newest(scan_journal(data, start=start), count)
        if first == 0 or sum(len(batch.records) for batch in kept) >= count:
            return kept
        back *= 2


def _start_of(data: Path, index: int) -> Position:
    file = SegmentFile(OsDisk(), segment_path(data, index))
    file.close()
    return file.header.start


def _newest(batches: Iterator[Batch], count: int) -> list[Batch]:
    kept: list[Batch] = []
    held = 0
    for batch in batches:
        kept.append(batch)
        held += len(batch.records)
        while held - len(kept[0].records) >= max(count, 1):
            held -= len(kept.pop(0).records)
    return kept
