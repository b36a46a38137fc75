"""What may be shown of a field: as its dialect says, and nothing of what nobody declared."""

import re

from engine.wire.elements import Field

HIDDEN = "(hidden)"
_LEAST_PAN_DIGITS = 13  # of fewer, 6 + 4 would show most
_MOST_PAN_DIGITS = 19
_LONG_DIGITS = re.compile(r"\d{13,}")


def mask_value(field: Field | None, data: bytes) -> str:
    """Return what may be shown of a field's plain bytes; a field nobody declared shows nothing."""
    if field is None:
        return HIDDEN
    if field.sensitivity == "public":
        is_text = field.format != "b" or field.is_hex
        return data.decode("ascii", "backslashreplace") if is_text else data.hex().upper()
    is_pan = data.isdigit() and _LEAST_PAN_DIGITS <= len(data) <= _MOST_PAN_DIGITS
    if field.sensitivity == "pan" and is_pan:
        return f"{data[:6].decode()}{'*' * (len(data) - 10)}{data[-4:].decode()}"
    return HIDDEN


def mask_digits(shown: str) -> str:
    """Hide the middle of every run of digits that is as long as a card number.

    For a message whose dialect is a guess: what is public there may be the card number here.
    """
    return _LONG_DIGITS.sub(
        lambda run: f"{run[0][:6]}{'*' * (len(run[0]) - 10)}{run[0][-4:]}", shown
    )
