"""Which parts of a rule's condition held for one payment, with the values that they looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

from engine.rules.canonical import NAMED
from engine.rules.columns import BY_NAME, KEYED, Column, ColumnType, constant_at
from engine.rules.constants import ENTRIES
from engine.rules.normal_form import constant_of
from engine.rules.tree import (
    SYMBOLS,
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


class NotKeptError(LookupError):
    """Raised by either where it does not know: the comparison that asks is not known then."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a condition: how deep it stands, its text, whether it held, and why.

    A comparison has an operator and what it compares; "all of", "any of" and "not" have none.
    """

    depth: int
    text: str
    holds: bool
    values: dict[str, str]
    column: str = ""  # or the sum on the left
    operator: str = ""
    threshold: str = ""  # what stands on the right
    is_negated: bool = False  # stands under an odd number of nots
    is_known: bool = True  # False = a value was not kept


def deciding(lines: list[Line]) -> list[Line]:
    """Return the comparisons that speak for the condition: they held, or did not under a not."""
    return [one for one in lines if one.operator and one.is_known and one.holds != one.is_negated]


def explained(rule: Rule, value_of: ValueOf, is_listed: IsListed) -> list[Line]:
    """Return the lines of ``rule``'s condition, the whole first, its parts below it."""
    return _Explainer(rule.action.ttl_s, value_of, is_listed).lines(rule.when, 0, is_negated=False)


class _Explainer:
    def __init__(self, ttl_s: int, value_of: ValueOf, is_listed: IsListed) -> None:
        self._ttl_s = ttl_s
        self._value_of = value_of
        self._is_listed = is_listed

    def lines(self, node: Expression, depth: int, *, is_negated: bool) -> list[Line]:
        if isinstance(node, And | Or):
            word = "all of" if isinstance(node, And) else "any of"
            parts = [self.lines(item, depth + 1, is_negated=is_negated) for item in node.items]
            joined = all if isinstance(node, And) else any
            head = Line(depth, word, joined(part[0].holds for part in parts), {})
            return [head, *(line for part in parts for line in part)]
        if isinstance(node, Not):
            part = self.lines(node.item, depth + 1, is_negated=not is_negated)
            return [Line(depth, "not", not part[0].holds, {}), *part]
        return [self._line(node, depth, is_negated=is_negated)]

    def _line(
        self, node: Compare | CompareSums | Member | Between, depth: int, *, is_negated: bool
    ) -> Line:
        columns = sorted(_columns(node), key=lambda column: column.name)
        is_known, holds, values = True, False, {}
        try:
            values = {column.name: self._shown(column) for column in columns}
            holds = self._holds(node)
        except NotKeptError:
            is_known = False
        text, parts = NAMED.condition(node), _parts(node)
        return Line(depth, text, holds, values, *parts, is_negated, is_known)

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


def _parts(node: Compare | CompareSums | Member | Between) -> tuple[str, str, str]:
    """Return what stands on the left, the operator, and what stands on the right."""
    if isinstance(node, Compare) and node.column.type is ColumnType.BOOL:
        return node.column.name, "==", "false" if node.operator is Operator.EQ else "true"
    if isinstance(node, Member):
        word = "not in" if node.is_negated else "in"
    else:
        word = "between" if isinstance(node, Between) else SYMBOLS[node.operator]
    left, _, right = NAMED.condition(node).partition(f" {word} ")
    return left, word, right


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
