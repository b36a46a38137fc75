"""``de39 rules backtest``: a rule set over the journal of a data folder, or over a stream.

Both run the stages of the live engine on one core, without sockets and disk: the journal's messages
from their records (``engine.history``), a stream's from the frames that acquirers would send.
"""

import csv
import json as json_text
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from bench.core import filled_state
from bench.frames import encode
from bench.stream import StreamError, load_stream
from bench.traffic import Traffic
from bench.workload import Workload
from engine import warm
from engine.authorize import Authorizer, Settings, Workspace
from engine.backtest import Tally, result_of
from engine.backtest_report import html_of, text_of
from engine.command_options import Flag, Whole
from engine.errors import ProblemFoundError, UsageError, run_command
from engine.history import HistoryRun
from engine.items import LINK
from engine.label_events import Label
from engine.ledger_commands import bounds_needed, card_text_of
from engine.limits import ARENA_BYTES, BATCH_FRAMES_MAX
from engine.replay import Replayer
from engine.rules.book import hits_of, refusing_of
from engine.rules.errors import RuleError
from engine.rules.program import Program, load_rules, no_rules, program_from_file
from engine.rules.tree import Mode
from engine.state import EngineState
from engine.tokens import Tokenizer
from engine.wire.dialect import load_builtin
from engine.wire.table import SEGMENT, compile_dialects
from ledger.authorizations import Cursor
from ledger.journal import Blob, BlobKind
from ledger.record import RECORD, Kind
from ledger.stores.place import scan_journal
from ledger.vault import Vault
from scoring.registry import Model, default_model_path, load_model
from scoring.tables import tables

_BATCH = 1024
_PIECE = 65_536  # records read before they are run
_HASH_KEY = (0x0123456789ABCDEF, 0xFEDCBA9876543210)
_DEMO_DAYS_MAX = 366
_LIMIT_MINOR = (150_000, 1_200_000)
Truth = Callable[[NDArray[np.void]], NDArray[np.int8]]  # 1 fraud, 0 genuine, -1 not known


@dataclass(frozen=True, slots=True)
class StreamRun:
    """Payments of a stream as they were decided: RECORD (n,), truth i8 (n,), breakers tripped."""

    records: NDArray[np.void]
    refusing: NDArray[np.int16]  # place of the rule that refused, -1 = none
    truth: NDArray[np.int8]
    trips: list[str]
    seconds: float
    later: list[Blob]  # hits of rules from the 129th on, by row


@run_command
def run(
    file: Path,
    /,
    *,
    data: Path | None = None,
    stream: Path | None = None,
    demo_days: Whole = 0,
    begin: Annotated[str | None, Parameter(name="--from")] = None,
    end: Annotated[str | None, Parameter(name="--to")] = None,
    against: Path | None = None,
    promote: tuple[str, ...] = (),
    labels: Path | None = None,
    model: str = "default",
    html: Path | None = None,
    json: Flag = False,
) -> None:
    """Say what a rule set would have done: frauds caught and missed, false declines, every change.

    The set runs by the kernels that decide live traffic, with velocities, lists and balances as of
    then, and its decisions have their consequences. Parameters name one source: --data, --stream
    or --demo-days.

    Parameters
    ----------
    file
        The rule file.
    data
        A data folder: its journal is run again, beside a working engine if need be.
    stream
        A parquet of t_seconds, customer_id, terminal_id, amount_cents, fraud_scenario.
    demo_days
        So many days of the demo's own traffic.
    begin
        First day of the journal that is decided anew, such as 2026-01-31; before it, as recorded.
    end
        Day before which the run ends.
    against
        For traffic that nobody has decided: the rule file to compare with; nothing = no rules.
    promote
        Rules in shadow that are to act, as after "de39 rules promote".
    labels
        CSV with the header rrn,fraud (1 or 0); what it does not name is genuine. Without it the
        labels in the journal count, and what has none is not known.
    model
        Path of the model, "default" or "none".
    html
        Write a page with plots there.
    json
        Print one JSON object.
    """
    if sum(map(bool, (data, stream, demo_days))) != 1:
        raise UsageError("name one of --data, --stream and --demo-days")
    only_data: dict[str, object] = {"--from": begin, "--to": end, "--labels": labels}
    _refuse_idle({"--against": against} if data else only_data, data)
    period = (_day(begin), _day(end) or 2**63)
    if period[0] >= period[1]:
        raise UsageError("--to: expected a day after --from; the run ends before it begins")
    if not 0 <= demo_days <= _DEMO_DAYS_MAX:
        raise UsageError(f"--demo-days: expected 1 to {_DEMO_DAYS_MAX}")
    if html is not None and not html.parent.is_dir():
        raise UsageError(f"--html: {html.parent} is no folder")
    program = _promoted(loaded(file), promote)
    scorer = model_of(model)
    warm.compile_all(say)
    started, used = time.monotonic(), time.process_time()
    if data is not None:
        truth = journal_truth(data) if labels is None else _file_truth(labels)
        result = _over_journal(data, program, scorer, period, truth)
        if not result["payments"]:
            raise ProblemFoundError(f"no payment was decided anew: {_days_text(data)}")
    else:
        traffic = _traffic(stream, demo_days)
        baseline = no_rules() if against is None else loaded(against)
        result = _over_stream(traffic, program, baseline, scorer)
    result["seconds"] = round(time.monotonic() - started, 2)
    result["cpu_seconds"] = round(time.process_time() - used, 2)
    title = f"{file} over {data or stream or f'{demo_days} days of demo traffic'}"
    if html is not None:
        html.write_text(html_of(result, title), encoding="utf-8")
    sys.stdout.write(json_text.dumps(result) + "\n" if json else text_of(result, title))


def run_stream(traffic: Traffic, program: Program, model: Model | None) -> StreamRun:
    """Decide all of ``traffic`` with ``program``, in batches of 1,024 frames, as a switch does."""
    payments, orders = len(traffic), traffic.orders()
    authorizer = stream_authorizer(traffic, program, model)
    state = authorizer.state
    started = time.monotonic()
    parts, refusing, trips, count = [], [], [], 0
    later: list[Blob] = []
    segments, links = np.zeros(1, SEGMENT), np.zeros(1, LINK)
    for first in range(0, payments, _PIECE):
        frames = encode(orders[first : first + _PIECE], first_number=first + 1)
        for at in range(0, len(frames.offsets) - 1, _BATCH):
            ends = frames.offsets[[at, min(at + _BATCH, len(frames.offsets) - 1)]]
            bytes_ = frames.buffer[int(ends[0]) : int(ends[1])]
            authorizer.work.arena[: len(bytes_)] = bytes_
            segments[0]["start"], segments[0]["end"] = 0, len(bytes_)
            outcome = authorizer.run(segments, 1, links, _no_lap)
            trips += outcome.trips
            state.maintain()
            paid = outcome.records["kind"] <= Kind.CHECK
            row = np.cumsum(paid) + (count - 1)
            later += [
                b._replace(row=int(row[b.row])) for b in outcome.blobs if b.kind == BlobKind.HITS
            ]
            count += int(paid.sum())
            parts.append(outcome.records[paid])
            refusing.append(refusing_of(len(paid), outcome.blobs)[paid])
        say(f"{min(first + _PIECE, payments):,} of {payments:,} payments")
    seconds = time.monotonic() - started
    state.close()
    records = _joined(parts)
    assert len(records) == payments, "every payment has its record"
    truth = (traffic.scenario > 0).astype(np.int8)
    return StreamRun(records, np.concatenate(refusing), truth, trips, seconds, later)


def stream_authorizer(traffic: Traffic, program: Program, model: Model | None) -> Authorizer:
    """Return an engine that has the cards of ``traffic`` and stands at its first second."""
    cards = traffic.customers
    state = filled_state(cards, len(traffic))
    limits = np.random.default_rng(39).integers(*_LIMIT_MINOR, cards)
    for name in ("limit_minor", "otb_minor"):
        state.accounts[name][1 : cards + 1] = limits
    first_s = traffic.start_s + int(traffic.t_seconds[0])
    state.cursor[Cursor.LAST_TS_NS] = first_s * 10**9
    return authorizer_of(state, program, model, np.array(_HASH_KEY, np.uint64))


def _over_stream(
    traffic: Traffic, program: Program, baseline: Program, model: Model | None
) -> dict[str, Any]:
    """Run the traffic twice, with the set to compare with and with the new one."""
    before = run_stream(traffic, baseline, model)
    after = run_stream(traffic, program, model)
    tally = Tally(program)
    later: dict[int, list[Blob]] = {}
    for blob in after.later:
        piece, row = divmod(blob.row, _PIECE)
        later.setdefault(piece, []).append(blob._replace(row=row))
    for piece, first in enumerate(range(0, len(after.records), _PIECE)):
        part = slice(first, first + _PIECE)
        records, refusing = after.records[part], after.refusing[part]
        hits = hits_of(records, later.get(piece, ()), program.words)
        tally.add(before.records[part], records, after.truth[part], refusing, hits)
    return {**result_of(tally, after.trips), "run_seconds": round(after.seconds, 2)}


def _over_journal(
    data: Path,
    program: Program,
    model: Model | None,
    period: tuple[int, int],
    truth: Truth,
) -> dict[str, Any]:
    """Fold the journal up to the period, then decide it anew."""
    with Vault.read(data) as vault:
        hash_key = np.frombuffer(vault.keys.hash_key, np.uint64).copy()
    state = EngineState(bounds_needed(data))
    authorizer = authorizer_of(state, program, model, hash_key)
    replayer = Replayer(state, tables(), hash_key)
    history: HistoryRun | None = None
    tally = Tally(program)
    for records, blobs in pieces(data):
        inside = records["ts_ns"] < np.uint64(period[1])
        records = records[inside]
        split = int(np.searchsorted(records["ts_ns"], np.uint64(period[0])))
        early = [b for b in blobs if b.row < split]
        if history is None and split:
            originals = [(b.row, b.data) for b in early if b.kind == 4]
            replayer.apply(records[:split], originals, early)
        if split < len(records):
            history = history or HistoryRun(authorizer, program)
            late = [b._replace(row=b.row - split) for b in blobs if split <= b.row < len(records)]
            for part in history.run(records[split:], late):
                tally.add(part.before, part.after, truth(part.before), part.refusing, part.hits)
        say(f"{int(records['seq'][-1]) if len(records) else 0:,} records")
        if not inside.all():
            break
    state.close()
    trips = [] if history is None else history.trips
    passed = 0 if history is None else history.passed_over
    return {**result_of(tally, trips, card_text_of(data)), "records_passed_over": passed}


def pieces(data: Path) -> Iterator[tuple[NDArray[np.void], list[Blob]]]:
    """Yield records and their blobs in pieces of some ten thousand."""
    parts: list[NDArray[np.void]] = []
    blobs: list[Blob] = []
    waiting = 0
    for batch in scan_journal(data):
        blobs += [blob._replace(row=waiting + blob.row) for blob in batch.blobs]
        parts.append(batch.records)
        waiting += len(batch.records)
        if waiting >= _PIECE:
            yield _joined(parts), blobs
            parts, blobs, waiting = [], [], 0
    if parts:
        yield _joined(parts), blobs


def _joined(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    raw = np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in parts])
    return raw.view(RECORD)


def authorizer_of(
    state: EngineState, program: Program, model: Model | None, hash_key: NDArray[np.uint64]
) -> Authorizer:
    """Return an engine over ``state`` that takes its time from messages."""
    return Authorizer(
        state,
        compile_dialects([load_builtin("iso87-bin")]),
        program,
        model,
        tables(),
        Tokenizer(bytes(32)),
        hash_key,
        Settings(clock_from_messages=True),
        Workspace(min(BATCH_FRAMES_MAX, len(state.ring) // 4), ARENA_BYTES),
    )


def _promoted(program: Program, names: tuple[str, ...]) -> Program:
    """Return the set with the rules ``names`` active."""
    unknown = set(names) - set(program.names)
    if unknown:
        raise UsageError(f"--promote: no rule is named {min(unknown)}")
    if not names:
        return program
    rules = tuple(
        replace(rule, mode=Mode.ACTIVE) if rule.name in names else rule
        for rule in program.source.rules
    )
    return program_from_file(replace(program.source, rules=rules))


def journal_truth(data: Path) -> Truth:
    """Return truth by the labels in the journal, whenever they came; the rest is not known."""
    found: dict[int, int] = {}
    for batch in scan_journal(data):
        told = batch.records[batch.records["kind"] == Kind.LABEL]
        fraud = told["status"] == Label.FRAUD
        found.update(zip(told["ref_seq"].tolist(), fraud.tolist(), strict=True))

    def truth(records: NDArray[np.void]) -> NDArray[np.int8]:
        return np.array([found.get(seq, -1) for seq in records["seq"].tolist()], np.int8)

    return truth


def _file_truth(file: Path) -> Truth:
    """Return truth by RRN, what the file does not name is genuine; errors name the line."""
    found = {}
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines)
        if next(reader, None) != ["rrn", "fraud"]:
            raise ProblemFoundError(f"{file}: line 1: expected the header rrn,fraud")
        for row in reader:
            if len(row) != 2 or not 1 <= len(row[0]) <= 12 or row[1] not in ("0", "1"):
                text = f"{file}: line {reader.line_num}: expected an RRN and 1 or 0"
                raise ProblemFoundError(text)
            found[row[0].encode("ascii", "replace").ljust(12)] = int(row[1])

    def truth(records: NDArray[np.void]) -> NDArray[np.int8]:
        pairs = zip(records["rrn_a"].tolist(), records["rrn_b"].tolist(), strict=True)
        keys = (a.to_bytes(8, "little") + b.to_bytes(4, "little") for a, b in pairs)
        return np.array([found.get(key, 0) for key in keys], np.int8)

    return truth


def _traffic(stream: Path | None, days: int) -> Traffic:
    if stream is None:
        return Workload(5_000, 10_000, days, 39)
    try:
        return load_stream(stream)
    except StreamError as problem:
        raise ProblemFoundError(str(problem)) from None


def loaded(file: Path) -> Program:
    """Return the rule set of a file; a bad one ends the command with 78 and its place."""
    try:
        return load_rules(file)
    except RuleError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None


def model_of(name: str) -> Model | None:
    """Return the model of a path, the shipped one for "default", None for "none"."""
    if name == "none":
        return None
    return load_model(default_model_path() if name == "default" else Path(name))


def _day(text: str | None) -> int:
    """Return the Unix ns of a day's begin; None = as early or late as can be."""
    if text is None:
        return 0
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 10**9
    except ValueError:
        raise UsageError("--from and --to: expected a day such as 2026-01-31") from None


def _refuse_idle(options: dict[str, object], data: Path | None) -> None:
    """Raise for an option that this source does not read: it would be passed over in silence."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        source = "--data, which says what was decided" if data else "traffic that is not recorded"
        raise UsageError(f"{given[0]}: does not go with {source}")


def _days_text(data: Path) -> str:
    """Return from which day to which the journal has payments."""
    times = [
        int(ts_ns)
        for batch in scan_journal(data)
        for ts_ns in batch.records["ts_ns"][batch.records["kind"] == Kind.AUTHORIZE]
    ]
    if not times:
        return "the journal has none"
    days = [f"{datetime.fromtimestamp(t // 10**9, UTC):%Y-%m-%d}" for t in (times[0], times[-1])]
    return f"those of the journal are of {days[0]} to {days[1]}"


def _no_lap(_stage: str) -> None:
    """Time nothing."""


def say(text: str) -> None:
    """Write a line of progress."""
    sys.stderr.write(f"de39: {text}\n")
    sys.stderr.flush()
