"""Rows as PostgreSQL's binary COPY takes them, made from arrays without a loop over rows.

Every field has a fixed length, so a row is a structured scalar: the number of its fields, then each
field's length and its big-endian bytes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.books.expand_kernels import POSTING
from ledger.journal import Records
from ledger.lifecycle import Fin
from ledger.record import RECORD, Flag, Kind

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH_US = 946_684_800_000_000  # 2000-01-01, where PostgreSQL counts from
_EPOCH_DAY = np.datetime64("2000-01-01", "D")
_NAMED_BELOW = 100_000_000  # a settlement date; DE7 is never below it
_SPACE, _TILDE, _QUESTION = 0x20, 0x7E, 0x3F

# Column -> PostgreSQL's bytes of it, in order.
EVENT_COLUMNS = {
    "seq": ">i8",
    "at": ">i8",
    "kind": ">i2",
    "result": ">i2",
    "response": "S2",
    "account": ">i4",
    "card": ">i4",
    "auth_seq": ">i8",
    "ref_seq": ">i8",
    "amount_minor": ">i8",
    "amount2_minor": ">i8",
    "currency": ">i2",
    "otb_after_minor": ">i8",
    "hold_after_minor": ">i8",
    "hold_life_h": ">i4",
    "rrn": "S12",
    "stan": ">i4",
    "mcc": ">i4",
    "merchant": ">i8",
    "terminal": "S8",
    "acquirer": ">i8",
    "score": ">i4",
    "flags": ">i8",
}
POSTING_COLUMNS = {
    "seq": ">i8",
    "line": ">i2",
    "account": ">i4",
    "currency": ">i2",
    "auth_seq": ">i8",
    "debit": ">i2",
    "credit": ">i2",
    "amount_minor": ">i8",
    "scheme": ">i4",
    "settled": ">i4",
}
ACCOUNT_COLUMNS = {
    "account": ">i4",
    "opened_seq": ">i8",
    "customer": ">i8",
    "product": ">i2",
    "currency": ">i2",
}


def _row_type(columns: dict[str, str]) -> np.dtype[np.void]:
    fields = [("fields", ">i2")]
    for name, kind in columns.items():
        fields += [(f"{name}_length", ">i4"), (name, kind)]
    return np.dtype(fields)


def _payload(columns: dict[str, str], values: dict[str, NDArray[Any]], count: int) -> bytes:
    rows = np.zeros(count, _row_type(columns))
    rows["fields"] = len(columns)
    for name, kind in columns.items():
        rows[f"{name}_length"] = np.dtype(kind).itemsize
        rows[name] = values[name]
    return _HEADER + rows.tobytes() + _TRAILER


def auth_seq_of(records: Records) -> NDArray[np.uint64]:
    """Return what each record is about u64 (k,): the authorization it names, else itself.

    An advice of a payment that was declined here names it and still holds by itself. What reversals
    name may itself belong to an authorization.
    """
    is_forced = (records["flags"] & np.uint32(Flag.FORCED)) != 0
    stands_alone = (records["ref_seq"] == 0) | ((records["kind"] == Kind.ADVICE) & is_forced)
    own: NDArray[np.uint64] = np.where(stands_alone, records["seq"], records["ref_seq"]).astype(
        np.uint64
    )
    return own


def event_rows(records: Records, auth_seq: NDArray[np.uint64]) -> bytes:
    """Return COPY bytes of the table ``event``, one row a record.

    ``auth_seq`` u64 (k,) is the authorization of each.
    """
    values = {name: records[name] for name in EVENT_COLUMNS if name in (RECORD.names or ())}
    values["at"] = (records["ts_ns"] // np.uint64(1000)).astype(np.int64) - _EPOCH_US
    values["auth_seq"] = auth_seq
    values["merchant"] = np.ascontiguousarray(records["merchant"]).view(np.int64)
    values["response"] = _text(records, ["response"])
    values["rrn"] = _text(records, ["rrn_a", "rrn_b"])
    values["terminal"] = _text(records, ["terminal"])
    return _payload(EVENT_COLUMNS, values, len(records))


def posting_rows(
    records: Records,
    auth_seq: NDArray[np.uint64],
    postings: NDArray[np.void],
    currency: NDArray[np.int64],
) -> bytes:
    """Return COPY bytes of the table ``posting``.

    Parameters
    ----------
    records : RECORD (k,)
    auth_seq : u64 (k,), the authorization of each record.
    postings : POSTING (m,), rows counted in ``records``.
    currency : i64 (accounts + 1,), of each account.
    """
    assert postings.dtype == POSTING
    rows = records[postings["row"]]
    scheme, settled = _settlement(rows)
    is_settlement = (postings["debit"] == Fin.NET_SETTLE) | (postings["credit"] == Fin.NET_SETTLE)
    values = {
        "seq": rows["seq"],
        "line": postings["line"],
        "account": rows["account"],
        "currency": currency[rows["account"]],
        "auth_seq": auth_seq[postings["row"]],
        "debit": postings["debit"],
        "credit": postings["credit"],
        "amount_minor": postings["amount_minor"],
        "scheme": np.where(is_settlement, scheme, 0),
        "settled": settled,
    }
    return _payload(POSTING_COLUMNS, values, len(postings))


def account_rows(records: Records) -> tuple[bytes, int]:
    """Return COPY bytes of the table ``account`` for accounts opened, and how many."""
    opened = records[records["kind"] == Kind.ACCOUNT_OPEN]
    values = {
        "account": opened["account"],
        "opened_seq": opened["seq"],
        "customer": opened["customer"],
        "product": opened["product"],
        "currency": opened["currency"],
    }
    return _payload(ACCOUNT_COLUMNS, values, len(opened)), len(opened)


def _settlement(records: Records) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return scheme and settlement day (from 2000-01-01); see ``lifecycle.settlement_of``."""
    named = records["transmitted"].astype(np.int64)
    is_named = (named > 0) & (named < _NAMED_BELOW)
    day = (records["ts_ns"] // np.uint64(86_400_000_000_000)).astype(np.int64)
    own = day - _EPOCH_DAY.astype(np.int64)
    text = np.where(is_named, named, 20000101)
    months = (text // 10_000 - 1970) * 12 + text // 100 % 100 - 1
    first = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    settled = first + text % 100 - 1 - _EPOCH_DAY.astype(np.int64)
    scheme = np.where(is_named, records["status"].astype(np.int64), 0)
    return scheme, np.where(is_named, settled, own)


def _text(records: Records, names: list[str]) -> NDArray[np.bytes_]:
    """Return the characters in the bytes of fields; zeros as spaces, what is no ASCII as "?"."""
    parts = [np.ascontiguousarray(records[name]).view(np.uint8) for name in names]
    raw = np.hstack([part.reshape(len(records), -1) for part in parts])
    raw = np.where(raw == 0, _SPACE, raw)
    raw = np.where((raw < _SPACE) | (raw > _TILDE), _QUESTION, raw).astype(np.uint8)
    return np.ascontiguousarray(raw).view(f"S{raw.shape[1]}").reshape(-1)
