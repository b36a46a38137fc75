"""The stand-alone verifier posts every kind of event as the ledger's own table does."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.lifecycle import TABLE, Position
from ledger.record import Kind
from tests.ledger.proof.test_receipt import tool
from tests.support.effort import examples

_KINDS = sorted(kind for kind in TABLE if kind != Kind.ACCOUNT_OPEN)  # an account opens once
_GROWS = (Kind.AUTHORIZE, Kind.PARTIAL, Kind.INCREMENT)
_FREES = (Kind.REVERSAL, Kind.EXPIRE)
_CLEARS = (Kind.CLEARING, Kind.CLEARING_PART, Kind.OVER_CAPTURE, Kind.FORCE_POST)


def _event(kind: Kind, amount: int, share: int, at: Position) -> dict[str, Any]:
    """Return what of a record is posted, possible where ``at`` stands; ``share`` is 0 to 100."""
    hold = at.hold_minor
    if kind in (*_GROWS, Kind.FINANCIAL):
        amount = min(amount, at.otb_minor)
    if kind in _GROWS:
        hold += amount
    elif kind == Kind.ADVICE:
        hold = amount
    elif kind in (*_FREES, *_CLEARS):
        hold -= hold * share // 100
    elif kind == Kind.CLEARING_REVERSAL:
        hold += (amount + at.otb_minor) * share // 100
    return {
        "kind": int(kind),
        "result": 0,
        "pcode": 0,
        "amount_minor": amount,
        "hold_after_minor": hold,
    }


@settings(max_examples=examples(200), deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(_KINDS), st.integers(0, 500), st.integers(0, 100)), max_size=40
    )
)
def test_two_implementations_agree(steps: list[tuple[Kind, int, int]]) -> None:
    """After each event of a random life both have the same balances, and the identity holds."""
    ours, theirs = Position(), tool.Account()
    for seq, (kind, amount, share) in enumerate([(Kind.ACCOUNT_OPEN, 1_000, 0), *steps], 1):
        record = _event(kind, amount, share, ours)
        ours.post(record)
        record |= {"seq": seq, "otb_after_minor": ours.otb_minor}
        record["hold_after_minor"] = ours.hold_minor
        theirs.apply(record)
        assert (theirs.prepaid, theirs.used) == (ours.prepaid_minor, ours.used_minor)
        assert (theirs.limit, theirs.over) == (ours.limit_minor, ours.over_minor)


def test_a_wrong_balance_is_named() -> None:
    """A check value that is off by one is refused with the record's number."""
    record = {"kind": 101, "result": 0, "amount_minor": 5, "hold_after_minor": 0, "seq": 7}
    with pytest.raises(tool.Refused, match="record 7"):
        tool.Account().apply({**record, "otb_after_minor": 4})
