"""Warnings about a rule set that is valid but probably not what was meant.

A term is tried on sample values: every constant it compares a column with, one value between each
two neighbours and one beyond either end, and a missing value. Comparisons with constants cannot
tell other values apart, so a column of real numbers is decided exactly; for whole numbers the
answer errs towards no warning.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import isnan, nan

import numpy as np

from engine.rules.columns import COLUMNS, ColumnType
from engine.rules.program import Program
from engine.rules.tree import (
    ActionKind,
    And,
    Expression,
    Member,
    Mode,
    Not,
    Operator,
    Or,
    Place,
    Rule,
)
from scoring.payment import Entry

_LIST_VALUES_MAX = 1_000  # longer lists are taken as able to hold anything


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark and where it applies."""

    message: str
    place: Place


def warnings_of(program: Program) -> list[Remark]:
    """Return the warnings of ``program`` in the order of the file."""
    found = [*_list_warnings(program), *_rule_warnings(program)]
    return sorted(found, key=lambda warning: (warning.place.line, warning.place.column))


def _list_warnings(program: Program) -> Iterable[Remark]:
    read = {name for rule in program.source.rules for name in _lists_read(rule.when)}
    for value_list in program.source.lists:
        if not value_list.values:
            yield Remark(f"list {value_list.name} is empty", value_list.place)
        if value_list.name not in read:
            yield Remark(f"list {value_list.name} is read by no rule", value_list.place)


def _lists_read(node: Expression) -> set[str]:
    if isinstance(node, And | Or):
        return {name for item in node.items for name in _lists_read(item)}
    if isinstance(node, Not):
        return _lists_read(node.item)
    return {node.list_name} - {""} if isinstance(node, Member) else set()


def _rule_warnings(program: Program) -> Iterable[Remark]:
    terms = defaultdict(list)
    for term in program.terms:
        terms[int(term["rule"])].append(term)
    for index, rule in enumerate(program.source.rules):
        is_possible = any(_can_hold(program, term) for term in terms[index])
        if rule.mode is not Mode.OFF and not is_possible:
            message = f"rule {rule.name} can never match: its conditions exclude each other"
            yield Remark(message, rule.place)
        if rule.action.kind is ActionKind.ALLOW:
            yield from _allow_warnings(program, rule)


def _allow_warnings(program: Program, rule: Rule) -> Iterable[Remark]:
    if not rule.action.overrides:
        yield Remark(f"rule {rule.name} allows but overrides nothing", rule.place)
    for name in rule.action.overrides:
        other = program.source.rules[program.names.index(name)]
        if other.mode is not Mode.ACTIVE:
            message = f"rule {rule.name} overrides {name}, which is {other.mode.name.lower()}"
            yield Remark(message, rule.place)


def _can_hold(program: Program, term: np.void) -> bool:
    by_column: dict[int, list[int]] = defaultdict(list)
    for literal in program.literals[term["literal_start"] : term["literal_end"]]:
        index = int(literal) if literal >= 0 else ~int(literal)
        by_column[int(program.predicates[index]["column"])].append(int(literal))
    return all(_column_can_hold(program, c, literals) for c, literals in by_column.items())


def _column_can_hold(program: Program, column: int, literals: list[int]) -> bool:
    tests = [_test(program, literal) for literal in literals]
    if any(test is None for test in tests):
        return True
    known = [test for test in tests if test is not None]
    constants = sorted({value for test in known for value in test.values})
    return any(all(test.holds(v) for test in known) for v in _samples(column, constants))


def _samples(column: int, constants: list[float]) -> list[float]:
    kind = COLUMNS[column].type
    if kind is ColumnType.BOOL:
        return [0.0, 1.0]
    if kind is ColumnType.ENTRY:
        return [float(entry) for entry in Entry]
    between = [(a + b) / 2 for a, b in pairwise(constants)]
    ends = [constants[0] - 1.0, constants[-1] + 1.0] if constants else []
    return [*constants, *between, *ends, nan]


@dataclass(frozen=True, slots=True)
class _Test:
    operator: Operator
    values: tuple[float, ...]
    is_wanted: bool

    def holds(self, value: float) -> bool:
        return self._compares(value) == self.is_wanted

    def _compares(self, value: float) -> bool:
        if isnan(value):
            return False
        if self.operator in (Operator.IN, Operator.NOT_IN):
            return (value in self.values) == (self.operator is Operator.IN)
        constant = self.values[0]
        return {
            Operator.LT: value < constant,
            Operator.LE: value <= constant,
            Operator.GT: value > constant,
            Operator.GE: value >= constant,
            Operator.EQ: value == constant,
            Operator.NE: value != constant,
        }[self.operator]


def _test(program: Program, literal: int) -> _Test | None:
    """Return the test of a literal; None where lists are empty (to be filled) or long."""
    predicate = program.predicates[literal if literal >= 0 else ~literal]
    operator = Operator(int(predicate["operator"]))
    if operator not in (Operator.IN, Operator.NOT_IN):
        return _Test(operator, (float(predicate["constant"]),), literal >= 0)
    start, size = int(predicate["list_start"]), int(predicate["list_size"])
    if size == 0 or size > _LIST_VALUES_MAX:
        return None
    values = tuple(float(v) for v in program.list_values[start : start + size])
    return _Test(operator, values, literal >= 0)
