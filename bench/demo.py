"""``de39 demo``: a fresh engine, card traffic over TCP, live figures, a summary."""

import json as json_text
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.load_client import LoadRun, Plan, Source, TargetError
from bench.load_result import LoadResult, Snapshot, code_number
from bench.reconcile import reconcile
from bench.stream import StreamError, load_stream
from bench.switch_process import config_of, open_test_cards, switch_process, write_config
from bench.traffic import Traffic
from bench.workload import DAY_S, Workload
from engine.command_options import Flag, Whole
from engine.errors import Exit, ProblemFoundError, UnavailableError, UsageError, run_command
from ledger.recovery import scan_running

CARDS = 5_000
_PAYMENTS_A_DAY = 1.8  # of a card, on average
_DAYS_MAX = 366
_FRAUD_CODES = ("59", "1A", "62", "57", "65")  # how the shipped rules decline
_NAMES = {
    "00": "approved",
    "51": "not enough funds",
    "59": "suspected fraud",
    "1A": "step-up asked",
    "54": "expired",
    "14": "no such card",
    "57": "not permitted",
    "62": "restricted",
}
_LIMIT_MINOR = (150_000, 1_200_000)


@run_command
def run(
    *,
    seconds: float = 15.0,
    rate: float = 10_000.0,
    stream: Path | None = None,
    seed: Whole = 39,
    keep: Flag = False,
    json: Flag = False,
) -> None:
    """Start a fresh engine, play card traffic to it over TCP, and sum up.

    5,000 accounts and cards are opened, a switch is started as a process of its own, and this
    process plays the acquirers. Payments carry their own simulated time, many days in a few
    seconds. Everything is removed at the end.

    Parameters
    ----------
    seconds
        How long traffic is played.
    rate
        Payments a second, at a constant rate (open loop).
    stream
        Play a parquet of t_seconds, customer_id, terminal_id, amount_cents, fraud_scenario.
    seed
        Of the generated traffic.
    keep
        Keep the data folder, to look around with de39 ledger.
    json
        Print one JSON object on the last line.
    """
    if not (seconds > 0 and rate > 0):
        raise UsageError("--seconds and --rate must be over 0")
    traffic = _traffic(stream, round(seconds * rate) + 1, seed)
    folder = _folder()
    try:
        result, seen = _play(folder, traffic, Plan(rate=rate, seconds=seconds, connections=4))
        summary = _summary(result, seen, traffic, stream)
        if keep:
            _write_labels(folder / "labels.csv", result)
        _print(summary, folder if keep else None, as_json=json)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
            _remove_if_empty(folder.parent)
    if not (result.ok and seen["ok"]):
        raise SystemExit(Exit.PROBLEM_FOUND)


def _traffic(stream: Path | None, payments: int, seed: int) -> Traffic:
    if stream is not None:
        _say(f"reading {stream}")
        try:
            return load_stream(stream)
        except StreamError as problem:
            raise ProblemFoundError(str(problem)) from None
    days = min(_DAYS_MAX, 2 + int(payments / (CARDS * _PAYMENTS_A_DAY)))
    _say(f"making {days} days of traffic of {CARDS:,} cards")
    return Workload(CARDS, 2 * CARDS, days, seed)


def _folder() -> Path:
    """Return a new folder, on the disk one works on: the system's temporary one may be memory."""
    parent = Path.cwd() / "var"
    try:
        parent.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="demo-", dir=parent))
    except OSError:
        return Path(tempfile.mkdtemp(prefix="de39-demo-"))


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def _play(folder: Path, traffic: Traffic, plan: Plan) -> tuple[LoadResult, dict[str, Any]]:
    """Open cards, start the switch, play, stop it; return what was seen and the ledger has."""
    cards = max(CARDS, traffic.customers)
    first = datetime.fromtimestamp(traffic.start_s + int(traffic.t_seconds[0]), UTC)
    clock = f'[clock]\nsource = "message"\nstart = {first.strftime("%Y-%m-%dT%H:%M:%SZ")}\n'
    config_path = write_config(folder, cards=cards, authorizations=1 << 21, extra=clock)
    config = config_of(config_path)
    _say(f"opening {cards:,} accounts and cards in {folder}")
    limits = np.random.default_rng(plan.seed).integers(*_LIMIT_MINOR, cards)
    open_test_cards(config, cards, limits)
    _say("starting the switch")
    with switch_process(config_path, _say) as ports:
        iso, http = f"{ports.iso[0]}:{ports.iso[1]}", f"{ports.http[0]}:{ports.http[1]}"
        _say(f"ISO 8583 on {iso}, metrics on http://{http}/metrics")
        source = Source(traffic.orders(), simulated_clock=True)
        try:
            result = LoadRun(ports.iso, source, plan).run(_progress)
        except TargetError as problem:
            raise UnavailableError(str(problem)) from None
    _say("reading the ledger back")
    return result, _reconciled(Path(config.data), result)


def _reconciled(data: Path, result: LoadResult) -> dict[str, Any]:
    """Compare every answer that came over the wire with the ledger."""
    started = time.monotonic()
    parts = [batch.records for batch in scan_running(data)]
    records = np.concatenate(parts)
    found = reconcile(result, records)
    return {
        "ok": found.ok,
        "text": found.line(),
        "records": len(records),
        "batches": len(parts),
        "read_s": time.monotonic() - started,
    }


def _progress(now: Snapshot) -> None:
    caught = f"{now.frauds_declined:,} of {now.frauds:,}"
    declined = ", ".join(
        f"{_NAMES.get(code, code)} {count:,}"
        for code, count in now.responses.items()
        if code != "00"
    )
    _say(
        f"{now.at_s:5.1f} s  {now.rate:>8,.0f}/s  p99 {now.p99_us / 1000:6.2f} ms  "
        f"approved {now.approved:,}  declined {now.declined:,} ({declined or 'none'})  "
        f"frauds stopped {caught}"
    )


def _summary(
    result: LoadResult, seen: dict[str, Any], traffic: Traffic, stream: Path | None
) -> dict[str, Any]:
    """Return the loader's summary with frauds and the ledger's view added."""
    slots = result.slots
    answered = slots["answered"] > 0
    scenario = result.orders["scenario"][np.arange(len(slots)) % len(result.orders)]
    for_fraud = np.isin(slots["response"], [code_number(code) for code in _FRAUD_CODES]) & answered
    genuine = (scenario == 0) & answered
    by_scenario = {
        str(s): {
            "payments": int((answered & (scenario == s)).sum()),
            "stopped": int((for_fraud & (scenario == s)).sum()),
        }
        for s in (1, 2, 3)
    }
    span_s = int(traffic.t_seconds[min(len(traffic), max(1, int(answered.sum()))) - 1])
    return {
        **result.summary,
        "frauds_caught": int((for_fraud & (scenario > 0) & answered).sum()),
        "frauds_caught_by_scenario": by_scenario,
        "false_declines": int((for_fraud & genuine).sum()),
        "genuine": int(genuine.sum()),
        "simulated_days": round((span_s - int(traffic.t_seconds[0])) / DAY_S, 2),
        "stream": None if stream is None else str(stream),
        "ledger_records": seen["records"],
        "ledger_ok": seen["ok"],
    }


def _print(summary: dict[str, Any], kept: Path | None, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json_text.dumps(summary) + "\n")
        return
    lines = [
        ("messages", f"{summary['sent']:,} sent, {summary['answered']:,} answered"),
        ("lost, errors", f"{summary['lost']}, {summary['errors']}"),
        ("doubled, swapped", f"{summary['doubled']}, {summary['swapped']}"),
        ("TPS", f"{summary['tps']:,.0f} answers/s, offered {summary['rate']:,.0f}/s"),
        (
            "latency",
            (
                f"p50 {summary['p50_us']:,} us, p99 {summary['p99_us']:,} us, "
                f"p99.9 {summary['p999_us']:,} us, max {summary['max_us']:,} us"
            ),
        ),
        ("approved", f"{summary['approved']:,}"),
        ("declined", f"{summary['declined']:,}"),
    ]
    for code, count in summary["responses"].items():
        if code != "00":
            lines.append(("", f"{count:>8,}  {code} {_NAMES.get(code, '')}"))
    frauds = sum(row["payments"] for row in summary["frauds_caught_by_scenario"].values())
    lines += [
        ("frauds caught", f"{summary['frauds_caught']:,} of {frauds:,}"),
        *(
            ("", f"scenario {s}: {row['stopped']:,} of {row['payments']:,}")
            for s, row in summary["frauds_caught_by_scenario"].items()
        ),
        ("false declines", f"{summary['false_declines']:,} of {summary['genuine']:,} genuine"),
        ("simulated time", f"{summary['simulated_days']} days"),
        (
            "ledger",
            (
                f"{summary['ledger_records']:,} records, every answer found in it: "
                f"{'yes' if summary['ledger_ok'] else 'NO'}"
            ),
        ),
    ]
    width = max(len(name) for name, _ in lines)
    sys.stdout.write("\n" + "".join(f"  {name:<{width}}  {text}\n" for name, text in lines))
    sys.stdout.write(_where_next(kept))


def _write_labels(file: Path, result: LoadResult) -> None:
    """Write the frauds among what was answered as rrn,fraud: the truth that a bank learns later."""
    slots = result.slots
    scenario = result.orders["scenario"][np.arange(len(slots)) % len(result.orders)]
    rows = np.flatnonzero((scenario > 0) & (slots["answered"] > 0))
    lines = [f"{result.first_number + row:012d},1\n" for row in rows.tolist()]
    file.write_text("rrn,fraud\n" + "".join(lines), encoding="utf-8")


def _where_next(kept: Path | None) -> str:
    if kept is None:
        return "\nThe folder is removed. Next: de39 demo --keep, de39 serve --help, README.md\n"
    return (
        f"\nKept in {kept}. Next:\n"
        f"  de39 ledger verify --data {kept}/data\n"
        f"  de39 ledger tail --data {kept}/data\n"
        f"  de39 serve --config {kept}/de39.toml\n"
    )


def _say(text: str) -> None:
    sys.stderr.write(f"de39: {text}\n")
    sys.stderr.flush()
