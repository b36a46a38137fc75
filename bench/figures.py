"""What a benchmark reports: a figure against a named baseline of the same run, with spread.

Machines differ and drift, so a figure without its baseline says little. A figure is the median of
several runs; spread is (largest - smallest) / median of them.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """One measured figure; ``ratio`` is how many times better it is than the baseline."""

    name: str
    unit: str
    value: float
    baseline_name: str
    baseline_value: float
    ratio: float
    runs: int
    spread: float


def seconds_of_runs(work: Callable[[], object], runs: int) -> list[float]:
    """Return the wall seconds of each of ``runs`` calls of ``work``; one more is not counted."""
    work()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def rate_figure(
    name: str,
    unit: str,
    count: int,
    seconds: Sequence[float],
    baseline_name: str,
    baseline_rate: float,
) -> Figure:
    """Make the figure of ``count`` things done in each of ``seconds``: a rate, higher is better."""
    rates = [count / s for s in seconds]
    value = statistics.median(rates)
    spread = (max(rates) - min(rates)) / value
    ratio = value / baseline_rate
    return Figure(name, unit, value, baseline_name, baseline_rate, ratio, len(rates), spread)


def paired_figures(
    name: str, unit: str, pairs: Sequence[tuple[float, float]], baseline_name: str
) -> list[Figure]:
    """Make two figures of rates that were measured turn by turn with their baseline.

    Parameters
    ----------
    name, unit
        What was measured.
    pairs
        (rate, rate of the baseline just before it) of each turn.
    baseline_name
        What it is compared with.

    Returns
    -------
    list[Figure]
        The medians, with the median of the turns' own ratios: a machine that slows down slows both
        of a turn. Then, named ``.best``, the fastest turn of each: what others on the machine
        disturbed least.
    """
    rates = [rate for rate, _ in pairs]
    others = [other for _, other in pairs]
    value, other = statistics.median(rates), statistics.median(others)
    ratio = statistics.median(rate / other for rate, other in pairs)
    best = (max(rates), baseline_name, max(others), max(rates) / max(others))
    spread = (max(rates) - min(rates)) / value
    return [
        Figure(name, unit, value, baseline_name, other, ratio, len(rates), spread),
        Figure(f"{name}.best", unit, *best, len(rates), spread),
    ]


def cost_figure(
    name: str,
    unit: str,
    costs: Sequence[float],
    baseline_name: str,
    baseline_cost: float,
) -> Figure:
    """Make the figure of a cost measured several times (time a row, say): lower is better."""
    value = statistics.median(costs)
    spread = (max(costs) - min(costs)) / value
    ratio = baseline_cost / value
    return Figure(name, unit, value, baseline_name, baseline_cost, ratio, len(costs), spread)


def print_figures(figures: Sequence[Figure], *, as_json: bool) -> None:
    """Print the figures: one JSON list on the last line, or a table for people."""
    if as_json:
        sys.stdout.write(json.dumps(msgspec.to_builtins(list(figures))) + "\n")
        return
    for figure in figures:
        sys.stdout.write(
            f"{figure.name:<44} {figure.value:>14,.2f} {figure.unit:<14} "
            f"{figure.ratio:>8,.1f}x {figure.baseline_name} ({figure.baseline_value:,.2f}), "
            f"{figure.runs} runs, spread {figure.spread:.0%}\n"
        )
