"""The trail of a journal's rules: what the book itself says at each record."""

import random

from engine.rule_events import mode_event, rules_event
from engine.rules.book import RuleBook, Source
from engine.rules.language import parse
from engine.rules.program import program_from_file
from engine.rules.trail import RuleTrail
from engine.rules.tree import Mode

_SETS = [
    'rule A pre decline(59) "a" when cnp rule B post shadow decline(59) "b" when score > 0.5',
    'rule B post decline(59) "b" when score > 0.5 rule C pre off review "c" when km > 1',
]


def test_modes_are_those_of_the_book() -> None:
    """Over any sets and changes of modes, the model's among them, trail and book agree."""
    rng = random.Random(39)
    book, trail = RuleBook(), RuleTrail(1)
    for seq in range(1, 200):
        if seq == 1 or rng.random() < 0.1:
            program = program_from_file(parse(rng.choice(_SETS)))
            record, blobs = rules_event(program, Source.FILE, "ann", "", seq)
        else:
            name, mode = rng.choice(["A", "B", "C", "model"]), rng.choice(list(Mode))
            record, blobs = mode_event(name, mode, "ann", "", seq)
        record["seq"] = seq
        book.apply(record[0], blobs)
        trail.read(record, blobs)
        payment = record.copy()
        payment["kind"], payment["seq"] = 1, 1000 + seq
        trail.read(payment, [], [0])
        assert trail.program.text == book.program.text
        assert list(trail.at) == [1000 + seq]
        at = trail.at[1000 + seq]
        for place, rule in enumerate(book.program.names):
            assert at.mode_of(trail.program, place) is book.mode_of(rule)
