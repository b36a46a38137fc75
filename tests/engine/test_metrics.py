"""Metrics arrays: the kernels count as the oracle does, whatever the rows hold."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metrics import (
    DURATION_EDGES_NS,
    NO_DECISION,
    REPLY_MTIS,
    REQUEST_MTIS,
    RESPONSE_CODES,
    BuildInfo,
    Counter,
    Gauge,
    Metrics,
    Stage,
    Table,
    compile_kernels,
)
from engine.wire.columns import REPLY, REQUEST, Fault
from ledger.record import RECORD
from tests.oracle import metrics as oracle

pytestmark = pytest.mark.kernels

MTIS = st.sampled_from((*REQUEST_MTIS, *REPLY_MTIS, -1, 0, 9999, 10_000, -7)) | st.integers(
    -(2**31), 2**31 - 1
)
DECISIONS = st.sampled_from((0, 101, 505, 999, 1000, NO_DECISION)) | st.integers(0, 65535)
DURATIONS = st.integers(0, 10**10) | st.sampled_from(DURATION_EDGES_NS)
REQUESTS = st.lists(st.tuples(MTIS, st.sampled_from(Fault), DECISIONS), max_size=12)
REPLIES = st.lists(
    st.tuples(MTIS, st.sampled_from((0x3030, 0x3135, 0x3934, 0, 65535))), max_size=12
)


def new_metrics() -> Metrics:
    """Return fresh counters."""
    return Metrics(BuildInfo(version="0", python="3"))


def rows(dtype: np.dtype[Any], **columns: list[int]) -> Any:
    """Return rows with the given columns; at least one, so that no array is empty."""
    count = len(next(iter(columns.values())))
    array = np.zeros(max(count, 1), dtype=dtype)
    for name, values in columns.items():
        array[name][:count] = values
    return array


@given(batches=st.lists(st.tuples(REQUESTS, REPLIES), min_size=1, max_size=3))
def test_batches_are_counted_as_the_oracle_does(batches: Any) -> None:
    """MTIs, faults, decisions and (MTI, code) pairs of several batches add up by name."""
    metrics = new_metrics()
    expected: dict[str, Any] = {}
    for requests, replies in batches:
        mtis, faults, decisions = ([r[i] for r in requests] for i in range(3))
        request_rows = rows(REQUEST, mti=mtis, fault=faults)
        reply_rows = rows(REPLY, mti=[r[0] for r in replies], response=[r[1] for r in replies])
        chosen = np.zeros(len(request_rows), dtype=np.uint16)
        chosen[: len(decisions)] = decisions
        metrics.count_batch(request_rows, len(requests), reply_rows, len(replies), chosen)
        counted = oracle.batch_counts(
            request_rows[: len(requests)],
            reply_rows[: len(replies)],
            decisions,
            REQUEST_MTIS,
            REPLY_MTIS,
        )
        for name, counter in counted.items():
            expected.setdefault(name, type(counter)()).update(counter)

    request_names = [*map(str, REQUEST_MTIS), "other", "unreadable"]
    reply_names = [*map(str, REPLY_MTIS), "other"]
    found = {
        "requests": dict(zip(request_names, metrics.requests_in.tolist(), strict=True)),
        "faults": dict(enumerate(metrics.faults.tolist())),
        "decisions": dict(enumerate(metrics.decided.tolist())),
        "responses": {
            (name, int(metrics.codes[slot])): int(metrics.responses[row, slot])
            for row, name in enumerate(reply_names)
            for slot in range(1, int(metrics.codes[0]) + 1)
        },
    }
    positive = {k: {n: c for n, c in v.items() if c} for k, v in found.items()}
    assert {k: dict(v) for k, v in expected.items()} == positive
    assert metrics.batch_counts.sum() == len(batches)
    assert metrics.batch_sum[0] == sum(len(requests) for requests, _ in batches)


def test_response_codes_past_the_places_are_counted_together() -> None:
    """The 48th and later response codes land in place 0: the series stay bounded."""
    metrics = new_metrics()
    codes = list(range(1, 101))
    replies = rows(REPLY, mti=[110] * 100, response=codes)
    decisions = np.zeros(1, dtype=np.uint16)
    for _ in range(2):
        metrics.count_batch(np.zeros(1, REQUEST), 0, replies, 100, decisions)
    assert metrics.codes[0] == RESPONSE_CODES - 1
    assert metrics.codes[1:].tolist() == codes[: RESPONSE_CODES - 1]
    assert metrics.responses[0, 0] == 2 * (100 - (RESPONSE_CODES - 1))
    assert metrics.responses.sum() == 200


def test_a_fault_number_out_of_range_is_counted_in_the_last_place() -> None:
    """No value of a row reaches outside the array it is counted in."""
    metrics = new_metrics()
    requests = rows(REQUEST, fault=[-1, 99, 2**31 - 1], mti=[100, 100, 100])
    decisions = np.full(3, NO_DECISION, dtype=np.uint16)
    metrics.count_batch(requests, 3, np.zeros(1, REPLY), 0, decisions)
    assert metrics.faults.tolist() == [0] * (len(Fault) - 1) + [3]


@given(
    facts=st.lists(
        st.tuples(
            st.integers(0, 2**64 - 1) | st.sampled_from((0, 1, 1 << 63)),
            st.integers(0, 2**64 - 1) | st.sampled_from((0, 1, 1 << 63)),
            st.sampled_from((0, 1, 499, 500, 501, 9_999, 10_000, 10_001, 65_534, 65_535)),
            st.sampled_from((0, 1, 2, 3, 4, 5, 6, 31, 101, 122, 131)),
            st.sampled_from((0, 201, 301, 302, 303)),
            st.sampled_from((0, 64, 128, 192, 256)),
        ),
        max_size=10,
    )
)
def test_records_are_counted_as_the_oracle_does(facts: Any) -> None:
    """Rule hits of all 128 bits, and scores of what can be scored, match a count by hand."""
    metrics = new_metrics()
    names = ("hits_lo", "hits_hi", "score", "kind", "result", "flags")
    records = rows(RECORD, **{name: [fact[i] for fact in facts] for i, name in enumerate(names)})
    metrics.count_records(records, len(facts))
    hits, scores, counted = oracle.record_counts(records[: len(facts)])
    assert [hits[bit] for bit in range(128)] == metrics.rules.hits[:128].tolist()
    assert [scores[part] for part in range(20)] == metrics.scores.tolist()
    assert counted == metrics.score_facts.tolist()
    assert metrics.counters[Counter.RECORDS] == len(facts)


@given(durations_ns=st.lists(DURATIONS, max_size=20), now_ns=st.integers(10**12, 10**18))
def test_request_durations_are_counted_as_the_oracle_does(
    durations_ns: list[int], now_ns: int
) -> None:
    """Each duration lands under the first edge that is not below it, and the sum is exact."""
    metrics = new_metrics()
    arrived = np.array([now_ns - d for d in durations_ns] or [0], dtype=np.int64)
    metrics.observe_requests(arrived, len(durations_ns), now_ns)
    counts, total = oracle.durations(durations_ns, DURATION_EDGES_NS)
    assert counts == metrics.request_counts.tolist()
    assert total == metrics.request_sum_ns[0]


@given(
    stage_ns=st.lists(DURATIONS | st.just(-1), min_size=len(Stage), max_size=len(Stage)),
    weight=st.integers(0, 4096),
)
def test_stages_in_one_call_count_as_one_by_one(stage_ns: list[int], weight: int) -> None:
    """The kernel for all stages, the method for one, and the oracle agree."""
    together, single = new_metrics(), new_metrics()
    together.observe_stages(np.array(stage_ns, dtype=np.int64), weight)
    for stage, duration_ns in zip(Stage, stage_ns, strict=True):
        if duration_ns >= 0:
            single.observe(stage, duration_ns, weight)
        counts, total = oracle.durations([max(duration_ns, 0)], DURATION_EDGES_NS)
        seen = duration_ns >= 0
        assert [c * weight * seen for c in counts] == together.stage_counts[stage].tolist()
        assert total * weight * seen == together.stage_sums_ns[stage]
    assert np.array_equal(single.stage_counts, together.stage_counts)
    assert np.array_equal(single.stage_sums_ns, together.stage_sums_ns)


def test_a_sum_starts_again_instead_of_turning_negative() -> None:
    """At 2^62 ns a sum restarts, which a rate takes for a restarted counter."""
    metrics = new_metrics()
    metrics.request_sum_ns[0] = 2**62 - 5
    metrics.observe_requests(np.array([0], dtype=np.int64), 1, 15)
    metrics.stage_sums_ns[:] = 2**62 - 5
    metrics.observe(Stage.DECODE, 15)
    metrics.observe_stages(np.full(len(Stage), 5, dtype=np.int64), 1)
    assert metrics.request_sum_ns[0] == 10
    assert metrics.stage_sums_ns.tolist() == [15] + [0] * (len(Stage) - 1)


def test_a_commit_counts_its_group_and_its_sync() -> None:
    """Group size and sync time go to their histograms, sums included."""
    metrics = new_metrics()
    metrics.observe_commit(3, 150_000)
    metrics.observe_commit(64, 90_000)
    assert metrics.group_sum[0] == 67
    assert metrics.group_counts[2] == 1  # up to 4
    assert metrics.group_counts[6] == 1  # up to 64
    assert metrics.sync_sum_ns[0] == 240_000
    assert metrics.sync_counts.sum() == 2


def test_gauges_take_what_they_are_given() -> None:
    """Table fill, the loop's beat and its lag are kept as set."""
    metrics = new_metrics()
    metrics.set_table(Table.CARDS, 10, 100)
    metrics.beat(123, lag_ns=45)
    assert (metrics.table_counts[Table.CARDS], metrics.table_capacity[Table.CARDS]) == (10, 100)
    assert (metrics.turned_ns[0], metrics.gauges[Gauge.LOOP_LAG_NS]) == (123, 45)


def test_the_warm_up_compiles_without_rows() -> None:
    """The warm-up runs every kernel and counts nothing that anyone sees."""
    compile_kernels()


def test_more_rows_than_there_are_is_our_mistake() -> None:
    """A count past the array stops at once instead of reading past its end."""
    with pytest.raises(AssertionError, match="within the rows"):
        new_metrics().count_records(np.zeros(2, RECORD), 3)


def test_merchants_known_at_the_start_are_not_new() -> None:
    """Only what comes after the first note counts."""
    metrics = new_metrics()
    for known, new in ((40, 0), (41, 1), (45, 5)):
        metrics.note_merchants(known)
        assert metrics.counters[Counter.MERCHANTS_UNSEEN] == new
