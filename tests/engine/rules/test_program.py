"""The compiled form: versions, sharing, bounds; and the rules that ship."""

import numpy as np
import pytest

from engine.rules.canonical import text_from_file
from engine.rules.columns import BY_NAME, COLUMN_COUNT
from engine.rules.deployed import deploy
from engine.rules.errors import RuleError
from engine.rules.kernels import evaluate
from engine.rules.language import parse
from engine.rules.list_table import no_lists
from engine.rules.program import Program, default_rules_path, load_rules, program_from_file
from engine.rules.tree import Mode, Phase
from tests.oracle.rule_sets import scratch_of

_REVIEW = 'rule R pre review "r" when '


def _program(text: str) -> Program:
    return program_from_file(parse(text))


def test_equal_meaning_has_equal_version() -> None:
    """Comments, spacing, names of countries and order in a list do not change the version."""
    a = _program("list c country = DE, FR\n" + _REVIEW + "country in @c and amount >= 5.00")
    b = _program("#\nlist c country = 250, 276\n" + _REVIEW + "country in @c\n and amount >= 5")
    assert a.sha256 == b.sha256
    assert int(a.sha256[:8], 16) == a.version


@pytest.mark.parametrize(
    "text",
    [
        _REVIEW + "km > 2",
        _REVIEW + "km >= 1",
        _REVIEW + "kmh > 1",
        _REVIEW.replace("pre", "post") + "km > 1",
        _REVIEW.replace("pre", "pre shadow") + "km > 1",
        _REVIEW.replace("review", "step_up") + "km > 1",
        _REVIEW.replace("rule R", "rule S") + "km > 1",
        _REVIEW + "km > 1 list a card =",
    ],
)
def test_other_meaning_has_other_version(text: str) -> None:
    """Whatever can change a decision or its explanation changes the version."""
    assert _program(_REVIEW + "km > 1").sha256 != _program(text).sha256


def test_a_zone_is_part_of_the_version() -> None:
    """Its name stands in the text, which gives the same file again; none leaves no line."""
    text = 'rule A pre tag a "a" when local.hour < 6'
    files = [parse(zone + text) for zone in ('zone "Europe/Berlin"\n', "zone +01:00\n", "")]
    texts = [text_from_file(file) for file in files]
    assert texts[0].startswith('zone "Europe/Berlin"\nrule')
    assert len({program_from_file(file).sha256 for file in files}) == 3
    assert [parse(text) for text in texts] == files


def test_predicates_are_shared() -> None:
    """An equal comparison in two rules, or under a not, is stored once."""
    program = _program(
        'rule A pre review "a" when km > 1 and cnp rule B pre review "b" when not km > 1 or cnp'
    )
    assert len(program.predicates) == 2
    assert len(program.terms) == 3
    assert [BY_NAME["cnp"].index, BY_NAME["km"].index] == deploy(program).needed.tolist()


def test_off_rules_cost_nothing() -> None:
    """A rule that is off is compiled, to be switched on at once, and asks for nothing till then."""
    program = _program('rule A pre off review "a" when km > 1')
    live = deploy(program)
    sizes = (program.rule_count, len(program.terms), len(live.terms), len(live.needed))
    assert sizes == (1, 1, 0, 0)
    on = deploy(program, np.array([Mode.ACTIVE], np.uint8))
    assert (len(on.terms), len(on.needed)) == (1, 1)


def test_explosion_names_rule() -> None:
    """A condition that multiplies out too far is refused at its rule, at once."""
    pairs = " and ".join(f"(km > {i} or kmh > {i})" for i in range(40))
    with pytest.raises(RuleError, match="2:6: rule BIG multiplies out to more than 64") as caught:
        _program(f'# first\nrule BIG pre review "b" when {pairs}')
    assert (caught.value.line, caught.value.column) == (2, 6)


def test_too_many_predicates() -> None:
    """More different comparisons than the bound are refused at the rule that exceeds it."""
    rules = "\n".join(
        f'rule R{i} pre review "r" when ' + " and ".join(f"km != {i}.{j:03}" for j in range(1, 101))
        for i in range(82)
    )
    with pytest.raises(RuleError, match="rule R81 takes the set past 8192 different comparisons"):
        _program(rules)


def test_too_many_terms() -> None:
    """More alternatives than the bound are refused at the rule that exceeds it."""
    rules = "\n".join(
        f'rule R{i} pre review "r" when ' + " or ".join(f"km == {j} and kmh > 0" for j in range(64))
        for i in range(129)
    )
    with pytest.raises(RuleError, match="rule R128 takes the set past 8192 alternatives"):
        _program(rules)


_FIRES = {
    "R01": {"card.small_1h": 4, "cnp": 1, "amount": 1.99},
    "R02": {"bin.attempts_10m": 200, "bin.decline_share": float(np.float32(0.8))},
    "R03": {"country": 364},
    "R04": {"entry": 4, "amount": 100},
    "R05": {"present": 1, "km": 500, "kmh": 900},
    "R06": {"card": 7},
    "R07": {"score": 0.92, "new_merchant": 1, "cnp": 1},
    "R08": {"amount": 300, "z_amount": 4, "count_12h": 3},
    "R09": {"merchant.risk_15d": float(np.float32(0.05)), "merchant.n_15d": 50, "score": 0.5},
    "R10": {"distinct_merchants": 12},
}
_SPARES = {
    "R01": {"amount": 2.00},
    "R02": {"bin.attempts_10m": 199},
    "R03": {"flag.travel_notice": 1},
    "R04": {"entry": 3},
    "R05": {"wallet": 1},
    "R06": {"card": 8},
    "R07": {"score": 0.9199},
    "R08": {"amount": 299.99},
    "R09": {"score": float("nan")},
    "R10": {"distinct_merchants": 11, "attempts_24h": 24},
}


def _hits(program: Program, row: dict[str, float]) -> set[str]:
    values = np.zeros((1, COLUMN_COUNT))
    values[0, BY_NAME["amount"].index] = 10.0
    for name, value in row.items():
        values[0, BY_NAME[name].index] = value
    hits = np.zeros((1, 2), np.uint64)
    live = deploy(program)
    tables = (program.predicates, program.list_keys, live.terms)
    forms = (program.literals, program.ranges)
    for phase in Phase:
        rows = np.zeros(1, np.int32)
        evaluate(
            values, rows, *tables, *live.bounds(phase), *forms, no_lists(), scratch_of(values), hits
        )
    return {name for i, name in enumerate(program.names) if int(hits[0, 0]) >> i & 1}


def _shipped() -> Program:
    text = default_rules_path().read_text(encoding="utf-8")
    return _program(text.replace("confirmed_genuine card =", "confirmed_genuine card = 7"))


@pytest.mark.parametrize("name", list(_FIRES))
def test_shipped_rule_fires(name: str) -> None:
    """Each shipped rule fires on a row at its thresholds, alone."""
    assert {name} == _hits(_shipped(), _FIRES[name])


@pytest.mark.parametrize("name", list(_FIRES))
def test_shipped_rule_spares(name: str) -> None:
    """Each shipped rule spares a row just short of its thresholds."""
    assert set() == _hits(_shipped(), _FIRES[name] | _SPARES[name])


def test_shipped_set() -> None:
    """The shipped file has the ten rules, the last in shadow, and loads from its path."""
    program = load_rules(default_rules_path())
    assert tuple(_FIRES) == program.names
    assert program.rules["mode"].tolist() == [Mode.ACTIVE] * 9 + [Mode.SHADOW]
    assert program.version != 0
