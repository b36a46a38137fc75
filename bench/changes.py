"""``de39 bench changes``: what reloads of rules and swaps of models cost the payments meanwhile.

One switch over loopback with traffic at a constant rate. Runs take turns: nothing changes, the rule
set is put in force anew again and again, two models take each other's place. Every payment of every
run must be answered once; the figures are the tails of the answer times.
"""

import base64
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from cyclopts import Parameter

from bench.figures import Figure, cost_figure, print_figures
from bench.load_client import LoadRun, Plan, Source
from bench.switch_process import Ports, config_of, open_test_cards, switch_process, write_config
from bench.workload import Workload
from engine.client_commands import Call, call_engine
from engine.command_options import Target
from engine.errors import ProblemFoundError, UsageError, run_command
from engine.limits import GIL_TURN_S
from engine.rules.program import default_rules_path
from scoring.registry import default_model_path, load_model, model_bytes, model_from_bytes

_LIMIT_MINOR = 10**9
_TAILS = ("p50_us", "p99_us")


class Change(NamedTuple):
    """A call of the API made ``times`` times in a run, evenly spread; ``call`` is told which."""

    name: str
    times: int
    call: Callable[[int], Call]


@run_command
def run(
    *,
    cards: int = 20_000,
    rate: float = 10_000.0,
    seconds: float = 20.0,
    reloads: int = 1_000,
    swaps: int = 100,
    runs: int = 3,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Measure answer times while rules are reloaded and models swapped, against none of it.

    Parameters
    ----------
    cards
        Accounts and cards opened first.
    rate
        Messages a second, at constant intervals.
    seconds
        Of each measured run; a second of warm-up goes before.
    reloads, swaps
        Changes of the rule set in each run of that kind, and of the model.
    runs
        Measured runs of each kind.
    json
        Print a JSON list.
    """
    if min(cards, reloads, swaps, runs) < 1 or min(rate, seconds) <= 0:
        raise UsageError("every number must be over 0")
    parent = Path.cwd() / "var"
    parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    plan = Plan(rate=rate, connections=2, seconds=seconds, warmup_s=1.0)
    orders = Workload(cards, max(1000, cards // 10), 3, 7).orders()
    changes = (None, _reload(reloads), _swap(swaps))
    seen: list[list[dict[str, Any]]] = [[], [], []]
    try:
        path = write_config(folder, cards=cards, authorizations=1 << 22)
        data = path.parent / config_of(path).data
        _say(f"opening {cards:,} cards")
        open_test_cards(config_of(path), cards, np.full(cards, _LIMIT_MINOR, np.int64))
        with switch_process(path, _say) as ports:
            for turn in range(3 * runs):
                kind = turn % 3
                number = 1 + turn * 100_000_000
                source = Source(orders)
                with _changing(changes[kind], ports, data, seconds):
                    result = LoadRun(ports.iso, source, plan._replace(first_number=number)).run()
                if not result.ok:
                    raise ProblemFoundError(f"answers went wrong: {result.summary}")
                seen[kind].append(result.summary)
                _say(f"run {turn + 1} of {3 * runs}: p99 {result.summary['p99_us']:,.0f} us")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_figures(_figures(seen, rate, (reloads, swaps)), as_json=json)


def _figures(
    seen: list[list[dict[str, Any]]], rate: float, counts: tuple[int, int]
) -> list[Figure]:
    names = f"{counts[0]:,} reloads of rules", f"{counts[1]:,} swaps of the model"
    return [
        cost_figure(
            f"{name} at {rate:,.0f}/s, {tail[:-3]}",
            "us",
            [float(one[tail]) for one in mine],
            f"no change, {tail[:-3]}",
            statistics.median(float(one[tail]) for one in seen[0]),
        )
        for name, mine in zip(names, seen[1:], strict=True)
        for tail in _TAILS
    ]


@contextmanager
def _changing(change: Change | None, ports: Ports, data: Path, seconds: float) -> Iterator[None]:
    """Make the calls of ``change`` from a thread of its own while the body runs."""
    if change is None:
        yield
        return
    target = Target(f"http://{ports.http[0]}:{ports.http[1]}", data)
    for turn in range(2):
        call_engine(change.call(turn), target)
    ended = threading.Event()
    sys.setswitchinterval(GIL_TURN_S)  # the calls must not hold the measuring loop up
    with ThreadPoolExecutor(1, "changes") as pool:
        made = pool.submit(_make, change, target, seconds / change.times, ended)
        try:
            yield
        finally:
            ended.set()
        if made.result() < change.times:
            raise ProblemFoundError(
                f"{made.result()} of {change.times} {change.name} were made: "
                "the machine is too slow, give more --seconds"
            )


def _make(change: Change, target: Target, share_s: float, ended: threading.Event) -> int:
    """Make the calls, one every ``share_s`` seconds or as fast as they go; return how many."""
    started = time.monotonic()
    for done in range(change.times):
        if ended.wait(max(0.0, started + done * share_s - time.monotonic())):
            return done
        call_engine(change.call(done), target)
    return change.times


def _reload(count: int) -> Change:
    """Two texts of one rule set take turns, so that each reload is a new version."""
    text = default_rules_path().read_text(encoding="utf-8")

    def call(turn: int) -> Call:
        body = {"text": f"{text}\n# {turn % 2}\n", "reason": "bench", "dry_run": False}
        return Call("POST", "/v1/rules", body)

    return Change("reloads", count, call)


def _swap(count: int) -> Change:
    """Two models take turns; the first call of each brings it, later ones name it."""
    first = load_model(default_model_path())
    meta = msgspec.structs.replace(first.meta, name="bench")
    files = model_bytes(first.forest, first.cuts, first.mcc_risk, meta), first.file_bytes()
    known: dict[int, str] = {}

    def call(turn: int) -> Call:
        which = turn % 2
        if which in known:
            return Call("POST", "/v1/models/promote", {"version": known[which]})
        known[which] = model_from_bytes(files[which]).sha256
        body = {"model": base64.b64encode(files[which]).decode()}
        return Call("POST", "/v1/models/promote", body)

    return Change("swaps", count, call)


def _say(text: str) -> None:
    sys.stderr.write(f"de39: {text}\n")
    sys.stderr.flush()
