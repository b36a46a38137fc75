"""Arithmetic on columns: a sum begins with a column, or stands on the right of a comparison.

    sum    = term { ( "+" | "-" ) term }
    term   = factor { ( "*" | "/" ) factor }
    factor = COLUMN | NUMBER | "(" sum ")"

What a side counts in (a number, major units, seconds) is checked while it is read; a plain number
takes the unit of its neighbour. Length and depth are bounded, so no text makes a row expensive.
"""

import re
from collections.abc import Callable

from engine.rules.columns import COUNTED, Column, ColumnType
from engine.rules.cursor import Cursor
from engine.rules.limits import SUM_DEPTH_MAX, SUM_STEPS_MAX
from engine.rules.tokens import Token, TokenKind
from engine.rules.tree import Binary, Constant, Reading, Sum

_PLAIN = re.compile(r"-?[0-9]{1,13}(\.[0-9]{1,9})?")
_DURATION = re.compile(r"(-?[0-9]{1,8})(s|m|h|d)")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_ADD, _TIMES = ("+", "-"), ("*", "/")

Unit = ColumnType | None  # of COUNTED; None = a plain number, which takes any
TakeColumn = Callable[[], Column]


def goes_on(cursor: Cursor) -> bool:
    """Return whether arithmetic follows the operand just taken."""
    token = cursor.token
    if token.kind is TokenKind.SYMBOL:
        return token.text in (*_ADD, *_TIMES)
    return token.kind is TokenKind.NUMBER and token.text.startswith("-")


def duration_from_text(text: str) -> int | None:
    """Return the seconds of ``90s``, ``10m``, ``24h`` or ``7d``; None = no duration."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS_S[match[2]] if match and text[0] != "-" else None


def require_same_unit(cursor: Cursor, left: Unit, right: Unit, token: Token) -> Unit:
    """Return what both count in; an error at ``token`` when they do not."""
    if left is None or right is None or left is right:
        return right if left is None else left
    message = f"expected {_unit_text(left)} as on the left, found {_unit_text(right)}"
    raise cursor.error(message, token)


class SumParser:
    """Reads one side of a comparison; ``take_column`` takes a column or raises."""

    def __init__(self, cursor: Cursor, take_column: TakeColumn) -> None:
        self._cursor = cursor
        self._take_column = take_column
        self._step_count = 0
        self.last_number: Token | None = None  # the number read last

    def after(self, operand: Sum, unit: Unit) -> tuple[Sum, Unit]:
        """Return the sum that goes on after its first ``operand``, and what it counts in."""
        left, unit = self._products(operand, unit, 0)
        return self._sums(left, unit, 0)

    def whole(self, depth: int = 0) -> tuple[Sum, Unit]:
        """Return a sum from its beginning, and what it counts in."""
        if depth > SUM_DEPTH_MAX:
            message = f"a sum has more than {SUM_DEPTH_MAX} parentheses inside each other"
            raise self._cursor.error(message, self._cursor.token)
        left, unit = self._products(*self._factor(depth), depth)
        return self._sums(left, unit, depth)

    def _sums(self, left: Sum, unit: Unit, depth: int) -> tuple[Sum, Unit]:
        cursor = self._cursor
        while goes_on(cursor) and cursor.token.text not in _TIMES:
            token = cursor.token
            symbol = "+"
            if token.kind is TokenKind.SYMBOL:
                symbol = cursor.take().text
            at = cursor.token
            right, right_unit = self._products(*self._factor(depth), depth)
            unit = require_same_unit(cursor, unit, right_unit, at)
            left = self._joined(symbol, left, right, token)
        return left, unit

    def _products(self, left: Sum, unit: Unit, depth: int) -> tuple[Sum, Unit]:
        cursor = self._cursor
        while cursor.token.kind is TokenKind.SYMBOL and cursor.token.text in _TIMES:
            token = cursor.take()
            at = cursor.token
            right, right_unit = self._factor(depth)
            unit = self._product_unit(token.text, unit, right_unit, at)
            left = self._joined(token.text, left, right, token)
        return left, unit

    def _product_unit(self, symbol: str, left: Unit, right: Unit, token: Token) -> Unit:
        number = ColumnType.NUMBER
        if right in (None, number):
            return left
        if symbol == "/" and left is right:
            return number
        if symbol == "*" and left in (None, number):
            return right
        if symbol == "/" and left is None:
            message = f"expected a number below the line, found {_unit_text(right)}"
        else:
            message = f"expected a number to go with {_unit_text(left)}, found {_unit_text(right)}"
        raise self._cursor.error(message, token)

    def _factor(self, depth: int) -> tuple[Sum, Unit]:
        cursor = self._cursor
        token = cursor.token
        if cursor.try_symbol("("):
            inner = self.whole(depth + 1)
            cursor.take_symbol(")")
            return inner
        self._count(token)
        if token.kind is TokenKind.NUMBER:
            return self._number(token)
        column = self._take_column()
        if column.type not in COUNTED:
            message = f"'{column.name}' is a {column.type.value}: no arithmetic with it"
            raise cursor.error(message, token)
        return Reading(column), column.type

    def _number(self, token: Token) -> tuple[Sum, Unit]:
        self.last_number = token
        match = _DURATION.fullmatch(token.text)
        if match:
            self._cursor.take()
            seconds = float(int(match[1]) * _UNITS_S[match[2]])
            return Constant(seconds, is_duration=True), ColumnType.DURATION
        if not _PLAIN.fullmatch(token.text):
            raise self._cursor.expected("a number")
        self._cursor.take()
        return Constant(float(token.text) + 0.0), None

    def _joined(self, symbol: str, left: Sum, right: Sum, token: Token) -> Sum:
        self._count(token)
        return Binary(symbol, left, right)

    def _count(self, token: Token) -> None:
        self._step_count += 1
        if self._step_count > SUM_STEPS_MAX:
            message = f"a sum has more than {SUM_STEPS_MAX} columns, numbers and operations"
            raise self._cursor.error(message, token)


def _unit_text(unit: Unit) -> str:
    if unit is None or unit is ColumnType.NUMBER:
        return "a number"
    return "an amount" if unit is ColumnType.AMOUNT else "a duration"
