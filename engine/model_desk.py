"""SHELL: what operators do to models and labels of the running engine.

A thread of its own checks model files, looks payments up and waits for the journal, one request
after the other. The loop only assigns what is ready, between two batches, and writes the record of
it. What cannot be used changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.admin import operations as api
from engine.admin.models_api import LabelOf, PutLabels, PutModel, RollBack, WithdrawModel
from engine.admin.rules_api import Answer
from engine.errors import StorageFailure
from engine.events import apply_events, event_record
from engine.items import Setting
from engine.label_book import LabelBook
from engine.label_events import Label, apply_labels, label_record
from engine.metrics import Metrics
from engine.partition import Partition
from engine.pipeline import Pipeline, event_job
from engine.scorer import Challenger, Scorer
from ledger.commit import CommitJob
from ledger.errors import LedgerError
from ledger.journal import Blob, BlobKind
from ledger.record import Kind
from ledger.stores.place import records_at
from scoring.errors import ModelError
from scoring.model_folder import PAST_MAX, Current, ModelFolder
from scoring.registry import Model, model_from_bytes

T = TypeVar("T")
Notify = Callable[[str, Mapping[str, object]], None]

CHALLENGERS_MAX = 4  # each costs what the model in force costs
ALERT_SHARES = (0.001, 0.01)  # of payments: budgets at which score distributions are compared
_LABELS_A_JOB = 4_096
_TIMEOUT_S = 30.0
_LABELLED = (Kind.AUTHORIZE, Kind.PARTIAL, Kind.FINANCIAL, Kind.ADVICE)


class EngineModelDesk:
    """Implements ``engine.admin.models_api.ModelDesk`` on a running pipeline.

    Parameters
    ----------
    partition : its journal is read for labels, the folder's ``models`` holds the registry.
    configured : the model that the configuration names; None = none.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        partition: Partition,
        configured: Model | None,
        on_event: Notify,
    ) -> None:
        self._pipeline = pipeline
        self._scorer: Scorer = pipeline.authorizer.scorer
        self._metrics = metrics
        self._loop = loop
        self._data = partition.data
        self._store = partition.store
        self._book = LabelBook(partition.data, partition.store.position)
        self._folder = ModelFolder(partition.data / "models")
        self._configured = configured
        self._on_event = on_event
        self._thread = ThreadPoolExecutor(1, "models")
        metrics.drift = self._scorer.drift
        sha256 = "" if self._scorer.model is None else self._scorer.model.sha256
        metrics.build = metrics.build._replace(model_sha256=sha256)

    def close(self) -> None:
        """Finish what was asked and stop the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        try:
            self._book.close(self._store.position)
        except StorageFailure as problem:
            self._on_event("labels.book", {"reason": str(problem)})

    def show(self) -> "Future[Answer]":
        """Return the model in force, challengers and models kept."""
        return self._thread.submit(self._view)

    def promote(self, body: PutModel, operator: str) -> "Future[Answer]":
        """Let a model decide from the next batch on."""
        return self._thread.submit(self._promote, body, operator)

    def challenge(self, body: PutModel, operator: str) -> "Future[Answer]":
        """Score in shadow beside the model in force."""
        return self._thread.submit(self._challenge, body, operator)

    def withdraw(self, body: WithdrawModel, operator: str) -> "Future[Answer]":
        """Take a challenger away."""
        return self._thread.submit(self._withdraw, body, operator)

    def rollback(self, body: RollBack, operator: str) -> "Future[Answer]":
        """Let the model before decide again."""
        return self._thread.submit(self._rollback, body, operator)

    def label(self, body: PutLabels, operator: str) -> "Future[Answer]":
        """Take labels in, all or none."""
        return self._thread.submit(self._label, body, operator)

    def _promote(self, body: PutModel, operator: str) -> Answer:
        model = self._given(body)
        if body.dry_run:
            return {**_facts(model), "state": "checked"}
        before = self._scorer.model
        past = self._past()
        if before is not None and before.sha256 != model.sha256:
            past = (before.sha256, *past)[:PAST_MAX]
        return self._put(model, past, operator, body.reason)

    def _rollback(self, body: RollBack, operator: str) -> Answer:
        past = self._past()
        if not past:
            raise api.Conflict("no model was in force before this one")
        return self._put(self._loaded(past[0]), past[1:], operator, body.reason or "rollback")

    def _put(self, model: Model, past: tuple[str, ...], operator: str, reason: str) -> Answer:
        """Assign ``model`` between two batches; durable before it is told."""
        for kept in (self._configured, self._scorer.model):
            if kept is not None and kept.sha256 in past:
                self._keep(kept)

        record = event_record(Kind.MODEL, self._pipeline.now_ns(), model_version=model.version)
        blobs = [
            Blob(0, BlobKind.MODEL_SHA256, bytes.fromhex(model.sha256)),
            Blob(0, BlobKind.OPERATOR, operator.encode()[:64]),
            *([Blob(0, BlobKind.REASON, reason.encode()[:300])] if reason else []),
        ]
        seq, swap_us = self._commit(record, blobs, lambda _: self._swap(model))
        configured = "" if self._configured is None else self._configured.sha256
        self._folder.set_current(Current(model.sha256, past, configured))
        self._metrics.build = self._metrics.build._replace(model_sha256=model.sha256)
        self._on_event("model.applied", {"version": model.sha256, "operator": operator, "seq": seq})
        return {**_facts(model), "state": "in force", "record": seq, "swap_us": swap_us}

    def _swap(self, model: Model) -> None:
        self._metrics.model_changes[0] += 1
        self._scorer.model = model
        self._pipeline.authorizer.settings[Setting.SCORER_LOST] = 0  # one that was lost is replaced
        self._scorer.challengers.pop(model.version, None)
        self._metrics.challengers[0] = len(self._scorer.challengers)

    def _challenge(self, body: PutModel, operator: str) -> Answer:
        model = self._given(body)
        if self._scorer.model is None:
            raise api.Conflict("there is no model in force to challenge")
        if model.version == self._scorer.version:
            raise api.Conflict("this model is in force")
        if len(self._scorer.challengers) >= CHALLENGERS_MAX:
            raise api.Conflict(f"{CHALLENGERS_MAX} challengers run already; withdraw one")
        if body.dry_run:
            return {**_facts(model), "state": "checked"}
        challenger = Challenger(model)
        self._on_loop(lambda: self._scorer.challengers.update({model.version: challenger}))
        self._metrics.challengers[0] = len(self._scorer.challengers)
        self._on_event("model.challenger", {"version": model.sha256, "operator": operator})
        return {**_facts(model), "state": "in shadow"}

    def _withdraw(self, body: WithdrawModel, operator: str) -> Answer:
        found = [
            version
            for version, one in self._scorer.challengers.items()
            if len(body.version) >= 8 and one.model.sha256.startswith(body.version)
        ]
        if len(found) != 1:
            raise api.NotFound(f"no challenger is named {body.version}")
        gone = self._on_loop(lambda: self._scorer.challengers.pop(found[0]))
        self._metrics.challengers[0] = len(self._scorer.challengers)
        self._on_event("model.withdrawn", {"version": gone.model.sha256, "operator": operator})
        return {**_facts(gone.model), "state": "withdrawn"}

    def _label(self, body: PutLabels, operator: str) -> Answer:
        """Look the payments up in the journal, then count the labels, in the order given."""
        originals = self._originals(body.labels)
        answer = {
            "labels": len(body.labels),
            "frauds": sum(one.label == "fraud" for one in body.labels),
        }
        if body.dry_run:
            return {**answer, "state": "checked"}
        ts_ns, last = self._pipeline.now_ns(), 0
        for first in range(0, len(body.labels), _LABELS_A_JOB):
            part = body.labels[first : first + _LABELS_A_JOB]
            records = np.concatenate(
                [label_record(originals[o.record], Label[o.label.upper()], ts_ns) for o in part]
            )
            name = operator.encode()[:64]
            blobs = [Blob(row, BlobKind.OPERATOR, name) for row in range(len(part))]
            last, _ = self._commit(records, blobs, self._count_labels)
            self._book.note(records["ref_seq"].astype(np.int64))
        waits = [ts_ns - int(originals[one.record]["ts_ns"]) for one in body.labels]
        self._metrics.labels += (answer["frauds"], answer["labels"] - answer["frauds"])
        self._metrics.label_lag_s[0] = int(np.median(waits)) // 1_000_000_000
        self._on_event("labels.taken", {"count": len(body.labels), "operator": operator})
        return {**answer, "state": "counted", "record": last}

    def _originals(self, labels: list[LabelOf]) -> dict[int, NDArray[np.void]]:
        """Return the RECORD row of each labelled payment; refuse what cannot be labelled."""
        wanted = np.array([one.record for one in labels], np.int64)
        if len(np.unique(wanted)) != len(wanted):
            raise api.Invalid("labels", "labels: a record is named twice")
        try:
            rows = records_at(self._data, wanted, self._store.position.seq)
            standing = self._book.labelled(wanted)
        except (StorageFailure, LedgerError) as problem:
            raise api.Unavailable(str(problem)) from None
        rows = rows[np.isin(rows["kind"], _LABELLED)]
        found = {int(rows["seq"][at]): rows[at : at + 1][0] for at in range(len(rows))}
        for place, one in enumerate(labels):
            if one.record not in found:
                text = f"labels[{place}]: record {one.record} is no payment of this ledger"
                raise api.Invalid("labels", text)
            if one.record in standing:
                raise api.Conflict(f"labels[{place}]: record {one.record} has its label")
        return found

    def _count_labels(self, records: NDArray[np.void]) -> None:
        authorizer = self._pipeline.authorizer
        apply_labels(records, authorizer.state, authorizer.tables)

    def _given(self, body: PutModel) -> Model:
        """Return the model that a body holds or names, kept in the registry unless a dry run."""
        if bool(body.model) == bool(body.version):
            raise api.Invalid("model", "model: give the file or the version of one that is kept")
        try:
            if body.version:
                return self._folder.load(self._folder.find(body.version))
            return model_from_bytes(body.model) if body.dry_run else self._folder.keep(body.model)
        except ModelError as error:
            raise api.Invalid("model", f"model: {error}") from None

    def _loaded(self, sha256: str) -> Model:
        if self._configured is not None and self._configured.sha256 == sha256:
            return self._configured
        try:
            return self._folder.load(sha256)
        except ModelError as error:
            raise api.Conflict(str(error)) from None

    def _keep(self, model: Model) -> None:
        if model.sha256 not in self._folder.versions():
            self._folder.keep(model.file_bytes())

    def _past(self) -> tuple[str, ...]:
        current, model = self._folder.current(), self._scorer.model
        if current is None or model is None or current.champion != model.sha256:
            return ()
        return current.past

    def _view(self) -> Answer:
        model, kept = self._scorer.model, self._folder.versions()
        champion = None if model is None else _facts(model)
        counts = self._on_loop(self._scorer.counts.copy)
        challengers = [
            {
                **_facts(one.model),
                "payments": int(one.counts.sum()),
                "score_at_budget": _budgets(one.counts),
            }
            for one in self._on_loop(lambda: list(self._scorer.challengers.values()))
        ]
        return {
            "champion": champion,
            "score_at_budget": _budgets(counts),
            "challengers": challengers,
            "past": [sha256[:8] for sha256 in self._past()],
            "kept": [sha256[:8] for sha256 in kept],
        }

    def _commit(
        self,
        records: NDArray[np.void],
        blobs: list[Blob],
        apply: Callable[[NDArray[np.void]], None],
    ) -> tuple[int, float]:
        """Number ``records`` and ``apply`` them between two batches; wait until durable.

        Return the number of the last record and how long the loop was held, in us.
        """
        durable: Future[None] = Future()
        taken: list[float] = []

        def event() -> CommitJob:
            began_ns, state = time.perf_counter_ns(), self._pipeline.authorizer.state
            done = apply_events(records, state.accounts, state.cards, state.cursor)
            assert done == len(records), "models and labels need no room"
            apply(records)
            taken.append((time.perf_counter_ns() - began_ns) / 1000)
            now_ns = self._pipeline.now_ns()
            return event_job(records, now_ns, blobs, lambda: durable.set_result(None))

        self._loop.call_soon_threadsafe(self._pipeline.submit, event)
        try:
            durable.result(_TIMEOUT_S)
        except TimeoutError:
            raise api.Unavailable("the journal has not confirmed the change in time") from None
        return int(records["seq"][-1]), taken[0]

    def _on_loop(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the loop's thread between two batches; return what it returns."""
        result: Future[T] = Future()

        def call() -> None:
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

        self._loop.call_soon_threadsafe(call)
        return result.result(_TIMEOUT_S)


def _facts(model: Model) -> Answer:
    return {
        "name": model.meta.name,
        "version": f"{model.version:08x}",
        "sha256": model.sha256,
        "trees": model.forest.tree_count,
        "depth": model.forest.depth,
        "metrics": model.meta.metrics,
        "costs": [msgspec.to_builtins(one) for one in model.meta.costs],
    }


def _budgets(counts: NDArray[np.int64]) -> dict[str, float | None]:
    """Return the score that each share of payments reaches: where equal alert budgets lie."""
    above = np.cumsum(counts[::-1])[::-1]
    total = int(counts.sum())
    found: dict[str, float | None] = {}
    for share in ALERT_SHARES:
        over = np.flatnonzero(above > share * total)
        found[f"{share:.1%}"] = int(over[-1]) / 10_000 if total and len(over) else None
    return found
