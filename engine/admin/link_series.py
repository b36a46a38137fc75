"""The series of ``/metrics`` about lines, messages of the host's own, and reloads."""

from engine import metrics as m
from engine.admin.series_kinds import Series, Values, named, single


def _dials(metrics: m.Metrics) -> Values:
    return [((), float(metrics.counters[m.Counter.DIALS]))]


def _lines_up(metrics: m.Metrics) -> Values:
    return [((), float(metrics.gauges[m.Gauge.LINES_UP]))]


def _outbox(metrics: m.Metrics) -> Values:
    return [((), float(metrics.gauges[m.Gauge.OUTBOX_WAITING]))]


def _stand_in(metrics: m.Metrics) -> Values:
    return [((), float(metrics.counters[m.Counter.STAND_IN]))]


def _reloads(metrics: m.Metrics) -> Values:
    counters = metrics.counters
    yield ("taken",), float(counters[m.Counter.RELOADS])
    yield ("refused",), float(counters[m.Counter.RELOADS_REFUSED])


def _key_calls(metrics: m.Metrics) -> Values:
    calls, failed, _ = metrics.key_module.tolist()
    yield ("ok",), float(calls - failed)
    yield ("failed",), float(failed)


def _key_seconds(metrics: m.Metrics) -> Values:
    return [((), int(metrics.key_module[2]) / 1e9)]


LINK_SERIES: tuple[Series, ...] = (
    Series(
        "de39_upstream_total",
        "counter",
        "",
        ("event",),
        "Messages that the host sent by itself, and what became of them.",
        lambda metrics: named(m.Upstream, metrics.upstream),
    ),
    Series(
        "de39_key_module_calls_total",
        "counter",
        "",
        ("result",),
        "Calls of the security module.",
        _key_calls,
    ),
    single("de39_key_module_seconds_total", "counter", "Time in these calls.", _key_seconds),
    single(
        "de39_stand_in_total",
        "counter",
        "Payments decided by the stand-in, without the scorer.",
        _stand_in,
    ),
    single("de39_dials_total", "counter", "Tries to open a line to a network.", _dials),
    single(
        "de39_lines_up", "gauge", "Lines that the host has opened and that are up now.", _lines_up
    ),
    single("de39_outbox_messages", "gauge", "Messages that the host must still deliver.", _outbox),
    Series(
        "de39_reloads_total",
        "counter",
        "",
        ("result",),
        "Reloads of the configuration, taken or refused.",
        _reloads,
    ),
)
