"""Compiles the kernels of this package before the first request, on a few bytes."""

import numpy as np

from engine.security.des_kernels import SP, des_chains, schedule
from engine.security.lay_kernels import lay_blocks, put_macs, read_track2, take_bytes
from engine.wire.elements import Code

_BYTES = 64


def compile_kernels() -> None:
    """Run each kernel once, on arrays of the kinds that batches have."""
    data = np.zeros(_BYTES, np.uint8)
    starts, sizes = np.zeros(1, np.int64), np.full(1, 8, np.int64)
    codes = np.full(1, Code.RAW, np.uint8)
    values = np.zeros((1, 8), np.uint8)
    lay_blocks(data, starts, sizes, starts, 8, 0, np.zeros((2, 1, 8), np.uint8))
    take_bytes(data, starts, sizes, codes, values)
    put_macs(values, starts, sizes, codes, data)
    chain = np.zeros((1, 8), np.uint8)
    des_chains(np.zeros((2, 1, 8), np.uint8), starts, schedule(bytes(8)), SP, chain)
    read_track2(data, starts, sizes, codes, 0, np.zeros((1, 3), np.int64))
