"""Naive rules: name the facts of one row, walk the typed tree of every rule, rank what held.

Written from the language reference. A row maps column names to numbers; NaN = missing;
the keys of merchant and terminal are whole numbers, 0 = missing.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from engine.rules.tree import (
    ActionKind,
    And,
    Between,
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
    RuleFile,
    Sum,
)
from ledger.record import Flag
from scoring.features import EXTRAS, FEATURES, SHARED
from scoring.payment import PaymentFlag
from tests.oracle.zones import local_time

Row = Mapping[str, float]
Lists = Mapping[str, tuple[float, ...]]
Facts = Mapping[str, int]
_GROUPS = {
    "small_1h": "card.small_1h",
    "declines_1h": "card.declines_1h",
    "mcc_risk": "mcc.risk",
}
_PRECEDENCE = (ActionKind.DECLINE, ActionKind.STEP_UP, ActionKind.REVIEW, ActionKind.ALLOW)


def row_of(
    payment: Facts,
    fact: Facts,
    features: Sequence[float],
    shared: Sequence[float],
    extras: Sequence[float],
    account: Facts,
    zone: str | int,
) -> dict[str, float]:
    """Return every column but the score from what is known of one payment.

    ``zone`` is where the card is at home: an IANA name, or seconds ahead of UTC.
    """
    row: dict[str, float] = {}
    for known, values in ((SHARED, shared), (EXTRAS, extras), (FEATURES, features)):
        row |= {_column_name(f.name): float(v) for f, v in zip(known, values, strict=True)}
    if row["secs_since_last"] < 0:
        row["secs_since_last"] = math.nan
    row["amount"] = float(Decimal(payment["amount_minor"]).scaleb(-payment["exponent"]))
    row["amount_minor"] = float(payment["amount_minor"])
    row["pcode"] = float(fact["pcode"])
    numbers = {name: payment[name] for name in ("mcc", "country")}
    numbers |= {n: fact[n] for n in ("currency", "card", "account", "customer", "product")}
    numbers["bin.number"] = fact["bin"]
    row |= {name: float(number) if number else math.nan for name, number in numbers.items()}
    row["acquirer"] = float(fact["acquirer"]) if fact["acquirer"] >= 0 else math.nan
    for name in ("merchant", "terminal"):  # keys: their bits stand where a number would
        row[name] = struct.unpack("<d", fact[name].to_bytes(8, "little"))[0]
    row["unix_s"] = float(payment["t_s"])
    local = local_time(payment["t_s"], zone)
    row["time"] = float(local.hour * 3_600 + local.minute * 60 + local.second)
    row["local.hour"], row["local.weekday"] = float(local.hour), float(local.weekday())
    for name, field in (("limit", "limit"), ("available", "otb"), ("held", "hold")):
        minor = Decimal(account[f"{field}_minor"]).scaleb(-payment["exponent"])
        row[f"account.{name}"] = float(minor) if fact["account"] else math.nan
    row["wallet"] = float(bool(payment["flags"] & PaymentFlag.WALLET))
    row["flag.travel_notice"] = float(bool(payment["flags"] & PaymentFlag.TRAVEL_NOTICE))
    row["flag.unusable"] = float(bool(payment["flags"] & PaymentFlag.UNUSABLE))
    row["present"] = float(bool(fact["flags"] & Flag.PRESENT))
    row["flag.repeat"] = float(bool(fact["flags"] & Flag.REPEAT))
    row["flag.advice"] = float(bool(fact["flags"] & Flag.ADVICE))
    return row


def _column_name(feature: str) -> str:
    for group in ("merchant", "bin"):
        if feature.startswith(f"{group}_"):
            return f"{group}.{feature.removeprefix(f'{group}_')}"
    return _GROUPS.get(feature, feature)


def score_after_points(rule_file: RuleFile, hits: set[str], score_bp: int) -> int:
    """Return the score with what active SCORE rules add; over 10,000 = not scored, kept."""
    if score_bp > 10_000:
        return score_bp
    for rule in rule_file.rules:
        if rule.name in hits and rule.mode is Mode.ACTIVE:
            score_bp += rule.action.points_bp
    return min(score_bp, 10_000)


def holds(node: Expression, row: Row, lists: Lists) -> bool:
    """Return whether the condition holds for the row."""
    if isinstance(node, And):
        return all(holds(item, row, lists) for item in node.items)
    if isinstance(node, Or):
        return any(holds(item, row, lists) for item in node.items)
    if isinstance(node, Not):
        return not holds(node.item, row, lists)
    if isinstance(node, CompareSums):
        left, right = sum_of(node.left, row), sum_of(node.right, row)
        return not math.isnan(left + right) and _compares(node.operator, left, right)
    value = row[node.column.name]
    if node.column.name in ("merchant", "terminal"):
        return value != 0 and _is_key(node, value, lists)
    if math.isnan(value):
        return False
    if isinstance(node, Compare | Between) and node.currency not in (0, row["currency"]):
        return False
    stored = float if not node.column.is_single else lambda constant: float(np.float32(constant))
    if isinstance(node, Between):
        low, high = stored(node.low), stored(node.high)
        return low <= value <= high if low <= high else (value >= low or value <= high)
    if isinstance(node, Member):
        values = lists[node.list_name] if node.list_name else node.values
        return (value in [stored(item) for item in values]) != node.is_negated
    return _compares(node.operator, value, stored(node.value))


def sum_of(node: Sum, row: Row) -> float:
    """Return the value of a sum; NaN where a part is missing or the result is not finite."""
    value = _part_of(node, row)
    return value if math.isfinite(value) else math.nan


def _part_of(node: Sum, row: Row) -> float:
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Reading):
        return row[node.column.name]
    left, right = _part_of(node.left, row), _part_of(node.right, row)
    if node.symbol == "+":
        return left + right
    if node.symbol == "-":
        return left - right
    if node.symbol == "*":
        return left * right
    return left / right if right != 0 else math.nan


def _is_key(node: Compare | Member, key: float, lists: Lists) -> bool:
    if isinstance(node, Compare):
        return (key == node.value) == (node.operator is Operator.EQ)
    values = lists[node.list_name] if node.list_name else node.values
    return (key in values) != node.is_negated


def _compares(operator: Operator, value: float, constant: float) -> bool:
    if operator is Operator.LT:
        return value < constant
    if operator is Operator.LE:
        return value <= constant
    if operator is Operator.GT:
        return value > constant
    if operator is Operator.GE:
        return value >= constant
    if operator is Operator.EQ:
        return value == constant
    assert operator is Operator.NE
    return value != constant


def hits_of(rule_file: RuleFile, row: Row, phase: Phase) -> set[str]:
    """Return the names of the rules of ``phase`` that hold; rules that are off never do."""
    lists = {value_list.name: value_list.values for value_list in rule_file.lists}
    return {
        rule.name
        for rule in rule_file.rules
        if rule.phase is phase and rule.mode is not Mode.OFF and holds(rule.when, row, lists)
    }


def verdict_of(rule_file: RuleFile, hits: set[str]) -> tuple[ActionKind, str, bool]:
    """Return the action, the name of the rule that decides ("" = none), and if a case opens."""
    acting = [r for r in rule_file.rules if r.name in hits and r.mode is Mode.ACTIVE]
    removed = {name for r in acting for name in r.action.overrides}
    left = [r for r in acting if r.name not in removed]
    is_review = any(r.action.kind is ActionKind.REVIEW for r in left)
    for kind in _PRECEDENCE:
        for rule in left:
            if rule.action.kind is kind:
                return kind, rule.name, is_review
    return ActionKind.NONE, "", is_review
