"""Constants of each column type: how they are written and which are valid."""

import re
from collections.abc import Sequence
from typing import Final

from engine.rules.columns import ColumnType
from engine.rules.constants import COUNTRIES, CURRENCIES, ENTRIES
from engine.rules.cursor import KEYWORDS, Cursor
from engine.rules.errors import RuleError, nearest, shown
from engine.rules.sums import duration_from_text
from engine.rules.tokens import Token, TokenKind
from ledger.money import EXPONENT, EXPONENT_UNKNOWN

TYPE_NAMES = {kind.value: kind for kind in ColumnType if kind is not ColumnType.BOOL}

# Twelve digits are what DE4 holds; a longer number could be a card number.
_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
_AMOUNT = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,3})?")
_SECONDS = re.compile(r"-?[0-9]{1,13}(\.[0-9]{1,9})?")  # 99999999d and what is less
_PATTERNS = {ColumnType.AMOUNT: _AMOUNT, ColumnType.DURATION: _SECONDS}
_WHOLE = re.compile(r"[0-9]{1,10}")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_MERCHANT = re.compile(r"m([0-9a-f]{16})")
_TERMINAL = re.compile(r"[ -~]{1,8}")
DAY_S: Final = 86_400

_NAMED = {
    ColumnType.COUNTRY: COUNTRIES,
    ColumnType.CURRENCY: CURRENCIES,
    ColumnType.ENTRY: ENTRIES,
}
_WHOLE_MAX = {
    ColumnType.COUNTRY: 999,
    ColumnType.CURRENCY: 999,
    ColumnType.MCC: 9_999,
    ColumnType.BIN: 999_999,
    ColumnType.CARD: (1 << 32) - 1,
    ColumnType.ACCOUNT: (1 << 32) - 1,
}
RANGED = frozenset({ColumnType.MCC, ColumnType.BIN})  # take 7000..7999
_WANTED = {
    ColumnType.NUMBER: "a number of at most twelve digits before the point",
    ColumnType.AMOUNT: "an amount in major units with at most three decimals",
    ColumnType.DURATION: "a duration (seconds, or like 90s, 10m, 24h, 7d)",
    ColumnType.TIME: "a time of the day (00:00 to 24:00)",
    ColumnType.COUNTRY: "a country (ISO 3166-1, like DE or 276)",
    ColumnType.ENTRY: f"an entry mode ({', '.join(ENTRIES)})",
    ColumnType.MCC: "a merchant category code (1 to 9999)",
    ColumnType.BIN: "a BIN (the first six digits of a card number)",
    ColumnType.CURRENCY: "a currency (ISO 4217, like EUR or 978)",
    ColumnType.CARD: "a card's internal number (1 to 4294967295), never a card number (PAN)",
    ColumnType.ACCOUNT: "an account's internal number (1 to 4294967295)",
    ColumnType.MERCHANT: "a merchant's key (m and the 16 hex digits that an export shows)",
    ColumnType.TERMINAL: 'a terminal in quotes (DE41, 1 to 8 characters, like "TERM0001")',
}
_AFTER_AMOUNT = ("and", "or")
BOOLS = {"true": 1.0, "false": 0.0}


def parse_value(cursor: Cursor, kind: ColumnType) -> float:
    """Take one constant of type ``kind`` (not BOOL) and return its number (a key: an int)."""
    token = cursor.token
    names = _NAMED.get(kind, {})
    if token.kind is TokenKind.NAME and token.text in names:
        return float(names[cursor.take().text])
    if kind in (ColumnType.MERCHANT, ColumnType.TERMINAL):
        return _key(cursor, token, kind)
    if token.kind is not TokenKind.NUMBER or kind is ColumnType.ENTRY:
        raise cursor.expected(_WANTED[kind], known=names)
    cursor.take()
    return constant_of_token(cursor, token, kind)


def constant_of_token(cursor: Cursor, token: Token, kind: ColumnType) -> float:
    """Return the number that ``token`` is as a constant of ``kind``, or raise at its place."""
    value = value_from_text(token.text, kind)
    if value is None:
        raise _refused(cursor, token, kind)
    return value


def in_order(values: Sequence[float], kind: ColumnType) -> tuple[float, ...]:
    """Return the values of a set or list: codes that take ranges ascending, each once."""
    return tuple(sorted(set(values)) if kind in RANGED else values)


def value_from_text(text: str, kind: ColumnType) -> float | None:
    """Return the number that ``text`` is as a constant of ``kind``; None = it is none.

    Terminals come without quotes here. Used for lists that come as files or over HTTP too.
    """
    names = _NAMED.get(kind, {})
    if text in names:
        return float(names[text])
    if kind is ColumnType.MERCHANT:
        match = _MERCHANT.fullmatch(text)
        return int(match[1], 16) or None if match else None
    if kind is ColumnType.TERMINAL:
        return terminal_key(text) if _TERMINAL.fullmatch(text) and text.strip() else None
    if kind in _WHOLE_MAX:
        is_valid = _WHOLE.fullmatch(text) and 1 <= int(text) <= _WHOLE_MAX[kind]
        return float(text) if is_valid else None
    if kind is ColumnType.TIME:
        return _time(text)
    if kind is ColumnType.DURATION:
        seconds = duration_from_text(text)
        if seconds is not None:
            return float(seconds)
    if kind is ColumnType.ENTRY:
        return None
    pattern = _PATTERNS.get(kind, _NUMBER)
    # -0 becomes 0: one text form, and one bit pattern, for one number.
    return float(text) + 0.0 if pattern.fullmatch(text) else None


def parse_values(cursor: Cursor, kind: ColumnType, room: int) -> list[float]:
    """Take a constant, or a range ``7000..7999`` of codes, which stands for its codes."""
    first = parse_value(cursor, kind)
    if kind not in RANGED or not cursor.try_symbol(".."):
        return [first]
    token = cursor.token
    last = parse_value(cursor, kind)
    if last < first:
        raise cursor.error("expected an upper end that is not below the lower one", token)
    if last - first + 1 > room:
        raise cursor.error(f"this range has more than the {room} values that are left", token)
    return [float(code) for code in range(int(first), int(last) + 1)]


def parse_currency_of(cursor: Cursor, amounts: list[Token]) -> int:
    """Take the currency after an amount, if one stands there; 0 = none.

    ``amounts`` are the tokens of what was just read: none may have more decimals than it has.
    """
    token = cursor.token
    if token.kind is not TokenKind.NAME or token.text in KEYWORDS:
        return 0
    if token.text not in CURRENCIES:
        known = _AFTER_AMOUNT if nearest(token.text, _AFTER_AMOUNT) else CURRENCIES
        raise cursor.expected("a currency, 'and', 'or' or the next rule", known=known)
    number = CURRENCIES[cursor.take().text]
    exponent = int(EXPONENT[number])
    for amount in amounts:
        decimals = len(amount.text.partition(".")[2].rstrip("0"))
        if exponent != EXPONENT_UNKNOWN and decimals > exponent:
            message = f"{token.text} has {exponent} decimals: '{shown(amount.text)}' has more"
            raise cursor.error(message, amount)
    return number


def terminal_key(text: str) -> int:
    """Return DE41 as requests and records keep it: eight characters, padded with spaces."""
    return int.from_bytes(text.ljust(8).encode("ascii"), "little")


def terminal_text(key: int) -> str:
    """Return the characters of a terminal's key, without the spaces at the end."""
    return key.to_bytes(8, "little").decode("ascii", "replace").rstrip(" \0")


def _key(cursor: Cursor, token: Token, kind: ColumnType) -> int:
    wanted = TokenKind.NAME if kind is ColumnType.MERCHANT else TokenKind.TEXT
    value = value_from_text(token.text, kind) if token.kind is wanted else None
    if value is None:
        raise cursor.expected(_WANTED[kind])
    cursor.take()
    return int(value)


def _time(text: str) -> float | None:
    match = _TIME.fullmatch(text)
    if match is None or int(match[2]) > 59:
        return None
    seconds = int(match[1]) * 3_600 + int(match[2]) * 60
    return float(seconds) if seconds <= DAY_S else None


def _refused(cursor: Cursor, token: Token, kind: ColumnType) -> RuleError:
    return cursor.error(f"expected {_WANTED[kind]}, found '{shown(token.text)}'", token)
