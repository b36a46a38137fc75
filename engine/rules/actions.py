"""The action of a rule: decline, step_up, review, allow with overrides, score, tag."""

import re

from engine.rules.cursor import Cursor
from engine.rules.limits import RULES_MAX, TTL_MAX_S
from engine.rules.tokens import TokenKind
from engine.rules.tree import Action, ActionKind, Phase

NAMES = {kind.name.lower(): kind for kind in ActionKind if kind is not ActionKind.NONE}

_RESPONSE = re.compile(r"[0-9A-Z]{2}")
# Codes that tell the terminal to go ahead (ISO 8583:1987, DE39): no rule declines with them.
_APPROVALS = frozenset({"00", "08", "10", "11", "16", "85", "87"})
_TTL = re.compile(r"([0-9]{1,8})(s|m|h|d)")
_TTL_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_POINTS = re.compile(r"0\.[0-9]{1,4}")


def parse_action(cursor: Cursor, phase: Phase) -> Action:
    """Take an action and its arguments."""
    start = cursor.token
    kind = NAMES[cursor.take_one_of(NAMES, "an action")]
    if kind is ActionKind.DECLINE:
        return Action(kind, response=_parse_response(cursor))
    if kind is ActionKind.ALLOW:
        return _parse_allow(cursor)
    if kind is ActionKind.TAG:
        return Action(kind, tag=cursor.take_name("a tag name").text)
    if kind is ActionKind.SCORE:
        if phase is Phase.POST:
            message = "expected 'score' in a pre rule: post rules read the score, it is final then"
            raise cursor.error(message, start)
        return Action(kind, points_bp=_parse_points(cursor))
    return Action(kind)


def _parse_response(cursor: Cursor) -> str:
    cursor.take_symbol("(")
    token = cursor.token
    if token.kind is TokenKind.TEXT or not _RESPONSE.fullmatch(token.text):
        raise cursor.expected("a response code of two characters, like 59 or 1A")
    if token.text in _APPROVALS:
        raise cursor.error(f"expected a code that declines; '{token.text}' approves", token)
    cursor.take()
    cursor.take_symbol(")")
    return token.text


def _parse_allow(cursor: Cursor) -> Action:
    cursor.take_symbol("(")
    token = cursor.token
    match = _TTL.fullmatch(token.text)
    if token.kind is not TokenKind.NUMBER or match is None:
        raise cursor.expected("how long the allow counts, like 24h (units s, m, h, d)")
    ttl_s = int(match[1]) * _TTL_UNITS_S[match[2]]
    if not 1 <= ttl_s <= TTL_MAX_S:
        raise cursor.error(f"expected a time of 1s to {TTL_MAX_S // 86_400}d", token)
    cursor.take()
    cursor.take_symbol(")")
    return Action(ActionKind.ALLOW, ttl_s=ttl_s, overrides=_parse_overrides(cursor))


def _parse_overrides(cursor: Cursor) -> tuple[str, ...]:
    if not cursor.take_word("overrides"):
        if cursor.token.kind is TokenKind.NAME:
            what = "'overrides' or the quoted text of the rule"
            raise cursor.expected(what, known=("overrides",))
        return ()
    cursor.take_symbol("(")
    names: list[str] = []
    while True:
        token = cursor.take_name("the id of a rule")
        if token.text in names:
            raise cursor.error(f"'{token.text}' is named twice", token)
        names.append(token.text)
        cursor.rule_uses.append(token)
        if len(names) > RULES_MAX:
            raise cursor.error(f"more than {RULES_MAX} rules named", token)
        if not cursor.try_symbol(","):
            break
    cursor.take_symbol(")")
    return tuple(names)


def _parse_points(cursor: Cursor) -> int:
    cursor.take_symbol("+")
    token = cursor.take_kind(TokenKind.NUMBER, "what is added to the score, like 0.05")
    points_bp = round(float(token.text) * 10_000) if _POINTS.fullmatch(token.text) else 0
    if points_bp == 0:
        message = "expected what is added to the score: 0.0001 to 0.9999, four decimals at most"
        raise cursor.error(message, token)
    return points_bp
