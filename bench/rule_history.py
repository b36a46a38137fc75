"""``de39 rules explain`` and ``de39 rules report``: what rules saw and did, from the journal."""

import json as json_text
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import backtest
from engine import warm
from engine.authorize import Authorizer
from engine.backtest import Tally, result_of
from engine.backtest_report import html_of, text_of
from engine.command_options import DATA_DEFAULT, Flag, Whole
from engine.errors import ProblemFoundError, UsageError, run_command
from engine.history import PAYMENT_KINDS, HistoryRun
from engine.ledger_commands import bounds_needed, card_text_of
from engine.replay import Replayer
from engine.rules.book import hits_of, modes_of, refusing_of
from engine.rules.explain import Line, explained
from engine.rules.program import Program
from engine.rules.seen import Copier, Witness
from engine.rules.trail import RuleTrail
from engine.rules.tree import Mode
from engine.state import EngineState
from ledger.journal import Blob
from ledger.vault import Vault
from scoring.tables import tables

_DAY_NS = 86_400 * 10**9
_WEEK_DAYS = 7


@run_command
def explain(
    file: Path,
    /,
    *,
    authorization: str,
    data: Path = DATA_DEFAULT,
    model: str = "default",
    json: Flag = False,
) -> None:
    """Say which conditions of each rule held for one authorization, with the values they saw.

    The journal is folded up to that payment, so velocities, lists and balances are as of then. The
    last authorization with the RRN is taken.

    Parameters
    ----------
    file
        The rule file; it need not be the one that decided.
    authorization
        Its retrieval reference number (RRN), or # and its record number.
    data
        The data folder.
    model
        Path of the model, "default" or "none".
    json
        Print one JSON object.
    """
    program = backtest.loaded(file)
    scorer = backtest.model_of(model)
    warm.compile_all(backtest.say)
    seq = _sequence(data, authorization)
    authorizer, record = _as_of(data, seq, program, scorer)
    witness = _witness(authorizer, record)
    rows: list[dict[str, Any]] = []
    for place, rule in enumerate(program.source.rules):
        lines = explained(rule, witness.value_of, witness.is_listed)
        mode = Mode(rule.mode).name.lower()
        rows.append({"rule": rule.name, "mode": mode, "text": rule.text, "place": place,
                     "held": lines[0].holds, "lines": lines})  # fmt: skip
    if json:
        plain = [{**row, "lines": [_plain(line) for line in row["lines"]]} for row in rows]
        sys.stdout.write(json_text.dumps({"record": seq, "rules": plain}) + "\n")
        return
    amount = f"{int(record['amount_minor']) / 100:.2f} {int(record['currency']):03d}"
    sys.stdout.write(f"record {seq}, {amount}\n")
    for row in rows:
        verdict = "held" if row["held"] else "did not hold"
        sys.stdout.write(f"{row['rule']} ({row['mode']}) {verdict}: {row['text']}\n")
        for line in row["lines"]:
            sign = "?" if not line.is_known else "+" if line.holds else "-"
            seen = ", ".join(f"{name} = {value}" for name, value in line.values.items())
            tail = f"    [{seen}]" if seen else "" if line.is_known else "    [not computed]"
            sys.stdout.write(f"  {sign} {'  ' * line.depth}{line.text}{tail}\n")


@run_command
def report(
    *,
    data: Path = DATA_DEFAULT,
    days: Whole = _WEEK_DAYS,
    html: Path | None = None,
    json: Flag = False,
) -> None:
    """Say what each rule did in the last days: hits, refusals, and precision by the labels so far.

    Rules in shadow stand beside those that act, so that one sees what promoting them would add. A
    rule of the set in force is counted under earlier sets too, as far back as it read the same.

    Parameters
    ----------
    data
        The data folder.
    days
        How many days before the last record.
    html
        Write a page with plots there.
    json
        Print one JSON object.
    """
    if days < 1:
        raise UsageError("--days: expected 1 or more")
    if html is not None and not html.parent.is_dir():
        raise UsageError(f"--html: {html.parent} is no folder")
    trail, first_ns = RuleTrail(), 0
    for records, blobs in backtest.pieces(data):
        trail.read(records, blobs)
        paid = records[np.isin(records["kind"], PAYMENT_KINDS)]
        if len(paid):
            first_ns = max(first_ns, int(paid["ts_ns"].max()) - days * _DAY_NS)
    program = trail.program
    truth, tally = backtest.journal_truth(data), Tally(program)
    places = {version: _places(old, program) for version, old in trail.sets.items()}
    for records, blobs in backtest.pieces(data):
        is_late = np.isin(records["kind"], PAYMENT_KINDS) & (records["ts_ns"] >= max(first_ns, 0))
        refusing = refusing_of(len(records), blobs)
        for version in np.unique(records["rules_version"][is_late]).tolist():
            if version not in places:
                continue
            chosen = is_late & (records["rules_version"] == version)
            hits = hits_of(records, blobs, trail.sets[version].words)[chosen]
            moved = _moved(hits, refusing[chosen], places[version], program)
            payments = records[chosen]
            tally.add(payments, payments, truth(payments), moved[1], moved[0])
    result = result_of(tally, [], card_text_of(data), modes_of(program, trail.own_modes))
    title = f"rules {program.version:08x} in {data}, the last {days} days"
    if html is not None:
        html.write_text(html_of(result, title), encoding="utf-8")
    sys.stdout.write(json_text.dumps(result) + "\n" if json else text_of(result, title))


def _places(old: Program, new: Program) -> NDArray[np.int16]:
    """Return the place in ``new`` of each rule of ``old``; -1 where it is gone or reads otherwise.

    The mode does not count: a rule that was promoted is the same rule.
    """
    now = {rule.name: (place, rule) for place, rule in enumerate(new.source.rules)}
    places = np.full(old.rule_count, -1, np.int16)
    for place, rule in enumerate(old.source.rules):
        found, same = now.get(rule.name, (-1, rule))
        if found >= 0 and replace(rule, mode=same.mode) == same:
            places[place] = found
    return places


def _moved(
    hits: NDArray[np.uint64],
    refusing: NDArray[np.int16],
    places: NDArray[np.int16],
    program: Program,
) -> tuple[NDArray[np.uint64], NDArray[np.int16]]:
    """Return ``hits`` u64 (k, words) and ``refusing`` i16 (k,) by the places of ``program``."""
    if np.array_equal(places, np.arange(program.rule_count)):
        return hits, refusing
    moved = np.zeros((len(hits), program.words), np.uint64)
    for old, new in enumerate(places.tolist()):
        if new >= 0:
            bit = hits[:, old >> 6] >> np.uint64(old & 63) & np.uint64(1)
            moved[:, new >> 6] |= bit << np.uint64(new & 63)
    return moved, np.append(places, np.int16(-1))[refusing]  # -1 is the last one: none refused


def _sequence(data: Path, text: str) -> int:
    """Return the number of the record that an RRN or ``#number`` names."""
    found = 0
    key = text.encode("ascii", "replace")[:12].ljust(12)
    for records, _ in backtest.pieces(data):
        payments = records[np.isin(records["kind"], PAYMENT_KINDS)]
        if text.startswith("#") and text[1:].isdecimal():
            mine = payments[payments["seq"] == np.uint64(int(text[1:]))]
        else:
            is_a = payments["rrn_a"] == np.frombuffer(key[:8], "<u8")[0]
            mine = payments[is_a & (payments["rrn_b"] == np.frombuffer(key[8:], "<u4")[0])]
        if len(mine):
            found = int(mine["seq"][-1])
    if not found:
        raise ProblemFoundError(f"--authorization: no authorization {text[:20]} in {data}")
    return found


def _as_of(
    data: Path, seq: int, program: Program, model: Any
) -> tuple[Authorizer, NDArray[np.void]]:
    """Fold the journal up to ``seq``, then judge that record; its columns are in the workspace."""
    with Vault.read(data) as vault:
        hash_key = np.frombuffer(vault.keys.hash_key, np.uint64).copy()
    state = EngineState(bounds_needed(data))
    authorizer = backtest.authorizer_of(state, program, model, hash_key)
    replayer = Replayer(state, tables(), hash_key)
    for records, blobs in _until(data, seq):
        replayer.apply(records[records["seq"] < seq], [], blobs)
        if len(records) and int(records["seq"][-1]) == seq:
            run = HistoryRun(authorizer, program)
            for rule in program.source.rules:
                if rule.mode is Mode.OFF:  # what it would have read is wanted too
                    authorizer.state.rules.set_mode(rule.name, Mode.SHADOW)
            parts = list(run.run(records[-1:], []))
            assert len(parts) == 1, "the record is a payment"
            return authorizer, records[-1]
    raise ProblemFoundError(f"record {seq} is not in the journal")


def _until(data: Path, seq: int) -> Iterator[tuple[NDArray[np.void], list[Blob]]]:
    for records, blobs in backtest.pieces(data):
        wanted = records["seq"] <= seq
        yield records[wanted], [b for b in blobs if b.row < int(wanted.sum())]
        if not wanted.all():
            return


def _witness(authorizer: Authorizer, record: NDArray[np.void]) -> Witness:
    """Return what all rules saw of the one payment in the workspace."""
    work, book = authorizer.work, authorizer.state.rules
    every = np.full((1, book.program.words), (1 << 64) - 1, np.uint64)
    numbers = np.array([record["seq"]], np.int64), np.array([record["ts_ns"]], np.int64)
    seen = Copier().rows(book, work, np.zeros(1, np.int64), *numbers, every)
    return Witness(seen.row(0), book.program)


def _plain(line: Line) -> dict[str, Any]:
    plain = {"depth": line.depth, "text": line.text, "held": line.holds, "values": line.values}
    if not line.operator:
        return plain
    parts = {"column": line.column, "operator": line.operator, "threshold": line.threshold}
    return {**plain, **parts, "known": line.is_known}
