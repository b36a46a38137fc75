"""Constants of each column type: how they are written and which are valid."""

import re

from engine.rules.columns import ColumnType
from engine.rules.constants import COUNTRIES, CURRENCIES, ENTRIES
from engine.rules.cursor import Cursor
from engine.rules.errors import RuleError, shown
from engine.rules.tokens import Token, TokenKind

TYPE_NAMES = {kind.value: kind for kind in ColumnType if kind is not ColumnType.BOOL}

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
_AMOUNT = re.compile(r"-?[0-9]{1,13}(\.[0-9]{1,3})?")
_WHOLE = re.compile(r"[0-9]{1,10}")

_NAMED = {
    ColumnType.COUNTRY: COUNTRIES,
    ColumnType.CURRENCY: CURRENCIES,
    ColumnType.ENTRY: ENTRIES,
}
_WHOLE_MAX = {
    ColumnType.COUNTRY: 999,
    ColumnType.CURRENCY: 999,
    ColumnType.MCC: 9_999,
    ColumnType.CARD: (1 << 32) - 1,
    ColumnType.ACCOUNT: (1 << 32) - 1,
}
_WANTED = {
    ColumnType.NUMBER: "a number",
    ColumnType.AMOUNT: "an amount in major units with at most three decimals",
    ColumnType.COUNTRY: "a country (ISO 3166-1, like DE or 276)",
    ColumnType.ENTRY: f"an entry mode ({', '.join(ENTRIES)})",
    ColumnType.MCC: "a merchant category code (1 to 9999)",
    ColumnType.CURRENCY: "a currency (ISO 4217, like EUR or 978)",
    ColumnType.CARD: "a card's internal number (1 to 4294967295), never a card number (PAN)",
    ColumnType.ACCOUNT: "an account's internal number (1 to 4294967295)",
}
BOOLS = {"true": 1.0, "false": 0.0}


def parse_value(cursor: Cursor, kind: ColumnType) -> float:
    """Take one constant of type ``kind`` (not BOOL) and return its number."""
    token = cursor.token
    names = _NAMED.get(kind, {})
    if token.kind is TokenKind.NAME and token.text in names:
        return float(names[cursor.take().text])
    if token.kind is not TokenKind.NUMBER or kind is ColumnType.ENTRY:
        raise cursor.expected(_WANTED[kind], known=names)
    cursor.take()
    if kind in _WHOLE_MAX:
        return _whole(cursor, token, kind)
    pattern = _AMOUNT if kind is ColumnType.AMOUNT else _NUMBER
    if not pattern.fullmatch(token.text):
        raise _refused(cursor, token, kind)
    return float(token.text) + 0.0  # -0 becomes 0: one text form for one number


def _whole(cursor: Cursor, token: Token, kind: ColumnType) -> float:
    if not _WHOLE.fullmatch(token.text) or not 1 <= int(token.text) <= _WHOLE_MAX[kind]:
        raise _refused(cursor, token, kind)
    return float(token.text)


def _refused(cursor: Cursor, token: Token, kind: ColumnType) -> RuleError:
    return cursor.error(f"expected {_WANTED[kind]}, found '{shown(token.text)}'", token)
