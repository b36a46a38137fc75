"""``de39 msg ...``: ISO 8583 messages for people, masked as the dialect says.

A message comes as hex or as a file of raw bytes, with or without its length header. Offsets count
from the first byte of the MTI, header or not. No value is shown that its field does not allow, and
no value at all of a message whose structure is broken.
"""

import json as json_text
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engine.command_options import Flag, print_json
from engine.errors import ProblemFoundError, UsageError, run_command
from engine.messages import MessageCodec
from engine.wire.capture import is_capture, read_capture
from engine.wire.columns import Fault
from engine.wire.convert import convert_message
from engine.wire.dialect import BUILTIN_DIALECTS, Dialect, DialectError, load_builtin, load_dialect
from engine.wire.doctor import diagnose
from engine.wire.report import (
    FAULT_TEXT,
    differences,
    fault_text,
    field_facts,
    field_lines,
    finding_facts,
    findings_text,
    mti_text,
    problems_of,
)
from engine.wire.text import Explanation, add_header, explain_message, frame_length

_MTI_BYTES = 4
_FRAME_ROOM = 300  # length, envelope and trailer
_FILE_BYTES_MAX = 64 << 20
_SHOWN = 5  # findings
_LAST_FIELD = 192
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


@run_command
def explain(
    hex_text: str | None = None,
    /,
    *,
    file: Path | None = None,
    dialect: str = BUILTIN_DIALECTS[0],
    json: Flag = False,
) -> None:
    """List the fields of one message, secrets hidden; exit code 1 when the message is faulty.

    Parameters
    ----------
    hex_text
        The message in hex; blanks are allowed. Hex on a command line is seen by other users of the
        machine: take a file for real card numbers.
    file
        A file of the message's raw bytes, instead of hex.
    dialect
        Name of a dialect that ships with de39, or a dialect file.
    json
        Print one JSON object.
    """
    spoken = _dialect(dialect)
    data = _bytes(hex_text, file, _FRAME_ROOM + spoken.framing.max_bytes)
    message, has_header = split_header(spoken, data)
    try:
        found = explain_message(spoken, message)
    except ValueError as problem:
        raise ProblemFoundError(str(problem)) from None
    if json:
        facts = _facts(spoken, found, len(message), has_header=has_header)
        print_json(facts)
    else:
        sys.stdout.write(_text(spoken, found, len(message), has_header=has_header))
    if found.fault != Fault.NONE:
        raise ProblemFoundError(fault_text(found.fault, found.fault_field, found.fault_offset))


@run_command
def doctor(
    hex_text: str | None = None,
    /,
    *,
    file: Path | None = None,
    dialect: Annotated[list[str] | None, Parameter(negative="")] = None,
    diff: tuple[str, str] | None = None,
    json: Flag = False,
) -> None:
    """Say which dialect and framing bytes speak, and what is wrong at which offset.

    Exit code 1 when nothing fits, or when the best reading has a fault.

    Parameters
    ----------
    hex_text
        One message or a stream of frames, in hex; blanks are allowed. For real card numbers take
        a file: a command line is seen by other users of the machine.
    file
        A file of raw bytes, or a capture (pcap, pcapng): each direction of each connection is
        looked at.
    dialect
        Try these only: names of shipped dialects, or dialect files. Without it, all that ship.
    diff
        Compare two dialects instead, by name or file: framing, codes, fields, messages.
    json
        Print one JSON object.
    """
    if diff is not None:
        _print_diff(diff, as_json=json)
        return
    tried = [_dialect(name) for name in dialect or BUILTIN_DIALECTS]
    data = _bytes(hex_text, file, _FILE_BYTES_MAX)
    if len(data) > _FILE_BYTES_MAX:
        raise UsageError(f"{file}: over {_FILE_BYTES_MAX >> 20} MiB: cut the file first")
    try:
        streams = (
            [(s.name, s.data) for s in read_capture(data)] if is_capture(data) else [("", data)]
        )
    except ValueError as problem:
        raise ProblemFoundError(f"{file or 'hex'}: {problem}") from None
    reports, faults = [], 0
    for name, payload in streams:
        findings = diagnose(payload, tried)[:_SHOWN]
        faults += not findings or bool(problems_of(findings[0]))
        if json:
            facts = [
                finding_facts(finding, payload, with_fields=place == 0)
                for place, finding in enumerate(findings)
            ]
            reports.append({"stream": name or None, "bytes": len(payload), "findings": facts})
        else:
            sys.stdout.write((f"{name}\n" if name else "") + findings_text(findings, payload))
    if json:
        print_json({"ok": not faults, "streams": reports})
    if not streams:
        raise ProblemFoundError("the capture has no TCP payload")
    if faults:
        raise ProblemFoundError("the bytes are not what the best fitting dialect says")


@run_command
def convert(
    hex_text: str | None = None,
    /,
    *,
    source: str = BUILTIN_DIALECTS[0],
    target: str,
    file: Path | None = None,
    out: Path,
) -> None:
    """Write one message in another dialect, its frame included, into a file of raw bytes.

    Values go by field number. What the other dialect lacks is left out and named; exit code 1.

    Parameters
    ----------
    hex_text
        The message in hex, with or without its frame.
    source
        Its dialect: a shipped one, or a dialect file.
    target
        The other dialect.
    file
        A file of the message's raw bytes, instead of hex.
    out
        The file to write, mode 0600: it has what the message has, unmasked.
    """
    spoken, other = _dialect(source), _dialect(target)
    data = _bytes(hex_text, file, _FRAME_ROOM + spoken.framing.max_bytes)
    message, _ = split_header(spoken, data)
    try:
        written, lost = convert_message(spoken, other, message)
    except ValueError as problem:
        raise ProblemFoundError(str(problem)) from None
    out.touch(mode=0o600)
    out.write_bytes(add_header(other, written))
    sys.stdout.write(f"{out}: {other.name}, {len(written)} bytes and its frame\n")
    if lost:
        left = ", ".join(f"DE{number}" for number in lost)
        raise ProblemFoundError(f"left out, as {other.name} has no room for them: {left}")


@run_command
def build(
    source: Path | None = None,
    /,
    *,
    mti: str = "",
    field: Annotated[list[str] | None, Parameter(negative="")] = None,
    dialect: str = BUILTIN_DIALECTS[0],
    frame: bool = True,
    faulty: Flag = False,
    out: Path | None = None,
    json: Flag = False,
) -> None:
    """Write one message from its fields, as hex or into a file of raw bytes.

    The bytes go to stdout as hex, or into the file; what was built is listed masked, on stderr
    beside hex. A message that a reader of the dialect would call faulty is refused, exit code 1.

    Parameters
    ----------
    source
        A TOML or JSON file: mti = "0100" and a table [fields], 4 = "000000001000" and so on. Binary
        fields are written in hex.
    mti
        The type of the message; goes before that of the file.
    field
        NUMBER=VALUE, once for each field; goes before the file, and an empty value leaves a field
        out. For real card numbers take a file: a command line is seen by other users.
    dialect
        Name of a dialect that ships with de39, or a dialect file.
    frame
        Put length, envelope and trailer around the message.
    faulty
        Build it although it is faulty: a mandatory field is missing, or a character not allowed.
    out
        The file to write, mode 0600: it has what the message has, unmasked.
    json
        Print one JSON object: dialect, mti, fields, masked, and hex where there is no --out.
    """
    spoken = _dialect(dialect)
    mti, fields = fields_of(source, mti, field or [])
    codec = MessageCodec(spoken)
    message = _built(codec, mti, fields)
    found = explain_message(spoken, message)
    if found.fault != Fault.NONE and not faulty:
        raise ProblemFoundError(fault_text(found.fault, found.fault_field, found.fault_offset))
    data = codec.framed(message) if frame else message
    if out is not None:
        out.touch(mode=0o600)
        out.write_bytes(data)
    if json:
        facts = _facts(spoken, found, len(message), has_header=frame)
        told = {**facts, "hex": data.hex()} if out is None else {**facts, "out": str(out)}
        print_json(told)
        return
    shown = _text(spoken, found, len(message), has_header=frame)
    (sys.stderr if out is None else sys.stdout).write(shown)
    if out is None:
        sys.stdout.write(data.hex() + "\n")


def fields_of(source: Path | None, mti: str, given: list[str]) -> tuple[str, dict[int, str]]:
    """Return type and fields of a message from a file and from ``NUMBER=VALUE``.

    Raises ``UsageError``, which names the field or the key and never a value.
    """
    table: dict[str, Any] = {} if source is None else _table(source)
    if unknown := sorted(set(table) - {"mti", "fields"}):
        raise UsageError(f"{source}: {unknown[0]}: expected mti and fields only")
    mti = mti or str(table.get("mti", ""))
    if not (len(mti) == _MTI_BYTES and mti.isascii() and mti.isdigit()):
        raise UsageError("mti: expected four digits, such as 0100")
    told = table.get("fields", {})
    if not isinstance(told, dict):
        raise UsageError(f"{source}: fields: expected a table of numbers and texts")
    fields = {_number(name): _value(name, value) for name, value in told.items()}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError("--field: expected NUMBER=VALUE, such as 4=000000001000")
        fields[_number(name)] = _value(name, value)
    return mti, {number: value for number, value in fields.items() if value}


def _table(source: Path) -> dict[str, Any]:
    try:
        text = source.read_text(encoding="utf-8")
        found = json_text.loads(text) if source.suffix == ".json" else tomllib.loads(text)
    except UnicodeDecodeError:
        raise UsageError(f"{source}: not UTF-8") from None
    except json_text.JSONDecodeError as problem:
        raise UsageError(f"{source}: not JSON: line {problem.lineno}: {problem.msg}") from None
    except tomllib.TOMLDecodeError as problem:
        raise UsageError(f"{source}: not TOML: {problem}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{source}: expected an object with mti and fields")
    return found


def _number(name: str) -> int:
    if not (name.isascii() and name.isdigit() and 2 <= int(name) <= _LAST_FIELD):
        raise UsageError(f"fields: {name[:20]!r} is no data element: expected 2 to {_LAST_FIELD}")
    return int(name)


def _value(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.isascii():
        raise UsageError(f"DE{name}: expected ASCII text in quotes, binary fields in hex")
    return value


def _built(codec: MessageCodec, mti: str, fields: dict[int, str]) -> bytes:
    for number, value in fields.items():
        field = codec.dialect.fields.get(number)
        if field is not None and field.format == "b" and not is_hex_text(value):
            raise ProblemFoundError(f"DE{number}: expected pairs of hex digits")
    try:
        return codec.message(mti, fields)
    except ValueError as problem:
        raise ProblemFoundError(str(problem)) from None


def is_hex_text(text: str) -> bool:
    """Return whether a text is pairs of hex digits."""
    return len(text) % 2 == 0 and all(c in _HEX_DIGITS for c in text)


def _print_diff(names: tuple[str, str], *, as_json: bool) -> None:
    first, second = (_dialect(name) for name in names)
    rows = differences(first, second)
    if as_json:
        facts = {"a": first.name, "b": second.name, "differences": rows}
        print_json(facts)
        return
    for row in rows:
        sys.stdout.write(
            f"{row['what']}\n  {first.name}: {row['a']}\n  {second.name}: {row['b']}\n"
        )
    sys.stdout.write(f"{len(rows)} differences\n")


def split_header(dialect: Dialect, data: bytes) -> tuple[bytes, bool]:
    """Return the message without its length header, and whether it had one.

    A header is what says exactly how many bytes follow. Four digits at the start are an MTI first:
    they would be the header of a message of 12 kB or more.
    """
    framing = dialect.framing
    head = framing.header_bytes + framing.reserved_bytes
    starts_with_mti = len(data) >= _MTI_BYTES and data[:_MTI_BYTES].isdigit()
    if len(data) < head or (starts_with_mti and framing.length != "ascii"):
        return data, False
    tail = len(framing.trailer) // 2
    try:
        is_header = data[:head] == frame_length(dialect, len(data) - head)
    except (ValueError, OverflowError):  # more than such a length can say
        return data, False
    before = head + framing.envelope_bytes
    if not is_header or len(data) < before + tail:
        return data, False
    return data[before : len(data) - tail], True


def _dialect(name: str) -> Dialect:
    if name in BUILTIN_DIALECTS:
        return load_builtin(name)
    if not name.endswith(".toml"):
        known = ", ".join(BUILTIN_DIALECTS)
        raise UsageError(f"--dialect {name}: expected {known} or a .toml file")
    try:
        return load_dialect(Path(name))
    except DialectError as problem:
        raise UsageError(str(problem)) from None


def _bytes(hex_text: str | None, file: Path | None, most: int) -> bytes:
    if (hex_text is None) == (file is None):
        raise UsageError("expected a message in hex, or --file with its raw bytes")
    if file is not None:
        with file.open("rb") as source:
            data = source.read(most + 1)
    else:
        assert hex_text is not None
        try:
            data = bytes.fromhex(hex_text)
        except ValueError:
            raise UsageError(
                "the message is not hex: pairs of 0-9 and A-F, blanks allowed"
            ) from None
    if not data:
        raise UsageError("the message is empty")
    return data


def _facts(dialect: Dialect, found: Explanation, size: int, *, has_header: bool) -> dict[str, Any]:
    fault = {
        "kind": found.fault.name.lower(),
        "field": found.fault_field or None,
        "offset": found.fault_offset,
        "text": FAULT_TEXT.get(found.fault),
    }
    return {
        "ok": found.fault == Fault.NONE,
        "dialect": dialect.name,
        "length_header": has_header,
        "bytes": size,
        "mti": mti_text(dialect, found.mti),
        "fields": field_facts(found),
        "fault": None if found.fault == Fault.NONE else fault,
    }


def _text(dialect: Dialect, found: Explanation, size: int, *, has_header: bool) -> str:
    header = "after its length header" if has_header else "no length header"
    lines = [f"{dialect.name}, {size} bytes, {header}; offsets count from the MTI"]
    lines.append(f"{'MTI':<6}{mti_text(dialect, found.mti) or '(unreadable)'}")
    return "\n".join([*lines, *field_lines(found)]) + "\n"
