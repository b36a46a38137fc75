"""What is wrong with a rule file, and where.

Messages never repeat a run of twelve or more digits: an operator who pastes a card number into a
list must not find it again in a log.
"""

import difflib
import re
from collections.abc import Iterable

LONG_NUMBER = re.compile(r"[0-9]{12,}")
_SHOWN_MAX = 40


class RuleError(ValueError):
    """A rule file that cannot be taken; prints as ``file:line:column: message``.

    ``line`` and ``column`` count from 1; 0 = the file as a whole.
    """

    exit_code = 78  # as of ``engine.errors.ConfigError``

    def __init__(self, message: str, file: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.column = column

    def __str__(self) -> str:
        if self.line == 0:
            return f"{self.file}: {self.message}"
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


def shown(text: str) -> str:
    """Return ``text`` as a message may quote it: printable, short, without a card number."""
    text = LONG_NUMBER.sub(lambda match: f"({len(match.group())} digits)", text)
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest of ``known`` in any case, or nothing."""
    by_small = {name.lower(): name for name in sorted(known, reverse=True)}
    small = word[:_SHOWN_MAX].lower()
    close = difflib.get_close_matches(small, sorted(by_small), n=1, cutoff=0.6)
    return f"; did you mean '{by_small[close[0]]}'?" if close else ""
