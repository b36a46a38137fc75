"""``de39 msg build``: from fields to bytes that ``msg doctor`` and ``msg explain`` read again."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.messages import authorization
from engine.message_commands import build, doctor, explain
from engine.wire.dialect import BUILTIN_DIALECTS, load_builtin
from engine.wire.text import add_header, build_message, read_message

PAN = "4111111111111111"
FIELDS = {
    "2": PAN, "3": "000000", "4": "000000012345", "7": "1123214501", "11": "000123", "49": "978",
    "52": "0102030405060708",
}  # fmt: skip
GIVEN = [f"{n}={v}" for n, v in FIELDS.items()]
VALUES: dict[int, str | bytes] = {
    int(n): bytes.fromhex(v) if n == "52" else v for n, v in FIELDS.items()
}
DIALECT = load_builtin("iso87-bin")


def _run(
    capsys: pytest.CaptureFixture[str], command: Any, *words: Any, **options: Any
) -> tuple[int, str, str]:
    code = 0
    try:
        command(*words, **options)
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_hex_goes_to_stdout_and_the_masked_list_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The frame in one line; the card number is shown as six and four, the PIN block not."""
    code, out, err = _run(capsys, build, mti="0100", field=GIVEN)
    assert (code, out.strip()) == (
        0,
        add_header(DIALECT, build_message(DIALECT, "0100", VALUES)).hex(),
    )
    assert "411111******1111" in err
    assert PAN not in err
    assert "0102030405060708" not in err
    code, out, _ = _run(capsys, build, mti="0100", field=GIVEN, frame=False)
    assert out.strip() == build_message(DIALECT, "0100", VALUES).hex()


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_file_of_fields_and_changes_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    """``--field`` and ``--mti`` go before the file, an empty value leaves a field out."""
    source = tmp_path / f"payment.{suffix}"
    lines = "".join(f'{n} = "{v}"\n' for n, v in FIELDS.items())
    text = json.dumps({"mti": "0100", "fields": FIELDS})
    source.write_text(text if suffix == "json" else f'mti = "0100"\n[fields]\n{lines}', "utf-8")
    out = tmp_path / "message.bin"
    code, told, err = _run(
        capsys, build, source, mti="0101", field=["11=000999", "52="], out=out, json=True
    )
    assert (code, err) == (0, "")
    mti, values = read_message(DIALECT, out.read_bytes()[2:])
    wanted = {n: v for n, v in VALUES.items() if n != 52}
    assert (mti, values) == ("0101", {**wanted, 11: "000999"})
    assert out.stat().st_mode & 0o777 == 0o600
    facts = json.loads(told)
    assert (facts["mti"], facts["out"], "hex" in facts) == ("0101", str(out), False)
    assert PAN not in told


@pytest.mark.parametrize("name", BUILTIN_DIALECTS)
def test_what_is_built_is_what_the_doctor_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """In every dialect: fields to bytes, and the doctor finds nothing wrong with them."""
    dialect = load_builtin(name)
    mti, values = authorization(dialect)
    fields = {str(n): v.hex() if isinstance(v, bytes) else v for n, v in values.items()}
    source, out = tmp_path / "message.json", tmp_path / "message.bin"
    source.write_text(json.dumps({"mti": mti, "fields": fields}), "utf-8")
    code, _, err = _run(capsys, build, source, dialect=name, out=out)
    assert (code, err) == (0, "")
    code, told, err = _run(capsys, doctor, file=out, dialect=[name], json=True)
    assert (code, err) == (0, "")
    assert json.loads(told)["streams"][0]["findings"][0]["dialect"] == name
    assert _run(capsys, explain, file=out, dialect=name)[0] == 0


@pytest.mark.parametrize(
    ("field", "code", "text"),
    [
        (["4=12345"], 1, "DE4: 5 bytes, exactly 12 fit"),
        (["4=00000001234X"], 1, "DE4 at offset "),
        (["52=0102"], 1, "DE52: 2 bytes, exactly 8 fit"),
        (["52=XYZ"], 1, "DE52: expected pairs of hex digits"),
        (["11="], 1, "DE11 "),
        (["65=1"], 1, "DE65: not in dialect iso87-bin"),
        (["4"], 2, "--field: expected NUMBER=VALUE"),
        (["x=1"], 2, "'x' is no data element: expected 2 to 192"),
        (["1=1"], 2, "'1' is no data element"),
        (["43=caf\u00e9"], 2, "DE43: expected ASCII"),
    ],
)
def test_errors_name_the_field_and_no_value(
    capsys: pytest.CaptureFixture[str], field: list[str], code: int, text: str
) -> None:
    """One line, nothing on stdout."""
    got, out, err = _run(capsys, build, mti="0100", field=[*GIVEN, *field])
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert text in err
    assert PAN not in err


def test_a_faulty_message_is_built_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """For tests of a reader: the bytes are what they are told to be."""
    code, out, _ = _run(capsys, build, mti="0100", field=[*GIVEN, "11="], faulty=True)
    wanted = {n: v for n, v in VALUES.items() if n != 11}
    assert (code, out.strip()) == (
        0,
        add_header(DIALECT, build_message(DIALECT, "0100", wanted)).hex(),
    )


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.toml", "mti = ", "not TOML"),
        ("a.json", "{", "not JSON: line 1"),
        ("a.json", "[]", "expected an object"),
        ("a.toml", 'mti = "01"', "mti: expected four digits"),
        ("a.toml", 'mti = "0100"\nfield = 1', "field: expected mti and fields only"),
        ("a.toml", 'mti = "0100"\nfields = 1', "fields: expected a table"),
        ("a.toml", 'mti = "0100"\n[fields]\n4 = 1000', "DE4: expected ASCII text in quotes"),
    ],
)
def test_a_bad_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, text: str
) -> None:
    """File, key and what would be right; exit code 2."""
    source = tmp_path / name
    source.write_text(content, "utf-8")
    code, out, err = _run(capsys, build, source)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert text in err
