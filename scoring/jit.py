"""How the kernels of scoring are compiled.

A kernel releases the GIL, is compiled without fastmath and counts no references: the caller holds
its arrays, and counting cost more than the work of a small kernel. Numba's on-disk cache does not
notice a change in a kernel that another one calls, so it is used only when ``NUMBA_CACHE_DIR`` is
set: ``engine.kernel_cache`` sets it, and tells Numba to keep the kernels of each file in a folder
named by a hash of all that they can see. Imported as a bare library, kernels compile afresh.
"""

import os
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numba
from numba.core import types

F = TypeVar("F", bound=Callable[..., Any])

Row: TypeAlias = Any  # one row of a structured array inside a kernel; Numba knows its fields
Int: TypeAlias = Any  # a scalar inside a kernel: a Python int outside, an int64 inside


_unliteral: Any = types.unliteral  # it has no types
_njit: Any = numba.njit  # its types do not know ``_nrt``, the switch of reference counts


def kernel(function: F) -> F:
    """Compile ``function`` with Numba on first call; see the module for the options."""
    return _compiled(function)


def allocating_kernel(function: F) -> F:
    """As ``kernel``, and allowed to allocate arrays: for the few that need one for themselves."""
    return _compiled(function, _nrt=True)


def _compiled(function: F, *, _nrt: bool = False) -> F:
    is_cached = "NUMBA_CACHE_DIR" in os.environ
    compiled: F = _plain(_njit(nogil=True, cache=is_cached, _nrt=_nrt)(function))
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
