"""Shared set-up of the suite: the kernel cache is chosen before anything imports Numba."""

from engine import kernel_cache

kernel_cache.configure()

import itertools  # noqa: E402
from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests.support import postgres  # noqa: E402
from tests.support.effort import examples  # noqa: E402
from tests.support.shared_switch import switch  # noqa: E402, F401 - a fixture

settings.register_profile(
    "de39",
    deadline=None,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("de39")


# Where tests take long or wait for processes: first, so that no worker ends alone with one of them.
_FIRST = ("properties/test_lifecycle.py", "adversity/", "system/", "properties/", "fuzz/", "bench/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; a worker of the suite takes them one by one in this order."""

    def place(item: pytest.Item) -> int:
        found = (n for n, part in enumerate(_FIRST) if f"tests/{part}" in item.nodeid)
        return next(found, len(_FIRST))

    items.sort(key=place)


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
