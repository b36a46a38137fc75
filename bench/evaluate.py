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
from typing import Annotated, Any, Literal

import duckdb
import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from bench import handbook
from bench.data_sets import needed
from bench.handbook import DAY_S, Quality, Split
from bench.said import Progress, say
from bench.stream import StreamError, load_stream
from bench.traffic import Traffic
from bench.ulb import evaluate_ulb
from engine.errors import ProblemFoundError, UsageError, run_command
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
    train_days: int = 7,
    delay_days: int = 7,
    test_days: int = 7,
    scores: Path | None = None,
    threads: int = 2,
    json: Annotated[bool, Parameter(negative="")] = False,
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
    threads
        Of XGBoost while training.
    json
        Print one JSON object.
    """
    progress = Progress()
    if protocol == "ulb":
        path = needed(stream, "ulb_creditcard/creditcard.parquet", "--stream")
        _print(evaluate_ulb(path, threads, progress), as_json=json)
        return
    traffic = _traffic(needed(stream, STREAM, "--stream"))
    if protocol is None:
        _print(_model_quality(file, traffic, delay_days, progress), as_json=json)
        return
    if min(train_days, test_days) < 1 or delay_days < 0:
        raise UsageError("train-days and test-days must be 1 or more, delay-days 0 or more")
    split = Split(_day(traffic, train_from), train_days, delay_days, test_days)
    found = _Handbook(traffic, split, threads, progress)
    result = found.result()
    if scores is not None:
        _write_scores(scores, found)
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
        self.margins: dict[str, NDArray[np.float32]] = {}

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
            found, self.margins[name] = self._tested(name, self.split, recipe)
            single[name] = _rounded(found)
        return {"single": single, "prequential": self._prequential()}

    def _prequential(self) -> dict[str, dict[str, float]]:
        means = {}
        for name in ("published", "own"):
            found = []
            for number, fold in enumerate(handbook.folds(self.split, self.traffic), 1):
                say(f"prequential fold {number}, {name} features")
                found.append(self._tested(name, fold, handbook.CHOSEN)[0])
            parts = [(one.auc, one.ap, one.cp100) for one in found]
            means[name] = _rounded(Quality(*np.mean(parts, axis=0).tolist()))
            spread = ", ".join(f"{value:.3f}" for value in np.std(parts, axis=0))
            say(f"prequential, {name} features: {len(found)} folds, standard deviation {spread}")
        return means

    def _tested(
        self, name: str, split: Split, recipe: handbook.Recipe
    ) -> tuple[Quality, NDArray[np.float32]]:
        features = self.published if name == "published" else self.own
        return handbook.trial(features, self.traffic, split, recipe, threads=self.threads)


def _model_quality(
    file: Path | None, traffic: Traffic, delay_days: int, progress: Progress
) -> dict[str, Any]:
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
    margins, _ = score_rows(model, np.ascontiguousarray(features[rows]))
    return {
        "model": model.meta.name,
        "version": f"{model.version:08x}",
        "rows": len(rows),
        "frauds": int(labels.sum()),
        "auc": round(roc_auc(labels, margins), 6),
        "ap": round(average_precision(labels, margins), 6),
        "cp100": round(handbook.quality(traffic, rows, margins).cp100, 6),
    }


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
    for name, margins in found.margins.items():
        columns[f"score_{name}"] = 1.0 / (1.0 + np.exp(-margins.astype(np.float64)))
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
