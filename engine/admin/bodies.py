"""Bodies in and out: JSON into checked structs, errors into one shape that repeats no value.

An error says which field is wrong and what would be right, never what was sent: whoever types a
card number into the wrong field must not find it in a log.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from aiohttp import web

from engine.admin import operations as o
from engine.filing import faults_of
from engine.importing import parse_currency, parse_expiry, parse_pan, parse_ref
from engine.zones import zone_number
from ledger.accounts import AMOUNT_MINOR_MAX
from ledger.pan import DIGITS_MAX, DIGITS_MIN, Pan, hide_pans

T = TypeVar("T", bound=msgspec.Struct)
_AT = re.compile(r" - at `\$\.?([^`]*)`\Z")
_NAMED = re.compile(r"(?:required|unknown) field `([^`]*)`")
_OPERATOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_PARSERS: dict[str, Callable[[str], object]] = {
    "account": parse_ref,
    "customer": parse_ref,
    "product": parse_ref,
    "currency": parse_currency,
    "expiry_yymm": parse_expiry,
    "zone": zone_number,
}
_EXPECTED = {
    "account": "text",
    "customer": "text",
    "product": "text",
    "currency": 'text, such as "840"',
    "limit_minor": f"whole minor units, 0 to {AMOUNT_MINOR_MAX}",
    "pan": f"{DIGITS_MIN} to {DIGITS_MAX} digits as text that end in their check digit",
    "expiry_yymm": 'text, such as "3012"',
    "zone": 'text, such as "Europe/Berlin"',
    "travel_notice": "true or false",
    "pin_value": "5 to 13 digits as text: PVKI and PVV, or 0 and an IBM 3624 offset",
    "pin_tries": "0",
    "card": "the internal number of a card, 1 to 4294967295",
    "ttl_s": "seconds, 0 to 31622400 (366 days)",
    "mode": "active, shadow or off",
    "change": "add, remove or clear",
    "reason": "text of at most 200 characters",
}
_EXPECTED_ITEM = (
    "a value of its kind: amounts whole and above 0, text in quotes, final true or false"
)
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
    for field, parse in _PARSERS.items():
        value = getattr(decoded, field, None)
        if value is not None:
            _parsed(field, parse, value)
    reason = getattr(decoded, "reason", "")
    if hide_pans(reason) != reason:  # it goes into the ledger, which forgets nothing
        raise o.Invalid("reason", "reason: must not hold what may be a card number")
    return decoded


def decode_items(body: bytes, kind: type[T]) -> T:
    """Return a body of ``items`` as ``kind``, every item checked; an error names item and field."""
    decoded: Any
    try:
        decoded = msgspec.json.decode(body, type=kind, dec_hook=_pan)
    except msgspec.ValidationError as error:
        at = _AT.search(str(error))
        named = _NAMED.search(str(error))
        field = hide_pans(at[1] if at else "")
        if named is not None:
            what = "is missing" if "missing" in str(error) else "is not known"
            raise o.Invalid(field, f"{field}: {hide_pans(named[1][:40])} {what}") from None
        raise o.Invalid(field, f"{field}: expected {_EXPECTED_ITEM}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise o.Invalid("", "the body is not JSON") from None
    seen: set[str] = set()
    for i, item in enumerate(decoded.items):
        for field, fault in faults_of(item):
            raise o.Invalid(f"items[{i}].{field}", f"items[{i}].{field}: {fault}")
        if item.id in seen:
            raise o.Invalid(f"items[{i}].id", f"items[{i}].id: the same id stands before it")
        seen.add(item.id)
    return cast("T", decoded)


def reference(field: str, value: str) -> str:
    """Return ``value`` if it can name an account; else Invalid."""
    _parsed(field, parse_ref, value)
    return value


def operator_name(value: str) -> str:
    """Return the operator's name as it goes into the record; else Invalid."""
    if not _OPERATOR.fullmatch(value) or hide_pans(value) != value:
        message = "X-Operator: expected a name of 1 to 64 characters of A-Z a-z 0-9 . _ @ -"
        raise o.Invalid("X-Operator", message)
    return value


def _pan(kind: type, value: object) -> object:
    if kind is Pan and isinstance(value, str):
        return parse_pan(value)
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
        return o.Invalid(field, f"status: expected {_STATUS[kind]}")
    if field in _EXPECTED:
        return o.Invalid(field, f"{field}: expected {_EXPECTED[field]}")
    if field:
        return o.Invalid(hide_pans(field), f"{hide_pans(field)}: a value of another kind or size")
    return o.Invalid("", "the body must be one JSON object")


def _parsed(field: str, parse: Callable[[str], object], value: str) -> None:
    try:
        parse(value)
    except ValueError as error:  # says what would be right, not what was given
        raise o.Invalid(field, f"{field}: {error}") from None
