"""Hold lives and tolerances by merchant category: the shipped file, another one, and bad ones."""

from pathlib import Path

import pytest

from engine.terms import TermsError, load_terms, uniform_terms
from ledger.deadlines import LIFE_H_MAX

_LIFE = "[hold_life_h]\ncard_present = 24\ncard_not_present = 48\n"


def test_the_shipped_terms() -> None:
    """5 and 10 days, a month for travel; 20, 15 and 0 per cent over, for rental at least 75.00."""
    terms = load_terms()

    assert terms.life_h[:, 5411].tolist() == [120, 240]
    assert terms.life_h[:, 7011].tolist() == terms.life_h[:, 3700].tolist() == [744, 744]
    assert [int(terms.over_per_10000[mcc]) for mcc in (5812, 7011, 3400, 5411)] == [
        2000, 1500, 1500, 0,
    ]  # fmt: skip
    assert [int(terms.over_least_minor[mcc]) for mcc in (7512, 7011)] == [7500, 0]
    assert int(terms.life_h.max()) <= LIFE_H_MAX


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    """Ranges, single numbers, and what is not said stays."""
    path = tmp_path / "terms.toml"
    category = '[[category]]\nname = "x"\nmcc = ["1000-1002", "1500"]\ncard_present = 2\n'
    path.write_text(_LIFE + category)

    terms = load_terms(path)

    assert terms.life_h[:, 1002].tolist() == [2, 48]
    assert terms.life_h[:, 1003].tolist() == [24, 48]
    assert not terms.over_per_10000.any()


def test_one_life_for_all() -> None:
    """A configured life stands above the categories."""
    assert set(uniform_terms(7).life_h.ravel().tolist()) == {7}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "hold_life_h"),
        ("[hold_life_h", "terms.toml"),
        (_LIFE.replace("24", "0"), "hold_life_h: card_present: expected 1 to"),
        (_LIFE.replace("48", "9999"), "card_not_present"),
        (_LIFE + '[[category]]\nname = "x"\nmcc = ["12"]\n', r"category\[0\]: mcc"),
        (_LIFE + '[[category]]\nname = "x"\nmcc = ["1500-1400"]\n', "ends before it begins"),
        (_LIFE + '[[category]]\nname = "x"\nmcc = []\nlife = 3\n', "life"),
        (_LIFE + "[over_capture]\nper_10000 = 20000\n", "per_10000: expected 0 to 10000"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    """File, entry and what would be right."""
    path = tmp_path / "terms.toml"
    path.write_text(text)

    with pytest.raises(TermsError, match=said) as caught:
        load_terms(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Said with its name."""
    with pytest.raises(TermsError, match="cannot be read"):
        load_terms(tmp_path / "none.toml")
