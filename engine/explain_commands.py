"""``de39 model explain``: which features made a score, exactly (Shapley values), and by how much.

Of a payment in the journal, from the file of reasons or made again by a replay; of a row given as
JSON; or of every payment that was refused or sent to review and has no reasons yet. May run beside
a working engine.
"""

import json as json_format
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.command_options import DATA_DEFAULT, Flag, Whole, print_json
from engine.errors import ProblemFoundError, UsageError, run_command
from engine.explaining import is_wanted, model_of
from engine.inquiry import find_records, is_about
from engine.model_history import run_history
from engine.reason_store import Captured, ReasonStore, Recorded
from engine.rescore import features_for, scores_of
from ledger.record import SCORE_NONE
from scoring.features import FEATURES
from scoring.kernels import feature_checks
from scoring.registry import Model, default_model_path, load_model
from scoring.shapley import Explainer, reasons_of

_RECORDS_MAX = 50  # of one reference number
_PROGRESS_S = 2.0
_ROWS_A_TURN = 64


@run_command
def explain(
    *,
    rrn: str | None = None,
    record: Whole | None = None,
    row: str | None = None,
    missing: Flag = False,
    model: Path | None = None,
    data: Path = DATA_DEFAULT,
    json: Flag = False,
) -> None:
    """Show what each feature added to a score: exact Shapley values, which sum to the margin.

    Give one of --rrn, --record, --row and --missing.

    Parameters
    ----------
    rrn
        Reference number (DE37) of payments in the journal.
    record
        Number of a payment's ledger record.
    row
        Features by name as a JSON object, or a file that holds one.
    missing
        Make the reasons of every refused or reviewed payment that has none, by a replay.
    model
        The model that a row is given to, or one that the journal names and nobody keeps.
    data
        The data folder; the engine may be running.
    json
        Print one JSON object.
    """
    if sum((rrn is not None, record is not None, row is not None, missing)) != 1:
        raise UsageError("give one of --rrn, --record, --row and --missing")
    given = None if model is None else load_model(model)
    if row is not None:
        _print([_explained_row(row, given or load_model(default_model_path()))], as_json=json)
        return
    with_journal = _History(data, given)
    if missing:
        made = with_journal.make_missing()
        sys.stdout.write(json_format.dumps(made) + "\n" if json else _lines(made))
        return
    _print(with_journal.explained(rrn, record), as_json=json)


class _History:
    """The journal of a data folder, its models and its file of reasons."""

    def __init__(self, data: Path, given: Model | None) -> None:
        self._data = data
        self._given = given
        self._loaded: dict[int, tuple[Model, Explainer] | None] = {}

    def explained(self, rrn: str | None, number: int | None) -> list[dict[str, Any]]:
        """Return the reasons of the scored payments that are named."""
        records = find_records(self._data, rrn, None, _RECORDS_MAX, number=number)
        scored = [one for one in records if int(one["customer"]) and one["score"] != SCORE_NONE]
        if not scored:
            name = f"RRN {rrn}" if number is None else f"record {number}"
            raise ProblemFoundError(f"{self._data}: {name}: no payment with a score")
        known = self._stored(scored)
        rest = {int(one["seq"]) for one in scored} - set(known)
        if rest:
            known |= self._made_again(rest)
        lost = sorted({int(one["seq"]) for one in scored} - set(known))
        if lost:
            raise ProblemFoundError(
                f"{self._data}: record {lost[0]}: a replay does not give the features it was "
                "scored by; the beginning of the journal may be in the archive"
            )
        return [
            {
                "record": int(one["seq"]),
                "score": int(one["score"]) / 10_000,
                "model_version": f"{int(one['model_version']):08x}",
                **_told(known[int(one["seq"])]),
            }
            for one in scored
        ]

    def _stored(self, records: list[NDArray[np.void]]) -> dict[int, Recorded]:
        """Return what the file has about exactly these payments."""
        store = ReasonStore(self._data)
        try:
            found = store.find(np.array([int(one["seq"]) for one in records], np.int64))
        finally:
            store.close()
        by_record = {int(one["seq"]): one for one in records}
        return {seq: one for seq, one in found.items() if is_about(one, by_record[seq])}

    def make_missing(self) -> dict[str, int]:
        """Explain what is wanted and not in the file; return how many were looked at and made."""
        counts = dict.fromkeys(
            ("payments", "wanted", "made", "of_unknown_models", "not_reproduced"), 0
        )
        store, said_s = ReasonStore(self._data), time.monotonic()

        def sink(records: NDArray[np.void], features: NDArray[np.float32]) -> None:
            nonlocal said_s
            counts["payments"] += len(records)
            wanted = is_wanted(records["result"], records["flags"], records["customer"])
            counts["wanted"] += int(wanted.sum())
            self._make(store, records[wanted], features[wanted], counts)
            if time.monotonic() - said_s > _PROGRESS_S:
                said_s = time.monotonic()
                sys.stderr.write(
                    f"de39: {counts['payments']:,} payments, {counts['made']:,} made\n"
                )

        try:
            run_history(self._data, sink)
            self._make_waiting(store, counts)
        finally:
            store.close()
        return counts

    def _make_waiting(self, store: ReasonStore, counts: dict[str, int]) -> None:
        """Explain what the engine has put into the file and not come to."""
        unknown: set[int] = set()
        while (part := store.waiting(_ROWS_A_TURN, unknown)) is not None:
            loaded = self._of(part.model)
            if loaded is None:
                unknown.add(part.model)
                continue
            explainer = loaded[1]
            store.put(part.records, explainer.values(part.features), explainer.expected)
            counts["made"] += len(part.records)

    def _make(
        self,
        store: ReasonStore,
        records: NDArray[np.void],
        features: NDArray[np.float32],
        counts: dict[str, int],
    ) -> None:
        seqs = records["seq"].astype(np.int64)
        fresh = ~store.known(seqs, records["model_version"], records["customer"])
        records, features = records[fresh], features[fresh]
        for version in np.unique(records["model_version"]).tolist():
            chosen, loaded = records["model_version"] == version, self._of(version)
            if loaded is None:
                counts["of_unknown_models"] += int(chosen.sum())
                continue
            model, explainer = loaded
            own, rows = _reproduced(model, records[chosen], features[chosen])
            counts["not_reproduced"] += int(chosen.sum()) - len(own)
            seqs = own["seq"].astype(np.int64)
            store.add(Captured(version, seqs, own["customer"], rows))
            store.put(seqs, explainer.values(rows), explainer.expected)
            counts["made"] += len(own)

    def _made_again(self, wanted: set[int]) -> dict[int, Recorded]:
        """Replay the journal for the features of these records, and explain them."""
        numbers, found = np.array(sorted(wanted), np.uint64), {}

        def sink(records: NDArray[np.void], features: NDArray[np.float32]) -> None:
            for at in np.flatnonzero(np.isin(records["seq"], numbers)).tolist():
                version = int(records["model_version"][at])
                loaded = self._of(version)
                if loaded is None:
                    raise ProblemFoundError(
                        f"{self._data}: model {version:08x} is not kept; name its file by --model"
                    )
                model, explainer = loaded
                own, rows = _reproduced(model, records[at : at + 1], features[at : at + 1])
                if len(own):
                    found[int(own["seq"][0])] = Recorded(
                        version,
                        int(own["customer"][0]),
                        rows[0],
                        explainer.values(rows)[0],
                        explainer.expected,
                    )

        run_history(self._data, sink)
        return found

    def _of(self, version: int) -> tuple[Model, Explainer] | None:
        """Return the model of a version and what explains it; None = not to be had."""
        if version not in self._loaded:
            given = self._given
            is_given = given is not None and given.version == version
            model = given if is_given else model_of(self._data, version)
            self._loaded[version] = None if model is None else (model, Explainer(model.forest))
        return self._loaded[version]


def _reproduced(
    model: Model, records: NDArray[np.void], features: NDArray[np.float32]
) -> tuple[NDArray[np.void], NDArray[np.float32]]:
    """Return those records whose feature row comes out again by its hash, and the rows."""
    rows = features_for(model, records, features)
    checks = np.zeros(len(rows), np.uint32)
    feature_checks(rows, np.arange(len(rows), dtype=np.int32), checks)
    same = checks == records["customer"]
    return records[same], np.ascontiguousarray(rows[same])


def _explained_row(text: str, model: Model) -> dict[str, Any]:
    """Return the reasons of a row given as JSON or in a file."""
    path = Path(text)
    if not text.lstrip().startswith("{"):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProblemFoundError(f"{path}: cannot be read ({error})") from None
    try:
        values = msgspec.json.decode(text, type=dict[str, float])
    except msgspec.DecodeError as error:
        raise ProblemFoundError(
            f"row: expected an object of features and numbers: {error}"
        ) from None
    names = [feature.name for feature in FEATURES]
    for name in values:
        if name not in names:
            raise ProblemFoundError(f"row: {name}: no feature; expected {', '.join(names)}")
    lost = [name for name in names if name not in values]
    if lost:
        raise ProblemFoundError(f"row: {lost[0]}: is missing; a row has all {len(names)} features")
    row = np.array([[values[name] for name in names]], np.float32)
    if not np.isfinite(row).all():
        raise ProblemFoundError("row: a value is not a finite 32-bit number")
    explainer = Explainer(model.forest)
    told = Recorded(model.version, 0, row[0], explainer.values(row)[0], explainer.expected)
    score = int(scores_of(model, row)[0]) / 10_000
    return {"score": score, "model_version": f"{model.version:08x}", **_told(told)}


def _told(known: Recorded) -> dict[str, Any]:
    """Return margin and reasons as they are printed: strongest first, then what each adds."""
    adds = {
        feature.name: round(float(part), 6)
        for feature, part in zip(FEATURES, known.adds, strict=True)
    }
    return {
        "expected": round(known.expected, 6),
        "margin": round(known.expected + float(known.adds.sum()), 6),
        "reasons": [asdict(one) for one in reasons_of(known.features, known.adds)],
        "adds": adds,
        "features": dict(zip(adds, known.features.tolist(), strict=True)),
    }


def _print(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({"explained": found})
        return
    for one in found:
        adds, features = one["adds"], one["features"]
        kept = ("record", "score", "model_version", "expected", "margin")
        sys.stdout.write(_lines({name: one[name] for name in kept if name in one}))
        for name in sorted((n for n in adds if adds[n]), key=lambda name: -abs(adds[name])):
            sys.stdout.write(f"  {adds[name]:+10.4f}  {name:<20} {features[name]:g}\n")
        for reason in one["reasons"]:
            sys.stdout.write(f"  {reason['text']}\n")


def _lines(facts: dict[str, Any]) -> str:
    return "".join(f"{name:<18} {value}\n" for name, value in facts.items())
