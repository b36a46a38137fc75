"""What the checks read of a batch: columns and where each field lies. Nothing is copied out."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.wire.elements import Code
from engine.wire.table import DialectTable

_EBCDIC = "cp500"
Rows = NDArray[np.int64]


class Batch(Protocol):
    """The arrays of ``engine.authorize.Workspace`` that are used here."""

    arena: NDArray[np.uint8]
    request: NDArray[np.void]
    spans: NDArray[np.uint16]
    pan_block: NDArray[np.uint8]
    items: NDArray[np.void]
    checks: NDArray[np.void]
    replies: NDArray[np.void]
    extra: NDArray[np.uint8]
    out: NDArray[np.uint8]
    out_end: NDArray[np.int64]


def present(batch: Batch, rows: Rows, field: int) -> NDArray[np.bool_]:
    """Return which of ``rows`` carry ``field``."""
    word = batch.request["bitmap_hi" if field <= 64 else "bitmap_lo"][rows]
    bit = np.uint64((64 if field <= 64 else 128) - field)
    has: NDArray[np.bool_] = (word >> bit) & np.uint64(1) != 0
    return has


def places(batch: Batch, rows: Rows, field: int) -> tuple[Rows, Rows]:
    """Return (arena offsets, bytes on the wire) of ``field`` in ``rows``, which carry it."""
    starts = batch.request["start"][rows].astype(np.int64)
    return starts + batch.spans[rows, field, 0], batch.spans[rows, field, 1].astype(np.int64)


def codes_of(table: DialectTable, batch: Batch, rows: Rows, field: int) -> NDArray[np.uint8]:
    """Return how the dialect of each row writes ``field``: ``engine.wire.elements.Code``."""
    codes: NDArray[np.uint8] = table.fields["data_code"][batch.request["dialect"][rows], field]
    return codes


def is_hex(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which codes take two characters a byte."""
    return (codes == Code.ASCII_HEX) | (codes == Code.EBCDIC_HEX)


def field_bytes(table: DialectTable, batch: Batch, row: int, field: int) -> bytes:
    """Return ``field`` of one row as bytes or as ASCII text; b"" when the row has none of it.

    Hex is read, EBCDIC turned, packed digits unpacked. ``ValueError`` when hex does not pair.
    """
    one = np.array([row], np.int64)
    if not present(batch, one, field)[0]:
        return b""
    starts, sizes = places(batch, one, field)
    data = batch.arena[int(starts[0]) : int(starts[0] + sizes[0])].tobytes()
    code = int(codes_of(table, batch, one, field)[0])
    if code in (Code.EBCDIC, Code.EBCDIC_HEX):
        data = data.decode(_EBCDIC).encode("ascii", "replace")
    if code in (Code.ASCII_HEX, Code.EBCDIC_HEX):
        return bytes.fromhex(data.decode("ascii"))
    return data.hex().encode("ascii") if code in (Code.BCD, Code.BCD_LEFT) else data
