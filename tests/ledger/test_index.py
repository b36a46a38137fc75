"""The index agrees with a plain list, whatever grows, leaves or collides."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.index import CAPACITY_MIN, Index, Keys, Rows, index_find, index_remove
from tests.oracle.index import ListIndex
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

# Few different hashes and checks: long probes, equal hashes, equal keys. The high bits vary so
# that a larger table spreads them differently; some wrap around the end of the table.
HASHES = [0, 1, 2, 63, 64, 65, 127, 2**63, 2**63 + 63, 2**64 - 1, 2**64 - 2, 0xFEDC_BA98_7654_3210]
hashes = st.sampled_from(HASHES) | st.integers(0, 2**64 - 1)
checks = st.integers(0, 2) | st.just(2**64 - 1)
operations = st.lists(
    st.tuples(st.sampled_from(["insert", "insert", "remove", "find"]), hashes, checks), max_size=120
)


@given(operations)
def test_fixed_table_agrees_with_the_list(steps: list[tuple[str, int, int]]) -> None:
    """Inserts, removals and finds on a table of fixed size give what the list gives."""
    index, oracle = Index(rows_max=40), ListIndex(40)
    for row, (operation, hash_, check) in enumerate(steps):
        if operation == "insert":
            assert index.insert(hash_, check, row) == oracle.insert(hash_, check, row)
        elif operation == "remove":
            old = oracle.find(hash_, check)
            assert index.remove(hash_, check, old) == oracle.remove(hash_, check, old)
        assert index.find(hash_, check) == oracle.find(hash_, check)
        assert index.count == len(oracle.entries)
    for hash_, check, _ in oracle.entries:
        assert index.find(hash_, check) == oracle.find(hash_, check)


class _Owner:
    """A table of dense rows with an index that grows, and the list beside it."""

    def __init__(self, rows_max: int = 4096) -> None:
        self.keys = np.zeros((rows_max, 2), np.uint64)
        self.row_count = 0
        self.standing = np.zeros(rows_max, np.bool_)
        self.gate = threading.Event()
        self.gate.set()
        self.oracle = ListIndex(rows_max)
        self.index = Index(rows_max=rows_max, source=self.source, rows_expected=1)

    def source(self, first: int, last: int) -> tuple[Keys, Rows]:
        """Hand out the rows that stood when the growth began, once the gate is open."""
        standing = self.standing
        assert self.gate.wait(20)
        rows = first + np.flatnonzero(standing[first:last])
        return self.keys[rows], rows

    def maintain(self) -> None:
        """Note what stands before a growth may begin, then give it a chance."""
        if not self.index.is_growing:
            self.standing = np.zeros(len(self.keys), np.bool_)
            self.standing[[row for _, _, row in self.oracle.entries]] = True
        self.index.maintain(self.row_count)

    def insert(self, hash_: int, check: int) -> bool:
        """Add one row; the list follows what the index could take."""
        self.keys[self.row_count] = hash_, check
        if not self.index.insert(hash_, check, self.row_count):
            return False
        assert self.oracle.insert(hash_, check, self.row_count)
        self.row_count += 1
        return True

    def finish_growth(self) -> None:
        """Maintain until no growth is under way."""
        self.gate.set()
        self.maintain()
        while self.index.is_growing:
            self.maintain()

    def check_all(self) -> None:
        """Every entry of the list is found, and nothing else counts."""
        assert self.index.count == len(self.oracle.entries)
        for hash_, check, _ in self.oracle.entries:
            assert self.index.find(hash_, check) == self.oracle.find(hash_, check)


class GrowingIndex(RuleBasedStateMachine):
    """Any mix of inserts, removals and growths that are held up at any point."""

    @initialize()
    def begin(self) -> None:
        """Start with a small table that is half full soon."""
        self.owner = _Owner()

    @rule(batch=st.lists(st.tuples(hashes, checks), min_size=1, max_size=30))
    def insert(self, batch: list[tuple[int, int]]) -> None:
        """Add rows."""
        for hash_, check in batch:
            self.owner.insert(hash_, check)

    @precondition(lambda self: self.owner.oracle.entries)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Remove one entry, which may be refused only while a log is full."""
        entry = data.draw(st.sampled_from(self.owner.oracle.entries))
        if self.owner.index.remove(*entry):
            self.owner.oracle.remove(*entry)
        else:
            assert self.owner.index.is_growing

    @rule(is_held=st.booleans())
    def maintain(self, *, is_held: bool) -> None:
        """Give growth a chance, with a builder that may be stuck."""
        if is_held:
            self.owner.gate.clear()
        else:
            self.owner.gate.set()
        self.owner.maintain()

    @rule()
    def finish(self) -> None:
        """Let a growth end."""
        self.owner.finish_growth()

    @invariant()
    def counts_agree(self) -> None:
        """The number of entries is right after every step."""
        if hasattr(self, "owner"):
            assert self.owner.index.count == len(self.owner.oracle.entries)

    def teardown(self) -> None:
        """At the end all entries are found, in the old table and in the next."""
        if hasattr(self, "owner"):
            self.owner.check_all()
            self.owner.finish_growth()
            self.owner.check_all()
            self.owner.index.close()


GrowingIndex.TestCase.settings = settings(
    max_examples=examples(40), stateful_step_count=25, deadline=None
)
TestGrowingIndex = GrowingIndex.TestCase


def test_entry_removed_while_growing_stays_away() -> None:
    """A removal between the builder's read and the swap is not undone by the swap."""
    owner = _Owner()
    for i in range(40):
        owner.insert(i * 7919, i)
    owner.gate.clear()
    owner.maintain()
    assert owner.index.is_growing
    assert owner.index.remove(7919, 1, 1)
    assert owner.index.insert(5, 5, 40)
    owner.finish_growth()

    assert owner.index.growths == 1
    assert owner.index.find(7919, 1) == -1
    assert owner.index.find(5, 5) == 40
    assert owner.index.count == 40


def test_full_table_refuses_and_still_answers() -> None:
    """While growth lags, an insert past the safe load is refused, and probes still end."""
    owner = _Owner()
    owner.gate.clear()
    taken = 0
    for i in range(200):
        taken += owner.insert(0, i)
        owner.maintain()
    capacity = owner.index.capacity
    assert capacity == CAPACITY_MIN
    assert taken <= capacity - capacity // 8
    assert owner.index.find(0, 10_000) == -1
    owner.finish_growth()
    assert owner.insert(0, 999)
    owner.check_all()


def test_bound_of_rows_holds_after_growth() -> None:
    """The stated maximum is the maximum, however often the table has grown."""
    owner = _Owner(rows_max=100)
    rng = np.random.default_rng(1)
    for key in rng.integers(0, 2**64, (100, 2), dtype=np.uint64):
        assert owner.insert(int(key[0]), int(key[1]))
        owner.finish_growth()
    assert owner.index.growths > 0
    assert not owner.index.insert(1, 1, 100)
    assert owner.index.count == owner.index.rows_max == 100


def test_a_growth_may_wait_but_not_until_there_is_no_room() -> None:
    """From half on it begins; with another under way from five eighths on."""
    nothing = np.zeros((0, 2), np.uint64), np.zeros(0, np.int64)
    index = Index(rows_max=1000, source=lambda _first, _last: nothing, rows_expected=1)
    assert index.capacity == 64
    for i in range(33):
        assert index.insert(i, i, i)
    index.maintain(0, may_wait=True)
    assert not index.is_growing
    for i in range(33, 41):
        assert index.insert(i, i, i)
    index.maintain(0, may_wait=True)
    assert index.is_growing
    index.close()


def test_growth_that_fails_keeps_the_old_table() -> None:
    """An error in the source leaves the table as it was and is handed to the owner."""

    def broken(first: int, last: int) -> tuple[Keys, Rows]:
        raise OSError(first, last)

    index = Index(rows_max=1000, source=broken, rows_expected=1)
    for i in range(40):
        assert index.insert(i, i, i)
    index.maintain(40)
    while index.is_growing:
        index.maintain(40)
    assert index.growths_failed == 1
    assert isinstance(index.failure, OSError)
    assert [index.find(i, i) for i in range(40)] == list(range(40))
    assert not index.maintain(40)
    assert not index.is_growing


def test_load_replaces_the_content() -> None:
    """Loading many rows at once sizes the table and finds them all."""
    keys = np.random.default_rng(2).integers(0, 2**64, (5000, 2), dtype=np.uint64)
    index = Index(rows_max=10_000, source=lambda _a, _b: (keys, np.arange(5000)))
    index.insert(1, 1, 1)
    index.load(keys, np.arange(5000))
    out = np.empty(5000, np.int64)
    index.find_many(keys, out)
    assert np.array_equal(out, np.arange(5000))
    assert index.find(1, 1) == -1
    with pytest.raises(ValueError, match="at most 10000"):
        index.load(np.zeros((10_001, 2), np.uint64), np.zeros(10_001, np.int64))


@given(st.lists(st.tuples(hashes, checks), max_size=60), st.lists(st.tuples(hashes, checks)))
def test_batch_kernels_agree_with_the_list(
    added: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    """Inserting and finding many at once is the same as one at a time."""
    oracle = ListIndex(50)
    keys = np.array(added, np.uint64).reshape(-1, 2)
    index = Index(rows_max=50)
    went_in = index.insert_many(keys, np.arange(len(keys)))
    assert went_in == sum(oracle.insert(*key, row) for row, key in enumerate(added))

    asked_keys = np.array(asked + added, np.uint64).reshape(-1, 2)
    out = np.empty(len(asked_keys), np.int64)
    index.find_many(asked_keys, out)
    assert out.tolist() == [oracle.find(*key) for key in asked + added]


def test_remove_of_an_unknown_row_changes_nothing() -> None:
    """The same key with another row is not removed."""
    index = Index(rows_max=10)
    index.insert(5, 6, 7)
    assert not index_remove(index.slots, np.uint64(5), np.uint64(6), np.int64(8))
    assert index_find(index.slots, np.uint64(5), np.uint64(6)) == 7
