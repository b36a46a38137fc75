"""Ledger records about rules: a set put in force, a rule's mode, entries of lists, breakers.

What an operator asks for becomes records here, and what a breaker does by itself too. All of them
are applied by ``RuleBook.apply``, when they are made and when a restart reads them.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.events import event_record
from engine.items import Role
from engine.rules.book import RuleBook, Trip, rules_blobs, zones_blob
from engine.rules.limits import RECORD_RULES
from engine.rules.list_kernels import FOREVER
from engine.rules.list_table import packed
from engine.rules.program import Program
from engine.rules.tree import Mode
from engine.state import EngineState
from ledger.authorizations import Cursor
from ledger.jit import kernel
from ledger.journal import BLOB_DATA_MAX, Blob, BlobKind
from ledger.record import Flag, Kind

BREAKER_NAME = "breaker"  # who changed a mode when no operator did
KEYS_A_RECORD = 5_000  # 100 blobs: 40 kB of journal
_KEYS_A_BLOB = BLOB_DATA_MAX // 8
_HITS_A_BLOB = BLOB_DATA_MAX // 2
_REASON_BYTES = 300

Event = tuple[NDArray[np.void], list[Blob]]


def rules_event(program: Program, source: int, operator: str, reason: str, ts_ns: int) -> Event:
    """Return the record that puts ``program`` in force, with its text."""
    record = event_record(Kind.RULES, ts_ns, status=source, rules_version=program.version)
    return record, [*rules_blobs(program), *_who(operator, reason)]


def mode_event(name: str, mode: Mode, operator: str, reason: str, ts_ns: int) -> Event:
    """Return the record after which the rule ``name`` ("model": the scorer) has ``mode``."""
    record = event_record(Kind.RULE_MODE, ts_ns, amount_minor=int(mode))
    return record, [Blob(0, BlobKind.NAME, name.encode()), *_who(operator, reason)]


def zones_event(operator: str, reason: str, ts_ns: int) -> Event:
    """Return the record from which on local times are those of this program's table."""
    return event_record(Kind.ZONES, ts_ns), [zones_blob(), *_who(operator, reason)]


def list_events(
    name: str,
    type_name: str,
    change: int,
    keys: NDArray[np.uint64],
    until_s: int,
    who: tuple[str, str],
    ts_ns: int,
) -> list[Event]:
    """Return the records that change a list: ``keys`` u64[n] in pieces; ``who`` is name, reason.

    ``until_s`` is when entries that come end, Unix seconds; 0 = never.
    """
    name_blob = Blob(0, BlobKind.NAME, f"{name} {type_name}".encode())
    pieces = [keys[at : at + KEYS_A_RECORD] for at in range(0, max(len(keys), 1), KEYS_A_RECORD)]
    events: list[Event] = []
    for piece in pieces:
        record = event_record(
            Kind.LIST,
            ts_ns,
            status=change,
            amount_minor=len(piece),
            amount2_minor=0 if until_s >= FOREVER else until_s,
        )
        blobs = [Blob(0, BlobKind.KEYS, data) for data in packed(piece, _KEYS_A_BLOB)]
        events.append((record, [name_blob, *blobs, *_who(*who)]))
    return events


def apply_rule_events(events: Iterable[Event], state: EngineState) -> Event:
    """Number and apply ``events`` in order; return their records and blobs as one job."""
    records: list[NDArray[np.void]] = []
    blobs: list[Blob] = []
    for record, own in events:
        record["seq"] = state.cursor[Cursor.NEXT_SEQ]
        state.rules.advance(state.next_seq - 1)
        state.rules.fold(record, own)
        state.cursor[Cursor.NEXT_SEQ] += 1
        blobs += [blob._replace(row=len(records)) for blob in own]
        records.append(record)
    return np.concatenate(records), blobs


class RuleEvents:
    """What breakers do inside a batch: records of their own, right where they look."""

    def __init__(self) -> None:
        self.blobs: list[Blob] = []
        self.names: list[str] = []
        self._rows: list[tuple[int, NDArray[np.void]]] = []

    def add(self, trips: list[Trip], record: int, rules: RuleBook) -> int:
        """Put the rules of ``trips`` into shadow, records ``record`` and on; return how many."""
        for number, trip in enumerate(trips):
            reason = f"refused {trip.refused} of the last {trip.payments} payments"
            ts_ns = int(rules.totals[2])
            row, blobs = mode_event(trip.name, Mode.SHADOW, BREAKER_NAME, reason, ts_ns)
            row["amount2_minor"] = trip.refused
            self._rows.append((record + number, row))
            self.blobs += [blob._replace(row=record + number) for blob in blobs]
            rules.set_mode(trip.name, Mode.SHADOW)
            self.names.append(trip.name)
        return len(trips)

    def write(self, records: NDArray[np.void], first_seq: int, state: EngineState) -> None:
        """Put the records where room was left for them."""
        for at, row in self._rows:
            row["seq"] = first_seq + at
            records[at] = row[0]
        state.cursor[Cursor.NEXT_SEQ] += len(self._rows)


@kernel
def refusing_rules(
    item_count: int,
    items: NDArray[np.void],
    verdicts: NDArray[np.void],
    version: int,
    out: NDArray[np.int16],
) -> NDArray[np.int16]:
    """Write the rule that refused each item; -1 = none, -2 = the rules did not see it."""
    for i in range(item_count):
        out[i] = -2
        if items[i]["role"] == Role.AUTHORIZE and version != 0:
            out[i] = -1
            decision = items[i]["decision"]
            if decision in (Decision.RULE_DECLINED, Decision.STEP_UP):
                out[i] = verdicts[i]["rule"]
    return out


def told_beside(
    item_count: int,
    items: NDArray[np.void],
    verdicts: NDArray[np.void],
    hits: NDArray[np.uint64],
    noted: NDArray[np.int32],
) -> tuple[list[tuple[int, bytes]], list[Blob]]:
    """Return what the records of a batch have no room for: originals, then blobs.

    The originals of orphan reversals, which rule refused, lifecycle ids, and hits of later rules.
    ``hits`` is u64 (items, words); ``noted`` i32 (3, items) is scratch.
    """
    refused, orphans, lives = mark_rows(item_count, items, verdicts, noted)
    originals = originals_of(noted[1, :orphans], items) if orphans else []
    blobs = refusal_blobs(noted[0, :refused], items, verdicts) if refused else []
    if lives:
        blobs += lifecycle_blobs(noted[2, :lives], items)
    if hits.shape[1] > RECORD_RULES // 64:
        blobs += hits_blobs(items[:item_count], hits[:item_count])
    return originals, blobs


@kernel
def mark_rows(
    item_count: int,
    items: NDArray[np.void],
    verdicts: NDArray[np.void],
    noted: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Collect the recorded items that a record alone does not tell; return how many of each kind.

    ``noted`` i32 (3, items), out: payments that a rule refused; reversals that came before their
    original; messages with a lifecycle id.
    """
    refused, orphans, lives = noted[0], noted[1], noted[2]
    refused_count = orphan_count = life_count = 0
    for i in range(item_count):
        item = items[i]
        if item["record"] < 0:
            continue
        if item["flags"] & Flag.ORPHAN:
            orphans[orphan_count] = i
            orphan_count += 1
        if item["life_hi"] != 0:
            lives[life_count] = i
            life_count += 1
        decision = item["decision"]
        is_refusal = decision == Decision.RULE_DECLINED or decision == Decision.STEP_UP
        if is_refusal and item["role"] == Role.AUTHORIZE and verdicts[i]["rule"] >= 0:
            refused[refused_count] = i
            refused_count += 1
    return refused_count, orphan_count, life_count


def refusal_blobs(
    rows: NDArray[np.int32], items: NDArray[np.void], verdicts: NDArray[np.void]
) -> list[Blob]:
    """Return one blob for each of the refused ``rows``: the place of the rule that refused it."""
    places = verdicts["rule"][rows].astype("<u2")
    return [
        Blob(record, BlobKind.RULE, place.tobytes())
        for record, place in zip(items["record"][rows].tolist(), places, strict=True)
    ]


def lifecycle_blobs(rows: NDArray[np.int32], items: NDArray[np.void]) -> list[Blob]:
    """Return one blob for each of ``rows``: the hash of its lifecycle id, high half first."""
    hashes = np.stack((items["life_hi"][rows], items["life_lo"][rows]), axis=1).tobytes()
    return [
        Blob(record, BlobKind.LIFECYCLE, hashes[16 * k : 16 * k + 16])
        for k, record in enumerate(items["record"][rows].tolist())
    ]


def originals_of(rows: NDArray[np.int32], items: NDArray[np.void]) -> list[tuple[int, bytes]]:
    """Return (record row, identity of the original) of the orphan reversals ``rows``."""
    return [
        (int(item["record"]), item["original_hi"].tobytes() + item["original_lo"].tobytes())
        for item in items[rows]
    ]


def hits_blobs(items: NDArray[np.void], hits: NDArray[np.uint64]) -> list[Blob]:
    """Return one blob for each recorded item with hits of rules that a record has no bits for."""
    first = RECORD_RULES // 64
    found = []
    for i in np.flatnonzero(hits[:, first:].any(axis=1)).tolist():
        record = int(items["record"][i])
        if record < 0:
            continue
        bits = np.unpackbits(hits[i, first:].view(np.uint8), bitorder="little")
        places = (np.flatnonzero(bits)[:_HITS_A_BLOB] + RECORD_RULES).astype("<u2")
        found.append(Blob(record, BlobKind.HITS, places.tobytes()))
    return sorted(found)


def _who(operator: str, reason: str) -> list[Blob]:
    blobs = [Blob(0, BlobKind.OPERATOR, operator.encode()[:64])]
    if reason:
        blobs.append(Blob(0, BlobKind.REASON, reason.encode()[:_REASON_BYTES]))
    return blobs
