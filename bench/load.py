"""``de39 load``: a load test of an ISO 8583 host that proves every answer.

The last line of stdout is one JSON object with ``--json``; progress goes to stderr. Exit codes: 0
every message was answered right, 1 answers were lost, doubled, swapped or wrong, 2 usage, 69 the
host cannot be reached or broke the connection.
"""

import json as json_text
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from bench.load_client import LoadRun, Plan, Source, TargetError
from bench.load_result import LoadResult, Snapshot
from bench.stream import load_stream
from bench.traffic import Traffic
from bench.workload import Workload
from engine.command_options import Flag, Whole

_POOL = 1_000_000  # payments generated at most; a longer run takes them again under new numbers
_PER_CARD_DAY = 1.9
_EXIT_WRONG = 1
_EXIT_USAGE = 2
_EXIT_UNAVAILABLE = 69
_EXIT_INTERRUPTED = 130


def run(
    *,
    target: str,
    rate: float = 0.0,
    closed: Whole = 0,
    connections: Whole = 4,
    seconds: float = 10.0,
    warmup: float = 1.0,
    drain: float = 5.0,
    dialect: str = "iso87-bin",
    cards: Whole = 5_000,
    stream: Path | None = None,
    repeat_share: float = 0.0,
    reversal_share: float = 0.0,
    seed: Whole = 1,
    json: Flag = False,
) -> None:
    """Load an ISO 8583 host and check every answer.

    Parameters
    ----------
    target
        The host, HOST:PORT.
    rate
        Open loop: messages a second; latency counts from the time each was due. Without --rate
        and --closed: 1,000.
    closed
        Closed loop: payments kept in flight on each connection.
    connections
        How many connections.
    seconds
        How long to measure, after the warm-up.
    warmup
        Seconds that are sent but not measured.
    drain
        Seconds to wait for the last answers; what is unanswered then is lost.
    dialect
        iso87-bin or iso87-hex.
    cards
        How many test cards pay.
    stream
        Play this parquet file instead of generated payments.
    repeat_share
        Share of payments that are sent again as 0101.
    reversal_share
        Share of payments that are reversed by a 0420.
    seed
        Seed of the generated payments, and of which are repeated or reversed.
    json
        Print the result as one JSON object on the last line of stdout.
    """
    if not rate and not closed:
        rate = 1_000.0
    plan = Plan(
        rate=rate,
        in_flight=closed,
        connections=connections,
        seconds=seconds,
        warmup_s=warmup,
        drain_s=drain,
        dialect=dialect,
        repeat_share=repeat_share,
        reversal_share=reversal_share,
        seed=seed,
        # Another start takes other numbers, so two runs against one ledger do not collide.
        first_number=int(time.time()) % 1_000_000 * 1_000_000 + 1,
    )
    try:
        address = parse_target(target)
        traffic = _traffic(plan, cards, stream)
        load = LoadRun(address, Source(traffic.orders()), plan)
    except (ValueError, MemoryError) as error:
        _fail(str(error) or "not enough memory for so many payments", _EXIT_USAGE)
    try:
        result = load.run(_report)
    except TargetError as error:
        _fail(str(error), _EXIT_UNAVAILABLE)
    except KeyboardInterrupt:
        _fail("interrupted; answers under way were left", _EXIT_INTERRUPTED)
    _print(result, as_json=json)
    if result.broken:
        _fail(result.broken, _EXIT_UNAVAILABLE)
    if not result.ok:
        sys.exit(_EXIT_WRONG)


def parse_target(text: str) -> tuple[str, int]:
    """Split HOST:PORT ([HOST]:PORT for IPv6); raises ValueError saying what is right."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(f"target {text!r} is not HOST:PORT, for example 127.0.0.1:8583")
    return host, int(port)


def _traffic(plan: Plan, cards: int, stream: Path | None) -> Traffic:
    if stream is not None:
        return load_stream(stream)
    if cards < 1:
        raise ValueError("cards must be 1 or more")
    wanted = _POOL if plan.in_flight else plan.rate * (plan.seconds + plan.warmup_s)
    days = int(np.clip(np.ceil(min(wanted, _POOL) / (_PER_CARD_DAY * cards)), 1, 365))
    terminals = int(np.clip(2 * cards, 10_000, 1_000_000))
    return Workload(cards, terminals, days, plan.seed)


def _report(now: Snapshot) -> None:
    sys.stderr.write(
        f"{now.at_s:7.1f} s  {now.rate:>10,.0f}/s  p50 {now.p50_us:>7,} us  "
        f"p99 {now.p99_us:>7,} us  sent {now.sent:,}  in flight {now.sent - now.answered:,}  "
        f"approved {now.approved:,}  declined {now.declined:,}  late {now.late_sends:,}\n"
    )
    sys.stderr.flush()


def _print(result: LoadResult, *, as_json: bool) -> None:
    summary = result.summary
    if as_json:
        sys.stdout.write(json_text.dumps(summary) + "\n")
        return
    sys.stdout.write(_table(summary))


def _table(summary: dict[str, Any]) -> str:
    offered = (
        f"{summary['rate']:,.0f} messages/s offered"
        if summary["rate"]
        else f"{summary['in_flight']} payments in flight a connection"
    )
    codes = ", ".join(f"{code}: {count:,}" for code, count in summary["responses"].items())
    rows = (
        ("load", f"{offered}, {summary['connections']} connections, {summary['seconds']} s"),
        ("answers a second", f"{summary['tps']:,.0f}"),
        (
            "latency",
            (
                f"p50 {summary['p50_us']:,} us, p99 {summary['p99_us']:,} us, "
                f"p99.9 {summary['p999_us']:,} us, max {summary['max_us']:,} us"
            ),
        ),
        ("sent, answered", f"{summary['sent']:,}, {summary['answered']:,}"),
        (
            "lost, doubled, swapped",
            f"{summary['lost']}, {summary['doubled']}, {summary['swapped']}",
        ),
        ("other errors", f"{summary['errors']}"),
        ("late sends", f"{summary['late_sends']:,}"),
        ("approved, declined", f"{summary['approved']:,}, {summary['declined']:,}"),
        ("answers by code", codes or "none"),
        ("frauds, declined", f"{summary['frauds']:,}, {summary['frauds_declined']:,}"),
        ("genuine, declined", f"{summary['genuine_declined']:,}"),
    )
    return "".join(f"{name:<24} {text}\n" for name, text in rows)


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"de39 load: {message}\n")
    sys.exit(code)
