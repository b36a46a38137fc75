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
