"""How the kernels of ledger and engine are compiled.

A kernel releases the GIL and is compiled without fastmath. Numba's on-disk cache does not notice a
change in a kernel that another one calls, so it is used only when ``NUMBA_CACHE_DIR`` is set:
``engine.kernel_cache`` sets it, and tells Numba to keep the kernels of each file in a folder named
by a hash of all that they can see. Imported as a bare library, kernels compile afresh.
"""

import os
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

Int: TypeAlias = Any  # an integer inside a kernel: int64 or uint64, as Numba infers
Row: TypeAlias = Any  # one row of a structured array inside a kernel; Numba knows its fields


def kernel(function: F) -> F:
    """Compile ``function`` with Numba on first call; see the module for the options."""
    return cast("F", njit(nogil=True, cache="NUMBA_CACHE_DIR" in os.environ)(function))


def hot_kernel(function: F) -> F:
    """As ``kernel``, and copied into each caller: for a few lines that are called for every field.

    A call passes every word of every array; where the work is smaller than that, it counts.
    """
    cached = "NUMBA_CACHE_DIR" in os.environ
    return cast("F", njit(nogil=True, cache=cached, forceinline=True)(function))
