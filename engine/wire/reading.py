"""From the bytes of all links to rows: decoding, and what is looked up in fields after it."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.wire.kernels import decode_batch
from engine.wire.lift_kernels import lift_values
from engine.wire.table import DialectTable


class Columns(Protocol):
    """The arrays of ``engine.workspace.Workspace`` that are used here."""

    arena: NDArray[np.uint8]
    request: NDArray[np.void]
    spans: NDArray[np.uint16]
    pan_block: NDArray[np.uint8]


def read_batch(
    work: Columns,
    segments: NDArray[np.void],
    segment_count: int,
    table: DialectTable,
    hash_key: NDArray[np.uint64],
) -> int:
    """Fill the rows of ``work`` from the segments, SEGMENT, in and out; return how many there are.

    ``hash_key`` is u64[2], the key of the merchant hash.
    """
    count: int = decode_batch(
        work.arena,
        segments,
        segment_count,
        table,
        hash_key,
        work.request,
        work.spans,
        work.pan_block,
    )
    lift_values(work.arena, work.request, count, work.spans, table)
    return count
