"""The scoring stage: the model in force, challengers in shadow, hashes and reasons.

A model is swapped between two batches by one assignment, so every payment of a batch is scored by
one model and its record says by which. Challengers score the same rows into columns of their own
and change nothing.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.items import Setting, StandIn
from engine.workspace import Workspace
from ledger.record import SCORE_NONE, Flag
from scoring.drift import TENTHS, count_bins, edges_of, psi
from scoring.features import FEATURES
from scoring.kernels import explain_rows, feature_checks, score_bp, score_margins
from scoring.registry import MCC_COUNT, Model

WATCHED_ROWS = 16  # of a wave whose features are counted: enough to see drift, and cheap
SCORE_SLOTS = 10_001  # of a histogram of scores in basis points


@dataclass(slots=True)
class Challenger:
    """A model in shadow and how its scores lie: ``counts`` i64[10001] by basis point."""

    model: Model
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(SCORE_SLOTS, np.int64))


class Scorer:
    """Scores payments of a workspace; owned by the authorizer's thread."""

    def __init__(self, model: Model | None, rows: int) -> None:
        self._edges: NDArray[np.float32] | None = None
        self.bins = np.zeros((len(FEATURES) + 1, TENTHS), np.int64)
        self.model = model
        self.challengers: dict[int, Challenger] = {}
        self.counts = np.zeros(SCORE_SLOTS, np.int64)
        self._margins = np.zeros(rows, np.float32)
        self._scores = np.zeros(rows, np.uint16)
        self._no_mcc_risk = np.zeros(MCC_COUNT, np.float32)
        self.failures = 0  # scoring stages that came to nothing
        self.failure = ""  # what was wrong with the last one

    @property
    def model(self) -> Model | None:
        """The model in force; assigned between two batches."""
        return self._model

    @model.setter
    def model(self, model: Model | None) -> None:
        spreads = () if model is None else model.meta.spreads
        self._model = model
        self._edges = edges_of(spreads) if len(spreads) == len(self.bins) else None
        self.bins[:] = 0

    def drift(self) -> dict[str, float]:
        """Return the stability index of every feature and the score since the model came."""
        if self._model is None or self._edges is None or not self.bins[-1].any():
            return {}
        pairs = zip(self._model.meta.spreads, self.bins, strict=True)
        return {spread.name: psi(spread, counts) for spread, counts in pairs}

    @property
    def version(self) -> int:
        """What records say of the model; 0 = none."""
        return 0 if self.model is None else self.model.version

    @property
    def mcc_risk(self) -> NDArray[np.float32]:
        """The category table of the model in force; zeros without one."""
        return self._no_mcc_risk if self.model is None else self.model.mcc_risk

    def score(
        self, work: Workspace, rows: NDArray[np.int32], settings: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Score the payments ``rows`` that no stand-in decides; return those that were scored.

        A failure, whatever it is, leaves all of them without a score and to the stand-in.
        """
        rows = _asked(work, rows, settings)
        if self.model is None or not len(rows):
            return rows[:0]
        try:
            self._score(self.model, work, rows)
        except Exception as problem:
            self.failures += 1
            self.failure = f"{type(problem).__name__}: {problem}".partition("\n")[0]
            work.scores[rows] = SCORE_NONE
            work.feature_checks[rows] = 0
            leave_to_stand_in(work, rows, settings)
            return rows[:0]
        return rows

    def _score(self, model: Model, work: Workspace, rows: NDArray[np.int32]) -> None:
        """Write margin, score and feature hash of ``rows``.

        A challenger reads the category table of the model in force: the column is made once.
        """
        feature_checks(work.features, rows, work.feature_checks)
        _scored(model, work.features, rows, work.margins, work.scores)
        if self._edges is not None:
            watched = rows[:WATCHED_ROWS]
            count_bins(work.features, work.scores, watched, self._edges, self.bins)
        if not self.challengers:
            return
        self.counts += np.bincount(work.scores[rows], minlength=SCORE_SLOTS)[:SCORE_SLOTS]
        for challenger in self.challengers.values():
            _scored(challenger.model, work.features, rows, self._margins, self._scores)
            challenger.counts += np.bincount(self._scores[rows], minlength=SCORE_SLOTS)

    def explain(self, work: Workspace, rows: NDArray[np.int32]) -> None:
        """Write the reasons of the payments ``rows`` that score high or that a rule acts on."""
        if self.model is None or not len(rows):
            return
        forest = self.model.forest
        explain_rows(
            work.features,
            rows,
            work.scores,
            work.verdicts,
            forest.nodes,
            forest.leaves,
            forest.means,
            forest.depth,
            work.reasons,
        )


def leave_to_stand_in(
    work: Workspace, rows: NDArray[np.int32], settings: NDArray[np.int64]
) -> None:
    """Mark payments that were to be scored and were not, and refuse those no stand-in takes.

    What ``engine.matching`` does when it is known beforehand; advices report what is done.
    """
    items = work.items
    rows = rows[(items["flags"][rows] & Flag.ADVICE) == 0]
    items["flags"][rows] |= np.uint32(Flag.STAND_IN)
    policy, is_refused = settings[Setting.STAND_IN], np.zeros(len(rows), np.bool_)
    if policy == StandIn.DECLINE:
        is_refused[:] = True
    elif policy == StandIn.FLOOR:
        is_refused = items["amount_minor"][rows] > settings[Setting.FLOOR_MINOR]
    is_refused &= items["decision"][rows] == Decision.APPROVED
    items["decision"][rows[is_refused]] = Decision.STAND_IN_DECLINED


def _asked(
    work: Workspace, rows: NDArray[np.int32], settings: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return those of ``rows`` that the scorer is asked about: no stand-in decides them."""
    if settings[Setting.SCORER_OFF]:
        return rows[:0]
    if not settings[Setting.STAND_IN_AFTER_MS]:
        return rows
    return rows[(work.items["flags"][rows] & Flag.STAND_IN) == 0]


def _scored(
    model: Model,
    features: NDArray[np.float32],
    rows: NDArray[np.int32],
    margins: NDArray[np.float32],
    scores: NDArray[np.uint16],
) -> None:
    forest = model.forest
    score_margins(features, rows, forest.nodes, forest.leaves, forest.depth, forest.base, margins)
    score_bp(margins, rows, model.cuts, scores)
