"""What a metric family is made of: the types that ``series`` and ``collector`` share."""

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import metrics as m

Labels = tuple[str, ...]
Values = Iterable[tuple[Labels, float]]


class Buckets(NamedTuple):
    """One histogram as it is read: counts of each bucket (the last: past every edge), and sum."""

    labels: Labels
    edges: Sequence[float]
    counts: NDArray[np.int64]
    total: float


class Series(NamedTuple):
    """One metric family: how it is called, what it means, and how its values are read."""

    name: str
    kind: str  # counter, gauge or histogram
    unit: str
    labels: Labels
    help: str
    values: Callable[[m.Metrics], Values] | None = None
    buckets: Callable[[m.Metrics], Iterable[Buckets]] | None = None


def single(
    name: str, kind: str, text: str, values: Callable[[m.Metrics], Values], unit: str = ""
) -> Series:
    """Return a series of one value without label."""
    return Series(name, kind, unit, (), text, values)


def named(names: type[IntEnum], counts: NDArray[np.int64]) -> Values:
    """Return one value for each name of ``names``."""
    return [((name.name.lower(),), float(counts[name])) for name in names]
