"""Postings by the kernel are those of the table's slow twin, whatever the history and the cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.books.expand_kernels import BALANCES, POSTING, POSTINGS_MAX, expand
from ledger.lifecycle import TABLE, Position
from ledger.record import RECORD, Kind
from tests.ledger.test_lifecycle import _plan
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

_ACCOUNTS = 3
_amounts = st.one_of(st.integers(1, 300), st.integers(1, 10**12))
_steps = st.lists(
    st.tuples(
        st.sampled_from(sorted(set(TABLE) - {Kind.ACCOUNT_OPEN} | {Kind.CARD_ISSUE})),
        st.integers(1, _ACCOUNTS),
        _amounts,
        _amounts,
        st.sampled_from([0, 10_000, 200_000]),
        st.sampled_from([0, 0, 0, 201]),
    ),
    max_size=60,
)
_Line = tuple[int, ...]


def history(
    limits: list[int], steps: list[tuple[Kind, int, int, int, int, int]]
) -> tuple[np.ndarray, list[_Line], list[Position]]:
    """Return records, their postings (row, line, debit, credit, amount) and the end positions."""
    positions = [Position() for _ in range(_ACCOUNTS + 1)]
    records = np.zeros(_ACCOUNTS + len(steps), RECORD)
    lines: list[_Line] = []
    opened = [(Kind.ACCOUNT_OPEN, n, limits[n - 1], 0, 0, 0) for n in range(1, _ACCOUNTS + 1)]
    count = 0
    for kind, account, whole, other, pcode, result in [*opened, *steps]:
        position = positions[account]
        plan = (whole, 0) if kind > 100 else _plan(kind, whole, other, position)
        if plan is None:
            continue
        record = records[count]
        record["kind"], record["account"], record["pcode"] = kind, account, pcode
        record["amount_minor"], record["result"] = plan[0], result
        record["hold_after_minor"] = position.hold_minor - (0 if result else plan[1])
        postings = position.post(record)
        lines += [(count, n, *posting) for n, posting in enumerate(postings, 1)]
        count += 1
    return records[:count], lines, positions


@settings(max_examples=examples(150))
@given(
    limits=st.lists(_amounts, min_size=_ACCOUNTS, max_size=_ACCOUNTS),
    steps=_steps,
    room=st.integers(0, 40),
)
def test_kernel_and_table_post_the_same(
    limits: list[int], steps: list[tuple[Kind, int, int, int, int, int]], room: int
) -> None:
    """Any history, in pieces as small as the room makes them: the same lines and balances."""
    records, lines, positions = history(limits, steps)
    balances = np.zeros((_ACCOUNTS + 1, BALANCES), np.int64)
    out = np.zeros(POSTINGS_MAX + room, POSTING)
    found: list[tuple[int, ...]] = []
    first = 0
    while first < len(records):
        done, made = expand(records[first:], balances, out)
        assert done > 0
        names = ("row", "line", "debit", "credit", "amount_minor")
        pieces = zip(*(out[name][:made].tolist() for name in names), strict=True)
        found += [(row + first, *rest) for row, *rest in pieces]
        first += done
    assert found == lines
    for account in range(1, _ACCOUNTS + 1):
        at = positions[account]
        assert balances[account].tolist() == [
            at.limit_minor,
            at.prepaid_minor,
            at.otb_minor,
            at.hold_minor,
            at.used_minor,
            at.over_minor,
            at.purchases_minor,
            at.cash_minor,
        ]
    assert not balances[0].any()
