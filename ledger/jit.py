"""How the kernels of ledger and engine are compiled.

A kernel releases the GIL, is compiled without fastmath and counts no references: the caller holds
its arrays, and a locked increment for each array of each inner call took more than a third of all
time. Numba's on-disk cache does not notice a change in a kernel that another one calls, so it is
used only when ``NUMBA_CACHE_DIR`` is set: ``engine.kernel_cache`` sets it, and tells Numba to keep
the kernels of each file in a folder named by a hash of all that they can see. Imported as a bare
library, kernels compile afresh.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np import arrayobj
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

Int: TypeAlias = Any  # an integer inside a kernel: int64 or uint64, as Numba infers
Row: TypeAlias = Any  # one row of a structured array inside a kernel; Numba knows its fields

LINE_BYTES = 64  # of a cache line


def _import_without_scipy() -> None:
    """Let Numba find no SciPy: it would import its linear algebra, a tenth of a start, for nothing.

    No kernel multiplies matrices. Whoever imports SciPy itself finds it as ever.
    """
    name = "scipy.linalg"
    if name not in sys.modules:
        sys.modules[name] = None  # type: ignore[assignment]  # Python: there is none
        try:
            importlib.import_module("numba.np.arraymath")
        finally:
            del sys.modules[name]


_import_without_scipy()

_IS_CHECKED = bool(vars(numba.config)["BOUNDSCHECK"])
_unliteral: Any = types.unliteral  # it has no types
_njit: Any = numba.njit  # its types do not know ``_nrt``, the switch of reference counts
_populate_array: Any = arrayobj.populate_array  # it has no types


def kernel(function: F) -> F:
    """Compile ``function`` with Numba on first call; see the module for the options."""
    return _compiled(function)


def allocating_kernel(function: F) -> F:
    """As ``kernel``, and allowed to allocate arrays: for the few that need one for themselves.

    Where its work is large, it allocates and hands over to a ``kernel``.
    """
    return _compiled(function, _nrt=True)


def hot_kernel(function: F) -> F:
    """As ``kernel``, and copied into each caller: for a few lines that are called for every field.

    A call passes every word of every array; where the work is smaller than that, it counts.
    """
    return _compiled(function, forceinline=True)


def _compiled(function: F, *, _nrt: bool = False, **options: bool) -> F:
    is_cached = "NUMBA_CACHE_DIR" in os.environ
    compiled: F = _plain(_njit(nogil=True, cache=is_cached, _nrt=_nrt, **options)(function))
    return compiled


def _plain(compiled: Any) -> Any:
    """Have a constant argument compiled as any other value of its type.

    Numba types the argument 3 as the literal 3 and compiles a kernel once more for each of them; a
    third of all compilation was such copies, and LLVM sees the constants anyway.
    """
    given = compiled.get_call_template

    def template(args: Any, kws: Any) -> Any:
        named = {name: _unliteral(value) for name, value in kws.items()}
        return given([_unliteral(value) for value in args], named)

    compiled.get_call_template = template
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


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, size: int) -> Any:
    """Return a pointer to ``size`` bytes at an index, checked where NUMBA_BOUNDSCHECK says so."""
    made = context.make_array(kind)(context, builder, array)
    if _IS_CHECKED:
        last = builder.sub(builder.extract_value(made.shape, 0), at.type(size))
        is_before = builder.icmp_signed("<", at, at.type(0))
        is_after = builder.icmp_signed(">", at, last)
        with builder.if_then(builder.or_(is_before, is_after), likely=False):
            message = f"{size} bytes reach outside their array"
            context.call_conv.return_user_exc(builder, IndexError, (message,))
    return builder.bitcast(builder.gep(made.data, [at]), ir.IntType(8 * size).as_pointer())


def _is_place(array: Any, at: Any) -> bool:
    is_bytes = isinstance(array, types.Array) and array.dtype == types.uint8
    return (
        is_bytes and array.ndim == 1 and array.layout == "C" and at in (types.int64, types.uint64)
    )


def _load_word(_typing: Any, data: Any, at: Any) -> Any:
    """``load_word(data, at)``: the eight bytes at an offset, the first one lowest: uint64."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(
            _place(context, builder, signature.args[0], values[0], values[1], 8), align=1
        )

    return (types.uint64(data, at), generate) if _is_place(data, at) else None


def _store_word(_typing: Any, out: Any, at: Any, word: Any) -> Any:
    """``store_word(out, at, word)``: write a uint64 to eight bytes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature.args[0], values[0], values[1], 8)
        builder.store(values[2], place, align=1)
        return context.get_dummy_value()

    is_right = _is_place(out, at) and word == types.uint64
    return (types.void(out, at, word), generate) if is_right else None


def _move_sixteen(_typing: Any, data: Any, source: Any, out: Any, at: Any) -> Any:
    """``move_sixteen(data, source, out, at)``: copy sixteen bytes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        read = _place(context, builder, signature.args[0], values[0], values[1], 16)
        written = _place(context, builder, signature.args[2], values[2], values[3], 16)
        builder.store(builder.load(read, align=1), written, align=1)
        return context.get_dummy_value()

    is_right = _is_place(data, source) and _is_place(out, at)
    return (types.void(data, source, out, at), generate) if is_right else None


def _lowest_bit(_typing: Any, word: Any) -> Any:
    """``lowest_bit(word)``: the position of the lowest set bit of a uint64; 64 = none is."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.IntType(1)(0))

    return (types.int64(word), generate) if word == types.uint64 else None


# One instruction each, where Numba would write a loop. Offsets are int64 or uint64.
load_word: Any = intrinsic(_load_word)
store_word: Any = intrinsic(_store_word)
move_sixteen: Any = intrinsic(_move_sixteen)
lowest_bit: Any = intrinsic(_lowest_bit)


def _noted(axes: int) -> Any:
    def noted(_typing: Any, notes: Any, _place: Any, dtype: Any) -> Any:
        kind = types.Array(dtype.dtype, axes, "C")

        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            words = context.make_array(notes)(context, builder, values[0]).data
            at = builder.mul(values[1], values[1].type(3))

            def word(place: int) -> Any:
                return builder.load(builder.gep(words, [builder.add(at, at.type(place))]))

            array = context.make_array(kind)(context, builder)
            size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
            step = at.type(size)
            pointer = context.get_data_type(kind.dtype).as_pointer()
            _populate_array(
                array,
                data=builder.inttoptr(word(0), pointer),
                shape=[word(1 + axis) for axis in range(axes)],
                strides=[builder.mul(word(2), step), step][-axes:],
                itemsize=step,
                meminfo=None,  # whoever made the notes holds the array
            )
            return array._getvalue()  # noqa: SLF001 - as every intrinsic that makes an array

        return kind(notes, types.int64, dtype), generate

    return noted


# noted_rows(notes, place, dtype) and noted_table(notes, place, dtype) in a kernel: the array with
# one axis or two that ``note_arrays`` noted at ``place``, of the very dtype that it has.
noted_rows: Any = intrinsic(_noted(1))
noted_table: Any = intrinsic(_noted(2))


def note_arrays(arrays: Sequence[NDArray[Any]], number_count: int) -> NDArray[np.int64]:
    """Note where ``arrays`` are, so that one call with one array hands all of them to a kernel.

    A call from Python looks up the type of every array and passes its words, some 0.1 us each. The
    notes are addresses: whoever keeps them keeps the arrays too, and makes the notes anew when one
    of them is another array. A kernel must ask for the very dtype that was noted.

    Parameters
    ----------
    arrays : one or two axes, C-contiguous
    number_count : int
        Numbers that the caller keeps behind the notes, from place 3 x len(arrays) on.

    Returns
    -------
    notes : i64[3 x len(arrays) + number_count]: address, rows, columns (1 with one axis) of each.
    """
    notes = np.zeros(3 * len(arrays) + number_count, np.int64)
    for place, array in enumerate(arrays):
        if not array.flags.c_contiguous or array.ndim > 2:
            raise ValueError(f"array {place} is not contiguous with one axis or two: {array.shape}")
        rows, columns = array.shape if array.ndim == 2 else (len(array), 1)
        notes[3 * place : 3 * place + 3] = array.ctypes.data, rows, columns
    return notes
