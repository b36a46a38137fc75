"""``de39 rules fmt``: one way to write a rule file, comments kept.

Statements keep their order; a blank line between two stays one blank line. Comments on lines of
their own stay before what follows them, a comment behind a statement stays behind it, and one
inside a statement moves before it. Formatting a formatted text changes nothing.
"""

import re
from dataclasses import dataclass, field

from engine.rules.canonical import NAMED, breaker_text, zone_text
from engine.rules.language import parse
from engine.rules.statements import STATEMENTS
from engine.rules.tokens import TokenKind, tokens_from_text
from engine.rules.tree import And, Breaker, Expression, Or, Rule, RuleFile, ValueList

_WIDTH = 100
_INDENT = "    "
_WORD = re.compile(r'(?:"[^"]*"|[^" ])+')  # a quoted terminal may hold spaces
_COMMENT = re.compile(r"(\"[^\"\n]*\")|#([^\n]*)")


@dataclass(slots=True)
class _Statement:
    """Where one statement of the text stands (lines from 1), and the comments that belong to it."""

    word: str
    first_line: int
    last_line: int
    before: list[str] = field(default_factory=list)  # lines; "" = a blank one
    behind: str = ""


def formatted(text: str, *, file: str = "<rules>") -> str:
    """Return ``text`` in its one form; raise RuleError where it is no rule file."""
    rule_file = parse(text, file=file)
    statements = _statements(text, file)
    rest = _comments(text, statements)
    lines: list[str] = []
    texts = _statement_texts(rule_file, statements)
    for statement, written in zip(statements, texts, strict=True):
        behind = f"  {statement.behind}" if statement.behind else ""
        lines += [*statement.before, written + behind]
    lines += rest
    return "".join(line + "\n" for line in _without_doubled_blanks(lines))


def _statement_texts(rule_file: RuleFile, statements: list[_Statement]) -> list[str]:
    """Return the text of each statement, in order of the file."""
    items: list[ValueList | Rule | Breaker] = [*rule_file.lists, *rule_file.rules]
    items += rule_file.breakers
    parts = [(item.place.line, item.place.column, _text(item)) for item in items]
    texts = iter([text for _, _, text in sorted(parts)])
    zone = f"zone {zone_text(rule_file)}"
    return [zone if statement.word == "zone" else next(texts) for statement in statements]


def _statements(text: str, file: str) -> list[_Statement]:
    found: list[_Statement] = []
    for token in tokens_from_text(text, file):
        if token.kind is TokenKind.END:
            break
        line = token.place.line
        if token.kind is TokenKind.NAME and token.text in STATEMENTS:
            found.append(_Statement(token.text, line, line))
        found[-1].last_line = line
    return found


def _comments(text: str, statements: list[_Statement]) -> list[str]:
    """Give each statement its comments and blank lines; return those after the last one."""
    waiting: list[str] = []
    coming = iter(statements)
    current: _Statement | None = None
    upcoming = next(coming, None)
    for number, line in enumerate(text.split("\n"), start=1):
        while upcoming is not None and upcoming.first_line == number:
            current, upcoming = upcoming, next(coming, None)
            current.before += waiting
            waiting = []
        comment = _comment_of(line)
        if current is None or current.last_line < number:
            if comment or not line.strip():
                waiting.append(comment)
        elif comment and current.last_line == number:
            current.behind = comment
        elif comment:
            current.before.append(comment)
    return waiting


def _text(item: ValueList | Rule | Breaker) -> str:
    if isinstance(item, Breaker):
        return breaker_text(item)
    if isinstance(item, ValueList):
        return _wrapped_list(NAMED.list_text(item, is_sorted=False))
    head, condition = NAMED.head(item), NAMED.condition(item.when)
    if len(head) + len(condition) + len(" when ") <= _WIDTH:
        return f"{head} when {condition}"
    if len(_INDENT) + len("when ") + len(condition) <= _WIDTH:
        return f"{head}\n{_INDENT}when {condition}"
    return f"{head}\n{_INDENT}when {_broken(item.when)}"


def _broken(node: Expression) -> str:
    """Return a long condition with each part of its outermost and, or on a line of its own."""
    if not isinstance(node, And | Or):
        return NAMED.condition(node)
    word = "and" if isinstance(node, And) else "or"
    return f"\n{_INDENT}{word} ".join(NAMED.inner(part) for part in node.items)


def _wrapped_list(text: str) -> str:
    lines, line = [], ""
    for word in _WORD.findall(text):
        if line and len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = _INDENT + word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


def _comment_of(line: str) -> str:
    """Return the comment of a line; a # inside a text is none."""
    for match in _COMMENT.finditer(line):
        if match[2] is not None:
            comment = match[2].strip()
            return f"# {comment}" if comment else "#"
    return ""


def _without_doubled_blanks(lines: list[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    while kept and not kept[-1]:
        kept.pop()
    return kept
