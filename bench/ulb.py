"""Real card payments of two days (ULB and Worldline, 2013): train on day 1, test on day 2.

The set has 28 principal components and the amount, no card and no merchant: it says how good the
trees are on real values, nothing about the features. Recipe: 200 trees of depth 6, rate 0.1, half
of the 29 columns (all but time) a tree, histogram splits.
"""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from bench.model_report import Measured, chances_of, importance_of
from bench.said import Progress
from engine.errors import ProblemFoundError
from scoring.forest import forest_from_booster
from scoring.kernels import score_margins
from scoring.metrics import average_precision, roc_auc

DAY_S = 86_400
TREES = 200
DEPTH = 6
COLUMNS = (*(f"V{number}" for number in range(1, 29)), "amount_cents")


def load_ulb(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int64]]:
    """Return features f32[n, 29], labels u8[n] and seconds i64[n]; ProblemFoundError if unfit."""
    with duckdb.connect() as connection:
        try:
            wanted = ("time_s", *COLUMNS, "fraud")
            columns = connection.read_parquet(str(path)).select(*wanted).fetchnumpy()
        except duckdb.Error as error:
            raise ProblemFoundError(f"{path}: {str(error).splitlines()[0]}") from None
    features = np.stack([np.asarray(columns[name], np.float32) for name in COLUMNS], axis=1)
    features[:, -1] /= np.float32(100.0)
    if not np.isfinite(features).all():
        raise ProblemFoundError(f"{path}: holds a value that is not a finite number")
    return features, np.asarray(columns["fraud"], np.uint8), np.asarray(columns["time_s"], np.int64)


def evaluate_ulb(
    path: Path, threads: int, progress: Progress | None = None
) -> tuple[dict[str, Any], Measured]:
    """Return sizes and measures, and the test rows as scored by the forest kernel."""
    import xgboost

    features, labels, time_s = load_ulb(path)
    train, test = time_s < DAY_S, time_s >= DAY_S
    parameters = {
        "objective": "binary:logistic",
        "base_score": 0.5,
        "tree_method": "hist",
        "max_depth": DEPTH,
        "learning_rate": 0.1,
        "colsample_bytree": 0.5,
        "nthread": threads,
        "seed": 0,
    }
    data = xgboost.DMatrix(features[train], labels[train], nthread=threads)
    booster = xgboost.Booster(parameters, [data])
    for number in range(TREES):
        booster.update(data, number)
        if progress is not None:
            progress("trees", number + 1, TREES)
    forest, rows = forest_from_booster(booster), np.ascontiguousarray(features[test])
    margins = np.zeros(len(rows), np.float32)
    idx = np.arange(len(rows), dtype=np.int32)
    score_margins(rows, idx, forest.nodes, forest.leaves, forest.depth, forest.base, margins)
    return {
        "train_rows": int(train.sum()),
        "train_frauds": int(labels[train].sum()),
        "test_rows": int(test.sum()),
        "test_frauds": int(labels[test].sum()),
        "auc": round(roc_auc(labels[test], margins), 6),
        "ap": round(average_precision(labels[test], margins), 6),
    }, Measured(
        "ULB",
        labels[test],
        chances_of(margins),
        rows[:, -1].astype(np.float64),
        importance_of(forest, rows, COLUMNS),
    )
