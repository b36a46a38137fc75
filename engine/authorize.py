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

import numpy as np
from numpy.typing import NDArray

from engine.admission import HASH_WORDS, admit
from engine.card_checks import apply_checks, judge_checks
from engine.entry import CONDITION_BITS, ENTRY_BY_MODE
from engine.expiry import collect_due
from engine.items import Setting
from engine.limits import BATCH_FRAMES_MAX
from engine.matching import match
from engine.payments import fill_payments
from engine.posting import decide, note_scoring, write_records
from engine.replies import fill_replies
from engine.rule_events import RuleEvents, refusing_rules, told_beside
from engine.rules.bound import BoundRules
from engine.rules.breaker_kernels import count_items
from engine.rules.program import Program
from engine.scorer import Scorer
from engine.state import EngineState
from engine.terms import uniform_terms
from engine.tokens import Tokenizer
from engine.waves import order_waves, unwind
from engine.wire.encode_kernels import encode_batch
from engine.wire.reading import read_batch
from engine.wire.table import DialectTable
from engine.workspace import Guard, Settings, Workspace
from ledger.authorizations import batch_rows_max
from ledger.deadlines import next_due
from ledger.journal import Blob
from ledger.money import EXPONENT
from ledger.record import RECORD
from scoring.kernels import card_pass, card_update, shared_pass
from scoring.registry import Model
from scoring.tables import Tables

__all__ = ["Authorizer", "Lap", "Outcome", "Settings", "Workspace"]

Lap = Callable[[str], None]  # told the name of each stage as it ends


@dataclass(slots=True)
class Outcome:
    """What one batch led to. Arrays of the workspace are valid until the next ``run``.

    ``records`` is RECORD (k,), owned by the caller from now on. ``originals`` are (record row, 16
    bytes) of reversals that came before their original: they go into the journal's blobs, as do
    ``blobs`` (names of rules whose breaker tripped, hits beyond a record's bits).
    """

    request_count: int
    item_count: int
    reply_count: int
    records: NDArray[np.void]
    originals: list[tuple[int, bytes]]
    out_size: int
    blobs: list[Blob]
    trips: list[str]  # rules that a breaker has put into shadow in this batch


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
        self.state = state
        self.table = table
        self.tables = tables
        self.tokenizer = tokenizer
        self.hash_key = hash_key
        self.work = workspace
        if program.sha256 != state.rules.program.sha256:
            state.rules.install(program)
        self.scorer = Scorer(model, workspace.rows)
        self.settings = np.zeros(len(Setting), np.int64)
        self.settings[Setting.MERCHANTS_MAX] = state.bounds.merchants_max
        self.guard: Guard | None = None
        self._bound: BoundRules | None = None
        self._choose(settings)

    def _choose(self, settings: Settings) -> None:
        settings.fill(self.settings)
        self.terms = settings.terms or uniform_terms(settings.hold_life_h)
        presence = ENTRY_BY_MODE.copy(), CONDITION_BITS.copy()
        scratch = np.zeros(HASH_WORDS, np.uint64)
        self._facts = (self.hash_key, EXPONENT.copy(), *presence, self.terms.life_h, scratch)

    @property
    def program(self) -> Program:
        """The rule set in force."""
        return self.state.rules.program

    @property
    def model(self) -> Model | None:
        """The model in force."""
        return self.scorer.model

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
        count = read_batch(work, segments, segment_count, self.table, self.hash_key)
        lap("decode")
        self.tokenizer.tokens(work.pan_block, count, work.tokens)
        lap("tokens")
        self._admit(count, links)
        item_count, record_count, events = self.passes(count, links, lap)
        outcome = self._finish(count, item_count, record_count, events)
        lap("encode")
        return outcome

    def passes(self, count: int, links: NDArray[np.void], lap: Lap) -> tuple[int, int, RuleEvents]:
        """Match and work the requests, pass by pass; breakers look before a request, if at all."""
        rules, events = self.state.rules, RuleEvents()
        items, records, first = count, 0, 0
        self.fit()
        while first < count:
            stop = 4 * count  # more than there can be
            if rules.has_breakers:
                rules.advance(self.state.next_seq + records - 1)
                records += events.add(rules.due(), records, rules)
                stop = records + rules.records_until_trip(self.state.next_seq + records, stop)
            begun = records
            last, items_end, records, waves = self._match(first, count, links, items, records, stop)
            assert last > first, "a pass takes one request at least"
            lap("find")
            self.work_pass(first, last, items, items_end, waves, lap)
            if rules.has_breakers:
                self._count_refusals(items_end, begun, records)
            first, items = last, items_end
        return items, records, events

    def compile_stages(self, links: NDArray[np.void]) -> None:
        """Have the kernels between decode and encode compiled: a pass over nothing."""
        nothing = self.work.order[:0]
        self._admit(0, links)
        self.fit()
        self._match(0, 0, links, 0, 0, 1)
        self.work_pass(0, 0, 0, 0, 0, _no_lap)
        self._judge(nothing, _no_lap)
        self._decide(nothing, nothing, _no_lap)
        self.records(0, 0)

    def fit(self) -> None:
        """Give the hits of a row as many words as the rule set in force needs."""
        shape = len(self.work.items), self.program.words
        if self.work.hits.shape != shape:
            self.work.hits = np.zeros(shape, np.uint64)

    def _count_refusals(self, item_count: int, first_record: int, record_count: int) -> None:
        """Tell the breakers what each rule refused among the records from ``first_record`` on."""
        work, rules = self.work, self.state.rules
        count_items(
            item_count,
            first_record,
            self.state.next_seq,
            record_count,
            work.items,
            refusing_rules(
                item_count, work.items, work.verdicts, self.program.version, work.deciding
            ),
            rules.reads_score,
            rules.breakers,
            rules.watched,
            rules.totals,
        )

    def change(self, table: DialectTable, model: Model | None, settings: Settings) -> None:
        """Decide by these from the next batch on; what is remembered and held stays."""
        self.table, self.scorer.model = table, model
        if self.guard is not None:
            self.guard.change(table)
        self._choose(settings)

    def holds_are_due(self, now_ns: int) -> bool:
        """Whether a hold has ended at ``now_ns`` and is not released yet."""
        state, now_s = self.state, np.int64(now_ns // 1_000_000_000)
        return bool(next_due(state.ring, state.wheel, state.cursor, now_s) != 0)

    def expire(self, now_ns: int, most: int = BATCH_FRAMES_MAX) -> NDArray[np.void]:
        """Release holds that are due at ``now_ns``, at most a batch full; return their records.

        Card traffic expires holds as it goes; this is for the time when there is none.
        """
        work, state = self.work, self.state
        count = collect_due(
            state.ring, state.wheel, state.cursor, now_ns, min(most, work.rows), work.items
        )
        self.fit()
        work.reset(slice(count))
        work.order[:count] = np.arange(count)
        self._post(work.order[:count])
        return self.records(count, count)

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
            self.table.profile,
            state.cursor,
            work.items,
        )
        if self.guard is not None:
            self.guard.check(work, count, links)
            apply_checks(work.checks, count, work.items)

    def _match(
        self,
        first: int,
        count: int,
        links: NDArray[np.void],
        item_count: int,
        record_count: int,
        stop_record: int,
    ) -> tuple[int, int, int, int]:
        """Match requests from ``first`` on; return (next, items, records, waves)."""
        work, state = self.work, self.state
        slots = (state.tables(), state.merchant_index.slots)
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
            self.table.profile,
            state.cursor,
            work.wave_table[:table_size],
            work.items,
            item_count,
            record_count,
            stop_record,
        )
        return done

    def work_pass(
        self, first: int, last: int, items: int, items_end: int, wave_count: int, lap: Lap
    ) -> None:
        """Work one pass: requests ``first`` to ``last`` - 1, expiries ``items`` to the end.

        Wave by wave, then the items that touch no account.
        """
        work, state = self.work, self.state
        payment_count = fill_payments(
            first,
            last,
            work.items,
            work.request,
            state.accounts,
            work.payments,
            work.facts,
            work.arrivals,
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
            work.reset(part)
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
        work, state = self.work, self.state
        rules = self.bound_rules() if self.program.rule_count else None
        card_pass(
            work.payments,
            rows,
            state.card_velocity,
            work.shared,
            self.tables.curves,
            self.tables.countries,
            self.scorer.mcc_risk,
            work.features,
            work.extras,
        )
        lap("features")
        if self.model is None:
            if rules is not None:
                rules.without_score(rows, state.rules.snooze_count)
            lap("rules")
            return
        if rules is not None:
            rules.before_score(rows)
            lap("rules")
        scored = self.scorer.score(work, rows, self.settings)
        lap("score")
        if rules is not None:
            rules.after_score(rows, state.rules.snooze_count)
            lap("rules")
        self.scorer.explain(work, scored)
        lap("score")

    def bound_rules(self) -> BoundRules:
        """Return the rules in force over the columns of the batch; anew after a change."""
        work, state, bound = self.work, self.state, self._bound
        live, lists = state.rules.deployed, state.rules.lists.tables
        if bound is None or not bound.fits(live, work.hits, state.accounts, lists[0]):
            self._bound = bound = BoundRules(live, work, state.accounts, state.card_zones, lists)
        return bound

    def _decide(self, rows: NDArray[np.int32], payments: NDArray[np.int32], lap: Lap) -> None:
        """Decide and post ``rows``, of which ``payments`` come first; then the cards remember."""
        work, state = self.work, self.state
        if self.guard is not None:
            judge_checks(rows, work.items, work.checks, state.chips, self.settings)
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
            self.state.posted,
            self.state.cursor,
            self.table.responses,
            self.table.profile,
            self.work.approved,
        )

    def _finish(
        self, count: int, item_count: int, record_count: int, events: RuleEvents
    ) -> Outcome:
        """Write the records and the answers."""
        work, state = self.work, self.state
        first_seq = state.next_seq
        reply_count = fill_replies(
            count,
            work.items,
            work.request,
            state.ring,
            state.accounts,
            first_seq,
            self.table.responses,
            self.table.profile,
            work.replies,
            work.extra,
        )
        if self.guard is not None:
            self.guard.dress(work, reply_count)
        originals, beside = told_beside(
            item_count, work.items, work.verdicts, work.hits, work.noted
        )
        records = self.records(item_count, record_count)
        events.write(records, first_seq, state)
        out_size = self.encode(reply_count)
        if self.guard is not None:
            self.guard.seal(work, reply_count)
        blobs = sorted([*events.blobs, *beside], key=lambda blob: blob.row)
        return Outcome(
            count, item_count, reply_count, records, originals, out_size, blobs, events.names
        )

    def encode(self, reply_count: int) -> int:
        """Write the frames of the answers; return their size in bytes."""
        work = self.work
        out_size: int = encode_batch(
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
        return out_size

    def records(self, item_count: int, record_count: int) -> NDArray[np.void]:
        """Return the records of the decided items, RECORD (record_count,)."""
        work, state, records = self.work, self.state, np.empty(record_count, RECORD)
        write_records(
            item_count,
            work.items,
            work.request,
            work.hits,
            work.scores,
            state.ring,
            state.accounts,
            state.cursor,
            np.array([self.program.version, self.scorer.version], np.uint32),
            records,
        )
        note_scoring(item_count, work.items, work.feature_checks, work.reasons, records)
        return records


def _no_lap(_stage: str) -> None:
    pass
