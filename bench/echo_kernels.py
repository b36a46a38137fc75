"""Answer every 0100 of a chunk with 00: the least work a server can do."""

import numpy as np
from numpy.typing import NDArray

from bench.frame_kernels import Whole
from bench.reply_kernels import LARGEST_FRAME, digits, nibble
from ledger.jit import kernel

ADDED = 8  # bytes an answer is longer than its request: DE38 and DE39


@kernel
def echo(
    data: NDArray[np.uint8], end: int, widths: NDArray[np.int64], out: NDArray[np.uint8]
) -> tuple[Whole, Whole]:
    """Turn the whole frames of ``data[:end]`` into answers.

    Requests 0100, 0101 and 0420 keep their fields; the MTI's function digit is answered, DE38 (the
    last six digits of DE37) and DE39 = 00 are added. ``widths`` as for ``read_reply``; ``out``
    holds at least ``end`` x 1.1 bytes. Returns bytes taken and bytes written; taken = -1 when a
    frame cannot be read.
    """
    hexadecimal = widths[0] == 1
    at = np.int64(0)
    to = np.int64(0)
    while end - at >= 2:
        size = np.int64(data[at]) * 256 + np.int64(data[at + 1])
        if size > LARGEST_FRAME or size < 12:
            return np.int64(-1), np.int64(to)
        if end - at - 2 < size:
            break
        start = at + 2
        cut = after_37(data[start : start + size], widths)
        if cut < 0:
            return np.int64(-1), np.int64(to)
        grown = size + ADDED
        out[to] = grown // 256
        out[to + 1] = grown % 256
        for i in range(cut):
            out[to + 2 + i] = data[start + i]
        for i in range(6):
            out[to + 2 + cut + i] = data[start + cut - 6 + i]
        out[to + 2 + cut + 6] = 48
        out[to + 2 + cut + 7] = 48
        for i in range(cut, size):
            out[to + 2 + ADDED + i] = data[start + i]
        # 0100 -> 0110, 0101 -> 0110, 0420 -> 0430
        out[to + 4] += 1
        out[to + 5] &= 254
        if hexadecimal:
            bits = nibble(out[to + 2 + 4 + 9]) | 6
            out[to + 2 + 4 + 9] = 48 + bits if bits < 10 else 55 + bits
        else:
            out[to + 2 + 4 + 4] |= 6
        at += 2 + size
        to += 2 + grown
    return np.int64(at), np.int64(to)


@kernel
def after_37(frame: NDArray[np.uint8], widths: NDArray[np.int64]) -> Whole:
    """Return the offset behind DE37, -1 when the frame has none or cannot be read."""
    hexadecimal = widths[0] == 1
    at = 20 if hexadecimal else 12
    if frame.size < at:
        return np.int64(-1)
    if present(frame, 1, hexadecimal):
        at += 16 if hexadecimal else 8
    if not present(frame, 37, hexadecimal):
        return np.int64(-1)
    for de in range(2, 38):
        if not present(frame, de, hexadecimal):
            continue
        width = widths[de]
        if width < 0:
            if at - width > frame.size:
                return np.int64(-1)
            size = digits(frame, at, -width)
            if size < 0:
                return np.int64(-1)
            at += size - width
        else:
            at += width
    return np.int64(at) if at <= frame.size else np.int64(-1)


@kernel
def present(frame: NDArray[np.uint8], de: int, hexadecimal: bool) -> bool:  # noqa: FBT001
    """Return whether the primary bitmap names field ``de`` (1-64)."""
    if hexadecimal:
        return bool((nibble(frame[4 + (de - 1) // 4]) >> (3 - (de - 1) % 4)) & 1 == 1)
    return bool((np.int64(frame[4 + (de - 1) // 8]) >> (7 - (de - 1) % 8)) & 1 == 1)
