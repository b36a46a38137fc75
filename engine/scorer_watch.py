"""SHELL: takes the scorer out of use while it fails or is slow, and tries it again later.

A scoring stage that fails leaves its payments to the stand-in at once (``engine.scorer``); after
TIMES_MAX failures, or as many batches in a row whose scoring took too long, the stand-in decides
everything until the scorer is tried again. Changes happen between two batches only, and each
record says whether the stand-in decided (flag STAND_IN).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.items import Setting
from engine.metrics import Counter, Gauge, Metrics
from engine.scorer import Scorer

TIMES_MAX = 3
_NS_A_MS, _NS_A_S = 1_000_000, 1_000_000_000

Told = Callable[[str, str], None]  # an event and its reason, for the log


class ScorerWatch:
    """Watches one scorer; owned by the loop's thread.

    Parameters
    ----------
    scorer, settings
        Of the authorizer; the setting SCORER_OFF is written here and nowhere else.
    metrics
        Counts failures and shows whether the scorer is out of use.
    """

    def __init__(self, scorer: Scorer, settings: NDArray[np.int64], metrics: Metrics) -> None:
        self._scorer = scorer
        self._settings = settings
        self._metrics = metrics
        self._slow_ns = 0
        self._retry_ns = 0
        self._failures = 0  # as of the last batch
        self._in_a_row = 0
        self._off_until_ns = 0
        self.told: Told | None = None

    def choose(self, scoring: Any) -> None:
        """Take ``slow_ms`` and ``retry_s`` of a section ``[scoring]``."""
        self._slow_ns = scoring.slow_ms * _NS_A_MS
        self._retry_ns = scoring.retry_s * _NS_A_S

    def before_batch(self, now_ns: int) -> None:
        """Try the scorer again when its time is over; ``now_ns`` is monotonic."""
        if self._off_until_ns and now_ns >= self._off_until_ns:
            self._off_until_ns = 0
            self._in_a_row = TIMES_MAX - 1  # one more and it is out again
            self._set("scorer.tried_again", "")

    def after_batch(self, took_ns: int, now_ns: int) -> None:
        """Judge a batch whose scoring took ``took_ns``; 0 or less = nothing was scored."""
        failed = self._scorer.failures - self._failures
        self._failures = self._scorer.failures
        self._metrics.counters[Counter.SCORER_FAILURES] = self._failures
        if failed:
            self._count("scorer.failed", self._scorer.failure, now_ns)
        elif self._scorer.model is None:
            return
        elif 0 < self._slow_ns < took_ns:
            self._count("scorer.slow", f"a batch took {took_ns // _NS_A_MS} ms", now_ns)
        elif took_ns > 0:
            self._in_a_row = 0

    def _count(self, event: str, reason: str, now_ns: int) -> None:
        self._in_a_row += 1
        if self._in_a_row >= TIMES_MAX:
            self._off_until_ns = max(now_ns + self._retry_ns, 1)
            self._set(event, reason)

    def _set(self, event: str, reason: str) -> None:
        """Write what the next batch goes by, show it and tell it."""
        is_off = self._off_until_ns > 0
        self._settings[Setting.SCORER_OFF] = is_off
        self._metrics.gauges[Gauge.SCORER_OFF] = is_off
        if self.told is not None:
            self.told(event, reason)
