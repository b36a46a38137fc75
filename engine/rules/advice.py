"""Warnings about a rule set that is valid but probably not what was meant."""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.rules.columns import ColumnType
from engine.rules.constants import COUNTRIES, CURRENCIES
from engine.rules.program import Program
from engine.rules.tree import (
    ActionKind,
    And,
    Compare,
    Expression,
    Member,
    Mode,
    Not,
    Or,
    Place,
    Rule,
)

_KNOWN = {
    ColumnType.COUNTRY: ("ISO 3166-1", frozenset(COUNTRIES.values())),
    ColumnType.CURRENCY: ("ISO 4217", frozenset(CURRENCIES.values())),
}
_BIN_MIN = 100_000


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark and where it applies."""

    message: str
    place: Place


def warnings_of(program: Program) -> list[Remark]:
    """Return the warnings of ``program`` in the order of the file."""
    found = [*_list_warnings(program), *_rule_warnings(program)]
    if not program.rule_count:
        found.append(
            Remark("there are no rules: a running engine refuses such a file", Place(1, 1))
        )
    return sorted(found, key=lambda warning: (warning.place.line, warning.place.column))


def _list_warnings(program: Program) -> Iterable[Remark]:
    read = {name for rule in program.source.rules for name in _lists_read(rule.when)}
    for value_list in program.source.lists:
        for text in _unknown(value_list.type, value_list.values):
            yield Remark(f"list {value_list.name} has {text}", value_list.place)
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
    possible = set(program.terms["rule"].tolist())
    for index, rule in enumerate(program.source.rules):
        if rule.mode is not Mode.OFF and index not in possible:
            message = f"rule {rule.name} can never match: its conditions exclude each other"
            yield Remark(message, rule.place)
        for place, text in _unknown_in(rule.when):
            yield Remark(f"rule {rule.name} compares with {text}", place)
        if rule.action.kind is ActionKind.ALLOW:
            yield from _allow_warnings(program, rule)


def _unknown_in(node: Expression) -> Iterable[tuple[Place, str]]:
    if isinstance(node, And | Or):
        for item in node.items:
            yield from _unknown_in(item)
    elif isinstance(node, Not):
        yield from _unknown_in(node.item)
    elif isinstance(node, Compare | Member):
        values = node.values if isinstance(node, Member) else (node.value,)
        yield from ((node.place, text) for text in _unknown(node.column.type, values))


def _unknown(kind: ColumnType, values: Iterable[float]) -> list[str]:
    """Return what is said of codes that are valid as numbers and stand for nothing known."""
    if kind is ColumnType.BIN:
        return [f"the BIN {int(v)}, of fewer than six digits" for v in values if v < _BIN_MIN]
    if kind not in _KNOWN:
        return []
    standard, known = _KNOWN[kind]
    return [f"{int(v)}, which is not in {standard}" for v in values if int(v) not in known]


def _allow_warnings(program: Program, rule: Rule) -> Iterable[Remark]:
    if not rule.action.overrides:
        yield Remark(f"rule {rule.name} allows but overrides nothing", rule.place)
    for name in rule.action.overrides:
        other = program.source.rules[program.names.index(name)]
        if other.mode is not Mode.ACTIVE:
            message = f"rule {rule.name} overrides {name}, which is {other.mode.name.lower()}"
            yield Remark(message, rule.place)
