"""``de39 model train | show``: the fraud model that ships, made again from the generator's traffic.

Features come from the kernels that authorize, run over the same stream in order. The generated
traffic comes without fraud reports, as the demo does; a journal is learnt from with those it has.
"""

import json as json_text
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from bench.history import Examples, journal_examples
from bench.model_report import Measured, chances_of, importance_of, write_report
from bench.said import Progress, say
from bench.stream import StreamError, load_stream
from bench.traffic import Traffic
from bench.workload import Workload
from engine.command_options import Flag, Whole
from engine.errors import ProblemFoundError, UsageError, run_command
from scoring.registry import CostThreshold, Model, default_model_path, load_model, save_model
from scoring.train import compute_features, features_with, score_rows, train_model

DAY_S = 86_400
HISTORY_DAYS = 20  # counters need some days before their values mean anything


@run_command
def train(
    *,
    out: Path | None = None,
    stream: Path | None = None,
    data: Path | None = None,
    delay_days: Whole = 7,
    customers: Whole = 2_500,
    days: Whole = 90,
    seed: Whole = 20,
    trees: Whole = 100,
    depth: Whole = 6,
    report: Path | None = None,
    json: Flag = False,
) -> None:
    """Train the fraud model and write it as one file.

    The same arguments give the same bytes. The last quarter of the time is held out; its figures
    are in the file.

    Parameters
    ----------
    out
        The model file; the shipped one without it.
    stream
        Train on a parquet of t_seconds, customer_id, terminal_id, amount_cents, fraud_scenario.
    data
        Train on the journal of this data folder and the fraud reports in it.
    delay_days
        Days that a fraud report takes: with data, younger payments are left out.
    customers, days, seed
        Of the generated traffic, when there is no stream.
    trees, depth
        Of the forest; depth 1 to 8.
    report
        Write an HTML page about the held-out payments: precision and recall, how scores lie,
        calibration, what features weigh, and money caught against genuine payments declined.
    json
        Print one JSON object.
    """
    started, progress = time.monotonic(), Progress()
    if min(customers, days - HISTORY_DAYS) < 1:
        raise UsageError(f"expected 1 or more customers and more than {HISTORY_DAYS} days")
    if data is not None and (stream is not None or out is None):
        raise UsageError("--data needs --out, and no --stream beside it")
    if data is not None:
        examples, name = journal_examples(data, delay_days), "journal"
        note = f"payments of a journal at least {delay_days} days old, with its fraud reports"
    else:
        examples = _examples(_traffic(stream, customers, days, seed), progress)
        name = "default" if stream is None else stream.stem
        note = f"{HISTORY_DAYS} days of history before the training window; no fraud reports"
    model = train_model(
        *examples, seed=seed, trees=trees, depth=depth, name=name, note=note, progress=progress
    )
    path = default_model_path() if out is None else out
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, path)
    if report is not None:
        write_report(report, f"model {model.meta.name}", _told(model), [_held_out(model, examples)])
    say(f"written in {time.monotonic() - started:.1f} s: {path}")
    _print(model, as_json=json)


@run_command
def show(file: Path | None = None, /, *, json: Flag = False) -> None:
    """Show what a model file says of itself.

    Parameters
    ----------
    file
        The model file; the shipped one without it.
    json
        Print one JSON object.
    """
    _print(load_model(default_model_path() if file is None else file), as_json=json)


def _examples(traffic: Traffic, progress: Progress) -> Examples:
    """Return features, labels and payments of the traffic after its days of history."""
    say(f"{len(traffic):,} payments of {traffic.customers:,} cards")
    payments = traffic.payments()
    labels = (traffic.scenario > 0).astype(np.uint8)
    features, _, _ = compute_features(
        payments, None, traffic.customers + 1, traffic.terminals + 1, 2, progress=progress
    )
    used = np.flatnonzero(traffic.t_seconds >= traffic.t_seconds[0] + HISTORY_DAYS * DAY_S)
    if not len(used):
        raise ProblemFoundError(f"the stream is shorter than {HISTORY_DAYS} days of history")
    return np.ascontiguousarray(features[used]), labels[used].copy(), payments[used].copy()


def _held_out(model: Model, examples: Examples) -> Measured:
    """Return the payments that the model was not trained on, as it scores them.

    Half of them have set the calibration.
    """
    features, labels, payments = examples
    first = model.meta.rows
    labels, payments = labels[first:], payments[first:]
    rows = features_with(model, payments, features[first:])
    margins, _ = score_rows(model, rows)
    line, names = model.meta.calibration, model.meta.feature_names
    return Measured(
        "held-out payments",
        labels,
        chances_of(margins, line.slope, line.offset),
        payments["amount_minor"] / 10.0 ** payments["exponent"],
        importance_of(model.forest, rows, names),
    )


def _told(model: Model) -> list[tuple[str, object]]:
    """Return what the file says of itself, for the head of a report."""
    meta = model.meta
    days = [
        datetime.fromtimestamp(t_s, UTC).date() for t_s in (meta.trained_from_s, meta.trained_to_s)
    ]
    return [
        ("version", f"{model.version:08x}"),
        ("trained on", f"{meta.rows:,} payments, {meta.frauds:,} frauds, {days[0]} to {days[1]}"),
        ("seed", meta.seed),
        ("trees", f"{model.forest.tree_count} of depth {model.forest.depth}"),
        ("features", f"{len(meta.feature_names)}, hash {meta.schema_hash[:12]}"),
        ("calibration", f"slope {meta.calibration.slope}, offset {meta.calibration.offset}"),
        *((f"declining pays: {one.segment}", _cost_text(one)) for one in meta.costs),
        ("note", meta.note),
    ]


def _cost_text(one: CostThreshold) -> str:
    costs = f"cost {one.cost:,.2f}, of declining nothing {one.cost_of_nothing:,.2f}"
    return f"from score {one.score_bp / 10_000:.4f}; {costs}"


def _traffic(stream: Path | None, customers: int, days: int, seed: int) -> Traffic:
    if stream is None:
        return Workload(customers, 2 * customers, days, seed)
    try:
        return load_stream(stream)
    except StreamError as problem:
        raise ProblemFoundError(str(problem)) from None


def _print(model: Model, *, as_json: bool) -> None:
    facts = {
        "sha256": model.sha256,
        "version": f"{model.version:08x}",
        "trees": model.forest.tree_count,
        "depth": model.forest.depth,
        **msgspec.to_builtins(model.meta),
    }
    if as_json:
        sys.stdout.write(json_text.dumps(facts) + "\n")
        return
    for name, value in facts.items():
        if name == "feature_names":
            value = f"{len(value)} features"
        if name == "thresholds":
            for row in value:
                sys.stdout.write(
                    f"  score >= {row['score_bp'] / 10_000:.2f}: flags "
                    f"{row['flagged_share']:.3%} of payments, precision {row['precision']:.1%}, "
                    f"recall {row['recall']:.1%}\n"
                )
            continue
        sys.stdout.write(f"{name:<16} {value}\n")
