"""From ledger records back to state: the fold that a restart, a check and a backtest share.

Records are results, so nothing is decided again: each one goes through the same lines that moved
the state when it was made (``engine.matching.enter``, ``engine.posting.apply_outcome``, the
scorer's counters), in order, and its check values must come out the same.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.admission import rrn_identity
from engine.card_checks import remember_checks
from engine.clearing import replay_filed
from engine.entries import enter, merchant_row, root_of
from engine.events import Outcome, apply_event, apply_zones
from engine.items import ITEM, Role, Setting
from engine.label_events import apply_labels
from engine.payments import fill_payments, requests_of_records
from engine.posting import apply_outcome, counts_as_spending
from engine.rules.columns import RULE_FACTS
from engine.state import EngineState
from engine.waves import unwind
from engine.wire.columns import REQUEST
from ledger.authorizations import Cursor, batch_rows_max, entry_of_seq
from ledger.deadlines import Wheel
from ledger.errors import LedgerError
from ledger.index import index_fetch, index_find
from ledger.jit import Row, allocating_kernel, kernel, prefetch
from ledger.journal import Blob, BlobKind
from ledger.money import EXPONENT
from ledger.record import RECORD, Flag, Kind
from scoring.features import SHARED
from scoring.kernels import card_update, shared_pass
from scoring.payment import PAYMENT
from scoring.tables import Tables

CHUNK_RECORDS = 8192
_AHEAD = 8  # rows for which memory is asked before they are needed
_FINE, _CHECK_VALUE, _NO_ROOM, _NO_ORIGINAL, _SEQUENCE = 0, 1, 2, 3, 4
_REASONS = {
    _CHECK_VALUE: "open to buy or hold after it differ from what the record says",
    _NO_ROOM: "a table is full: raise limits.accounts_max, cards_max or authorizations_max",
    _NO_ORIGINAL: "the authorization or item it refers to is not there",
    _SEQUENCE: "its number does not follow the record before",
}


class ReplayError(LedgerError):
    """A record that cannot be applied; the message names its number and what is wrong."""


class Replayer:
    """Applies records to a state, in order."""

    def __init__(
        self,
        state: EngineState,
        tables: Tables,
        hash_key: NDArray[np.uint64],
        chunk: int = CHUNK_RECORDS,
    ) -> None:
        self.state = state
        self._tables = tables
        self._hash_key = hash_key
        self._settings = np.zeros(len(Setting), np.int64)
        self._settings[Setting.MERCHANTS_MAX] = state.bounds.merchants_max
        chunk = min(chunk, batch_rows_max(len(state.ring)))
        self._chunk = chunk
        self._records = np.zeros(chunk, RECORD)
        self._items = np.zeros(chunk, ITEM)
        self._request = np.zeros(chunk, REQUEST)
        self._payments = np.zeros(chunk, PAYMENT)
        self._facts = np.zeros(chunk, RULE_FACTS)
        self._arrivals = np.zeros(chunk, np.int32)
        self._approved = np.zeros(chunk, np.uint8)
        self._shared = np.zeros((chunk, len(SHARED)), np.float32)

    def apply(
        self,
        records: NDArray[np.void],
        originals: list[tuple[int, bytes]],
        blobs: Sequence[Blob] = (),
    ) -> None:
        """Apply ``records`` RECORD (k,) in order.

        ``originals`` are (row, 16 bytes): identities of originals that orphan reversals name;
        ``blobs`` those about rules, and lifecycle ids of messages.
        Raises ``ReplayError``; the state is then of no use.
        """
        named = np.zeros((len(records), 4), np.uint64)
        for row, identity in originals:
            named[row, :2] = np.frombuffer(identity, np.uint64)
        for blob in blobs:
            if blob.kind == BlobKind.LIFECYCLE and blob.row < len(records):
                named[blob.row, 2:] = np.frombuffer(blob.data, np.uint64)
        blobs = [blob for blob in blobs if blob.kind != BlobKind.LIFECYCLE]
        for first in range(0, len(records), self._chunk):
            part = np.ascontiguousarray(records[first : first + self._chunk])
            # A copy: the caller's may be read-only, and kernels are compiled for writable arrays.
            # As plain bytes: NumPy copies structured rows field by field.
            mine = self._records[: len(part)]
            mine.view(np.uint8)[:] = part.view(np.uint8)
            self._apply(mine, named[first : first + self._chunk])
            last = first + len(part)
            own = [b._replace(row=b.row - first) for b in blobs if first <= b.row < last]
            self.state.rules.fold(mine, own)

    def _apply(self, records: NDArray[np.void], named: NDArray[np.uint64]) -> None:
        state = self.state
        count = len(records)
        state.maintain()
        state.make_room(count)
        requests_of_records(records, self._request)
        done, reason = restore(
            records,
            named,
            (self._hash_key, EXPONENT.copy()),
            (
                state.tables(),
                state.merchant_index.slots,
                state.posted_index.slots,
            ),
            state.accounts,
            state.cards,
            state.chips,
            state.ring,
            state.wheel,
            state.posted,
            state.merchants,
            self._settings,
            state.cursor,
            self._items,
            self._approved,
        )
        if reason != _FINE:
            raise ReplayError(f"record {int(records[done]['seq'])}: {_REASONS[reason]}")
        apply_zones(records, state.card_zones)
        payment_count = fill_payments(
            0,
            count,
            self._items,
            self._request,
            state.accounts,
            self._payments,
            self._facts,
            self._arrivals,
        )
        self._share(records, self._arrivals[:payment_count])
        self._remember(records)

    def _share(self, records: NDArray[np.void], payments: NDArray[np.int32]) -> None:
        """Bring merchants and BINs along: payments, and labels where they arrived among them."""
        state, start = self.state, 0
        labels = np.flatnonzero(records["kind"] == Kind.LABEL)
        for label in [*labels.tolist(), len(records)]:
            end = int(np.searchsorted(payments, label))
            shared_pass(
                self._payments,
                payments[start:end],
                state.merchant_velocity,
                state.bin_velocity,
                self._tables.curves,
                self._shared,
            )
            apply_labels(records[label : label + 1], state, self._tables)
            start = end

    def _remember(self, records: NDArray[np.void]) -> None:
        """Bring the cards along, in order of ``records``."""
        remember(
            len(records),
            self._items,
            self._payments,
            self._approved,
            self.state.ring,
            self.state.card_velocity,
            self._tables.curves,
        )


@allocating_kernel
def restore(
    records: NDArray[np.void],
    named: NDArray[np.uint64],
    tables: Any,
    slots: Any,
    accounts: NDArray[np.void],
    cards: NDArray[np.void],
    chips: NDArray[np.void],
    ring: NDArray[np.void],
    wheel: Wheel,
    posted: NDArray[np.void],
    merchants: NDArray[np.uint64],
    settings: NDArray[np.int64],
    cursor: NDArray[np.int64],
    items: NDArray[np.void],
    approved: NDArray[np.uint8],
) -> tuple[int, int]:
    """Apply money and identities of ``records``; return (row, reason), reason 0 = all applied.

    Parameters
    ----------
    records : RECORD (k,); named : u64 (k, 4), identity of an orphan's original and
        hash of the lifecycle id, 0 = none.
    tables : tuple of hash_key u64 (2,), exponents u8 (1000,).
    slots : ``tables`` of ``engine.entries``, index slots of merchants, of posted items; in and
        out, as are all state arrays.
    items : ITEM (k,), approved : u8 (k,), out: what the velocity pass needs.
    """
    _fill_items(records, named, tables, items)
    keys, merchant_slots, filed = slots
    for i in range(records.shape[0]):
        if i + _AHEAD < records.shape[0]:
            later = items[i + _AHEAD]
            index_fetch(keys[0], later["id_lo"])
            index_fetch(keys[1], later["rrn_lo"])
            prefetch(accounts, np.int64(later["account"]))
            prefetch(chips, np.int64(later["card"]))
        record = records[i]
        item = items[i]
        if np.int64(record["seq"]) != cursor[Cursor.NEXT_SEQ]:
            return i, _SEQUENCE
        cursor[Cursor.LAST_TS_NS] = max(cursor[Cursor.LAST_TS_NS], np.int64(record["ts_ns"]))
        kind = record["kind"]
        if _is_event(record):
            reason = _restore_event(record, filed, accounts, cards, ring, wheel, posted, cursor)
            if reason != _FINE:
                return i, reason
            if kind == Kind.PIN_RESET:
                chips[record["card"]]["pin_tries"] = 0
            cursor[Cursor.NEXT_SEQ] += 1
            continue
        if record["ref_seq"] != 0:
            item["named"] = entry_of_seq(ring, cursor[Cursor.HEAD], np.int64(record["ref_seq"]))
            if item["named"] < 0:
                return i, _NO_ORIGINAL
            item["original"] = item["named"]
            if item["role"] == Role.REVERSE:
                item["named"], item["original"] = root_of(item["named"], ring, cursor)
        if kind != Kind.EXPIRE:
            older = max(index_find(keys[0], item["id_lo"], item["id_hi"]), 0)
            pcode = record["pcode"]
            if not enter(item, older, pcode, ring, wheel, keys, cursor, 0):
                return i, _NO_ROOM
            if item["role"] == Role.AUTHORIZE:
                item["merchant"] = merchant_row(
                    record["merchant"], merchant_slots, merchants, settings, cursor
                )
                approved[i] = counts_as_spending(item)
        item["record"] = i
        if item["flags"] & Flag.ADVICE and item["role"] != Role.REVERSE:
            held_minor = accounts[item["account"]]["hold_minor"]
            item["released_minor"] = held_minor - record["hold_after_minor"]
        if item["role"] == Role.AUTHORIZE:
            remember_checks(item["flags"], item["atc"], chips[item["card"]])
        apply_outcome(item, accounts, ring, wheel, posted, cursor)
        if not _agrees(record, item):
            return i, _CHECK_VALUE
        if item["account"] != 0:
            accounts[item["account"]]["last_seq"] = record["seq"]
        cursor[Cursor.NEXT_SEQ] += 1
    return records.shape[0], _FINE


@kernel
def _is_event(record: Row) -> bool:
    """Return whether no card message made the record, nor the end of a hold."""
    kind = record["kind"]
    return record["flags"] & Flag.FILED or kind == Kind.LIMIT or kind >= Kind.ACCOUNT_OPEN


@allocating_kernel
def _fill_items(
    records: NDArray[np.void], named: NDArray[np.uint64], tables: Any, items: NDArray[np.void]
) -> None:
    """Fill all items first: what they ask for in memory is then known some rows ahead."""
    words = np.empty(5, np.uint64)
    for i in range(records.shape[0]):
        items[i]["record"] = -1
        items[i]["role"] = Role.SILENT
        if not _is_event(records[i]):
            _item_of_record(records[i], named[i], tables, items[i], words)


@kernel
def _restore_event(
    record: Row,
    posted_slots: NDArray[np.void],
    accounts: NDArray[np.void],
    cards: NDArray[np.void],
    ring: NDArray[np.void],
    wheel: Wheel,
    posted: NDArray[np.void],
    cursor: NDArray[np.int64],
) -> int:
    """Apply a record that no card message made; return a reason, 0 = applied."""
    otb_minor, hold_minor = record["otb_after_minor"], record["hold_after_minor"]
    if record["flags"] & Flag.FILED:
        if record["account"] == 0 or record["account"] >= accounts.shape[0]:
            return _NO_ROOM
        if not replay_filed(record, accounts, ring, wheel, posted, posted_slots, cursor):
            return _NO_ORIGINAL
        account = accounts[record["account"]]
        account["last_seq"] = record["seq"]
        agrees = account["otb_minor"] == otb_minor and account["hold_minor"] == hold_minor
        return _FINE if agrees else _CHECK_VALUE
    if apply_event(record, accounts, cards, cursor) != Outcome.OK:
        return _NO_ROOM
    return _FINE if record["otb_after_minor"] == otb_minor else _CHECK_VALUE


@kernel
def _agrees(record: Row, item: Row) -> bool:
    return (
        record["otb_after_minor"] == item["otb_after_minor"]
        and record["hold_after_minor"] == item["hold_after_minor"]
        and record["account"] == item["account"]
    )


@kernel
def _item_of_record(
    record: Row, named: NDArray[np.uint64], tables: Any, item: Row, words: NDArray[np.uint64]
) -> None:
    """Fill the ITEM as it stood when the record was made."""
    hash_key, exponents = tables
    item["id_hi"] = record["id_hi"]
    item["id_lo"] = record["id_lo"]
    item["rrn_hi"], item["rrn_lo"] = rrn_identity(
        hash_key,
        record["rrn_a"],
        record["rrn_b"],
        record["terminal"],
        record["acquirer"],
        np.int64(record["stan"]),
        words,
    )
    item["by_local"] = record["rrn_a"] == 0
    item["original_hi"] = named[0]
    item["original_lo"] = named[1]
    item["life_hi"] = named[2]
    item["life_lo"] = named[3]
    item["ts_ns"] = record["ts_ns"]
    item["entry"] = 0
    item["original"] = 0
    item["named"] = 0
    item["amount_minor"] = record["amount_minor"]
    item["requested_minor"] = 0
    item["released_minor"] = 0
    item["otb_after_minor"] = 0
    item["hold_after_minor"] = 0
    item["request"] = -1
    item["wave"] = -1
    item["account"] = record["account"]
    item["card"] = record["card"]
    item["merchant"] = 0
    item["flags"] = record["flags"]
    item["kind"] = record["kind"]
    item["decision"] = record["result"]
    item["response"] = record["response"]
    item["currency"] = record["currency"]
    item["expiry_yymm"] = record["expiry_yymm"]
    item["hold_life_h"] = record["hold_life_h"]
    item["atc"] = record["status"]
    item["exponent"] = min(exponents[min(record["currency"], 999)], 4)
    item["entry_class"] = record["entry_class"]
    item["mcc"] = record["mcc"]
    if record["kind"] == Kind.REVERSAL:
        item["role"] = Role.REVERSE
        item["mcc"] = 0
        item["requested_minor"] = record["amount_minor"]
        item["released_minor"] = record["amount2_minor"]
        return
    if record["kind"] == Kind.EXPIRE:
        item["role"] = Role.EXPIRE
        item["released_minor"] = record["amount2_minor"]
        return
    item["requested_minor"] = record["amount2_minor"]
    if record["flags"] & Flag.REVERSES:
        item["role"] = Role.REVERSE
        item["mcc"] = 0
    elif record["flags"] & Flag.ADVICE and record["kind"] != Kind.ADVICE:
        item["role"] = Role.ADVISE
    else:
        item["role"] = Role.AUTHORIZE


@allocating_kernel
def remember(
    count: int,
    items: NDArray[np.void],
    payments: NDArray[np.void],
    approved: NDArray[np.uint8],
    ring: NDArray[np.void],
    card_velocity: NDArray[np.void],
    curves: NDArray[np.float64],
) -> None:
    """Bring the cards' velocity along, in order of records."""
    run = np.empty(count + 1, np.int32)  # payments, up to the next reversal
    length = 0
    for i in range(count):
        if items[i]["record"] < 0:
            continue
        if items[i]["role"] == Role.AUTHORIZE and items[i]["account"] != 0:
            run[length] = i
            length += 1
        elif items[i]["role"] == Role.REVERSE:
            card_update(payments, run[:length], approved, card_velocity, curves)
            run[0] = i
            unwind(run[:1], items, ring, card_velocity, curves)
            length = 0
    card_update(payments, run[:length], approved, card_velocity, curves)
