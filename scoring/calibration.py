"""From margin to probability to action: Platt's line, and the score above which declining pays.

Platt 1999: the probability is sigmoid(slope * margin + offset), fitted on payments the trees have
not seen. Expected cost (Correa Bahnsen et al. 2013): a missed fraud costs its amount less what is
recovered, a declined genuine payment costs a stated sum of its segment.
"""

import numpy as np
from numpy.typing import NDArray

from scoring.errors import ModelError
from scoring.registry import Calibration, CostThreshold

RECOVERED_SHARE = 0.2  # of a fraud's amount that comes back
FALSE_DECLINE_MAJOR = {"present": 5.0, "not_present": 3.0}  # what declining a genuine one costs
_ITERATIONS_MAX = 50


def fit_platt(margins: NDArray[np.float32], labels: NDArray[np.uint8]) -> Calibration:
    """Return slope and offset for margins f32[n] and labels u8[n]; the line itself if unfittable.

    Fewer than ten of either kind, or a slope that would turn the order around, leave the model's
    own probability (slope 1, offset 0).
    """
    frauds = int(labels.sum())
    if min(frauds, len(labels) - frauds) < 10:
        return Calibration(1.0, 0.0, len(labels), frauds)
    inputs = np.column_stack((margins.astype(np.float64), np.ones(len(margins))))
    line = np.array([1.0, 0.0])
    for _ in range(_ITERATIONS_MAX):
        chance = 1.0 / (1.0 + np.exp(-np.clip(inputs @ line, -40.0, 40.0)))
        gradient = inputs.T @ (chance - labels)
        curve = (inputs * (chance * (1.0 - chance))[:, None]).T @ inputs + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, gradient)
        line = line - np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    slope, offset = round(float(line[0]), 9), round(float(line[1]), 9)
    if not slope > 0.0:
        return Calibration(1.0, 0.0, len(labels), frauds)
    return Calibration(slope, offset, len(labels), frauds)


def cost_thresholds(
    scores: NDArray[np.uint16],
    labels: NDArray[np.uint8],
    amounts: NDArray[np.float64],
    not_present: NDArray[np.bool_],
) -> tuple[CostThreshold, ...]:
    """Return for each segment the score from which declining costs least, and what it costs.

    Parameters: scores u16[n] in basis points, labels u8[n], amounts f64[n] in major units,
    not_present bool[n]. A segment without payments is left out.
    """
    found = []
    for segment, chosen in (("present", ~not_present), ("not_present", not_present)):
        if not chosen.any():
            continue
        price = FALSE_DECLINE_MAJOR[segment]
        score, cost, nothing = _cheapest(scores[chosen], labels[chosen], amounts[chosen], price)
        found.append(CostThreshold(segment, score, price, round(cost, 2), round(nothing, 2)))
    return tuple(found)


def _cheapest(
    scores: NDArray[np.uint16],
    labels: NDArray[np.uint8],
    amounts: NDArray[np.float64],
    price: float,
) -> tuple[int, float, float]:
    """Return (score, cost when declining from it on, cost when declining nothing)."""
    losses = np.where(labels > 0, amounts * (1.0 - RECOVERED_SHARE), 0.0)
    lost = np.bincount(scores, weights=losses, minlength=10_002)
    genuine = np.bincount(scores, weights=(labels == 0) * price, minlength=10_002)
    # Declining from score s on: frauds below s are lost, genuine payments from s on turned away.
    missed = np.concatenate(([0.0], np.cumsum(lost)[:-1]))
    refused = np.cumsum(genuine[::-1])[::-1]
    cost = missed + refused
    best = int(np.argmin(cost[::-1]))
    score = len(cost) - 1 - best
    return score, float(cost[score]), float(losses.sum())


def decline_pays(score_bp: int, amount_major: float, segment: str) -> bool:
    """Return whether declining this payment costs less than letting it pass, by expected cost."""
    if segment not in FALSE_DECLINE_MAJOR:
        raise ModelError(f"segment is {segment}, must be one of {', '.join(FALSE_DECLINE_MAJOR)}")
    chance = score_bp / 10_000
    loss = chance * amount_major * (1.0 - RECOVERED_SHARE)
    return loss > (1.0 - chance) * FALSE_DECLINE_MAJOR[segment]
