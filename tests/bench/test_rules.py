"""The rule benchmark: it compares equal work and reports every case."""

import json

import pytest

from bench import rules

pytestmark = pytest.mark.kernels


def test_reports_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of us a row, the headline first, each against Python: two sets, then the curve."""
    rules.run(json=True, runs=1)
    found = json.loads(capsys.readouterr().out)
    assert found[0]["name"] == "100 rules x 4, batch 64"
    assert len(found) == 2 * 3 + 6
    assert {figure["unit"] for figure in found} == {"us/row"}
    assert {figure["baseline_name"] for figure in found} == {"Python per row"}


def test_rules_of_a_size_are_alike() -> None:
    """Every run measures the same rules and rows."""
    assert rules.bench_program(20).sha256 == rules.bench_program(20).sha256
    assert (rules.bench_rows(8) == rules.bench_rows(8)).all()
