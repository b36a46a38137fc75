"""The text of /metrics: valid, bounded, quick, and it says what the arrays hold."""

import shutil
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from engine import metrics as m
from engine.admin.collector import make_registry
from engine.admin.series import SERIES
from engine.decision import Decision
from engine.rule_counts import RuleLabel
from engine.rules.limits import RULES_MAX

Sample = tuple[str, frozenset[tuple[str, str]]]


def build() -> m.BuildInfo:
    """Return a build with its hashes."""
    return m.BuildInfo("0.1.0", "3.11.7", "ab" * 32, "cd" * 32)


def busy_metrics() -> m.Metrics:
    """Return metrics with something in every place there is."""
    metrics = m.Metrics(build())
    for array in vars(metrics).values():
        if isinstance(array, np.ndarray) and array.dtype == np.int64:
            array[...] = 3
    metrics.codes[:] = [m.RESPONSE_CODES - 1, *(0x3030 + s for s in range(1, m.RESPONSE_CODES))]
    metrics.rules.set_rules([RuleLabel(f"R{bit}", "decline") for bit in range(RULES_MAX)])
    return metrics


def samples(registry: CollectorRegistry) -> Iterator[tuple[Sample, float]]:
    """Parse the page with the parser of prometheus-client."""
    text = generate_latest(registry).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value


def value(metrics: m.Metrics, name: str, **labels: str) -> float:
    """Return one sample of the page."""
    return dict(samples(make_registry(metrics)))[name, frozenset(labels.items())]


@pytest.mark.parametrize("metrics", [m.Metrics(build()), busy_metrics()], ids=["fresh", "busy"])
def test_the_page_is_valid_unique_and_bounded(metrics: m.Metrics) -> None:
    """It parses in both formats, no series comes twice, none ends in _created, under 2,000."""
    registry = make_registry(metrics)
    keys = [key for key, _ in samples(registry)]
    assert len(keys) == len(set(keys)) < 2_000
    assert not [name for name, _ in keys if name.endswith("_created")]
    names = {family.name for family in openmetrics_families(openmetrics_text(registry).decode())}
    expected = {series.name.removesuffix("_total") for series in SERIES}
    # A gauge called ..._info is read back as an info family.
    assert expected - {"de39_build_info"} <= names


def test_a_page_takes_under_ten_milliseconds() -> None:
    """The time of the process for one page of an engine that has seen ordinary traffic."""
    metrics = m.Metrics(build())
    metrics.rules.set_rules([RuleLabel(f"R{bit}", "decline") for bit in range(20)])
    metrics.codes[:13] = [12, *(0x3030 + s for s in range(1, 13))]
    metrics.responses[:4, :13] = 7
    metrics.decided[[decision.value for decision in Decision]] = 7
    registry = make_registry(metrics)
    seconds = []
    for _ in range(7):
        started = time.thread_time()
        generate_latest(registry)
        seconds.append(time.thread_time() - started)
    assert min(seconds) < 0.010


def test_values_are_those_of_the_arrays() -> None:
    """Counters, gauges, labels and histogram sums come out in base units."""
    metrics = m.Metrics(build())
    metrics.requests_in[0] = 4
    metrics.requests_in[-1] = 2
    metrics.codes[:2] = [1, ord("5") | ord("1") << 8]
    metrics.responses[0, 1] = 3
    metrics.decided[Decision.NOT_ENOUGH_FUNDS] = 3
    metrics.decided[Decision.REVERSED] = 1
    metrics.decided[999] = 8
    metrics.shed[m.Shed.OVERLOAD] = 5
    metrics.rules.set_rules([RuleLabel("R7", "decline")])
    metrics.rules.hits[0] = 6
    metrics.set_table(m.Table.CARDS, 10, 100)
    metrics.beat(1, lag_ns=2_500_000)
    metrics.observe(m.Stage.SCORE, 2_000, weight=10)
    metrics.observe_commit(3, 150_000)
    metrics.score_facts[:] = (15_000, 2, 7)
    metrics.scores[[9, 19]] = 1
    seconds = "de39_stage_duration_seconds"
    found = {
        "in": value(metrics, "de39_requests_total", mti="0100"),
        "unreadable": value(metrics, "de39_requests_total", mti="unreadable"),
        "out": value(metrics, "de39_responses_total", mti="0110", response_code="51"),
        "decision": value(metrics, "de39_decisions_total", decision="not_enough_funds"),
        "unnamed": value(metrics, "de39_decisions_total", decision="unnamed"),
        "declines": value(metrics, "de39_declines_total", source="funds"),
        "reversed": value(metrics, "de39_reversals_total", outcome="reversed"),
        "shed": value(metrics, "de39_shed_total", reason="overload"),
        "rule": value(metrics, "de39_rule_hits_total", rule="R7", action="decline"),
        "cards": value(metrics, "de39_table_rows", table="cards"),
        "lag": value(metrics, "de39_event_loop_lag_seconds"),
        "under": value(metrics, f"{seconds}_bucket", stage="score", le="1.5e-06"),
        "at": value(metrics, f"{seconds}_bucket", stage="score", le="2.25e-06"),
        "count": value(metrics, f"{seconds}_count", stage="score"),
        "sum": value(metrics, f"{seconds}_sum", stage="score"),
        "group": value(metrics, "de39_ledger_group_records_bucket", le="4.0"),
        "sync": value(metrics, "de39_ledger_fsync_duration_seconds_sum"),
        "half": value(metrics, "de39_score_bucket", le="0.5"),
        "scores": value(metrics, "de39_score_count"),
        "score sum": value(metrics, "de39_score_sum"),
        "unscored": value(metrics, "de39_unscored_total"),
        "alerts": value(metrics, "de39_alerts_total"),
    }
    assert found == {
        "in": 4,
        "unreadable": 2,
        "out": 3,
        "decision": 3,
        "unnamed": 8,
        "declines": 3,
        "reversed": 1,
        "shed": 5,
        "rule": 6,
        "cards": 10,
        "lag": pytest.approx(0.0025),
        "under": 0,
        "at": 10,
        "count": 10,
        "sum": pytest.approx(2e-5),
        "group": 1,
        "sync": pytest.approx(0.00015),
        "half": 1,
        "scores": 2,
        "score sum": 1.5,
        "unscored": 2,
        "alerts": 7,
    }


def test_build_info_follows_a_change_of_rules() -> None:
    """A new rule set shows with the next scrape."""
    metrics = m.Metrics(build())
    metrics.build = metrics.build._replace(ruleset_sha256="ef" * 32)
    assert value(metrics, "de39_build_info", **metrics.build._asdict()) == 1


def test_the_process_shows_itself() -> None:
    """Series of the process, the platform and the garbage collector are on the same page."""
    names = {name for (name, _), _ in samples(make_registry(m.Metrics(build())))}
    assert {"process_cpu_seconds_total", "python_info"} <= names
    assert "python_gc_collections_total" in names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH")
@pytest.mark.parametrize("metrics", [m.Metrics(build()), busy_metrics()], ids=["fresh", "busy"])
def test_promtool_has_nothing_to_say(metrics: m.Metrics) -> None:
    """Prometheus's own lint of names, help texts and types passes."""
    page = generate_latest(make_registry(metrics))
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
