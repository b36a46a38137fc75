"""The two promises of the core: any cut gives the same records, and replay equals live state."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.replay import Replayer
from engine.state import EngineState
from ledger.accounts import identity_gap_minor
from ledger.authorizations import State
from ledger.snapshot import state_hash
from tests.support.effort import examples
from tests.support.small_engine import HASH_KEY, START_NS, TABLES, SmallEngine, frame

pytestmark = pytest.mark.kernels
PHASES = (Phase.explicit, Phase.generate)  # engines are large: shrinking takes minutes


@st.composite
def _messages(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """Few cards and few STANs, so that repeats, mismatches and reversals meet often."""
    ts_ns, frames = START_NS, []
    for _ in range(draw(st.integers(1, 24))):
        ts_ns += draw(st.sampled_from([0, 10**9, 7 * 10**9, 600 * 10**9]))
        card = draw(st.integers(1, 7))  # card 7 does not exist
        stan = draw(st.integers(1, 6))
        amount = draw(st.sampled_from(["000000000000", "000000000150", "000000030000", "9" * 12]))
        mti = draw(st.sampled_from(["0100", "0100", "0100", "0101", "0420", "0421", "0400"]))
        fields = {"de4": amount, "de22": draw(st.sampled_from(["051", "071", "812", "901"]))}
        if mti.startswith("04"):
            if draw(st.booleans()):
                fields["de90"] = f"0100{stan:06d}0601120000" + "42".zfill(11) + "0" * 11
            if draw(st.booleans()):
                fields["de95"] = "000000000100" + "0" * 12 + "D00000000" * 2
        elif draw(st.integers(0, 9)) == 0:
            fields["de49"] = ""  # mandatory: a format error
        frames.append((ts_ns, frame(mti, card, stan, **fields)))
    return frames


def _same(one: EngineState, other: EngineState) -> None:
    mine, theirs = one.arrays(), other.arrays()
    for name, array in mine.items():
        assert array.tobytes() == theirs[name].tobytes(), name
    assert state_hash(mine) == state_hash(theirs)


@settings(max_examples=examples(60), phases=PHASES)
@given(_messages(), st.lists(st.integers(1, 6), max_size=8))
def test_any_cut_gives_the_same_records_answers_and_state(
    frames: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    """One batch, any batches and one message at a time end in the same bytes."""
    whole, cut, single = SmallEngine(), SmallEngine(), SmallEngine()

    expected = whole.play(frames, [])
    for engine, sizes in ((cut, cuts), (single, [1] * len(frames))):
        records, originals, answers = engine.play(frames, sizes)
        assert expected[0].tobytes() == records.tobytes()
        assert expected[1] == originals
        assert expected[2] == answers
        _same(whole.state, engine.state)


@settings(max_examples=examples(60), phases=PHASES)
@given(_messages(), _messages(), st.sampled_from([64, 256]))
def test_replay_equals_live_state_and_answers_alike_afterwards(
    first: list[tuple[int, bytes]], second: list[tuple[int, bytes]], ring: int
) -> None:
    """The fold of the records is the live state, with a ring that wraps too, and goes on alike."""
    live, again = SmallEngine(ring=ring), SmallEngine(ring=ring)

    records, originals, _ = live.play(first, [5, 1, 9])
    Replayer(again.state, TABLES, HASH_KEY, chunk=7).apply(records, originals)

    _same(live.state, again.state)
    restored = SmallEngine(ring=ring)
    restored.state.restore({k: v.copy() for k, v in live.state.arrays().items()})
    _same(live.state, restored.state)
    # Within the life of a hold: where the expiry sweep looks next is not part of the state.
    after_ns = first[-1][0] - START_NS
    later = [(ts_ns + after_ns, data) for ts_ns, data in second]
    expected = live.play(later, [3])
    for engine in (again, restored):
        assert expected[2] == engine.play(later, [3])[2]


@settings(max_examples=examples(60), phases=PHASES)
@given(_messages())
def test_the_memo_book_balances_and_holds_add_up(frames: list[tuple[int, bytes]]) -> None:
    """LIMIT + PREPAID = OTB + HOLD + USED - OVER, and HOLD is the sum of what is held."""
    engine = SmallEngine()

    engine.play(frames, [1] * len(frames))

    accounts, ring = engine.state.accounts, engine.state.ring
    assert not identity_gap_minor(accounts).any()
    assert (accounts["otb_minor"] >= 0).all()
    assert (accounts["over_minor"] >= 0).all()
    is_open = ring["state"] == State.OPEN
    assert (ring["held_minor"] >= 0).all()
    for number in range(1, 4):
        held = ring["held_minor"][is_open & (ring["account"] == number)].sum()
        assert accounts["hold_minor"][number] == held
    assert not ring["held_minor"][~is_open & (ring["state"] != State.EMPTY)].any()


def test_nothing_wraps_near_the_largest_amount() -> None:
    """DE4 of twelve nines is declined for funds and leaves the book as it was."""
    engine = SmallEngine(plain=True)

    records, _, _ = engine.play([(START_NS, frame("0100", 1, 1, de4="9" * 12))], [])

    assert int(records["result"][0]) == 201
    assert np.int64(engine.state.accounts[1]["otb_minor"]) == 50_000
