"""Reports of models: every section with its plot, figures that are right, the same bytes again."""

import re
from pathlib import Path

import numpy as np
import pytest
import xgboost

from bench.model_report import (
    BUDGETS,
    Measured,
    chances_of,
    importance_of,
    report_of,
    write_report,
)
from engine.errors import ProblemFoundError
from scoring.forest import forest_from_booster

SECTIONS = (
    "Measures", "Precision and recall", "How scores lie", "Stated and observed probability",
    "Caught amount against false declines", "What features weigh: one",
)  # fmt: skip


def _measured(name: str = "one") -> Measured:
    rng = np.random.default_rng(5)
    labels = (rng.random(4_000) < 0.05).astype(np.uint8)
    margins = (rng.normal(size=4_000) + 3.0 * labels - 4.0).astype(np.float32)
    amounts = np.where(labels > 0, 100.0, 10.0)
    return Measured(name, labels, chances_of(margins), amounts, [("amount", 0.5), ("hour", 0.25)])


def test_every_section_is_there() -> None:
    """Seven plots of one model; the same input is the same page."""
    found = report_of("a title", [("seed", 3)], [_measured()])
    assert found == report_of("a title", [("seed", 3)], [_measured()])
    assert all(f"<h2>{section}</h2>" in found for section in SECTIONS)
    assert found.count("<svg") == 5
    assert "<td>seed<td>3" in found
    assert len(found) < 200_000


def test_two_models_share_their_plots() -> None:
    """Precision, recall and caught amount of both are in one drawing each."""
    found = report_of("two", [], [_measured("one"), _measured("two")])
    assert found.count("<svg") == 8
    shared = found.partition("<h2>Precision and recall</h2>")[2].partition("<h2>")[0]
    assert shared.count("<polyline") == 2


def test_budgets_say_what_declining_would_have_done() -> None:
    """Of the highest 0.5 % of 4,000 payments: 20 declined, frauds of 100.00 caught."""
    one = _measured()
    row = re.search(r"<tr><td>0\.50%<td>(.*?)(?:<tr>|</table>)", report_of("t", [], [one]))
    assert row is not None
    cells = row[1].split("<td>")
    order = np.argsort(-one.chances, kind="stable")[:20]
    hits = int(one.labels[order].sum())
    assert cells[1:4] == ["20", str(hits), str(20 - hits)]
    assert cells[6] == f"{100 * hits:,.2f}"
    assert len(BUDGETS) == 5


def test_importance_is_heaviest_first() -> None:
    """The feature that makes the label weighs most, one that trees do not read nothing."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(3_000, 3)).astype(np.float32)
    options = {"objective": "binary:logistic", "max_depth": 2, "base_score": 0.5, "nthread": 1}
    booster = xgboost.train(options, xgboost.DMatrix(rows, rows[:, 1] > 0), 5)
    found = importance_of(forest_from_booster(booster), rows, ("a", "b", "c"))
    assert found[0][0] == "b"
    assert found[0][1] > 1.0
    assert [value for _, value in found] == sorted((v for _, v in found), reverse=True)


def test_only_one_kind_of_payment_draws(tmp_path: Path) -> None:
    """No frauds among what was held out: the page says so with a dash."""
    one = _measured()
    none = Measured("one", np.zeros_like(one.labels), one.chances, one.amounts)
    path = tmp_path / "r.html"
    write_report(path, "t", [], [none])
    assert "<td>4,000<td>0<td>-<td>-" in path.read_text(encoding="utf-8")
    with pytest.raises(ProblemFoundError, match="cannot be written"):
        write_report(tmp_path / "no" / "r.html", "t", [], [none])
