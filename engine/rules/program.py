"""The compiled form of a rule set: arrays that the kernels walk, with version and hash.

A program is never changed after it is built: a new rule set is a new program, swapped between two
batches at a stated record. What operators and breakers change about its rules (their modes) is in
``engine.rules.deployed``. Its arrays are writable only because Numba would compile every kernel a
second time for read-only ones.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.decision import DEFAULT_RESPONSE, Decision
from engine.rules import normal_form
from engine.rules.canonical import text_from_file
from engine.rules.columns import COLUMN_COUNT, COLUMNS, KEYED, LOCAL, SCORE, constant_at
from engine.rules.errors import RuleError
from engine.rules.language import parse_file
from engine.rules.limits import RECORD_RULES
from engine.rules.list_kernels import key_from_value, list_number, snooze_name
from engine.rules.predicates import Predicate
from engine.rules.row_kernels import is_range, ranges_of
from engine.rules.sum_kernels import SUM, SUM_STEP, steps_of
from engine.rules.tree import ActionKind, Binary, Operator, Phase, Rule, RuleFile, columns_of

PREDICATE = np.dtype(
    [
        ("constant", "<f8"),  # of LT to NE, at the precision of the column
        ("list", "<u8"),  # of IN and NOT_IN: number of the list with its entries; 0 = none
        ("list_start", "<i4"),  # and what the file itself says: a sorted slice of list_keys
        ("list_size", "<i4"),
        ("ttl_s", "<u4"),  # entries older than this do not count; 0 = they do
        ("column", "<i2"),
        ("other", "<i2"),  # the column that it is compared with; -1 = the constant
        ("operator", "<i2"),  # engine.rules.tree.Operator
        ("is_key", "<i2"),  # 1 = the column holds 64-bit keys, not numbers
        ("spare", "<i4"),
    ]
)
TERM = np.dtype(
    [
        ("rule", "<i4"),  # holds if all literals of any of its terms hold
        ("phase", "<i4"),  # of the rule
        ("literal_start", "<i4"),  # slice of literals
        ("range_end", "<i4"),  # literals before this are ranges (row_kernels), the others not
        ("literal_end", "<i4"),
        ("spare", "<i4"),
    ]
)
RULE = np.dtype(
    [
        ("snooze", "<u8"),  # number of the list of cards for which it does not act
        ("overrides", "<i4"),  # ALLOW: row of the override masks; -1 = none
        ("ttl_s", "<u4"),  # ALLOW
        ("points_bp", "<i4"),  # SCORE
        ("response", "<u2"),  # DE39 of DECLINE and STEP_UP, first character in the low byte
        ("phase", "u1"),
        ("mode", "u1"),  # as the file says it
        ("action", "u1"),
        ("reads_score", "u1"),
        ("spare", "<u2"),
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
assert (PREDICATE.itemsize, TERM.itemsize, RULE.itemsize, VERDICT.itemsize) == (40, 24, 28, 6)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A rule set ready to run. A rule's index is its place in the file and its hit bit."""

    predicates: NDArray[np.void]  # PREDICATE[p]
    list_keys: NDArray[np.uint64]  # sorted within each slice
    terms: NDArray[np.void]  # TERM[t], PRE before POST, each in order of rules
    literals: NDArray[np.int16]  # p = predicate p must hold, ~p = it must not
    ranges: NDArray[np.void]  # RANGE, one a literal
    steps: NDArray[np.void]  # SUM_STEP[:]
    sums: NDArray[np.void]  # SUM[:]
    rules: NDArray[np.void]  # RULE[r]
    overrides: NDArray[np.uint64]  # u64[a, words]: rules that an allow removes
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

    @property
    def text(self) -> str:
        """The canonical text; "" = no rules."""
        return text_from_file(self.source) if self.sha256 else ""

    @property
    def reads_clock(self) -> bool:
        """Whether any rule reads a local time."""
        return any(LOCAL & columns_of(rule.when) for rule in self.source.rules)

    @property
    def words(self) -> int:
        """Hit words of a row: at least the two of a ledger record."""
        return words_of(self.rule_count)


def words_of(rule_count: int) -> int:
    """Return the 64-bit hit words of a row."""
    return max(RECORD_RULES // 64, -(-rule_count // 64))


def default_rules_path() -> Path:
    """Return the rule file that ships with the project."""
    return Path(__file__).with_name("default.rules")


def load_rules(path: Path) -> Program:
    """Read, parse and compile ``path``; raise RuleError with the place of what is wrong."""
    return program_from_file(parse_file(path))


def require_rules(program: Program, file: str) -> Program:
    """Return ``program`` that is to decide; RuleError where the file has been emptied.

    A file cut short must not switch every rule off: to have none is said in the configuration.
    """
    if not program.rule_count:
        raise RuleError('holds no rules; to have none, state [rules] file = "none"', file)
    return program


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
    by_phase = sorted(form.terms, key=lambda term: rule_file.rules[term[0]].phase)
    for rule_index, literal_set in by_phase:
        start = len(literals)
        literals += _cheapest_first(literal_set, form.predicates)
        ranges = sum(_rank(form.predicates[_index_of(n)]) == 0 for n in literal_set)
        phase = rule_file.rules[rule_index].phase
        terms.append((rule_index, phase, start, start + ranges, len(literals), 0))
    predicates, list_keys = _predicate_arrays(form.predicates, rule_file)
    rules, overrides = _rule_arrays(rule_file)
    numbers = np.array(literals, np.int16)
    return Program(
        predicates,
        list_keys,
        np.array(terms, TERM),
        numbers,
        ranges_of(predicates, numbers),
        *_sum_arrays(form.sums),
        rules,
        overrides,
        names=tuple(rule.name for rule in rule_file.rules),
        texts=tuple(rule.text for rule in rule_file.rules),
        tags=tuple(rule.action.tag for rule in rule_file.rules),
        source=rule_file,
        sha256=sha256,
        version=int(sha256[:8] or "0", 16),
    )


def _cheapest_first(literals: frozenset[int], predicates: list[Predicate]) -> list[int]:
    """Order a term: ranges first, searches in lists last, else as first written in the file."""

    def cost(literal: int) -> tuple[int, int]:
        index = _index_of(literal)
        return _rank(predicates[index]), index

    return sorted(literals, key=cost)


def _index_of(literal: int) -> int:
    return literal if literal >= 0 else ~literal


def _rank(predicate: Predicate) -> int:
    """Return what a predicate costs: 0 = a range, 1 = another comparison, 2 = a search."""
    if predicate.operator >= Operator.IN:
        return 2
    return 0 if is_range(predicate.operator, predicate.other) else 1


def _predicate_arrays(
    predicates: list[Predicate], rule_file: RuleFile
) -> tuple[NDArray[np.void], NDArray[np.uint64]]:
    lists = {value_list.name: value_list.values for value_list in rule_file.lists}
    slices: dict[tuple[int, ...], int] = {}
    keys: list[int] = []
    rows = []
    for p in predicates:
        chosen: tuple[int, ...] = ()
        is_key = p.column < COLUMN_COUNT and COLUMNS[p.column].type in KEYED
        if p.operator >= Operator.IN:
            raw = lists[p.list_name] if p.list_name else p.values
            column = COLUMNS[p.column]
            found = {key_from_value(constant_at(column, v), is_key=is_key) for v in raw}
            chosen = tuple(sorted(found))
            if chosen not in slices:
                slices[chosen] = len(keys)
                keys += chosen
        number = list_number(p.list_name) if p.list_name else 0
        place = (slices.get(chosen, 0), len(chosen), p.ttl_s)
        rows.append((p.constant, number, *place, p.column, p.other, p.operator, is_key, 0))
    return np.array(rows, PREDICATE), np.array(keys, np.uint64)


def _sum_arrays(sums: list[Binary]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    steps: list[tuple[float, int, int]] = []
    rows = []
    for k, sum_ in enumerate(sums):
        start = len(steps)
        steps += steps_of(sum_)
        phase = Phase.POST if SCORE in columns_of(sum_) else Phase.PRE
        rows.append((start, len(steps), COLUMN_COUNT + k, phase))
    return np.array(steps, SUM_STEP), np.array(rows, SUM)


def _rule_arrays(rule_file: RuleFile) -> tuple[NDArray[np.void], NDArray[np.uint64]]:
    index = {rule.name: i for i, rule in enumerate(rule_file.rules)}
    rules = np.zeros(len(rule_file.rules), RULE)
    words = words_of(len(rules))
    masks: list[list[int]] = []
    for row, rule in zip(rules, rule_file.rules, strict=True):
        row["snooze"] = list_number(snooze_name(rule.name))
        row["overrides"] = -1
        if rule.action.overrides:
            row["overrides"] = len(masks)
            mask = _override_mask(rule, index, rule_file.file)
            masks.append([mask >> (64 * word) & (1 << 64) - 1 for word in range(words)])
        row["ttl_s"] = rule.action.ttl_s
        row["points_bp"] = rule.action.points_bp
        row["response"] = _response(rule)
        row["phase"] = rule.phase
        row["mode"] = rule.mode
        row["action"] = rule.action.kind
        row["reads_score"] = SCORE in columns_of(rule.when)
    return rules, np.array(masks, np.uint64).reshape(-1, words)


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
