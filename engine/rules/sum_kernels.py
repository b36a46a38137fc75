"""Columns that rules compute: a short postfix program for each, run once for a row."""

import numpy as np
from numpy.typing import NDArray

from engine.rules.limits import SUM_DEPTH_MAX
from engine.rules.tree import Binary, Constant, Reading, Sum
from ledger.jit import allocating_kernel, kernel

SUM_STEP = np.dtype(
    [
        ("constant", "<f8"),
        ("column", "<i4"),
        ("code", "<i4"),
    ]
)
SUM = np.dtype(
    [
        ("start", "<i4"),  # slice of the steps
        ("end", "<i4"),
        ("column", "<i4"),  # where the value goes
        ("phase", "<i4"),  # Phase.POST when it reads the score
    ]
)
assert (SUM_STEP.itemsize, SUM.itemsize) == (16, 16)
_CONSTANT, _COLUMN, _PLUS, _MINUS, _TIMES, _OVER = 0, 1, 2, 3, 4, 5
_CODES = {"+": _PLUS, "-": _MINUS, "*": _TIMES, "/": _OVER}
# A sum nests in parentheses and in its two levels of operators.
_STACK = 3 * (SUM_DEPTH_MAX + 2)


def steps_of(node: Sum) -> list[tuple[float, int, int]]:
    """Return the postfix steps of a sum, as rows of SUM_STEP."""
    if isinstance(node, Constant):
        return [(node.value, 0, _CONSTANT)]
    if isinstance(node, Reading):
        return [(0.0, node.column.index, _COLUMN)]
    assert isinstance(node, Binary)
    return [*steps_of(node.left), *steps_of(node.right), (0.0, 0, _CODES[node.symbol])]


@allocating_kernel
def fill_sums(
    idx: NDArray[np.int32],
    steps: NDArray[np.void],
    sums: NDArray[np.void],
    phase: int,
    values: NDArray[np.float64],
) -> None:
    """Compute the ``sums`` of ``phase`` of the rows ``idx``.

    Parameters
    ----------
    idx : i32[k]; steps : SUM_STEP[:]; sums : SUM[:].
    values : f64[n, VALUE_COUNT], in and out: NaN where a part is missing or the result not finite.
    """
    stack = np.empty(_STACK, np.float64)
    for s in range(sums.shape[0]):
        if sums[s]["phase"] != phase:
            continue
        for i in idx:
            values[i, sums[s]["column"]] = _value(i, steps, sums[s], stack, values)


@kernel
def _value(
    i: int,
    steps: NDArray[np.void],
    sum_: np.void,
    stack: NDArray[np.float64],
    values: NDArray[np.float64],
) -> float:
    top = 0
    for k in range(sum_["start"], sum_["end"]):
        code = steps[k]["code"]
        if code == _CONSTANT:
            stack[top] = steps[k]["constant"]
            top += 1
            continue
        if code == _COLUMN:
            stack[top] = values[i, steps[k]["column"]]
            top += 1
            continue
        top -= 1
        left, right = stack[top - 1], stack[top]
        if code == _PLUS:
            stack[top - 1] = left + right
        elif code == _MINUS:
            stack[top - 1] = left - right
        elif code == _TIMES:
            stack[top - 1] = left * right
        else:
            stack[top - 1] = left / right if right != 0.0 else np.nan
    return stack[0] if np.isfinite(stack[0]) else np.nan
