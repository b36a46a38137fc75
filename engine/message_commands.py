"""``de39 msg ...``: ISO 8583 messages for people, masked as the dialect says.

A message comes as hex or as a file of raw bytes, with or without its length header. Offsets count
from the first byte of the MTI, header or not. No value is shown that its field does not allow, and
no value at all of a message whose structure is broken.
"""

import json as json_text
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engine.errors import ProblemFoundError, UsageError, run_command
from engine.wire.columns import Fault
from engine.wire.dialect import BUILTIN_DIALECTS, Dialect, DialectError, load_builtin, load_dialect
from engine.wire.text import Explanation, explain_message

_MTI_BYTES = 4
_FAULT_TEXT = {
    Fault.MTI: "the message type is not four digits, or cut short",
    Fault.BITMAP: "the bitmap is cut short, not hex, or names a field the dialect lacks",
    Fault.LENGTH: "a length is not digits, over the maximum, or past the end of the message",
    Fault.CHARSET: "a byte that the field's format does not allow",
    Fault.TRAILING: "bytes are left after the last field",
    Fault.MISSING: "a mandatory field is absent",
    Fault.VALUE: "a date, track, original-data or currency value that cannot be",
}


@run_command
def explain(
    hex_text: str | None = None,
    /,
    *,
    file: Path | None = None,
    dialect: str = BUILTIN_DIALECTS[0],
    json: Annotated[bool, Parameter(negative="")] = False,
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
    data = _bytes(hex_text, file, 2 + spoken.framing.max_bytes)
    message, has_header = split_header(spoken, data)
    try:
        found = explain_message(spoken, message)
    except ValueError as problem:
        raise ProblemFoundError(str(problem)) from None
    if json:
        facts = _facts(spoken, found, len(message), has_header=has_header)
        sys.stdout.write(json_text.dumps(facts) + "\n")
    else:
        sys.stdout.write(_text(spoken, found, len(message), has_header=has_header))
    if found.fault != Fault.NONE:
        raise ProblemFoundError(_fault_text(found))


def split_header(dialect: Dialect, data: bytes) -> tuple[bytes, bool]:
    """Return the message without its length header, and whether it had one.

    A header is what says exactly how many bytes follow. Four digits at the start are an MTI first:
    they would be the header of a message of 12 kB or more.
    """
    size = dialect.framing.header_bytes
    starts_with_mti = len(data) >= _MTI_BYTES and data[:_MTI_BYTES].isdigit()
    if not starts_with_mti and int.from_bytes(data[:size], "big") == len(data) - size:
        return data[size:], True
    return data, False


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
    fields = [
        {
            "number": line.number,
            "name": line.name,
            "offset": line.offset,
            "length": line.length,
            "value": line.shown,
        }
        for line in found.fields
    ]
    fault = {
        "kind": found.fault.name.lower(),
        "field": found.fault_field or None,
        "offset": found.fault_offset,
        "text": _FAULT_TEXT.get(found.fault),
    }
    return {
        "ok": found.fault == Fault.NONE,
        "dialect": dialect.name,
        "length_header": has_header,
        "bytes": size,
        "mti": _mti(found),
        "fields": fields,
        "fault": None if found.fault == Fault.NONE else fault,
    }


def _text(dialect: Dialect, found: Explanation, size: int, *, has_header: bool) -> str:
    header = "after its length header" if has_header else "no length header"
    lines = [f"{dialect.name}, {size} bytes, {header}; offsets count from the MTI"]
    lines.append(f"{'MTI':<6}{_mti(found) or '(unreadable)'}")
    width = max((len(line.name) for line in found.fields), default=0)
    if found.fields:
        lines.append(f"{'field':<6}{'offset':>6}{'length':>7}  {'name':<{width}}  value")
    for line in found.fields:
        where = f"{'DE' + str(line.number):<6}{line.offset:>6}{line.length:>7}"
        lines.append(f"{where}  {line.name:<{width}}  {line.shown}")
    return "\n".join(lines) + "\n"


def _fault_text(found: Explanation) -> str:
    field = f"DE{found.fault_field} " if found.fault_field else ""
    return f"{field}at offset {found.fault_offset}: {_FAULT_TEXT[found.fault]}"


def _mti(found: Explanation) -> str | None:
    return f"{found.mti:04d}" if found.mti >= 0 else None
