"""What benchmarks report: medians against a baseline, in one shape for people and tools."""

import json

import pytest

from bench.figures import (
    Figure,
    cost_figure,
    paired_figures,
    print_figures,
    rate_figure,
    seconds_of_runs,
)

RATE = Figure("frames", "frames/s", 200.0, "one by one", 50.0, 4.0, 3, 0.5)


def test_rate_is_the_median_and_higher_is_better() -> None:
    """100 things in 1, 0.5 and 0.4 s are 200/s, spread (250 - 100) / 200, 4 times 50/s."""
    figure = rate_figure("frames", "frames/s", 100, [1.0, 0.5, 0.4], "one by one", 50.0)
    assert figure == Figure("frames", "frames/s", 200.0, "one by one", 50.0, 4.0, 3, 0.75)


def test_cost_is_the_median_and_lower_is_better() -> None:
    """2 us where the baseline needs 50 us is 25 times better."""
    figure = cost_figure("row", "us", [2.0, 1.0, 4.0], "library", 50.0)
    assert figure == Figure("row", "us", 2.0, "library", 50.0, 25.0, 3, 1.5)


def test_pairs_are_compared_turn_by_turn() -> None:
    """The ratio is the median of each turn's own; the best of each side is told beside it."""
    pairs = [(100.0, 50.0), (10.0, 10.0), (60.0, 20.0)]
    middle, best = paired_figures("commits", "records/s", pairs, "bare")
    assert middle == Figure("commits", "records/s", 60.0, "bare", 20.0, 2.0, 3, 1.5)
    assert best == Figure("commits.best", "records/s", 100.0, "bare", 50.0, 2.0, 3, 1.5)


def test_first_run_is_not_counted() -> None:
    """The first call warms caches; each further one is timed."""
    calls: list[int] = []
    seconds = seconds_of_runs(lambda: calls.append(1), 3)
    assert len(calls) == 4
    assert len(seconds) == 3
    assert min(seconds) >= 0


def test_json_is_a_list_on_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Tools read one line: a list of figures with the promised keys, the headline first."""
    print_figures([RATE, RATE], as_json=True)
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads(lines[-1])
    assert len(lines) == 1
    assert len(figures) == 2
    assert list(figures[0]) == [
        "name",
        "unit",
        "value",
        "baseline_name",
        "baseline_value",
        "ratio",
        "runs",
        "spread",
    ]


def test_text_is_a_line_a_figure(capsys: pytest.CaptureFixture[str]) -> None:
    """People read name, value, unit, ratio, baseline, runs and spread on one line."""
    print_figures([RATE], as_json=False)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    for part in ("frames", "200.00", "frames/s", "4.0x", "one by one", "50.00", "3 runs", "50%"):
        assert part in line
