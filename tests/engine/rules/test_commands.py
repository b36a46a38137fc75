"""``de39 rules check`` and the reference page."""

import json
from pathlib import Path

import pytest

from engine.rules.commands import check, diff
from engine.rules.program import default_rules_path
from engine.rules.reference import page


def _file(folder: Path, text: str) -> Path:
    path = folder / "x.rules"
    path.write_text(text, encoding="utf-8")
    return path


def test_good_file(capsys: pytest.CaptureFixture[str]) -> None:
    """A good file prints counts and version; the empty list of the shipped set is a warning."""
    check(default_rules_path())
    lines = capsys.readouterr().out.splitlines()
    assert "warning: list confirmed_genuine is empty" in lines[0]
    assert ": ok, 10 rules, 2 lists, 24 comparisons, 11 alternatives, version " in lines[1]


def test_good_file_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json one object has counts, version, hash and warnings."""
    check(default_rules_path(), json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["rules"], len(found["warnings"])) == (True, 10, 1)
    assert found["sha256"].startswith(found["version"])


def test_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and lines where the meaning differs; 0 and nothing where it does not."""
    text = 'rule R pre review "r" when km > 5'
    one, other = tmp_path / "one.rules", tmp_path / "other.rules"
    one.write_text(text, encoding="utf-8")
    other.write_text(f"# the same\n{text}\n", encoding="utf-8")
    diff(one, other)
    assert capsys.readouterr().out == ""
    other.write_text(text.replace("5", "6"), encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        diff(one, other, json=True)
    assert caught.value.code == 1
    changes = [f"- {text}", f"+ {text.replace('5', '6')}"]
    assert json.loads(capsys.readouterr().out)["changes"] == changes
    with pytest.raises(SystemExit) as caught:
        diff(one, tmp_path / "none.rules")
    assert caught.value.code == 78


def test_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad file exits with 78 and one line on stderr that names file, line and column."""
    path = _file(tmp_path, "\nrule R pre declin(59)")
    with pytest.raises(SystemExit) as caught:
        check(path, json=True)
    printed = capsys.readouterr()
    assert caught.value.code == 78
    assert printed.err.startswith(
        f"{path}:2:12: expected a mode (active, shadow, off) or an action"
    )
    assert printed.err.count("\n") == 1
    error = json.loads(printed.out)["error"]
    assert (error["line"], error["column"]) == (2, 12)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('rule R pre review "r" when km > 5 and km < 4', "rule R can never match"),
        ('rule R pre review "r" when km > 5 and not km > 5', "rule R can never match"),
        ('rule R pre review "r" when entry == chip and entry == keyed', "can never match"),
        ('rule R pre review "r" when mcc in (1, 2) and mcc not in (1, 2, 3)', "can never match"),
        ('rule R pre review "r" when cnp and cnp == false', "rule R can never match"),
        ('rule R pre review "r" when km in (1) and km > 1', "rule R can never match"),
        ('rule R pre review "r" when terminal == "A" and terminal == "B"', "R can never match"),
        ('rule R pre review "r" when terminal == "A" and terminal != "A"', "R can never match"),
        ('rule R pre review "r" when country == 277', "1:28: warning: rule R compares with 277,"),
        ('rule R pre review "r" when not currency in (EUR, 97)', "97, which is not in ISO 4217"),
        ('rule R pre review "r" when bin.number == 41111', "41111, of fewer than six digits"),
        ("list a country = DE, 999", "list a has 999, which is not in ISO 3166-1"),
        ("# nothing", "1:1: warning: there are no rules"),
        ("list a card = 1", "list a is read by no rule"),
        ("list a card =", "list a is empty"),
        ('rule R pre allow(1h) "r" when cnp', "rule R allows but overrides nothing"),
        (
            'rule A pre allow(1h) overrides(B) "a" when cnp rule B pre off review "b" when cnp',
            "rule A overrides B, which is off",
        ),
    ],
)
def test_warnings(
    text: str, warning: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can never do anything is said, and the file is still taken."""
    check(_file(tmp_path, text))
    assert warning in capsys.readouterr().out


@pytest.mark.parametrize(
    "condition",
    [
        "km > 5 and km < 6",
        "km >= 5 and km <= 5",
        "not km > 5 and not km <= 5",  # a missing value
        "mcc in (1, 2) and mcc not in (2)",
        "cnp and wallet",
        'terminal == "A" and terminal != "B"',
        'terminal != "A" and terminal != "B" and not terminal == "C"',
        'not terminal == "A" and not terminal != "A"',  # a missing one
        "km > 5 and (km < 4 or kmh > 1)",
    ],
)
def test_no_false_warnings(
    condition: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rule that some row can match has no warning."""
    check(_file(tmp_path, f'rule R pre review "r" when {condition}'))
    assert ": warning: " not in capsys.readouterr().out


def test_reference_page_is_current() -> None:
    """docs/rules.md is what the registry gives; write it anew with engine.rules.reference."""
    path = Path(__file__).parents[3] / "docs" / "rules.md"
    assert page() == path.read_text(encoding="utf-8")
