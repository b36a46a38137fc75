"""pytest-benchmark cases of the scorer: ``pytest bench/bench_score.py``."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.score import BATCHES, feature_work, kernel_work, score_case, xgboost_work


@pytest.mark.parametrize("batch", BATCHES)
def test_forest_kernel(benchmark: BenchmarkFixture, batch: int) -> None:
    """100 trees of depth 6 in the kernel."""
    benchmark(kernel_work(score_case(100), batch))


@pytest.mark.parametrize("batch", BATCHES)
def test_inplace_predict(benchmark: BenchmarkFixture, batch: int) -> None:
    """The same rows and trees in XGBoost."""
    benchmark(xgboost_work(score_case(100), batch))


@pytest.mark.parametrize("batch", BATCHES)
def test_features(benchmark: BenchmarkFixture, batch: int) -> None:
    """Merchant, card and update kernels over one batch."""
    benchmark(feature_work(batch))
