"""The one text form of a rule file: what its version is a hash of.

Two files that mean the same rules in the same order, with lists of the same values, have the same
canonical text whatever their comments, spacing, names of countries or order within a list.
Parsing the canonical text gives the same tree again.
"""

from collections.abc import Iterable
from decimal import Decimal

from engine.rules.columns import ColumnType
from engine.rules.constants import ENTRIES
from engine.rules.tree import (
    SYMBOLS,
    Action,
    ActionKind,
    And,
    Between,
    Compare,
    Expression,
    Member,
    Not,
    Operator,
    Or,
    Rule,
    RuleFile,
    ValueList,
)

_ENTRY_NAMES = {number: name for name, number in ENTRIES.items()}


def text_from_file(rule_file: RuleFile) -> str:
    """Return the canonical text: lists by name, then rules in order, one a line."""
    lists = sorted(rule_file.lists, key=lambda value_list: value_list.name)
    lines = [_list_text(value_list) for value_list in lists]
    lines += [_rule_text(rule) for rule in rule_file.rules]
    return "".join(line + "\n" for line in lines)


def condition_text(node: Expression) -> str:
    """Return the text of a condition, with parentheses only where and, or and not meet."""
    if isinstance(node, Compare):
        return _compare_text(node)
    if isinstance(node, Member):
        word = "not in" if node.is_negated else "in"
        where = f"@{node.list_name}" if node.list_name else f"({_joined(node)})"
        return f"{node.column.name} {word} {where}"
    if isinstance(node, Between):
        low, high = (value_text(value, node.column.type) for value in (node.low, node.high))
        return f"{node.column.name} between {low} and {high}"
    if isinstance(node, Not):
        return f"not {_inner_text(node.item)}"
    word = " and " if isinstance(node, And) else " or "
    return word.join(_inner_text(item) for item in node.items)


def value_text(value: float, kind: ColumnType) -> str:
    """Return a constant as a rule file writes it: no exponent, ISO numbers for codes."""
    if kind is ColumnType.ENTRY:
        return _ENTRY_NAMES[int(value)]
    return str(int(value)) if value == int(value) else f"{Decimal(repr(value)):f}"


def _compare_text(node: Compare) -> str:
    if node.column.type is ColumnType.BOOL:
        return node.column.name + (" == false" if node.operator is Operator.EQ else "")
    value = value_text(node.value, node.column.type)
    return f"{node.column.name} {SYMBOLS[node.operator]} {value}"


def _inner_text(node: Expression) -> str:
    text = condition_text(node)
    return f"({text})" if isinstance(node, And | Or) else text


def _joined(node: Member) -> str:
    return ", ".join(_texts(node.values, node.column.type))


def _texts(values: Iterable[float], kind: ColumnType) -> list[str]:
    return [value_text(value, kind) for value in values]


def _list_text(value_list: ValueList) -> str:
    values = ", ".join(_texts(sorted(set(value_list.values)), value_list.type))
    return f"list {value_list.name} {value_list.type.value} = {values}".rstrip()


def _rule_text(rule: Rule) -> str:
    phase, mode = rule.phase.name.lower(), rule.mode.name.lower()
    head = f"rule {rule.name} {phase} {mode} {action_text(rule.action)}"
    return f'{head} "{rule.text}" when {condition_text(rule.when)}'


def action_text(action: Action) -> str:
    """Return the text of an action with its arguments."""
    name = action.kind.name.lower()
    if action.kind is ActionKind.DECLINE:
        return f"{name}({action.response})"
    if action.kind is ActionKind.ALLOW:
        overrides = f" overrides({','.join(action.overrides)})" if action.overrides else ""
        return f"{name}({action.ttl_s}s){overrides}"
    if action.kind is ActionKind.SCORE:
        return f"{name} +{Decimal(action.points_bp) / 10_000:f}"
    if action.kind is ActionKind.TAG:
        return f"{name} {action.tag}"
    return name
