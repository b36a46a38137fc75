"""The layout of the record is part of the journal's format."""

import hashlib

from ledger.record import RECORD, RECORD_BYTES, Flag, Kind

_LAYOUT = "fce2191a3a88a7d8"


def test_the_layout_stays_as_it_is() -> None:
    """Names, types and places: a change of any is a new journal format, never an accident."""
    assert RECORD.itemsize == RECORD_BYTES == 192
    assert RECORD_BYTES % 64 == 0
    places = [(n, RECORD[n].str, RECORD.fields[n][1]) for n in RECORD.names]
    ends = [place + RECORD[name].itemsize for name, _, place in places]
    assert [place for _, _, place in places] == [0, *ends[:-1]], "no holes"
    assert ends[-1] == RECORD_BYTES
    digest = hashlib.sha256(repr(places).encode()).hexdigest()
    assert digest[:16] == _LAYOUT


def test_numbers_in_the_journal_stay_as_they_are() -> None:
    """Kinds and flags are read from old journals: their numbers are given out once."""
    assert {kind.name: int(kind) for kind in Kind} == {
        "AUTHORIZE": 1, "PARTIAL": 2, "CHECK": 3, "INCREMENT": 4, "ADVICE": 5, "REVERSAL": 6,
        "EXPIRE": 8, "CLEARING": 9, "CLEARING_PART": 10, "OVER_CAPTURE": 11, "FORCE_POST": 12,
        "REFUND": 13, "CLEARING_REVERSAL": 14, "REPAYMENT": 18, "PAYMENT_RETURNED": 19,
        "LIMIT": 23, "FINANCIAL": 31,
        "ACCOUNT_OPEN": 101, "ACCOUNT_STATUS": 102, "CARD_ISSUE": 111, "CARD_STATUS": 112,
        "CARD_FLAGS": 113, "PIN_RESET": 114, "CARD_ZONE": 115, "RULES": 121, "MODEL": 122,
        "RULE_MODE": 123,
        "LIST": 124, "ZONES": 125, "LABEL": 131,
    }  # fmt: skip
    assert [int(flag) for flag in Flag] == [1 << bit for bit in range(27)]


def test_nothing_in_a_record_can_hold_a_card_number() -> None:
    """Cards, accounts and customers are internal numbers of 32 bits; a BIN is six digits."""
    for name in ("card", "account", "customer", "bin"):
        assert RECORD[name].itemsize == 4
    assert not {"pan", "token", "track", "pin", "cvv"} & set(RECORD.names)
