"""What another rule set would change: statement by statement, as people read them.

Two texts that mean the same have no differences, whatever their comments and spacing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.rules.canonical import NAMED, breaker_text, zone_text
from engine.rules.tree import Rule, RuleFile, ValueList

_VALUES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Difference:
    """One statement; ``before`` and ``after`` are "" where it is new or gone."""

    what: str  # such as "rule R07"
    before: str
    after: str

    def lines(self) -> list[str]:
        """Return it as lines that begin with - or +, or with ~ where neither tells it."""
        if self.before == self.after:
            return [f"~ {self.what}"]
        return [*(f"- {t}" for t in (self.before,) if t), *(f"+ {t}" for t in (self.after,) if t)]


def differences(old: RuleFile, new: RuleFile) -> list[Difference]:
    """Return what ``new`` changes of ``old``: zone, breakers, lists, rules, and their order."""
    found = _changed("zone", {"": _zone(old)}, {"": _zone(new)})
    found += _changed("breaker", _breakers(old), _breakers(new))
    found += _lists(old, new)
    found += _changed("rule", _rules(old), _rules(new))
    common = {rule.name for rule in old.rules} & {rule.name for rule in new.rules}
    orders = [[r.name for r in file.rules if r.name in common] for file in (old, new)]
    if orders[0] != orders[1]:  # of those that hold, the first in the file decides
        moved = next(b for a, b in zip(*orders, strict=True) if a != b)
        found.append(Difference(f"the order of rules, from {moved} on", "", ""))
    return found


def _changed(word: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[Difference]:
    names = [*old, *(name for name in new if name not in old)]
    pairs = ((name, old.get(name, ""), new.get(name, "")) for name in names)
    return [Difference(f"{word} {n}".rstrip(), a, b) for n, a, b in pairs if a != b]


def _zone(file: RuleFile) -> str:
    return f"zone {zone_text(file)}" if file.zone or file.zone_s else ""


def _breakers(file: RuleFile) -> dict[str, str]:
    return {breaker.target: breaker_text(breaker) for breaker in file.breakers}


def _rules(file: RuleFile) -> dict[str, str]:
    return {rule.name: _rule_text(rule) for rule in file.rules}


def _rule_text(rule: Rule) -> str:
    return f"{NAMED.head(rule)} when {NAMED.condition(rule.when)}"


def _lists(old: RuleFile, new: RuleFile) -> list[Difference]:
    """Lists by what came and went: one may hold a hundred thousand values."""
    before, after = ({v.name: v for v in file.lists} for file in (old, new))
    found = []
    for name in [*before, *(name for name in after if name not in before)]:
        a, b = before.get(name), after.get(name)
        if a is not None and b is not None and a.type is b.type:
            gone, come = _only(a, b), _only(b, a)
        else:
            gone, come = _whole(a), _whole(b)
        if gone or come:
            found.append(Difference(f"list {name}", gone, come))
    return found


def _only(one: ValueList, other: ValueList) -> str:
    values = set(one.values) - set(other.values)
    return _values(one, sorted(values)) if values else ""


def _whole(value_list: ValueList | None) -> str:
    return "" if value_list is None else _values(value_list, value_list.values)


def _values(value_list: ValueList, values: Iterable[float]) -> str:
    values = list(values)
    text = NAMED.joined(values[:_VALUES_SHOWN], value_list.type)
    more = len(values) - _VALUES_SHOWN
    rest = f" and {more:,} more" if more > 0 else ""
    return f"list {value_list.name} {value_list.type.value} = {text}".rstrip() + rest
