"""The published protocol on a stream of card payments, and both feature sets that it compares.

Source: Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for Credit Card
Fraud Detection", chapters 3 to 5: a model is trained on some days, labels take some days to come,
and the days after are the test. A card known to be defrauded by then is no longer in the test. The
published tables are reached by XGBoost only with exact splits and a base score of 0.5.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.handbook_kernels import card_windows, delayed_windows
from bench.traffic import Traffic
from engine.errors import ProblemFoundError
from scoring.forest import Forest, forest_from_booster
from scoring.metrics import average_precision, card_precision, roc_auc
from scoring.payment import PAYMENT
from scoring.train import boosted, compute_features

DAY_S = 86_400
FOLDS = 4  # of the prequential protocol, each a test span later than the one before
TOP_CARDS = 100  # cards a day that investigators look at
PUBLISHED = (
    "amount",
    "weekend",
    "night",
    *(f"card_{what}_{days}d" for days in (1, 7, 30) for what in ("count", "mean")),
    *(f"terminal_{what}_{days}d" for days in (1, 7, 30) for what in ("count", "risk")),
)
_WINDOWS_S = np.array([1, 7, 30], np.int64) * DAY_S

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Split:
    """Which days a model learns from, how long labels take, and which days it is tested on."""

    train_from: int  # day of the stream, from 0
    train_days: int = 7
    delay_days: int = 7
    test_days: int = 7

    @property
    def end(self) -> int:
        """The day after the last one of the test."""
        return self.train_from + self.train_days + self.delay_days + self.test_days


@dataclass(frozen=True, slots=True)
class Recipe:
    """How XGBoost is asked to learn."""

    trees: int
    learning_rate: float
    depth: int


DEFAULTS = Recipe(100, 0.3, 6)  # what XGBoost 1.x did when nobody said anything: the single split
CHOSEN = Recipe(100, 0.1, 3)  # the best of the published grid: the prequential table


@dataclass(frozen=True, slots=True)
class Quality:
    """Area under the ROC curve, average precision, card precision of the daily top hundred."""

    auc: float
    ap: float
    cp100: float


class Trial(NamedTuple):
    """What came of a split: measures, margins f32[test rows], and the trees."""

    quality: Quality
    margins: NDArray[np.float32]
    forest: Forest


def split_rows(traffic: Traffic, split: Split) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows (i64) of training and of test; ProblemFoundError if either is empty."""
    day = traffic.t_seconds // DAY_S
    fraud = traffic.scenario > 0
    first_test = split.train_from + split.train_days + split.delay_days
    train = np.flatnonzero((day >= split.train_from) & (day < split.train_from + split.train_days))
    known = np.zeros(traffic.customers, np.bool_)
    known[traffic.customer[train[fraud[train]]]] = True
    parts = []
    for number in range(split.test_days):
        labelled = day == split.train_from + split.train_days + number - 1
        known[traffic.customer[labelled & fraud]] = True
        rows = np.flatnonzero(day == first_test + number)
        parts.append(rows[~known[traffic.customer[rows]]])
    test = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    for name, rows in (("training", train), ("test", test)):
        frauds = int(fraud[rows].sum())
        if not 0 < frauds < len(rows):
            raise ProblemFoundError(
                f"{name} of days {split.train_from} to {split.end - 1} has {len(rows)} payments "
                f"and {frauds} frauds; need both kinds"
            )
    return train, test


def folds(split: Split, traffic: Traffic) -> list[Split]:
    """Return up to FOLDS splits, one test span apart, that end within the stream."""
    last_day = int(traffic.t_seconds[-1]) // DAY_S
    later = [
        replace(split, train_from=split.train_from + number * split.test_days)
        for number in range(FOLDS)
    ]
    return [fold for fold in later if fold.end <= last_day + 1]


def published_features(traffic: Traffic, delay_days: int = 7) -> NDArray[np.float64]:
    """Return f64[n, 15], the columns of PUBLISHED: exact windows of card and terminal."""
    count, t_s = len(traffic), traffic.t_seconds
    cards, terminals = np.zeros((count, 6)), np.zeros((count, 6))
    entity = traffic.customer.astype(np.int64)
    order = np.argsort(entity, kind="stable")
    card_windows(order, entity, t_s, traffic.amount_cents, _WINDOWS_S, cards)
    cards[:, 1::2] /= 100.0
    entity = traffic.terminal.astype(np.int64)
    order = np.argsort(entity, kind="stable")
    fraud = (traffic.scenario > 0).astype(np.int64)
    delayed_windows(order, entity, t_s, fraud, _WINDOWS_S, delay_days * DAY_S, terminals)
    moment = t_s + traffic.start_s
    own = np.empty((count, 3))
    own[:, 0] = traffic.amount_cents / 100.0
    own[:, 1] = (moment // DAY_S + 3) % 7 >= 5
    own[:, 2] = moment // 3_600 % 24 <= 6
    return np.concatenate((own, cards, terminals), axis=1)


def own_features(
    traffic: Traffic, delay_days: int = 7, progress: Progress | None = None
) -> NDArray[np.float32]:
    """Return f32[n, k] of the engine's own kernels over the bare stream.

    The stream has amount, time, card and terminal; category, country and entry mode stay 0.
    """
    payments = np.zeros(len(traffic), PAYMENT)
    payments["t_s"] = traffic.t_seconds + traffic.start_s
    payments["amount_minor"] = traffic.amount_cents
    payments["card"] = traffic.customer + 1
    payments["merchant"] = traffic.terminal + 1
    payments["exponent"] = 2
    features, _, _ = compute_features(
        payments,
        None,
        traffic.customers + 1,
        traffic.terminals + 1,
        1,
        labels=(traffic.scenario > 0).astype(np.uint8),
        label_delay_s=delay_days * DAY_S,
        progress=progress,
    )
    return features


def trial(
    features: NDArray[np.float32],
    traffic: Traffic,
    split: Split,
    recipe: Recipe,
    *,
    threads: int = 2,
    progress: Progress | None = None,
) -> Trial:
    """Train on the split's first days, score its last ones."""
    train, test = split_rows(traffic, split)
    labels = (traffic.scenario > 0).astype(np.uint8)
    booster: Any = boosted(
        np.ascontiguousarray(features[train]),
        labels[train],
        seed=0,
        trees=recipe.trees,
        depth=recipe.depth,
        learning_rate=recipe.learning_rate,
        threads=threads,
        progress=progress,
    )
    margins = np.asarray(booster.inplace_predict(features[test], predict_type="margin"))
    return Trial(quality(traffic, test, margins), margins, forest_from_booster(booster))


def quality(traffic: Traffic, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> Quality:
    """Return the three published measures of scores f32[k] of the payments ``rows``."""
    labels = (traffic.scenario[rows] > 0).astype(np.uint8)
    return Quality(
        roc_auc(labels, scores),
        average_precision(labels, scores),
        card_precision(
            traffic.t_seconds[rows] // DAY_S, traffic.customer[rows], labels, scores, TOP_CARDS
        ),
    )
