"""What comes by clearing and repayment: the columns of its rows, and what can become of one."""

from enum import IntEnum

import numpy as np

PRESENTMENT = np.dtype(
    [
        ("id_hi", "<u8"),  # keyed hash of the id: the same id posts once
        ("id_lo", "<u8"),
        ("target_hi", "<u8"),  # of the id that a refund, reversal or return is about; 0 = none
        ("target_lo", "<u8"),
        ("rrn_hi", "<u8"),  # as the authorization's: RRN, terminal, acquirer; 0 = none
        ("rrn_lo", "<u8"),
        ("life_hi", "<u8"),  # as the authorization's lifecycle id; 0 = none
        ("life_lo", "<u8"),
        ("rrn_a", "<u8"),
        ("terminal", "<u8"),
        ("amount_minor", "<i8"),
        ("authorization", "<i8"),  # record number of the authorization, where it is named; 0 = not
        ("approved_seq", "<i8"),  # the last record that could have this approval code; 0 = none
        ("acquirer", "<i8"),  # -1 = not named
        ("entry", "<i8"),  # out: the authorization in the ring; 0 = none
        ("target", "<i8"),  # out: the item it is about; 0 = none
        ("freed_minor", "<i8"),  # out: by how much the hold shrinks
        ("seq", "<i8"),  # out: its record, or that of the first one with its id; 0 = none
        ("account", "<u4"),  # 0 = unknown card or account
        ("card", "<u4"),
        ("date", "<u4"),  # settlement or value date, YYYYMMDD
        ("pcode", "<u4"),
        ("rrn_b", "<u4"),
        ("flags", "<u4"),  # in: FINAL; out: bits of ledger.record.Flag
        ("kind", "<u2"),  # in: CLEARING or another event; out: which one it was
        ("currency", "<u2"),
        ("mcc", "<u2"),
        ("scheme", "<u2"),
        ("result", "<u2"),  # out: Result
        ("matched_by", "<u2"),  # out: MatchedBy
    ]
)


class Result(IntEnum):
    """What became of a row; below DUPLICATE it is posted, from NO_ACCOUNT on rejected."""

    MATCHED = 0  # within the hold of an open authorization
    OVER_CAPTURED = 1  # more than its hold
    FORCED = 2  # posted without an open authorization
    REFUNDED = 3
    REVERSED = 4
    PAID = 5
    RETURNED = 6

    DUPLICATE = 10  # the same id with the same content: posted before, nothing moves

    NO_ACCOUNT = 20
    ID_DIFFERS = 21
    CURRENCY_DIFFERS = 22
    NO_TARGET = 23
    TARGET_DIFFERS = 24
    MORE_THAN_TARGET = 25
    NO_HEADROOM = 26
    NO_ROOM = 27


class MatchedBy(IntEnum):
    """How an authorization was found."""

    NOTHING = 0
    RECORD = 1
    RRN = 2
    APPROVAL = 3
    LIFECYCLE = 4


REASONS: dict[Result, str] = {
    Result.NO_ACCOUNT: "no such card or account here",
    Result.ID_DIFFERS: "its id was posted before with another amount, account or type",
    Result.CURRENCY_DIFFERS: "its currency is not the account's",
    Result.NO_TARGET: "original_id names nothing that is known",
    Result.TARGET_DIFFERS: "original_id names an item of another account or type",
    Result.MORE_THAN_TARGET: "more than what is left of the item in original_id",
    Result.NO_HEADROOM: "the account's balances are at their bound",
    Result.NO_ROOM: "the table of posted items is at its bound: try again",
}
