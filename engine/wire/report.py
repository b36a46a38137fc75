"""What the doctor found, as text and as facts; nothing that may be a card number is shown whole.

Values are shown of the best finding only, and only of messages that are whole; in these, every run
of thirteen digits and more is masked, for the dialect is a guess.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.wire.columns import Fault
from engine.wire.dialect import Dialect
from engine.wire.doctor import Finding, Read
from engine.wire.elements import Field
from engine.wire.masking import mask_digits
from engine.wire.text import Explanation, explain_message

FAULT_TEXT: Mapping[Fault, str] = {
    Fault.MTI: "the message type is not four digits, or cut short",
    Fault.BITMAP: "the bitmap is cut short, not hex, or names a field the dialect lacks",
    Fault.LENGTH: "a length is not digits, over the maximum, or past the end of the message",
    Fault.CHARSET: "a byte that the field's format does not allow",
    Fault.TRAILING: "bytes are left after the last field",
    Fault.MISSING: "a mandatory field is absent",
    Fault.VALUE: "a date, track, original-data or currency value that cannot be",
    Fault.STRUCTURE: "an element inside the field is cut short or not what the dialect says",
}
_STOPS = {
    "too long": "a length says more than a message may have",
    "too short": "a length says less than a message type and a bitmap",
    "not digits": "a length is not of digits",
    "envelope": "what stands before the message is not the header of this framing",
    "trailer": "the frame does not end with its trailer",
    "cut short": "the last frame is cut short",
}
_MESSAGES_SHOWN = 4


def fault_text(fault: Fault, number: int, offset: int) -> str:
    """Return one line: which field, at which offset, and what is wrong."""
    field = f"DE{number} " if number else ""
    return f"{field}at offset {offset}: {FAULT_TEXT[fault]}"


def problems_of(finding: Finding) -> list[str]:
    """Return what is wrong, with offsets from the first byte given."""
    found = [
        f"message {k}: {fault_text(read.fault, read.fault_field, read.fault_offset)}"
        for k, read in enumerate(finding.reads, 1)
        if read.fault != Fault.NONE
    ]
    if finding.stop:
        found.append(f"at offset {finding.stop_offset}: {_STOPS[finding.stop]}")
    return found


def mti_text(dialect: Dialect, mti: int) -> str | None:
    """Return an MTI as it stands on the wire of a dialect; None = unreadable."""
    if mti < 0:
        return None
    return f"{(mti // 1000 + dialect.version) % 10}{mti % 1000:03d}"


def field_facts(told: Explanation, *, guessed: bool = False) -> list[dict[str, Any]]:
    """Return the fields of a message, and what stands inside them."""
    hide = mask_digits if guessed else str
    return [
        {
            "number": line.number,
            "name": line.name,
            "offset": line.offset,
            "length": line.length,
            "value": hide(line.shown),
            "parts": [
                {
                    "label": part.label,
                    "name": part.name,
                    "offset": part.offset,
                    "length": part.length,
                    "value": hide(part.shown),
                }
                for part in line.parts
            ],
        }
        for line in told.fields
    ]


def field_lines(told: Explanation, *, guessed: bool = False) -> list[str]:
    """Return the same as lines of a table."""
    rows = []
    for fact in field_facts(told, guessed=guessed):
        rows.append(
            (f"DE{fact['number']}", *(fact[k] for k in ("offset", "length", "name", "value")))
        )
        rows += [
            (part["label"], *(part[k] for k in ("offset", "length", "name", "value")))
            for part in fact["parts"]
        ]
    if not rows:
        return []
    label = max(6, *(len(row[0]) + 1 for row in rows))
    name = max(len(row[3]) for row in rows)
    lines = [f"{'field':<{label}}{'offset':>6}{'length':>7}  {'name':<{name}}  value"]
    lines += [f"{r[0]:<{label}}{r[1]:>6}{r[2]:>7}  {r[3]:<{name}}  {r[4]}" for r in rows]
    return lines


def finding_facts(finding: Finding, data: bytes, *, with_fields: bool) -> dict[str, Any]:
    """Return a finding for JSON; ``data`` are the bytes that were looked at."""
    messages = [
        {
            "mti": mti_text(finding.dialect, read.mti),
            "offset": read.start,
            "bytes": read.size,
            "fault": None if read.fault == Fault.NONE else read.fault.name.lower(),
            "field": read.fault_field or None,
            **(
                {"fields": field_facts(_told(finding, read, data), guessed=True)}
                if with_fields
                else {}
            ),
        }
        for read in finding.reads[: _MESSAGES_SHOWN if with_fields else None]
    ]
    return {
        "dialect": finding.dialect.name,
        "framing": finding.framing,
        "own_framing": finding.is_own,
        "score": finding.score,
        "message_count": len(finding.reads),
        "problems": problems_of(finding),
        "messages": messages,
    }


def findings_text(findings: Sequence[Finding], data: bytes) -> str:
    """Return the ranking, then the messages of the best finding."""
    lines = [f"{len(data)} bytes; offsets count from the first of them, of fields from the MTI"]
    for place, finding in enumerate(findings, 1):
        count = len(finding.reads)
        what = f"{count} message{'s' if count != 1 else ''}"
        wrong = problems_of(finding)
        state = "nothing wrong" if not wrong else wrong[0]
        lines.append(
            f"{place}. {finding.dialect.name:<13}{finding.score:>4}  "
            f"framing: {finding.framing}; {what}; {state}"
        )
    if not findings:
        return "\n".join([*lines, "no shipped dialect reads a message here"]) + "\n"
    best = findings[0]
    for read in best.reads[:_MESSAGES_SHOWN]:
        mti = mti_text(best.dialect, read.mti) or "(unreadable)"
        lines.append(f"\n{best.dialect.name}, MTI {mti} at offset {read.start}, {read.size} bytes")
        lines += field_lines(_told(best, read, data), guessed=True)
    if len(best.reads) > _MESSAGES_SHOWN:
        lines.append(f"\nand {len(best.reads) - _MESSAGES_SHOWN} more")
    return "\n".join(lines) + "\n"


def _told(finding: Finding, read: Read, data: bytes) -> Explanation:
    return explain_message(finding.dialect, data[read.start : read.start + read.size])


def differences(first: Dialect, second: Dialect) -> list[dict[str, str]]:
    """Return where two dialects differ: what, in the first, in the second."""
    rows: list[tuple[str, str, str]] = []
    for table in ("framing", "encoding"):
        one, other = getattr(first, table), getattr(second, table)
        rows += [
            (f"{table}.{key}", str(getattr(one, key)), str(getattr(other, key)))
            for key in one.__struct_fields__
        ]
    rows.append(("version", str(first.version), str(second.version)))
    for number in sorted(set(first.fields) | set(second.fields)):
        pair = [_field_words(d.fields.get(number)) for d in (first, second)]
        rows.append((f"DE{number}", pair[0], pair[1]))
    for number in sorted(set(first.parts) | set(second.parts)):
        kinds = [d.parts[number].kind if number in d.parts else "whole" for d in (first, second)]
        rows.append((f"DE{number} inside", kinds[0], kinds[1]))
    for mti in sorted(set(first.messages) | set(second.messages)):
        texts = [_message_words(d, mti) for d in (first, second)]
        rows.append((f"message x{mti:03d}", texts[0], texts[1]))
    return [{"what": what, "a": a, "b": b} for what, a, b in rows if a != b]


def _field_words(field: Field | None) -> str:
    if field is None:
        return "absent"
    length = f"{'L' * field.prefix_digits}.." if field.prefix_digits else ""
    prefix = f" ({field.prefix.name.lower()} length)" if field.prefix_digits else ""
    code = field.code.name.lower().replace("_", "-")
    return f"{field.format} {length}{field.limit} {code}{prefix}, {field.sensitivity}"


def _message_words(dialect: Dialect, mti: int) -> str:
    message = dialect.messages.get(mti)
    if message is None:
        return "absent"
    pan = " and a card" if message.needs_pan else ""
    must, back = (" ".join(map(str, numbers)) for numbers in (message.mandatory, message.echo))
    return f"must have {must}{pan}; returned {back}"
