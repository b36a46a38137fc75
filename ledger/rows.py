"""Records as people read them: one row a record, by field name, in plain Python values.

Amounts are whole minor units with the ISO 4217 number of their currency beside them. Columns are
made a batch at a time; nothing here reads or writes a file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.journal import Batch, BlobKind, Records
from ledger.record import SCORE_NONE, Flag, Kind

CardText = Callable[[int, int], str]  # (card number, BIN) -> BIN and last four, masked
Row = dict[str, Any]

# Field name -> type of the column in SQL. Order of the columns everywhere.
COLUMNS: dict[str, str] = {
    "seq": "BIGINT",
    "ts": "TIMESTAMP",
    "kind": "VARCHAR",
    "result": "INTEGER",
    "decision": "VARCHAR",
    "response": "VARCHAR",
    "account": "BIGINT",
    "customer": "BIGINT",
    "card": "BIGINT",
    "card_masked": "VARCHAR",
    "amount_minor": "BIGINT",
    "amount2_minor": "BIGINT",
    "currency": "VARCHAR",
    "otb_after_minor": "BIGINT",
    "hold_after_minor": "BIGINT",
    "ref_seq": "BIGINT",
    "rrn": "VARCHAR",
    "stan": "BIGINT",
    "transmitted": "VARCHAR",
    "acquirer": "BIGINT",
    "merchant": "VARCHAR",
    "terminal": "VARCHAR",
    "mcc": "INTEGER",
    "country": "INTEGER",
    "entry_mode": "INTEGER",
    "pcode": "VARCHAR",
    "expiry_yymm": "INTEGER",
    "flags": "VARCHAR",
    "score": "INTEGER",
    "reasons": "INTEGER[]",
    "hits": "INTEGER[]",
    "rules_version": "VARCHAR",
    "model_version": "VARCHAR",
    "status": "INTEGER",
    "product": "INTEGER",
    "operator": "VARCHAR",
    "id": "VARCHAR",
}
_AS_THEY_ARE = (
    "seq",
    "result",
    "account",
    "customer",
    "card",
    "amount_minor",
    "amount2_minor",
    "otb_after_minor",
    "hold_after_minor",
    "ref_seq",
    "stan",
    "acquirer",
    "mcc",
    "country",
    "entry_mode",
    "expiry_yymm",
    "status",
    "product",
)
_KINDS = {int(kind): kind.name.lower() for kind in Kind}
_PRINTABLE = bytes(b if 32 <= b < 127 else ord("?") for b in range(256))
_CHUNK_RECORDS = 16384


def masked_bin(_card: int, bin_digits: int) -> str:
    """Return the BIN alone, for when no vault tells the last four digits."""
    return f"{bin_digits:06d}******" if bin_digits else ""


def chunks_of(
    batches: Iterable[Batch],
    card_text: CardText | None = None,
    decisions: Mapping[int, str] | None = None,
) -> Iterator[dict[str, Sequence[Any]]]:
    """Yield columns of about 16,000 records each, in order, by the names in ``COLUMNS``.

    Parameters
    ----------
    batches
        Batches in journal order.
    card_text
        Masked text of a card; None = the BIN only.
    decisions
        Name of each ``result``; None = left empty.
    """
    describe = lru_cache(maxsize=65536)(card_text or masked_bin)
    group: list[Batch] = []
    count = 0
    for batch in batches:
        group.append(batch)
        count += len(batch.records)
        if count >= _CHUNK_RECORDS:
            yield _columns(group, describe, decisions or {})
            group, count = [], 0
    if count:
        yield _columns(group, describe, decisions or {})


def rows_of(columns: Mapping[str, Sequence[Any]]) -> Iterator[Row]:
    """Yield the rows of ``columns`` as dicts."""
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _columns(
    group: Sequence[Batch], card_text: CardText, decisions: Mapping[int, str]
) -> dict[str, Sequence[Any]]:
    records = np.concatenate([batch.records for batch in group])
    columns: dict[str, Sequence[Any]] = {name: records[name].tolist() for name in _AS_THEY_ARE}
    columns["ts"] = _timestamps(records["ts_ns"])
    columns["kind"] = [_KINDS.get(kind, str(kind)) for kind in records["kind"].tolist()]
    columns["decision"] = [decisions.get(result, "") for result in columns["result"]]
    columns["response"] = _texts(records, ["response"])
    columns["card_masked"] = list(map(card_text, columns["card"], records["bin"].tolist()))
    columns["currency"] = [f"{number:03d}" for number in records["currency"].tolist()]
    columns["rrn"] = _texts(records, ["rrn_a", "rrn_b"])
    columns["terminal"] = _texts(records, ["terminal"])
    columns["transmitted"] = [f"{n:010d}" if n else "" for n in records["transmitted"].tolist()]
    columns["merchant"] = [f"{n:016x}" if n else "" for n in records["merchant"].tolist()]
    columns["pcode"] = [f"{n:06d}" for n in records["pcode"].tolist()]
    columns["flags"] = _flag_names(records["flags"])
    columns["score"] = [None if n == SCORE_NONE else n for n in records["score"].tolist()]
    columns["reasons"] = _reasons(records["reasons"])
    columns["hits"] = _hits(records)
    columns["rules_version"] = [f"{n:08x}" if n else "" for n in records["rules_version"].tolist()]
    columns["model_version"] = [f"{n:08x}" if n else "" for n in records["model_version"].tolist()]
    columns["operator"] = _operators(group)
    ids = zip(records["id_hi"].tolist(), records["id_lo"].tolist(), strict=True)
    columns["id"] = [f"{high:016x}{low:016x}" for high, low in ids]
    return {name: columns[name] for name in COLUMNS}


def _timestamps(ts_ns: NDArray[np.uint64]) -> list[str]:
    """Return ISO 8601 text in UTC, to the microsecond."""
    moments = (ts_ns // np.uint64(1000)).astype("<i8").view("<M8[us]")
    texts: list[str] = np.datetime_as_string(moments, unit="us", timezone="UTC").tolist()
    return texts


def _texts(records: Records, names: Sequence[str]) -> list[str]:
    """Return the characters kept in the bytes of fields, first in the lowest; "" for zero."""
    parts = [np.ascontiguousarray(records[name]).view(np.uint8) for name in names]
    raw = np.hstack([part.reshape(len(records), -1) for part in parts])
    cells = np.ascontiguousarray(raw).view(f"S{raw.shape[1]}").reshape(-1).tolist()
    return [cell.translate(_PRINTABLE).decode("ascii") for cell in cells]


def _flag_names(flags: NDArray[np.uint32]) -> list[str]:
    names = {
        value: " ".join(flag.name.lower() for flag in Flag if value & flag)
        for value in np.unique(flags).tolist()
    }
    return [names[value] for value in flags.tolist()]


def _reasons(reasons: NDArray[np.uint32]) -> list[list[int]]:
    """Return feature numbers: each byte that is not zero holds one, plus one."""
    return [[b - 1 for b in n.to_bytes(4, "little") if b] if n else [] for n in reasons.tolist()]


def _hits(records: Records) -> list[list[int]]:
    """Return the numbers of the rules that held."""
    pairs = zip(records["hits_lo"].tolist(), records["hits_hi"].tolist(), strict=True)
    masks = [low | high << 64 for low, high in pairs]
    known = {mask: [n for n in range(mask.bit_length()) if mask >> n & 1] for mask in set(masks)}
    return [known[mask] for mask in masks]


def _operators(group: Sequence[Batch]) -> list[str]:
    names: list[str] = []
    for batch in group:
        mine = [""] * len(batch.records)
        for blob in batch.blobs:
            if blob.kind == BlobKind.OPERATOR:
                text = blob.data.decode("utf-8", "replace")
                mine[blob.row] = "".join(c if c.isprintable() else "?" for c in text)
        names += mine
    return names
