"""Counts of rules follow from the records: live, replayed in any pieces, and from a snapshot."""

import json
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.events import apply_events
from engine.label_events import Label, apply_labels, label_record
from engine.replay import Replayer
from engine.rule_counts import RuleCounts, RuleLabel, labels_of
from engine.rule_events import Event, apply_rule_events, mode_event, rules_event
from engine.rules.book import RuleBook, Source
from engine.rules.language import parse
from engine.rules.program import Program, program_from_file
from engine.rules.tree import Mode
from ledger.journal import BlobKind
from ledger.record import RECORD, Kind
from tests.support.effort import examples
from tests.support.small_engine import HASH_KEY, START_NS, TABLES, SmallEngine, frame

pytestmark = pytest.mark.kernels

_MORE = "\n".join(f'rule M{n} pre tag t{n} "t" when amount >= {n}.00' for n in range(140))
_SETS = [
    'rule A pre tag a "a" when amount >= 3.00 rule B pre shadow decline(59) "b" when mcc == 5411',
    'rule B pre shadow decline(59) "b" when amount >= 5.00 rule A pre tag a "a" when cnp',
    f'rule B pre review "b" when amount >= 2.00\n{_MORE}\nrule A pre tag a "a" when amount < 9.00',
    "",
]


def _program(text: str) -> Program:
    return program_from_file(parse(text))


def test_a_new_rule_set_keeps_the_counts_of_rules_that_stay() -> None:
    """Counts follow the rule, not its bit; a rule with another action starts at 0."""
    counts = RuleCounts()
    counts.set_rules([RuleLabel("a", "decline"), RuleLabel("b", "review")])
    counts.hits[:2] = (7, 9)
    counts.set_rules(
        [RuleLabel("b", "review"), RuleLabel("c", "decline"), RuleLabel("a", "review")], 5
    )
    assert counts.hits[:3].tolist() == [9, 0, 0]


def _rows(**fields: list[int]) -> NDArray[np.void]:
    records = np.zeros(len(next(iter(fields.values()))), RECORD)
    for name, values in fields.items():
        records[name] = values
    return records


def test_labels_count_for_the_rules_that_held_by_the_names_of_then() -> None:
    """A rule may stand at another bit by now, or be gone; precision follows its name."""
    counts = RuleCounts()
    names = ("a", "b", "gone", *(f"r{n}" for n in range(61)), "last")
    counts.set_rules([RuleLabel(name, "tag") for name in names], 1)
    counts.set_rules([RuleLabel("b", "tag"), RuleLabel("a", "decline (shadow)")], 2)
    labels = _rows(
        kind=[Kind.LABEL] * 4,
        hits_lo=[0b011, 0b001, 0b100, 0b000],
        hits_hi=[0, 1, 0, 0],
        rules_version=[1] * 4,
        status=[Label.FRAUD, Label.GENUINE, Label.FRAUD, Label.FRAUD],
    )
    counts.count(labels)
    assert counts.labelled[:, :2].tolist() == [[1, 1], [0, 1]]
    assert (counts.labelled.sum(), counts.hits.sum()) == (3, 0)
    counts.set_rules([RuleLabel("last", "tag"), RuleLabel("b", "tag")], 3)
    assert counts.labelled[:, :2].tolist() == [[0, 1], [0, 0]]
    counts.count(labels)
    assert counts.labelled[:, :2].tolist() == [[0, 2], [1, 0]]


def test_payments_that_the_set_before_decided_count_for_their_own_rules() -> None:
    """They become durable after the next set is in force: by name, not by its bits."""
    counts = RuleCounts()
    counts.set_rules([RuleLabel("a", "tag"), RuleLabel("b", "tag")], 1)
    counts.set_rules([RuleLabel("b", "tag"), RuleLabel("c", "tag")], 2)
    seconds = [3 * 10**9, 5 * 10**9, 7 * 10**9]
    counts.count(_rows(hits_lo=[0b01, 0b10, 0b10], rules_version=[1, 1, 2], ts_ns=seconds))
    assert counts.hits[:2].tolist() == [1, 1]
    assert counts.last_s[:2].tolist() == [5, 7]
    counts.count(_rows(hits_lo=[0b11], rules_version=[9]))
    assert counts.hits.sum() == 2


def test_names_are_kept_for_a_stated_number_of_sets() -> None:
    """The oldest sets go first, whether many or large; the one in force stays."""
    counts = RuleCounts()
    for version in range(40):
        counts.set_rules([RuleLabel("a", "tag")], version)
    assert list(map(int, counts.to_json()["names"])) == list(range(24, 40))
    for version in range(50, 60):
        counts.set_rules([RuleLabel(f"r{n}", "tag") for n in range(2_048)], version)
    assert list(map(int, counts.to_json()["names"])) == [56, 57, 58, 59]


class _Journal:
    """An engine that keeps its records, and counts as a running one does."""

    def __init__(self) -> None:
        self.engine = SmallEngine(accounts=4, limit_minor=10**9, ring=1024, plain=True)
        self.parts: list[Event] = []
        self.counts = RuleCounts()
        self.now_ns, self.stan = START_NS, 0

    def change(self, event: Event) -> None:
        """Put a record about rules into the journal."""
        self._keep(*apply_rule_events([event], self.engine.state))
        self.counts.changed(self.engine.state.rules)

    def pay(self, random: Random, count: int) -> None:
        """Play payments of some amounts."""
        frames = []
        for _ in range(count):
            self.now_ns += random.randint(0, 3) * 10**9
            self.stan += 1
            card = random.randint(1, 8)
            fields = {
                "de4": f"{random.randint(0, 1_200):012d}",
                "de18": random.choice(["5411", "5999"]),
            }
            frames.append((self.now_ns, frame("0100", card, self.stan, **fields)))
        records, _, _ = self.engine.play(frames, [])
        for blob in self.engine.blobs:
            if blob.kind == BlobKind.HITS:
                self.counts.hits[np.frombuffer(blob.data, "<u2")] += 1
        self._keep(records, self.engine.blobs)

    def label(self, random: Random) -> None:
        """Let a label about any payment arrive."""
        records = np.concatenate([records for records, _ in self.parts])
        row = records[int(random.choice(np.flatnonzero(records["kind"] == Kind.AUTHORIZE)))]
        record = label_record(row, random.choice(list(Label)), self.now_ns)
        state = self.engine.state
        assert apply_events(record, state.accounts, state.cards, state.cursor) == 1
        apply_labels(record, state, TABLES)
        self._keep(record, [])

    def _keep(self, records: NDArray[np.void], blobs: list) -> None:
        self.parts.append((records, list(blobs)))
        self.counts.count(records)

    def whole(self) -> Event:
        """Return all records with their blobs."""
        blobs, row = [], 0
        for records, own in self.parts:
            blobs += [blob._replace(row=row + blob.row) for blob in own]
            row += len(records)
        return np.concatenate([records for records, _ in self.parts]), blobs


def _journal(seed: int) -> _Journal:
    random, journal = Random(seed), _Journal()
    journal.change(rules_event(_program(_SETS[0]), Source.FILE, "a", "", journal.now_ns))
    journal.pay(random, 9)
    for _ in range(random.randint(1, 8)):
        step = random.random()
        if step < 0.4:
            journal.pay(random, random.randint(1, 30))
        elif step < 0.7:
            journal.label(random)
        elif step < 0.9:
            program = _program(random.choice(_SETS))
            journal.change(rules_event(program, Source.OPERATOR, "a", "", journal.now_ns))
        elif journal.engine.state.rules.program.rule_count:
            mode = random.choice(list(Mode))
            journal.change(mode_event("A", mode, "a", "", journal.now_ns))
    return journal


def _by_hand(journal: _Journal) -> dict[tuple[str, str], list[int]]:
    """Return hits, last second, frauds and genuine ones by rule and action, one by one."""
    book, found = RuleBook(), {}
    names: dict[int, tuple[str, ...]] = {}
    for records, blobs in journal.parts:
        if records["kind"][0] in (Kind.RULES, Kind.RULE_MODE):
            book.fold(records, blobs)
            names[book.program.version] = book.program.names
            found = {label: found.get(label, [0] * 4) for label in labels_of(book)}
            continue
        beyond = {
            b.row: np.frombuffer(b.data, "<u2").tolist() for b in blobs if b.kind == BlobKind.HITS
        }
        of = {label.rule: counts for label, counts in found.items()}
        for row, record in enumerate(records):
            bits = int(record["hits_lo"]) | int(record["hits_hi"]) << 64
            held = [
                n
                for at, n in enumerate(names.get(int(record["rules_version"]), ())[:128])
                if bits >> at & 1
            ]
            for name in held:
                if name in of and record["kind"] == Kind.LABEL:
                    of[name][2 if record["status"] == Label.FRAUD else 3] += 1
                elif name in of:
                    of[name][0] += 1
                    of[name][1] = int(record["ts_ns"]) // 10**9
            for place in beyond.get(row, []):
                of[book.program.names[place]][0] += 1
    return found


def _facts(counts: RuleCounts) -> dict[tuple[str, str], list[int]]:
    rows = np.array((counts.hits, counts.last_s, *counts.labelled)).T.tolist()
    assert not any(map(any, rows[len(counts.labels) :]))
    return dict(zip(counts.labels, rows, strict=False))


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_a_replay_counts_what_was_counted_live(seed: int, chunk: int) -> None:
    """Sets, modes and labels among payments: by hand, live and replayed are one."""
    journal = _journal(seed)
    expected = _by_hand(journal)
    assert _facts(journal.counts) == expected
    again = SmallEngine(accounts=4, limit_minor=10**9, ring=1024, plain=True)
    counts = again.state.rules.watcher = RuleCounts()
    records, blobs = journal.whole()
    Replayer(again.state, TABLES, HASH_KEY, chunk=chunk).apply(records, [], blobs)
    assert _facts(counts) == expected
    total = Counter(records["kind"].tolist())
    assert counts.labelled.sum() <= total[Kind.LABEL] * len(counts.labels)


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_counts_go_through_a_snapshot(seed: int) -> None:
    """As JSON, and on from there: the same as without it."""
    journal = _journal(seed)
    again = RuleCounts()
    again.restore(json.loads(json.dumps(journal.counts.to_json())))
    assert _facts(again) == _facts(journal.counts)
    assert again.seq == journal.counts.seq
    before, journal.counts = journal.counts, again
    random = Random(seed)
    journal.pay(random, 5)
    journal.label(random)
    for records, blobs in journal.parts[-2:]:
        before.saw(records, blobs)
    assert _facts(before) == _facts(journal.counts)
    assert before.to_json() == journal.counts.to_json()
