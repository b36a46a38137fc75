"""``de39 model evaluate``: how good the scorer is, against published tables or on any stream.

``--protocol handbook`` trains twice on the same days, once on the published features and once on
the engine's own, and tests both on the same later days. ``--protocol ulb`` trains on the first of
two days of real card payments and tests on the second. Without a protocol a model file is measured
on a stream, as the engine would have scored it.
"""

import json as json_text
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
from numpy.typing import NDArray

from bench import handbook
from bench.data_sets import needed
from bench.handbook import DAY_S, Quality, Split, Trial
from bench.model_report import Measured, chances_of, importance_of, write_report
from bench.said import Progress, say
from bench.stream import StreamError, load_stream
from bench.traffic import Traffic
from bench.ulb import evaluate_ulb
from engine.command_options import Flag, Whole
from engine.errors import ProblemFoundError, UsageError, run_command
from scoring.features import FEATURES
from scoring.metrics import average_precision, roc_auc
from scoring.registry import default_model_path, load_model
from scoring.train import compute_features, score_rows

STREAM = "fdh_simulated/transactions.parquet"
TRAIN_FROM = "2018-07-25"


@run_command
def evaluate(
    file: Path | None = None,
    /,
    *,
    protocol: Literal["handbook", "ulb"] | None = None,
    stream: Path | None = None,
    train_from: str = TRAIN_FROM,
    train_days: Whole = 7,
    delay_days: Whole = 7,
    test_days: Whole = 7,
    scores: Path | None = None,
    report: Path | None = None,
    threads: Whole = 2,
    json: Flag = False,
) -> None:
    """Measure the scorer: area under the ROC curve, average precision, card precision at 100.

    Parameters
    ----------
    file
        Without a protocol: the model file to measure; the shipped one without it.
    protocol
        "handbook": train and test as the published tables do, on published and on own features.
        "ulb": train on day 1, test on day 2 of real payments.
    stream
        A parquet file of the public stream's columns, or of the ULB set's; the public data set
        beside the clone without it.
    train_from
        First day of training, YYYY-MM-DD; with train_days, delay_days (labels under way) and
        test_days it says the split. Later folds follow one test span apart.
    scores
        Write row, score_published and score_own of the single split's test rows, as parquet.
    report
        Write an HTML page: precision and recall, how scores lie, calibration, what features weigh,
        and money caught against genuine payments declined. Of the single split with a protocol.
    threads
        Of XGBoost while training.
    json
        Print one JSON object.
    """
    progress = Progress()
    if protocol == "ulb":
        path = needed(stream, "ulb_creditcard/creditcard.parquet", "--stream")
        result, measured = evaluate_ulb(path, threads, progress)
        title, found = "ULB: day 1 to day 2", [measured]
    elif protocol is None:
        traffic = _traffic(needed(stream, STREAM, "--stream"))
        result, measured = _model_quality(file, traffic, delay_days, progress)
        title, found = f"model {result['model']} {result['version']}", [measured]
    else:
        traffic = _traffic(needed(stream, STREAM, "--stream"))
        if min(train_days, test_days) < 1 or delay_days < 0:
            raise UsageError("train-days and test-days must be 1 or more, delay-days 0 or more")
        split = Split(_day(traffic, train_from), train_days, delay_days, test_days)
        handbook_run = _Handbook(traffic, split, threads, progress)
        result = handbook_run.result()
        if scores is not None:
            _write_scores(scores, handbook_run)
        title, found = f"handbook split from {train_from}, seed 0", handbook_run.measured()
    if report is not None:
        write_report(report, title, _facts(result), found)
    _print(result, as_json=json)


@dataclass
class _Handbook:
    """The single split and the folds, on both feature sets."""

    traffic: Traffic
    split: Split
    threads: int
    progress: Progress

    def __post_init__(self) -> None:
        self.train, self.test = handbook.split_rows(self.traffic, self.split)
        delay = self.split.delay_days
        say("features: published windows")
        self.published = handbook.published_features(self.traffic, delay).astype(np.float32)
        self.own = handbook.own_features(self.traffic, delay, self.progress)
        self.trials: dict[str, Trial] = {}

    def result(self) -> dict[str, Any]:
        """Return sizes and measures in the stated shape."""
        labels = self.traffic.scenario > 0
        recipes = {"published": handbook.DEFAULTS, "own": handbook.CHOSEN}
        single: dict[str, Any] = {
            "train_rows": len(self.train),
            "train_frauds": int(labels[self.train].sum()),
            "test_rows": len(self.test),
            "test_frauds": int(labels[self.test].sum()),
        }
        for name, recipe in recipes.items():
            say(f"single split, {name} features")
            self.trials[name] = self._tested(name, self.split, recipe)
            single[name] = _rounded(self.trials[name].quality)
        return {"single": single, "prequential": self._prequential()}

    def _prequential(self) -> dict[str, dict[str, float]]:
        means = {}
        for name in ("published", "own"):
            found = []
            for number, fold in enumerate(handbook.folds(self.split, self.traffic), 1):
                say(f"prequential fold {number}, {name} features")
                found.append(self._tested(name, fold, handbook.CHOSEN).quality)
            parts = [(one.auc, one.ap, one.cp100) for one in found]
            means[name] = _rounded(Quality(*np.mean(parts, axis=0).tolist()))
            spread = ", ".join(f"{value:.3f}" for value in np.std(parts, axis=0))
            say(f"prequential, {name} features: {len(found)} folds, standard deviation {spread}")
        return means

    def measured(self) -> list[Measured]:
        """Return both models of the single split for a report."""
        amounts = self.traffic.amount_cents[self.test] / 100.0
        labels = (self.traffic.scenario[self.test] > 0).astype(np.uint8)
        names = {"published": handbook.PUBLISHED, "own": [feature.name for feature in FEATURES]}
        rows = {"published": self.published[self.test], "own": self.own[self.test]}
        return [
            Measured(
                f"{name} features",
                labels,
                chances_of(trial.margins),
                amounts,
                importance_of(trial.forest, rows[name], names[name]),
            )
            for name, trial in self.trials.items()
        ]

    def _tested(self, name: str, split: Split, recipe: handbook.Recipe) -> Trial:
        features = self.published if name == "published" else self.own
        return handbook.trial(features, self.traffic, split, recipe, threads=self.threads)


def _model_quality(
    file: Path | None, traffic: Traffic, delay_days: int, progress: Progress
) -> tuple[dict[str, Any], Measured]:
    """Return what a model file does on every payment of a stream after its first 30 days."""
    model = load_model(default_model_path() if file is None else file)
    labels = (traffic.scenario > 0).astype(np.uint8)
    sizes = traffic.customers + 1, traffic.terminals + 1, 2
    features, _, _ = compute_features(
        traffic.payments(),
        None,
        *sizes,
        labels=labels,
        label_delay_s=delay_days * DAY_S,
        mcc_risk=model.mcc_risk,
        progress=progress,
    )
    rows = np.flatnonzero(traffic.t_seconds >= traffic.t_seconds[0] + 30 * DAY_S)
    labels = labels[rows]
    if not 0 < labels.sum() < len(labels):
        raise ProblemFoundError("the stream has no frauds after its first 30 days")
    features = np.ascontiguousarray(features[rows])
    margins, _ = score_rows(model, features)
    line, names = model.meta.calibration, model.meta.feature_names
    measured = Measured(
        model.meta.name,
        labels,
        chances_of(margins, line.slope, line.offset),
        traffic.amount_cents[rows] / 100.0,
        importance_of(model.forest, features, names),
    )
    return {
        "model": model.meta.name,
        "version": f"{model.version:08x}",
        "rows": len(rows),
        "frauds": int(labels.sum()),
        "auc": round(roc_auc(labels, margins), 6),
        "ap": round(average_precision(labels, margins), 6),
        "cp100": round(handbook.quality(traffic, rows, margins).cp100, 6),
    }, measured


def _facts(result: dict[str, Any], before: str = "") -> list[tuple[str, object]]:
    """Return the figures of a result as lines of a table."""
    found: list[tuple[str, object]] = []
    for name, value in result.items():
        if isinstance(value, dict):
            found += _facts(value, f"{before}{name} ")
        else:
            found.append(
                (
                    f"{before}{name}".replace("_", " "),
                    f"{value:,}" if isinstance(value, int) else value,
                )
            )
    return found


def _traffic(path: Path) -> Traffic:
    try:
        return load_stream(path)
    except StreamError as problem:
        raise ProblemFoundError(str(problem)) from None


def _day(traffic: Traffic, text: str) -> int:
    """Return the day of the stream, from 0, of a date."""
    try:
        wanted = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"train-from: {text!r} is not a date (YYYY-MM-DD)") from None
    start = datetime.fromtimestamp(traffic.start_s, UTC).date()
    day = (wanted - start).days
    last = int(traffic.t_seconds[-1]) // DAY_S
    if not 0 <= day <= last:
        raise UsageError(
            f"train-from: {text} is not in the stream ({start} to {start + timedelta(days=last)})"
        )
    return day


def _write_scores(path: Path, found: _Handbook) -> None:
    """Write the fraud probability of each test row from both models."""
    columns: dict[str, NDArray[Any]] = {"row": found.test.astype(np.int64)}
    for name, trial in found.trials.items():
        columns[f"score_{name}"] = chances_of(trial.margins)
    with duckdb.connect() as connection:
        try:
            table = connection.from_query("select * from columns")
            table.write_parquet(str(path))
        except duckdb.Error as error:
            text = str(error).splitlines()[0]
            raise ProblemFoundError(f"{path}: cannot be written ({text})") from None


def _rounded(found: Quality) -> dict[str, float]:
    return {name: round(value, 6) for name, value in asdict(found).items()}


def _print(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json_text.dumps(result) + "\n")
        return
    _print_part(result, "")


def _print_part(part: dict[str, Any], indent: str) -> None:
    for name, value in part.items():
        if isinstance(value, dict):
            sys.stdout.write(f"{indent}{name}\n")
            _print_part(value, indent + "  ")
        else:
            shown = f"{value:,}" if isinstance(value, int) else value
            sys.stdout.write(f"{indent}{name:<{18 - len(indent)}} {shown}\n")
