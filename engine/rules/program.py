"""The compiled form of a rule set: arrays that the kernels walk, with version and hash.

A program is never changed after it is built: a new rule set is a new program, swapped between two
batches at a stated record. Its arrays are writable only because Numba would compile every kernel
a second time for read-only ones.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.decision import DEFAULT_RESPONSE, Decision
from engine.rules import normal_form
from engine.rules.canonical import text_from_file
from engine.rules.columns import COLUMNS, constant_at
from engine.rules.errors import RuleError
from engine.rules.language import parse_file
from engine.rules.normal_form import Predicate
from engine.rules.tree import ActionKind, Operator, Rule, RuleFile

PREDICATE = np.dtype(
    [
        ("constant", "<f8"),  # of LT to NE, at the precision of the column
        ("list_start", "<i4"),  # of IN and NOT_IN: a sorted slice of list_values
        ("list_size", "<i4"),
        ("column", "<i2"),
        ("operator", "<i2"),  # engine.rules.tree.Operator
        ("spare", "<i4"),
    ]
)
TERM = np.dtype(
    [
        ("rule", "<i4"),  # holds if all literals of any of its terms hold
        ("phase", "<i4"),  # of the rule
        ("literal_start", "<i4"),  # slice of literals
        ("literal_end", "<i4"),
    ]
)
RULE = np.dtype(
    [
        ("overrides_lo", "<u8"),  # ALLOW: rules 0-63 that it removes
        ("overrides_hi", "<u8"),  # rules 64-127
        ("ttl_s", "<u4"),  # ALLOW
        ("points_bp", "<i4"),  # SCORE
        ("response", "<u2"),  # DE39 of DECLINE and STEP_UP, first character in the low byte
        ("phase", "u1"),
        ("mode", "u1"),
        ("action", "u1"),
        ("spare_a", "u1"),
        ("spare_b", "<u2"),
    ]
)
VERDICT = np.dtype(
    [
        ("rule", "<i2"),  # index of the rule that decides; -1 = none
        ("response", "<u2"),  # DE39 of DECLINE and STEP_UP, else 0
        ("action", "u1"),  # engine.rules.tree.ActionKind; NONE to REVIEW
        ("review", "u1"),  # 1 = a case is opened, whatever the action
    ]
)
assert (PREDICATE.itemsize, TERM.itemsize, RULE.itemsize, VERDICT.itemsize) == (24, 16, 32, 6)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A rule set ready to run. A rule's index is its place in the file and its hit bit."""

    predicates: NDArray[np.void]  # PREDICATE[p]
    list_values: NDArray[np.float64]  # sorted within each slice
    terms: NDArray[np.void]  # TERM[t], in order of rules; none for rules that are off
    literals: NDArray[np.int16]  # p = predicate p must hold, ~p = it must not
    rules: NDArray[np.void]  # RULE[r]
    needed: NDArray[np.int16]  # columns that any rule reads, ascending
    names: tuple[str, ...]
    texts: tuple[str, ...]
    tags: tuple[str, ...]  # of TAG rules, else ""
    source: RuleFile
    sha256: str  # hex, over the canonical text; "" = no rules
    version: int  # its first four bytes, as the ledger record has it; 0 = no rules

    @property
    def rule_count(self) -> int:
        """Rules in the set, those that are off included."""
        return len(self.names)


def default_rules_path() -> Path:
    """Return the rule file that ships with the project."""
    return Path(__file__).with_name("default.rules")


def load_rules(path: Path) -> Program:
    """Read, parse and compile ``path``; raise RuleError with the place of what is wrong."""
    return program_from_file(parse_file(path))


def no_rules() -> Program:
    """Return the program that holds no rule and changes nothing; version 0."""
    return _assemble(RuleFile((), ()), sha256="")


def program_from_file(rule_file: RuleFile) -> Program:
    """Compile a parsed file; raise RuleError when it multiplies out beyond the bounds."""
    text = text_from_file(rule_file)
    return _assemble(rule_file, sha256=hashlib.sha256(text.encode()).hexdigest())


def response_number(code: str) -> int:
    """Return the two characters of DE39 as records keep them: the first in the low byte."""
    return ord(code[0]) | ord(code[1]) << 8


def _assemble(rule_file: RuleFile, *, sha256: str) -> Program:
    form = normal_form.normal_form(rule_file)
    literals: list[int] = []
    terms = []
    for rule_index, literal_set in form.terms:
        start = len(literals)
        literals += _cheapest_first(literal_set, form.predicates)
        phase = rule_file.rules[rule_index].phase
        terms.append((rule_index, phase, start, len(literals)))
    predicates, list_values = _predicate_arrays(form.predicates, rule_file)
    return Program(
        predicates=predicates,
        list_values=list_values,
        terms=np.array(terms, TERM),
        literals=np.array(literals, np.int16),
        rules=_rule_array(rule_file),
        needed=np.array(sorted({p.column for p in form.predicates}), np.int16),
        names=tuple(rule.name for rule in rule_file.rules),
        texts=tuple(rule.text for rule in rule_file.rules),
        tags=tuple(rule.action.tag for rule in rule_file.rules),
        source=rule_file,
        sha256=sha256,
        version=int(sha256[:8] or "0", 16),
    )


def _cheapest_first(literals: frozenset[int], predicates: list[Predicate]) -> list[int]:
    """Order a term: searches in lists last, else as first written in the file."""

    def cost(literal: int) -> tuple[bool, int]:
        index = literal if literal >= 0 else ~literal
        return predicates[index].operator >= Operator.IN, index

    return sorted(literals, key=cost)


def _predicate_arrays(
    predicates: list[Predicate], rule_file: RuleFile
) -> tuple[NDArray[np.void], NDArray[np.float64]]:
    lists = {value_list.name: value_list.values for value_list in rule_file.lists}
    slices: dict[tuple[float, ...], int] = {}
    values: list[float] = []
    rows = []
    for p in predicates:
        chosen: tuple[float, ...] = ()
        if p.operator >= Operator.IN:
            raw = lists[p.list_name] if p.list_name else p.values
            column = COLUMNS[p.column]
            chosen = tuple(sorted({constant_at(column, value) for value in raw}))
            if chosen not in slices:
                slices[chosen] = len(values)
                values += chosen
        rows.append((p.constant, slices.get(chosen, 0), len(chosen), p.column, p.operator, 0))
    return np.array(rows, PREDICATE), np.array(values, np.float64)


def _rule_array(rule_file: RuleFile) -> NDArray[np.void]:
    index = {rule.name: i for i, rule in enumerate(rule_file.rules)}
    rules = np.zeros(len(rule_file.rules), RULE)
    for row, rule in zip(rules, rule_file.rules, strict=True):
        mask = _override_mask(rule, index, rule_file.file)
        row["overrides_lo"] = mask & (1 << 64) - 1
        row["overrides_hi"] = mask >> 64
        row["ttl_s"] = rule.action.ttl_s
        row["points_bp"] = rule.action.points_bp
        row["response"] = _response(rule)
        row["phase"] = rule.phase
        row["mode"] = rule.mode
        row["action"] = rule.action.kind
    return rules


def _override_mask(rule: Rule, index: dict[str, int], file: str) -> int:
    mask = 0
    for name in rule.action.overrides:
        if name not in index:
            raise RuleError(f"no rule is named '{name}'", file, rule.place.line, rule.place.column)
        mask |= 1 << index[name]
    return mask


def _response(rule: Rule) -> int:
    if rule.action.kind is ActionKind.DECLINE:
        return response_number(rule.action.response)
    if rule.action.kind is ActionKind.STEP_UP:
        return response_number(DEFAULT_RESPONSE[Decision.STEP_UP])
    return 0
