"""Parse a rule file into its typed tree: recursive descent, one function a construct.

Statements begin with ``list``, ``rule``, ``breaker`` or ``zone``; line ends have no meaning. Names
are checked here: an unknown column, list, constant or action is an error at its place with the
nearest valid name.
The bounds of the compiled form are ``program``'s.
"""

from pathlib import Path

from engine.rules import limits
from engine.rules.actions import NAMES, parse_action
from engine.rules.conditions import parse_condition
from engine.rules.cursor import Cursor
from engine.rules.errors import RuleError, nearest
from engine.rules.statements import (
    DEFAULT,
    MODEL,
    STATEMENTS,
    check_breakers,
    parse_breaker,
    parse_zone,
)
from engine.rules.tokens import TokenKind, tokens_from_text
from engine.rules.tree import (
    OVERRIDABLE,
    ActionKind,
    Breaker,
    Mode,
    Phase,
    Rule,
    RuleFile,
    ValueList,
    reads_list,
)
from engine.rules.values import TYPE_NAMES, in_order, parse_values

_PHASES = {"pre": Phase.PRE, "post": Phase.POST}
_MODES = {"active": Mode.ACTIVE, "shadow": Mode.SHADOW, "off": Mode.OFF}


def parse_file(path: Path) -> RuleFile:
    """Read and parse ``path``; raise RuleError for a file that cannot be read or taken."""
    return parse(text_of(path), file=str(path))


def text_of(path: Path) -> str:
    """Return the text of ``path``; raise RuleError where it cannot be read or is too long."""
    try:
        size_bytes = path.stat().st_size
        if size_bytes > limits.FILE_BYTES_MAX:
            message = f"{size_bytes} bytes; at most {limits.FILE_BYTES_MAX} are read"
            raise RuleError(message, str(path))
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise RuleError(f"cannot be read: {reason}", str(path)) from error
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise RuleError("not UTF-8", str(path), line, column) from error


def parse(text: str, *, file: str = "<rules>") -> RuleFile:
    """Parse the text of a rule file; raise RuleError with the place of the first error.

    Lists may be declared after the rules that name them.
    """
    if len(text) > limits.FILE_BYTES_MAX:
        raise RuleError(f"{len(text)} characters; at most {limits.FILE_BYTES_MAX} are read", file)
    cursor = Cursor(tokens_from_text(text, file), file)
    lists: list[ValueList] = []
    rules: list[Rule] = []
    breakers: list[Breaker] = []
    zone: tuple[int, str] | None = None
    while cursor.token.kind is not TokenKind.END:
        if cursor.take_word("list"):
            lists.append(_parse_list(cursor, lists))
        elif cursor.take_word("rule"):
            rules.append(_parse_rule(cursor, rules))
        elif cursor.take_word("breaker"):
            breakers.append(parse_breaker(cursor, breakers))
        elif cursor.at_word("zone"):
            zone = parse_zone(cursor, zone)
        else:
            raise cursor.expected("'rule', 'list', 'breaker' or 'zone'", known=STATEMENTS)
    _check_lists_known(cursor, lists)
    _check_overrides(cursor, rules)
    check_breakers(cursor, breakers, rules)
    return RuleFile(tuple(lists), tuple(rules), file, tuple(breakers), *(zone or (0, "")))


def _parse_list(cursor: Cursor, lists: list[ValueList]) -> ValueList:
    token = cursor.take_name("a list name")
    if any(known.name == token.text for known in lists):
        raise cursor.error(f"the list '{token.text}' is declared twice", token)
    if len(lists) >= limits.LISTS_MAX:
        raise cursor.error(f"more than {limits.LISTS_MAX} lists", token)
    type_name = cursor.take_one_of(TYPE_NAMES, "the type of the list")
    cursor.take_symbol("=")
    values: list[float] = []
    room = limits.LIST_VALUES_MAX - sum(len(known.values) for known in lists)
    is_open = not _at_statement(cursor)
    while is_open:
        if len(values) == room:
            message = f"the lists hold more than {limits.LIST_VALUES_MAX} values"
            raise cursor.error(message, cursor.token)
        values += parse_values(cursor, TYPE_NAMES[type_name], room - len(values))
        is_open = cursor.try_symbol(",")
    if not _at_statement(cursor):
        raise cursor.expected("',', the next list or rule", known=STATEMENTS)
    kind = TYPE_NAMES[type_name]
    return ValueList(token.text, kind, in_order(values, kind), token.place)


def _parse_rule(cursor: Cursor, rules: list[Rule]) -> Rule:
    token = cursor.take_name("a rule id")
    if any(known.name == token.text for known in rules):
        raise cursor.error(f"the rule '{token.text}' is defined twice", token)
    if token.text in (DEFAULT, MODEL):
        message = f"no rule may be named '{token.text}': breakers and modes mean something else"
        raise cursor.error(message, token)
    if len(rules) >= limits.RULES_MAX:
        raise cursor.error(f"more than {limits.RULES_MAX} rules", token)
    phase = _PHASES[cursor.take_one_of(_PHASES, "the phase")]
    mode = Mode.ACTIVE
    word = cursor.token
    if word.kind is TokenKind.NAME and word.text in _MODES:
        mode = _MODES[cursor.take().text]
    elif word.kind is TokenKind.NAME and word.text not in NAMES:
        what = f"a mode ({', '.join(_MODES)}) or an action ({', '.join(NAMES)})"
        raise cursor.expected(what, known=(*_MODES, *NAMES))
    action = parse_action(cursor, phase)
    text = cursor.take_kind(TokenKind.TEXT, "the quoted text of the rule").text
    if not cursor.take_word("when"):
        raise cursor.expected("'when'", known=("when",))
    when = parse_condition(cursor, token.text, phase)
    if not _at_statement(cursor):
        raise cursor.expected("'and', 'or' or the next rule", known=("and", "or", *STATEMENTS))
    return Rule(token.text, phase, mode, action, text, when, token.place)


def _at_statement(cursor: Cursor) -> bool:
    return cursor.at_end() or any(cursor.at_word(word) for word in STATEMENTS)


def _check_lists_known(cursor: Cursor, lists: list[ValueList]) -> None:
    types = {known.name: known.type for known in lists}
    for token, column in cursor.list_uses:
        if token.text not in types:
            hint = nearest(token.text, types)
            raise cursor.error(f"no list is named '{token.text}'{hint}", token)
        if types[token.text] is not column.type:
            have, need = types[token.text].value, column.type.value
            message = f"expected a list of {need} for '{column.name}', '{token.text}' is of {have}"
            raise cursor.error(message, token)


def _check_overrides(cursor: Cursor, rules: list[Rule]) -> None:
    """An allow names rules that exist, and never one that declines by a list."""
    by_name = {rule.name: rule for rule in rules}
    for token in cursor.rule_uses:
        rule = by_name.get(token.text)
        if rule is None:
            raise cursor.error(
                f"no rule is named '{token.text}'{nearest(token.text, by_name)}", token
            )
        if rule.action.kind not in OVERRIDABLE:
            message = f"'{token.text}' is no decline, step_up or review: nothing to override"
            raise cursor.error(message, token)
        if rule.action.kind is ActionKind.DECLINE and reads_list(rule.when):
            message = f"'{token.text}' declines by a list; no allow can override that"
            raise cursor.error(message, token)
