"""``de39 bench core``: the whole path of a batch on one core, without sockets and disk.

Frames go through every stage (decode, tokens, find, features, score, rules, decide, records,
answers) and the records through the journal's hash chain, in memory. The baseline is the stack one
would otherwise write: pyiso8583, ``Booster.inplace_predict`` for each row, rules as Python
functions, balances in a dict and one SQLite commit a payment.
"""

import hashlib
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.figures import Figure, print_figures, rate_figure
from bench.frames import encode, test_pan
from bench.workload import Workload
from engine import warm
from engine.authorize import Authorizer, Settings, Workspace
from engine.command_options import Flag
from engine.errors import run_command
from engine.items import LINK
from engine.limits import ARENA_BYTES, BATCH_FRAMES_MAX
from engine.rules.language import parse
from engine.rules.program import Program, default_rules_path, program_from_file
from engine.state import Bounds, EngineState
from engine.tokens import Tokenizer, pan_blocks
from engine.wire.dialect import load_builtin
from engine.wire.table import SEGMENT, compile_dialects
from ledger.authorizations import SPARE_ROWS, Cursor
from ledger.journal import BatchEncoder, Position, Writer
from scoring.features import FEATURES
from scoring.registry import Model, default_model_path, load_model
from scoring.tables import tables

_EXTRA_RULES = 10
_LIMIT_MINOR = 10**9
_BASELINE_PAYMENTS = 300
_HASH_KEY = (0x0123456789ABCDEF, 0xFEDCBA9876543210)


@run_command
def run(
    *,
    cards: int = 1_000_000,
    batch: int = 1024,
    payments: int = 200_000,
    runs: int = 5,
    json: Flag = False,
) -> None:
    """Measure authorizations a second on one core, all stages, against the usual stack.

    Parameters
    ----------
    cards
        Cards and accounts in the tables.
    batch
        Messages in a batch.
    payments
        Payments of one run.
    runs
        Measured runs; one more is not counted.
    json
        Print a JSON list, the headline figure first.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    warm.compile_all(_say)
    _say(f"filling tables with {cards:,} cards")
    core = Core(cards, batch, payments * (runs + 1))
    baseline = usual_stack_rate(core.model, _BASELINE_PAYMENTS)
    _say(f"the usual stack: {baseline:,.0f}/s; measuring {runs} runs of {payments:,} payments")
    core.play(payments)
    seconds = [core.play(payments) for _ in range(runs)]
    name = f"core, {cards:,} cards, {core.program.rule_count} rules, {_model_text(core.model)}"
    figures = [rate_figure(name, "auth/s", payments, seconds, "usual stack, durable", baseline)]
    figures += core.stage_figures()
    print_figures(figures, as_json=json)


class Core:
    """An engine in memory, its frames, and the journal's encoder."""

    def __init__(self, cards: int, batch: int, payments: int) -> None:
        self.batch = min(batch, BATCH_FRAMES_MAX)
        self.model = load_model(default_model_path())
        self.program = twenty_rules()
        self.state = filled_state(cards, payments)
        traffic = Workload(cards, max(1000, cards // 10), _days(cards, payments), 7)
        orders = np.resize(traffic.orders(), payments)
        frames = encode(orders, first_number=1)
        self._frames, self._size = frames.buffer, int(frames.offsets[1])
        self.state.cursor[Cursor.LAST_TS_NS] = int(orders["t_s"][0]) * 10**9
        self.authorizer = Authorizer(
            self.state,
            compile_dialects([load_builtin("iso87-bin")]),
            self.program,
            self.model,
            tables(),
            Tokenizer(bytes(32)),
            np.array(_HASH_KEY, np.uint64),
            Settings(clock_from_messages=True),
            Workspace(BATCH_FRAMES_MAX, ARENA_BYTES),
        )
        self._encoder = BatchEncoder(Writer(bytes(16), 0, 1, bytes(16)))
        self._position = Position(seq=self.state.next_seq)
        self._segments, self._links = np.zeros(1, SEGMENT), np.zeros(1, LINK)
        self._next = 0
        self.stage_ns: dict[str, int] = {}
        self.done = 0
        self._lap_ns = 0

    def play(self, payments: int) -> float:
        """Authorize the next ``payments``; return the seconds it took."""
        self.stage_ns, self.done = {}, payments
        started = time.perf_counter()
        self._lap_ns = time.perf_counter_ns()
        for first in range(0, payments, self.batch):
            self._one(min(self.batch, payments - first))
        return time.perf_counter() - started

    def stage_figures(self) -> list[Figure]:
        """Return the cost of each stage in the last run, as its share of the whole."""
        whole = sum(self.stage_ns.values()) / self.done
        return [
            Figure(f"stage {name}", "ns/auth", ns / self.done, "all stages", whole,
                   whole * self.done / max(ns, 1), 1, 0.0)
            for name, ns in self.stage_ns.items()
        ]  # fmt: skip

    def authorize_next(self, count: int) -> NDArray[np.void]:
        """Authorize the next ``count`` payments as one batch; return their records."""
        start = self._next * self._size
        data = self._frames[start : start + count * self._size]
        self._next += count
        self.authorizer.work.arena[: len(data)] = data
        self._segments[0]["start"], self._segments[0]["end"] = 0, len(data)
        return self.authorizer.run(self._segments, 1, self._links, self._lap).records

    def _one(self, count: int) -> None:
        records = self.authorize_next(count)
        encoded = self._encoder.encode([(records, ())], self._position, 0)
        head = hashlib.sha256(encoded[:256]).digest()
        self._position = self._position._replace(
            seq=self.state.next_seq, batch_no=self._position.batch_no + 1, head=head
        )
        self.state.maintain()
        self._lap("journal")

    def _lap(self, stage: str) -> None:
        now_ns = time.perf_counter_ns()
        self.stage_ns[stage] = self.stage_ns.get(stage, 0) + now_ns - self._lap_ns
        self._lap_ns = now_ns


def twenty_rules() -> Program:
    """Return the shipped rules and ten more, of two conditions each."""
    text = default_rules_path().read_text(encoding="utf-8")
    for n in range(_EXTRA_RULES):
        text += (
            f'rule X{n:02d} post decline(59) "bench" when amount >= {9_000 + n}.00 '
            f"and z_amount >= {5 + n} and count_1h >= {3 + n % 4}\n"
        )
    return program_from_file(parse(text, file="bench"))


def filled_state(cards: int, payments: int) -> EngineState:
    """Return a state with ``cards`` accounts and cards, found by token.

    The indexes have room for all payments from the start: growth is the work of another thread,
    which has no core of its own here.
    """
    ring = 1 << (payments + SPARE_ROWS).bit_length()
    state = EngineState(Bounds(cards + 1, cards + 1, 1 << 20, ring, payments))
    numbers = np.arange(1, cards + 1)
    state.cards["account"][1 : cards + 1] = numbers
    state.cards["expiry_yymm"][1 : cards + 1] = 3012
    state.cards["status"][1 : cards + 1] = 1
    for name in ("limit_minor", "otb_minor"):
        state.accounts[name][1 : cards + 1] = _LIMIT_MINOR
    state.accounts["currency"][1 : cards + 1] = 840
    state.accounts["status"][1 : cards + 1] = 1
    state.cursor[Cursor.ACCOUNTS] = state.cursor[Cursor.CARDS] = cards
    tokens = np.zeros((cards, 2), np.uint64)
    blocks = pan_blocks([test_pan(i) for i in range(cards)])
    Tokenizer(bytes(32)).tokens(blocks, cards, tokens)
    state.load_tokens(numbers, tokens)
    return state


def usual_stack_rate(model: Model, payments: int) -> float:
    """Return payments a second of the stack one would otherwise build, one message at a time."""
    import iso8583
    import xgboost
    from iso8583.specs import default as spec

    rng = np.random.default_rng(1)
    rows = rng.random((2_000, len(FEATURES)), np.float32)
    booster = xgboost.train(
        {"max_depth": model.forest.depth, "nthread": 1, "objective": "binary:logistic"},
        xgboost.DMatrix(rows, rng.random(2_000) < 0.1),
        model.forest.tree_count,
    )
    traffic = Workload(500, 1000, 3, 7)
    frames = encode(np.resize(traffic.orders(), payments), first_number=1)
    rules = [_rule_of(number) for number in range(20)]
    held: dict[str, int] = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        database = sqlite3.connect(Path(folder) / "usual.db", isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE ledger (rrn TEXT, card TEXT, amount INTEGER, code TEXT)")
        started = time.perf_counter()
        for i in range(payments):
            data = frames.buffer[frames.offsets[i] + 2 : frames.offsets[i + 1]].tobytes()
            message, _ = iso8583.decode(data, spec)
            row = rows[i % 2_000 : i % 2_000 + 1]
            score = float(booster.inplace_predict(row)[0])
            declined = score > 0.99 or any(rule(row[0]) for rule in rules)
            card = hashlib.sha256(message["2"].encode()).hexdigest()
            held[card] = held.get(card, 0) + int(message["4"])
            code = "59" if declined else "00"
            values = (message["37"], card, int(message["4"]), code)
            database.execute("INSERT INTO ledger VALUES (?, ?, ?, ?)", values)
            answer: dict[str, Any] = {
                k: message[k] for k in ("3", "4", "7", "11", "37", "41", "49")
            }
            iso8583.encode(answer | {"t": "0110", "39": code}, spec)
        seconds = time.perf_counter() - started
        database.close()
    return payments / seconds


def _rule_of(number: int) -> Callable[[NDArray[np.float32]], bool]:
    return lambda row: bool(row[0] > 2 + number and row[8] > 3 and row[9] > 4)


def _days(cards: int, payments: int) -> int:
    return min(60, 1 + int(payments / (cards * 1.5)))


def _model_text(model: Model) -> str:
    return f"{model.forest.tree_count} trees of depth {model.forest.depth}"


def _say(text: str) -> None:
    sys.stderr.write(f"de39: {text}\n")
    sys.stderr.flush()
