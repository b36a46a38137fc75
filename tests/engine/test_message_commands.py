"""``de39 msg explain`` lists a message and keeps its secrets."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.message_commands import doctor, explain, split_header
from engine.wire.dialect import load_builtin
from engine.wire.text import add_header, build_message

PAN = "4111111111111111"
DIALECT = load_builtin("iso87-bin")
VALUES = {
    2: PAN,
    3: "000000",
    4: "000000012345",
    7: "1123214501",
    11: "000123",
    35: f"{PAN}=30122010000000000000",
    37: "    12345678",
    49: "978",
}
MESSAGE = build_message(DIALECT, "0100", VALUES)


def _explain(capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[int, str, str]:
    code = 0
    try:
        explain(options.pop("hex_text", None), **options)
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_fields_of_a_good_message(capsys: pytest.CaptureFixture[str]) -> None:
    """A good message is listed field by field, and its length header is named."""
    code, out, err = _explain(capsys, hex_text=add_header(DIALECT, MESSAGE).hex())
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"iso87-bin, {len(MESSAGE)} bytes, after its length header")
    assert lines[1].split() == ["MTI", "0100"]
    de4 = next(line for line in lines if line.startswith("DE4 "))
    assert de4.split()[1:3] == [str(MESSAGE.index(b"000000012345")), "12"]
    assert de4.endswith(" 000000012345")


def test_card_data_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    """The card number shows six and four digits, the track nothing."""
    code, out, _ = _explain(capsys, hex_text=MESSAGE.hex(" "), json=True)
    values = {line["number"]: line["value"] for line in json.loads(out)["fields"]}
    assert code == 0
    assert values[2] == "411111******1111"
    assert values[35] == "(hidden)"
    assert PAN not in out


def test_json_names_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON object says type, size, header and that there is no fault."""
    _, out, _ = _explain(capsys, hex_text=MESSAGE.hex(), json=True)
    found = json.loads(out)
    assert {k: found[k] for k in ("ok", "mti", "bytes", "length_header", "fault")} == {
        "ok": True,
        "mti": "0100",
        "bytes": len(MESSAGE),
        "length_header": False,
        "fault": None,
    }


@pytest.mark.parametrize("has_header", [False, True])
def test_file_of_raw_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], has_header: bool
) -> None:
    """A file may hold the message alone or its frame."""
    file = tmp_path / "message.bin"
    file.write_bytes(add_header(DIALECT, MESSAGE) if has_header else MESSAGE)
    code, out, _ = _explain(capsys, file=file, json=True)
    assert code == 0
    assert json.loads(out)["length_header"] is has_header


def test_fault_is_named_with_its_offset(capsys: pytest.CaptureFixture[str]) -> None:
    """A letter in the amount is a fault of DE4 at its own offset; values of the rest are hidden."""
    offset = MESSAGE.index(b"000000012345") + 3
    bad = MESSAGE[:offset] + b"X" + MESSAGE[offset + 1 :]
    code, out, err = _explain(capsys, hex_text=bad.hex(), json=True)
    found = json.loads(out)
    assert code == 1
    assert (found["ok"], found["fault"]["kind"], found["fault"]["field"]) == (False, "charset", 4)
    assert found["fault"]["offset"] in (offset - 3, offset)
    assert f"DE4 at offset {found['fault']['offset']}:" in err
    assert {line["value"] for line in found["fields"]} == {"(hidden)"}


def test_missing_field_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """A message without a mandatory field is listed and exits with 1."""
    values = {n: v for n, v in VALUES.items() if n != 11}
    bad = build_message(DIALECT, "0100", values)
    code, out, err = _explain(capsys, hex_text=bad.hex())
    assert code == 1
    assert "DE2 " in out
    assert err.startswith("de39: error: DE11 ")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "expected a message in hex, or --file"),
        ({"hex_text": "00", "file": Path("x")}, "expected a message in hex, or --file"),
        ({"hex_text": f"{PAN}0"}, "not hex"),
        ({"hex_text": " "}, "empty"),
        ({"hex_text": "00", "dialect": "visa"}, "visa-base1 or a .toml file"),
        ({"hex_text": "00", "dialect": "absent.toml"}, "absent.toml: cannot be read"),
        ({"file": Path("absent.bin")}, "absent.bin: No such file"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], options: dict[str, Any], text: str) -> None:
    """What was called wrongly is one line, exit code 2, without the bytes."""
    code, out, err = _explain(capsys, **options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert text in err
    assert PAN not in err


@pytest.mark.parametrize("size", [1, 2, 3, 11])
def test_short_bytes_are_a_fault(capsys: pytest.CaptureFixture[str], size: int) -> None:
    """Too few bytes for type and bitmap are a fault, not a stack."""
    code, out, err = _explain(capsys, hex_text=MESSAGE[:size].hex())
    assert (code, err.count("\n")) == (1, 1)
    assert "(unreadable)" in out


def test_too_many_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    """More bytes than a frame may have are a fault of one line."""
    code, _, err = _explain(capsys, hex_text="30" * 40_000)
    assert (code, err.count("\n")) == (1, 1)


def test_header_needs_the_exact_count() -> None:
    """Two bytes are a length header only when they say what follows; digits are an MTI."""
    frame = add_header(DIALECT, MESSAGE)
    assert split_header(DIALECT, frame) == (MESSAGE, True)
    assert split_header(DIALECT, frame + b"0") == (frame + b"0", False)
    digits = b"0100" + bytes(0x3031 - 2)
    assert split_header(DIALECT, digits) == (digits, False)


def _doctor(capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[int, str, str]:
    code = 0
    try:
        doctor(options.pop("hex_text", None), **options)
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_doctor_names_dialect_and_framing(capsys: pytest.CaptureFixture[str]) -> None:
    """A frame in hex: the dialect comes first, its fields are masked, exit code 0."""
    code, out, err = _doctor(capsys, hex_text=add_header(DIALECT, MESSAGE).hex())
    assert (code, err) == (0, "")
    assert out.splitlines()[1].startswith("1. iso87-bin ")
    assert "framing: 2 bytes binary" in out
    assert "411111******1111" in out
    assert PAN not in out


def test_doctor_in_json_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """A letter in DE4 is a problem with its offset in the bytes, exit code 1."""
    frame = add_header(DIALECT, MESSAGE)
    at = frame.index(b"000000012345")
    code, out, err = _doctor(
        capsys, hex_text=(frame[:at] + b"X" + frame[at + 1 :]).hex(), json=True
    )
    found = json.loads(out)
    best = found["streams"][0]["findings"][0]
    assert (code, found["ok"], best["dialect"]) == (1, False, "iso87-bin")
    assert f"DE4 at offset {at}:" in best["problems"][0]
    assert err.count("\n") == 1


def test_doctor_reads_a_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The payload of each direction is looked at."""
    from tests.engine.wire.test_capture import ethernet, ipv4, pcap, tcp

    file = tmp_path / "link.pcap"
    frame = add_header(DIALECT, MESSAGE)
    file.write_bytes(
        pcap([ethernet(ipv4(tcp(1, frame[:50]))), ethernet(ipv4(tcp(51, frame[50:])))])
    )
    code, out, _ = _doctor(capsys, file=file)
    assert code == 0
    assert out.startswith("10.0.0.1:4000 > 10.0.0.2:8583\n")
    assert "1. iso87-bin " in out


def test_doctor_compares_dialects(capsys: pytest.CaptureFixture[str]) -> None:
    """Two names: what differs, on both sides."""
    code, out, _ = _doctor(capsys, diff=("iso87-bin", "iso87-hex"))
    assert code == 0
    assert "encoding.bitmap\n  iso87-bin: binary\n  iso87-hex: hex\n" in out
    code, out, _ = _doctor(capsys, diff=("iso87-bin", "iso87-hex"), json=True)
    assert {"what": "encoding.bitmap", "a": "binary", "b": "hex"} in json.loads(out)["differences"]


def test_doctor_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """No bytes and unknown dialects are usage errors of one line."""
    assert _doctor(capsys)[0] == 2
    assert _doctor(capsys, hex_text="00", dialect=["nobody"])[0] == 2


def test_envelopes_and_trailers_are_taken_off() -> None:
    """A frame of any dialect is known by its length; what is left is the message."""
    for name in ("iso87-bcd", "visa-base1", "base24", "iso93-ascii", "iso2003"):
        dialect = load_builtin(name)
        message = build_message(dialect, f"{dialect.version}800", {})
        assert split_header(dialect, add_header(dialect, message)) == (message, True)
        assert split_header(dialect, message) == (message, False)
