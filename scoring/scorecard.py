"""A credit scorecard: integer points a bin, added up; 600 points are odds of 50:1, 20 double them.

The points come from a logistic regression on weights of evidence whose coefficients may not be
negative: a bin with a worse bad rate never earns more points, so every reason for a low score is
one. A characteristic whose coefficient ends at 0 is left out. Nothing here knows where the
characteristics come from; ``scoring.credit_features`` says what may be one.
"""

import hashlib
import math
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from scoring.errors import ModelError
from scoring.woe import Bins, bin_of, fit_bins

POINTS_AT_ODDS = 600
ODDS = 50.0
DOUBLE_POINTS = 20
_RIDGE = 1e-4
_ITERATIONS_MAX = 60
_FACTOR = DOUBLE_POINTS / math.log(2.0)


class Characteristic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the card: a value at or under ``edges[k]`` earns ``points[k]``.

    ``points`` has one entry more than ``edges``: the last edge is None (no upper bound), and the
    last points are those of a value that could not be measured.
    """

    name: str
    edges: tuple[float | None, ...]
    points: tuple[int, ...]


class Scorecard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole card; ``base`` is earned by everyone."""

    name: str
    base: int
    characteristics: tuple[Characteristic, ...]
    rows: int
    bads: int
    metrics: dict[str, float] = {}


def fit_scorecard(
    name: str, names: tuple[str, ...], values: NDArray[np.float64], bad: NDArray[np.uint8]
) -> Scorecard:
    """Return the card learnt from values f64[n, k] (NaN = not measurable) and bad u8[n]."""
    if not 0 < int(bad.sum()) < len(bad):
        raise ModelError(f"{len(bad)} accounts hold {int(bad.sum())} bad ones; need both kinds")
    if np.isinf(values).any():
        raise ModelError("a characteristic is infinite")
    bins = [fit_bins(values[:, k], bad) for k in range(len(names))]
    weights = np.stack(
        [np.array(one.weights)[bin_of(values[:, k], one.edges)] for k, one in enumerate(bins)],
        axis=1,
    )
    slopes = _fit_signed(weights, bad.astype(np.float64))
    kept = [k for k in range(len(names)) if slopes[k] > 0.0]
    base = POINTS_AT_ODDS - _FACTOR * (math.log(ODDS) + float(slopes[-1]))
    lines = tuple(_line(names[k], bins[k], float(slopes[k])) for k in kept)
    return Scorecard(name, round(base), lines, len(bad), int(bad.sum()))


def points_of(
    card: Scorecard, names: tuple[str, ...], values: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return i64[n, characteristics]: the points each account earns on each line of the card."""
    columns = []
    for line in card.characteristics:
        if line.name not in names:
            raise ModelError(f"scorecard {card.name} asks for {line.name}, which is not given")
        place = bin_of(values[:, names.index(line.name)], edges_of(line))
        columns.append(np.array(line.points, np.int64)[place])
    return np.stack(columns, axis=1) if columns else np.zeros((len(values), 0), np.int64)


def score_of(card: Scorecard, points: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return i64[n], the whole score of accounts that earned ``points`` i64[n, characteristics]."""
    return card.base + points.sum(axis=1)


def pd_of_score(score: int) -> float:
    """Return the probability of default that a score stands for."""
    return 1.0 / (1.0 + ODDS * 2.0 ** ((score - POINTS_AT_ODDS) / DOUBLE_POINTS))


def edges_of(line: Characteristic) -> tuple[float, ...]:
    """Return the edges as numbers."""
    return tuple(math.inf if edge is None else edge for edge in line.edges)


def save_scorecard(card: Scorecard, path: Path) -> str:
    """Write the card as JSON with its SHA-256; return the hash (hex)."""
    body = msgspec.json.encode(card)
    digest = hashlib.sha256(body).hexdigest()
    try:
        path.write_bytes(msgspec.json.format(body, indent=1) + b"\n" + digest.encode() + b"\n")
    except OSError as error:
        raise ModelError(f"scorecard {path}: cannot be written ({error.strerror})") from error
    return digest


def load_scorecard(path: Path) -> Scorecard:
    """Read and check a card; ModelError names the file and what is wrong."""
    try:
        text, _, digest = path.read_bytes().strip().rpartition(b"\n")
    except OSError as error:
        raise ModelError(f"scorecard {path}: cannot be read ({error.strerror})") from error
    try:
        card = msgspec.json.decode(text, type=Scorecard)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"scorecard {path}: cannot be read: {error}") from error
    if hashlib.sha256(msgspec.json.encode(card)).hexdigest().encode() != digest:
        raise ModelError(f"scorecard {path}: SHA-256 does not match: cut short or changed")
    for line in card.characteristics:
        edges = edges_of(line)
        if len(line.points) != len(edges) + 1 or list(edges) != sorted(set(edges)):
            raise ModelError(f"scorecard {path}: {line.name}: edges and points do not fit")
        if not edges or not math.isinf(edges[-1]):
            raise ModelError(f"scorecard {path}: {line.name}: the last edge must be open")
    return card


def _line(name: str, bins: Bins, slope: float) -> Characteristic:
    edges = tuple(None if math.isinf(edge) else edge for edge in bins.edges)
    return Characteristic(name, edges, tuple(round(-_FACTOR * slope * w) for w in bins.weights))


def _fit_signed(weights: NDArray[np.float64], bad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coefficients >= 0 and the constant of a logistic regression on ``weights``.

    Projected Newton (Bertsekas 1982): those held at 0 by their gradient rest, the others step.
    """
    count, width = weights.shape
    inputs = np.column_stack((weights, np.ones(count)))
    slopes = np.zeros(width + 1)
    ridge = np.append(np.full(width, _RIDGE), 0.0)

    def loss(at: NDArray[np.float64]) -> float:
        margins = inputs @ at
        return float(np.logaddexp(0.0, margins).mean() - (bad * margins).mean() + at**2 @ ridge / 2)

    lowest = loss(slopes)
    for _ in range(_ITERATIONS_MAX):
        chance = 1.0 / (1.0 + np.exp(-(inputs @ slopes)))
        gradient = inputs.T @ (chance - bad) / count + ridge * slopes
        curve = (inputs * (chance * (1.0 - chance))[:, None]).T @ inputs / count + np.diag(ridge)
        free = (slopes > 0.0) | (gradient < 0.0)
        free[-1] = True
        step = np.zeros(width + 1)
        step[free] = np.linalg.solve(curve[np.ix_(free, free)], gradient[free])
        length, found, moved = 1.0, lowest, slopes
        while length > 1e-6 and found >= lowest:
            moved = slopes - length * step
            moved[:-1] = np.maximum(moved[:-1], 0.0)
            found, length = loss(moved), length / 2.0
        if lowest - found < 1e-10:
            break
        slopes, lowest = moved, found
    return slopes
