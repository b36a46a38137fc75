"""``de39 model replay`` and ``drift``: the journal of a data folder through the scorer again.

``replay`` proves that every stored score and feature hash comes out again, and measures challengers
on the same payments as if they had run: a back-fill. ``drift`` holds the payments against what the
model was trained on. Both may run beside a working engine and change nothing.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from engine.command_options import DATA_DEFAULT, Flag, print_answer
from engine.errors import ProblemFoundError, UsageError, run_command
from engine.label_events import Label
from engine.ledger_commands import bounds_needed
from engine.partition import StateFold
from engine.rescore import Rescorer, ScoreCheck, Sink, features_for, scores_of
from ledger.record import Kind
from ledger.stores.place import scan_journal
from ledger.vault import KEY_FILE, Vault
from scoring.drift import ACT, LOOK, TENTHS, count_bins, edges_of, psi
from scoring.features import FEATURES
from scoring.metrics import average_precision, roc_auc
from scoring.model_folder import ModelFolder
from scoring.registry import Model, default_model_path, load_model

BUDGETS = (0.001, 0.01)  # shares of payments that are looked at


@run_command
def replay(
    models: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    /,
    *,
    data: Path = DATA_DEFAULT,
    json: Flag = False,
) -> None:
    """Score the journal again: check every stored score and hash, and measure challengers.

    Each model is compared on equal alert budgets: of the payments it scores highest, how many were
    reported as fraud and how much money. Exit code 1 when a stored score does not come out again.

    Parameters
    ----------
    models
        Model files to measure on the same payments.
    data
        The data folder; the engine may be running.
    json
        Print one JSON object.
    """
    challengers = [load_model(path) for path in models or []]
    check, gathered = ScoreCheck(_known_models(data, challengers)), _Gathered(challengers)

    def sink(records: NDArray[np.void], features: NDArray[np.float32]) -> None:
        check(records, features)
        gathered(records, features)

    run_history(data, sink)
    found = check.agreement
    result: dict[str, Any] = {
        "payments": found.payments,
        "scores_equal": found.scores,
        "hashes_equal": found.hashes,
        "of_unknown_models": found.unknown,
        "ok": found.scores == found.hashes == found.payments - found.unknown,
        "models": gathered.compared(frauds_of(data)),
    }
    print_answer(result, as_json=json)
    if not result["ok"]:
        number = check.first_difference
        raise ProblemFoundError(f"{data}: record {number}: score or feature hash differs")


@run_command
def drift(model: Path | None = None, /, *, data: Path = DATA_DEFAULT, json: Flag = False) -> None:
    """Hold the journal's payments against the model's training. Prints an index for each feature.

    Under 0.1 nothing has moved, from 0.1 on look, over 0.25 act.

    Parameters
    ----------
    model
        The model file; the shipped one without it.
    data
        The data folder; the engine may be running.
    json
        Print one JSON object.
    """
    held = load_model(default_model_path() if model is None else model)
    spreads = held.meta.spreads
    if len(spreads) != len(FEATURES) + 1:
        raise UsageError("the model has no spreads of its training; train it again")
    edges, counts = edges_of(spreads), np.zeros((len(spreads), TENTHS), np.int64)

    def sink(records: NDArray[np.void], features: NDArray[np.float32]) -> None:
        rows = features_for(held, records, features)
        count_bins(rows, scores_of(held, rows), np.arange(len(rows), dtype=np.int32), edges, counts)

    run_history(data, sink)
    indexes = {s.name: psi(s, row) for s, row in zip(spreads, counts, strict=True)}
    told = {name: None if math.isnan(v) else round(v, 4) for name, v in indexes.items()}
    moved = sorted(name for name, value in indexes.items() if value > LOOK)
    result = {
        "payments": int(counts[-1].sum()),
        "look": [name for name in moved if indexes[name] <= ACT],
        "act": [name for name in moved if indexes[name] > ACT],
        "psi": told,
    }
    print_answer(result, as_json=json)


class _Gathered:
    """Scores of every challenger, and of the engine, for all payments of the journal."""

    def __init__(self, models: list[Model]) -> None:
        self._models = models
        self._seqs: list[NDArray[np.uint64]] = []
        self._amounts: list[NDArray[np.int64]] = []
        self._scores: list[list[NDArray[np.uint16]]] = [[] for _ in range(len(models) + 1)]

    def __call__(self, records: NDArray[np.void], features: NDArray[np.float32]) -> None:
        self._seqs.append(records["seq"].copy())
        self._amounts.append(records["amount_minor"].copy())
        self._scores[0].append(records["score"].copy())
        for place, model in enumerate(self._models, 1):
            self._scores[place].append(scores_of(model, features_for(model, records, features)))

    def compared(self, frauds: NDArray[np.uint64]) -> list[dict[str, Any]]:
        """Return one row a model, the engine's own scores first."""
        if not self._seqs:
            return []
        seqs, amounts = np.concatenate(self._seqs), np.concatenate(self._amounts)
        labels = np.isin(seqs, frauds).astype(np.uint8)
        names = ["as decided", *(m.meta.name for m in self._models)]
        versions = ["", *(f"{m.version:08x}" for m in self._models)]
        rows = []
        for name, version, parts in zip(names, versions, self._scores, strict=True):
            scores = np.concatenate(parts).astype(np.float32)
            rows.append({"name": name, "version": version, **_quality(scores, labels, amounts)})
        return rows


def _quality(
    scores: NDArray[np.float32], labels: NDArray[np.uint8], amounts: NDArray[np.int64]
) -> dict[str, Any]:
    frauds = int(labels.sum())
    found: dict[str, Any] = {"frauds": frauds, "auc": None, "ap": None}
    if 0 < frauds < len(labels):
        found["auc"] = round(roc_auc(labels, scores), 6)
        found["ap"] = round(average_precision(labels, scores), 6)
    order = np.argsort(-scores, kind="stable")
    for budget in BUDGETS:
        chosen = order[: max(round(budget * len(scores)), 1)]
        hit = labels[chosen] > 0
        found[f"at_{budget:.1%}"] = {
            "alerts": len(chosen),
            "frauds": int(hit.sum()),
            "caught_minor": int(amounts[chosen][hit].sum()),
        }
    return found


def run_history(data: Path, sink: Sink) -> None:
    """Hand every scored payment of the journal to ``sink``."""
    if not (data / KEY_FILE).exists():
        raise UsageError(f"{data}: is no data folder with a vault key; name one with --data")
    with Vault.read(data) as vault:
        hash_key = np.frombuffer(vault.keys.hash_key, np.uint64).copy()
    fold = StateFold(
        bounds_needed(data),
        hash_key,
        make=lambda state, table, key: Rescorer(state, table, key, sink),
    )
    for batch in scan_journal(data):
        fold(batch)
    fold.finish()


def frauds_of(data: Path) -> NDArray[np.uint64]:
    """Return the record numbers of the payments reported as fraud."""
    found = []
    for batch in scan_journal(data):
        records = batch.records
        chosen = (records["kind"] == Kind.LABEL) & (records["status"] == Label.FRAUD)
        found.append(records["ref_seq"][chosen].copy())
    return np.concatenate(found) if found else np.zeros(0, np.uint64)


def _known_models(data: Path, more: list[Model]) -> list[Model]:
    """Return the shipped model, those the engine keeps and ``more``."""
    folder = ModelFolder(data / "models")
    kept = [folder.load(sha256) for sha256 in folder.versions()]
    return [load_model(default_model_path()), *kept, *more]
