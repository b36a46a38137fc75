"""Bodies in and out: JSON into checked structs, errors into one shape that repeats no value.

An error says which field is wrong and what would be right, never what was sent: whoever types a
card number into the wrong field must not find it in a log.
"""

import re
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from engine.admin import operations as o
from ledger.pan import Pan, hide_pans

T = TypeVar("T", bound=msgspec.Struct)
_AT = re.compile(r" - at `\$\.?([^`]*)`\Z")
_NAMED = re.compile(r"(?:required|unknown) field `([^`]*)`")
_REFERENCE = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_OPERATOR = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
_NAME = "1 to 64 characters of A-Z a-z 0-9 . _ -, the first a letter or digit"
_EXPECTED = {
    "account": _NAME,
    "customer": _NAME,
    "product": _NAME,
    "currency": "the ISO 4217 number, three digits in quotes",
    "limit_minor": f"a whole number of minor units, 0 to {o.LIMIT_MINOR_MAX}",
    "pan": "12 to 19 digits in quotes that end in their check digit",
    "expiry_yymm": "year and month as four digits in quotes, such as 3012",
    "travel_notice": "true or false",
}
_STATUS: dict[type[msgspec.Struct], str] = {
    o.PatchAccount: "active, blocked or closed",
    o.PatchCard: "active, blocked, lost or stolen",
}


def error_response(status: int, code: str, message: str, field: str = "") -> web.Response:
    """Return ``{"error": {"code", "message", "field"}}`` with card numbers hidden."""
    error = {"code": code, "message": hide_pans(message), "field": hide_pans(field)}
    return json_response({"error": error}, status=status)


def json_response(value: Any, *, status: int = 200) -> web.Response:  # any JSON-able value
    """Return ``value`` as JSON that no cache keeps."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers={
            "Cache-Control": "no-store",
            "Server": "de39",
            "X-Content-Type-Options": "nosniff",
        },
    )


def decode(body: bytes, kind: type[T]) -> T:
    """Return the body as ``kind``.

    Raises
    ------
    Invalid
        When it is not JSON, a key is unknown or missing, or a value is not what its field takes.
    """
    try:
        decoded = msgspec.json.decode(body, type=kind, dec_hook=_pan)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), kind) from None  # the cause may quote the value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise o.Invalid("", "the body is not JSON") from None
    for name in ("account", "customer", "product"):
        _refuse_card_number(name, getattr(decoded, name, ""))
    return decoded


def reference(field: str, value: str) -> str:
    """Return ``value`` if it can name an account or a request; else Invalid."""
    if not _REFERENCE.match(value):
        raise o.Invalid(field, f"{field}: must be {_NAME}")
    _refuse_card_number(field, value)
    return value


def operator_name(value: str) -> str:
    """Return the operator's name as it goes into the record; else Invalid."""
    if not _OPERATOR.match(value):
        message = "X-Operator: must be 1 to 64 characters of A-Z a-z 0-9 . _ @ -"
        raise o.Invalid("X-Operator", message)
    _refuse_card_number("X-Operator", value)
    return value


def _pan(kind: type, value: object) -> object:
    if kind is Pan and isinstance(value, str) and Pan(value).is_luhn_ok:
        return Pan(value)
    raise ValueError("not a card number")


def _invalid(text: str, kind: type[msgspec.Struct]) -> o.Invalid:
    named = _NAMED.search(text)
    if named is not None:
        field = named[1][:40]
        known = ", ".join(kind.__struct_fields__)
        if "missing" in text:
            return o.Invalid(field, f"{field}: is missing")
        return o.Invalid(hide_pans(field), f"unknown field; known are: {known}")
    at = _AT.search(text)
    field = at[1] if at else ""
    if field == "status":
        return o.Invalid(field, f"status: must be {_STATUS[kind]}")
    if field in _EXPECTED:
        return o.Invalid(field, f"{field}: must be {_EXPECTED[field]}")
    return o.Invalid("", "the body must be one JSON object")


def _refuse_card_number(field: str, value: str) -> None:
    if hide_pans(value) != value:
        raise o.Invalid(field, f"{field}: must not be a card number")
