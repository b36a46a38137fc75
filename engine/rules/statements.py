"""The short statements of a rule file: ``breaker`` and ``zone``."""

import re
from collections.abc import Sequence

from engine.rules.cursor import Cursor
from engine.rules.errors import nearest
from engine.rules.limits import BREAKER_WINDOW_MAX, BREAKER_WINDOW_MIN
from engine.rules.tokens import TokenKind
from engine.rules.tree import Breaker, Rule, is_limit_target
from engine.zones import zone_number

STATEMENTS = ("rule", "list", "breaker", "zone")
DEFAULT, MODEL = "default", "model"

_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,4})?")
_TIMES = re.compile(r"[1-9][0-9]{0,3}")
_WINDOW = re.compile(r"[0-9]{1,7}")
_ZONE = re.compile(r"(-?)([0-9]{1,2}):([0-9]{2})")
_ZONE_S_MAX = 14 * 3_600


def parse_breaker(cursor: Cursor, breakers: Sequence[Breaker]) -> Breaker:
    """Take ``default 5% of 1000``, ``model ...`` or ``R07 5 x 0.04% of 10000``."""
    target = cursor.take_name("a rule id, 'default' or 'model'")
    if any(known.target == target.text for known in breakers):
        raise cursor.error(f"the breaker of '{target.text}' is stated twice", target)
    times = 1
    token = cursor.take_kind(TokenKind.NUMBER, "a share in percent, like 0.5%")
    if cursor.take_word("x"):
        if not _TIMES.fullmatch(token.text):
            raise cursor.error("expected how many times the share, 1 to 9999", token)
        times = int(token.text)
        token = cursor.take_kind(TokenKind.NUMBER, "a share in percent, like 0.5%")
    if not _PERCENT.fullmatch(token.text):
        raise cursor.error("expected a share in percent with at most four decimals", token)
    whole, _, part = token.text.partition(".")
    share_ppm = int(whole) * 10_000 + int(part.ljust(4, "0"))
    cursor.take_symbol("%")
    if not cursor.take_word("of"):
        raise cursor.expected("'of' and a number of payments", known=("of",))
    window = cursor.take_kind(TokenKind.NUMBER, "a number of payments")
    size = int(window.text) if _WINDOW.fullmatch(window.text) else 0
    if not BREAKER_WINDOW_MIN <= size <= BREAKER_WINDOW_MAX:
        message = f"expected {BREAKER_WINDOW_MIN} to {BREAKER_WINDOW_MAX} payments"
        raise cursor.error(message, window)
    breaker = Breaker(target.text, share_ppm, size, times, target.place)
    if not 0 < share_ppm * times < 1_000_000:
        raise cursor.error("expected a share over 0% and under 100%", token)
    return breaker


def parse_zone(cursor: Cursor, known: tuple[int, str] | None) -> tuple[int, str]:
    """Take ``zone "Europe/Berlin"`` or ``zone +01:00``; return seconds ahead of UTC and the name.

    One of them says it, the other is 0 or "".
    """
    word = cursor.take()
    if known is not None:
        raise cursor.error("the zone is stated twice", word)
    if cursor.token.kind is TokenKind.TEXT:
        token = cursor.take()
        try:
            zone_number(token.text or "?")
        except ValueError as error:
            raise cursor.error(str(error), token) from None
        return 0, token.text
    is_plus = cursor.try_symbol("+")
    token = cursor.token
    match = _ZONE.fullmatch(token.text) if token.kind is TokenKind.NUMBER else None
    if match is None or is_plus == bool(match[1]) or int(match[3]) > 59:
        raise cursor.expected('a zone, like "Europe/Berlin", +01:00 or -05:30')
    seconds = int(match[2]) * 3_600 + int(match[3]) * 60
    if seconds > _ZONE_S_MAX:
        raise cursor.error("expected an offset of at most 14 hours", token)
    cursor.take()
    return (-seconds if match[1] else seconds), ""


def check_breakers(cursor: Cursor, breakers: Sequence[Breaker], rules: Sequence[Rule]) -> None:
    """Raise at a breaker that names no rule, or one that refuses nothing."""
    by_name = {rule.name: rule for rule in rules}
    for breaker in breakers:
        if breaker.target in (DEFAULT, MODEL):
            continue
        rule = by_name.get(breaker.target)
        if rule is None:
            hint = nearest(breaker.target, (*by_name, DEFAULT, MODEL))
            raise cursor.error_at(f"no rule is named '{breaker.target}'{hint}", breaker.place)
        if not is_limit_target(rule):
            message = f"'{breaker.target}' is no decline or step_up: nothing to break"
            raise cursor.error_at(message, breaker.place)
