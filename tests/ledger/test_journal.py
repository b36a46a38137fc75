"""Bytes of a batch: golden bytes, the sector promise, what a decoder accepts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.journal import (
    BLOB_DATA_MAX,
    HEADER_BYTES,
    SECTOR_BYTES,
    BatchEncoder,
    Blob,
    BlobKind,
    Position,
    Writer,
    blobs_of,
    body_is_incomplete,
    body_is_whole,
    header_from_bytes,
    position_from_json,
    records_of,
)
from ledger.record import RECORD
from ledger.segment import segment_page
from tests.ledger.journals import CLUSTER, records_from

GOLDEN = Path(__file__).parent.parent / "golden"
WRITER = Writer(CLUSTER, 3, 5, bytes(range(32, 48)))
TS_NS = 1_700_000_000_123_456_789

blob_lists = st.lists(
    st.builds(Blob, st.integers(0, 4), st.integers(1, 9), st.binary(max_size=BLOB_DATA_MAX)),
    max_size=4,
)


def golden_batch() -> bytes:
    """Return the batch whose bytes are kept in tests/golden."""
    records = np.zeros(2, RECORD)
    for number, name in enumerate(RECORD.names or ()):
        records[name] = (number + 1, number + 101)
    records["seq"] = (8, 9)
    blobs = [Blob(1, BlobKind.OPERATOR, b"ann"), Blob(0, BlobKind.RULES_SHA256, bytes(range(32)))]
    position = Position(batch_no=7, seq=8, epoch=4, head=bytes(range(100, 132)))
    return bytes(BatchEncoder(WRITER).encode([(records, blobs)], position, TS_NS))


def test_batch_keeps_its_golden_bytes() -> None:
    """A journal written by format 1 is read by every later program: the bytes never change."""
    expected = bytes.fromhex((GOLDEN / "journal_batch_v1.hex").read_text())
    assert golden_batch() == expected.ljust(4096, b"\0")


def test_segment_header_keeps_its_golden_bytes() -> None:
    """The header page of a segment is part of format 1 too."""
    start = Position(batch_no=7, seq=8, epoch=4, head=bytes(range(100, 132)), segment=2)
    page = segment_page(CLUSTER, 3, bytes(range(48, 64)), start, 65536)
    expected = bytes.fromhex((GOLDEN / "journal_segment_v1.hex").read_text())
    assert page == expected.ljust(4096, b"\0")


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=4), blobs=blob_lists)
def test_what_is_encoded_is_decoded(counts: list[int], blobs: list[Blob]) -> None:
    """Records and blobs of any parts come back in order, blob rows counted in the batch."""
    parts, seq, expected = [], 1, []
    for count in counts:
        mine = [blob for blob in blobs if blob.row < count]
        expected += [blob._replace(row=blob.row + seq - 1) for blob in mine]
        parts.append((records_from(seq, count), mine))
        seq += count
    batch = np.frombuffer(BatchEncoder(WRITER).encode(parts, Position(), TS_NS), np.uint8).copy()
    header = header_from_bytes(batch[:HEADER_BYTES].tobytes())
    assert header is not None
    assert body_is_whole(header, batch)
    assert (records_of(header, batch) == np.concatenate([r for r, _ in parts])).all()
    assert list(blobs_of(header, batch)) == expected


@given(count=st.integers(1, 60), blobs=blob_lists)
def test_no_sector_of_a_body_is_all_zero(count: int, blobs: list[Blob]) -> None:
    """Even records and blobs of zeros leave a mark in every sector: recovery relies on it."""
    records = np.zeros(count, RECORD)
    records["seq"] = np.arange(1, count + 1)
    zeros = [Blob(min(b.row, count - 1), b.kind, bytes(len(b.data))) for b in blobs]
    view = BatchEncoder(WRITER).encode([(records, zeros)], Position(), TS_NS)
    batch = np.frombuffer(view, np.uint8).copy()
    header = header_from_bytes(batch[:HEADER_BYTES].tobytes())
    assert header is not None
    assert not body_is_incomplete(header, batch)
    last = (HEADER_BYTES + header.body_bytes - 1) // SECTOR_BYTES
    for sector in range(1, last + 1):
        torn = batch.copy()
        torn[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = 0
        assert body_is_incomplete(header, torn)


def test_buffer_of_a_longer_batch_leaves_nothing_in_a_shorter_one() -> None:
    """The encoder's buffer is used again; the padding is zero all the same."""
    encoder = BatchEncoder(WRITER)
    encoder.encode([(records_from(1, 50), ())], Position(), TS_NS)
    again = bytes(encoder.encode([(records_from(1, 1), ())], Position(), TS_NS))
    fresh = bytes(BatchEncoder(WRITER).encode([(records_from(1, 1), ())], Position(), TS_NS))
    assert again == fresh


def test_blob_area_that_does_not_add_up_is_refused() -> None:
    """A blob count that the area cannot hold is an error, not a short list."""
    batch = np.frombuffer(golden_batch(), np.uint8).copy()
    header = header_from_bytes(batch[:HEADER_BYTES].tobytes())
    assert header is not None
    with pytest.raises(ValueError, match="blob"):
        blobs_of(header._replace(blob_count=3), batch)
    with pytest.raises(ValueError, match="left after"):
        blobs_of(header._replace(blob_count=1), batch)


def test_position_survives_json() -> None:
    """A snapshot keeps the position as JSON."""
    position = Position(4, 9, 2, bytes(range(32)), 3, 8192)
    assert position_from_json(position.to_json()) == position
