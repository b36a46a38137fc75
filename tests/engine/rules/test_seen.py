"""What is copied of a batch explains every hit of it, whatever becomes of batch and lists."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.rules.book import RuleBook
from engine.rules.columns import BY_NAME, KEYED
from engine.rules.explain import NotKeptError, deciding, explained
from engine.rules.kernels import evaluate
from engine.rules.language import parse
from engine.rules.list_kernels import is_listed, key_from_value, list_number
from engine.rules.list_table import ListTable
from engine.rules.program import program_from_file
from engine.rules.seen import Copier, Witness
from engine.rules.sum_kernels import fill_sums
from engine.rules.tree import Phase, RuleFile
from tests.oracle.rule_sets import random_file, random_rows, scratch_of
from tests.support.effort import examples

pytestmark = pytest.mark.kernels
_UNIX = BY_NAME["unix_s"].index
_ROWS = 30


def _book_of(rule_file: RuleFile, rng: random.Random) -> RuleBook:
    """Return a book with the set in force and some entries in its lists, added at 0 to 100 s."""
    book = RuleBook()
    book.lists = ListTable(512)
    book.install(program_from_file(rule_file))
    for one in rule_file.lists:
        for value in (0.0, 0.5, 5, *one.values):
            if rng.random() < 0.4:
                key = key_from_value(value, is_key=one.type in KEYED)
                until_s = rng.choice((50, 150, 10_000))
                number = list_number(one.name)
                book.lists.add(number, np.array([key], np.uint64), rng.randint(0, 100), until_s)
    return book


def _judged(book: RuleBook, values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return the hits of the rules in force."""
    live, program = book.deployed, book.program
    idx = np.arange(len(values), dtype=np.int32)
    hits = np.zeros((len(values), program.words), np.uint64)
    for phase in Phase:
        if len(program.sums):
            fill_sums(idx, program.steps, program.sums, int(phase), values)
        tables = (program.predicates, program.list_keys, live.terms, *live.bounds(phase))
        forms = (program.literals, program.ranges, book.lists.tables, scratch_of(values))
        evaluate(values, idx, *tables, *forms, hits)
    return hits


@settings(max_examples=examples(60))
@given(st.integers(0, 2**32 - 1))
def test_every_hit_is_explained_by_its_copy(seed: int) -> None:
    """Of any set, rows and entries: after all of it has changed, each rule that hit still holds."""
    rng = random.Random(seed)
    rule_file = random_file(rng, rng.randint(1, 6))
    book = _book_of(rule_file, rng)
    values = random_rows(rng, _ROWS)
    values[:, _UNIX] = rng.choices(range(200), k=_ROWS)
    hits = _judged(book, values)
    rows = np.flatnonzero(hits.any(axis=1))
    if not len(rows):
        return
    work = SimpleNamespace(values=values, hits=hits.copy())
    seen = Copier().rows(book, work, rows, rows + 7, rows + 70)
    values[:], work.hits[:] = 0.5, 0
    for one in rule_file.lists:
        book.lists.clear(list_number(one.name))
    assert seen.records.tolist() == (rows + 7).tolist()
    for at, row in enumerate(rows.tolist()):
        kept = seen.row(at)
        assert (kept.ts_ns, kept.version) == (70 + row, book.program.version)
        assert sum(1 << place for place in kept.places) == int(hits[row, 0])
        witness = Witness(kept, book.program)
        for place in kept.places:
            lines = explained(rule_file.rules[place], witness.value_of, witness.is_listed)
            assert lines[0].holds
            assert deciding(lines)


@settings(max_examples=examples(40))
@given(st.integers(0, 2**32 - 1))
def test_many_keys_are_listed_as_one_is(seed: int) -> None:
    """Entries, those whose time is over and those that came too long ago: as the kernel says."""
    rng, table = random.Random(seed), ListTable(64)
    for key in rng.sample(range(20), k=10):
        added_s = rng.randint(0, 50)
        table.add(9, np.array([key], np.uint64), added_s, rng.choice((added_s, 40, 2**32 - 1)))
    keys = np.array(rng.choices(range(25), k=20), np.uint64)
    now_s = np.array(rng.choices(range(80), k=20), np.int64)
    for ttl_s in (0, 1, 25):
        told = table.have(9, keys, now_s, ttl_s)
        pairs = zip(keys, now_s, strict=True)
        single = [is_listed(np.uint64(9), k, int(n), ttl_s, *table.tables) for k, n in pairs]
        assert told.tolist() == single


def test_only_what_was_read_is_known() -> None:
    """A column of no rule and a list that no hit asked are not made up."""
    text = """
    list bad terminal = "T1"
    list good terminal =
    rule A pre review "a" when amount >= 5.00
    rule B pre review "b" when terminal in @good and amount >= 9.00
    """
    rule_file = parse(text)
    book = _book_of(rule_file, random.Random(1))
    values = random_rows(random.Random(2), 1)
    values[0, BY_NAME["amount"].index], values[0, _UNIX] = 7.25, 9.0
    work = SimpleNamespace(values=values, hits=_judged(book, values))
    zero = np.zeros(1, np.int64)
    seen = Copier().rows(book, work, zero, zero, zero).row(0)
    witness = Witness(seen, book.program)
    assert seen.places == [0]
    assert witness.value_of(BY_NAME["amount"]) == 7.25
    with pytest.raises(NotKeptError, match="mcc"):
        witness.value_of(BY_NAME["mcc"])
    assert witness.is_listed("bad", BY_NAME["terminal"], rule_file.lists[0].values[0], 0)
    with pytest.raises(NotKeptError, match="@good"):
        witness.is_listed("good", BY_NAME["terminal"], 5, 0)
