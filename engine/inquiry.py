"""Looks up what was decided: ledger records as an operator reads them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.admin.operations import (
    AuthorizationView,
    PredicateView,
    ReasonView,
    RecordedReasonsView,
    RuleExplainedView,
    RulesExplainedView,
    RuleView,
)
from engine.decision import Decision
from engine.explaining import is_told
from engine.reason_store import Recorded
from engine.replies import approval_code
from engine.rules.columns import BY_NAME, ColumnType
from engine.rules.explain import Line, deciding, explained
from engine.rules.program import Program
from engine.rules.seen import Seen, Witness
from engine.rules.trail import NOTHING, AtRecord, RuleTrail
from engine.rules.tree import ActionKind
from ledger.lifecycle import TABLE
from ledger.record import SCORE_NONE, Flag, Kind
from ledger.stores.place import scan_journal
from ledger.vault import Vault
from scoring.features import FEATURES
from scoring.reasons import TEXTS
from scoring.shapley import reasons_of

_KINDS = tuple(kind for kind in TABLE if kind not in (Kind.LIMIT, Kind.ACCOUNT_OPEN))
_CODED = (
    Decision.APPROVED,
    Decision.PARTIALLY_APPROVED,
    Decision.CHECKED,
    Decision.NOTED,
)
_RRN_BYTES = 12
_REPLAY = "de39 rules explain FILE --authorization '#{}' replays the journal"


class Kept(NamedTuple):
    """What is kept beside the journal, by record number: reasons of scores, what rules saw."""

    reasons: Mapping[int, Recorded]
    seen: Mapping[int, Seen]


_NOTHING = Kept({}, {})


def find_records(
    data: Path,
    rrn: str | None,
    account: int | None,
    limit: int,
    trail: RuleTrail | None = None,
    number: int | None = None,
) -> list[NDArray[np.void]]:
    """Return up to ``limit`` RECORD rows that match, newest first; reads the journal through.

    ``trail`` is filled with the rule sets that were in force and what held at those records;
    ``number`` is that of one record.
    """
    found: list[NDArray[np.void]] = []
    for batch in scan_journal(data):
        records = batch.records
        wanted = np.isin(records["kind"], _KINDS)
        if rrn is not None:
            key = rrn.encode("ascii", "replace")[:_RRN_BYTES].ljust(_RRN_BYTES)
            wanted &= records["rrn_a"] == np.frombuffer(key[:8], "<u8")[0]
            wanted &= records["rrn_b"] == np.frombuffer(key[8:], "<u4")[0]
        if number is not None:
            wanted &= records["seq"] == number
        if account is not None:
            wanted &= records["account"] == account
        if trail is not None:
            trail.read(records, batch.blobs, np.flatnonzero(wanted).tolist())
        found.extend(records[wanted].copy())
        del found[:-limit]
    return found[::-1]


def view_of_record(
    record: NDArray[np.void],
    program: Program,
    vault: Vault,
    kept: Kept = _NOTHING,
    at: AtRecord = NOTHING,
) -> AuthorizationView:
    """Return the record as operators see it, explained by what is kept. No card number is in it."""
    decision = Decision(int(record["result"]))
    is_filed = bool(int(record["flags"]) & Flag.FILED)
    is_approved = decision in _CODED and not is_filed and int(record["kind"]) != Kind.EXPIRE
    account = int(record["account"])
    seconds, rest_ns = divmod(int(record["ts_ns"]), 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    score, seq = int(record["score"]), int(record["seq"])
    return AuthorizationView(
        record=seq,
        ts=f"{moment}.{rest_ns:09d}Z",
        rrn=(record["rrn_a"].tobytes() + record["rrn_b"].tobytes())
        .decode("ascii", "replace")
        .strip("\0 "),
        stan=f"{int(record['stan']):06d}",
        account=vault.account_ref(account) if account else "",
        card=int(record["card"]),
        amount_minor=int(record["amount_minor"]),
        currency=f"{int(record['currency']):03d}",
        decision=_decision_text(Kind(int(record["kind"])), decision, is_filed=is_filed),
        response_code=int(record["response"]).to_bytes(2, "little").decode("ascii").strip("\0"),
        approval_code=_approval_text(seq) if is_approved else "",
        rules=_rules(record, program, at),
        rules_explained=_rules_explained(record, program, kept.seen.get(seq), at),
        score=None if score == SCORE_NONE else score / 10_000,
        reasons=_reasons(int(record["reasons"])),
        reasons_of_record=_recorded(record, kept.reasons.get(seq)),
        ruleset_version=f"{int(record['rules_version']):08x}" if record["rules_version"] else "",
        model_version=f"{int(record['model_version']):08x}" if record["model_version"] else "",
        merchant_category=f"{int(record['mcc']):04d}",
        country=f"{int(record['country']):03d}",
        entry_mode=f"{int(record['entry_mode']):03d}",
        flags=[flag.name.lower() for flag in Flag if int(record["flags"]) & flag],
    )


def _decision_text(kind: Kind, decision: Decision, *, is_filed: bool) -> str:
    """Return what became of it; of what nobody decided, what it is."""
    if kind == Kind.EXPIRE:
        return "expired"
    return kind.name.lower() if is_filed else decision.name.lower()


def _approval_text(seq: int) -> str:
    return int(approval_code(seq)).to_bytes(8, "little")[:6].decode("ascii")


def _rules(record: NDArray[np.void], program: Program, at: AtRecord) -> list[RuleView]:
    """Name the rules that held, in their modes of then; of an unknown set only their places."""
    bits = int(record["hits_lo"]) | int(record["hits_hi"]) << 64
    places = [*(place for place in range(128) if bits >> place & 1), *at.later]
    if int(record["rules_version"]) != program.version:
        return [RuleView(f"#{place + 1}", "of an earlier rule set", "", "") for place in places]
    return [
        RuleView(
            program.names[place],
            program.texts[place],
            ActionKind(int(program.rules[place]["action"])).name.lower(),
            at.mode_of(program, place).name.lower(),
        )
        for place in places
    ]


def _rules_explained(
    record: NDArray[np.void], program: Program, seen: Seen | None, at: AtRecord
) -> RulesExplainedView | None:
    """Say by which comparisons each rule held, or why that cannot be said; None = no rule held."""
    version = int(record["rules_version"])
    if seen is not None and (seen.version, seen.ts_ns) != (version, int(record["ts_ns"])):
        seen = None  # of another history of this folder
    if seen is None:
        if not int(record["hits_lo"]) | int(record["hits_hi"]) and not at.later:
            return None
        replay = _REPLAY.format(int(record["seq"]))
        if is_told(record["result"], record["flags"]):
            return RulesExplainedView([], f"no values are kept of this payment; {replay}")
        return RulesExplainedView(
            [], f"values are kept of refused and reviewed payments only; {replay}"
        )
    if version != program.version:
        return RulesExplainedView([], f"the rule set {version:08x} is not known any more")
    witness, currency = Witness(seen, program), f"{int(record['currency']):03d}"
    told = []
    for place in seen.places:
        rule = program.source.rules[place]
        lines = explained(rule, witness.value_of, witness.is_listed)
        predicates = [_predicate(line, currency) for line in deciding(lines)]
        action = rule.action.kind.name.lower()
        told.append(RuleExplainedView(rule.name, rule.text, action, predicates))
    return RulesExplainedView(told, "")


def _predicate(line: Line, currency: str) -> PredicateView:
    units = {}
    for name in line.values:
        column = BY_NAME[name]
        is_amount = column.type is ColumnType.AMOUNT
        units[name] = f"{column.unit} of {currency}" if is_amount else column.unit
    return PredicateView(
        line.text, line.column, line.operator, line.threshold, line.holds, line.values, units
    )


def _reasons(packed: int) -> list[str]:
    numbers = [packed >> (8 * place) & 0xFF for place in range(4)]
    names = [FEATURES[number - 1].name for number in numbers if number]
    return [f"{name}: {TEXTS[name]}" for name in names]


def _recorded(record: NDArray[np.void], known: Recorded | None) -> RecordedReasonsView | None:
    """Return the exact reasons; None where they belong to another history of this folder."""
    if known is None or not is_about(known, record):
        return None
    return RecordedReasonsView(
        round(known.expected, 6),
        round(known.expected + float(known.adds.sum()), 6),
        [
            ReasonView(one.feature, one.value, round(one.adds, 6), one.text)
            for one in reasons_of(known.features, known.adds)
        ],
    )


def is_about(known: Recorded, record: NDArray[np.void]) -> bool:
    """Return whether reasons were made of this very payment: model and hash are the record's."""
    made_of = int(record["model_version"]), int(record["customer"])
    return (known.model, known.check) == made_of
