"""What one operator has proposed about rules and another has not approved yet, in memory."""

import hashlib
from typing import NamedTuple, TypeAlias

from engine.admin import operations as api
from engine.rules.differences import differences
from engine.rules.program import Program
from engine.rules.tree import Mode, RuleFile

_PROPOSALS_MAX = 8  # the oldest is forgotten
_DIGITS_LEAST = 8


class SetChange(NamedTuple):
    """A whole set is to be in force; ``source`` is where its text came from."""

    program: Program
    source: int

    def lines(self, stands: RuleFile) -> list[str]:
        """Return what it changes of the set in force, as lines of - and +."""
        found = differences(stands, self.program.source)
        return [line for difference in found for line in difference.lines()]


class ModeChange(NamedTuple):
    """A rule ("model": the scorer) is to have another mode."""

    rule: str
    before: Mode
    mode: Mode

    def lines(self, stands: RuleFile) -> list[str]:
        """Return what it changes, as lines of - and +."""
        del stands  # the mode of then is what counts
        marked = (("-", self.before), ("+", self.mode))
        return [f"{mark} {self.rule} is {mode.name.lower()}" for mark, mode in marked]


Wanted: TypeAlias = SetChange | ModeChange


class Proposals:
    """Proposals by hash: of the set's canonical text, or of what is said of a mode."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Wanted, str]] = {}

    def add(self, wanted: Wanted, operator: str) -> str:
        """Keep what ``operator`` proposes; return its hash. The same again is his who is last."""
        if isinstance(wanted, SetChange):
            sha256 = wanted.program.sha256 or hashlib.sha256(b"").hexdigest()
        else:
            sha256 = hashlib.sha256(f"{wanted.rule} {wanted.mode.name}".encode()).hexdigest()
        self._known.pop(sha256, None)
        self._known[sha256] = (wanted, operator)
        while len(self._known) > _PROPOSALS_MAX:
            self._known.pop(next(iter(self._known)))
        return sha256

    def find(self, sha256: str) -> tuple[str, Wanted, str]:
        """Return (whole hash, what is proposed, by whom) by the first digits. NotFound."""
        found = [s for s in self._known if len(sha256) >= _DIGITS_LEAST and s.startswith(sha256)]
        if len(found) != 1:
            raise api.NotFound("nothing with this hash waits for approval")
        return (found[0], *self._known[found[0]])

    def take(self, sha256: str, operator: str) -> tuple[Wanted, str]:
        """Remove and return what ``operator`` approves, and who proposed it.

        NotFound, or Forbidden where it is the same pair of eyes.
        """
        whole, wanted, proposer = self.find(sha256)
        if proposer.lower() == operator.lower():
            raise api.Forbidden(f"{operator} has proposed it: another operator approves")
        del self._known[whole]
        return wanted, proposer

    def all(self) -> list[tuple[str, Wanted, str]]:
        """Return (hash, what is proposed, by whom), the oldest first."""
        return [(sha256, *known) for sha256, known in self._known.items()]
