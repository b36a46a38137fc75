"""Lays messages out as blocks so that their chains can advance in lockstep; copies MACs about."""

import numpy as np
from numpy.typing import NDArray

from ledger.jit import Int, kernel

_PAD_MARK = 0x80


@kernel
def lay_blocks(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    order: NDArray[np.int64],
    block: Int,
    marked: Int,
    blocks: NDArray[np.uint8],
) -> None:
    """Write block k of message ``order[i]`` to ``blocks[k, i]``.

    Parameters
    ----------
    data : u8, where the messages lie; starts, sizes : i64 (n,), of each message.
    order : i64 (m,), messages to lay out; block : bytes of a block.
    marked : 0 = fill the last block with zeros; 1 = with 0x80 and zeros, always (method 2 of ISO
        9797-1); 2 = the same, but only where the last block is not whole (CMAC).
    blocks : u8 (steps, m, block), out; blocks after a message's last stay as they are.
    """
    for i in range(order.shape[0]):
        start = starts[order[i]]
        size = sizes[order[i]]
        steps = (size + block - 1) // block
        if marked == 1:
            steps = size // block + 1
        steps = max(steps, 1)
        for k in range(steps):
            for b in range(block):
                at = k * block + b
                if at < size:
                    blocks[k, i, b] = data[start + at]
                elif at == size and marked != 0:
                    blocks[k, i, b] = _PAD_MARK
                else:
                    blocks[k, i, b] = 0


@kernel
def pack_hex(values: NDArray[np.uint8], size: Int, at: Int, out: NDArray[np.uint8]) -> None:
    """Write the first ``size`` bytes of ``values`` as hex capitals to ``out`` from ``at``."""
    for k in range(size):
        high, low = values[k] >> 4, values[k] & 15
        out[at + 2 * k] = 48 + high if high < 10 else 55 + high
        out[at + 2 * k + 1] = 48 + low if low < 10 else 55 + low


@kernel
def take_bytes(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    size: Int,
    is_hex: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Copy ``size`` bytes from each of ``starts`` i64 (n,) to ``out`` u8 (n, size).

    ``is_hex`` u8 (n,): 1 = they are written as twice as many hex characters.
    """
    for i in range(starts.shape[0]):
        at = starts[i]
        for k in range(size):
            if is_hex[i] == 0:
                out[i, k] = data[at + k]
            else:
                out[i, k] = _half(data[at + 2 * k]) << 4 | _half(data[at + 2 * k + 1])


@kernel
def _half(character: Int) -> Int:
    """Return 0 to 15 of a hex character; decoding has checked that it is one."""
    if character <= 57:
        return character - 48
    return (character & 0xDF) - 55


@kernel
def put_macs(
    values: NDArray[np.uint8],
    places: NDArray[np.int64],
    is_hex: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Write row i of ``values`` u8 (n, 8) to ``out`` at ``places[i]``, in hex where it is said."""
    for i in range(places.shape[0]):
        if is_hex[i] != 0:
            pack_hex(values[i], 8, places[i], out)
        else:
            for k in range(8):
                out[places[i] + k] = values[i, k]


@kernel
def read_track2(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    position: Int,
    out: NDArray[np.int64],
) -> None:
    """Read expiry, service code and CVV of tracks in ASCII.

    Parameters
    ----------
    starts, sizes : i64 (n,), of the track's characters; position : digits between service code
        and CVV.
    out : i64 (n, 3), out: YYMM, service code, CVV; -1 where the track is too short for it.
    """
    for i in range(starts.shape[0]):
        at, end = starts[i], starts[i] + sizes[i]
        while at < end and 48 <= data[at] <= 57:
            at += 1
        out[i, 0] = _digits(data, at + 1, 4, end)
        out[i, 1] = _digits(data, at + 5, 3, end)
        out[i, 2] = _digits(data, at + 8 + position, 3, end)


@kernel
def _digits(data: NDArray[np.uint8], at: Int, size: Int, end: Int) -> Int:
    if at + size > end:
        return -1
    value = np.int64(0)
    for k in range(size):
        digit = np.int64(data[at + k]) - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value
