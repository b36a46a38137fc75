"""``de39 bench switch``: durable authorizations a second over loopback, load generator included.

The switch is a process of its own with files on disk; this process is the load generator. The
baseline is the echo server on the same event loop, which answers without deciding or storing
anything, loaded in the same way in the same run.
"""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.echo import echo_process
from bench.figures import Figure, cost_figure, print_figures
from bench.load_client import LoadRun, Plan, Source
from bench.switch_process import config_of, open_test_cards, switch_process, write_config
from bench.workload import Workload
from engine.command_options import Flag
from engine.errors import ProblemFoundError, UsageError, run_command

_LIMIT_MINOR = 10**9
_HALF = 0.5


@run_command
def run(
    *,
    cards: int = 100_000,
    connections: int = 4,
    in_flight: int = 1024,
    seconds: float = 3.0,
    runs: int = 3,
    json: Flag = False,
) -> None:
    """Measure the switch: closed loop for its ceiling, open loop at half of it for latency.

    Parameters
    ----------
    cards
        Accounts and cards opened first.
    connections, in_flight
        Links, and payments in flight on each.
    seconds
        Of each measured run; a second of warm-up goes before.
    runs
        Measured runs of each kind.
    json
        Print a JSON list, the headline figure first.
    """
    if min(cards, connections, in_flight, runs) < 1 or seconds <= 0:
        raise UsageError("every number must be over 0")
    parent = Path.cwd() / "var"
    parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    orders = Workload(cards, max(1000, cards // 10), 3, 7).orders()
    closed = Plan(in_flight=in_flight, connections=connections, seconds=seconds, warmup_s=1.0)
    try:
        config_path = write_config(folder, cards=cards, authorizations=1 << 24)
        _say(f"opening {cards:,} cards")
        open_test_cards(config_of(config_path), cards, np.full(cards, _LIMIT_MINOR, np.int64))
        with echo_process() as port:
            echo = [_load(("127.0.0.1", port), orders, closed, n) for n in range(runs)]
        _say(f"echo server: {_median(echo, 'tps'):,.0f}/s")
        with switch_process(config_path, _say) as ports:
            top = [_load(ports.iso, orders, closed, n) for n in range(runs)]
            rate = _median(top, "tps") * _HALF
            _say(f"switch: {_median(top, 'tps'):,.0f}/s; open loop at {rate:,.0f}/s")
            half = closed._replace(rate=rate, in_flight=0)
            calm = [_load(ports.iso, orders, half, runs + n) for n in range(runs)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures = [
        _rate(f"switch, closed loop, {connections} links, durable", top, "echo server", echo),
        *(
            cost_figure(
                f"switch at half its ceiling, {name[:-3]}",
                "us",
                [float(one[name]) for one in calm],
                f"echo server at its ceiling, {name[:-3]}",
                _median(echo, name),
            )
            for name in ("p50_us", "p99_us", "p999_us")
        ),
    ]
    print_figures(figures, as_json=json)


def _load(target: tuple[str, int], orders: NDArray[Any], plan: Plan, number: int) -> dict[str, Any]:
    """Run once; every message must be answered once."""
    plan = plan._replace(first_number=1 + number * 100_000_000)
    result = LoadRun(target, Source(orders), plan).run()
    if not result.ok:
        wrong = {k: result.summary[k] for k in ("lost", "doubled", "swapped", "errors")}
        raise ProblemFoundError(f"the run went wrong: {wrong} {result.broken}")
    return result.summary


def _rate(
    name: str, runs: list[dict[str, Any]], baseline: str, others: list[dict[str, Any]]
) -> Figure:
    rates = [float(one["tps"]) for one in runs]
    value, other = statistics.median(rates), _median(others, "tps")
    spread = (max(rates) - min(rates)) / value
    return Figure(name, "auth/s", value, baseline, other, value / other, len(rates), spread)


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(float(one[name]) for one in runs)


def _say(text: str) -> None:
    sys.stderr.write(f"de39: {text}\n")
    sys.stderr.flush()
