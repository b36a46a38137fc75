"""The order of work inside a batch: waves in which every account occurs at most once.

Within a wave payments come first, then reversals and expiries; all of them touch different
accounts, so their order is free. Items without an account (unknown cards, orphan reversals) form
the last group: they change nothing that anyone reads.
"""

import numpy as np
from numpy.typing import NDArray

from engine.items import Role
from ledger.jit import Int, kernel
from ledger.record import Flag, Kind
from scoring.kernels import card_unwind

_NS = 1_000_000_000


@kernel
def order_waves(
    first: int,
    last: int,
    extra: int,
    extra_end: int,
    items: NDArray[np.void],
    wave_count: int,
    bounds: NDArray[np.int32],
    order: NDArray[np.int32],
) -> None:
    """Sort the recorded items by wave (a counting sort, so order of arrival is kept).

    Parameters
    ----------
    first, last, extra, extra_end : item rows ``first`` to ``last`` - 1 are requests of the pass,
        rows ``extra`` to ``extra_end`` - 1 its expiries.
    items : ITEM, matched.
    bounds : i32 (2 x wave_count + 3,), out: wave w has its payments at [2w], its other items at
        [2w + 1] up to [2w + 2]; the items without an account follow up to the last bound.
    order : i32, out: item rows.
    """
    loose = 2 * wave_count
    bounds[: loose + 3] = 0
    for start, end in ((first, last), (extra, extra_end)):
        for i in range(start, end):
            if items[i]["record"] >= 0:
                bounds[_group(items[i], loose) + 1] += 1
    for g in range(loose + 1):
        bounds[g + 1] += bounds[g]
    for start, end in ((first, last), (extra, extra_end)):
        for i in range(start, end):
            if items[i]["record"] >= 0:
                group = _group(items[i], loose)
                order[bounds[group]] = i
                bounds[group] += 1
    for g in range(loose + 1, 0, -1):
        bounds[g] = bounds[g - 1]
    bounds[0] = 0


@kernel
def _group(item: np.void, loose: Int) -> Int:
    if item["wave"] < 0:
        return loose
    return 2 * np.int64(item["wave"]) + (0 if item["role"] == Role.AUTHORIZE else 1)


@kernel
def unwind(
    order: NDArray[np.int32],
    items: NDArray[np.void],
    ring: NDArray[np.void],
    card_velocity: NDArray[np.void],
    curves: NDArray[np.float64],
) -> None:
    """Take reversed payments out of the card's velocity.

    A payment that was partly reversed was still made, and an expired hold was still presented:
    both stay counted.

    ``order`` i32 (k,) names decided items; only reversals that released something are looked at.
    """
    mask = ring.shape[0] - 1
    for k in range(order.shape[0]):
        item = items[order[k]]
        if item["role"] != Role.REVERSE:
            continue
        named = ring[item["named"] & mask]
        undone_minor = item["released_minor"]
        if item["flags"] & Flag.REVERSES and item["kind"] == Kind.REFUND:
            undone_minor = item["amount_minor"]
        if undone_minor <= 0 or undone_minor != named["amount_minor"]:
            continue
        was_partial = named["kind"] == Kind.PARTIAL  # counted as it was presented
        card_unwind(
            card_velocity,
            np.int64(named["card"]),
            np.int64(item["ts_ns"]) // _NS,
            np.int64(named["t_s"]),
            named["requested_minor"] if was_partial else undone_minor,
            np.int64(named["exponent"]),
            curves,
        )
