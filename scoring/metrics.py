"""How good scores are: area under the ROC curve, average precision, what a threshold does.

Definitions as in Fawcett 2006 (ROC, ties count half) and Davis and Goadrich 2006 (precision and
recall without interpolation, ties taken together).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scoring.registry import Threshold

THRESHOLDS_BP = (500, 2_500, 5_000, 7_500, 9_000)


def roc_auc(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """Return the chance that a fraud scores above a genuine payment; NaN without both kinds."""
    hits, rows = _by_falling_score(labels, scores)
    frauds, genuine = int(hits[-1]), int(rows[-1] - hits[-1])
    if frauds == 0 or genuine == 0:
        return float("nan")
    true_rate = np.concatenate(([0.0], hits / frauds))
    false_rate = np.concatenate(([0.0], (rows - hits) / genuine))
    return float(np.sum(np.diff(false_rate) * (true_rate[1:] + true_rate[:-1]) / 2.0))


def average_precision(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """Return the mean precision over the frauds found; NaN without frauds."""
    hits, rows = _by_falling_score(labels, scores)
    if hits[-1] == 0:
        return float("nan")
    found = np.diff(np.concatenate(([0], hits)))
    return float(np.sum(hits / rows * found) / hits[-1])


def threshold_table(
    labels: NDArray[np.uint8], score_bp: NDArray[np.uint16]
) -> tuple[Threshold, ...]:
    """Return what each of THRESHOLDS_BP flags, how much of that is fraud, how much of the fraud."""
    rows = []
    for bound in THRESHOLDS_BP:
        flagged = score_bp >= bound
        hits, count = int(labels[flagged].sum()), int(flagged.sum())
        rows.append(
            Threshold(
                bound,
                round(count / max(len(labels), 1), 6),
                round(hits / max(count, 1), 6),
                round(hits / max(int(labels.sum()), 1), 6),
            )
        )
    return tuple(rows)


def _by_falling_score(
    labels: NDArray[np.uint8], scores: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return frauds and rows at or above each distinct score, highest first."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.concatenate((ordered[1:] != ordered[:-1], [True])))
    hits = np.cumsum(labels[order], dtype=np.int64)
    return hits[last], (last + 1).astype(np.int64)


def card_precision(
    days: NDArray[np.int64],
    cards: NDArray[np.int32],
    labels: NDArray[np.uint8],
    scores: NDArray[np.float32],
    top: int,
) -> float:
    """Return the share of truly defrauded cards among the ``top`` highest of each day, on average.

    A card's score of a day is its highest, and so is its label. A card found on one day is not
    looked at again. Source: Fraud Detection Handbook, chapter 4, card precision top-k.
    """
    found: set[int] = set()
    shares = []
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        seen, place = np.unique(cards[rows], return_inverse=True)
        best = np.full(len(seen), -np.inf)
        truth = np.zeros(len(seen), np.int64)
        np.maximum.at(best, place, scores[rows])
        np.maximum.at(truth, place, labels[rows])
        fresh = np.array([int(card) not in found for card in seen], np.bool_)
        seen, best, truth = seen[fresh], best[fresh], truth[fresh]
        first = np.argsort(-best, kind="stable")[:top]
        shares.append(truth[first].sum() / top)
        found.update(seen[first][truth[first] == 1].tolist())
    return float(np.mean(shares))


def kolmogorov_smirnov(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """Return the largest distance between the score distributions of both kinds; NaN without."""
    hits, rows = _by_falling_score(labels, scores)
    frauds, genuine = int(hits[-1]), int(rows[-1] - hits[-1])
    if frauds == 0 or genuine == 0:
        return float("nan")
    return float(np.max(np.abs(hits / frauds - (rows - hits) / genuine)))


def precision_recall(
    labels: NDArray[np.uint8], scores: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return recall and precision when acting from each distinct score on, the highest first."""
    hits, rows = _by_falling_score(labels, scores)
    return hits / max(int(hits[-1]), 1), hits / rows


def caught_amounts(
    labels: NDArray[np.uint8], scores: NDArray[np.float32], amounts: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return genuine payments declined and money of frauds caught from each distinct score on.

    Parameters: labels u8[n], scores f32[n], amounts f64[n] in major units. The highest score first.
    """
    hits, rows = _by_falling_score(labels, scores)
    order = np.argsort(-scores, kind="stable")
    caught = np.cumsum(np.where(labels[order] > 0, amounts[order], 0.0))
    return rows - hits, caught[rows - 1]


class CalibrationBin(NamedTuple):
    """Payments of like stated probability: how many, what was stated, and what came."""

    payments: int
    stated: float
    observed: float


def calibration_bins(
    labels: NDArray[np.uint8], chances: NDArray[np.float64], most: int = 10
) -> list[CalibrationBin]:
    """Return bins of as many payments each, by rising probability; fewer where many are equal."""
    edges = np.unique(np.quantile(chances, np.linspace(0.0, 1.0, most + 1)[1:-1]))
    place = np.searchsorted(edges, chances, side="left")
    found = []
    for number in np.unique(place).tolist():
        chosen = place == number
        stated, observed = float(chances[chosen].mean()), float(labels[chosen].mean())
        found.append(CalibrationBin(int(chosen.sum()), stated, observed))
    return found
