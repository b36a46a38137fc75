"""``--report FILE`` of ``de39 model train`` and ``evaluate``: one HTML page about measured scores.

Precision and recall, how scores lie, whether stated probabilities come true, what the features
weigh, and how much money is caught for how many genuine payments declined. No clock in it: the
same input gives the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import ProblemFoundError
from engine.report_page import COLORS, Curve, bars, page, plot, table
from scoring.forest import Forest
from scoring.metrics import (
    average_precision,
    calibration_bins,
    caught_amounts,
    precision_recall,
    roc_auc,
)
from scoring.shapley import Explainer

BUDGETS = (0.001, 0.0025, 0.005, 0.01, 0.02)  # shares of payments that are declined
IMPORTANCE_ROWS = 1_000
_POINTS_MAX = 400  # of a curve
_FEATURES_SHOWN = 20
_BINS = 40  # of scores
_SHARES = ("1e-5", "1e-4", "0.001", "0.01", "0.1", "1")
_FALSE_SHARE_MAX = 0.02  # of genuine payments declined: beyond it nobody goes
_COLORS = (COLORS[1], COLORS[2], COLORS[0])


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A model's scores of payments it was not trained on.

    ``labels`` u8[n], ``chances`` f64[n] stated probabilities of fraud, ``amounts`` f64[n] in major
    units; ``importance`` by feature, the heaviest first.
    """

    name: str
    labels: NDArray[np.uint8]
    chances: NDArray[np.float64]
    amounts: NDArray[np.float64]
    importance: list[tuple[str, float]] = field(default_factory=list)


def importance_of(
    forest: Forest, rows: NDArray[np.float32], names: Sequence[str]
) -> list[tuple[str, float]]:
    """Return the mean absolute Shapley value of each feature (log odds), the heaviest first.

    Of at most IMPORTANCE_ROWS of ``rows`` f32[n, k], evenly taken.
    """
    step = max(len(rows) // IMPORTANCE_ROWS, 1)
    chosen = np.ascontiguousarray(rows[::step][:IMPORTANCE_ROWS])
    means = np.abs(Explainer(forest).values(chosen)).mean(axis=0).tolist()
    return sorted(zip(names, means, strict=True), key=lambda pair: -pair[1])


def chances_of(
    margins: NDArray[np.float32], slope: float = 1.0, offset: float = 0.0
) -> NDArray[np.float64]:
    """Return sigmoid(slope * margin + offset)."""
    return 1.0 / (1.0 + np.exp(-(slope * margins.astype(np.float64) + offset)))


def write_report(
    path: Path, title: str, facts: Sequence[tuple[str, object]], found: Sequence[Measured]
) -> None:
    """Write the page; ProblemFoundError if it cannot be written."""
    try:
        path.write_text(report_of(title, facts, found), encoding="utf-8")
    except OSError as error:
        raise ProblemFoundError(f"{path}: cannot be written ({error.strerror})") from None


def report_of(title: str, facts: Sequence[tuple[str, object]], found: Sequence[Measured]) -> str:
    """Return the page about up to three models on payments of both kinds."""
    parts = [table(("", ""), facts), "<h2>Measures</h2>", _measures(found)]
    parts += ["<h2>Precision and recall</h2>", _precision_recall(found)]
    parts += ["<h2>How scores lie</h2>", *(_distribution(one) for one in found)]
    parts += ["<h2>Stated and observed probability</h2>", *(_calibration(one) for one in found)]
    parts += ["<h2>Caught amount against false declines</h2>", _caught(found)]
    parts += [_budget_table(one) for one in found]
    for one in found:
        if one.importance:
            parts.append(f"<h2>What features weigh: {one.name}</h2>")
            parts.append("<p>Mean absolute Shapley value, log odds.</p>")
            parts.append(bars(one.importance[:_FEATURES_SHOWN]))
    return page(title, parts)


def _measures(found: Sequence[Measured]) -> str:
    rows = []
    for one in found:
        scores = one.chances.astype(np.float32)
        frauds = int(one.labels.sum())
        both = 0 < frauds < len(one.labels)
        auc = f"{roc_auc(one.labels, scores):.4f}" if both else "-"
        precision = f"{average_precision(one.labels, scores):.4f}" if frauds else "-"
        rows.append((one.name, f"{len(one.labels):,}", f"{frauds:,}", auc, precision))
    return table(("model", "payments", "frauds", "AUC", "average_precision"), rows)


def _precision_recall(found: Sequence[Measured]) -> str:
    curves = []
    for one, color in zip(found, _COLORS, strict=False):
        recall, precision = precision_recall(one.labels, one.chances.astype(np.float32))
        curves.append(_curve(one.name, recall, precision, color))
    return plot(curves, "recall", "precision", 1.0)


def _distribution(one: Measured) -> str:
    """Draw the share of each kind of payment by score; logarithmic, since most are near 0."""
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    curves = []
    for name, kind, color in (("genuine", 0, COLORS[1]), ("fraud", 1, COLORS[2])):
        chosen = one.chances[one.labels == kind]
        counts = np.histogram(chosen, edges)[0] / max(len(chosen), 1)
        heights = np.log10(np.maximum(counts, 1e-5)) / 5.0 + 1.0
        curves.append(
            Curve(
                f"{one.name}: {name}",
                ((edges[:-1] + edges[1:]) / 2).tolist(),
                heights.tolist(),
                color,
            )
        )
    return plot(curves, "probability of fraud", "share of a kind", 1.0, y_ticks=_SHARES)


def _calibration(one: Measured) -> str:
    bins = calibration_bins(one.labels, one.chances)
    most = max(max(part.stated, part.observed) for part in bins)
    line = Curve("as stated", (0.0, most), (0.0, most), COLORS[0])
    came = [part.observed for part in bins]
    own = Curve(one.name, [part.stated for part in bins], came, COLORS[1])
    rows = [(f"{part.payments:,}", f"{part.stated:.3%}", f"{part.observed:.3%}") for part in bins]
    drawn = plot([line, own], "stated probability", "observed share of fraud", most, most)
    return drawn + table(("payments", "stated", "observed"), rows)


def _caught(found: Sequence[Measured]) -> str:
    curves = []
    for one, color in zip(found, _COLORS, strict=False):
        declined, caught = caught_amounts(one.labels, one.chances.astype(np.float32), one.amounts)
        genuine = max(int((one.labels == 0).sum()), 1)
        total = float(one.amounts[one.labels > 0].sum()) or 1.0
        inside = declined <= _FALSE_SHARE_MAX * genuine
        curves.append(_curve(one.name, declined[inside] / genuine, caught[inside] / total, color))
    across = "share of genuine payments declined"
    return plot(curves, across, "share of the frauds' amount caught", _FALSE_SHARE_MAX)


def _budget_table(one: Measured) -> str:
    """Return what declining each share of payments, the highest scores first, would have done."""
    order = np.argsort(-one.chances, kind="stable")
    frauds, lost = one.labels > 0, float(one.amounts[one.labels > 0].sum())
    rows = []
    for budget in BUDGETS:
        chosen = order[: max(round(budget * len(order)), 1)]
        hit = frauds[chosen]
        caught = float(one.amounts[chosen][hit].sum())
        rows.append(
            (
                f"{budget:.2%}",
                f"{one.chances[chosen[-1]]:.4f}",
                f"{len(chosen):,}",
                f"{int(hit.sum()):,}",
                f"{len(chosen) - int(hit.sum()):,}",
                f"{hit.mean():.1%}",
                f"{hit.sum() / max(int(frauds.sum()), 1):.1%}",
                f"{caught:,.2f}",
                f"{caught / (lost or 1.0):.1%}",
            )
        )
    head = (one.name, "from_score", "declined", "frauds", "false_declines", "precision", "recall",
            "caught_amount", "of_all_fraud")  # fmt: skip
    return table(head, rows)


def _curve(name: str, xs: NDArray[np.float64], ys: NDArray[np.float64], color: str) -> Curve:
    """Return a curve of at most _POINTS_MAX points, evenly along its rising ``xs``."""
    if len(xs) > _POINTS_MAX:
        wanted = np.linspace(xs[0], xs[-1], _POINTS_MAX)
        chosen = np.unique(np.searchsorted(xs, wanted, side="left"))
        xs, ys = xs[chosen], ys[chosen]
    return Curve(name, xs.tolist(), ys.tolist(), color)
