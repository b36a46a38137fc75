"""The list of checks, each with the number of the behaviour that it looks at."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bench.conformance.probe import Probe

Run = Callable[[Probe], Awaitable[None]]


class Check(NamedTuple):
    """One check: ``run`` returns when the host does right, else raises Failed or Skipped."""

    number: int
    title: str
    run: Run


CHECKS: list[Check] = []


def behaviour(number: int, title: str) -> Callable[[Run], Run]:
    """Register a check of behaviour ``number``; ``title`` says what the host does."""

    def register(run: Run) -> Run:
        CHECKS.append(Check(number, title, run))
        return run

    return register
