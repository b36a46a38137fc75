"""Memory that a disk can take bytes from itself, without a copy in the kernel.

Direct writes need it to begin on a boundary of the machine's pages. It is shared with a forked
process rather than copied on write, so that a fork during a write has no say in what is written.
"""

import mmap

import numpy as np
from numpy.typing import NDArray


def page_memory(size: int) -> NDArray[np.uint8]:
    """Return ``uint8[size]`` of zeros, ``size`` from 1, that begins on a page boundary."""
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


def in_page_memory(data: bytes) -> memoryview:
    """Return ``data`` copied into such memory."""
    memory = page_memory(len(data)).data
    memory[:] = data
    return memory
