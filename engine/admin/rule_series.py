"""The series of ``/metrics`` about rules: hits, labels of hits, breakers."""

from engine import metrics as m
from engine.admin.series_kinds import Series, Values, single

_RULES_SHOWN = 256  # the page stays bounded; GET /v1/rules has all of a larger set


def _rules(metrics: m.Metrics) -> Values:
    labels = metrics.rules.labels[:_RULES_SHOWN]
    return [
        (tuple(label), n) for label, n in zip(labels, metrics.rules.hits.tolist(), strict=False)
    ]


def _rules_last(metrics: m.Metrics) -> Values:
    labels = zip(metrics.rules.labels[:_RULES_SHOWN], metrics.rules.last_s.tolist(), strict=False)
    return [(tuple(label), seconds) for label, seconds in labels if seconds]


def _rules_labelled(metrics: m.Metrics) -> Values:
    labels = metrics.rules.labels[:_RULES_SHOWN]
    return [
        ((*label, name), float(count))
        for name, counts in zip(("fraud", "genuine"), metrics.rules.labelled.tolist(), strict=True)
        for label, count in zip(labels, counts, strict=False)
        if count
    ]


RULE_SERIES: tuple[Series, ...] = (
    Series(
        "de39_rule_hits_total",
        "counter",
        "",
        ("rule", "action"),
        "Authorizations on which a rule held, also before a restart; in shadow the action says so.",
        _rules,
    ),
    Series(
        "de39_rule_last_hit_timestamp_seconds",
        "gauge",
        "seconds",
        ("rule", "action"),
        "Engine time of the last authorization on which a rule held.",
        _rules_last,
    ),
    Series(
        "de39_rule_labelled_total",
        "counter",
        "",
        ("rule", "action", "label"),
        "Hits of a rule whose payment has a label by now; the share of fraud is its precision.",
        _rules_labelled,
    ),
    single(
        "de39_rule_breaker_trips_total",
        "counter",
        "Rules, or the model, that a breaker has put into shadow.",
        lambda metrics: [((), float(metrics.breaker_trips[0]))],
    ),
)
