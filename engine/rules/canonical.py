"""Text forms of a rule file: the canonical one, whose hash is its version, and one for eyes.

Two files that mean the same rules in the same order, with lists of the same values, have the same
canonical text whatever their comments, spacing, names of countries or order within a list. Parsing
either text gives the same tree again. The form for eyes writes names where there are names.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from engine.rules.columns import ColumnType
from engine.rules.constants import COUNTRIES, CURRENCIES, ENTRIES
from engine.rules.tree import (
    SYMBOLS,
    Action,
    ActionKind,
    And,
    Between,
    Binary,
    Breaker,
    Compare,
    CompareSums,
    Constant,
    Expression,
    Member,
    Mode,
    Not,
    Operator,
    Or,
    Reading,
    Rule,
    RuleFile,
    Sum,
    ValueList,
)
from engine.rules.values import RANGED, terminal_text

_ENTRY_NAMES = {number: name for name, number in ENTRIES.items()}
_COUNTRY_NAMES = {number: name for name, number in COUNTRIES.items()}
_CURRENCY_NAMES = {number: name for name, number in CURRENCIES.items()}
_RANGE_MIN = 3  # codes in a row that are written as a range
_SUM, _PRODUCT = 1, 2  # how strongly the parts of a sum bind
_TIMES_S = ((86_400, "d"), (3_600, "h"), (60, "m"))

ValueText = Callable[[float, ColumnType], str]


def value_text(value: float, kind: ColumnType) -> str:
    """Return a constant as the canonical text has it: no exponent, ISO numbers for codes."""
    if kind is ColumnType.ENTRY:
        return _ENTRY_NAMES[int(value)]
    if kind is ColumnType.MERCHANT:
        return f"m{int(value):016x}"
    if kind is ColumnType.TERMINAL:
        return f'"{terminal_text(int(value))}"'
    if kind is ColumnType.TIME:
        minutes = int(value) // 60
        return f"{minutes // 60:02d}:{minutes % 60:02d}"
    return _number_text(value)


def named_text(value: float, kind: ColumnType) -> str:
    """Return a constant as people write it: DE, EUR, 100.00, 10m."""
    number = int(value)
    if kind is ColumnType.COUNTRY:
        return _COUNTRY_NAMES.get(number, str(number))
    if kind is ColumnType.CURRENCY:
        return _CURRENCY_NAMES.get(number, str(number))
    if kind is ColumnType.AMOUNT:
        cents = Decimal(repr(value)).quantize(Decimal("0.01"))
        return f"{cents:f}" if float(cents) == value else _number_text(value)
    if kind is ColumnType.DURATION and value == number > 0:
        return duration_text(number)
    if kind is ColumnType.MCC:
        return f"{number:04d}"
    return value_text(value, kind)


def duration_text(seconds: int) -> str:
    """Return whole seconds in the largest unit that divides them: 24h is written 1d."""
    for size, unit in _TIMES_S:
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


@dataclass(frozen=True, slots=True)
class Style:
    """How constants are written, and whether what goes without saying is left out."""

    value: ValueText
    is_short: bool

    def condition(self, node: Expression) -> str:
        """Return a condition, with parentheses only where and, or and not meet."""
        if isinstance(node, Compare):
            return self._compare(node)
        if isinstance(node, CompareSums):
            left, right = self._sum(node.left, _SUM), self._sum(node.right, _SUM)
            return f"{left} {SYMBOLS[node.operator]} {right}"
        if isinstance(node, Member):
            word = "not in" if node.is_negated else "in"
            inner = self.joined(node.values, node.column.type)
            where = f"@{node.list_name}" if node.list_name else f"({inner})"
            return f"{node.column.name} {word} {where}"
        if isinstance(node, Between):
            low, high = (self.value(v, node.column.type) for v in (node.low, node.high))
            text = f"{node.column.name} between {low} and {high}"
            return text + _currency_text(node.currency)
        if isinstance(node, Not):
            return f"not {self.inner(node.item)}"
        word = " and " if isinstance(node, And) else " or "
        return word.join(self.inner(item) for item in node.items)

    def inner(self, node: Expression) -> str:
        """Return a condition as a part of another one."""
        text = self.condition(node)
        return f"({text})" if isinstance(node, And | Or) else text

    def joined(self, values: Iterable[float], kind: ColumnType) -> str:
        """Return constants with commas between them; codes in a row as a range."""
        if kind not in RANGED:
            return ", ".join(self.value(value, kind) for value in values)
        runs: list[list[float]] = []
        for code in sorted(set(values)):
            if runs and code == runs[-1][-1] + 1:
                runs[-1].append(code)
            else:
                runs.append([code])
        texts: list[str] = []
        for run in runs:
            if len(run) >= _RANGE_MIN:
                texts.append(f"{self.value(run[0], kind)}..{self.value(run[-1], kind)}")
            else:
                texts += [self.value(code, kind) for code in run]
        return ", ".join(texts)

    def list_text(self, value_list: ValueList, *, is_sorted: bool) -> str:
        """Return the statement of a list."""
        values = sorted(set(value_list.values)) if is_sorted else value_list.values
        text = self.joined(values, value_list.type)
        return f"list {value_list.name} {value_list.type.value} = {text}".rstrip()

    def head(self, rule: Rule) -> str:
        """Return a rule up to its condition."""
        mode = "" if self.is_short and rule.mode is Mode.ACTIVE else f"{rule.mode.name.lower()} "
        action = self.action(rule.action)
        return f'rule {rule.name} {rule.phase.name.lower()} {mode}{action} "{rule.text}"'

    def action(self, action: Action) -> str:
        """Return an action with its arguments."""
        name = action.kind.name.lower()
        if action.kind is ActionKind.DECLINE:
            return f"{name}({action.response})"
        if action.kind is ActionKind.ALLOW:
            ttl = _ttl_text(action.ttl_s) if self.is_short else f"{action.ttl_s}s"
            overrides = f" overrides({','.join(action.overrides)})" if action.overrides else ""
            return f"{name}({ttl}){overrides}"
        if action.kind is ActionKind.SCORE:
            return f"{name} +{Decimal(action.points_bp) / 10_000:f}"
        if action.kind is ActionKind.TAG:
            return f"{name} {action.tag}"
        return name

    def _compare(self, node: Compare) -> str:
        if node.column.type is ColumnType.BOOL:
            return node.column.name + (" == false" if node.operator is Operator.EQ else "")
        value = self.value(node.value, node.column.type)
        text = f"{node.column.name} {SYMBOLS[node.operator]} {value}"
        return text + _currency_text(node.currency)

    def _sum(self, node: Sum, least: int) -> str:
        """Return a sum, in parentheses where it binds less than ``least``."""
        if isinstance(node, Constant):
            return _seconds_text(node.value) if node.is_duration else _number_text(node.value)
        if isinstance(node, Reading):
            return node.column.name
        assert isinstance(node, Binary)
        own = _SUM if node.symbol in "+-" else _PRODUCT
        left, right = self._sum(node.left, own), self._sum(node.right, own + 1)
        text = f"{left} {node.symbol} {right}"
        return f"({text})" if own < least else text


CANONICAL = Style(value_text, is_short=False)
NAMED = Style(named_text, is_short=True)


def text_from_file(rule_file: RuleFile) -> str:
    """Return the canonical text: zone, breakers and lists by name, then rules in order."""
    has_zone = rule_file.zone_s or rule_file.zone
    lines = [f"zone {zone_text(rule_file)}"] if has_zone else []
    breakers = sorted(rule_file.breakers, key=lambda breaker: breaker.target)
    lines += [breaker_text(breaker) for breaker in breakers]
    lists = sorted(rule_file.lists, key=lambda value_list: value_list.name)
    lines += [CANONICAL.list_text(value_list, is_sorted=True) for value_list in lists]
    for rule in rule_file.rules:
        lines.append(f"{CANONICAL.head(rule)} when {CANONICAL.condition(rule.when)}")
    return "".join(line + "\n" for line in lines)


def condition_text(node: Expression) -> str:
    """Return the canonical text of a condition."""
    return CANONICAL.condition(node)


def breaker_text(breaker: Breaker) -> str:
    """Return the statement of a breaker."""
    percent = f"{Decimal(breaker.share_ppm) / 10_000:f}"
    times = f"{breaker.times} x " if breaker.times != 1 else ""
    return f"breaker {breaker.target} {times}{percent}% of {breaker.window}"


def zone_text(rule_file: RuleFile) -> str:
    """Return the zone of a file: an IANA name in quotes, or an offset from UTC, like +01:00."""
    if rule_file.zone:
        return f'"{rule_file.zone}"'
    minutes = abs(rule_file.zone_s) // 60
    return f"{'-' if rule_file.zone_s < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def _number_text(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{Decimal(repr(value)):f}"


def _seconds_text(value: float) -> str:
    """Return a duration of a sum with its unit: without one it would be a plain number."""
    sign = "-" if value < 0 else ""
    return sign + duration_text(abs(int(value)))


def _currency_text(currency: int) -> str:
    return f" {_CURRENCY_NAMES[currency]}" if currency else ""


def _ttl_text(seconds: int) -> str:
    """Return the time of an allow; up to two days in hours, as people say it."""
    if seconds % 3_600 == 0 and seconds <= 2 * 86_400:
        return f"{seconds // 3_600}h"
    return duration_text(seconds)
