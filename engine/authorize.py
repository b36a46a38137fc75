"""READ FIRST: the stages of one batch, in order.

``Authorizer.run`` takes the bytes that all links have delivered and gives back the answers and the
ledger records; nothing leaves before the caller has made the records durable. Given the same
state, bytes and times it does the same on every machine: it opens nothing, reads no clock and draws
no random number. The result does not depend on where batches are cut.

    decode -> tokens -> admit
           -> pass by pass, mostly one: match -> payments, shared counters
              -> wave by wave: features, PRE rules, score, POST rules, decide and post, velocity
           -> records -> replies -> encode
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.admission import admit
from engine.entry import CONDITION_BITS, ENTRY_BY_MODE
from engine.expiry import collect_due
from engine.items import ITEM, Setting
from engine.matching import match
from engine.payments import fill_payments
from engine.posting import decide, write_records
from engine.replies import EXTRA_BYTES, fill_replies
from engine.rules.column_kernels import fill_columns, fill_score
from engine.rules.columns import COLUMN_COUNT, RULE_FACTS
from engine.rules.kernels import add_points, evaluate, resolve
from engine.rules.program import VERDICT, Program
from engine.rules.tree import Phase
from engine.state import EngineState
from engine.tokens import Tokenizer
from engine.waves import order_waves, unwind
from engine.wire.columns import FIELD_COUNT, REPLY, REQUEST
from engine.wire.encode_kernels import REPLY_OVERHEAD_BYTES, encode_batch
from engine.wire.kernels import decode_batch
from engine.wire.table import DialectTable
from ledger.authorizations import batch_rows_max
from ledger.deadlines import LIFE_H_MAX, next_due
from ledger.money import EXPONENT
from ledger.record import RECORD, SCORE_NONE, Flag
from scoring.features import EXTRAS, FEATURES, SHARED
from scoring.kernels import card_pass, card_update, score_bp, score_margins, shared_pass
from scoring.payment import PAYMENT
from scoring.registry import Model
from scoring.tables import Tables

Lap = Callable[[str], None]  # told the name of each stage as it ends


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may choose about a decision."""

    hold_life_h: int = 7 * 24
    duplicate_window_s: int = 24 * 3600
    clock_from_messages: bool = False


@dataclass(slots=True)
class Outcome:
    """What one batch led to. Arrays of the workspace are valid until the next ``run``.

    ``records`` is RECORD (k,), owned by the caller from now on. ``originals`` are (record row, 16
    bytes) of reversals that came before their original: they go into the journal's blobs.
    """

    request_count: int
    item_count: int
    reply_count: int
    records: NDArray[np.void]
    originals: list[tuple[int, bytes]]
    out_size: int


class Workspace:
    """Columns of one batch, allocated once: ``rows`` requests, as many expiries, their answers."""

    def __init__(self, rows: int, arena_bytes: int) -> None:
        items = 2 * rows
        self.rows = rows
        self.arena = np.zeros(arena_bytes, np.uint8)
        self.request = np.zeros(rows, REQUEST)
        self.spans = np.zeros((rows, FIELD_COUNT, 2), np.uint16)
        self.pan_block = np.zeros((rows, 16), np.uint8)
        self.tokens = np.zeros((rows, 2), np.uint64)
        self.items = np.zeros(items, ITEM)
        self.wave_table = np.zeros((1 << (4 * items - 1).bit_length(), 2), np.int64)
        self.payments = np.zeros(rows, PAYMENT)
        self.facts = np.zeros(rows, RULE_FACTS)
        self.arrivals = np.zeros(rows, np.int32)
        self.order = np.zeros(items, np.int32)
        self.wave_bounds = np.zeros(2 * items + 3, np.int32)
        self.shared = np.zeros((rows, len(SHARED)), np.float32)
        self.features = np.zeros((rows, len(FEATURES)), np.float32)
        self.extras = np.zeros((rows, len(EXTRAS)), np.float32)
        self.values = np.zeros((rows, COLUMN_COUNT), np.float64)
        self.margins = np.zeros(rows, np.float32)
        self.scores = np.zeros(items, np.uint16)
        self.hits = np.zeros((items, 2), np.uint64)
        self.verdicts = np.zeros(items, VERDICT)
        self.approved = np.zeros(rows, np.uint8)
        self.replies = np.zeros(rows, REPLY)
        self.extra = np.zeros(rows * EXTRA_BYTES, np.uint8)
        room = rows * (REPLY_OVERHEAD_BYTES + EXTRA_BYTES)
        self.out = np.zeros(arena_bytes + room, np.uint8)
        self.out_end = np.zeros(rows, np.int64)


class Authorizer:
    """Runs batches against one ``EngineState``; its only owner while it runs."""

    def __init__(
        self,
        state: EngineState,
        table: DialectTable,
        program: Program,
        model: Model | None,
        tables: Tables,
        tokenizer: Tokenizer,
        hash_key: NDArray[np.uint64],
        settings: Settings,
        workspace: Workspace,
    ) -> None:
        if workspace.rows > batch_rows_max(len(state.ring)):
            raise ValueError("limits.authorizations_max is less than four times a batch")
        if not 1 <= settings.hold_life_h <= LIFE_H_MAX:
            raise ValueError(f"a hold lives 1 to {LIFE_H_MAX} hours")
        self.state = state
        self.table = table
        self.tables = tables
        self.tokenizer = tokenizer
        self.hash_key = hash_key
        self.work = workspace
        self.program = program
        self.model = model
        self.settings = np.zeros(len(Setting), np.int64)
        self.settings[Setting.HOLD_LIFE_H] = settings.hold_life_h
        self.settings[Setting.DUPLICATE_WINDOW_S] = settings.duplicate_window_s
        self.settings[Setting.CLOCK_FROM_MESSAGES] = settings.clock_from_messages
        self.settings[Setting.MERCHANTS_MAX] = state.bounds.merchants_max
        self._facts = (hash_key, EXPONENT.copy(), ENTRY_BY_MODE.copy(), CONDITION_BITS.copy())
        self._no_mcc_risk = np.zeros(10_000, np.float32)

    def run(
        self,
        segments: NDArray[np.void],
        segment_count: int,
        links: NDArray[np.void],
        lap: Lap,
    ) -> Outcome:
        """Take the frames of ``segments`` in the arena through every stage.

        Parameters
        ----------
        segments : SEGMENT, in order of arrival, in and out; links : LINK, one a segment, the same.
        lap : told each stage's name when it ends.
        """
        work = self.work
        count = decode_batch(
            work.arena,
            segments,
            segment_count,
            self.table,
            self.hash_key,
            work.request,
            work.spans,
            work.pan_block,
        )
        lap("decode")
        self.tokenizer.tokens(work.pan_block, count, work.tokens)
        lap("tokens")
        self._admit(count, links)
        items, records = count, 0
        first = 0
        while first < count:
            last, items_end, records, waves = self._match(first, count, links, items, records)
            assert last > first, "a pass takes one request at least"
            lap("find")
            self._work(first, last, items, items_end, waves, lap)
            first, items = last, items_end
        outcome = self._finish(count, items, records)
        lap("encode")
        return outcome

    def holds_are_due(self, now_ns: int) -> bool:
        """Whether a hold has ended at ``now_ns`` and is not released yet."""
        state, now_s = self.state, np.int64(now_ns // 1_000_000_000)
        return bool(next_due(state.ring, state.wheel, state.cursor, now_s) != 0)

    def expire(self, now_ns: int) -> NDArray[np.void]:
        """Release holds that are due at ``now_ns``, at most a batch full; return their records.

        Card traffic expires holds as it goes; this is for the time when there is none.
        """
        work, state = self.work, self.state
        count = collect_due(state.ring, state.wheel, state.cursor, now_ns, work.rows, work.items)
        work.hits[:count] = 0
        work.scores[:count] = SCORE_NONE
        work.order[:count] = np.arange(count)
        self._post(work.order[:count])
        return self._records(count, count)

    def _admit(self, count: int, links: NDArray[np.void]) -> None:
        work, state = self.work, self.state
        admit(
            work.request,
            count,
            links,
            work.tokens,
            state.card_index.slots,
            state.cards,
            state.accounts,
            self._facts,
            self.settings,
            state.cursor,
            work.items,
        )

    def _match(
        self, first: int, count: int, links: NDArray[np.void], item_count: int, record_count: int
    ) -> tuple[int, int, int, int]:
        """Match requests from ``first`` on; return (next, items, records, waves)."""
        work, state = self.work, self.state
        slots = (state.id_index.slots, state.rrn_index.slots, state.merchant_index.slots)
        table_size = min(len(work.wave_table), 1 << max(4, (4 * (count - first)).bit_length()))
        done: tuple[int, int, int, int] = match(
            work.request,
            first,
            count,
            links,
            state.ring,
            state.wheel,
            slots,
            state.merchants,
            self.settings,
            state.cursor,
            work.wave_table[:table_size],
            work.items,
            item_count,
            record_count,
        )
        return done

    def _work(
        self, first: int, last: int, items: int, items_end: int, wave_count: int, lap: Lap
    ) -> None:
        """Work one pass: requests ``first`` to ``last`` - 1, expiries ``items`` to the end.

        Wave by wave, then the items that touch no account.
        """
        work, state = self.work, self.state
        payment_count = fill_payments(
            first, last, work.items, work.request, work.payments, work.facts, work.arrivals
        )
        shared_pass(
            work.payments,
            work.arrivals[:payment_count],
            state.merchant_velocity,
            state.bin_velocity,
            self.tables.curves,
            work.shared,
        )
        lap("shared")
        for part in (slice(first, last), slice(items, items_end)):
            work.hits[part] = 0
            work.scores[part] = SCORE_NONE
            work.verdicts[part] = 0
        bounds_array = work.wave_bounds
        order_waves(first, last, items, items_end, work.items, wave_count, bounds_array, work.order)
        bounds: list[int] = bounds_array[: 2 * wave_count + 2].tolist()
        for wave in range(wave_count):
            start, others, end = bounds[2 * wave : 2 * wave + 3]
            payments = work.order[start:others]
            if len(payments):
                self._judge(payments, lap)
            self._decide(work.order[start:end], payments, lap)
        loose = work.order[bounds[2 * wave_count] : bounds[2 * wave_count + 1]]
        if len(loose):
            self._decide(loose, loose[:0], lap)

    def _judge(self, rows: NDArray[np.int32], lap: Lap) -> None:
        """Features, PRE rules, score and POST rules of the payments ``rows``."""
        work, state, model, program = self.work, self.state, self.model, self.program
        card_pass(
            work.payments,
            rows,
            state.card_velocity,
            work.shared,
            self.tables.curves,
            self.tables.countries,
            self._no_mcc_risk if model is None else model.mcc_risk,
            work.features,
            work.extras,
        )
        lap("features")
        if program.rule_count:
            fill_columns(
                work.payments,
                rows,
                work.features,
                work.shared,
                work.extras,
                work.facts,
                program.needed,
                work.values,
            )
            self._evaluate(rows, Phase.PRE)
            lap("rules")
        if model is not None:
            forest = model.forest
            score_margins(
                work.features,
                rows,
                forest.nodes,
                forest.leaves,
                forest.depth,
                forest.base,
                work.margins,
            )
            score_bp(work.margins, rows, model.cuts, work.scores)
            lap("score")
        if program.rule_count:
            add_points(rows, work.hits, program.rules, work.scores)
            fill_score(work.scores, rows, work.values)
            self._evaluate(rows, Phase.POST)
            resolve(rows, work.hits, program.rules, work.verdicts)
            lap("rules")

    def _evaluate(self, rows: NDArray[np.int32], phase: Phase) -> None:
        program = self.program
        evaluate(
            self.work.values,
            rows,
            program.predicates,
            program.list_values,
            program.terms,
            program.literals,
            int(phase),
            self.work.hits,
        )

    def _decide(self, rows: NDArray[np.int32], payments: NDArray[np.int32], lap: Lap) -> None:
        """Decide and post ``rows``, of which ``payments`` come first; then the cards remember."""
        work, state = self.work, self.state
        self._post(rows)
        curves = self.tables.curves
        card_update(work.payments, payments, work.approved, state.card_velocity, curves)
        if len(payments) < len(rows):
            unwind(rows[len(payments) :], work.items, state.ring, state.card_velocity, curves)
        lap("decide")

    def _post(self, rows: NDArray[np.int32]) -> None:
        decide(
            rows,
            self.work.items,
            self.work.request,
            self.work.verdicts,
            self.state.accounts,
            self.state.ring,
            self.state.wheel,
            self.table.responses,
            self.work.approved,
        )

    def _finish(self, count: int, item_count: int, record_count: int) -> Outcome:
        """Write the records and the answers."""
        work, state = self.work, self.state
        first_seq = state.next_seq
        reply_count = fill_replies(
            count,
            work.items,
            work.request,
            state.ring,
            first_seq,
            self.table.responses,
            work.replies,
            work.extra,
        )
        records = self._records(item_count, record_count)
        out_size = encode_batch(
            work.arena,
            work.request,
            work.spans,
            work.replies,
            reply_count,
            self.table,
            work.extra,
            work.out,
            work.out_end,
        )
        assert out_size >= 0, "the answer buffer is sized for the largest batch"
        originals = _originals(work.items[:item_count])
        return Outcome(count, item_count, reply_count, records, originals, int(out_size))

    def _records(self, item_count: int, record_count: int) -> NDArray[np.void]:
        work, state = self.work, self.state
        records = np.empty(record_count, RECORD)
        model_version = 0 if self.model is None else self.model.version
        write_records(
            item_count,
            work.items,
            work.request,
            work.hits,
            work.scores,
            state.ring,
            state.accounts,
            state.cursor,
            np.array([self.program.version, model_version], np.uint32),
            records,
        )
        return records


def _originals(items: NDArray[np.void]) -> list[tuple[int, bytes]]:
    """Return (record row, identity of the original) of the orphan reversals among ``items``."""
    orphans: NDArray[Any] = items[(items["flags"] & Flag.ORPHAN) != 0]
    return [
        (int(item["record"]), item["original_hi"].tobytes() + item["original_lo"].tobytes())
        for item in orphans
        if item["record"] >= 0
    ]
