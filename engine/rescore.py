"""History through the scorer again: the journal's payments with the features they had.

A replay that also reads each payment's features right before its card remembers it. So the journal
trains a model, measures a challenger as if it had run, and proves that every stored score and
feature hash comes out again.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.items import Role
from engine.replay import CHUNK_RECORDS, Replayer
from engine.state import EngineState
from engine.waves import unwind
from ledger.jit import allocating_kernel
from ledger.record import SCORE_NONE
from scoring.features import EXTRAS, FEATURES
from scoring.kernels import card_pass, card_update, feature_checks, score_bp, score_margins
from scoring.registry import MCC_COUNT, Model
from scoring.tables import Tables

_MCC_RISK = next(i for i, feature in enumerate(FEATURES) if feature.name == "mcc_risk")

# Told the scored payments of a chunk: RECORD (k,) and their features f32[k, n], mcc_risk at 0.
Sink = Callable[[NDArray[np.void], NDArray[np.float32]], None]


class Rescorer(Replayer):
    """A ``Replayer`` that hands the features of every scored payment to ``sink``."""

    def __init__(
        self,
        state: EngineState,
        tables: Tables,
        hash_key: NDArray[np.uint64],
        sink: Sink,
        chunk: int = CHUNK_RECORDS,
    ) -> None:
        super().__init__(state, tables, hash_key, chunk)
        self._sink = sink
        self._features = np.zeros((self._chunk, len(FEATURES)), np.float32)
        self._extras = np.zeros((self._chunk, len(EXTRAS)), np.float32)
        self._risk = np.zeros(MCC_COUNT, np.float32)

    def _remember(self, records: NDArray[np.void]) -> None:
        recall(
            len(records),
            self._items,
            self._payments,
            self._approved,
            self.state.ring,
            self.state.card_velocity,
            self._shared,
            self._tables.curves,
            self._tables.countries,
            self._risk,
            self._features,
            self._extras,
        )
        scored = np.flatnonzero(records["score"] != SCORE_NONE)
        scored = scored[self._items["role"][scored] == Role.AUTHORIZE]
        if len(scored):
            self._sink(records[scored], self._features[scored])


def features_for(
    model: Model, records: NDArray[np.void], features: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the rows as ``model`` reads them: with its own table of categories."""
    rows = np.ascontiguousarray(features).copy()
    rows[:, _MCC_RISK] = model.mcc_risk[np.minimum(records["mcc"], MCC_COUNT - 1)]
    return rows


def scores_of(model: Model, rows: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the scores u16[n] of rows made by ``features_for``."""
    forest, idx = model.forest, np.arange(len(rows), dtype=np.int32)
    margins, scores = np.zeros(len(rows), np.float32), np.zeros(len(rows), np.uint16)
    score_margins(rows, idx, forest.nodes, forest.leaves, forest.depth, forest.base, margins)
    score_bp(margins, idx, model.cuts, scores)
    return scores


class Agreement(NamedTuple):
    """How many stored scores were made again: all, alike in score, alike in hash, unknown model."""

    payments: int
    scores: int
    hashes: int
    unknown: int


class ScoreCheck:
    """A sink that makes every stored score and feature hash again, each with its own model."""

    def __init__(self, models: list[Model]) -> None:
        self._models = {model.version: model for model in models}
        self.agreement = Agreement(0, 0, 0, 0)
        self.first_difference = 0  # record number; 0 = none

    def __call__(self, records: NDArray[np.void], features: NDArray[np.float32]) -> None:
        """Take one chunk."""
        for version in np.unique(records["model_version"]).tolist():
            chosen = records["model_version"] == version
            own, model = records[chosen], self._models.get(version)
            if model is None:
                self._add(Agreement(len(own), 0, 0, len(own)))
                continue
            rows = features_for(model, own, features[chosen])
            checks = np.zeros(len(rows), np.uint32)
            feature_checks(rows, np.arange(len(rows), dtype=np.int32), checks)
            scores, hashes = scores_of(model, rows) == own["score"], checks == own["customer"]
            wrong = np.flatnonzero(~(scores & hashes))
            if len(wrong) and not self.first_difference:
                self.first_difference = int(own["seq"][wrong[0]])
            self._add(Agreement(len(own), int(scores.sum()), int(hashes.sum()), 0))

    def _add(self, more: Agreement) -> None:
        pairs = zip(self.agreement, more, strict=True)
        self.agreement = Agreement(*(a + b for a, b in pairs))


@allocating_kernel
def recall(
    count: int,
    items: NDArray[np.void],
    payments: NDArray[np.void],
    approved: NDArray[np.uint8],
    ring: NDArray[np.void],
    card_velocity: NDArray[np.void],
    shared: NDArray[np.float32],
    curves: NDArray[np.float64],
    countries: NDArray[np.int16],
    mcc_risk: NDArray[np.float32],
    features: NDArray[np.float32],
    extras: NDArray[np.float32],
) -> None:
    """Do ``engine.replay.remember`` and write each payment's features before its card moves on."""
    one = np.empty(1, np.int32)
    for i in range(count):
        one[0] = i
        if items[i]["record"] < 0:
            continue
        if items[i]["role"] == Role.AUTHORIZE:
            card_pass(
                payments, one, card_velocity, shared, curves, countries, mcc_risk, features, extras
            )
            card_update(payments, one, approved, card_velocity, curves)
        elif items[i]["role"] == Role.REVERSE:
            unwind(one, items, ring, card_velocity, curves)
