"""Shared set-up of the suite: the kernel cache is chosen before anything imports Numba."""

from engine import kernel_cache

kernel_cache.configure()

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile(
    "de39", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("de39")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the kill loop run for longer than the suite's few rounds."""
    parser.addoption("--kill-rounds", type=int, help="rounds of kill -9 under load (default 5)")
