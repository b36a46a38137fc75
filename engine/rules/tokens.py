"""Cut the text of a rule file into tokens with their places.

One pass of one regular expression without nested repeats, so the time is linear in the text
whatever it holds. Line ends have no meaning but to end a comment.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from engine.rules.errors import RuleError, shown
from engine.rules.limits import TEXT_MAX
from engine.rules.tree import Place


class TokenKind(Enum):
    """Sort of a token; the value is how messages call it."""

    NAME = "a name"
    NUMBER = "a number"
    TEXT = "a quoted text"
    SYMBOL = "a symbol"
    END = "the end of the file"


@dataclass(frozen=True, slots=True)
class Token:
    """One token. A NUMBER may end in letters (24h, 1A): what it means is the parser's business."""

    kind: TokenKind
    text: str
    place: Place


_PATTERN = re.compile(
    r"""(?P<skip>[ \t]+|\#(?:[^\n\r]|\r(?!\n))*)
    |(?P<line>\r?\n)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
    |(?P<number>-?[0-9]+(?::[0-9]{2}|(?:\.[0-9]+)?[A-Za-z0-9]*))
    |(?P<text>"[^"\n]*")
    |(?P<symbol><=|>=|==|!=|\.\.|[<>=(),@+*/%-])""",
    re.VERBOSE,
)
_KINDS = {
    "name": TokenKind.NAME,
    "number": TokenKind.NUMBER,
    "text": TokenKind.TEXT,
    "symbol": TokenKind.SYMBOL,
}
_BYTE_ORDER_MARK = "\ufeff"
# What an editor may show as the end of a line, or as text elsewhere: a rule must not look like a
# part of a comment, nor a comment like a rule.
_HIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_LONG_NUMBER = re.compile(r"(?:[0-9][ -]?){12,}")


def tokens_from_text(text: str, file: str) -> Iterator[Token]:
    """Yield the tokens of ``text``, END last; raise RuleError at what is none."""
    line = 1
    offset = line_start = 1 if text.startswith(_BYTE_ORDER_MARK) else 0
    while offset < len(text):
        place = Place(line, offset - line_start + 1)
        match = _PATTERN.match(text, offset)
        if match is None:
            raise RuleError(_complaint(text, offset), file, place.line, place.column)
        offset = match.end()
        group = match.lastgroup or ""
        if group == "line":
            line += 1
            line_start = offset
        elif group == "skip":
            _check_comment(match.group(), place, file)
        else:
            yield _token(group, match.group(), place, file)
    yield Token(TokenKind.END, "", Place(line, offset - line_start + 1))


def _check_comment(text: str, place: Place, file: str) -> None:
    hidden = _HIDDEN.search(text.replace("\t", " "))
    if hidden is not None:
        message = f"a comment must not hold the character '{shown(hidden.group())}'"
        raise RuleError(message, file, place.line, place.column + hidden.start())


def _token(group: str, raw: str, place: Place, file: str) -> Token:
    if group != "text":
        return Token(_KINDS[group], raw, place)
    inner = raw[1:-1]
    if len(inner) > TEXT_MAX:
        message = f"expected a text of at most {TEXT_MAX} characters, found {len(inner)}"
        raise RuleError(message, file, place.line, place.column)
    if _LONG_NUMBER.search(inner):
        message = "a text must not hold twelve or more digits in a row: it could be a card number"
        raise RuleError(message, file, place.line, place.column)
    if not inner.isprintable():
        raise RuleError("a text must be printable", file, place.line, place.column)
    return Token(TokenKind.TEXT, inner, place)


def _complaint(text: str, offset: int) -> str:
    character = text[offset]
    if character == "\r":
        return "a carriage return without a line feed ends no line: expected LF or CRLF"
    if character == '"':
        return "this text has no closing quote on its line"
    if character == "!":
        return "'!' stands only in '!='; use 'not' to negate"
    return f"no rule holds the character '{shown(character)}'"
