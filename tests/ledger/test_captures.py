"""The captures of authorizations against lists: who is next, what is left, what is forgotten."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.authorizations import Cursor, State, new_cursor, new_ring
from ledger.captures import give_back_captures, link_clearing, link_completion, take_place
from ledger.clearings import new_posted
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

_RING, _POSTED = 64, 8


class _Tables:
    """A ring with one root in each of its first rows, and an empty ring of posted items."""

    def __init__(self, start: int, roots: int) -> None:
        self.ring, self.posted, self.cursor = new_ring(_RING), new_posted(_POSTED), new_cursor()
        self.cursor[Cursor.HEAD] = start
        self.cursor[Cursor.POSTED] = 3 * start
        self.roots = [self.enter() for _ in range(roots)]
        self.left: dict[tuple[str, int], int] = {}
        self.of: dict[int, list[tuple[str, int]]] = {root: [] for root in self.roots}

    def enter(self) -> int:
        """Give a message its row."""
        self.cursor[Cursor.HEAD] += 1
        self.cursor[Cursor.NEXT_SEQ] += 1
        entry = int(self.cursor[Cursor.HEAD])
        self.ring[entry % _RING]["seq"] = self.cursor[Cursor.NEXT_SEQ]
        return entry

    def clear(self, root: int, amount: int) -> None:
        """Post a clearing."""
        self.cursor[Cursor.POSTED] += 1
        self.cursor[Cursor.NEXT_SEQ] += 1
        number = int(self.cursor[Cursor.POSTED])
        row = self.posted[number % _POSTED]
        row["amount_minor"], row["back_minor"], row["before"] = amount, 0, 0
        row["authorization"], row["seq"] = root, self.cursor[Cursor.NEXT_SEQ]
        link_clearing(np.int64(number), np.int64(root), self.ring, self.posted)
        self.note("clearing", number, root, amount)

    def complete(self, root: int, amount: int) -> None:
        """Post a completion."""
        entry = self.enter()
        self.ring[entry % _RING]["cleared_minor"] = amount
        self.ring[entry % _RING]["state"] = State.CLEARED
        link_completion(np.int64(entry), np.int64(root), self.ring)
        self.note("completion", entry, root, amount)

    def note(self, kind: str, number: int, root: int, amount: int) -> None:
        """Remember it in the naive way."""
        self.left[kind, number] = amount
        self.of[root].append((kind, number))

    def give_back(self, root: int, amount: int) -> None:
        """Give back by both."""
        give_back_captures(np.int64(root), np.int64(amount), self.ring, self.posted, self.cursor)
        for key in reversed(self.of[root]):
            if key[0] == "clearing" and key[1] <= self.cursor[Cursor.POSTED] - _POSTED:
                continue
            part = min(amount, self.left[key])
            self.left[key] -= part
            amount -= part

    def check(self) -> None:
        """Compare what is left of everything that is remembered."""
        for (kind, number), left in self.left.items():
            if kind == "completion":
                row = self.ring[number % _RING]
                assert int(row["cleared_minor"]) == left
                assert (row["state"] == State.REVERSED) == (left == 0)
            elif number > self.cursor[Cursor.POSTED] - _POSTED:
                row = self.posted[number % _POSTED]
                assert int(row["amount_minor"] - row["back_minor"]) == left


@settings(max_examples=examples(200), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    start=st.sampled_from([0, 2**31 - 20, 2**32 - 30, 2**32 - 10, 2**33 - 12]),
)
def test_the_newest_comes_back_first(seed: int, start: int) -> None:
    """Clearings and completions of three authorizations, some forgotten, in any order."""
    random = Random(seed)
    tables = _Tables(start, 3)
    for _ in range(40):
        root = random.choice(tables.roots)
        step = random.random()
        if step < 0.4:
            tables.clear(root, random.randint(1, 9))
        elif step < 0.8:
            tables.complete(root, random.randint(1, 9))
        else:
            tables.give_back(root, random.choice([1, 5, 12, 10**9]))
        tables.check()


def test_an_advice_in_its_place_leads_to_what_was_cleared_before() -> None:
    """Its own captures are not those of the authorization, nor the other way round."""
    tables = _Tables(0, 1)
    root = tables.roots[0]
    tables.clear(root, 5)
    advices = [tables.enter(), tables.enter()]
    for before, advice in zip([root, *advices], advices, strict=False):
        take_place(np.int64(advice), np.int64(before), tables.ring)
    tables.of[advices[1]] = []

    tables.give_back(advices[1], 3)
    tables.check()
    tables.give_back(root, 3)
    tables.check()
    tables.clear(advices[1], 4)
    tables.give_back(advices[1], 10)
    tables.check()

    assert tables.left == {("clearing", 1): 2, ("clearing", 2): 0}


def test_a_clearing_given_back_twice_in_an_older_journal_has_nothing_left() -> None:
    """It is passed over, and the one before it is taken."""
    tables = _Tables(0, 1)
    tables.clear(tables.roots[0], 5)
    tables.clear(tables.roots[0], 5)
    tables.posted[2]["back_minor"] = 10
    tables.left["clearing", 2] = 0

    tables.give_back(tables.roots[0], 4)

    assert tables.posted["back_minor"][:3].tolist() == [0, 4, 10]
