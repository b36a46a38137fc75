"""What a score costs: the forest kernel against XGBoost, ONNX Runtime, treelite, other layouts.

Both score the same rows with the same model in one thread of the same process; the margins must be
equal bit for bit, which is checked before anything is timed. The time of a batch includes the call
from Python, as the engine pays it; the rows of "in a jitted loop" are one call a row from compiled
code. A figure is the median of the runs, each the mean over _SECONDS_PER_RUN.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.figures import Figure, cost_figure, print_figures
from bench.forest_variants import Scorer, variants
from bench.onnx_model import onnx_model
from ledger.jit import kernel
from scoring.features import EXTRAS, FEATURES, SHARED
from scoring.forest import Forest, forest_from_booster
from scoring.kernels import card_pass, card_update, score_margins, shared_pass
from scoring.payment import PAYMENT
from scoring.registry import MCC_COUNT
from scoring.tables import tables
from scoring.velocity import new_cards, new_merchants

TREE_COUNTS = (100, 200)
BATCHES = (1, 64, 1_024)
_DEPTH = 6
_TRAINING_ROWS = 20_000
_SECONDS_PER_RUN = 0.1
_SEED = 39
_CARD_COUNT = 100_000
_MERCHANT_COUNT = 10_000
_BATCHES_OF_STREAM = 100


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCase:
    """A trained booster, its exported forest and rows f32[n, k] to score."""

    booster: Any
    forest: Forest
    rows: NDArray[np.float32]


def run(*, json: bool = False, runs: int = 5) -> None:
    """Measure the scorer and the feature kernels, in us a row.

    Parameters
    ----------
    json : bool
        Print a JSON list of figures instead of a table.
    runs : int
        Measurements of each figure; the median is reported.
    """
    print_figures(figures(runs=runs), as_json=json)


def figures(*, runs: int = 5) -> list[Figure]:
    """Return every forest and batch size against XGBoost, then peers, layouts and features."""
    found: list[Figure] = []
    for tree_count in TREE_COUNTS:
        case = score_case(tree_count)
        _check_equal(case)
        for batch in BATCHES:
            ours, theirs = kernel_work(case, batch), xgboost_work(case, batch)
            pairs = [(_us_a_row(ours, batch), _us_a_row(theirs, batch)) for _ in range(runs)]
            baseline = statistics.median(pair[1] for pair in pairs)
            costs = [pair[0] for pair in pairs]
            name = f"score, {tree_count} trees, batch {batch}"
            found.append(cost_figure(name, "us/row", costs, "inplace_predict", baseline))
        one = statistics.median(_us_a_row(xgboost_work(case, 1), 1) for _ in range(runs))
        costs = [_us_a_row(loop_work(case), max(BATCHES)) for _ in range(runs)]
        name = f"score, {tree_count} trees, rows in a jitted loop"
        found.append(cost_figure(name, "us/row", costs, "inplace_predict, batch 1", one))
    case = score_case(max(TREE_COUNTS))
    found += _against(case, peers(case), "score", runs)
    layouts = {name: _layout_work(scorer) for name, scorer in variants(case.forest).items()}
    found += _against(case, layouts, "layout", runs)
    return found + _feature_figures(runs)


def peers(case: ScoreCase) -> dict[str, Callable[[ScoreCase, int], Callable[[], object]]]:
    """Return the peers that are installed, by name; each is checked against the model's margins."""
    found = {}
    with suppress(ImportError):
        found["onnxruntime"] = _onnx_work(case)
    with suppress(ImportError):
        found["treelite"] = _treelite_work(case)
    return found


def _onnx_work(case: ScoreCase) -> Callable[[ScoreCase, int], Callable[[], object]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_model(case.booster), options, providers=["CPUExecutionProvider"]
    )
    expected = case.booster.inplace_predict(case.rows[:256], predict_type="margin")
    margins = session.run(None, {"rows": case.rows[:256]})[0][:, 0]
    if not np.allclose(margins, expected, atol=1e-5):
        raise RuntimeError("onnxruntime scores another model")

    def work(same: ScoreCase, batch: int) -> Callable[[], object]:
        turn = cycle(_parts(same, batch))
        return lambda: session.run(None, {"rows": next(turn)})

    return work


def _treelite_work(case: ScoreCase) -> Callable[[ScoreCase, int], Callable[[], object]]:
    import treelite

    model = treelite.frontend.from_xgboost(case.booster)
    expected = case.booster.inplace_predict(case.rows[:256], predict_type="margin")
    margins = treelite.gtil.predict(model, case.rows[:256], nthread=1, pred_margin=True)
    if not np.allclose(np.ravel(margins), expected, atol=1e-5):
        raise RuntimeError("treelite scores another model")

    def work(same: ScoreCase, batch: int) -> Callable[[], object]:
        turn = cycle(_parts(same, batch))
        return lambda: treelite.gtil.predict(model, next(turn), nthread=1, pred_margin=True)

    return work


def _layout_work(scorer: Scorer) -> Callable[[ScoreCase, int], Callable[[], object]]:
    def work(case: ScoreCase, batch: int) -> Callable[[], object]:
        expected = case.booster.inplace_predict(case.rows, predict_type="margin")
        if scorer(case.rows).tobytes() != expected.tobytes():
            raise RuntimeError("a layout disagrees with XGBoost on a margin")
        turn = cycle(_parts(case, batch))
        return lambda: scorer(next(turn))

    return work


def _against(
    case: ScoreCase,
    others: dict[str, Callable[[ScoreCase, int], Callable[[], object]]],
    what: str,
    runs: int,
) -> list[Figure]:
    """Return our kernel against each other scorer at every batch size, run by run in turn."""
    found = []
    for other, make in others.items():
        for batch in BATCHES:
            ours, theirs = kernel_work(case, batch), make(case, batch)
            pairs = [(_us_a_row(ours, batch), _us_a_row(theirs, batch)) for _ in range(runs)]
            baseline = statistics.median(pair[1] for pair in pairs)
            name = f"{what}, {case.forest.tree_count} trees, batch {batch}, {other}"
            found.append(cost_figure(name, "us/row", [p[0] for p in pairs], other, baseline))
    return found


def _parts(case: ScoreCase, batch: int) -> list[NDArray[np.float32]]:
    """Return up to 64 batches of rows, each an array of its own."""
    return [
        case.rows[first : first + batch].copy()
        for first in range(0, min(len(case.rows), 64 * batch) - batch + 1, batch)
    ]


def score_case(tree_count: int) -> ScoreCase:
    """Return a forest of depth 6 trained on seeded rows, alike for every run."""
    import xgboost

    rng = np.random.default_rng(_SEED)
    rows = rng.normal(size=(_TRAINING_ROWS, len(FEATURES))).astype(np.float32)
    labels = rows[:, :8].sum(axis=1) + 2.0 * rng.normal(size=_TRAINING_ROWS) > 3.0
    parameters = {
        "objective": "binary:logistic",
        "base_score": 0.5,
        "tree_method": "hist",
        "max_depth": _DEPTH,
        "learning_rate": 0.1,
        "nthread": 1,
        "seed": _SEED,
    }
    data = xgboost.DMatrix(rows, labels, nthread=1)
    booster = xgboost.train(parameters, data, tree_count)
    return ScoreCase(booster, forest_from_booster(booster), rows)


def kernel_work(case: ScoreCase, batch: int) -> Callable[[], object]:
    """Return one call of the kernel; each call takes the next rows."""
    forest, margins = case.forest, np.zeros(len(case.rows), np.float32)
    places = [
        np.arange(first, first + batch, dtype=np.int32)
        for first in range(0, min(len(case.rows), 64 * batch) - batch + 1, batch)
    ]
    turn = cycle(places)

    def work() -> object:
        return score_margins(
            case.rows,
            next(turn),
            forest.nodes,
            forest.leaves,
            forest.depth,
            forest.base,
            margins,
        )

    return work


def xgboost_work(case: ScoreCase, batch: int) -> Callable[[], object]:
    """Return one call of ``Booster.inplace_predict``; each call takes the next rows."""
    turn = cycle(_parts(case, batch))
    return lambda: case.booster.inplace_predict(next(turn), predict_type="margin")


def loop_work(case: ScoreCase) -> Callable[[], object]:
    """Return one jitted loop over the largest batch that calls the kernel once a row."""
    forest, margins = case.forest, np.zeros(len(case.rows), np.float32)
    idx = np.arange(max(BATCHES), dtype=np.int32)
    return lambda: _one_by_one(
        case.rows, idx, forest.nodes, forest.leaves, forest.depth, forest.base, margins
    )


@kernel
def _one_by_one(
    rows: NDArray[np.float32],
    idx: NDArray[np.int32],
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    depth: int,
    base: float,
    margins: NDArray[np.float32],
) -> None:
    """Score the rows of ``idx`` one call a row."""
    for k in range(len(idx)):
        score_margins(rows, idx[k : k + 1], nodes, leaves, depth, base, margins)


def feature_work(batch: int) -> Callable[[], object]:
    """Return the three feature kernels over the next batch of a stream of 100,000 cards."""
    rng = np.random.default_rng(_SEED)
    constant = tables()
    cards, risk = new_cards(_CARD_COUNT), np.zeros(MCC_COUNT, np.float32)
    merchants, bins = new_merchants(_MERCHANT_COUNT), new_merchants(100)
    shared, extras = np.zeros((batch, len(SHARED)), "f4"), np.zeros((batch, len(EXTRAS)), "f4")
    features = np.zeros((batch, len(FEATURES)), np.float32)
    idx, approved = np.arange(batch, dtype=np.int32), np.ones(batch, np.uint8)
    turn = cycle([_payments(rng, batch) for _ in range(_BATCHES_OF_STREAM)])
    clock_s = 1_700_000_000

    def work() -> None:
        nonlocal clock_s
        payments = next(turn)
        clock_s += 1
        payments["t_s"] = clock_s
        shared_pass(payments, idx, merchants, bins, constant.curves, shared)
        card_pass(
            payments,
            idx,
            cards,
            shared,
            constant.curves,
            constant.countries,
            risk,
            features,
            extras,
        )
        card_update(payments, idx, approved, cards, constant.curves)

    return work


def _payments(rng: np.random.Generator, count: int) -> NDArray[np.void]:
    payments = np.zeros(count, PAYMENT)
    payments["amount_minor"] = rng.integers(100, 50_000, count)
    payments["card"] = rng.integers(1, _CARD_COUNT, count)
    payments["merchant"] = rng.integers(1, _MERCHANT_COUNT, count)
    payments["bin"] = rng.integers(1, 100, count)
    payments["mcc"] = rng.choice([5_411, 5_812, 5_999, 4_829], count)
    payments["country"] = rng.choice([840, 826, 250], count)
    payments["flags"] = rng.integers(0, 2, count)
    payments["exponent"] = 2
    return payments


def _feature_figures(runs: int) -> list[Figure]:
    """Return the cost of all three feature kernels; the baseline is a call for each row."""
    single = feature_work(1)
    baseline = statistics.median(_us_a_row(single, 1) for _ in range(runs))
    found = []
    for batch in (1_024, 64):
        work = feature_work(batch)
        costs = [_us_a_row(work, batch) for _ in range(runs)]
        name = f"features (shared, read, update), batch {batch}"
        found.append(cost_figure(name, "us/row", costs, "the same kernels, batch 1", baseline))
    return found


def _check_equal(case: ScoreCase) -> None:
    forest, margins = case.forest, np.zeros(len(case.rows), np.float32)
    idx = np.arange(len(case.rows), dtype=np.int32)
    score_margins(case.rows, idx, forest.nodes, forest.leaves, forest.depth, forest.base, margins)
    if not np.array_equal(margins, case.booster.inplace_predict(case.rows, predict_type="margin")):
        raise RuntimeError("kernel and XGBoost disagree on a margin")


def _us_a_row(work: Callable[[], object], row_count: int) -> float:
    work()
    calls = 0
    started = time.perf_counter()
    while time.perf_counter() - started < _SECONDS_PER_RUN:
        for _ in range(8):
            work()
        calls += 8
    return (time.perf_counter() - started) * 1e6 / (calls * row_count)
