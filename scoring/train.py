"""Trains a model on a stream of payments. The only file that imports XGBoost, and only to train.

Features come from the kernels that also serve, so there is one definition of each. The same input
and seed give the same file, byte for byte (one thread count, no clock in the file).

XGBoost's defaults moved between versions and cost quality on rare fraud, so what matters is said by
name: exact splits and base_score 0.5 up to EXACT_ROWS_MAX rows, 4,096 bins beyond.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.calibration import cost_thresholds, fit_platt
from scoring.drift import spreads_of
from scoring.errors import ModelError
from scoring.features import EXTRAS, FEATURES, SHARED, schema_hash
from scoring.forest import DEPTH_MAX, forest_from_booster, sigmoid_cuts
from scoring.kernels import features_of_stream, score_bp, score_margins
from scoring.metrics import average_precision, roc_auc, threshold_table
from scoring.payment import PAYMENT, PaymentFlag
from scoring.registry import MCC_COUNT, Model, ModelMeta, model_bytes, model_from_bytes
from scoring.tables import tables
from scoring.velocity import new_cards, new_merchants

LABEL_DELAY_S = 7 * 86_400  # a fraud is confirmed a week after the payment
EXACT_ROWS_MAX = 250_000
CHUNK_ROWS = 65_536
MCC_PRIOR_ROWS = 200.0  # a category's risk starts at the overall rate with this many payments
_MCC_RISK = next(i for i, feature in enumerate(FEATURES) if feature.name == "mcc_risk")

Progress = Callable[[str, int, int], None]  # what, done, of how many


def compute_features(
    payments: NDArray[np.void],
    approved: NDArray[np.uint8] | None,
    card_count: int,
    merchant_count: int,
    bin_count: int,
    *,
    labels: NDArray[np.uint8] | None = None,
    label_delay_s: int = LABEL_DELAY_S,
    mcc_risk: NDArray[np.float32] | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return features f32[n, 30], extras f32[n, 2] and shared f32[n, 10] of a whole stream.

    Parameters: payments PAYMENT[n] sorted by t_s; approved u8[n], None = all; the counts are sizes
    of the state (largest row number + 1); labels u8[n], 1 = fraud, counted on the merchant
    ``label_delay_s`` after the payment (None = no labels arrive); mcc_risk f32[10000], None =
    zeros, which is right before ``train_model``.
    """
    count = len(payments)
    _check_stream(payments, (card_count, merchant_count, bin_count))
    constant = tables()
    features = np.zeros((count, len(FEATURES)), np.float32)
    extras = np.zeros((count, len(EXTRAS)), np.float32)
    shared = np.zeros((count, len(SHARED)), np.float32)
    decided = np.ones(count, np.uint8) if approved is None else _flags(approved, count)
    known = np.zeros(count, np.uint8) if labels is None else _flags(labels, count)
    risk = np.zeros(MCC_COUNT, np.float32) if mcc_risk is None else mcc_risk
    state = new_merchants(merchant_count), new_merchants(bin_count), new_cards(card_count)
    span = np.zeros(3, np.int64)
    for first in range(0, count, CHUNK_ROWS):
        span[0], span[1] = first, min(first + CHUNK_ROWS, count)
        features_of_stream(
            payments, decided, known, label_delay_s, *state,
            constant.curves, constant.countries, risk, shared, features, extras, span,
        )  # fmt: skip
        if progress is not None:
            progress("features", int(span[1]), count)
    return features, extras, shared


def train_model(
    features: NDArray[np.float32],
    labels: NDArray[np.uint8],
    payments: NDArray[np.void],
    *,
    seed: int,
    trees: int = 100,
    depth: int = 6,
    learning_rate: float = 0.1,
    held_out_share: float = 0.25,
    threads: int = 2,
    name: str = "default",
    note: str = "",
    progress: Progress | None = None,
) -> Model:
    """Train on the earlier payments, measure on the later ones, and return the model as loaded.

    Parameters: features f32[n, 30] of ``compute_features``, whose mcc_risk column is learnt and
    filled in here from the training part alone; labels u8[n]; payments PAYMENT[n] sorted by time;
    ``held_out_share`` of the rows, the last ones, is only measured on. Raises ModelError if there
    is nothing to learn, or if the exported trees do not equal XGBoost's on the held-out rows.
    """
    cut = _training_rows(labels, held_out_share, depth)
    mcc_risk = learn_mcc_risk(payments[:cut], labels[:cut])
    filled = _filled(mcc_risk, payments, features)
    if not np.isfinite(filled).all():
        raise ModelError("features hold NaN or infinity; they come from compute_features")
    booster = boosted(
        filled[:cut],
        labels[:cut],
        seed=seed,
        trees=trees,
        depth=depth,
        learning_rate=learning_rate,
        threads=threads,
        progress=progress,
    )
    forest = forest_from_booster(booster)
    rest = filled[cut:]
    idx = np.arange(len(rest), dtype=np.int32)
    margins = np.zeros(len(rest), np.float32)
    score_margins(rest, idx, forest.nodes, forest.leaves, forest.depth, forest.base, margins)
    if not np.array_equal(margins, booster.inplace_predict(rest, predict_type="margin")):
        raise ModelError("exported trees differ from XGBoost on held-out rows; nothing was kept")
    # Half of what was held out sets the calibration, the other half measures it all.
    half = len(rest) // 2
    line = fit_platt(margins[:half], labels[cut : cut + half])
    cuts = sigmoid_cuts(line.slope, line.offset)
    scores = np.zeros(len(rest), np.uint16)
    score_bp(margins, idx, cuts, scores)
    last = payments[cut:]
    meta = ModelMeta(
        name=name,
        feature_names=tuple(feature.name for feature in FEATURES),
        schema_hash=schema_hash(),
        trained_from_s=int(payments["t_s"][0]),
        trained_to_s=int(payments["t_s"][cut - 1]),
        rows=cut,
        frauds=int(labels[:cut].sum()),
        seed=seed,
        metrics=_metrics(labels[cut:], margins),
        thresholds=threshold_table(labels[cut:], scores),
        calibration=line,
        costs=cost_thresholds(
            scores,
            labels[cut:],
            last["amount_minor"] / 10.0 ** last["exponent"],
            (last["flags"] & PaymentFlag.CNP) != 0,
        ),
        spreads=spreads_of(filled[:cut], scores),
        note=note,
    )
    return model_from_bytes(model_bytes(forest, cuts, mcc_risk, meta))


def features_with(
    model: Model, payments: NDArray[np.void], features: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return features f32[n, k] of PAYMENT[n] as ``model`` reads them: with its own categories."""
    return _filled(model.mcc_risk, payments, features)


def _filled(
    mcc_risk: NDArray[np.float32], payments: NDArray[np.void], features: NDArray[np.float32]
) -> NDArray[np.float32]:
    filled = np.ascontiguousarray(features, np.float32).copy()
    filled[:, _MCC_RISK] = mcc_risk[np.minimum(payments["mcc"], MCC_COUNT - 1)]
    return filled


def score_rows(
    model: Model, features: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Return margins f32[n] and scores u16[n] (basis points) of rows f32[n, k], as when serving."""
    forest, idx = model.forest, np.arange(len(features), dtype=np.int32)
    margins, scores = np.zeros(len(features), np.float32), np.zeros(len(features), np.uint16)
    score_margins(features, idx, forest.nodes, forest.leaves, forest.depth, forest.base, margins)
    score_bp(margins, idx, model.cuts, scores)
    return margins, scores


def learn_mcc_risk(payments: NDArray[np.void], labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return f32[10000]: fraud rate by category, drawn to the overall rate where data is thin."""
    mcc = np.minimum(payments["mcc"], MCC_COUNT - 1).astype(np.int64)
    rows = np.bincount(mcc, minlength=MCC_COUNT)
    frauds = np.bincount(mcc, weights=labels, minlength=MCC_COUNT)
    overall = float(labels.mean())
    return ((frauds + MCC_PRIOR_ROWS * overall) / (rows + MCC_PRIOR_ROWS)).astype(np.float32)


def boosted(
    features: NDArray[np.float32],
    labels: NDArray[np.uint8],
    *,
    seed: int,
    trees: int,
    depth: int,
    learning_rate: float,
    threads: int,
    progress: Progress | None = None,
) -> Any:
    """Return a trained ``xgboost.Booster``: exact splits, or 4,096 bins past EXACT_ROWS_MAX."""
    import xgboost  # noqa: PLC0415 - heavy, and never needed to serve

    exact = len(labels) <= EXACT_ROWS_MAX
    parameters = {
        "objective": "binary:logistic",
        "base_score": 0.5,
        "tree_method": "exact" if exact else "hist",
        "max_depth": depth,
        "learning_rate": learning_rate,
        "seed": seed,
        "nthread": threads,
        **({} if exact else {"max_bin": 4_096}),
    }
    data = xgboost.DMatrix(features, labels, nthread=threads)
    booster = xgboost.Booster(parameters, [data])
    for number in range(trees):
        booster.update(data, number)
        if progress is not None:
            progress("trees", number + 1, trees)
    return booster


def _metrics(labels: NDArray[np.uint8], margins: NDArray[np.float32]) -> dict[str, float]:
    """Return the figures of the held-out part; empty if it holds only one kind of payment."""
    if not 0 < labels.sum() < len(labels):
        return {}
    return {
        "held_out_rows": float(len(labels)),
        "held_out_frauds": float(labels.sum()),
        "fraud_rate": round(float(labels.mean()), 6),
        "roc_auc": round(roc_auc(labels, margins), 6),
        "average_precision": round(average_precision(labels, margins), 6),
    }


def _training_rows(labels: NDArray[np.uint8], held_out_share: float, depth: int) -> int:
    """Return how many rows come before the held-out part; refuse what cannot be trained on."""
    if not 0.0 <= held_out_share < 1.0:
        raise ModelError(f"held_out_share is {held_out_share}, must be from 0 to below 1")
    if not 1 <= depth <= DEPTH_MAX:
        raise ModelError(f"depth is {depth}, must be 1 to {DEPTH_MAX}")
    cut = round(len(labels) * (1.0 - held_out_share))
    frauds = int(labels[:cut].sum())
    if not 0 < frauds < cut:
        raise ModelError(f"{cut} training payments hold {frauds} frauds; need both kinds")
    return cut


def _check_stream(payments: NDArray[np.void], counts: tuple[int, int, int]) -> None:
    """Refuse a stream that the kernels, which check nothing, must not read."""
    if payments.dtype != PAYMENT:
        raise ModelError("payments are not rows of scoring.payment.PAYMENT")
    if len(payments) and (np.diff(payments["t_s"].astype(np.int64)) < 0).any():
        raise ModelError("payments are not sorted by t_s")
    for field, count in zip(("card", "merchant", "bin"), counts, strict=True):
        if len(payments) and int(payments[field].max()) >= count:
            raise ModelError(f"{field} {int(payments[field].max())} is past the {count} rows given")


def _flags(values: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Return a writable u8[n] copy of 0/1 values."""
    if len(values) != count:
        raise ModelError(f"{len(values)} flags for {count} payments")
    return np.array(values, np.uint8)
