"""pytest-benchmark cases of the rule kernels: ``pytest bench/bench_rules.py``."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.rules import bench_program, bench_rows, kernel_work


@pytest.mark.parametrize("rule_count", [20, 100])
@pytest.mark.parametrize("batch", [1, 64, 1_024])
def test_rules(benchmark: BenchmarkFixture, rule_count: int, batch: int) -> None:
    """Both phases and the verdict of one batch."""
    benchmark(kernel_work(bench_program(rule_count), bench_rows(batch), batch))
