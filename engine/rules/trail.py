"""Which rules were in force at a record, and in which modes: for readers of a whole journal.

Reads RULES and RULE_MODE records in order, as ``RuleBook`` does, without lists and breakers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.rules.book import modes_of, program_of_blobs
from engine.rules.program import Program, no_rules
from engine.rules.tree import Mode
from ledger.journal import Blob, BlobKind
from ledger.record import Kind

_CHANGES = (Kind.RULES, Kind.RULE_MODE)


class AtRecord(NamedTuple):
    """What a record itself does not say: modes that were changed by then, hits past its bits."""

    own_modes: Mapping[str, int]
    later: tuple[int, ...]  # places of rules from the 129th on

    def mode_of(self, program: Program, place: int) -> Mode:
        """Return the mode of a rule at that record."""
        return Mode(int(modes_of(program, self.own_modes)[place]))


NOTHING = AtRecord({}, ())


class RuleTrail:
    """``sets`` by the version that records have; ``program`` and ``own_modes`` as of the last."""

    def __init__(self, notes_max: int = 0) -> None:
        self.sets: dict[int, Program] = {}
        self.program: Program = no_rules()
        self.own_modes: Mapping[str, int] = {}
        self.at: dict[int, AtRecord] = {}  # by record number, of the last ``notes_max`` asked for
        self._notes_max = notes_max

    def read(
        self, records: NDArray[np.void], blobs: Sequence[Blob], rows: Iterable[int] = ()
    ) -> None:
        """Follow ``records`` RECORD (k,) in order, and note what held at ``rows``."""
        changes = np.flatnonzero(np.isin(records["kind"], _CHANGES)).tolist()
        noted = set(rows)
        if not changes and not noted:
            return
        later = {b.row: b.data for b in blobs if b.kind == BlobKind.HITS}
        for row in sorted({*changes, *noted}):
            if row in noted:
                places = tuple(np.frombuffer(later.get(row, b""), "<u2").tolist())
                self.at[int(records["seq"][row])] = AtRecord(self.own_modes, places)
            else:
                self._change(records[row], [blob for blob in blobs if blob.row == row])
        while len(self.at) > self._notes_max:
            self.at.pop(next(iter(self.at)))

    def _change(self, record: np.void, blobs: list[Blob]) -> None:
        if int(record["kind"]) == Kind.RULES:
            version = int(record["rules_version"])
            if version not in self.sets:
                self.sets[version] = program_of_blobs(blobs)
            self.program, self.own_modes = self.sets[version], {}
            return
        name = next(b.data.decode("utf-8", "replace") for b in blobs if b.kind == BlobKind.NAME)
        self.own_modes = {**self.own_modes, name: int(record["amount_minor"])}
