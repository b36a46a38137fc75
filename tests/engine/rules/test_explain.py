"""An explanation says of a condition what the interpreter and the kernel say."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.columns import BY_NAME, Column, constant_at
from engine.rules.explain import NotKeptError, deciding, explained
from engine.rules.language import parse
from tests.oracle.rule_sets import random_file, random_rows, rows_of
from tests.oracle.rules import holds
from tests.support.effort import examples


@settings(max_examples=examples(100))
@given(st.integers(0, 2**32 - 1))
def test_explanations_hold_where_conditions_do(seed: int) -> None:
    """On any rules and rows, the first line of an explanation is the condition's truth."""
    rng = random.Random(seed)
    rule_file = random_file(rng, 4)
    lists = {value_list.name: value_list.values for value_list in rule_file.lists}

    def is_listed(name: str, column: Column, value: float, _ttl_s: int) -> bool:
        return value in [constant_at(column, item) for item in lists[name]]

    for row in rows_of(random_rows(rng, 15)):
        for rule in rule_file.rules:
            lines = explained(rule, lambda column, row=row: row[column.name], is_listed)
            assert lines[0].holds == holds(rule.when, row, lists)


def test_lines_show_values() -> None:
    """Parts stand below the whole, each with what it looked at."""
    rule = parse(
        'rule R pre review "r" when amount > 2 * mean_1h and not (cnp or country == DE)'
    ).rules[0]
    row = dict.fromkeys(BY_NAME, 0.0) | {"amount": 9.5, "mean_1h": 4.0, "country": float("nan")}
    lines = explained(rule, lambda column: row[column.name], lambda *_: False)
    assert [(n.depth, n.text, n.holds, n.values) for n in lines] == [
        (0, "all of", True, {}),
        (1, "amount > 2 * mean_1h", True, {"amount": "9.50", "mean_1h": "4.00"}),
        (1, "not", True, {}),
        (2, "any of", False, {}),
        (3, "cnp", False, {"cnp": "false"}),
        (3, "country == DE", False, {"country": "missing"}),
    ]
    assert [(n.text, n.column, n.operator, n.threshold, n.holds) for n in deciding(lines)] == [
        ("amount > 2 * mean_1h", "amount", ">", "2 * mean_1h", True),
        ("cnp", "cnp", "==", "true", False),
        ("country == DE", "country", "==", "DE", False),
    ]


def test_comparisons_are_told_in_parts() -> None:
    """Column or sum, operator and what stands on the right, of each form that there is."""
    text = (
        'list bad terminal = "T 1" rule R pre review "r" when amount between 1.00 and 2.50 EUR '
        "or terminal not in @bad or mcc in (5411, 7000..7999) or cnp == false "
        "or amount - mean_1h >= 4.00 or secs_since_last < 10m"
    )
    lines = explained(parse(text).rules[0], lambda _: 0.0, lambda *_: False)
    assert [(n.column, n.operator, n.threshold) for n in lines] == [
        ("", "", ""),
        ("amount", "between", "1.00 and 2.50 EUR"),
        ("terminal", "not in", "@bad"),
        ("mcc", "in", "(5411, 7000..7999)"),
        ("cnp", "==", "false"),
        ("amount - mean_1h", ">=", "4"),
        ("secs_since_last", "<", "10m"),
    ]


def test_what_was_not_kept_is_not_told() -> None:
    """A comparison with a value that nobody kept neither held nor failed: it is left out."""
    rule = parse('rule R pre review "r" when cnp or not (present or amount >= 5.00)').rules[0]

    def value_of(column: Column) -> float:
        if column.name == "present":
            raise NotKeptError(column.name)
        return 1.0

    lines = explained(rule, value_of, lambda *_: False)
    assert [n.text for n in lines if not n.is_known] == ["present"]
    assert [n.text for n in deciding(lines)] == ["cnp", "amount >= 5.00"]
