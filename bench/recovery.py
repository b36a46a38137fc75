"""How fast a start takes a journal back: read, checked, and folded into the engine's state.

The journal holds what an engine wrote: accounts, cards, then card payments that passed every stage.
Two baselines in the same turn: SHA-256 over the same bytes alone, the least that a check costs, and
authorizing the same payments, which is what making the records had cost.
"""

import hashlib
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import Core
from bench.figures import Figure, rate_figure, seconds_of_runs
from engine.events import apply_events, event_record
from engine.partition import StateFold
from engine.state import Bounds, EngineState
from ledger.ahead import read_ahead
from ledger.authorizations import SPARE_ROWS
from ledger.journal import BatchEncoder
from ledger.record import RECORD, Kind
from ledger.recovery import Scan
from ledger.segment import journal_folder
from ledger.stores.base import Expect
from ledger.stores.file import FileStore, open_file_store

CARDS = 50_000
PAYMENTS = 400_000
BATCH = 1_024
_TS_NS = 1_600_000_000 * 10**9
_HASH_KEY = np.array((0x0123456789ABCDEF, 0xFEDCBA9876543210), np.uint64)


def start_figures(
    place: Path, *, runs: int, cards: int = CARDS, payments: int = PAYMENTS
) -> list[Figure]:
    """Return records/s of a start from the journal alone, against each baseline."""
    data = place / "start"
    records, making = write_traffic(data, cards, payments)
    bounds = bounds_for(cards, payments)
    hashing = statistics.median(seconds_of_runs(lambda: hash_journal(data, records), runs))
    seconds = seconds_of_runs(lambda: fold_journal(data, bounds), runs)
    shutil.rmtree(data)
    return [
        rate_figure(f"journal.start{suffix}", "records/s", records, seconds, name, rate)
        for suffix, name, rate in (
            ("", "sha256 alone", records / hashing),
            (".by-core", "authorizing them, one core", (payments - BATCH) / making),
        )
    ]


def bounds_for(cards: int, payments: int) -> Bounds:
    """Return tables with room for so many cards, accounts and payments."""
    ring = 1 << (payments + SPARE_ROWS).bit_length()
    return Bounds(cards + 1, cards + 1, 1 << 18, ring, payments)


def write_traffic(data: Path, cards: int, payments: int) -> tuple[int, float]:
    """Write a journal of ``cards`` accounts and cards and ``payments``.

    Return its records, ends of holds included, and the seconds of authorizing alone.
    """
    core = Core(cards, BATCH, payments)
    opened = opening_records(core.state, cards)
    store = open_file_store(data)
    encoder = BatchEncoder(store.writer)
    for first in range(0, len(opened), BATCH):
        append(store, encoder, np.ascontiguousarray(opened[first : first + BATCH]))
    spent = 0.0
    for first in range(0, payments, BATCH):
        started = time.perf_counter()
        made = core.authorize_next(min(BATCH, payments - first))
        spent += time.perf_counter() - started if first else 0.0  # the first may compile
        append(store, encoder, made)
    records = store.position.seq - 1
    store.close()
    return records, spent


def opening_records(state: EngineState, cards: int) -> NDArray[np.void]:
    """Return the records that open what ``bench.core.filled_state`` fills, and number on."""
    limits = state.accounts["limit_minor"][1 : cards + 1].copy()
    records = np.repeat(event_record(Kind.ACCOUNT_OPEN, _TS_NS, currency=840, status=1), 2 * cards)
    records["account"] = np.tile(np.arange(1, cards + 1), 2)
    records["amount_minor"][:cards] = limits
    records["kind"][cards:] = Kind.CARD_ISSUE
    records["card"][cards:] = np.arange(1, cards + 1)
    records["expiry_yymm"][cards:] = 3012
    done = apply_events(records, state.accounts, state.cards, state.cursor)
    assert done == len(records), "the tables have room for them"
    return records


def append(store: FileStore, encoder: BatchEncoder, records: NDArray[np.void]) -> None:
    """Append one batch of ``records`` RECORD (n,)."""
    at = store.position
    batch = encoder.encode([(records, ())], at, int(records["ts_ns"][-1]))
    store.append(batch, Expect(store.writer.epoch, at.seq, at.head))


def fold_journal(data: Path, bounds: Bounds) -> int:
    """Read, check and fold the whole journal; return the records applied."""
    fold = StateFold(bounds, _HASH_KEY)
    for batch in read_ahead(Scan(data)):
        fold(batch)
    fold.finish()
    fold.state.close()
    return fold.state.next_seq - 1


def hash_journal(data: Path, records: int) -> Any:
    """SHA-256 over as many bytes as ``records`` have; return the digest."""
    left = records * RECORD.itemsize
    digest = hashlib.sha256()
    for path in sorted(journal_folder(data).glob("*.seg")):
        with path.open("rb") as stream:
            while left > 0 and (chunk := stream.read(min(left, 1 << 20))):
                digest.update(chunk)
                left -= len(chunk)
    return digest.digest()
