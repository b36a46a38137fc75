"""Which parts of a rule's condition held for one payment, with the values that they looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

from engine.rules.canonical import NAMED
from engine.rules.columns import BY_NAME, KEYED, Column, ColumnType, constant_at
from engine.rules.constants import ENTRIES
from engine.rules.normal_form import constant_of
from engine.rules.tree import (
    And,
    Between,
    Binary,
    Compare,
    CompareSums,
    Constant,
    Expression,
    Member,
    Not,
    Operator,
    Or,
    Reading,
    Rule,
    Sum,
)

_CURRENCY = BY_NAME["currency"]

ValueOf = Callable[[Column], float]  # a key for merchant and terminal, NaN = missing
IsListed = Callable[[str, Column, float, int], bool]  # list name, column, value, time to live


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison of a condition: how deep it stands, its text, whether it held, and why."""

    depth: int
    text: str
    holds: bool
    values: dict[str, str]


def explained(rule: Rule, value_of: ValueOf, is_listed: IsListed) -> list[Line]:
    """Return the lines of ``rule``'s condition, the whole first, its parts below it."""
    return _Explainer(rule.action.ttl_s, value_of, is_listed).lines(rule.when, 0)


class _Explainer:
    def __init__(self, ttl_s: int, value_of: ValueOf, is_listed: IsListed) -> None:
        self._ttl_s = ttl_s
        self._value_of = value_of
        self._is_listed = is_listed

    def lines(self, node: Expression, depth: int) -> list[Line]:
        if isinstance(node, And | Or):
            word = "all of" if isinstance(node, And) else "any of"
            parts = [self.lines(item, depth + 1) for item in node.items]
            joined = all if isinstance(node, And) else any
            head = Line(depth, word, joined(part[0].holds for part in parts), {})
            return [head, *(line for part in parts for line in part)]
        if isinstance(node, Not):
            part = self.lines(node.item, depth + 1)
            return [Line(depth, "not", not part[0].holds, {}), *part]
        columns = sorted(_columns(node), key=lambda column: column.name)
        values = {column.name: self._shown(column) for column in columns}
        return [Line(depth, NAMED.condition(node), self._holds(node), values)]

    def _holds(self, node: Compare | CompareSums | Member | Between) -> bool:
        if isinstance(node, CompareSums):
            return _compares(node.operator, self._sum(node.left), self._sum(node.right))
        value = self._value_of(node.column)
        if node.column.type in KEYED:
            return value != 0 and self._is_key(node, value)
        if isnan(value):
            return False
        currency = node.currency if isinstance(node, Compare | Between) else 0
        if currency and self._value_of(_CURRENCY) != currency:
            return False
        if isinstance(node, Member):
            return self._is_member(node, value) != node.is_negated
        if isinstance(node, Between):
            low, high = constant_at(node.column, node.low), constant_at(node.column, node.high)
            return low <= value <= high if low <= high else value >= low or value <= high
        return _compares(node.operator, value, constant_at(node.column, node.value))

    def _is_key(self, node: Compare | CompareSums | Member | Between, value: float) -> bool:
        if isinstance(node, Member):
            return self._is_member(node, value) != node.is_negated
        assert isinstance(node, Compare)
        return (value == node.value) == (node.operator is Operator.EQ)

    def _is_member(self, node: Member, value: float) -> bool:
        if node.list_name:
            return self._is_listed(node.list_name, node.column, value, self._ttl_s)
        return value in {constant_at(node.column, item) for item in node.values}

    def _sum(self, node: Sum) -> float:
        if isinstance(node, Constant):
            return node.value
        if isinstance(node, Reading):
            return self._value_of(node.column)
        return constant_of(node.symbol, self._sum(node.left), self._sum(node.right))

    def _shown(self, column: Column) -> str:
        value = self._value_of(column)
        if isnan(value) or (column.type in KEYED and value == 0):
            return "missing"
        if column.type is ColumnType.BOOL:
            return "true" if value else "false"
        if column.type in (ColumnType.NUMBER, ColumnType.AMOUNT) and value != int(value):
            return f"{value:.4g}" if column.type is ColumnType.NUMBER else f"{value:.2f}"
        if column.type is ColumnType.ENTRY and value not in ENTRIES.values():
            return f"{value:g}"
        return NAMED.value(value, column.type)


def _columns(node: Expression | Sum) -> set[Column]:
    if isinstance(node, CompareSums | Binary):
        return _columns(node.left) | _columns(node.right)
    if isinstance(node, Compare | Member | Between | Reading):
        return {node.column}
    return set()


def _compares(operator: Operator, left: float, right: float) -> bool:
    if isnan(left) or isnan(right):
        return False
    return {
        Operator.LT: left < right,
        Operator.LE: left <= right,
        Operator.GT: left > right,
        Operator.GE: left >= right,
        Operator.EQ: left == right,
        Operator.NE: left != right,
    }[operator]
