"""What a set changes, as an operator reads it before it is put in force."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.canonical import text_from_file
from engine.rules.differences import differences
from engine.rules.language import parse
from tests.oracle.rule_sets import random_file
from tests.support.effort import examples

_OLD = """
breaker default 5% of 1000
list bad country = KP, IR
list far country = DE
rule A pre decline(59) "a" when amount > 5.00
rule B pre review "b" when country in @bad
rule C pre shadow step_up "c" when country in @far and secs_since_last < 1h
"""
_NEW = """
zone +01:00  # remarks are no difference
breaker default 5.0% of 2000
list bad country = KP, FR
list far mcc = 5411
rule B pre review "b"
    when country in @bad
rule A pre decline(59) "a" when amount > 6.00
rule D post step_up "d" when mcc in @far
"""


def test_each_statement_is_told() -> None:
    """What came, went and changed, entries of lists, and the order of what stays."""
    found = [line for one in differences(parse(_OLD), parse(_NEW)) for line in one.lines()]
    assert found == [
        "+ zone +01:00",
        "- breaker default 5% of 1000",
        "+ breaker default 5% of 2000",
        "- list bad country = IR",
        "+ list bad country = FR",
        "- list far country = DE",
        "+ list far mcc = 5411",
        '- rule A pre decline(59) "a" when amount > 5.00',
        '+ rule A pre decline(59) "a" when amount > 6.00',
        '- rule C pre shadow step_up "c" when country in @far and secs_since_last < 1h',
        '+ rule D post step_up "d" when mcc in @far',
        "~ the order of rules, from B on",
    ]
    assert differences(parse(_OLD), parse("# x\n" + _OLD.replace("KP, IR", "IR, KP"))) == []


def test_long_lists_are_cut() -> None:
    """A hundred thousand values are no screen full."""
    many = ", ".join(map(str, range(1, 5001)))
    (one,) = differences(parse("list c card ="), parse(f"list c card = {many}"))
    assert one.lines() == ["+ list c card = 1, 2, 3, 4, 5, 6, 7, 8 and 4,992 more"]


@settings(max_examples=examples(40))
@given(seed=st.integers(0, 2**32 - 1))
def test_no_difference_means_the_same_text(seed: int) -> None:
    """Sets without differences have one canonical text, and only those."""
    rng = random.Random(seed)
    one = random_file(rng, rng.randint(0, 4))
    other = rng.choice((one, random_file(rng, rng.randint(0, 4))))
    is_same = text_from_file(one) == text_from_file(other)
    assert (differences(one, other) == []) == is_same
