"""What a dialect file may not say, and where its errors point: also into the file it extends."""

from pathlib import Path

import pytest

from engine.wire.dialect import DialectError, load_builtin, load_dialect, parse_dialect
from engine.wire.dialect_file import line_of

SMALL = """extends = "iso87-bin"
name = "small"
source = "tests"
"""


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ('[framing]\nenvelope = "tpdu"', r"framing.envelope_bytes: .*'tpdu' has 5 bytes"),
        ('[framing]\ntrailer = "ETX"', r"framing.trailer: 'ETX' is not one byte in hex"),
        ('[framing]\nlength = "ascii"\nmax_bytes = 8000', r"framing.max_bytes: .* 99 is the most"),
        ("[encoding]\ntertiary = 1", "encoding.tertiary: "),
        ('[fields]\n43 = { code = "bcd" }', "fields.43: format 'ans' is not of digits"),
        ('[fields]\n52 = { code = "ascii" }', "fields.52: format 'b' cannot be written as ascii"),
        ("[fields]\n38 = { max = 7 }", "fields.38: use 'approval' needs"),
        ('[fields]\n63 = { length = "LL" }', "fields.63: max 999 is not a length of 1 to 99"),
        ("[fields]\n2 = { colour = 1 }", "fields.2: .*colour"),
        ('[parts.60]\nkind = "tlv"', "parts.60: kind 'tlv' needs a field of format b"),
        ('[parts.48]\nkind = "bitmap"', "parts.48: fields belong to the kinds bitmap"),
        ('[parts.65]\nkind = "pds"', "parts.65: field 65 is not in the dialect"),
        ('[messages."0100"]\nkey = ["colour"]', "messages.0100.key: 'colour' is not one of"),
        (
            '[messages."0100".pcode.3]\nmandatory = [3]',
            "messages.0100.pcode.3: '3' is not the first",
        ),
        ('[messages."0100"]\ndeadline_ms = -1', "messages.0100.deadline_ms: 0 to 600000"),
        (
            '[messages."1100"]\nmandatory = [3]\necho = [3]',
            "messages.1100: '1100' is not of version",
        ),
        ('[action_codes]\ndefault = "100"', "action_codes: wanted where DE39 is wider"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_entry(lines: str, wanted: str) -> None:
    """The line is that of the entry in the file that says it."""
    text = SMALL + lines + "\n"
    with pytest.raises(DialectError, match=f"^x.toml: line [4-6]: {wanted}"):
        parse_dialect(text, "x.toml")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("without = [65]", "x.toml: line 4: without: 65 is not in the extended dialect"),
        ('extends = "nobody"', "unknown dialect 'nobody'"),
        ("extends = 7", "x.toml: line 1: extends: a name of a dialect"),
    ],
)
def test_what_is_extended_must_be_there(line: str, wanted: str) -> None:
    """An unknown parent, and a field to leave out that it lacks."""
    text = (
        SMALL + line if line.startswith("without") else SMALL.replace('extends = "iso87-bin"', line)
    )
    with pytest.raises(DialectError, match=wanted):
        parse_dialect(text, "x.toml")


def test_a_mistake_in_the_parent_names_the_parents_line(tmp_path: Path) -> None:
    """An error of the extended file points there."""
    parent, child = tmp_path / "parent.toml", tmp_path / "child.toml"
    parent.write_text(SMALL + "[fields]\n48 = { max = 0 }\n")
    child.write_text('extends = "parent.toml"\nname = "child"\nsource = "tests"\n')
    with pytest.raises(DialectError, match=r"parent\.toml: line 5: fields\.48: max 0 is not"):
        load_dialect(child)
    parent.write_text('extends = "child.toml"\nname = "parent"\nsource = "tests"\n')
    with pytest.raises(DialectError, match="at most 4 files deep"):
        load_dialect(child)


def test_what_a_file_says_itself_wins() -> None:
    """Tables are taken key by key: one entry changes, its neighbours stay."""
    dialect = parse_dialect(SMALL + "[fields]\n44 = { max = 20 }\n", "x.toml")
    base = load_builtin("iso87-bin")
    assert dialect.fields[44].limit == 20
    assert dialect.fields[44].name == base.fields[44].name
    assert dialect.fields[45] == base.fields[45]
    assert dialect.messages[100] == base.messages[100]
    lacking = parse_dialect(SMALL + 'without = [55]\nwithout_messages = ["0220"]\n', "x.toml")
    assert 55 not in lacking.fields
    assert 55 not in lacking.parts
    assert 220 not in lacking.messages


def test_lines_are_found_by_their_keys() -> None:
    """Headers, quoted keys and dotted keys."""
    text = '[a]\nx = 1\n\n[b."0100"]\ny = 2\nz.w = 3\n'
    assert line_of(text, ("a", "x")) == 2
    assert line_of(text, ("b", "0100", "y")) == 5
    assert line_of(text, ("b", "0100", "z", "w")) == 6
    assert line_of(text, ("b", "0100", "q")) == 4
    assert line_of(text, ("c",)) == 0
