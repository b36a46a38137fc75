"""The whole life of authorizations against a naive oracle with exact arithmetic: I1 to I9.

Messages of all kinds, clearing and repayment files, limits and time, in any order; profiles too.
``DE39_HISTORIES`` sets how many histories are run (4,000 for a long run).
"""

import os
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from engine.wire.profile import Profile
from tests.support.effort import examples
from tests.support.histories import ACCOUNTS, History, profiles

pytestmark = pytest.mark.kernels

HISTORIES = int(os.environ.get("DE39_HISTORIES", "0"))
_TIMEOUT_S = 7200 if HISTORIES else 300
_EVENTS = 1000
_seeds = st.integers(0, 2**32 - 1)


class Lifecycle(RuleBasedStateMachine):
    """Every rule takes one step; the history checks the invariants after each."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History()

    @rule(seed=_seeds)
    def message(self, seed: int) -> None:
        """A card message, answered before the next."""
        self.history.say(Random(seed))
        self.history.flush()

    @rule(seeds=st.lists(_seeds, min_size=2, max_size=9))
    def batch(self, seeds: list[int]) -> None:
        """Several messages in one batch."""
        for seed in seeds:
            self.history.say(Random(seed))
        self.history.flush()

    @rule(seed=_seeds)
    def undo(self, seed: int) -> None:
        """The reversal of something captured, by file or by message."""
        self.history.undo(Random(seed))
        self.history.flush()

    @rule(seed=_seeds, count=st.integers(1, 5))
    def file(self, seed: int, count: int) -> None:
        """Items of clearing and repayment."""
        self.history.file(Random(seed), count)

    @rule(account=st.integers(1, ACCOUNTS), limit=st.sampled_from([0, 100, 25_000, 90_000]))
    def limit(self, account: int, limit: int) -> None:
        """Event 23."""
        self.history.limit(account, limit)

    @rule(seconds=st.sampled_from([1, 60, 3_600, 25 * 3_600, 8 * 86_400]))
    def wait(self, seconds: int) -> None:
        """Time passes; holds fall due."""
        self.history.wait(seconds)

    @rule()
    def resend(self) -> None:
        """I7: duplicates change nothing."""
        self.history.resend()

    def teardown(self) -> None:
        """I8 and I9."""
        self.history.end()
        self.history.close()


Lifecycle.TestCase.settings = settings(
    max_examples=HISTORIES or examples(12), stateful_step_count=40, deadline=None
)
TestLifecycle = pytest.mark.timeout(_TIMEOUT_S)(Lifecycle.TestCase)


def test_a_reversal_of_another_amount_waits_for_the_completion_that_it_names() -> None:
    """The completion came in the same batch and belongs to a payment that is closed already."""
    history = Lifecycle()
    for seeds in ([0] * 8, [0, 4, 0, 20_911], [0, 0, 0, 0, 3_633_129_615, 0, 984]):
        history.batch(seeds=seeds)
    history.teardown()


def _play(seed: int, events: int) -> None:
    random = Random(seed)
    history = History(profile=profiles(random) if seed % 2 else None)
    try:
        done = 0
        while done < events:
            step = random.random()
            if step < 0.75:
                history.say(random)
                done += 1
                if len(history.waiting) >= 40:
                    history.flush()
            elif step < 0.79:
                history.undo(random)
                done += 1
            elif step < 0.9:
                count = random.randint(1, 4)
                history.file(random, count)
                done += count
            elif step < 0.93:
                history.limit(random.randint(1, ACCOUNTS), random.choice([0, 100, 90_000]))
                done += 1
            elif step < 0.95:
                history.resend()
            else:
                history.wait(random.choice([1, 60, 3_600, 3_600, 25 * 3_600, 8 * 86_400]))
        history.end()
    finally:
        history.close()


@pytest.mark.timeout(_TIMEOUT_S)
def test_a_hundred_thousand_events_leave_no_invariant_broken() -> None:
    """Long histories, half of them under a drawn profile, in batches of up to 40 messages."""
    for seed in range(HISTORIES or examples(100)):
        _play(seed, _EVENTS)


def test_every_switch_of_the_profile_is_played() -> None:
    """The drawn profiles turn every switch that moves money both on and off."""
    seen = [profiles(Random(seed)) for seed in range(1, 100, 2)]
    for switch in (Profile.INCREMENTAL, Profile.PARTIAL_APPROVAL, Profile.CAPTURED_REVERSAL):
        assert len({profile[switch] for profile in seen}) == 2
