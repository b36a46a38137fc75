"""Dialect files: the shipped ones say what the standard says, bad ones are refused by name."""

import re
from pathlib import Path

import iso8583.specs
import pytest

from engine.decision import DEFAULT_RESPONSE, Decision
from engine.wire.dialect import (
    BUILTIN_DIALECTS,
    DIALECT_FOLDER,
    DialectError,
    Use,
    load_builtin,
    load_dialect,
    parse_dialect,
)

SPECS = {"iso87-bin": iso8583.specs.default, "iso87-hex": iso8583.specs.default_ascii}
# Fields in which pyiso8583 differs from the table of 1987: see the notes on disagreements there.
DIFFERING = {54, 65}
TEXT = (DIALECT_FOLDER / "iso87-bin.toml").read_text(encoding="utf-8")


def test_messages_that_name_each_other_have_one_key() -> None:
    """File, line and message; the same key in all of them is taken."""
    text = (DIALECT_FOLDER / "iso87-bin.toml").read_text(encoding="utf-8")
    line = 'repeats = ["0401"]'
    odd = text.replace(line, line + '\nkey = ["stan", "rrn"]')
    number = odd.splitlines().index('key = ["stan", "rrn"]') + 1
    with pytest.raises(DialectError, match="must be as of 0100") as caught:
        parse_dialect(odd, "x.toml")
    assert str(caught.value).startswith(f"x.toml: line {number}: messages.0400.key: ")
    every = re.sub(r'(?m)^(repeats = \["0[124].*)$', r'\1\nkey = ["stan", "rrn"]', text)
    assert parse_dialect(every, "x.toml").messages[400].key == ("stan", "rrn")


@pytest.mark.parametrize("name", SPECS)
def test_shipped_dialects_have_the_lengths_of_pyiso8583(name: str) -> None:
    """Length kind and wire size of every field agree with an independent table."""
    dialect = load_builtin(name)
    for number in set(range(2, 129)) - DIFFERING:
        theirs = SPECS[name][str(number)]
        ours = dialect.fields[number]
        assert (ours.prefix_digits, ours.size) == (theirs["len_type"], theirs["max_len"])


@pytest.mark.parametrize("name", BUILTIN_DIALECTS)
def test_no_secret_field_is_echoed_or_public(name: str) -> None:
    """Track, PIN and chip fields are never public and never come back in an answer."""
    dialect = load_builtin(name)
    assert all(dialect.fields[n].sensitivity == "track" for n in (35, 36, 45, 55))
    assert all(dialect.fields[n].sensitivity == "pin" for n in (52, 53, 96))
    assert dialect.fields[2].sensitivity == "pan"
    for message in dialect.messages.values():
        assert not {35, 45, 52, 55} & set(message.echo)


def test_field_of_a_use_is_found_by_name() -> None:
    """The data element that fills a column is known from the dialect; 0 = none."""
    dialect = load_builtin("iso87-bin")
    assert dialect.field_of(Use.STAN) == 11
    assert dialect.field_of(Use.NETWORK_CODE) == 70


def test_response_codes_override_the_default_by_name() -> None:
    """A dialect may send 05 where the default sends 59; the rest stays."""
    text = TEXT.replace("[response_codes]", '[response_codes]\nRULE_DECLINED = "05"')
    codes = parse_dialect(text, "x.toml").response_codes
    assert codes[Decision.RULE_DECLINED] == "05"
    assert codes[Decision.EXPIRED] == DEFAULT_RESPONSE[Decision.EXPIRED]


FIELD_2 = re.search(r"(?m)^2 = .*$", TEXT)[0]
FIELD_39 = re.search(r"(?m)^39 = .*$", TEXT)[0]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('name = "iso87-bin"\n', "", "`name`"),
        ("[framing]", "[framing", "not TOML"),
        ("header_bytes = 2 ", "header_bytes = 5 ", "header_bytes"),
        ("max_bytes = 8192", "max_bytes = 8", "framing: 12 <= min_bytes"),
        ("max_bytes = 8192", "max_bytes = 8192\nspeed = 1", "speed"),
        ('bitmap = "binary"', 'bitmap = "octal"', "octal"),
        (FIELD_2, FIELD_2.replace(', sensitivity = "pan"', ""), r"fields.2: .*`sensitivity`"),
        (FIELD_2, FIELD_2.replace('"pan", use', '"open", use'), "fields.2: .*open"),
        (FIELD_2, FIELD_2.replace("19", "100"), "fields.2: use 'pan' needs"),
        (FIELD_2, FIELD_2.replace('use = "pan"', 'use = "pin"'), "fields.2: unknown use 'pin'"),
        (FIELD_2, FIELD_2.replace('use = "pan"', 'use = "Pan"'), "fields.2: unknown use"),
        (FIELD_2, FIELD_2.replace('format = "n"', 'format = "q"'), "fields.2: .*q"),
        (FIELD_2, FIELD_2.replace("2 =", "129 =", 1), "fields.129: a field is numbered 2 to 128"),
        (FIELD_2, FIELD_2.replace("2 =", "02 =", 1), "fields.02"),
        (FIELD_39, FIELD_39.replace("max = 2", "max = 3"), "fields.39: must be an, fixed, max 2"),
        (
            'sensitivity = "public", use = "rrn"',
            'sensitivity = "public", use = "stan"',
            "fields.37",
        ),
        ('"LLL", max = 104', '"LLL", max = 1000', "fields.36: max 1000"),
        ("mandatory = [11, 70]", "mandatory = [11, 65]", "messages.0800: mandatory field 65"),
        ("echo = [7, 11", "echo = [7, 11, 52", "echo field 52 is pin data"),
        ("echo = [7, 11", "echo = [7, 11, 39", "echo field 39 is written by the engine"),
        ('[messages."0100"]', '[messages."0110"]', "messages.0110: '0110' is not the MTI"),
        ('repeats = ["0101"]', 'repeats = ["0200"]', "0200 is described twice"),
        ("[response_codes]", '[response_codes]\nNOPE = "05"', "response_codes.NOPE"),
        ("[response_codes]", '[response_codes]\nEXPIRED = "5"', "response_codes.EXPIRED"),
    ],
)
def test_bad_files_are_refused_with_file_entry_and_reason(old: str, new: str, wanted: str) -> None:
    """Whatever is wrong in a dialect file, the error names the file, the entry and the reason."""
    assert old in TEXT
    with pytest.raises(DialectError, match=f"^x.toml: .*{wanted}"):
        parse_dialect(TEXT.replace(old, new, 1), "x.toml")


def test_unreadable_and_unknown_files_are_refused(tmp_path: Path) -> None:
    """A missing file and an unknown name are one-line errors that say which."""
    with pytest.raises(DialectError, match=r"nothing\.toml: cannot be read"):
        load_dialect(tmp_path / "nothing.toml")
    with pytest.raises(DialectError, match="unknown dialect 'iso93'"):
        load_builtin("iso93")
