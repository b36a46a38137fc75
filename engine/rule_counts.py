"""How often each rule held, on what, and when last: counts that a restart does not lose.

They follow from the records alone: payments hold the bits of the rules that held on them, labels
repeat the bits of the payment that they are about. So the counts of a running engine and those of a
start that reads the same records are one; a snapshot holds them as of a stated record, and the
records after it are counted while they are replayed. One writer: the start, then the loop's thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import metrics_kernels as kernels
from engine.rules.book import RuleBook
from engine.rules.limits import RULES_MAX
from engine.rules.tree import ActionKind, Mode
from ledger.journal import Blob, BlobKind
from ledger.record import Kind

_SETS_KNOWN = 16  # sets whose names are kept, for labels that come weeks after the payment
_NAMES_KNOWN = 8_192  # of all of them

assert Kind.LABEL == kernels.LABEL


class RuleLabel(NamedTuple):
    """How a rule shows in the metrics: its id and what it does (with its mode, if not live)."""

    rule: str
    action: str


class RuleTimes(NamedTuple):
    """Nanoseconds for one payment: of each rule that is not off, by name, and of the set."""

    rules: Mapping[str, float]
    whole: float


def labels_of(book: RuleBook) -> list[RuleLabel]:
    """Return the labels of the rules in force, in their modes of now."""
    program, modes, labels = book.program, book.deployed.modes, []
    for place, name in enumerate(program.names):
        action = ActionKind(int(program.rules[place]["action"])).name.lower()
        mode = Mode(int(modes[place])).name.lower()
        labels.append(RuleLabel(name, action if mode == "active" else f"{action} ({mode})"))
    return labels


class RuleCounts:
    """Counts by place of the rule in the set in force."""

    def __init__(self) -> None:
        self.labels: tuple[RuleLabel, ...] = ()
        self.hits = np.zeros(RULES_MAX, np.int64)
        self.last_s = np.zeros(RULES_MAX, np.int64)  # Unix seconds of the last hit; 0 = none yet
        self.labelled = np.zeros((2, RULES_MAX), np.int64)  # frauds, genuine: hits with a label
        self.seq = 0  # the last record that is counted
        self._version = 0
        self._names: dict[int, tuple[str, ...]] = {}  # by version of a set

    def set_rules(self, labels: Sequence[RuleLabel], version: int = 0) -> None:
        """Name the rules by their bit; a rule that was there before keeps its counts."""
        assert len(labels) <= RULES_MAX, "a rule set has at most 2,048 rules"
        self._know(version, tuple(label.rule for label in labels))
        self._version = version
        if tuple(labels) == self.labels:
            return
        facts = (self.hits, self.last_s, *self.labelled)
        named = np.array([fact[: len(self.labels)] for fact in facts])
        kept = dict(zip(self.labels, named.T.tolist(), strict=True))
        self.labels = ()  # readers see no names rather than wrong ones
        for fact in facts:
            fact[:] = 0
        for bit, label in enumerate(labels):
            for fact, value in zip(facts, kept.get(label, ()), strict=False):
                fact[bit] = value
        self.labels = tuple(labels)

    def changed(self, book: RuleBook) -> None:
        """Take over the rules as they are from the next record on."""
        self.set_rules(labels_of(book), book.program.version)

    def count(self, records: NDArray[np.void]) -> None:
        """Count the hits and the labels among durable ``records`` RECORD (k,), in order."""
        if not len(records):
            return
        others, labels = kernels.count_hits(
            records, len(records), self._version, self.hits, self.last_s
        )
        if others:
            is_other = (records["rules_version"] != self._version) & (records["kind"] != Kind.LABEL)
            self._count_others(records[is_other])
        if labels:
            self._count_labels(records[records["kind"] == Kind.LABEL])
        self.seq = int(records["seq"][-1])

    def saw(self, records: NDArray[np.void], blobs: Sequence[Blob]) -> None:
        """Count ``records`` as they are replayed; ``blobs`` hold hits past those of a record."""
        self.count(records)
        self.count_later(blobs)

    def count_later(self, blobs: Iterable[Blob]) -> None:
        """Count the hits that ``blobs`` hold: of rules past those that a record has bits for."""
        for blob in blobs:
            if blob.kind == BlobKind.HITS:
                self.hits[np.frombuffer(blob.data, "<u2")] += 1

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain values, with the record up to which they are true."""
        facts = (self.hits, self.last_s, *self.labelled)
        rows = np.array(facts)[:, : len(self.labels)].T.tolist()
        return {
            "seq": self.seq,
            "version": self._version,
            "rules": [[*label, *row] for label, row in zip(self.labels, rows, strict=True)],
            "names": {str(version): list(names) for version, names in self._names.items()},
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take over what ``to_json`` gave."""
        rows = kept["rules"]
        self.set_rules([RuleLabel(rule, action) for rule, action, *_ in rows])
        for place, (_, _, hits, last_s, frauds, genuine) in enumerate(rows):
            self.hits[place], self.last_s[place] = hits, last_s
            self.labelled[:, place] = frauds, genuine
        self.seq, self._version = int(kept["seq"]), int(kept["version"])
        self._names = {int(version): tuple(names) for version, names in kept["names"].items()}

    def _know(self, version: int, names: tuple[str, ...]) -> None:
        """Remember the names of a set; the oldest go first."""
        self._names.pop(version, None)
        self._names[version] = names
        while len(self._names) > _SETS_KNOWN or (
            len(self._names) > 1 and sum(map(len, self._names.values())) > _NAMES_KNOWN
        ):
            self._names.pop(next(iter(self._names)))

    def _count_others(self, records: NDArray[np.void]) -> None:
        """Count hits of payments that another set decided: the rules of these names, if any."""
        for place, rows in self._hit_by(records):
            self.hits[place] += len(rows)
            self.last_s[place] = int(rows["ts_ns"][-1]) // 1_000_000_000

    def _count_labels(self, records: NDArray[np.void]) -> None:
        for place, rows in self._hit_by(records):
            is_fraud = rows["status"] == kernels.FRAUD
            self.labelled[0, place] += int(is_fraud.sum())
            self.labelled[1, place] += int((~is_fraud).sum())

    def _hit_by(self, records: NDArray[np.void]) -> list[tuple[int, NDArray[np.void]]]:
        """Return places of rules in force, each with those of ``records`` on which it held.

        The bits are of the set that decided; a rule that is gone by now is passed over.
        """
        places = {label.rule: place for place, label in enumerate(self.labels)}
        found = []
        for version in np.unique(records["rules_version"]).tolist():
            rows = records[records["rules_version"] == version]
            for bit, name in enumerate(self._names.get(version, ())[:128]):
                hits = rows["hits_lo" if bit < 64 else "hits_hi"]
                is_hit = (hits >> np.uint64(bit & 63) & np.uint64(1)) != 0
                if name in places and is_hit.any():
                    found.append((places[name], rows[is_hit]))
        return found
