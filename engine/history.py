"""Runs the journal again under another rule set, by the stages of the live engine.

Up to the chosen moment records are folded as a restart does. From there each recorded message goes
through the very kernels that decide live traffic (matching, features, rules, score, money), with
its facts taken from its record: what it asked, whose card it was, and what card and account forced
then. Decisions of the new set have their consequences: what is declined now is no spending, places
no hold and leaves the velocities alone. Lists and snoozes change where the journal says they did.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.admission import rrn_identity
from engine.authorize import Authorizer
from engine.decision import Decision
from engine.events import apply_events, apply_zones
from engine.items import LINK, Role
from engine.label_events import apply_labels
from engine.payments import requests_of_records
from engine.rules.program import Program
from ledger.authorizations import Cursor
from ledger.jit import allocating_kernel
from ledger.journal import Blob, BlobKind
from ledger.money import EXPONENT
from ledger.record import Flag, Kind

PAYMENT_KINDS = (Kind.AUTHORIZE, Kind.PARTIAL, Kind.CHECK)
# What rules and funds decided is decided anew; anything else was forced before rules were asked.
_OPEN = (
    Decision.APPROVED,
    Decision.PARTIALLY_APPROVED,
    Decision.CHECKED,
    Decision.INQUIRED,
    Decision.NOTED,
    Decision.NOT_ENOUGH_FUNDS,
    Decision.RULE_DECLINED,
    Decision.STEP_UP,
    Decision.VOIDED_BY_REVERSAL,
)
_ASKED = (
    Flag.CNP
    | Flag.PRESENT
    | Flag.WALLET
    | Flag.TRAVEL_NOTICE
    | Flag.REPEAT
    | Flag.ADVICE
    | Flag.UNUSABLE
    | Flag.PARTIAL_OK
    | Flag.INQUIRY
    | Flag.CREDIT
)


@dataclass(frozen=True, slots=True)
class Part:
    """Payments of the journal, and what becomes of them: RECORD (k,) each, row by row.

    ``refusing`` i16 (k,) is the place of the rule that refuses, -1 = none; ``hits`` u64 (k, words)
    has a bit for each rule that holds.
    """

    before: NDArray[np.void]
    after: NDArray[np.void]
    refusing: NDArray[np.int16]
    hits: NDArray[np.uint64]


class HistoryRun:
    """One run of a rule set over records; ``authorizer`` has the state as of then."""

    def __init__(self, authorizer: Authorizer, program: Program) -> None:
        self._authorizer = authorizer
        self._state = authorizer.state
        self._state.rules.install(program)
        self._links = np.zeros(1, LINK)
        self._ids: dict[int, tuple[int, int]] = {}
        self._left: dict[int, int] = {}  # of holds that were reversed in part
        self.trips: list[str] = []
        self.passed_over = 0  # records of kinds that this run does not decide

    def run(self, records: NDArray[np.void], blobs: Iterable[Blob]) -> Iterator[Part]:
        """Yield the payments among ``records`` in order, in parts of a batch."""
        originals = {b.row: b.data for b in blobs if b.kind == BlobKind.ORIGINAL}
        lives = {b.row: b.data for b in blobs if b.kind == BlobKind.LIFECYCLE}
        by_row: dict[int, list[Blob]] = {}
        for blob in blobs:
            by_row.setdefault(blob.row, []).append(blob)
        self._remember(records)
        is_message = np.isin(records["kind"], (*PAYMENT_KINDS, Kind.REVERSAL))
        at, count, room = 0, len(records), self._authorizer.work.rows
        while at < count:
            if not is_message[at]:
                self._event(records, at, by_row.get(at, []))
                at += 1
                continue
            rest = np.flatnonzero(~is_message[at : at + room])
            last = at + (int(rest[0]) if len(rest) else min(room, count - at))
            part = records[at:last]
            named = [originals.get(row) for row in range(at, last)]
            own = {row - at: lives[row] for row in range(at, last) if row in lives}
            yield self._batch(part, named, own)
            at = last

    def _batch(
        self, part: NDArray[np.void], named: list[bytes | None], lives: dict[int, bytes]
    ) -> Part:
        work, authorizer = self._authorizer.work, self._authorizer
        count = len(part)
        self._fill(part, named)
        for row, life in lives.items():
            work.items[row]["life_hi"], work.items[row]["life_lo"] = np.frombuffer(life, np.uint64)
        item_count, record_count, events = authorizer.passes(count, self._links, _no_lap)
        self.trips += events.names
        first_seq = self._state.next_seq
        made = authorizer.records(item_count, record_count)
        events.write(made, first_seq, self._state)
        self._state.maintain()
        items = work.items[:count]
        kept = np.isin(part["kind"], PAYMENT_KINDS) & (items["record"] >= 0)
        refused = np.isin(items["decision"], (Decision.RULE_DECLINED, Decision.STEP_UP))
        refusing = np.where(refused, work.verdicts["rule"][:count], -1).astype(np.int16)
        hits = work.hits[:count][kept]
        return Part(part[kept], made[items["record"][kept]], refusing[kept], hits)

    def _fill(self, part: NDArray[np.void], named: list[bytes | None]) -> None:
        """Give the batch the columns that decoding and admission would."""
        work, count = self._authorizer.work, len(part)
        request, items = work.request, work.items
        requests_of_records(part, request[:count])
        is_reversal = part["kind"] == Kind.REVERSAL
        is_advice = part["flags"] & Flag.ADVICE != 0
        is_repeat = part["flags"] & Flag.REPEAT != 0
        request["mti"][:count] = np.where(is_reversal, 400, 100) + 20 * is_advice + is_repeat
        request["segment"][:count] = 0
        request["dialect"][:count] = 0
        request["replacement_amount"][:count] = 0
        # One that found nothing may have named a card that is not known here: it names one again.
        is_named = (part["card"] != 0) | (part["flags"] & Flag.ORPHAN != 0)
        request["pan_length"][:count] = is_named
        for name in ("rrn_a", "rrn_b", "stan", "transmitted", "entry_mode"):
            request[name][:count] = part[name]
        rows = np.zeros(count, items.dtype)
        for name in ("id_hi", "id_lo", "ts_ns", "account", "card", "currency", "expiry_yymm",
                     "entry_class", "amount_minor"):  # fmt: skip
            rows[name] = part[name]
        for name in ("hold_life_h", "mcc"):
            if name in (rows.dtype.names or ()):
                rows[name] = part[name]
        rows["requested_minor"] = np.where(is_reversal, part["amount_minor"], part["amount2_minor"])
        was_partial = part["kind"] == Kind.PARTIAL  # the whole was asked for
        rows["amount_minor"][was_partial] = part["amount2_minor"][was_partial]
        rows["request"] = np.arange(count)
        rows["record"] = rows["wave"] = -1
        rows["flags"] = part["flags"] & int(_ASKED)
        rows["kind"] = np.where(part["kind"] == Kind.PARTIAL, Kind.AUTHORIZE, part["kind"])
        rows["exponent"] = np.minimum(EXPONENT[np.minimum(part["currency"], 999)], 4)
        rows["role"] = np.where(is_reversal, Role.REVERSE, Role.AUTHORIZE)
        is_open = is_reversal | np.isin(part["result"], _OPEN)
        rows["decision"] = np.where(is_open, Decision.APPROVED, part["result"])
        rows["response"] = np.where(is_open, 0, part["response"])
        items[:count] = rows
        hash_rrns(self._authorizer.hash_key, request[:count], items[:count])
        for row in np.flatnonzero(is_reversal).tolist():
            self._fill_reversal(part[row], named[row], request[row], items[row])
        self._state.cursor[Cursor.LAST_TS_NS] = int(part["ts_ns"][-1])

    def _fill_reversal(
        self, record: np.void, named: bytes | None, request: np.void, item: np.void
    ) -> None:
        """Name the original, and what of it stays held when only a part is given back."""
        ref_seq, released = int(record["ref_seq"]), int(record["amount2_minor"])
        if named is not None:
            item["original_hi"], item["original_lo"] = np.frombuffer(named, np.uint64)
        elif ref_seq in self._ids:
            item["original_hi"], item["original_lo"] = self._ids[ref_seq]
        if record["result"] == Decision.REVERSED and ref_seq in self._left:
            self._left[ref_seq] -= released
            request["replacement_amount"] = self._left[ref_seq]

    def _remember(self, records: NDArray[np.void]) -> None:
        """Note identity and amount of what reversals refer to."""
        wanted = set(records["ref_seq"][records["kind"] == Kind.REVERSAL].tolist()) - {0}
        if not wanted:
            return
        rows = np.flatnonzero(np.isin(records["seq"], np.array(list(wanted), np.uint64)))
        for row in records[rows]:
            seq = int(row["seq"])
            self._ids[seq] = (int(row["id_hi"]), int(row["id_lo"]))
            self._left.setdefault(seq, int(row["amount_minor"]))

    def _event(self, records: NDArray[np.void], at: int, blobs: list[Blob]) -> None:
        """Do what is no message: accounts, cards, lists change; holds end while nothing comes."""
        record = records[at : at + 1].copy()
        kind = int(record["kind"][0])
        state = self._state
        if kind == Kind.EXPIRE:
            follows = at + 1 < len(records) and records["kind"][at + 1] != Kind.EXPIRE
            if record["flags"][0] & Flag.IDLE:
                self._authorizer.expire(int(record["ts_ns"][0]))
            elif not (follows and records["ts_ns"][at + 1] == records["ts_ns"][at]):
                # Before a message that left no record: of several that were due it ended one.
                self._authorizer.expire(int(record["ts_ns"][0]), 1)
            return  # else the message after it ends the hold, as it did then
        if kind == Kind.LIST:
            record["seq"] = state.next_seq
            state.rules.fold(record, [blob._replace(row=0) for blob in blobs])
            state.cursor[Cursor.NEXT_SEQ] += 1
        elif kind == Kind.LABEL:
            apply_labels(record, state, self._authorizer.tables)
            state.cursor[Cursor.NEXT_SEQ] += 1
        elif kind == Kind.LIMIT or Kind.ACCOUNT_OPEN <= kind <= Kind.CARD_FLAGS:
            apply_events(record, state.accounts, state.cards, state.cursor)
        elif kind == Kind.CARD_ZONE:
            apply_events(record, state.accounts, state.cards, state.cursor)
            apply_zones(record, state.card_zones)
        elif kind not in (Kind.RULES, Kind.RULE_MODE, Kind.ZONES, Kind.MODEL):
            self.passed_over += 1


@allocating_kernel
def hash_rrns(
    hash_key: NDArray[np.uint64], request: NDArray[np.void], items: NDArray[np.void]
) -> None:
    """Fill ``rrn_hi`` and ``rrn_lo`` of ``items`` ITEM (k,) from ``request`` REQUEST (k,)."""
    words = np.empty(5, np.uint64)
    for i in range(items.shape[0]):
        row = request[i]
        items[i]["rrn_hi"], items[i]["rrn_lo"] = rrn_identity(
            hash_key,
            row["rrn_a"],
            row["rrn_b"],
            row["terminal"],
            row["acquirer"],
            np.int64(-1),
            words,
        )


def _no_lap(_stage: str) -> None:
    """Time nothing."""
