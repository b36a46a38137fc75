"""The language: what parses, what does not, and where an error is said to be."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules import limits
from engine.rules.canonical import text_from_file
from engine.rules.columns import BY_NAME
from engine.rules.errors import RuleError
from engine.rules.language import parse, parse_file
from engine.rules.program import default_rules_path
from engine.rules.tree import (
    Action,
    ActionKind,
    And,
    Between,
    Compare,
    Member,
    Mode,
    Not,
    Operator,
    Or,
    Phase,
    Rule,
)
from tests.oracle.rule_sets import random_file
from tests.support.effort import examples


def _rule(text: str) -> Rule:
    return parse(text).rules[0]


def _when(condition: str) -> object:
    return _rule(f'rule R post review "r" when {condition}').when


def _compare(name: str, operator: Operator, value: float) -> Compare:
    return Compare(BY_NAME[name], operator, value)


@pytest.mark.parametrize(
    ("text", "phase", "mode", "action"),
    [
        ("pre decline(59)", Phase.PRE, Mode.ACTIVE, Action(ActionKind.DECLINE, response="59")),
        ("post decline(1A)", Phase.POST, Mode.ACTIVE, Action(ActionKind.DECLINE, response="1A")),
        ("post decline(N7)", Phase.POST, Mode.ACTIVE, Action(ActionKind.DECLINE, response="N7")),
        (
            "post shadow decline(65)",
            Phase.POST,
            Mode.SHADOW,
            Action(ActionKind.DECLINE, response="65"),
        ),
        ("pre active step_up", Phase.PRE, Mode.ACTIVE, Action(ActionKind.STEP_UP)),
        ("pre off review", Phase.PRE, Mode.OFF, Action(ActionKind.REVIEW)),
        ("pre allow(2d)", Phase.PRE, Mode.ACTIVE, Action(ActionKind.ALLOW, ttl_s=172_800)),
        ("pre score +0.05", Phase.PRE, Mode.ACTIVE, Action(ActionKind.SCORE, points_bp=500)),
        ("pre tag late_night", Phase.PRE, Mode.ACTIVE, Action(ActionKind.TAG, tag="late_night")),
    ],
)
def test_heads(text: str, phase: Phase, mode: Mode, action: Action) -> None:
    """Phase, mode and action are read; the mode is active when none is named."""
    rule = _rule(f'rule R {text} "r" when cnp')
    assert (phase, mode, action) == (rule.phase, rule.mode, rule.action)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cnp", _compare("cnp", Operator.NE, 0)),
        ("cnp == true", _compare("cnp", Operator.NE, 0)),
        ("cnp != true", _compare("cnp", Operator.EQ, 0)),
        ("cnp == false", _compare("cnp", Operator.EQ, 0)),
        ("z_amount < -1.5", _compare("z_amount", Operator.LT, -1.5)),
        ("amount <= 100.00", _compare("amount", Operator.LE, 100)),
        ("entry == fallback", _compare("entry", Operator.EQ, 4)),
        ("country != DE", _compare("country", Operator.NE, 276)),
        ("country == IN", _compare("country", Operator.EQ, 356)),
        ("currency == EUR", _compare("currency", Operator.EQ, 978)),
        ("mcc between 3000 and 3299", Between(BY_NAME["mcc"], 3000, 3299)),
        ("mcc in (5411, 7995)", Member(BY_NAME["mcc"], False, "", (5411, 7995))),
        ("mcc not in (7995)", Member(BY_NAME["mcc"], True, "", (7995,))),
        (
            "cnp or wallet and not night",
            Or(
                (
                    _compare("cnp", Operator.NE, 0),
                    And(
                        (
                            _compare("wallet", Operator.NE, 0),
                            Not(_compare("night", Operator.NE, 0)),
                        )
                    ),
                )
            ),
        ),
        (
            "not (cnp or wallet)",
            Not(Or((_compare("cnp", Operator.NE, 0), _compare("wallet", Operator.NE, 0)))),
        ),
        (
            "km between 1 and 2 and cnp",
            And((Between(BY_NAME["km"], 1, 2), _compare("cnp", Operator.NE, 0))),
        ),
    ],
)
def test_conditions(text: str, expected: object) -> None:
    """Comparisons, ranges, sets and their precedence become the tree that they mean."""
    assert expected == _when(text)


_HEAD = 'rule R pre review "r" when '
_ALLOW = 'rule A pre allow(1h) overrides(B) "a" when cnp '


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("rul R1", 1, 1, "expected 'rule', 'list', 'breaker' or 'zone', found 'rul'; did you"),
        ("RULE R1", 1, 1, "found 'RULE'; did you mean 'rule'?"),
        ("rule R pre shadwo review", 1, 12, "expected a mode (active, shadow, off) or an action"),
        ("rule R pre shadwo review", 1, 12, "found 'shadwo'; did you mean 'shadow'?"),
        ("rule R pre allow(1h) overides(B)", 1, 22, "expected 'overrides' or the quoted text"),
        ("rule R pre allow(1h) overides(B)", 1, 22, "did you mean 'overrides'?"),
        ("rule R4111111111111111 pre", 1, 6, "a rule id must not hold twelve or more digits"),
        ("list a number = 411111111111111", 1, 17, "a number of at most twelve digits before the"),
        (_HEAD + "km > 41111111111111 + km", 1, 33, "expected a number, found '(14 digits)'"),
        ("rule model pre", 1, 6, "no rule may be named 'model'"),
        ("rule default pre", 1, 6, "no rule may be named 'default'"),
        ("breaker defualt 5% of 1000", 1, 9, "no rule is named 'defualt'; did you mean 'default'"),
        ("breaker r 5% of 1000\n" + _HEAD + "cnp", 1, 9, "no rule is named 'r'; did you mean 'R'?"),
        ("rule", 1, 5, "expected a rule id, found the end of the file"),
        ("rule when", 1, 6, "expected a rule id, found 'when'"),
        ("rule R before", 1, 8, "expected the phase (pre, post), found 'before'"),
        ("rule R pre", 1, 11, "found the end of the file"),
        ('rule R pre "off" review', 1, 12, "expected an action (allow, decline, step_up, review"),
        ("\n rule R pre\n  declin(59)", 3, 3, "found 'declin'; did you mean 'decline'?"),
        ("rule R pre decline 59", 1, 20, "expected '(', found '59'"),
        ("rule R pre decline(5)", 1, 20, "expected a response code of two characters"),
        ('rule R pre decline("59")', 1, 20, "expected a response code of two characters"),
        ("rule R pre decline(00)", 1, 20, "expected a code that declines; '00' approves"),
        ("rule R pre decline(59", 1, 22, "expected ')', found the end of the file"),
        ("rule R pre allow(24)", 1, 18, "expected how long the allow counts, like 24h"),
        ("rule R pre allow(0h)", 1, 18, "expected a time of 1s to 366d"),
        ("rule R pre allow(9999d)", 1, 18, "expected a time of 1s to 366d"),
        ("rule R post score +0.1", 1, 13, "expected 'score' in a pre rule"),
        ("rule R pre score +5", 1, 19, "expected what is added to the score: 0.0001 to 0.9999"),
        ("rule R pre score +0.0", 1, 19, "expected what is added to the score: 0.0001 to 0.9999"),
        ("rule R pre review when", 1, 19, "expected the quoted text of the rule, found 'when'"),
        ('rule R pre review "r', 1, 19, "this text has no closing quote on its line"),
        ('rule R pre review "r" wen cnp', 1, 23, "expected 'when', found 'wen'; did you mean"),
        (_HEAD + "amout > 1", 1, 28, "expected a column, found 'amout'; did you mean 'amount'?"),
        (_HEAD + "card.smal_1h > 1", 1, 28, "did you mean 'card.small_1h'?"),
        (_HEAD + "score > 0.5", 1, 28, "expected a column known before the score"),
        (_HEAD, 1, 28, "expected a column, 'not' or '(', found the end of the file"),
        (_HEAD + "4 < km", 1, 28, "expected a column, 'not' or '(', found '4'"),
        (_HEAD + "km = 4", 1, 31, "expected '==' to compare"),
        (_HEAD + "km", 1, 30, "expected a comparison, 'in' or 'between' after 'km'"),
        (_HEAD + "km ! 4", 1, 31, "'!' stands only in '!='"),
        (_HEAD + "km > kmm", 1, 33, "expected a number, a column or '(', found 'kmm'; did you"),
        (_HEAD + "amount >= 5 EURO", 1, 40, "expected a currency, 'and', 'or' or the next rule"),
        (_HEAD + "amount >= 5 EURO", 1, 40, "found 'EURO'; did you mean 'EUR'?"),
        (_HEAD + "amount >= 5 adn cnp", 1, 40, "found 'adn'; did you mean 'and'?"),
        (_HEAD + "km => 4", 1, 31, "expected '==' to compare (or '>=', '<='), found '='"),
        (_HEAD + "mcc in (7000-7999)", 1, 40, "expected ',', '..' or ')', found '-7999'"),
        (_HEAD + "km > amount", 1, 33, "expected a number as on the left, found an amount"),
        (_HEAD + "amount + km > 4", 1, 37, "expected an amount as on the left, found a number"),
        (_HEAD + "amount * amount > 4", 1, 37, "expected a number to go with an amount"),
        (_HEAD + "km / amount > 4", 1, 33, "expected a number to go with a number, found an"),
        (_HEAD + "km + country > 4", 1, 33, "'country' is a country: no arithmetic with it"),
        (_HEAD + "km + 1 in (5)", 1, 35, "expected a comparison after the sum"),
        (_HEAD + "amount > 1.50 JPY", 1, 37, "JPY has 0 decimals: '1.50' has more"),
        (_HEAD + "time > 24:01", 1, 35, "expected a time of the day (00:00 to 24:00)"),
        (_HEAD + "mcc in (8000..7000)", 1, 42, "expected an upper end that is not below"),
        (_HEAD + 'terminal == "TERMINAL1"', 1, 40, "expected a terminal in quotes (DE41"),
        (_HEAD + "merchant == mxyz", 1, 40, "expected a merchant's key (m and the 16 hex digits"),
        (_HEAD + "merchant > m0000000000000001", 1, 37, "merchant has no order"),
        ("breaker default 5 of 100", 1, 19, "expected '%', found 'of'"),
        ("breaker default 5% of 100", 1, 23, "expected 256 to 1000000 payments"),
        ("breaker default 0% of 1000", 1, 17, "expected a share over 0% and under 100%"),
        ("breaker R1 5% of 1000", 1, 9, "no rule is named 'R1'"),
        ("breaker R 5% of 1000\n" + _HEAD + "cnp", 1, 9, "'R' is no decline or step_up"),
        ("zone 01:00", 1, 6, 'expected a zone, like "Europe/Berlin", +01:00'),
        ("zone +15:00", 1, 7, "expected an offset of at most 14 hours"),
        ("zone +01:00 zone +02:00", 1, 13, "the zone is stated twice"),
        ('zone "UTC" zone +02:00', 1, 12, "the zone is stated twice"),
        ('zone "Europe/Berlim"', 1, 6, "time zone, such as Europe/Berlin; did you mean Europe/B"),
        ('zone ""', 1, 6, "expected an IANA time zone"),
        (
            _HEAD + "km > 4h",
            1,
            33,
            "expected a number of at most twelve digits before the point, found '4h'",
        ),
        (_HEAD + "amount > 1.2345", 1, 37, "expected an amount in major units"),
        (_HEAD + "entry == fallbak", 1, 37, "found 'fallbak'; did you mean 'fallback'?"),
        (_HEAD + "entry == 4", 1, 37, "expected an entry mode (unknown, chip"),
        (_HEAD + "entry > chip", 1, 34, "entry has no order"),
        (_HEAD + "entry between chip and keyed", 1, 34, "entry has no order"),
        (_HEAD + "country == GER", 1, 39, "expected a country (ISO 3166-1"),
        (_HEAD + "country == 1000", 1, 39, "expected a country (ISO 3166-1"),
        (_HEAD + "mcc == 0", 1, 35, "expected a merchant category code (1 to 9999)"),
        (
            _HEAD + "card == 4111111111111111",
            1,
            36,
            "never a card number (PAN), found '(16 digits)'",
        ),
        (_HEAD + "cnp > 1", 1, 32, "expected '==', '!=' or nothing after 'cnp'"),
        (_HEAD + "cnp == 1", 1, 35, "expected true or false (true, false), found '1'"),
        (_HEAD + "(cnp", 1, 32, "expected ')', 'and' or 'or', found the end of the file"),
        (_HEAD + "cnp adn night", 1, 32, "expected 'and', 'or' or the next rule, found 'adn'"),
        (_HEAD + "km not 5", 1, 35, "expected 'in', found '5'"),
        (_HEAD + "mcc in 5411", 1, 35, "expected '@' and a list name, or '('"),
        (_HEAD + "mcc in ()", 1, 36, "expected a merchant category code"),
        (_HEAD + "mcc in (5411", 1, 40, "expected ',', '..' or ')', found the end of the file"),
        (_HEAD + "mcc in @risky", 1, 36, "no list is named 'risky'"),
        (_HEAD + "km between 5 and 4", 1, 45, "expected an upper end that is not below"),
        (_HEAD + "km between 5 to 6", 1, 41, "expected 'and' and the upper end, found 'to'"),
        (_HEAD + "cnp\n" + _HEAD + "cnp", 2, 6, "the rule 'R' is defined twice"),
        ("list a country = DE\nlist a country = FR", 2, 6, "the list 'a' is declared twice"),
        ("list a countri = DE", 1, 8, "expected the type of the list (number, amount, duration"),
        ("list a bool = true", 1, 8, "expected the type of the list"),
        ("list a country DE", 1, 16, "expected '=', found 'DE'"),
        ("list a country = DE,", 1, 21, "expected a country"),
        ("list a country = DE FR", 1, 21, "expected ',', the next list or rule, found 'FR'"),
        (
            "list a mcc = 5411\n" + _HEAD + "country in @a",
            2,
            40,
            "expected a list of country for 'country', 'a' is of mcc",
        ),
        (
            'rule A pre allow(1h) overrides(R5) "a" when cnp\nrule R05 pre review "r" when cnp',
            1,
            32,
            "no rule is named 'R5'; did you mean 'R05'?",
        ),
        (
            _ALLOW + 'list c card = 1 rule B pre decline(59) "b" when card in @c',
            1,
            32,
            "'B' declines by a list; no allow can override that",
        ),
        (
            'rule A pre allow(1h) overrides(A) "a" when cnp',
            1,
            32,
            "'A' is no decline, step_up or review: nothing to override",
        ),
        ("# ok\n\trule R pre review \x07", 2, 20, "no rule holds the character '\\x07'"),
        ('rule R pre review "4111 1111 1111 1111"', 1, 19, "it could be a card number"),
        ("rule R pre tag 4111111111111111", 1, 16, "expected a tag name, found '(16 digits)'"),
    ],
)
def test_errors(text: str, line: int, column: int, message: str) -> None:
    """An error says file, line, column, what was expected, and the nearest valid name."""
    with pytest.raises(RuleError) as caught:
        parse(text, file="x.rules")
    error = caught.value
    assert (line, column) == (error.line, error.column), str(error)
    assert message in error.message
    assert str(error).startswith(f"x.rules:{line}:{column}: ")
    assert "4111111111111111" not in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_HEAD + "(" * 5_000 + "cnp", "nested deeper than 32"),
        (_HEAD + "not " * 5_000 + "cnp", "nested deeper than 32"),
        (_HEAD + " and ".join(["cnp"] * 129), "more than 128 conditions"),
        (_HEAD + f"mcc in ({', '.join(['5411'] * 65)})", "more than 64 values"),
        (
            "\n".join(f'rule R{i} pre review "r" when cnp' for i in range(2049)),
            "more than 2048 rules",
        ),
        ("\n".join(f"list L{i} mcc =" for i in range(65)), "more than 64 lists"),
        (
            _HEAD + " or ".join(["mcc in (1..9000)"] * 28),
            "the sets of all rules hold more than 250000 values: write a range as 'between'",
        ),
        ("list a card = " + ", ".join(["1"] * 100_001), "more than 100000 values"),
        (f"rule {'R' * 65} pre", "a rule id of at most 64 characters"),
        (f'rule R pre review "{"x" * 121}"', "a text of at most 120 characters, found 121"),
        ("#" * (limits.FILE_BYTES_MAX + 1), "characters; at most"),
    ],
)
def test_limits(text: str, message: str) -> None:
    """Past each stated bound the file is refused with the bound in the message."""
    with pytest.raises(RuleError, match=message):
        parse(text)


def test_lists_and_comments() -> None:
    """Lists may be empty, may follow their use, and span lines; comments are skipped."""
    found = parse(
        _HEAD + "country in @a # here\nlist a country = DE, # more\n  250\nlist b card =\n"
    )
    assert [(v.name, v.values) for v in found.lists] == [("a", (276.0, 250.0)), ("b", ())]


@settings(max_examples=examples(60))
@given(seed=st.integers(0, 2**32 - 1), rule_count=st.integers(0, 8))
def test_canonical_text_parses_to_same_tree(seed: int, rule_count: int) -> None:
    """The canonical text of any tree parses to that tree again."""
    tree = random_file(random.Random(seed), rule_count)
    text = text_from_file(tree)
    again = parse(text)
    assert tree.rules == again.rules
    assert text == text_from_file(again)


@settings(max_examples=examples(150))
@given(data=st.data())
def test_any_typo_is_taken_or_refused(data: st.DataObject) -> None:
    """However a good file is damaged, it parses or raises RuleError with a place."""
    text = default_rules_path().read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    size = data.draw(st.integers(0, 12))
    piece = data.draw(st.text(max_size=8) | st.sampled_from(["(", "not ", "@", '"', "when", "1e9"]))
    damaged = text[:start] + piece + text[start + size :]
    error = _error_of(damaged)
    if error is not None:
        lines = damaged.split("\n")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1


def _error_of(text: str) -> RuleError | None:
    try:
        parse(text)
    except RuleError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("# a\r" + _HEAD + "cnp", 1, 4, "a comment must not hold the character '\\x0d'"),
        ("# a \u2028" + _HEAD + "cnp", 1, 5, "a comment must not hold the character '\\x2028'"),
        ("zone +01:00 # \u202e", 1, 15, "a comment must not hold the character '\\x202e'"),
        ("\n# \0", 2, 3, "a comment must not hold the character '\\x00'"),
        ("zone +01:00\rzone +02:00", 1, 12, "a carriage return without a line feed ends no line"),
        ("zone +01:00 \ufeff", 1, 13, "no rule holds the character '\\xfeff'"),
    ],
)
def test_nothing_hides(text: str, line: int, column: int, message: str) -> None:
    """What an editor may show as a line of its own, or in another order, is refused."""
    with pytest.raises(RuleError) as caught:
        parse(text)
    assert (line, column) == (caught.value.line, caught.value.column)
    assert message in caught.value.message


def test_line_ends_and_marks_of_other_systems() -> None:
    """CRLF, tabs and a byte order mark at the beginning change neither meaning nor places."""
    plain = f"# caf\u00e9 \u2603\n{_HEAD}\n\tcnp\n"
    assert parse("\ufeff" + plain.replace("\n", "\r\n")) == parse(plain)
    with pytest.raises(RuleError) as caught:
        parse("\ufeff" + "rul\r\n")
    assert (caught.value.line, caught.value.column) == (1, 1)


def test_unreadable_files(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are not UTF-8 are rule errors."""
    with pytest.raises(RuleError, match="cannot be read: No such file"):
        parse_file(tmp_path / "none.rules")
    with pytest.raises(RuleError, match="cannot be read"):
        parse_file(tmp_path)
    bad = tmp_path / "bad.rules"
    bad.write_bytes(b"# ok\n# \xff\n")
    with pytest.raises(RuleError, match=r"bad\.rules:2:3: not UTF-8"):
        parse_file(bad)
