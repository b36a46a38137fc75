"""The switches of a dialect: defaults, values, and what is refused by name."""

import re
from pathlib import Path

import pytest

from engine.wire.dialect import DIALECT_FOLDER, DialectError, load_builtin, parse_dialect
from engine.wire.profile import SWITCHES, Profile, profile_row
from engine.wire.table import compile_dialects

TEXT = (DIALECT_FOLDER / "iso87-bin.toml").read_text(encoding="utf-8")
WIRE_PAGE = Path(__file__).resolve().parents[3] / "docs" / "wire.md"


def test_an_empty_profile_is_the_defaults() -> None:
    """Every switch has a number; a code is its two characters, the first in the low byte."""
    row = profile_row({})
    assert len(row) == len(Profile)
    assert row[Profile.ORPHAN_REQUEST].to_bytes(2, "little") == b"25"
    assert row[Profile.SIGN_ON] == 1
    assert row[Profile.REVERSAL_AMOUNT] == 0


def test_a_dialect_says_its_own() -> None:
    """What a file says stands in the table's row of that dialect alone."""
    table = compile_dialects([load_builtin("iso87-bin"), load_builtin("as2805")])
    assert table.profile[:, Profile.MAC_REQUIRED].tolist() == [0, 1]
    assert table.profile[1, Profile.PARTIAL_APPROVAL] == 0
    assert table.profile[1, Profile.KEY_CHANGE] == 101


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('repeat_answer = "never"', "'never' is not one of cleared, kept"),
        ('orphan_advice = "0"', "'0' is not two letters or digits"),
        ("restamp = 1", "1 is not true or false"),
        ("format_field = 999", "999 is not a number from 0 to 128"),
        ("format_field = true", "True is not a number from 0 to 128"),
        ("format_field = 25", "field 25 has no room for three digits"),
        ("format_field = 1", "field 1 has no room for three digits"),
        ('speed = "high"', "no such switch"),
    ],
)
def test_bad_switches_are_refused_with_their_line(line: str, wanted: str) -> None:
    """File, line, switch and reason, in one line."""
    text = TEXT.replace("[profile]\n", f"[profile]\n{line}\n", 1)
    number = text.splitlines().index(line) + 1
    name = line.partition(" ")[0]
    with pytest.raises(DialectError) as caught:
        parse_dialect(text, "x.toml")
    told = str(caught.value)
    assert told.startswith(f"x.toml: line {number}: profile.{name}: ")
    assert wanted in told


def test_the_page_lists_every_switch_with_its_default() -> None:
    """docs/wire.md has one row a switch: name, what it may be, default."""
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|", WIRE_PAGE.read_text("utf-8"), re.MULTILINE
    )
    told = {name: default.strip().strip("`") for name, _, default in rows}
    for member, switch in SWITCHES.items():
        default = str(switch.default).lower() if switch.kind == "yes" else str(switch.default)
        assert told.get(member.name.lower()) == default, member.name.lower()
