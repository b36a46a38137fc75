"""The series of ``/metrics`` about the scorer: labels, models, drift."""

from engine import metrics as m
from engine.admin.series_kinds import Series, Values, single


def _labels(metrics: m.Metrics) -> Values:
    yield ("fraud",), float(metrics.labels[0])
    yield ("genuine",), float(metrics.labels[1])


def _drift(metrics: m.Metrics) -> Values:
    return [((name,), value) for name, value in metrics.drift().items()]


MODEL_SERIES: tuple[Series, ...] = (
    single(
        "de39_alerts_total",
        "counter",
        "Authorizations that a rule refused, stepped up or sent to review.",
        lambda metrics: [((), float(metrics.score_facts[2]))],
    ),
    single(
        "de39_merchants_unseen_total",
        "counter",
        "Merchants seen for the first time since the start.",
        lambda metrics: [((), float(metrics.counters[m.Counter.MERCHANTS_UNSEEN]))],
    ),
    Series("de39_labels_total", "counter", "", ("label",), "Labels taken in.", _labels),
    single(
        "de39_label_lag_seconds",
        "gauge",
        "From payment to label, median of the last labels taken in.",
        lambda metrics: [((), float(metrics.label_lag_s[0]))],
    ),
    single(
        "de39_model_changes_total",
        "counter",
        "Models put in force since the start.",
        lambda metrics: [((), float(metrics.model_changes[0]))],
    ),
    single(
        "de39_challengers",
        "gauge",
        "Models that score in shadow.",
        lambda metrics: [((), float(metrics.challengers[0]))],
    ),
    single(
        "de39_scorer_failures_total",
        "counter",
        "Scoring stages of a batch that failed; its payments were left to the stand-in.",
        lambda metrics: [((), float(metrics.counters[m.Counter.SCORER_FAILURES]))],
    ),
    single(
        "de39_scorer_off",
        "gauge",
        "1 while the scorer is out of use because it failed or was slow.",
        lambda metrics: [((), float(metrics.gauges[m.Gauge.SCORER_OFF]))],
    ),
    single(
        "de39_reasons_made_total",
        "counter",
        "Payments refused or sent to review whose exact reasons were made.",
        lambda metrics: [((), float(metrics.counters[m.Counter.REASONS_MADE]))],
    ),
    single(
        "de39_reasons_dropped_total",
        "counter",
        "Of these, payments that nothing was kept of; `de39 model explain --missing` makes them.",
        lambda metrics: [((), float(metrics.counters[m.Counter.REASONS_DROPPED]))],
    ),
    single(
        "de39_reasons_forgotten_total",
        "counter",
        "Payments, the oldest, whose reasons were removed to keep `reasons.db` in its bound.",
        lambda metrics: [((), float(metrics.counters[m.Counter.REASONS_FORGOTTEN]))],
    ),
    single(
        "de39_reasons_waiting",
        "gauge",
        "Payments whose exact reasons are still to be made.",
        lambda metrics: [((), float(metrics.gauges[m.Gauge.REASONS_WAITING]))],
    ),
    Series(
        "de39_drift_psi",
        "gauge",
        "",
        ("column",),
        "Population stability index of each feature and the score since the model came.",
        _drift,
    ),
)
