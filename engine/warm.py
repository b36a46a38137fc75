"""Compiles every kernel before the first request, by running a few messages through all of it.

The state is a small one of its own and is thrown away. The first start on a machine takes some
tens of seconds and says what it does; later starts load the compiled code from the cache.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import kernel_cache, metrics
from engine.authorize import Authorizer, Settings, Workspace
from engine.card_checks import apply_checks, judge_checks
from engine.events import apply_events, event_record
from engine.filing import Clearing, columns_of, settle_rows
from engine.items import LINK, Setting
from engine.replay import Replayer
from engine.replies import decisions_of, segment_ends
from engine.rules.breaker_kernels import count_records
from engine.rules.program import default_rules_path, load_rules
from engine.security.warm_kernels import compile_kernels
from engine.state import Bounds, EngineState
from engine.tokens import Tokenizer, pan_blocks
from engine.wire.dialect import load_builtin
from engine.wire.reading import read_batch
from engine.wire.table import SEGMENT, compile_dialects
from engine.wire.text import add_header, build_message
from ledger.authorizations import Cursor
from ledger.deadlines import new_wheel, rebuild
from ledger.proof.record_kernels import record_root
from ledger.record import RECORD, RECORD_BYTES, Kind
from scoring.features import FEATURES
from scoring.forest import Forest, sigmoid_cuts
from scoring.forest_kernels import GROUP_TREES
from scoring.registry import MCC_COUNT, Model, ModelMeta, Spread
from scoring.tables import tables

Report = Callable[[str], None]
_CARD = "9999000000000018"  # a made number that belongs to nobody
_PAYMENT = {
    2: _CARD,
    3: "000000",
    4: "000000001000",
    7: "0101000000",
    11: "000001",
    18: "5411",
    22: "051",
    32: "1",
    37: "000000000001",
    41: "00000001",
    42: "000000000000001",
    49: "840",
}
_START_NS = 1_767_225_600_000_000_000  # 2026-01-01
_HOLD_LIFE_H = 1
_PROGRESS_S = 1.5


def compile_all(report: Report) -> float:
    """Run every kernel once; return the seconds it took. ``report`` is told what is compiled."""
    started = time.monotonic()
    folder = os.environ.get("NUMBA_CACHE_DIR")
    is_warm = folder is not None and kernel_cache.is_warm(Path(folder))
    if not is_warm:
        report("compiling the kernels: only on the first start of this version, under a minute")
    with _Progress(None if is_warm else report) as say:
        authorizer, state = _small_engine()
        if folder is not None and not is_warm:
            _compile_side_by_side(authorizer, say)
        _open_card(authorizer, state)
        records = [_run(authorizer, _frames(), say)]
        records.append(authorizer.expire(_START_NS + 2 * 3600 * 10**9 * _HOLD_LIFE_H))
        _compile_between(authorizer, state)
        say("expiry, clearing")
        _replay(state, authorizer, records)
        say("replay")
        _compile_checks(authorizer)
        say("checks")
        metrics.compile_kernels()
        record_root(np.zeros((2, RECORD_BYTES), np.uint8), np.zeros((2, 32), np.uint8))
        say("proofs")
    if folder is not None:
        kernel_cache.mark_warm(Path(folder))
    return time.monotonic() - started


def _compile_side_by_side(authorizer: Authorizer, say: Report) -> None:
    """Let a second process compile the stages between decode and encode, this one the others.

    What it keeps in the cache is found there afterwards; a kernel that it could not make, or on a
    machine with one core, is made as it is met.
    """
    if len(os.sched_getaffinity(0)) < 2:
        return
    beside = subprocess.Popen(
        [sys.executable, "-c", "from engine.warm import compile_beside; compile_beside()"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        read_batch(authorizer.work, np.zeros(1, SEGMENT), 1, authorizer.table, authorizer.hash_key)
        say("decode")
        authorizer.encode(0)
        say("encode")
        compile_kernels()
        say("checks")
        beside.wait()
    finally:
        beside.kill()
        beside.wait()


def compile_beside() -> None:
    """Compile the stages between decode and encode; the second process of a first start."""
    authorizer, state = _small_engine()
    authorizer.compile_stages(np.zeros(1, LINK))
    _compile_between(authorizer, state)


class _Progress:
    """Says every second or so that work goes on; quiet without a ``report``."""

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._done: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Report:
        if self._report is not None:
            self._thread.start()
        return self._done.append

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._report is not None:
            self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        assert self._report is not None, "started with one only"
        while not self._stop.wait(_PROGRESS_S):
            seconds = time.monotonic() - started
            done = ", ".join(self._done[-3:]) or "none yet"
            self._report(f"compiling the kernels: {seconds:.0f} s, done: {done}")


def _small_engine() -> tuple[Authorizer, EngineState]:
    state = EngineState(Bounds(64, 64, 64, 64))
    authorizer = Authorizer(
        state,
        compile_dialects([load_builtin("iso87-bin")]),
        load_rules(default_rules_path()),
        _small_model(),
        tables(),
        Tokenizer(bytes(32)),
        np.zeros(2, np.uint64),
        Settings(hold_life_h=_HOLD_LIFE_H),
        Workspace(16, 1 << 16),
    )
    return authorizer, state


def _small_model() -> Model:
    places = GROUP_TREES << 6
    forest = Forest(
        np.zeros(places, np.int64),
        np.zeros(places, np.float32),
        6,
        0.0,
        1,
        len(FEATURES),
        np.zeros(places, np.float32),
    )
    spread = Spread("warm", (0.0,), (0.5, 0.5))
    spreads = (spread,) * (len(FEATURES) + 1)
    meta = ModelMeta("warm", (), "", 0, 0, 0, 0, 0, spreads=spreads)
    return Model(forest, sigmoid_cuts(), np.zeros(MCC_COUNT, np.float32), meta, "", 0)


def _open_card(authorizer: Authorizer, state: EngineState) -> None:
    opened = event_record(
        Kind.ACCOUNT_OPEN, _START_NS, account=1, amount_minor=10**6, currency=840, status=1
    )
    issued = event_record(Kind.CARD_ISSUE, _START_NS, card=1, account=1, expiry_yymm=9912, status=1)
    limit = event_record(Kind.LIMIT, _START_NS, account=1, amount_minor=10**6)
    apply_events(np.concatenate([opened, issued, limit]), state.accounts, state.cards, state.cursor)
    tokens = np.zeros((1, 2), np.uint64)
    authorizer.tokenizer.tokens(pan_blocks([_CARD]), 1, tokens)
    state.add_tokens(np.array([1]), tokens)
    state.maintain()


def _frames() -> bytes:
    """Return two payments of one card, a repeat, a reversal, an orphan, a sign-on and a bad one."""
    dialect = load_builtin("iso87-bin")

    def frame(mti: str, **changes: str) -> bytes:
        fields = {**_PAYMENT, **{int(k[2:]): v for k, v in changes.items()}}
        return add_header(dialect, build_message(dialect, mti, fields))

    network = {7: "0101000000", 11: "000009", 70: "001"}
    return b"".join(
        (
            frame("0100"),
            frame("0100", de11="000002", de37="000000000002"),
            frame("0101"),
            frame("0420", de11="000003", de37="000000000001", de4="000000001000"),
            frame("0420", de11="000004", de37="000000000009"),
            frame("0100", de2="4111111111111112"),
            add_header(dialect, build_message(dialect, "0800", network)),
            b"\x00\x0c0100garbage!",
        )
    )


def _run(authorizer: Authorizer, data: bytes, say: Report) -> NDArray[np.void]:
    segments, links = np.zeros(1, SEGMENT), np.zeros(1, LINK)
    authorizer.work.arena[: len(data)] = np.frombuffer(data, np.uint8)
    segments[0]["end"] = len(data)
    links[0]["arrival_ns"] = _START_NS
    authorizer.settings[Setting.CLOCK_FROM_MESSAGES] = 0
    said = set()

    def lap(stage: str) -> None:
        if stage not in said:
            said.add(stage)
            say(stage)

    outcome = authorizer.run(segments, 1, links, lap)
    work = authorizer.work
    segment_ends(
        work.replies, outcome.reply_count, work.request, work.out_end, 1, np.zeros(1, np.int64)
    )
    decisions_of(work.items, outcome.request_count, 4, 65_535, np.zeros(16, np.uint16))
    return outcome.records


def _compile_checks(authorizer: Authorizer) -> None:
    """Compile what links with keys need; nothing of it is asked for."""
    work, order = authorizer.work, np.zeros(0, np.int32)
    apply_checks(work.checks, 0, work.items)
    chips = authorizer.state.chips
    judge_checks(order, work.items, work.checks, chips, authorizer.settings)
    compile_kernels()


def _compile_between(authorizer: Authorizer, state: EngineState) -> None:
    """Compile what runs between batches: the timer's look, clearing, the wheel after a restart."""
    authorizer.holds_are_due(_START_NS)
    authorizer.bound_rules().without_score(np.zeros(0, np.int32), 0)  # of an engine with no model
    state.rules.lists.find(1, np.zeros(0, np.uint64))  # a list changes, or a hit is explained
    rules, nothing = state.rules, np.zeros(0, RECORD)  # a start counts for the breakers again
    facts = (rules.reads_score, rules.breakers, rules.watched, rules.totals)
    count_records(nothing, np.zeros(0, np.int16), *facts)
    items = [Clearing(id="warm", account="A", amount_minor=1, currency="840", rrn="1")]
    rows = columns_of(items, [(1, 1)], authorizer.hash_key, 1, 20260101)
    settle_rows(state, authorizer.terms, rows, _START_NS, do_post=False)
    rebuild(state.ring, np.int64(1), new_wheel(len(state.ring)), state.cursor.copy())


def _replay(state: EngineState, authorizer: Authorizer, records: list[NDArray[np.void]]) -> None:
    """Compile the replay kernels on the records just made."""
    copy = EngineState(state.bounds)
    copy.accounts[:] = state.accounts
    replayer = Replayer(copy, authorizer.tables, authorizer.hash_key, chunk=16)
    copy.accounts["hold_minor"] = 0
    copy.accounts["otb_minor"] = copy.accounts["limit_minor"]
    copy.cursor[Cursor.NEXT_SEQ] = int(records[0]["seq"][0])
    for part in records:
        replayer.apply(part, [])


def main() -> None:
    """Compile the kernels into the cache that ``kernel_cache.configure`` chose beforehand."""
    assert "NUMBA_CACHE_DIR" in os.environ, "what is compiled would be kept nowhere"

    def report(text: str) -> None:
        sys.stderr.write(f"de39: {text}\n")
        sys.stderr.flush()

    seconds = compile_all(report)
    sys.stderr.write(f"de39: kernels ready in {seconds:.1f} s\n")
