"""A rule set as it runs at one record: the program, and the modes that its rules have now.

The file states a mode for each rule; promote, demote, off and the breaker change it while serving.
``Deployed`` is made anew by each such change, in microseconds, and swapped between two batches.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.rules.columns import BY_NAME, COLUMN_COUNT
from engine.rules.program import Program
from engine.rules.tree import ActionKind, Mode, Operator, Phase

_UNIX = BY_NAME["unix_s"].index


@dataclass(frozen=True, slots=True, eq=False)
class Deployed:
    """Arrays of a program that depend on the modes."""

    program: Program
    modes: NDArray[np.uint8]  # u8[r], engine.rules.tree.Mode
    terms: NDArray[np.void]  # TERM[t] of rules that are not off, PRE before POST
    pre_count: int  # of the terms
    needed: NDArray[np.int16]  # columns that any of them reads, ascending
    acting: NDArray[np.uint64]  # u64[REVIEW + 1, words]: active rules by action, of all in row 0
    adding: NDArray[np.int16]  # places of the active SCORE rules

    def bounds(self, phase: Phase) -> tuple[int, int]:
        """Return first and last of the terms of ``phase``."""
        return (0, self.pre_count) if phase is Phase.PRE else (self.pre_count, len(self.terms))


def deploy(program: Program, modes: NDArray[np.uint8] | None = None) -> Deployed:
    """Return ``program`` with ``modes`` u8[r]; None = as the file states them."""
    if modes is None:
        modes = np.ascontiguousarray(program.rules["mode"])
    kept = program.terms[modes[program.terms["rule"]] != Mode.OFF]
    return Deployed(
        program,
        modes,
        kept,
        int((kept["phase"] == Phase.PRE).sum()),
        needed_of(program, kept),
        _acting(program, modes),
        np.flatnonzero(
            (modes == Mode.ACTIVE) & (program.rules["action"] == ActionKind.SCORE)
        ).astype(np.int16),
    )


def needed_of(program: Program, terms: NDArray[np.void]) -> NDArray[np.int16]:
    """Return the columns that ``terms`` read, i16[c] ascending, those of their sums included."""
    literals = [program.literals[t["literal_start"] : t["literal_end"]] for t in terms]
    if not literals:
        return np.zeros(0, np.int16)
    numbers = np.concatenate(literals)
    read = program.predicates[np.unique(np.where(numbers < 0, ~numbers, numbers))]
    columns = {int(c) for name in ("column", "other") for c in read[name] if c >= 0}
    for sum_ in program.sums:
        if int(sum_["column"]) in columns:
            steps = program.steps[sum_["start"] : sum_["end"]]
            columns |= {int(c) for c in steps["column"][steps["code"] == 1]}
    if (read["operator"] >= Operator.IN).any() and (read["list"] != 0).any():
        columns.add(_UNIX)
    return np.array(sorted(c for c in columns if c < COLUMN_COUNT), np.int16)


def _acting(program: Program, modes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    acting = np.zeros((ActionKind.REVIEW + 1, program.words), np.uint64)
    for r in np.flatnonzero(modes == Mode.ACTIVE).tolist():
        action = int(program.rules[r]["action"])
        if action <= ActionKind.REVIEW:
            bit = np.uint64(1 << (r & 63))
            acting[action, r >> 6] |= bit
            acting[0, r >> 6] |= bit
    return acting
