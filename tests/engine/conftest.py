"""What several tests of the core share."""

from collections.abc import Iterator
from typing import Any

import pytest

from engine.wire.profile import Profile
from tests.support.judged import LIMIT
from tests.support.small_engine import TABLE, SmallEngine
from tests.support.streams import Player


@pytest.fixture
def profile() -> Iterator[Any]:
    """Return a function that turns switches of the shared dialect; they are put back."""
    plain = TABLE.profile.copy()

    def turn(**switches: int) -> None:
        for name, value in switches.items():
            TABLE.profile[:, Profile[name.upper()]] = value

    yield turn
    TABLE.profile[:] = plain


@pytest.fixture
def player() -> Player:
    """Return an engine with one account of 10,000 and two cards."""
    return Player(SmallEngine(1, 2, LIMIT, plain=True))
