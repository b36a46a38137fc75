"""SHELL: the thread that makes the reasons of record beside a running engine.

The loop copies the feature rows of what was declined or sent to review, after each batch, and what
rules saw where one held; once the batch is durable, the thread takes both into the file
(``engine.reason_store``) and explains the scores there, the oldest first. What waits in the file
outlives a restart. The way there is bounded: past it rows are dropped and counted, as are those a
crash takes, and ``de39 model explain --missing`` makes reasons from the journal, ``de39 rules
explain`` shows what rules saw. The file is bounded by ``[scoring] reasons_bytes_max``: the oldest
payments go in small steps as new ones come. The thread rests four times as long as it works
(``engine.proving`` says why not by priority). Its kernel is no part of the warm-up; a process of
its own compiles it when it is needed first, since compiling holds the interpreter's lock.
"""

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import kernel_cache
from engine.errors import StorageFailure
from engine.metrics import Counter, Gauge, Metrics
from engine.reason_store import Captured, ReasonStore
from engine.rules.book import RuleBook
from engine.rules.seen import Copier
from engine.worker import Worker
from engine.workspace import Workspace
from ledger.record import Flag
from scoring.errors import ModelError
from scoring.model_folder import ModelFolder
from scoring.registry import Model, default_model_path, load_model
from scoring.shapley import Explainer

REFUSED_FROM = 100  # decisions from here on are refusals
QUEUE_ROWS_MAX = 16_384  # 5 MB of rows between the loop and the file
WAITING_ROWS_MAX = 1_000_000  # 300 MB in the file; hours of a core's work
_ROWS_A_TURN = 32  # 20 ms
_REST_SHARE = 4
_FORGOTTEN_A_STEP = 256  # payments, 0.3 MB: some ms
_RETRY_S = 5.0  # after a failure of the file
_EXPLAINERS_MAX = 4
_COMPILED = "reasons"  # the mark beside the compiled kernels
_COMPILE = "import os; os.nice(19); from scoring import shapley; shapley.compile_kernels()"
_POLL_S = 0.1


def is_wanted(
    decisions: NDArray[np.uint16], flags: NDArray[np.uint32], checks: NDArray[np.uint32]
) -> NDArray[np.bool_]:
    """Return which payments need reasons of record: scored, and refused or sent to review.

    Parameters: engine.decision.Decision, ledger.record.Flag and the hash of the feature row (0 =
    not scored) of each, [n].
    """
    return (checks != 0) & is_told(decisions, flags)


def is_told(decisions: NDArray[np.uint16], flags: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which payments were refused or sent to review, [n]."""
    return (decisions >= REFUSED_FROM) | ((flags & Flag.REVIEW) != 0)


def _identities(
    records: NDArray[np.void], rows: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return numbers and times of some records, i64[n] each."""
    return records["seq"][rows].astype(np.int64), records["ts_ns"][rows].astype(np.int64)


def model_of(data: Path, version: int) -> Model | None:
    """Return the model of a version: one that the engine keeps, or the shipped one."""
    folder = ModelFolder(data / "models")
    try:
        shipped = load_model(default_model_path())
        if shipped.version == version:
            return shipped
        return folder.load(folder.find(f"{version:08x}"))
    except ModelError:
        return None


class Explaining(Worker):
    """Follows one engine.

    Parameters
    ----------
    store
        The file; closed with the thread.
    find
        Gives the model of a version, None = not to be had: its rows wait on.
    metrics
        Counts what is made, dropped and waits.
    note
        Told of a failure, one line.

    Attributes
    ----------
    bytes_max
        Most bytes that the file may hold; 0 = no bound. Any thread may set it; it counts from the
        next payment on.
    """

    def __init__(
        self,
        store: ReasonStore,
        find: Callable[[int], Model | None],
        metrics: Metrics,
        note: Callable[[str], None],
    ) -> None:
        super().__init__("reasons")
        self.store = store
        self.bytes_max = 0
        self._find = find
        self._metrics = metrics
        self._note = note
        self._queue: deque[Captured] = deque()
        self._queued_rows = 0
        self._waiting_rows = 0
        self._failures = 0
        self._copier = Copier()
        self._scored_by: Model | None = None
        self._models: dict[int, Model] = {}  # that have scored and are not explained by yet
        self._explainers: dict[int, Explainer] = {}
        self._unknown: set[int] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def start(self) -> None:
        """Begin; what waits in the file is gone on with."""
        self._wake.set()
        super().start()

    def close(self) -> None:
        """Put what is queued into the file, stop, and close it."""
        self._stop.set()
        self._wake.set()
        super().close()
        self.store.close()

    def capture(
        self,
        work: Workspace,
        count: int,
        records: NDArray[np.void],
        model: Model | None,
        rules: RuleBook | None = None,
    ) -> Captured | None:
        """Return copies of the rows of a batch that are to be explained; None = of none.

        Parameters: the workspace after a batch of ``count`` requests; its RECORD (k,); the model
        that scored it; the rules that judged it, None = what they saw is not wanted.
        """
        items, checks = work.items[:count], work.feature_checks
        rows = np.flatnonzero(is_told(items["decision"], items["flags"]))
        rows = rows[items["record"][rows] >= 0]
        if not len(rows):
            return None
        scored, seen, numbers = rows[:0], None, items["record"]
        if model is not None:
            scored = rows[checks[rows] != 0]
        if rules is not None:
            held = rows[work.hits[rows].any(axis=1)]
            if len(held):
                seqs, ts_ns = _identities(records, numbers[held])
                seen = self._copier.rows(rules, work, held, seqs, ts_ns)
        if not len(scored) and seen is None:
            return None
        if len(scored) and self._scored_by is not model and model is not None:
            self._scored_by = self._models[model.version] = model
        version = 0 if model is None else model.version
        seqs, _ = _identities(records, numbers[scored])
        return Captured(version, seqs, checks[scored], work.features[scored], seen)

    def take(self, captured: Captured) -> None:
        """Take payments that are durable; never waits. Past the bound they are counted only."""
        count = captured.row_count
        with self._lock:
            has_room = self._queued_rows + count <= QUEUE_ROWS_MAX
            if has_room:
                self._queue.append(captured)
                self._queued_rows += count
        if has_room:
            self._wake.set()
        else:
            self._drop(captured.payment_count)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self._waiting_rows = self.store.waiting_count()
                while self._turn() and not self._stop.is_set():
                    pass
            except StorageFailure as problem:
                self._failures += 1
                if self._failures == 1:
                    self._note(f"reasons: {problem}")
                self._stop.wait(_RETRY_S)
                self._wake.set()
        try:
            self._keep()
        except StorageFailure as problem:
            self._note(f"reasons: {problem}")

    def _turn(self) -> bool:
        """Keep what is queued, explain some of what waits; False when there is nothing to do."""
        self._keep()
        started_s = time.monotonic()
        is_too_large = self._forget(1)
        part = self.store.waiting(_ROWS_A_TURN, self._unknown)
        self._metrics.gauges[Gauge.REASONS_WAITING] = self._waiting_rows
        if part is None:
            if is_too_large:
                self._stop.wait(_REST_SHARE * (time.monotonic() - started_s))
            return is_too_large
        explainer = self._explainer(part.model)
        if explainer is None:
            return True
        self.store.put(part.records, explainer.values(part.features), explainer.expected)
        self._waiting_rows -= len(part.records)
        self._metrics.counters[Counter.REASONS_MADE] += len(part.records)
        self._metrics.gauges[Gauge.REASONS_WAITING] = self._waiting_rows
        self._stop.wait(_REST_SHARE * (time.monotonic() - started_s))
        return True

    def _keep(self) -> None:
        """Move what is queued into the file, as far as there is room."""
        while True:
            with self._lock:
                if not self._queue:
                    return
                captured = self._queue.popleft()
                self._queued_rows -= captured.row_count
            count = len(captured.records)
            has_room = self._waiting_rows + count <= WAITING_ROWS_MAX
            try:
                if captured.seen is not None:
                    self.store.add_seen(captured.seen)
                if has_room:
                    self.store.add(captured)
            except StorageFailure:
                self._drop(captured.payment_count)
                raise
            if has_room:
                self._waiting_rows += count
            else:
                self._drop(count)
            # Twice as many may go as came, so that what is over the bound gets less.
            self._forget(-(-2 * captured.row_count // _FORGOTTEN_A_STEP))

    def _forget(self, steps: int) -> bool:
        """Remove the oldest payments while the file is over its bound; True = it still is."""
        while is_too_large := 0 < self.bytes_max < self.store.used_bytes():
            if steps == 0:
                break
            steps -= 1
            went, waited = self.store.forget_oldest(_FORGOTTEN_A_STEP)
            if went == 0:
                return False  # what an empty file takes is over the bound
            self._waiting_rows -= waited
            self._metrics.counters[Counter.REASONS_FORGOTTEN] += went
        return is_too_large

    def _drop(self, count: int) -> None:
        self._metrics.counters[Counter.REASONS_DROPPED] += count

    def _explainer(self, version: int) -> Explainer | None:
        """Return what explains a model's scores; None when the model is not to be had."""
        if version in self._explainers:
            return self._explainers[version]
        model = self._models.pop(version, None) or self._find(version)
        if model is None:
            self._unknown.add(version)
            self._note(f"reasons: model {version:08x} is not kept; its payments wait")
            return None
        self._compile_apart()
        if len(self._explainers) >= _EXPLAINERS_MAX:
            self._explainers.pop(next(iter(self._explainers)))
        self._explainers[version] = Explainer(model.forest)
        return self._explainers[version]

    def _compile_apart(self) -> None:
        """Have another process compile the kernels into the cache, unless they are there."""
        folder = os.environ.get("NUMBA_CACHE_DIR")
        if folder is None or kernel_cache.is_warm(Path(folder), _COMPILED):
            return
        # -P: a folder named like one of our packages in the working directory means nothing.
        with subprocess.Popen(
            [sys.executable, "-P", "-c", _COMPILE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None:
                if self._stop.wait(_POLL_S):
                    process.kill()
        if process.returncode == 0:
            kernel_cache.mark_warm(Path(folder), _COMPILED)
