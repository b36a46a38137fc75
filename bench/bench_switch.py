"""pytest-benchmark cases of the switch: ``pytest bench/bench_switch.py``.

A round is a closed loop of half a second over loopback; what counts is the rate in ``extra_info``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.echo import echo_process
from bench.load_client import LoadRun, Plan, Source
from bench.switch_process import config_of, open_test_cards, switch_process, write_config
from bench.workload import Workload

_CARDS = 5_000
_ROUNDS = 3
_PLAN = Plan(in_flight=256, connections=4, seconds=0.5, warmup_s=0.2)


@pytest.fixture(scope="module")
def source() -> Source:
    """Return payments of all cards."""
    return Source(Workload(_CARDS, 1_000, 3, 7).orders())


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Serve the cards from a process of its own; yield where."""
    folder: Path = tmp_path_factory.mktemp("switch")
    path = write_config(folder, cards=_CARDS, authorizations=1 << 22)
    open_test_cards(config_of(path), _CARDS, np.full(_CARDS, 10**9, np.int64))
    with switch_process(path, lambda _text: None) as ports:
        yield ports.iso


def _measure(benchmark: Any, target: tuple[str, int], source: Source) -> None:
    rates: list[float] = []

    def one_round() -> None:
        plan = _PLAN._replace(first_number=1 + len(rates) * 100_000_000)
        result = LoadRun(target, source, plan).run()
        assert result.ok, "an answer was lost, doubled or swapped"
        rates.append(float(result.summary["tps"]))

    benchmark.pedantic(one_round, rounds=_ROUNDS)
    benchmark.extra_info["answers_per_second"] = rates


def test_switch(benchmark: Any, switch: tuple[str, int], source: Source) -> None:
    """Durable authorizations over four links."""
    _measure(benchmark, switch, source)


def test_echo_server(benchmark: Any, source: Source) -> None:
    """The same load on a server that only echoes."""
    with echo_process() as port:
        _measure(benchmark, ("127.0.0.1", port), source)
