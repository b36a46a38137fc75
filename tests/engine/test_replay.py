"""What replay refuses; that it gives the live state is in tests/properties/test_fold.py."""

from random import Random

import numpy as np
import pytest

from engine.events import event_record
from engine.replay import Replayer, ReplayError
from engine.state import Bounds, EngineState
from ledger.record import Kind
from tests.support.draws import SECONDS_S, Traffic, stream
from tests.support.small_engine import HASH_KEY, START_NS, TABLES, SmallEngine
from tests.support.streams import Player

pytestmark = pytest.mark.kernels

_BRIEF = Traffic(cards=6, accounts=3, stans=30, merchants=9, events=False, gaps_s=SECONDS_S)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("otb_after_minor", 1, "open to buy or hold"),
        ("seq", 99, "does not follow"),
        ("ref_seq", 77, "is not there"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_by_number(
    name: str, value: int, reason: str
) -> None:
    """A changed record is named, with what is wrong with it."""
    live = Player(SmallEngine(plain=True), (False,))
    live.play([m for m in stream(Random(8), _BRIEF, 20) if m.link == 0])
    records = live.played.all_records()
    row = int(np.flatnonzero(records["account"] != 0)[2])
    number = int(records[row]["seq"])
    records[row][name] = value
    again = SmallEngine(plain=True)

    with pytest.raises(ReplayError, match=reason) as caught:
        Replayer(again.state, TABLES, HASH_KEY).apply(records, live.played.originals)

    assert str(number if name != "seq" else value) in str(caught.value)


def test_an_event_past_a_bound_names_the_limit() -> None:
    """Accounts and cards that the tables cannot hold are refused with what to raise."""
    state = EngineState(Bounds(2, 2, 4, 16))
    opened = event_record(Kind.ACCOUNT_OPEN, START_NS, account=3, amount_minor=1, status=1, seq=1)

    with pytest.raises(ReplayError, match=r"record 1: .*limits\.accounts_max"):
        Replayer(state, TABLES, HASH_KEY).apply(opened, [])


def test_a_ring_too_small_for_the_open_holds_names_the_limit() -> None:
    """Replay never forgets an open hold: with a smaller ring it says which limit to raise."""
    live = Player(SmallEngine(plain=True, limit_minor=10**9), (False,))
    many = Traffic(cards=6, accounts=3, stans=900_000, events=False, gaps_s=SECONDS_S)
    live.play([m for m in stream(Random(1), many, 60) if m.link == 0])
    again = SmallEngine(plain=True, limit_minor=10**9, ring=16)

    with pytest.raises(ReplayError, match="authorizations_max"):
        Replayer(again.state, TABLES, HASH_KEY).apply(
            live.played.all_records(), live.played.originals
        )
