"""Conditions as alternatives: disjunctive normal form over predicates that rules share.

A predicate is ``(column, operator, constant or values or another column)``. A literal is a
predicate's index p, or ~p where the predicate must not hold. A term is a set of literals that must
all hold, and a rule holds if one of its terms does. Nots are pushed down to the literals, never
into the operators: ``not (x < 5)`` is true for a missing x and ``x >= 5`` is not. Terms that can
hold for no row are dropped, and so are literals that another one of the same term implies.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from engine.rules.columns import (
    BY_NAME,
    COLUMN_COUNT,
    DERIVED_MAX,
    KEYED,
    Column,
    constant_at,
)
from engine.rules.errors import RuleError
from engine.rules.limits import PREDICATES_MAX, TERMS_MAX, TERMS_PER_RULE_MAX
from engine.rules.possible import can_hold, without_implied
from engine.rules.predicates import Predicate
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
    RuleFile,
    Sum,
)

Term: TypeAlias = frozenset[int]
_CURRENCY = BY_NAME["currency"]
_SWAPPED = {
    Operator.LT: Operator.GT,
    Operator.LE: Operator.GE,
    Operator.GT: Operator.LT,
    Operator.GE: Operator.LE,
    Operator.EQ: Operator.EQ,
    Operator.NE: Operator.NE,
}


@dataclass(slots=True)
class NormalForm:
    """Predicates and sums in order of first use, and (rule index, term) in order of rules."""

    predicates: list[Predicate] = field(default_factory=list)
    sums: list[Binary] = field(default_factory=list)  # sum k is column COLUMN_COUNT + k
    terms: list[tuple[int, Term]] = field(default_factory=list)


def normal_form(rule_file: RuleFile) -> NormalForm:
    """Multiply out every rule; raise RuleError past the bounds.

    Rules that are off are checked and compiled too: they may be switched on while serving.
    """
    indexes: dict[Predicate, int] = {}
    sums: dict[Binary, int] = {}
    form = NormalForm()
    for rule_index, rule in enumerate(rule_file.rules):
        maker = _Multiplier(rule, rule_file.file, indexes, sums)
        found = maker.terms(rule.when, is_wanted=True)
        predicates = list(indexes)
        short = [without_implied(term, predicates) for term in found if can_hold(term, predicates)]
        kept = _without_redundant(list(dict.fromkeys(short)))
        form.terms += [(rule_index, term) for term in kept]
        if len(indexes) > PREDICATES_MAX:
            raise _error(rule, rule_file.file, f"{PREDICATES_MAX} different comparisons in all")
        if len(form.terms) > TERMS_MAX:
            raise _error(rule, rule_file.file, f"{TERMS_MAX} alternatives in all")
    form.predicates, form.sums = list(indexes), list(sums)
    return _without_unused(form)


def _error(rule: Rule, file: str, bound: str) -> RuleError:
    message = f"rule {rule.name} takes the set past {bound}"
    return RuleError(message, file, rule.place.line, rule.place.column)


class _Multiplier:
    def __init__(
        self, rule: Rule, file: str, indexes: dict[Predicate, int], sums: dict[Binary, int]
    ) -> None:
        self._rule = rule
        self._file = file
        self._indexes = indexes
        self._sums = sums

    def terms(self, node: Expression, *, is_wanted: bool) -> list[Term]:
        if isinstance(node, Not):
            return self.terms(node.item, is_wanted=not is_wanted)
        if isinstance(node, And | Or):
            parts = [self.terms(item, is_wanted=is_wanted) for item in node.items]
            return self._joined(parts, is_product=isinstance(node, And) == is_wanted)
        if isinstance(node, Compare | Between) and node.currency:
            return self.terms(_with_currency(node), is_wanted=is_wanted)
        if isinstance(node, Between):
            return self.terms(_ends(node), is_wanted=is_wanted)
        predicate = self._sums_compared(node) if isinstance(node, CompareSums) else None
        if predicate is None:
            assert isinstance(node, Compare | Member)
            predicate = _predicate(node, self._rule.action.ttl_s)
        index = self._indexes.setdefault(predicate, len(self._indexes))
        return [frozenset((index if is_wanted else ~index,))]

    def _sums_compared(self, node: CompareSums) -> Predicate:
        left, right, operator = _folded(node.left), _folded(node.right), node.operator
        if isinstance(left, Constant):
            left, right, operator = right, left, _SWAPPED[operator]
        assert not isinstance(left, Constant), "a comparison begins with a column"
        column = self._column(left)
        if isinstance(right, Constant):
            return Predicate(column, operator, right.value)
        return Predicate(column, operator, other=self._column(right))

    def _column(self, side: Sum) -> int:
        if isinstance(side, Reading):
            return side.column.index
        assert isinstance(side, Binary)
        index = self._sums.setdefault(side, len(self._sums))
        if index >= DERIVED_MAX:
            raise _error(self._rule, self._file, f"{DERIVED_MAX} different sums in all")
        return COLUMN_COUNT + index

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


def _with_currency(node: Compare | Between) -> And:
    is_currency = Compare(_CURRENCY, Operator.EQ, float(node.currency))
    if isinstance(node, Compare):
        return And((is_currency, Compare(node.column, node.operator, node.value)))
    return And((is_currency, Between(node.column, node.low, node.high)))


def _ends(node: Between) -> And | Or:
    """Return the two ends as comparisons; times of the day may go past midnight."""
    ends = (
        Compare(node.column, Operator.GE, node.low),
        Compare(node.column, Operator.LE, node.high),
    )
    return Or(ends) if node.high < node.low else And(ends)


def _predicate(node: Compare | Member, ttl_s: int) -> Predicate:
    column: Column = node.column
    if isinstance(node, Compare):
        if column.type in KEYED:
            operator = Operator.IN if node.operator is Operator.EQ else Operator.NOT_IN
            return Predicate(column.index, operator, values=(node.value,))
        return Predicate(column.index, node.operator, constant_at(column, node.value))
    operator = Operator.NOT_IN if node.is_negated else Operator.IN
    values = tuple(sorted({constant_at(column, value) for value in node.values}))
    ttl_s = ttl_s if node.list_name else 0
    return Predicate(column.index, operator, list_name=node.list_name, values=values, ttl_s=ttl_s)


def _folded(side: Sum) -> Sum:
    """Return a side of constants only as one constant, by the rules of ``sum_kernels``."""
    if not isinstance(side, Binary):
        return side
    left, right = _folded(side.left), _folded(side.right)
    if not (isinstance(left, Constant) and isinstance(right, Constant)):
        return Binary(side.symbol, left, right)
    return Constant(constant_of(side.symbol, left.value, right.value))


def constant_of(symbol: str, left: float, right: float) -> float:
    """Return ``left symbol right`` in float64; NaN where it is not finite."""
    if symbol == "+":
        result = left + right
    elif symbol == "-":
        result = left - right
    elif symbol == "*":
        result = left * right
    else:
        result = left / right if right else float("nan")
    return result if abs(result) <= 1.7976931348623157e308 else float("nan")


def _is_contradiction(term: Term) -> bool:
    return any(~literal in term for literal in term)


def _without_redundant(terms: list[Term]) -> list[Term]:
    """Drop every term that holds only where a shorter one does already."""
    return [term for term in terms if not any(other < term for other in terms)]


def _without_unused(form: NormalForm) -> NormalForm:
    """Drop predicates and sums that no term reads any more, and number the rest anew."""
    used = sorted({_index(literal) for _, term in form.terms for literal in term})
    place = {old: new for new, old in enumerate(used)}
    predicates = [form.predicates[old] for old in used]
    columns = {c - COLUMN_COUNT for p in predicates for c in (p.column, p.other)}
    kept = [k for k in range(len(form.sums)) if k in columns]
    moved = {COLUMN_COUNT + old: COLUMN_COUNT + new for new, old in enumerate(kept)}
    renamed = [p.with_columns(moved.get(p.column, p.column), moved.get(p.other, p.other))
               for p in predicates]  # fmt: skip
    terms = [
        (rule, frozenset(place[n] if n >= 0 else ~place[~n] for n in term))
        for rule, term in form.terms
    ]
    return NormalForm(renamed, [form.sums[k] for k in kept], terms)


def _index(literal: int) -> int:
    return literal if literal >= 0 else ~literal
