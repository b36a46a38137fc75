"""Random rule sets and rows, made so that comparisons meet their constants often."""

import random
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.rules.columns import (
    COLUMNS,
    COUNTED,
    KEYED,
    ORDERED,
    SCORE,
    VALUE_COUNT,
    Column,
    ColumnType,
    constant_at,
)
from engine.rules.tree import (
    Action,
    ActionKind,
    And,
    Between,
    Binary,
    Compare,
    CompareSums,
    Constant,
    Expression,
    Member,
    Mode,
    Not,
    Operator,
    Or,
    Phase,
    Reading,
    Rule,
    RuleFile,
    Sum,
    ValueList,
    reads_list,
)
from engine.rules.values import RANGED, terminal_key

_CONSTANTS = {
    ColumnType.NUMBER: (0.0, 0.1, 0.8, 1.0, 2.0, 3.5),
    ColumnType.AMOUNT: (0.0, 0.01, 1.1, 2.0, 100.0),
    ColumnType.BOOL: (0.0, 1.0),
    ColumnType.COUNTRY: (4.0, 276.0, 364.0, 840.0),
    ColumnType.ENTRY: (0.0, 1.0, 4.0, 6.0),
    ColumnType.DURATION: (0.0, 30.0, 600.0, 86_400.0),
    ColumnType.TIME: (0.0, 21_600.0, 79_200.0),
    ColumnType.MCC: (5411.0, 5812.0, 7995.0),
    ColumnType.BIN: (411_111.0, 411_112.0, 510_000.0),
    ColumnType.MERCHANT: (1, 0x7FF8_0000_0000_0001, 2**64 - 1),
    ColumnType.TERMINAL: (terminal_key("T1"), terminal_key("TERM0001")),
    ColumnType.CURRENCY: (392.0, 840.0, 978.0),
    ColumnType.CARD: (1.0, 7.0, 4294967295.0),
    ColumnType.ACCOUNT: (1.0, 7.0, 4294967295.0),
}
_ACTIONS = (
    Action(ActionKind.DECLINE, response="59"),
    Action(ActionKind.DECLINE, response="1A"),
    Action(ActionKind.STEP_UP),
    Action(ActionKind.REVIEW),
    Action(ActionKind.TAG, tag="seen"),
)


def random_rows(rng: random.Random, count: int) -> NDArray[np.float64]:
    """Return values f64[count, COLUMN_COUNT]: constants of the sets, neighbours and NaN."""
    values = np.empty((count, VALUE_COUNT))
    for column in COLUMNS:
        if column.type in KEYED:
            keys = rng.choices([0, 5, *_CONSTANTS[column.type]], k=count)
            values.view(np.uint64)[:, column.index] = np.array(keys, np.uint64)
            continue
        constants = [constant_at(column, c) for c in _CONSTANTS[column.type]]
        pool = [*constants, constants[1], 0.5]
        if column.type is not ColumnType.BOOL:
            pool += [float("nan"), -1.0, 1e15]
        values[:, column.index] = rng.choices(pool, k=count)
    return values


def rows_of(values: NDArray[np.float64]) -> list[dict[str, float]]:
    """Return rows by column name; the keys of merchant and terminal as whole numbers."""
    columns: dict[str, list[float]] = {}
    for column in COLUMNS:
        table = values.view(np.uint64) if column.type in KEYED else values
        columns[column.name] = table[:, column.index].tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def random_file(rng: random.Random, rule_count: int) -> RuleFile:
    """Return a set of lists and rules whose alternatives stay within the bounds."""
    lists = tuple(
        ValueList(f"{kind.value}_{i}", kind, _subset(rng, kind))
        for kind in _CONSTANTS
        if kind is not ColumnType.BOOL
        for i in range(2)
    )
    columns = rng.sample(COLUMNS, k=rng.randint(2, 8))
    names = [f"R{i}" for i in range(rule_count)]
    counted = [c for c in columns if c.type in COUNTED and c is not SCORE] or [COLUMNS[0]]
    pool = [_sums(rng, rng.choice(counted)) for _ in range(6)]
    rules = [_rule(rng, name, columns, lists, pool) for name in names]
    can_override = [rule.name for rule in rules if _is_overridable(rule)]
    for i, rule in enumerate(rules):
        if rule.action.kind is ActionKind.ALLOW:
            count = rng.randint(0, min(4, len(can_override)))
            others = tuple(rng.sample(can_override, k=count))
            rules[i] = replace(rule, action=replace(rule.action, overrides=others))
    return RuleFile(lists, tuple(rules))


def _is_overridable(rule: Rule) -> bool:
    if rule.action.kind is ActionKind.DECLINE:
        return not reads_list(rule.when)
    return rule.action.kind in (ActionKind.STEP_UP, ActionKind.REVIEW)


def _subset(rng: random.Random, kind: ColumnType) -> tuple[float, ...]:
    constants = _CONSTANTS[kind]
    return tuple(sorted(rng.sample(constants, k=rng.randint(0, len(constants)))))


def _rule(
    rng: random.Random,
    name: str,
    columns: list[Column],
    lists: tuple[ValueList, ...],
    pool: list[CompareSums],
) -> Rule:
    phase = rng.choice(list(Phase))
    if phase is Phase.PRE:
        columns = [c for c in columns if c is not SCORE] or [COLUMNS[0]]
    action = rng.choice(_ACTIONS)
    if rng.random() < 0.25:
        action = Action(ActionKind.ALLOW, ttl_s=60)
    mode = rng.choice((Mode.ACTIVE, Mode.ACTIVE, Mode.ACTIVE, Mode.SHADOW, Mode.OFF))
    return Rule(name, phase, mode, action, "why", _condition(rng, columns, lists, pool, 3))


def _condition(
    rng: random.Random,
    columns: list[Column],
    lists: tuple[ValueList, ...],
    pool: list[CompareSums],
    depth: int,
) -> Expression:
    if depth == 0 or rng.random() < 0.3:
        if rng.random() < 0.15:
            return rng.choice(pool)
        return _comparison(rng, rng.choice(columns), lists)
    if rng.random() < 0.2:
        return Not(_condition(rng, columns, lists, pool, depth - 1))
    items = tuple(_condition(rng, columns, lists, pool, depth - 1) for _ in range(2))
    return And(items) if rng.random() < 0.5 else Or(items)


def _comparison(rng: random.Random, column: Column, lists: tuple[ValueList, ...]) -> Expression:
    constants = _CONSTANTS[column.type]
    if column.type is ColumnType.BOOL:
        return Compare(column, rng.choice((Operator.EQ, Operator.NE)), 0.0)
    choice = rng.randrange(5)
    if choice == 0:
        named = [value_list.name for value_list in lists if value_list.type is column.type]
        return Member(column, rng.random() < 0.4, rng.choice(named), ())
    if choice == 1:
        count = rng.randint(1, len(constants))
        values = rng.sample(constants, k=count)
        if column.type in RANGED:  # written in order
            values = sorted(values)
        return Member(column, rng.random() < 0.4, "", tuple(values))
    if column.type not in ORDERED:
        operator = rng.choice((Operator.EQ, Operator.NE))
        return Compare(column, operator, rng.choice(constants))
    if choice == 2:
        low, high = sorted(rng.choices(constants, k=2), reverse=column.type is ColumnType.TIME)
        return Between(column, low, high, currency=_currency(rng, column))
    operator = rng.choice([o for o in Operator if o < Operator.IN])
    return Compare(column, operator, rng.choice(constants), currency=_currency(rng, column))


def _currency(rng: random.Random, column: Column) -> int:
    is_amount = column.type is ColumnType.AMOUNT
    return rng.choice((978, 840)) if is_amount and rng.random() < 0.4 else 0


def _sums(rng: random.Random, column: Column) -> CompareSums:
    """Return a comparison of sums that count in what ``column`` does."""
    columns = [c for c in COLUMNS if c.type is column.type and c is not SCORE]
    operator = rng.choice([o for o in Operator if o < Operator.IN])
    left: Sum = Reading(column)
    if rng.random() < 0.6:
        left = Binary(rng.choice("+-"), left, _sum(rng, columns, 1))
    right = _sum(rng, columns, 2)
    if isinstance(left, Reading) and isinstance(right, Constant):
        right = Binary("*", right, Reading(column))
    return CompareSums(left, operator, right)


def _sum(rng: random.Random, columns: list[Column], depth: int) -> Sum:
    if depth == 0 or rng.random() < 0.3:
        if rng.random() < 0.4:
            return Constant(rng.choice((-1.5, 0.0, 0.5, 2.0, 100.0)))
        return Reading(rng.choice(columns))
    symbol = rng.choice("+-*/")
    left = _sum(rng, columns, depth - 1)
    if symbol in "*/":
        return Binary(symbol, left, Constant(rng.choice((-2.0, 0.0, 0.5, 3.0))))
    return Binary(symbol, left, _sum(rng, columns, depth - 1))


def scratch_of(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return memory for kernels that evaluate ``values``, with nothing sensible in it."""
    return np.full(values.shape[1], 0xA5A5A5A5A5A5A5A5, np.uint64)
