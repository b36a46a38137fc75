"""A journal under another rule set gives the decisions of a live run with that set."""

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.history import HistoryRun
from engine.rules.language import parse
from engine.rules.program import Program, program_from_file
from ledger.journal import Blob, BlobKind
from tests.support.draws import SECONDS_S, Traffic, stream
from tests.support.effort import examples
from tests.support.small_engine import SmallEngine
from tests.support.steps import play_steps
from tests.support.streams import Message, Player

pytestmark = pytest.mark.kernels

_TRAFFIC = Traffic(cards=6, accounts=3, advices=False)
# In seconds: where DE7 and STAN come again after days, the journal does not tell which was meant.
_WITH_IDS = replace(_TRAFFIC, ids=True, gaps_s=SECONDS_S)
_SAME = ("result", "hits_lo", "hits_hi", "response", "score", "otb_after_minor", "hold_after_minor")
_VELOCITY = program_from_file(
    parse("""
    rule V pre decline(65) "velocity" when count_12h >= 2.5 or mean_1h > 20.00
    rule S post shadow step_up "watched" when amount > 2 * mean_15d
    rule T pre tag seen "seen" when attempts_24h >= 2 and account.available < 400.00
    """)
)
_NONE = program_from_file(parse(""))


def _whole(step: Any) -> Any:
    """Return the step without DE95: of a reversal that gave nothing back no record says it."""
    if isinstance(step, Message) and "replacement" in step.request:
        kept = {name: value for name, value in step.request.items() if name != "replacement"}
        return replace(step, request=kept)
    return step


def _live(steps: list[Any], program: Program, size: int) -> Player:
    player = Player(SmallEngine(program=program, ring=1024))
    play_steps(player, steps, iter(lambda: size, 0))
    return player


def _payments(records: NDArray[np.void]) -> NDArray[np.void]:
    return records[records["kind"] <= 3]


def _again(player: Player, program: Program) -> NDArray[np.void]:
    """Return the payments of the player's journal as ``program`` decides them."""
    engine = SmallEngine(program=_NONE, ring=1024)
    originals = player.played.originals
    blobs = [Blob(row, BlobKind.ORIGINAL, identity) for row, identity in originals]
    blobs += [blob for blob in player.played.blobs if blob.kind == BlobKind.LIFECYCLE]
    run = HistoryRun(engine.authorizer, program)
    parts = [part.after for part in run.run(player.played.all_records(), blobs)]
    return np.concatenate(parts) if parts else np.zeros(0, player.played.all_records().dtype)


@settings(max_examples=examples(40))
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 20),
    st.booleans(),
    st.sampled_from([_TRAFFIC, _WITH_IDS]),
)
@example(591, 1, False, _TRAFFIC)  # a repeat ends one of two holds that are due
@example(306, 1, False, _TRAFFIC)  # a reversal names another card, and voids its own original
@example(8009, 1, False, _WITH_IDS)  # the id is of a payment of another amount
def test_a_journal_run_again_equals_the_live_run(
    seed: int, size: int, is_same: bool, traffic: Traffic
) -> None:
    """With a velocity rule that was not on, or with the rules that were: payment by payment."""
    steps = [_whole(step) for step in stream(Random(seed), traffic, 60)]
    recorded = _live(steps, _VELOCITY if is_same else _NONE, size)
    live = _payments(_live(steps, _VELOCITY, 7).played.all_records())
    again = _again(recorded, _VELOCITY)
    assert len(again) == len(live)
    for name in _SAME:
        np.testing.assert_array_equal(again[name], live[name], name)
