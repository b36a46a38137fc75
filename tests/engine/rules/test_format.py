"""The formatter: one form, the same meaning, every comment kept."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.canonical import text_from_file
from engine.rules.commands import fmt
from engine.rules.errors import RuleError
from engine.rules.format import formatted
from engine.rules.language import parse
from engine.rules.program import default_rules_path
from tests.oracle.rule_sets import random_file
from tests.oracle.rule_texts import random_text
from tests.support.effort import examples

_MESSY = """\
# first

list   c number = 276,   250 # two of them


rule A pre active decline( 59 ) "a"
   when km in @c   # inside
   and ( amount >= 100 EUR or secs_since_last < 600 ) # it
# own line
zone +01:00
rule B post shadow review "b # not a comment" when score>=0.5 rule C pre allow(3600s) "c" when cnp
breaker default 2 x 5.0% of 1000
# the end
"""
_TIDY = """\
# first

list c number = 276, 250  # two of them

# inside
rule A pre decline(59) "a" when km in @c and (amount >= 100.00 EUR or secs_since_last < 10m)  # it
# own line
zone +01:00
rule B post shadow review "b # not a comment" when score >= 0.5
rule C pre allow(1h) "c" when cnp
breaker default 2 x 5% of 1000
# the end
"""


def test_one_form() -> None:
    """Spacing, names and line breaks are set; comments and single blank lines stay."""
    found = formatted(_MESSY)
    assert found == _TIDY
    assert formatted(found) == found


def test_a_named_zone_keeps_its_name() -> None:
    """In quotes, where it stood."""
    text = 'zone "America/Argentina/Buenos_Aires"  # at home\n'
    assert formatted(text.replace("zone ", "zone   ")) == text


def test_shipped_file_is_in_its_form() -> None:
    """The file that ships is what the formatter makes of it."""
    text = default_rules_path().read_text(encoding="utf-8")
    assert formatted(text) == text


@settings(max_examples=examples(60))
@given(seed=st.integers(0, 2**32 - 1), rule_count=st.integers(0, 8))
def test_formatting_keeps_meaning_and_settles(seed: int, rule_count: int) -> None:
    """Any set means the same after formatting, and a second time changes nothing."""
    rng = random.Random(seed)
    tree = random_file(rng, rule_count)
    words = re.findall(r'"[^"]*"|[^\s"]+', text_from_file(tree))
    gaps = [" ", "  ", "\n", "\n\n\n", " # remark\n", "\n# own line\n"]
    text = "".join(word + rng.choice(gaps) for word in words)
    once = formatted(text)
    assert text_from_file(parse(once)) == text_from_file(tree)
    assert formatted(once) == once
    assert once.count("#") == text.count("#")


@settings(max_examples=examples(200), deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_taken_means_the_same_in_every_form(seed: int) -> None:
    """A text that parses is the same tree in its one form and in the form that a journal keeps.

    A journal's own text must parse: it is what a restart reads the rules from.
    """
    text = random_text(random.Random(seed))
    try:
        tree = parse(text)
    except RuleError:
        return
    once, kept = formatted(text), text_from_file(tree)
    assert parse(once) == tree
    assert formatted(once) == once
    assert once.count("#") == text.count("#")
    assert parse(kept).rules == tree.rules
    assert text_from_file(parse(kept)) == kept


@pytest.mark.parametrize(
    ("condition", "form"),
    [
        ("count_1h > secs_since_last/1h", "count_1h > secs_since_last / 1h"),
        ("secs_since_last < 99999999d", "secs_since_last < 99999999d"),
        ("secs_since_last < 99999999d + 99999999d", "secs_since_last < 99999999d + 99999999d"),
        ("count_1h > 60m / secs_since_last", "count_1h > 1h / secs_since_last"),
        ("secs_since_last -10m > 90s", "secs_since_last + -10m > 90s"),
        ("amount > (1.2345 * mean_15d)", "amount > 1.2345 * mean_15d"),
        ("mcc.risk >= (0.1)", "mcc.risk >= 0.1"),
        ("amount < ((5)) EUR", "amount < 5.00 EUR"),
        ("mcc not in (7995, 5411, 7995)", "mcc not in (5411, 7995)"),
    ],
)
def test_units_and_parentheses_keep_their_meaning(condition: str, form: str) -> None:
    """Durations in sums keep their unit, and a constant in parentheses is a constant."""
    head = 'rule R pre review "r" when '
    tree = parse(head + condition)
    assert formatted(head + condition) == head + form + "\n"
    assert parse(head + form).rules == parse(text_from_file(tree)).rules == tree.rules


def test_a_terminal_with_spaces_is_not_cut() -> None:
    """A long list breaks between its values, never inside one."""
    text = "list t terminal = " + ", ".join(f'"A  B {n:03d}"' for n in range(60))
    assert parse(formatted(text)) == parse(text)


def test_command_writes_or_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --check nothing is written and the exit code is 1; without it the file is."""
    path = tmp_path / "x.rules"
    path.write_text(_MESSY, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        fmt(path, check=True)
    assert (caught.value.code, path.read_text(encoding="utf-8")) == (1, _MESSY)
    fmt(path)
    fmt(path, check=True)
    assert path.read_text(encoding="utf-8") == formatted(_MESSY)
    assert "unchanged" in capsys.readouterr().out.splitlines()[-1]
