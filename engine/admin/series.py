"""Every series of ``/metrics``: its name, its meaning, and how it is read from the arrays.

Names follow one convention: base units, ``_total`` on counters, no label whose values a peer could
invent. A series that counts by MTI, response code, decision or rule appears with its first count,
so that a scrape shows what happens here and stays under 2,000 series whatever arrives.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from engine import metrics as m
from engine.admin.link_series import LINK_SERIES
from engine.admin.model_series import MODEL_SERIES
from engine.admin.rule_series import RULE_SERIES
from engine.admin.series_kinds import Buckets, Labels, Series, Values, named, single
from engine.decision import Decision
from engine.presentment import Result as Filed
from engine.wire.columns import Fault

_NS = 1e-9


def _mti_names(mtis: Sequence[int], *rest: str) -> list[str]:
    return [*(f"{mti:04d}" for mti in mtis), *rest]


_REQUEST_NAMES = _mti_names(m.REQUEST_MTIS, "other", "unreadable")
_REPLY_NAMES = _mti_names(m.REPLY_MTIS, "other")
_SECONDS = tuple(edge * _NS for edge in m.DURATION_EDGES_NS)
_SECOND_LABELS = tuple(float(f"{edge:.3g}") for edge in _SECONDS)
_SCORE_EDGES = tuple((k + 1) / m.SCORE_PARTS for k in range(m.SCORE_PARTS - 1))
_REVERSALS = (
    (Decision.REVERSED, "reversed"),
    (Decision.REVERSED_NOTHING, "nothing_to_move"),
    (Decision.CAPTURE_REFUNDED, "capture_refunded"),
    (Decision.ALREADY_CAPTURED, "capture_refused"),
    (Decision.REVERSAL_RECORDED, "orphan_recorded"),
    (Decision.ORIGINAL_NOT_FOUND, "original_not_found"),
    (Decision.VOIDED_BY_REVERSAL, "overtook_its_original"),
)
_SOURCES = {1: "card", 2: "funds", 3: "rules", 4: "repeat", 5: "system"}
_DECISION_NAMES = {decision.value: decision.name.lower() for decision in Decision}


def _build(metrics: m.Metrics) -> Values:
    return [(tuple(metrics.build), 1.0)]


def _requests(metrics: m.Metrics) -> Values:
    counts = metrics.requests_in.tolist()
    return [((mti,), n) for mti, n in zip(_REQUEST_NAMES, counts, strict=True) if n]


def _responses(metrics: m.Metrics) -> Iterator[tuple[Labels, float]]:
    codes = metrics.codes.tolist()
    for row, slot in np.argwhere(metrics.responses).tolist():
        code = _code_text(codes[slot]) if slot else "other"
        yield (_REPLY_NAMES[row], code), float(metrics.responses[row, slot])


def _code_text(code: int) -> str:
    text = chr(code & 0xFF) + chr(code >> 8)
    return text if text.isascii() and text.isalnum() else f"0x{code:04x}"


def _decisions(metrics: m.Metrics) -> Iterator[tuple[Labels, float]]:
    unnamed = 0.0
    for number in np.flatnonzero(metrics.decided).tolist():
        count = float(metrics.decided[number])
        if number in _DECISION_NAMES:
            yield (_DECISION_NAMES[number],), count
        else:
            unnamed += count
    if unnamed:
        yield ("unnamed",), unnamed


def _declines(metrics: m.Metrics) -> Values:
    bands = metrics.decided.reshape(-1, 100).sum(axis=1).tolist()
    return [((source,), bands[band]) for band, source in _SOURCES.items()]


def _reversals(metrics: m.Metrics) -> Values:
    return [((name,), float(metrics.decided[decision])) for decision, name in _REVERSALS]


def _faults(metrics: m.Metrics) -> Values:
    return [v for v in named(Fault, metrics.faults) if v[0] != ("none",)]


def _plain(kind: str, name: str, text: str, values: Callable[[m.Metrics], Values]) -> Series:
    """Return a series without labels and unit."""
    return Series(name, kind, "", (), text, values)


def _counter(counter: m.Counter) -> Callable[[m.Metrics], Values]:
    return lambda metrics: [((), float(metrics.counters[counter]))]


def _gauge(gauge: m.Gauge, scale: float = 1.0) -> Callable[[m.Metrics], Values]:
    return lambda metrics: [((), float(metrics.gauges[gauge]) * scale)]


def _stages(metrics: m.Metrics) -> Iterator[Buckets]:
    for stage in m.Stage:
        total = metrics.stage_sums_ns[stage] * _NS
        yield Buckets((stage.name.lower(),), _SECOND_LABELS, metrics.stage_counts[stage], total)


def _durations(metrics: m.Metrics) -> list[Buckets]:
    total = metrics.request_sum_ns[0] * _NS
    return [Buckets((), _SECOND_LABELS, metrics.request_counts, total)]


def _sync(metrics: m.Metrics) -> list[Buckets]:
    return [Buckets((), _SECOND_LABELS, metrics.sync_counts, metrics.sync_sum_ns[0] * _NS)]


def _batch(metrics: m.Metrics) -> list[Buckets]:
    return [Buckets((), m.SIZE_EDGES, metrics.batch_counts, float(metrics.batch_sum[0]))]


def _group(metrics: m.Metrics) -> list[Buckets]:
    return [Buckets((), m.SIZE_EDGES, metrics.group_counts, float(metrics.group_sum[0]))]


def _score(metrics: m.Metrics) -> list[Buckets]:
    return [Buckets((), _SCORE_EDGES, metrics.scores, float(metrics.score_facts[0]) / 10_000)]


SERIES: tuple[Series, ...] = (
    *LINK_SERIES,
    *MODEL_SERIES,
    Series(
        "de39_build_info",
        "gauge",
        "",
        ("version", "python", "ruleset_sha256", "model_sha256"),
        "What decides: the program, its rule set and its model. Always 1.",
        _build,
    ),
    Series(
        "de39_requests_total",
        "counter",
        "",
        ("mti",),
        "Messages that came in, by message type.",
        _requests,
    ),
    Series(
        "de39_responses_total",
        "counter",
        "",
        ("mti", "response_code"),
        "Answers that went out, by message type and DE39.",
        _responses,
    ),
    Series(
        "de39_decisions_total",
        "counter",
        "",
        ("decision",),
        "Outcomes, finer than any response code.",
        _decisions,
    ),
    Series(
        "de39_declines_total",
        "counter",
        "",
        ("source",),
        "Refusals by what refused: card, funds, rules, repeat or system.",
        _declines,
    ),
    Series(
        "de39_request_duration_seconds",
        "histogram",
        "seconds",
        (),
        "Time from the arrival of a request to its answer.",
        buckets=_durations,
    ),
    Series(
        "de39_stage_duration_seconds",
        "histogram",
        "seconds",
        ("stage",),
        "Time that the batch of a request spent in a stage.",
        buckets=_stages,
    ),
    Series(
        "de39_batch_requests",
        "histogram",
        "",
        (),
        "Requests worked on in one batch.",
        buckets=_batch,
    ),
    single(
        "de39_inflight_requests",
        "gauge",
        "Requests taken and not answered yet.",
        _gauge(m.Gauge.IN_FLIGHT),
    ),
    Series(
        "de39_queue_depth",
        "gauge",
        "",
        ("queue",),
        "What waits: bytes for a batch, records for a sync, answer bytes for slow links.",
        lambda metrics: named(m.Queue, metrics.queues),
    ),
    Series(
        "de39_duplicates_total",
        "counter",
        "",
        ("kind",),
        "Requests that repeat another one.",
        lambda metrics: named(m.Duplicate, metrics.duplicates),
    ),
    Series(
        "de39_reversals_total",
        "counter",
        "",
        ("outcome",),
        "Reversals by what they did.",
        _reversals,
    ),
    Series(
        "de39_shed_total",
        "counter",
        "",
        ("reason",),
        "Requests and connections refused to stay within bounds.",
        lambda metrics: named(m.Shed, metrics.shed),
    ),
    Series(
        "de39_filed_items_total",
        "counter",
        "",
        ("result",),
        "Items of clearing and repayment, by what became of them.",
        lambda metrics: named(Filed, metrics.filed),
    ),
    Series(
        "de39_frame_errors_total",
        "counter",
        "",
        ("reason",),
        "Connections closed because their bytes were no frames any more.",
        lambda metrics: named(m.FrameError, metrics.frame_errors),
    ),
    Series(
        "de39_decode_faults_total",
        "counter",
        "",
        ("fault",),
        "Messages that are not valid in their dialect, by the first fault.",
        _faults,
    ),
    Series(
        "de39_unanswered_total",
        "counter",
        "",
        ("reason",),
        "Messages that got no answer.",
        lambda metrics: named(m.Unanswered, metrics.unanswered),
    ),
    single(
        "de39_late_responses_total",
        "counter",
        "Answers that were ready after their link had gone.",
        _counter(m.Counter.LATE_ANSWERS),
    ),
    single(
        "de39_keepalives_total",
        "counter",
        "Empty frames received.",
        _counter(m.Counter.KEEPALIVES),
    ),
    single(
        "de39_received_bytes_total",
        "counter",
        "Bytes received from links.",
        _counter(m.Counter.BYTES_IN),
        "bytes",
    ),
    single(
        "de39_sent_bytes_total",
        "counter",
        "Bytes sent to links.",
        _counter(m.Counter.BYTES_OUT),
        "bytes",
    ),
    single(
        "de39_connections_total",
        "counter",
        "Connections accepted.",
        _counter(m.Counter.CONNECTIONS),
    ),
    single(
        "de39_sessions_connected",
        "gauge",
        "Links that are connected now.",
        _gauge(m.Gauge.CONNECTED),
    ),
    single(
        "de39_sessions_signed_on",
        "gauge",
        "Links that are signed on now.",
        _gauge(m.Gauge.SIGNED_ON),
    ),
    *RULE_SERIES,
    Series(
        "de39_score", "histogram", "", (), "Fraud score of authorizations, 0 to 1.", buckets=_score
    ),
    single(
        "de39_unscored_total",
        "counter",
        "Authorizations decided without a score.",
        lambda metrics: [((), float(metrics.score_facts[1]))],
    ),
    single(
        "de39_ledger_records_total",
        "counter",
        "Records made durable since the start.",
        _counter(m.Counter.RECORDS),
    ),
    Series(
        "de39_ledger_group_records",
        "histogram",
        "",
        (),
        "Records that shared one sync.",
        buckets=_group,
    ),
    Series(
        "de39_ledger_fsync_duration_seconds",
        "histogram",
        "seconds",
        (),
        "Time of one sync of the journal.",
        buckets=_sync,
    ),
    single(
        "de39_ledger_last_sequence",
        "gauge",
        "Sequence number of the last durable record.",
        _gauge(m.Gauge.LAST_SEQUENCE),
    ),
    _plain(
        "gauge",
        "de39_ledger_store_reachable",
        "1 = the store answers.",
        _gauge(m.Gauge.STORE_REACHABLE),
    ),
    _plain(
        "gauge",
        "de39_ledger_replicas",
        "Standbys that commits wait for and that keep up.",
        _gauge(m.Gauge.REPLICAS),
    ),
    _plain(
        "counter",
        "de39_ledger_unknown_commits_total",
        "Commits whose outcome had to be asked for.",
        _counter(m.Counter.STORE_UNKNOWN),
    ),
    _plain(
        "counter",
        "de39_ledger_retries_total",
        "Batches that were sent to the store again.",
        _counter(m.Counter.STORE_RETRIES),
    ),
    _plain(
        "counter",
        "de39_ledger_connects_total",
        "Connections made to the store's primary.",
        _counter(m.Counter.STORE_CONNECTS),
    ),
    single(
        "de39_ledger_free_bytes",
        "gauge",
        "Free bytes where the journal lies.",
        _gauge(m.Gauge.FREE_BYTES),
        "bytes",
    ),
    single(
        "de39_ledger_writing_seconds",
        "gauge",
        "For how long the batch at hand has been on its way to the disk; 0 = none is.",
        _gauge(m.Gauge.WRITING_NS, _NS),
        "seconds",
    ),
    single(
        "de39_ledger_unproven_batches",
        "gauge",
        "Durable batches that no signed checkpoint covers yet.",
        _gauge(m.Gauge.PROOF_LAG),
    ),
    single(
        "de39_ledger_snapshot_sequence",
        "gauge",
        "Sequence number of the last record in the newest snapshot.",
        _gauge(m.Gauge.SNAPSHOT_SEQUENCE),
    ),
    single(
        "de39_ledger_snapshot_pause_seconds",
        "gauge",
        "How long traffic stood still for the last snapshot.",
        _gauge(m.Gauge.SNAPSHOT_PAUSE_NS, _NS),
        "seconds",
    ),
    _plain(
        "counter",
        "de39_ledger_archived_segments_total",
        "Segments of the journal moved to the archive.",
        _counter(m.Counter.ARCHIVED),
    ),
    single(
        "de39_ledger_upkeep_failures_total",
        "counter",
        "Snapshots, checkpoints and archive copies that could not be made.",
        _counter(m.Counter.UPKEEP_FAILURES),
    ),
    Series(
        "de39_table_rows",
        "gauge",
        "",
        ("table",),
        "Rows in use.",
        lambda metrics: named(m.Table, metrics.table_counts),
    ),
    Series(
        "de39_table_capacity_rows",
        "gauge",
        "",
        ("table",),
        "Rows there is room for before the table grows.",
        lambda metrics: named(m.Table, metrics.table_capacity),
    ),
    Series(
        "de39_table_growths_total",
        "counter",
        "",
        ("table",),
        "How often a table was replaced by a larger one.",
        lambda metrics: named(m.Table, metrics.table_growths),
    ),
    single(
        "de39_event_loop_lag_seconds",
        "gauge",
        "How late the last timer of the event loop was.",
        _gauge(m.Gauge.LOOP_LAG_NS, _NS),
        "seconds",
    ),
    single(
        "de39_log_dropped_lines_total",
        "counter",
        "Log lines dropped because the writer was behind.",
        _counter(m.Counter.LOG_LINES_DROPPED),
    ),
)
