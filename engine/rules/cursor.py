"""A position in the tokens of a rule file, and the errors that name it."""

from collections.abc import Collection, Iterable, Iterator

from engine.rules.columns import Column
from engine.rules.errors import LONG_NUMBER, RuleError, nearest, shown
from engine.rules.limits import NAME_MAX
from engine.rules.tokens import Token, TokenKind
from engine.rules.tree import Place

KEYWORDS = frozenset(
    {"list", "rule", "breaker", "zone", "when", "and", "or", "not", "in", "between"}
)


class Cursor:
    """Walks tokens forward, one ahead. The uses are checked at the end.

    ``list_uses`` has every ``@name`` with its column, ``rule_uses`` every id in ``overrides``.
    """

    def __init__(self, tokens: Iterator[Token], file: str) -> None:
        self._tokens = tokens
        self._file = file
        self.token = next(tokens)  # the token that is read next; END for ever at the end
        self.set_value_count = 0  # of all "in ( ... )" so far
        self.list_uses: list[tuple[Token, Column]] = []
        self.rule_uses: list[Token] = []

    def take(self) -> Token:
        """Return the next token and step over it; END is never stepped over."""
        token = self.token
        if token.kind is not TokenKind.END:
            self.token = next(self._tokens)
        return token

    def at_end(self) -> bool:
        """Return whether no token is left."""
        return self.token.kind is TokenKind.END

    def at_word(self, word: str) -> bool:
        """Return whether the next token is the keyword ``word``."""
        return self.token.kind is TokenKind.NAME and self.token.text == word

    def take_word(self, word: str) -> bool:
        """Step over the keyword ``word`` if it is next; return whether it was."""
        if not self.at_word(word):
            return False
        self.take()
        return True

    def try_symbol(self, symbol: str) -> bool:
        """Step over ``symbol`` if it is next; return whether it was."""
        if self.token.kind is not TokenKind.SYMBOL or self.token.text != symbol:
            return False
        self.take()
        return True

    def take_symbol(self, symbol: str) -> None:
        """Step over ``symbol``; anything else is an error."""
        if not self.try_symbol(symbol):
            raise self.expected(f"'{symbol}'")

    def take_kind(self, kind: TokenKind, what: str) -> Token:
        """Return the next token, which must be of ``kind``."""
        if self.token.kind is not kind:
            raise self.expected(what)
        return self.take()

    def take_name(self, what: str) -> Token:
        """Return the next token, which must be a name of its own: no keyword, not too long."""
        token = self.token
        if token.kind is not TokenKind.NAME or token.text in KEYWORDS:
            raise self.expected(what)
        if len(token.text) > NAME_MAX:
            raise self.error(f"expected {what} of at most {NAME_MAX} characters", token)
        if LONG_NUMBER.search(token.text):
            message = f"{what} must not hold twelve or more digits in a row"
            raise self.error(f"{message}: it could be a card number", token)
        return self.take()

    def take_one_of(self, known: Collection[str], what: str) -> str:
        """Return the next token's text, which must be one of ``known``."""
        if self.token.kind is not TokenKind.NAME or self.token.text not in known:
            raise self.expected(f"{what} ({', '.join(known)})", known=known)
        return self.take().text

    def expected(self, what: str, *, known: Iterable[str] = ()) -> RuleError:
        """Return the error that something else than ``what`` stands next."""
        token = self.token
        if token.kind is TokenKind.END:
            found = token.kind.value
        elif token.kind is TokenKind.TEXT:
            found = f'"{shown(token.text)}"'
        else:
            found = f"'{shown(token.text)}'"
        hint = nearest(token.text, known) if token.kind is TokenKind.NAME else ""
        return self.error(f"expected {what}, found {found}{hint}", token)

    def error(self, message: str, token: Token) -> RuleError:
        """Return the error ``message`` at ``token``."""
        return self.error_at(message, token.place)

    def error_at(self, message: str, place: Place) -> RuleError:
        """Return the error ``message`` at ``place``."""
        return RuleError(message, self._file, place.line, place.column)
