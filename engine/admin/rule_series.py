"""The series of ``/metrics`` about rules: hits, labels of hits, costs, breakers."""

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


def _rule_times(metrics: m.Metrics) -> Values:
    if metrics.rule_times is None:
        return []
    took_ns, labels = metrics.rule_times.rules, metrics.rules.labels[:_RULES_SHOWN]
    return [(tuple(one), took_ns[one.rule] / 1e9) for one in labels if one.rule in took_ns]


def _set_time(metrics: m.Metrics) -> Values:
    return [] if metrics.rule_times is None else [((), metrics.rule_times.whole / 1e9)]


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
    Series(
        "de39_rule_cost_seconds",
        "gauge",
        "seconds",
        ("rule", "action"),
        "Of one authorization, estimated beside the traffic: each rule runs alone on copies of "
        "recent ones, in blocks of 64, less the fixed cost; what rules share counts for each.",
        _rule_times,
    ),
    Series(
        "de39_rule_set_cost_seconds",
        "gauge",
        "seconds",
        (),
        "The same of all rules of the set together.",
        _set_time,
    ),
    single(
        "de39_rule_breaker_trips_total",
        "counter",
        "Rules, or the model, that a breaker has put into shadow.",
        lambda metrics: [((), float(metrics.breaker_trips[0]))],
    ),
)
