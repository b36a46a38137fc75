"""SHELL: what operators and signals do to rules and lists of the running engine.

A thread of its own reads and compiles rule files and waits for the journal, one request after the
other, so card traffic never waits: the loop only swaps what is ready, between two batches, and
writes the record of it. A text that does not compile changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.admin import operations as api
from engine.admin.rules_api import (
    Answer,
    ApplyRules,
    ApproveRules,
    ChangeList,
    ReloadRules,
    SetMode,
    Snooze,
)
from engine.metrics import Metrics
from engine.pipeline import Pipeline, event_job
from engine.rule_costs import RuleCosts
from engine.rule_events import (
    Event,
    apply_rule_events,
    list_events,
    mode_event,
    rules_event,
    zones_event,
)
from engine.rule_proposals import ModeChange, Proposals, SetChange, Wanted
from engine.rules.advice import warnings_of
from engine.rules.book import ListChange, RuleBook, Source
from engine.rules.columns import KEYED, ColumnType
from engine.rules.errors import RuleError, nearest, shown
from engine.rules.format import formatted
from engine.rules.language import parse, text_of
from engine.rules.list_kernels import FOREVER, key_from_value, list_number, snooze_name
from engine.rules.list_table import value_of_key
from engine.rules.program import Program, no_rules, program_from_file, require_rules
from engine.rules.statements import MODEL
from engine.rules.tree import Mode
from engine.rules.values import TYPE_NAMES, value_from_text
from engine.zones import zone_table
from ledger.commit import CommitJob

T = TypeVar("T")
Notify = Callable[[str, Mapping[str, object]], None]

_TIMEOUT_S = 30.0
_CHANGES = {"add": ListChange.ADD, "remove": ListChange.REMOVE, "clear": ListChange.CLEAR}


class EngineRuleDesk:
    """Implements ``engine.admin.rules_api.RuleDesk`` on a running pipeline.

    Parameters
    ----------
    file : the configured rule file, None = no rules.
    four_eyes : whether a set or a mode that lets more act needs a second operator.
    on_event : told what is worth a log line.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        file: Path | None,
        *,
        four_eyes: bool,
        on_event: Notify,
    ) -> None:
        self._pipeline = pipeline
        self._book: RuleBook = pipeline.authorizer.state.rules
        self._metrics = metrics
        self._loop = loop
        self._file = file
        self._four_eyes = four_eyes
        self._on_event = on_event
        self._proposals = Proposals()
        self._thread = ThreadPoolExecutor(1, "rules")
        self._costs = RuleCosts(pipeline.authorizer, metrics, loop)
        self._costs.start()
        pipeline.on_trips = self._tripped
        self._relabel()

    def close(self) -> None:
        """Finish what was asked and stop the threads."""
        self._costs.close()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def start(self, program: Program) -> None:
        """Before the first message: let the journal say which rules decide."""
        if not self._book.is_journaled and not program.sha256:
            return
        if self._book.is_journaled and self._book.file_sha256 == program.sha256:
            self._note_zones()
            return
        self._book.remember(program)
        event = rules_event(program, Source.FILE, "start", "configured", self._pipeline.now_ns())
        self._pipeline.submit(lambda: self._job([event], None))

    def _note_zones(self) -> None:
        """Say in the journal from where on another table of time zones than before is read."""
        if self._book.program.reads_clock and self._book.zones != zone_table().version:
            event = zones_event("start", "another program", self._pipeline.now_ns())
            self._pipeline.submit(lambda: self._job([event], None))

    def show(self) -> "Future[Answer]":
        """Return the set in force and its rules."""
        return self._thread.submit(lambda: self._on_loop(self._view))

    def text(self, sha256: str) -> "Future[Answer]":
        """Return the text of the set in force, or of a proposal. NotFound."""
        return self._thread.submit(self._text, sha256)

    def apply(self, body: ApplyRules, operator: str) -> "Future[Answer]":
        """Check a text and put it in force, or keep it for another operator to approve."""
        return self._thread.submit(self._apply, body, operator)

    def approve(self, body: ApproveRules, operator: str) -> "Future[Answer]":
        """Put in force what another operator has proposed."""
        return self._thread.submit(self._approve, body, operator)

    def reload(self, body: ReloadRules, operator: str) -> "Future[Answer]":
        """Read the configured file and put it in force. Invalid where it does not compile."""
        return self._thread.submit(self._reload, body, operator)

    def set_mode(self, rule: str, body: SetMode, operator: str) -> "Future[Answer]":
        """Change what a rule does from the next request on. NotFound."""
        return self._thread.submit(self._set_mode, rule, body, operator)

    def snooze(self, rule: str, body: Snooze, operator: str) -> "Future[Answer]":
        """Let a rule leave a card alone for a time. NotFound."""
        return self._thread.submit(self._snooze, rule, body, operator)

    def lists(self) -> "Future[Answer]":
        """Return names, types and sizes of the lists."""
        return self._thread.submit(lambda: self._on_loop(self._lists_view))

    def show_list(self, name: str, limit: int) -> "Future[Answer]":
        """Return the entries of a list. NotFound."""
        return self._thread.submit(lambda: self._on_loop(lambda: self._list_view(name, limit)))

    def change_list(self, name: str, body: ChangeList, operator: str) -> "Future[Answer]":
        """Add or remove entries, or all of them. Invalid names the line."""
        return self._thread.submit(self._change_list, name, body, operator)

    def signalled(self) -> None:
        """SIGHUP or a changed file: take it if it has changed; what comes of it is a log line."""

        def done(future: "Future[None]") -> None:
            error = future.exception()
            if error is not None:
                self._on_event("rules.refused", {"error": str(error), "file": str(self._file)})

        self._thread.submit(self._reload_changed).add_done_callback(done)

    def _reload_changed(self) -> None:
        """Take the configured file if it means something else than when it was taken last.

        Else what operators and breakers have changed since stays: renewed certificates or a touched
        file must not let a rule act again that a breaker stopped, nor take back a set.
        """
        program = self._configured()
        if self._book.is_journaled and program.sha256 == self._book.file_sha256:
            self._on_event("rules.unchanged", {"version": program.sha256, "operator": "signal"})
            return
        self._check_lists(program)
        self._put(program, Source.FILE, "signal", "file changed or SIGHUP")

    def _apply(self, body: ApplyRules, operator: str) -> Answer:
        program = _compiled(body.text, "request")
        self._check_lists(program)
        changes = SetChange(program, Source.OPERATOR).lines(self._book.program.source)
        answer = {**_summary(program), "changes": changes}
        if body.dry_run:
            return {**answer, "state": "checked"}
        return {**answer, **self._put_or_propose(program, Source.OPERATOR, operator, body.reason)}

    def _approve(self, body: ApproveRules, operator: str) -> Answer:
        wanted, proposer = self._proposals.take(body.sha256, operator)
        reason = f"proposed by {proposer}; {body.reason}".rstrip("; ")
        if isinstance(wanted, ModeChange):
            self._require_rule(wanted.rule)
            return self._put_mode(wanted.rule, wanted.mode, operator, reason)
        self._check_lists(wanted.program)
        put = self._put(wanted.program, wanted.source, operator, reason)
        return {**_summary(wanted.program), **put}

    def _propose(self, wanted: Wanted, operator: str) -> Answer:
        sha256 = self._proposals.add(wanted, operator)
        self._on_event("rules.proposed", {"version": sha256, "operator": operator})
        return {"state": "proposed", "sha256": sha256}

    def _put_or_propose(self, program: Program, source: int, operator: str, reason: str) -> Answer:
        if self._four_eyes:
            return self._propose(SetChange(program, source), operator)
        return self._put(program, source, operator, reason)

    def _text(self, sha256: str) -> Answer:
        program = self._book.program
        if sha256:
            _, wanted, _ = self._proposals.find(sha256)
            if isinstance(wanted, ModeChange):
                raise api.NotFound("this proposal is about one rule's mode, not a set")
            program = wanted.program
        return {"sha256": program.sha256, "text": formatted(program.text)}

    def _reload(self, body: ReloadRules, operator: str) -> Answer:
        program = self._configured()
        self._check_lists(program)
        put = self._put_or_propose(program, Source.FILE, operator, body.reason)
        return {**_summary(program), **put}

    def _configured(self) -> Program:
        """Return the set of the configured file. Invalid where it does not compile."""
        if self._file is None:
            return no_rules()
        try:
            text = text_of(self._file)
        except RuleError as error:
            raise api.Invalid("file", str(error)) from None
        return _compiled(text, str(self._file))

    def _put(self, program: Program, source: int, operator: str, reason: str) -> Answer:
        self._book.remember(program)
        event = rules_event(program, source, operator, reason, self._pipeline.now_ns())
        seq, swap_us = self._commit([event])
        took = {"seq": seq, "duration_us": round(swap_us)}
        fields = {"version": program.sha256, "operator": operator, **took}
        self._on_event("rules.applied", fields)
        return {"state": "in force", "record": seq, "swap_us": swap_us}

    def _set_mode(self, rule: str, body: SetMode, operator: str) -> Answer:
        self._require_rule(rule)
        mode = Mode[body.mode.upper()]
        before = self._on_loop(lambda: self._book.mode_of(rule))
        if self._four_eyes and before < mode == Mode.ACTIVE:  # a rule is stopped by one, at once
            return self._propose(ModeChange(rule, before, mode), operator)
        return self._put_mode(rule, mode, operator, body.reason)

    def _put_mode(self, rule: str, mode: Mode, operator: str, reason: str) -> Answer:
        before = self._on_loop(lambda: self._book.mode_of(rule))
        event = mode_event(rule, mode, operator, reason, self._pipeline.now_ns())
        seq, swap_us = self._commit([event])
        name = mode.name.lower()
        self._on_event(
            "rules.mode", {"rule": rule, "reason": name, "operator": operator, "seq": seq}
        )
        return {"rule": rule, "mode": name, "before": before.name.lower(), "record": seq,
                "swap_us": swap_us}  # fmt: skip

    def _snooze(self, rule: str, body: Snooze, operator: str) -> Answer:
        self._require_rule(rule)
        if rule == MODEL:
            raise api.Invalid("rule", "rule: a rule is snoozed, not the model; set its mode")
        ts_ns = self._pipeline.now_ns()
        until_s = ts_ns // 1_000_000_000 + body.ttl_s
        change = ListChange.ADD if body.ttl_s else ListChange.REMOVE
        keys = np.array([body.card], np.uint64)
        who = (operator, body.reason)
        seq, _ = self._commit(
            list_events(snooze_name(rule), "card", change, keys, until_s, who, ts_ns)
        )
        return {"rule": rule, "card": body.card, "until_s": until_s, "record": seq}

    def _change_list(self, name: str, body: ChangeList, operator: str) -> Answer:
        kind = self._list_type(name, body.type)
        keys = _keys_of(body.values, kind)
        change = _CHANGES[body.change]
        if change != ListChange.CLEAR and not len(keys):
            raise api.Invalid("values", "values: nothing to add or remove")
        ts_ns = self._pipeline.now_ns()
        now_s = ts_ns // 1_000_000_000
        answer = {"list": name, "type": kind.value, "change": body.change, "values": len(keys)}
        if change == ListChange.ADD:
            room = self._on_loop(lambda: self._book.lists.room(now_s))
            if len(keys) > room:
                raise api.Conflict(f"the lists have room for {room} more entries")
        if body.dry_run:
            return {**answer, "state": "checked"}
        until_s = now_s + body.ttl_s if body.ttl_s else FOREVER
        who = (operator, body.reason)
        events = list_events(name, kind.value, change, keys, until_s, who, ts_ns)
        before = self._on_loop(lambda: self._book.lists.counts.get(list_number(name), 0))
        seq = 0
        for event in events:  # one a turn: the loop must not stand still for a million entries
            seq, _ = self._commit([event])
        count = self._on_loop(lambda: self._book.lists.counts.get(list_number(name), 0))
        fields = {"rules": name, "reason": body.change, "count": len(keys), "seq": seq}
        self._on_event("rules.list", {**fields, "operator": operator})
        answer |= {"state": "in force", "record": seq, "entries_before": before, "entries": count}
        if change != ListChange.ADD:
            answer["stay_in_file"] = self._stated_count(name, keys, kind, change)
        return answer

    def _stated_count(
        self, name: str, keys: NDArray[np.uint64], kind: ColumnType, change: int
    ) -> int:
        """Return how many of ``keys`` (of a cleared list: all) the rule file states: they stay."""
        stated = {key_from_value(v, is_key=kind in KEYED) for v in self._stated(name)}
        return len(stated if change == ListChange.CLEAR else stated.intersection(keys.tolist()))

    def _stated(self, name: str) -> tuple[float, ...]:
        """Return the values that the rule file states for a list."""
        lists = self._book.program.source.lists
        return next((known.values for known in lists if known.name == name), ())

    def _list_type(self, name: str, given: str) -> ColumnType:
        """Return the type of a list: as declared, as it was, or as given; they must agree."""
        declared = {v.name: v.type.value for v in self._book.program.source.lists}
        known = declared.get(name) or self._book.list_types.get(name, "")
        if known and given and known != given:
            raise api.Conflict(f"the list {name} is of {known}, not of {shown(given)}")
        kind = TYPE_NAMES.get(known or given)
        if kind is None:
            text = f"type: the list {name} is new; expected one of {', '.join(TYPE_NAMES)}"
            raise api.Invalid("type", text)
        return kind

    def _check_lists(self, program: Program) -> None:
        """A declared list must have the type of the entries that it has already."""
        for declared in program.source.lists:
            known = self._book.list_types.get(declared.name, declared.type.value)
            if known != declared.type.value:
                raise api.Conflict(f"the list {declared.name} has entries of {known}: clear it")

    def _require_rule(self, rule: str) -> None:
        names = self._book.program.names
        if rule != MODEL and rule not in names:
            raise api.NotFound(f"no rule is named '{shown(rule)}'{nearest(rule, names)}")

    def _commit(self, events: list[Event]) -> tuple[int, float]:
        """Apply ``events`` between two batches, wait until durable; return record and us taken."""
        durable: Future[None] = Future()
        taken: list[tuple[int, float]] = []

        def event() -> CommitJob:
            began_ns = time.perf_counter_ns()
            job = self._job(events, lambda: durable.set_result(None))
            taken.append((int(job.records["seq"][-1]), (time.perf_counter_ns() - began_ns) / 1000))
            return job

        self._loop.call_soon_threadsafe(self._pipeline.submit, event)
        try:
            durable.result(_TIMEOUT_S)
        except TimeoutError:
            raise api.Unavailable("the journal has not confirmed the change in time") from None
        return taken[0]

    def _job(self, events: list[Event], done: Callable[[], None] | None) -> CommitJob:
        records, blobs = apply_rule_events(events, self._pipeline.authorizer.state)
        self._loop.call_soon(self._relabel)
        return event_job(records, self._pipeline.now_ns(), blobs, done)

    def _tripped(self, names: list[str]) -> None:
        """A breaker has put rules into shadow: say so as loudly as there is."""
        for name in names:
            self._metrics.breaker_trips[0] += 1
            self._on_event("rules.breaker", {"rule": name, "reason": "refused too much: shadow"})
        self._relabel()

    def _relabel(self) -> None:
        self._metrics.rules.changed(self._book)
        sha256 = self._book.program.sha256
        self._metrics.build = self._metrics.build._replace(ruleset_sha256=sha256)

    def _view(self) -> Answer:
        book, program, counts = self._book, self._book.program, self._metrics.rules
        rules, times = [], self._metrics.rule_times
        for place, rule in enumerate(program.source.rules):
            row = book.breakers[place]
            frauds, genuine = counts.labelled[:, place].tolist()
            rules.append(
                {
                    "rule": rule.name,
                    "text": rule.text,
                    "phase": rule.phase.name.lower(),
                    "action": rule.action.kind.name.lower(),
                    "mode": Mode(int(book.deployed.modes[place])).name.lower(),
                    "file_mode": rule.mode.name.lower(),
                    "hits": int(counts.hits[place]),
                    "last_hit_s": int(counts.last_s[place]),
                    "labelled_hits": frauds + genuine,
                    "frauds": frauds,
                    "precision": frauds / (frauds + genuine) if frauds + genuine else None,
                    "cost_ns": None if times is None else times.rules.get(rule.name),
                    "refused_of_window": int(row["current"]) + int(row["previous"]),
                    "breaker_limit": int(row["limit"]) if row["window"] else None,
                }
            )
        waiting = [
            {"sha256": sha256, "operator": who, "changes": wanted.lines(program.source)}
            for sha256, wanted, who in self._proposals.all()
        ]
        return {
            "sha256": program.sha256,
            "version": f"{program.version:08x}",
            "model_mode": book.mode_of(MODEL).name.lower(),
            "zones": book.zones,
            "cost_ns": None if times is None else times.whole,
            "rules": rules,
            "proposals": waiting,
        }

    def _lists_view(self) -> Answer:
        book = self._book
        declared = {v.name: (v.type.value, len(v.values)) for v in book.program.source.lists}
        names = sorted({*declared, *book.list_types})
        return {
            "lists": [
                {
                    "list": name,
                    "type": declared[name][0] if name in declared else book.list_types[name],
                    "in_file": declared[name][1] if name in declared else None,
                    "entries": book.lists.counts.get(list_number(name), 0),
                }
                for name in names
            ]
        }

    def _list_view(self, name: str, limit: int) -> Answer:
        known = {*self._book.list_types, *(v.name for v in self._book.program.source.lists)}
        if name not in known:
            raise api.NotFound(f"no list is named '{shown(name)}'{nearest(name, known)}")
        kind = self._list_type(name, "")
        stated = self._stated(name)[:limit]
        entries = self._book.lists.of(list_number(name))
        return {
            "list": name,
            "type": kind.value,
            "entries": len(entries),
            "in_file": [
                value_of_key(key_from_value(value, is_key=kind in KEYED), kind) for value in stated
            ],
            "values": [
                {
                    "value": value_of_key(int(entry["key"]), kind),
                    "added_s": int(entry["added_s"]),
                    "until_s": None if entry["until_s"] == FOREVER else int(entry["until_s"]),
                }
                for entry in entries[:limit]
            ],
        }

    def _on_loop(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the loop's thread between two batches; return what it returns."""
        result: Future[T] = Future()

        def call() -> None:
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

        self._loop.call_soon_threadsafe(call)
        return result.result(_TIMEOUT_S)


def _compiled(text: str, file: str) -> Program:
    try:
        return require_rules(program_from_file(parse(text, file=file)), file)
    except RuleError as error:
        raise api.Invalid("text", str(error)) from None


def _summary(program: Program) -> Answer:
    warnings = [] if not program.sha256 else [w.message for w in warnings_of(program)]
    return {
        "sha256": program.sha256,
        "version": f"{program.version:08x}",
        "rules": program.rule_count,
        "warnings": warnings,
    }


def _keys_of(values: list[str], kind: ColumnType) -> NDArray[np.uint64]:
    """Return the keys of ``values``, each once, sorted; Invalid names the first bad one."""
    keys = set()
    for place, text in enumerate(values, start=1):
        value = value_from_text(text.strip(), kind)
        if value is None:
            message = f"value {place}: '{shown(text)}' is no {kind.value}; nothing was changed"
            raise api.Invalid("values", message)
        keys.add(key_from_value(value, is_key=kind in KEYED))
    return np.array(sorted(keys), np.uint64)
