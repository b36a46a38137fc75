"""pytest-benchmark cases of the core: ``pytest bench/bench_core.py``."""

from typing import Any

import pytest

from bench.core import Core, usual_stack_rate
from scoring.registry import default_model_path, load_model

_CARDS = 50_000
_ROUNDS = 20


@pytest.mark.parametrize("batch", [1, 64, 1_024])
def test_core(benchmark: Any, batch: int) -> None:
    """Every stage of one batch, new payments each round, in memory."""
    core = Core(_CARDS, batch, batch * (_ROUNDS + 1))
    benchmark.pedantic(core.play, args=(batch,), rounds=_ROUNDS, warmup_rounds=1)


def test_usual_stack(benchmark: Any) -> None:
    """A hundred payments of the stack one would otherwise build."""
    model = load_model(default_model_path())
    benchmark.pedantic(usual_stack_rate, args=(model, 100), rounds=3)
