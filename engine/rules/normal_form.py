"""Conditions as alternatives: disjunctive normal form over predicates that rules share.

A predicate is ``(column, operator, constant or values)``. A literal is a predicate's index p, or
~p where the predicate must not hold. A term is a set of literals that must all hold, and a rule
holds if one of its terms does. Nots are pushed down to the literals, never into the operators:
``not (x < 5)`` is true for a missing x and ``x >= 5`` is not.
"""

from dataclasses import dataclass
from typing import TypeAlias

from engine.rules.columns import Column, constant_at
from engine.rules.errors import RuleError
from engine.rules.limits import PREDICATES_MAX, TERMS_MAX, TERMS_PER_RULE_MAX
from engine.rules.tree import (
    And,
    Between,
    Compare,
    Expression,
    Member,
    Mode,
    Not,
    Operator,
    Or,
    Rule,
    RuleFile,
)

Term: TypeAlias = frozenset[int]


@dataclass(frozen=True, slots=True)
class Predicate:
    """One comparison; equal ones are one predicate. ``column`` is an index."""

    column: int
    operator: Operator
    constant: float = 0.0
    list_name: str = ""
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class NormalForm:
    """Predicates in order of first use, and (rule index, term) in order of rules."""

    predicates: list[Predicate]
    terms: list[tuple[int, Term]]


def normal_form(rule_file: RuleFile) -> NormalForm:
    """Multiply out every rule that is not off; raise RuleError past the bounds."""
    indexes: dict[Predicate, int] = {}
    terms: list[tuple[int, Term]] = []
    for rule_index, rule in enumerate(rule_file.rules):
        if rule.mode is Mode.OFF:
            continue
        found = _Multiplier(rule, rule_file.file, indexes).terms(rule.when, is_wanted=True)
        terms += [(rule_index, term) for term in _without_redundant(found)]
        if len(indexes) > PREDICATES_MAX:
            raise _error(rule, rule_file.file, f"{PREDICATES_MAX} different comparisons in all")
        if len(terms) > TERMS_MAX:
            raise _error(rule, rule_file.file, f"{TERMS_MAX} alternatives in all")
    return NormalForm(list(indexes), terms)


def _error(rule: Rule, file: str, bound: str) -> RuleError:
    message = f"rule {rule.name} takes the set past {bound}"
    return RuleError(message, file, rule.place.line, rule.place.column)


class _Multiplier:
    def __init__(self, rule: Rule, file: str, indexes: dict[Predicate, int]) -> None:
        self._rule = rule
        self._file = file
        self._indexes = indexes

    def terms(self, node: Expression, *, is_wanted: bool) -> list[Term]:
        if isinstance(node, Not):
            return self.terms(node.item, is_wanted=not is_wanted)
        if isinstance(node, And | Or):
            parts = [self.terms(item, is_wanted=is_wanted) for item in node.items]
            return self._joined(parts, is_product=isinstance(node, And) == is_wanted)
        if isinstance(node, Between):
            ends = [
                Compare(node.column, Operator.GE, node.low),
                Compare(node.column, Operator.LE, node.high),
            ]
            parts = [self.terms(end, is_wanted=is_wanted) for end in ends]
            return self._joined(parts, is_product=is_wanted)
        index = self._indexes.setdefault(_predicate(node), len(self._indexes))
        return [frozenset((index if is_wanted else ~index,))]

    def _joined(self, parts: list[list[Term]], *, is_product: bool) -> list[Term]:
        joined = parts[0]
        for part in parts[1:]:
            count = len(joined) * len(part) if is_product else len(joined) + len(part)
            if count > TERMS_PER_RULE_MAX:
                message = (
                    f"rule {self._rule.name} multiplies out to more than {TERMS_PER_RULE_MAX} "
                    "alternatives; split it into several rules"
                )
                place = self._rule.place
                raise RuleError(message, self._file, place.line, place.column)
            if is_product:
                both = [a | b for a in joined for b in part]
                joined = [term for term in dict.fromkeys(both) if not _is_contradiction(term)]
            else:
                joined = list(dict.fromkeys(joined + part))
        return joined


def _predicate(node: Compare | Member) -> Predicate:
    column: Column = node.column
    if isinstance(node, Compare):
        return Predicate(column.index, node.operator, constant_at(column, node.value))
    operator = Operator.NOT_IN if node.is_negated else Operator.IN
    values = tuple(sorted({constant_at(column, value) for value in node.values}))
    return Predicate(column.index, operator, list_name=node.list_name, values=values)


def _is_contradiction(term: Term) -> bool:
    return any(~literal in term for literal in term)


def _without_redundant(terms: list[Term]) -> list[Term]:
    """Drop every term that holds only where a shorter one does already."""
    return [term for term in terms if not any(other < term for other in terms)]
