"""What the tests of adversity share."""

import os

import pytest

_ROUNDS = 5
_FAULT_ROUNDS = 20


@pytest.fixture(scope="session")
def kill_rounds(pytestconfig: pytest.Config) -> int:
    """Return how often the kill loop kills: --kill-rounds, else DE39_KILL_ROUNDS, else 5."""
    given = pytestconfig.getoption("--kill-rounds", default=None)
    return int(given or os.environ.get("DE39_KILL_ROUNDS") or _ROUNDS)


@pytest.fixture(scope="session")
def fault_rounds() -> int:
    """Return the rounds of the kill points and of random power losses: DE39_FAULT_ROUNDS, or 20."""
    return int(os.environ.get("DE39_FAULT_ROUNDS") or _FAULT_ROUNDS)
