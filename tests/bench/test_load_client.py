"""The load generator against hosts that answer right, and against hosts that do not."""

import os
import signal
import threading

import numpy as np
import pytest

from bench.load_client import LoadRun, Plan, Source, TargetError
from bench.load_result import LoadResult
from bench.workload import Workload
from tests.oracle.host import Host, reply_to

_ORDERS = Workload(200, 2_000, 5, 1).orders()
_PLAN = Plan(rate=1_000, seconds=0.3, connections=3, drain_s=0.3)


def _load(host: Host, plan: Plan = _PLAN) -> LoadResult:
    return LoadRun(host.address, Source(_ORDERS), plan).run()


@pytest.mark.kernels
def test_a_right_host_gives_no_complaint() -> None:
    """Every message is answered once, and what arrived is what the payments say."""
    plan = _PLAN._replace(repeat_share=0.3, reversal_share=0.3, payments=150, first_number=77)
    with Host() as host:
        result = _load(host, plan)
    summary = result.summary
    assert result.ok
    assert summary["sent"] == summary["answered"] == len(host.requests)
    assert summary["approved"] + summary["repeats"] + summary["reversals"] == summary["sent"]
    firsts = [request for request in host.requests if request["t"] == "0100"]
    assert {int(request["37"]) for request in firsts} == set(range(77, 227))
    for request in firsts:
        row = (int(request["37"]) - 77) % len(_ORDERS)
        assert int(request["4"]) == _ORDERS["amount_minor"][row]
    assert {request["t"] for request in host.requests} == {"0100", "0101", "0420"}


def test_repeats_and_reversals_name_their_original() -> None:
    """A 0101 equals its 0100 but for the MTI; a 0420 carries the original's key in DE90."""
    plan = _PLAN._replace(repeat_share=0.3, reversal_share=0.3, payments=150)
    with Host() as host:
        _load(host, plan)
    firsts = {request["37"]: request for request in host.requests if request["t"] == "0100"}
    for request in host.requests:
        original = firsts[request["37"]]
        if request["t"] == "0101":
            assert {**request, "t": "0100"} == original
        if request["t"] == "0420":
            expected = "0100" + original["11"] + original["7"] + "00000400099" + "0" * 11
            assert request["90"] == expected
            assert request["11"] == original["11"]


def test_closed_loop_keeps_a_window_and_finishes() -> None:
    """With 4 in flight on 2 connections all payments asked for are answered."""
    plan = Plan(in_flight=4, connections=2, seconds=20, payments=300)
    with Host() as host:
        result = _load(host, plan)
    assert result.ok
    assert result.summary["answered"] == 300
    assert result.summary["rate"] is None


def test_lost_answers_are_found() -> None:
    """A host that drops every tenth answer loses exactly those."""
    with Host(lambda n, request: [] if n % 10 == 3 else [reply_to(request)]) as host:
        result = _load(host)
    lost = sum(n % 10 == 3 for n in range(len(host.requests)))
    assert (result.summary["lost"], result.ok) == (lost, False)


def test_doubled_answers_are_found() -> None:
    """A host that answers some requests twice is caught for each."""
    with Host(lambda n, request: [reply_to(request)] * (2 if n % 7 == 0 else 1)) as host:
        result = _load(host)
    assert result.summary["doubled"] == sum(n % 7 == 0 for n in range(len(host.requests)))
    assert not result.ok


def test_answers_on_another_connection_are_found() -> None:
    """Answers that come on the wrong connection are swapped, not answered."""
    with Host(cross=True) as host:
        result = _load(host)
    assert result.summary["swapped"] > 100  # a busy machine reads some of them too late
    assert result.summary["lost"] > 200


def test_answers_with_a_foreign_stan_are_found() -> None:
    """An answer with the RRN of one request and the STAN of another is swapped."""

    def answers(n: int, request: dict[str, str]) -> list[dict[str, str]]:
        reply = reply_to(request)
        return [{**reply, "11": "999999"} if n % 5 == 0 else reply]

    with Host(answers) as host:
        result = _load(host)
    assert result.summary["swapped"] == sum(n % 5 == 0 for n in range(len(host.requests)))


def test_a_repeat_answered_otherwise_is_an_error() -> None:
    """The answer to a 0101 must equal the answer to its 0100."""

    def answers(n: int, request: dict[str, str]) -> list[dict[str, str]]:
        return [reply_to(request, "05" if request["t"] == "0101" else "00")]

    with Host(answers) as host:
        result = _load(host, _PLAN._replace(repeat_share=0.2))
    again = sum(request["t"] == "0101" for request in host.requests)
    assert result.summary["changed"] == result.summary["errors"] == again > 0


def test_declines_are_counted_by_code_and_by_truth() -> None:
    """Codes are counted as they came, and frauds declined against the generator's truth."""

    def answers(n: int, request: dict[str, str]) -> list[dict[str, str]]:
        return [reply_to(request, "51" if n % 4 == 0 else "00")]

    with Host(answers) as host:
        result = _load(host)
    declined = sum(n % 4 == 0 for n in range(len(host.requests)))
    assert result.summary["responses"]["51"] == result.summary["declined"] == declined
    assert result.truth.sum() == len(host.requests)
    assert result.truth[:, 0].sum() == declined
    assert result.ok


def test_latency_counts_from_the_intended_time() -> None:
    """A host that stalls once is charged for every message that was due meanwhile."""
    plan = Plan(rate=1_000, seconds=0.5, connections=1, drain_s=2)
    with Host(stall_at=100, stall_s=0.2) as host:
        result = _load(host, plan)
    assert result.ok
    assert result.summary["max_us"] > 195_000
    # 200 of 500 messages were due during the stall and waited 0 to 200 ms.
    assert result.histogram.get_value_at_percentile(75) > 20_000


def test_a_host_that_hangs_up_leaves_what_was_answered() -> None:
    """The partial result says why it ended and keeps every answer that had arrived."""
    with Host(close_after=100) as host:
        result = _load(host, Plan(rate=1_000, seconds=5, connections=2))
    numbers, approvals = result.approvals()
    assert "connection" in result.broken
    assert "127.0.0.1" in result.broken
    assert 90 <= numbers.size <= 100
    assert [int(code) for code in approvals] == (numbers % 1_000_000).tolist()
    assert not result.ok


def test_nobody_listening_is_one_line() -> None:
    """A refused connection is a TargetError that names the host and the reason."""
    with Host() as host:
        address = host.address
    with pytest.raises(TargetError, match=rf"127.0.0.1:{address[1]}: .*refused"):
        LoadRun(address, Source(_ORDERS), _PLAN).run()


def test_a_frame_that_cannot_be_ends_the_run() -> None:
    """A length over any message is a broken connection, reported in one line, not a crash."""
    with Host(lambda n, _: [b"\xff" * 100] if n == 20 else []) as host:
        result = _load(host)
    assert "longer than any message" in result.broken


def test_answers_that_answer_nothing_are_counted() -> None:
    """A message of another kind than was asked for is malformed, and its request stays lost."""
    with Host(lambda _, request: [{**reply_to(request), "t": "0810"}]) as host:
        result = _load(host)
    assert result.summary["malformed"] == len(host.requests) == result.summary["lost"]


def test_warm_up_is_sent_and_not_measured() -> None:
    """Messages of the warm-up are counted and proved, but not in the latencies."""
    plan = _PLAN._replace(warmup_s=0.2)
    with Host() as host:
        result = _load(host, plan)
    assert result.summary["answered"] == 500
    assert result.histogram.get_total_count() == 300


def test_an_interrupt_ends_sending_and_drains() -> None:
    """Ctrl-C gives the summary of what was sent, with nothing lost."""
    with Host() as host:
        load = LoadRun(host.address, Source(_ORDERS), Plan(rate=500, seconds=60))
        seen = []

        def progress(snapshot: object) -> None:
            seen.append(snapshot)
            os.kill(os.getpid(), signal.SIGINT)

        result = load.run(progress, every_s=0.2)
    assert result.interrupted
    assert result.summary["lost"] == 0
    assert len(seen) == 1


def test_it_runs_outside_the_main_thread() -> None:
    """A run in another thread works and can be stopped."""
    results: list[LoadResult] = []
    with Host() as host:
        load = LoadRun(host.address, Source(_ORDERS), Plan(rate=500, seconds=60))
        thread = threading.Thread(
            target=lambda: results.append(load.run(lambda _: load.stop(), every_s=0.2))
        )
        thread.start()
        thread.join(timeout=30)
    assert results[0].ok
    assert results[0].summary["answered"] >= 90


def test_snapshots_tell_rate_and_percentiles_since_the_last() -> None:
    """Live figures are of the last interval, counts of the whole run."""
    seen = []
    with Host() as host:
        load = LoadRun(host.address, Source(_ORDERS), Plan(rate=1_000, seconds=0.7))
        load.run(seen.append, every_s=0.2)
    assert len(seen) == 3
    assert 100 < seen[1].rate < 2_000
    assert seen[1].p99_us >= seen[1].p50_us > 0
    assert seen[0].answered < seen[1].answered
    assert np.array_equal(seen[1].truth.sum(), seen[1].approved + seen[1].declined)


@pytest.mark.parametrize(
    "change",
    [
        {"rate": 0.0},
        {"in_flight": 5},
        {"seconds": 0.0},
        {"connections": 0},
        {"repeat_share": 1.5},
        {"rate": 1e9, "seconds": 100.0},
        {"first_number": 10**12},
        {"dialect": "iso93"},
    ],
)
def test_impossible_plans_are_refused(change: dict[str, object]) -> None:
    """A plan that cannot be run is a ValueError before anything is sent."""
    with pytest.raises(ValueError, match=r"\w"):
        LoadRun(("127.0.0.1", 1), Source(_ORDERS), _PLAN._replace(**change))
