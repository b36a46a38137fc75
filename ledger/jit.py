"""How the kernels of ledger and engine are compiled.

A kernel releases the GIL, is compiled without fastmath and counts no references: the caller holds
its arrays, and a locked increment for each array of each inner call took more than a third of all
time. Numba's on-disk cache does not notice a change in a kernel that another one calls, so it is
used only when ``NUMBA_CACHE_DIR`` is set: ``engine.kernel_cache`` sets it, and tells Numba to keep
the kernels of each file in a folder named by a hash of all that they can see. Imported as a bare
library, kernels compile afresh.
"""

import os
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

Int: TypeAlias = Any  # an integer inside a kernel: int64 or uint64, as Numba infers
Row: TypeAlias = Any  # one row of a structured array inside a kernel; Numba knows its fields

LINE_BYTES = 64  # of a cache line

_njit: Any = numba.njit  # its types do not know ``_nrt``, the switch of reference counts


def kernel(function: F) -> F:
    """Compile ``function`` with Numba on first call; see the module for the options."""
    compiled: F = _njit(nogil=True, cache="NUMBA_CACHE_DIR" in os.environ, _nrt=False)(function)
    return compiled


def allocating_kernel(function: F) -> F:
    """As ``kernel``, and allowed to allocate arrays: for the few that need one for themselves.

    Where its work is large, it allocates and hands over to a ``kernel``.
    """
    compiled: F = _njit(nogil=True, cache="NUMBA_CACHE_DIR" in os.environ, _nrt=True)(function)
    return compiled


def hot_kernel(function: F) -> F:
    """As ``kernel``, and copied into each caller: for a few lines that are called for every field.

    A call passes every word of every array; where the work is smaller than that, it counts.
    """
    cached = "NUMBA_CACHE_DIR" in os.environ
    compiled: F = _njit(nogil=True, cache=cached, forceinline=True, _nrt=False)(function)
    return compiled


def aligned_zeros(count: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """Return ``count`` zero rows that start on a cache line; pages are touched when used."""
    raw = np.zeros(count * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return raw[start : start + count * dtype.itemsize].view(dtype)


def _prefetch(_typing: Any, array: Any, _place: Any) -> Any:
    """``prefetch(array, place)``: ask for all cache lines of row ``place`` of a 1-d record array.

    Rows lie all over memory, and a miss takes as long as the arithmetic of a row. Asked for a few
    rows ahead, the misses overlap. Nothing is read, so a place outside the array does no harm.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows = context.make_array(signature.args[0])(context, builder, values[0])
        size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        name = "llvm.prefetch.p0"
        ask = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, word, word, word]), name
        )
        start = builder.bitcast(rows.data, byte)
        place = values[1]
        row_at = builder.mul(place, place.type(size))
        for line in range(0, size, LINE_BYTES):
            at = builder.gep(start, [builder.add(row_at, place.type(line))])
            builder.call(ask, [at, word(0), word(3), word(1)])  # to read, to keep, data
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


prefetch: Any = intrinsic(_prefetch)
