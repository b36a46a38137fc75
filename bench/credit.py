"""``de39 credit train | score``: a credit scorecard and its challenger on public card accounts.

The split is the published one: a permutation of the rows by seed 42, the first quarter is the test.
"""

import json as json_text
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from bench.data_sets import needed
from bench.said import say
from engine.command_options import Flag, Whole
from engine.errors import ProblemFoundError, run_command
from scoring.adverse_action import reasons_of
from scoring.credit_features import BEHAVIOURS, MONTHS, NAMES, behaviours
from scoring.metrics import kolmogorov_smirnov, roc_auc
from scoring.scorecard import (
    Scorecard,
    fit_scorecard,
    load_scorecard,
    pd_of_score,
    points_of,
    save_scorecard,
    score_of,
)

DATA = "uci_taiwan_default/uci_credit_card.parquet"
SEED = 42
TEST_SHARE = 0.25
CUTOFF = 550  # a line is refused under it; odds of about 9:1
_STATUS = ("PAY_0", *(f"PAY_{month}" for month in range(2, MONTHS + 1)))
_BILLS = tuple(f"BILL_AMT{month}" for month in range(1, MONTHS + 1))
_PAID = tuple(f"PAY_AMT{month}" for month in range(1, MONTHS + 1))


@run_command
def train(
    *,
    out: Path,
    data: Path | None = None,
    challenger: bool = True,
    json: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Fit the scorecard and a monotone XGBoost beside it, measure both, and write the card.

    Parameters
    ----------
    out
        The scorecard file to write.
    data
        A parquet file of the public data set's columns; the set beside the clone without it.
    challenger
        Train the challenger too.
    json
        Print one JSON object.
    dry_run
        Measure and write nothing.
    """
    values, bad, _ = load_accounts(needed(data, DATA, "--data"))
    train_rows, test_rows = published_split(len(bad))
    say(f"scorecard: {len(train_rows):,} accounts")
    card = fit_scorecard("credit", NAMES, values[train_rows], bad[train_rows])
    scores = score_of(card, points_of(card, NAMES, values[test_rows])).astype(np.float32)
    metrics = measures(bad[test_rows], -scores)
    card = Scorecard(card.name, card.base, card.characteristics, card.rows, card.bads, metrics)
    result: dict[str, Any] = {
        "train_rows": len(train_rows),
        "test_rows": len(test_rows),
        "test_bads": int(bad[test_rows].sum()),
        "scorecard": metrics,
        "characteristics": len(card.characteristics),
    }
    if challenger:
        say("challenger: monotone XGBoost")
        margins = challenge(values, bad, train_rows, test_rows)
        result["challenger"] = measures(bad[test_rows], margins)
    if not dry_run:
        result["sha256"] = save_scorecard(card, out)
    _print(result, as_json=json)


@run_command
def score(
    file: Path,
    /,
    *,
    data: Path | None = None,
    cutoff: Whole = CUTOFF,
    out: Path | None = None,
    limit: Whole | None = None,
    json: Flag = False,
) -> None:
    """Score accounts with a card; every refused one gets its reasons.

    Parameters
    ----------
    file
        The scorecard file.
    data
        A parquet file of the public data set's columns.
    cutoff
        Accounts under this score are refused.
    out
        Write the lines here instead of to stdout.
    limit
        Only the first so many accounts.
    json
        One JSON object a line instead of a table.
    """
    card = load_scorecard(file)
    values, _, numbers = load_accounts(needed(data, DATA, "--data"))
    points = points_of(card, NAMES, values)
    scores = score_of(card, points)
    lines = []
    for row in range(len(values) if limit is None else min(limit, len(values))):
        found = int(scores[row])
        refused = found < cutoff
        lines.append(
            {
                "account": int(numbers[row]),
                "score": found,
                "pd": round(pd_of_score(found), 6),
                "refused": refused,
                "reasons": [r.text for r in reasons_of(card, points[row])] if refused else [],
            }
        )
    text = "".join(json_text.dumps(line) + "\n" if json else _sentence(line) for line in lines)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProblemFoundError(f"{out}: cannot be written ({error.strerror})") from None


def load_accounts(
    path: Path,
) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.int64]]:
    """Return characteristics f64[n, k], bad u8[n] and account numbers i64[n], in order of these.

    Only the columns named here are read: no sex, marriage, age or education.
    """
    wanted = ("ID", "LIMIT_BAL", *_STATUS, *_BILLS, *_PAID, "default_next_month")
    with duckdb.connect() as connection:
        try:
            relation = connection.read_parquet(str(path)).select(*wanted).order("ID")
            columns = relation.fetchnumpy()
        except duckdb.Error as error:
            raise ProblemFoundError(f"{path}: {str(error).splitlines()[0]}") from None
    for name, column in columns.items():
        if isinstance(column, np.ma.MaskedArray) and column.mask.any():
            row = int(np.flatnonzero(column.mask)[0])
            raise ProblemFoundError(f"{path}: row {row}: {name} is null")
    limit = np.asarray(columns["LIMIT_BAL"], np.float64)
    if not len(limit) or (limit <= 0).any():
        raise ProblemFoundError(f"{path}: LIMIT_BAL must be over 0 in every row")
    parts = [
        np.stack([np.asarray(columns[name], np.float64) for name in names], axis=1)
        for names in (_STATUS, _BILLS, _PAID)
    ]
    bad = np.asarray(columns["default_next_month"], np.uint8)
    return behaviours(limit, *parts), bad, np.asarray(columns["ID"], np.int64)


def published_split(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return training and test rows of the published split."""
    order = np.random.RandomState(SEED).permutation(count)
    test_count = int(np.ceil(count * TEST_SHARE))
    return order[test_count:], order[:test_count]


def measures(bad: NDArray[np.uint8], risk: NDArray[np.float32]) -> dict[str, float]:
    """Return AUC and the Kolmogorov-Smirnov distance of a score that rises with risk."""
    return {
        "auc": round(roc_auc(bad, risk), 6),
        "ks": round(kolmogorov_smirnov(bad, risk), 6),
    }


def challenge(
    values: NDArray[np.float64],
    bad: NDArray[np.uint8],
    train_rows: NDArray[np.int64],
    test_rows: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the margins f32 of the test rows from boosted trees that keep every direction."""
    import xgboost

    parameters = {
        "objective": "binary:logistic",
        "base_score": 0.2,
        "tree_method": "hist",
        "max_depth": 5,
        "learning_rate": 0.02,
        "subsample": 0.7,
        "colsample_bytree": 0.4,
        "min_child_weight": 20,
        "monotone_constraints": tuple(behaviour.direction for behaviour in BEHAVIOURS),
        "nthread": 2,
        "seed": 0,
    }
    data = xgboost.DMatrix(values[train_rows], bad[train_rows])
    booster = xgboost.train(parameters, data, 400)
    return np.asarray(booster.inplace_predict(values[test_rows], predict_type="margin"))


def _sentence(line: dict[str, Any]) -> str:
    word = "refused" if line["refused"] else "ok"
    reasons = "; ".join(line["reasons"])
    return f"{line['account']:>8} {line['score']:>5} {line['pd']:>8.4f} {word:<8} {reasons}\n"


def _print(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json_text.dumps(result) + "\n")
        return
    for name, value in result.items():
        sys.stdout.write(f"{name:<18} {value}\n")
