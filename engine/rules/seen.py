"""What rules saw of payments: the columns and lists that they read, copied to explain hits later.

Velocities fade, accounts move and lists change, so an explanation needs all of it as of then. Rows
are kept as rules have them: the bits of the columns that the rules in force read, others are blank
or of an earlier batch. Numbers of columns and predicates are internal; ``LAYOUT`` tells rows of
another numbering.
"""

import zlib
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.rules.book import RuleBook
from engine.rules.columns import BY_NAME, KEYED, Column, constant_at
from engine.rules.deployed import Deployed
from engine.rules.explain import NotKeptError
from engine.rules.list_kernels import list_number
from engine.rules.list_table import ListTable
from engine.rules.program import Program
from engine.rules.tree import Operator

_NUMBERING = 1  # raise it when program.py comes to number the predicates of a set otherwise
LAYOUT = zlib.crc32(" ".join((f"{_NUMBERING}", *BY_NAME)).encode())
_UNIX = BY_NAME["unix_s"].index


class Rows(Protocol):
    """The columns of a batch; an ``engine.workspace.Workspace``."""

    values: NDArray[np.float64]  # [n, COLUMN_COUNT or more]
    hits: NDArray[np.uint64]  # [n, words]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the rules of one set saw of one payment.

    ``version`` is the set's and ``ts_ns`` the record's; ``hits`` u64[words] are the rules that
    held, bit by place; ``columns`` i16[c] were read, with ``bits`` u64[c] (a float64, or a key);
    ``members`` i16[m] are predicates of the set that ask a list: p = it had the value, ~p = not.
    """

    version: int
    ts_ns: int
    hits: NDArray[np.uint64]
    columns: NDArray[np.int16]
    bits: NDArray[np.uint64]
    members: NDArray[np.int16]

    @property
    def places(self) -> list[int]:
        """The rules that held, by their places in the set."""
        return [
            64 * word + bit
            for word, bits in enumerate(self.hits.tolist())
            for bit in range(64)
            if bits >> bit & 1
        ]


@dataclass(frozen=True, slots=True, eq=False)
class SeenRows:
    """The same of ``n`` payments of one set: ``records`` and ``ts_ns`` i64[n], rows of ``Seen``."""

    version: int
    records: NDArray[np.int64]
    ts_ns: NDArray[np.int64]
    hits: NDArray[np.uint64]  # [n, words]
    columns: NDArray[np.int16]  # [c], of all
    bits: NDArray[np.uint64]  # [n, c]
    members: NDArray[np.int16]  # [n, m]

    def row(self, at: int) -> Seen:
        """Return one payment."""
        return Seen(
            self.version,
            int(self.ts_ns[at]),
            self.hits[at],
            self.columns,
            self.bits[at],
            self.members[at],
        )


class _Asks(NamedTuple):
    """A predicate of a set that asks a list; places are among the columns that are needed."""

    predicate: int
    list: int
    ttl_s: int
    is_key: bool
    place: int
    unix_place: int


class Copier:
    """Copies rows after a batch; remembers which predicates of the set in force ask lists."""

    def __init__(self) -> None:
        self._live: Deployed | None = None
        self._asks: list[_Asks] = []
        self._rules: NDArray[np.uint64]  # [m, words], that each of them is of

    def rows(
        self,
        book: RuleBook,
        work: Rows,
        rows: NDArray[np.int64],
        records: NDArray[np.int64],
        ts_ns: NDArray[np.int64],
        hits: NDArray[np.uint64] | None = None,
    ) -> SeenRows:
        """Return copies of the rows ``rows`` i64[n] of ``work``.

        Parameters: the rules that judged them, as they still stand; number and time of each record;
        the hits u64[n, words] whose lists are looked in, None = what is in ``work``.
        """
        live = book.deployed
        if live is not self._live:
            self._live = live
            self._asks, self._rules = _asking(live)
        hits = work.hits[rows] if hits is None else hits
        bits = work.values.view(np.uint64)[rows[:, None], live.needed]
        asked = []
        if self._asks:
            of_these = (self._rules & np.bitwise_or.reduce(hits, axis=0)).any(axis=1).tolist()
            asked = [one for one, is_asked in zip(self._asks, of_these, strict=True) if is_asked]
        members = np.empty((len(rows), len(asked)), np.int16)
        for at, one in enumerate(asked):
            members[:, at] = np.where(_had(book.lists, one, bits), one.predicate, ~one.predicate)
        version = live.program.version
        return SeenRows(version, records, ts_ns, hits, live.needed, bits, members)


class Witness:
    """Answers what ``explain.explained`` asks about one payment, from what was seen then.

    Both raise NotKeptError: of a column that no rule read then, or a list that no rule that held
    asked.
    """

    def __init__(self, seen: Seen, program: Program) -> None:
        self._program = program
        self._stated = {one.name: one.values for one in program.source.lists}
        self._bits = dict(zip(seen.columns.tolist(), seen.bits.tolist(), strict=True))
        self._floats = dict(
            zip(seen.columns.tolist(), seen.bits.view(np.float64).tolist(), strict=True)
        )
        self._members = {p if p >= 0 else ~p: p >= 0 for p in seen.members.tolist()}

    def value_of(self, column: Column) -> float:
        """Return the value of a column, NaN = missing; of merchant and terminal the key."""
        found = self._bits if column.type in KEYED else self._floats
        if column.index not in found:
            raise NotKeptError(column.name)
        return found[column.index]

    def is_listed(self, name: str, column: Column, value: float, ttl_s: int) -> bool:
        """Return whether a list had the value: as the set states it, or as an entry."""
        if value in [constant_at(column, item) for item in self._stated.get(name, ())]:
            return True
        predicates = self._program.predicates
        asking = (predicates["list"] == np.uint64(list_number(name))) & (
            (predicates["column"] == column.index) & (predicates["ttl_s"] == ttl_s)
        )
        for predicate in np.flatnonzero(asking).tolist():
            if predicate in self._members:
                return self._members[predicate]
        raise NotKeptError(f"@{name}")


def _asking(live: Deployed) -> tuple[list[_Asks], NDArray[np.uint64]]:
    """Return the predicates of rules that are not off that ask lists, and whose they are."""
    program, columns = live.program, live.needed
    asks = (program.predicates["operator"] >= Operator.IN) & (program.predicates["list"] != 0)
    asks &= np.isin(program.predicates["column"], columns)
    predicates = np.flatnonzero(asks)
    rules = np.zeros((len(predicates), program.words), np.uint64)
    if not len(predicates):
        return [], rules
    terms = program.terms  # their literals stand in the order of the terms
    of = np.repeat(terms["rule"], terms["literal_end"] - terms["literal_start"])
    read = np.where(program.literals < 0, ~program.literals, program.literals)
    of, read = of[asks[read]], read[asks[read]]
    bit = np.uint64(1) << (of & 63).astype(np.uint64)
    np.bitwise_or.at(rules, (np.searchsorted(predicates, read), of >> 6), bit)
    rows = program.predicates[predicates]
    places = np.searchsorted(columns, rows["column"])
    unix_place = int(np.searchsorted(columns, _UNIX))
    found = [
        _Asks(
            int(predicate),
            int(row["list"]),
            int(row["ttl_s"]),
            bool(row["is_key"]),
            int(place),
            unix_place,
        )
        for predicate, row, place in zip(predicates, rows, places, strict=True)
    ]
    return found, rules


def _had(lists: ListTable, asks: _Asks, bits: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return of each row whether the entries of a list had its value, when it was judged."""
    if not lists.counts.get(asks.list):
        return np.zeros(len(bits), np.bool_)
    keys = bits[:, asks.place].copy()
    if not asks.is_key:
        keys[keys.view(np.float64) == 0.0] = 0  # -0 too
    now_s = bits[:, asks.unix_place].copy().view(np.float64).astype(np.int64)
    return lists.have(asks.list, keys, now_s, asks.ttl_s)
