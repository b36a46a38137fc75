"""A scorer that fails or is slow is taken out of use between batches, and tried again."""

from random import Random

import numpy as np
import pytest

from engine import scorer as scoring_stage
from engine.items import Setting
from engine.metrics import BuildInfo, Counter, Gauge, Metrics
from engine.scorer_watch import TIMES_MAX, ScorerWatch
from engine.scoring_config import Scoring
from ledger.record import SCORE_NONE, Flag
from tests.support.labelled import Labelled

pytestmark = pytest.mark.kernels
MS, S = 10**6, 10**9


class Watched:
    """An engine that pays one payment a batch under a watch; the test is its clock."""

    def __init__(self) -> None:
        self.live = Labelled()
        authorizer = self.live.engine.authorizer
        self.metrics, self.events = Metrics(BuildInfo("", "")), list[tuple[str, str]]()
        self.watch = ScorerWatch(authorizer.scorer, authorizer.settings, self.metrics)
        self.watch.choose(Scoring(slow_ms=50, retry_s=10))
        self.watch.told = lambda event, reason: self.events.append((event, reason))
        self.settings = authorizer.settings
        self.now_ns = S

    def batch(self, took_ms: int = 1, after_s: int = 0) -> np.void:
        """Run a batch whose scoring seems to take so long; return its payment's record."""
        self.now_ns += after_s * S
        self.watch.before_batch(self.now_ns)
        self.live.pay(Random(1), 1, [])
        record = self.live.parts[-1][-1]
        was_scored = record["score"] != SCORE_NONE
        self.watch.after_batch(took_ms * MS if was_scored else 0, self.now_ns)
        return record

    @property
    def is_off(self) -> bool:
        """Whether the next batch goes without the scorer, as all places say."""
        told = {
            bool(self.settings[Setting.SCORER_OFF]),
            bool(self.metrics.gauges[Gauge.SCORER_OFF]),
        }
        assert len(told) == 1
        return told.pop()


def test_slow_batches_in_a_row_hand_over_to_the_stand_in() -> None:
    """Three in a row and no fewer; payments are marked and not scored until the time is over."""
    watched = Watched()
    for took in (51, 60, 50, 51, 51):  # 50 ms are not too long
        watched.batch(took)
        assert not watched.is_off
    watched.batch(51)
    assert watched.is_off
    assert watched.events == [("scorer.slow", "a batch took 51 ms")]
    record = watched.batch(after_s=9)
    assert record["score"] == SCORE_NONE
    assert record["flags"] & Flag.STAND_IN
    record = watched.batch(after_s=1)
    assert record["score"] != SCORE_NONE
    assert not record["flags"] & Flag.STAND_IN
    assert watched.events[1:] == [("scorer.tried_again", "")]
    for _ in range(TIMES_MAX):
        watched.batch(51)  # quick once, so it has three tries again
    assert watched.is_off


def test_slow_again_at_once_is_out_at_once() -> None:
    """Tried again, one slow batch is enough."""
    watched = Watched()
    for _ in range(TIMES_MAX):
        watched.batch(99)
    watched.batch(99, after_s=10)
    assert watched.is_off
    assert [event for event, _ in watched.events] == [
        "scorer.slow", "scorer.tried_again", "scorer.slow",
    ]  # fmt: skip


def test_failures_take_it_out_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failure leaves its batch to the stand-in; the third one all that follow."""
    watched = Watched()

    def broken(*_: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(scoring_stage, "_scored", broken)
        for number in range(TIMES_MAX):
            assert not watched.is_off
            record = watched.batch()
            assert (record["score"], record["customer"], record["reasons"]) == (SCORE_NONE, 0, 0)
            assert record["flags"] & Flag.STAND_IN
            assert watched.metrics.counters[Counter.SCORER_FAILURES] == number + 1
        assert watched.is_off
    assert watched.events == [("scorer.failed", "MemoryError: no room")]
    assert watched.batch(after_s=10)["score"] != SCORE_NONE
    assert not watched.is_off


def test_nothing_is_too_slow_when_nobody_says_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """slow_ms = 0 never hands over; batches without payments say nothing either way."""
    watched = Watched()
    watched.watch.choose(Scoring(slow_ms=0))
    for _ in range(5):
        watched.batch(60_000)
    assert not watched.is_off
    watched.watch.choose(Scoring(slow_ms=50))
    for took in (51, 51):
        watched.batch(took)
    watched.watch.after_batch(-1, watched.now_ns)
    watched.batch(51)
    assert watched.is_off


def test_an_engine_without_a_model_has_nothing_to_lose() -> None:
    """A machine that stands still is no slow scorer where there is none."""
    watched = Watched()
    watched.live.engine.authorizer.scorer.model = None
    for _ in range(5):
        watched.watch.after_batch(60_000 * MS, watched.now_ns)
    assert not watched.is_off
