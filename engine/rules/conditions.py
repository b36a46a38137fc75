"""The condition of a rule: or, and, not, parentheses, comparisons, lists, ranges, bool columns.

``not`` binds closest, then ``and``, then ``or``. Depth and number of conditions are bounded while
they are read, so no text can exhaust the stack.
"""

from engine.rules.columns import BY_NAME, COUNTED, ORDERED, SCORE, Column, ColumnType
from engine.rules.cursor import KEYWORDS, Cursor
from engine.rules.errors import shown
from engine.rules.limits import (
    CONDITIONS_PER_RULE_MAX,
    NESTING_MAX,
    SET_VALUES_MAX,
    SETS_VALUES_MAX,
)
from engine.rules.sums import SumParser, goes_on, require_same_unit
from engine.rules.tokens import Token, TokenKind
from engine.rules.tree import (
    SYMBOLS,
    And,
    Between,
    Compare,
    CompareSums,
    Constant,
    Expression,
    Member,
    Not,
    Operator,
    Or,
    Phase,
    Place,
    Reading,
)
from engine.rules.values import (
    BOOLS,
    RANGED,
    constant_of_token,
    in_order,
    parse_currency_of,
    parse_value,
    parse_values,
)

_OPERATORS = {symbol: operator for operator, symbol in SYMBOLS.items()}
_RANGE_VALUES_MAX = 10_000  # of a set of codes: every merchant category


def parse_condition(cursor: Cursor, rule: str, phase: Phase) -> Expression:
    """Take the condition of the rule named ``rule``, up to what cannot belong to it."""
    return _ConditionParser(cursor, rule, phase).parse()


class _ConditionParser:
    def __init__(self, cursor: Cursor, rule: str, phase: Phase) -> None:
        self._cursor = cursor
        self._rule = rule
        self._phase = phase
        self._condition_count = 0

    def parse(self) -> Expression:
        return self._any(0)

    def _any(self, depth: int) -> Expression:
        items = [self._all(depth)]
        while self._cursor.take_word("or"):
            items.append(self._all(depth))
        return items[0] if len(items) == 1 else Or(tuple(items))

    def _all(self, depth: int) -> Expression:
        items = [self._one(depth)]
        while self._cursor.take_word("and"):
            items.append(self._one(depth))
        return items[0] if len(items) == 1 else And(tuple(items))

    def _one(self, depth: int) -> Expression:
        cursor = self._cursor
        if depth > NESTING_MAX:
            message = f"rule {self._rule} is nested deeper than {NESTING_MAX}"
            raise cursor.error(message, cursor.token)
        if cursor.take_word("not"):
            return Not(self._one(depth + 1))
        if cursor.try_symbol("("):
            inner = self._any(depth + 1)
            if not cursor.try_symbol(")"):
                raise cursor.expected("')', 'and' or 'or'", known=("and", "or"))
            return inner
        return self._comparison()

    def _comparison(self) -> Expression:
        cursor = self._cursor
        place = cursor.token.place
        self._condition_count += 1
        if self._condition_count > CONDITIONS_PER_RULE_MAX:
            message = f"rule {self._rule} has more than {CONDITIONS_PER_RULE_MAX} conditions"
            raise cursor.error(message, cursor.token)
        column = self._column()
        if column.type is ColumnType.BOOL:
            return self._bool(column, place)
        if column.type in COUNTED and goes_on(cursor):
            return self._sums(column, place)
        if cursor.at_word("between"):
            return self._between(column, place)
        if cursor.take_word("in"):
            return self._member(column, place, is_negated=False)
        if cursor.take_word("not"):
            if not cursor.take_word("in"):
                raise cursor.expected("'in'", known=("in",))
            return self._member(column, place, is_negated=True)
        operator = self._operator(column)
        return self._compared(column, operator, place)

    def _sums(self, column: Column, place: Place) -> CompareSums:
        """Take a comparison whose left side is computed."""
        cursor = self._cursor
        left, unit = SumParser(cursor, self._column).after(Reading(column), column.type)
        operator = _OPERATORS.get(cursor.token.text)
        if operator is None or cursor.token.kind is not TokenKind.SYMBOL:
            raise cursor.expected("a comparison after the sum")
        cursor.take()
        token = cursor.token
        right, right_unit = SumParser(cursor, self._column).whole()
        require_same_unit(cursor, unit, right_unit, token)
        return CompareSums(left, operator, right, place)

    def _compared(self, column: Column, operator: Operator, place: Place) -> Expression:
        """Take what ``column`` is compared with: a constant, or a sum."""
        cursor = self._cursor
        token = cursor.token
        if column.type not in COUNTED or not self._begins_sum(token):
            return Compare(column, operator, parse_value(cursor, column.type), place)
        sums = SumParser(cursor, self._column)
        right, unit = sums.whole()
        if isinstance(right, Constant) and sums.last_number is not None:
            # One number, in parentheses or not, is a constant: to the precision of the column.
            number = sums.last_number
            value = constant_of_token(cursor, number, column.type)
            currency = 0
            if column.type is ColumnType.AMOUNT:
                currency = parse_currency_of(cursor, [number])
            return Compare(column, operator, value, place, currency=currency)
        require_same_unit(cursor, column.type, unit, token)
        return CompareSums(Reading(column), operator, right, place)

    def _begins_sum(self, token: Token) -> bool:
        """Return whether a sum comes; a name that is no column is an error with the nearest."""
        if token.kind is TokenKind.NAME and token.text not in BY_NAME:
            kind = "a number, a column or '('"
            raise self._cursor.expected(kind, known=BY_NAME)
        return token.kind in (TokenKind.NAME, TokenKind.NUMBER) or (
            token.kind is TokenKind.SYMBOL and token.text == "("
        )

    def _column(self) -> Column:
        cursor = self._cursor
        token = cursor.token
        if token.kind is not TokenKind.NAME or token.text in KEYWORDS:
            raise cursor.expected("a column, 'not' or '('")
        column = BY_NAME.get(token.text)
        if column is None:
            raise cursor.expected("a column", known=BY_NAME)
        if column is SCORE and self._phase is Phase.PRE:
            message = "expected a column known before the score; 'score' is for post rules"
            raise cursor.error(message, token)
        cursor.take()
        return column

    def _operator(self, column: Column) -> Operator:
        cursor = self._cursor
        is_ordered = column.type in ORDERED
        if cursor.token.text == "=":
            message = "expected '==' to compare (or '>=', '<='), found '='"
            raise cursor.error(message, cursor.token)
        operator = _OPERATORS.get(cursor.token.text)
        if operator is None:
            what = "a comparison, 'in' or 'between'" if is_ordered else "'==', '!=' or 'in'"
            known = ("in", "between", "not")
            raise cursor.expected(f"{what} after '{column.name}'", known=known)
        if not is_ordered and operator not in (Operator.EQ, Operator.NE):
            kind = column.type.value
            message = f"{kind} has no order: expected '==', '!=' or 'in' after '{column.name}'"
            raise cursor.error(f"{message}, found '{shown(cursor.token.text)}'", cursor.token)
        cursor.take()
        return operator

    def _bool(self, column: Column, place: Place) -> Compare:
        cursor = self._cursor
        operator = _OPERATORS.get(cursor.token.text)
        if operator is None or cursor.token.kind is not TokenKind.SYMBOL:
            return Compare(column, Operator.NE, 0.0, place)
        if operator not in (Operator.EQ, Operator.NE):
            raise cursor.expected(f"'==', '!=' or nothing after '{column.name}', a yes or no")
        cursor.take()
        is_true = BOOLS[cursor.take_one_of(BOOLS, "true or false")] == 1.0
        is_wanted = is_true == (operator is Operator.EQ)
        return Compare(column, Operator.NE if is_wanted else Operator.EQ, 0.0, place)

    def _between(self, column: Column, place: Place) -> Between:
        cursor = self._cursor
        if column.type not in ORDERED:
            message = f"{column.type.value} has no order: 'between' needs a number"
            raise cursor.error(message, cursor.token)
        cursor.take()
        first = cursor.token
        low = parse_value(cursor, column.type)
        if not cursor.take_word("and"):
            raise cursor.expected("'and' and the upper end", known=("and",))
        token = cursor.token
        high = parse_value(cursor, column.type)
        if high < low and column.type is not ColumnType.TIME:  # a night goes past midnight
            raise cursor.error("expected an upper end that is not below the lower one", token)
        currency = 0
        if column.type is ColumnType.AMOUNT:
            currency = parse_currency_of(cursor, [first, token])
        return Between(column, low, high, place, currency=currency)

    def _member(self, column: Column, place: Place, *, is_negated: bool) -> Member:
        cursor = self._cursor
        if cursor.try_symbol("@"):
            token = cursor.take_name("a list name")
            cursor.list_uses.append((token, column))
            return Member(column, is_negated, token.text, (), place)
        if not cursor.try_symbol("("):
            raise cursor.expected("'@' and a list name, or '('")
        room = _RANGE_VALUES_MAX if column.type in RANGED else SET_VALUES_MAX
        first = cursor.token
        values = parse_values(cursor, column.type, room)
        entry_count = 1
        while cursor.try_symbol(","):
            values += parse_values(cursor, column.type, room - len(values))
            entry_count += 1
            if entry_count > SET_VALUES_MAX:
                message = f"more than {SET_VALUES_MAX} values: declare a list for them"
                raise cursor.error(message, cursor.token)
        if not cursor.try_symbol(")"):
            more = "',', '..' or ')'" if column.type in RANGED else "',' or ')'"
            raise cursor.expected(more)
        cursor.set_value_count += len(values)
        if cursor.set_value_count > SETS_VALUES_MAX:
            message = f"the sets of all rules hold more than {SETS_VALUES_MAX} values"
            raise cursor.error(f"{message}: write a range as 'between', or declare a list", first)
        return Member(column, is_negated, "", in_order(values, column.type), place)
