"""Shared set-up of the suite: the kernel cache is chosen before anything imports Numba."""

from engine import kernel_cache

kernel_cache.configure()

import itertools  # noqa: E402
from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests.support import postgres  # noqa: E402

settings.register_profile(
    "de39", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("de39")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the kill loop run for longer than the suite's few rounds."""
    parser.addoption("--kill-rounds", type=int, help="rounds of kill -9 under load (default 5)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """Start one PostgreSQL for all tests that only need a database; skip without programs."""
    postgres.require_programs()
    place = postgres.place_for_servers()
    server = postgres.Server(place / "main").start()
    yield server
    server.stop()
    postgres.remove(place)


_numbers = itertools.count(1)


@pytest.fixture
def database(postgres_server: postgres.Server) -> postgres.Database:
    """Return a new, empty database of its own."""
    name = f"test_{next(_numbers)}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    return postgres.Database(postgres_server, name)
