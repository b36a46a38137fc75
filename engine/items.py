"""Columns that travel with a batch between decode and encode: one ITEM a request or expiry.

Rows 0 to n-1 belong to the n requests of the batch, in order of arrival; rows after them are holds
that expire before one of these requests. ``record`` says where an item's ledger record stands, so
records keep order of arrival whatever order the work is done in.
"""

from enum import IntEnum

import numpy as np


class Role(IntEnum):
    """What is to be done with an item."""

    SILENT = 0  # no answer: a response, or nothing that can be answered
    AUTHORIZE = 1
    REVERSE = 2
    EXPIRE = 3
    REPEAT = 4  # answered from ``original``
    ANSWER = 5  # answered from ``decision`` alone, not recorded
    ADVISE = 6  # a completion (0220): posted, not judged


ITEM = np.dtype(
    [
        ("id_hi", "<u8"),  # message identity
        ("id_lo", "<u8"),
        ("rrn_hi", "<u8"),  # keyed hash of RRN, terminal and acquirer; 0 = none, see ``by_local``
        ("rrn_lo", "<u8"),
        ("life_hi", "<u8"),  # keyed hash of the network's lifecycle id; 0 = none
        ("life_lo", "<u8"),
        ("original_hi", "<u8"),  # identity of the original that a reversal names; 0 = none
        ("original_lo", "<u8"),
        ("ts_ns", "<u8"),
        ("entry", "<i8"),  # its row of the authorization ring; 0 = none
        ("original", "<i8"),  # authorization it is about, or the first answer; entry, 0 = none
        ("named", "<i8"),  # entry of the message it names: ``original``, or what belongs to it
        ("amount_minor", "<i8"),  # in ``currency``, the account's where it is served
        ("requested_minor", "<i8"),  # DE4 as it came
        ("released_minor", "<i8"),
        ("otb_after_minor", "<i8"),
        ("hold_after_minor", "<i8"),
        ("request", "<i4"),  # row of REQUEST; -1 = an expiry
        ("record", "<i4"),  # row among the batch's records; -1 = not recorded
        ("wave", "<i4"),  # how many items of the same account come before; -1 = touches no account
        ("account", "<u4"),
        ("card", "<u4"),
        ("merchant", "<u4"),  # row of the merchant velocity array
        ("flags", "<u4"),  # bits of ledger.record.Flag
        ("kind", "<u2"),  # ledger.record.Kind
        ("decision", "<u2"),  # engine.decision.Decision
        ("response", "<u2"),  # DE39, first character in the low byte
        ("currency", "<u2"),
        ("expiry_yymm", "<u2"),
        ("hold_life_h", "<u2"),
        ("atc", "<u2"),  # counter of a chip cryptogram that was right; 0 = none
        ("mcc", "<u2"),
        ("role", "u1"),
        ("exponent", "u1"),
        ("entry_class", "u1"),  # scoring.payment.Entry
        ("by_local", "u1"),  # 1 = without an RRN: ``rrn_hi`` is of STAN, terminal and acquirer
        ("names_whole", "u1"),  # 1 = a reversal of the very amount of the message that it names
        ("spare", "u1", (3,)),
    ]
)

LINK = np.dtype(
    [
        ("arrival_ns", "<u8"),  # when the bytes of this segment were read, engine time
        ("sign_on_required", "u1"),
        ("signed_on", "u1"),  # in and out: 0800 sign-on and sign-off change it
        ("late_is_silent", "u1"),  # 1 = a request past its deadline gets no answer
        ("security", "u1"),  # which security profile the link has; 0 = none
        ("unreadable", "<i4"),  # in and out: messages in a row that could not be answered
        ("waited_ns", "<i8"),  # from the arrival of this segment to the start of its batch
        ("deadline_ns", "<i8"),  # a request that waited longer is not posted; 0 = no deadline
        ("overload_ns", "<i8"),  # a request that waited longer is refused at once; 0 = never
    ]
)


class Setting(IntEnum):
    """Slots of the ``settings`` array: settings that kernels read."""

    DUPLICATE_WINDOW_S = 0
    CLOCK_FROM_MESSAGES = 1
    MERCHANTS_MAX = 2
    PIN_TRIES_MAX = 3
    STAND_IN_AFTER_MS = 4  # a payment that waited longer is decided without a score; 0 = never
    STAND_IN = 5  # StandIn: what becomes of a payment without a score
    FLOOR_MINOR = 6  # the most that StandIn.FLOOR takes, in minor units of its currency
    SCORER_LOST = 7  # 1 = the model that should be there could not be loaded
    SCORER_OFF = 8  # 1 = out of use for a while: it failed or was slow (engine.scorer_watch)


class StandIn(IntEnum):
    """What decides on a payment that should have been scored and was not."""

    RULES = 0  # rules, limits and balance
    DECLINE = 1  # nothing is approved
    FLOOR = 2  # the same as RULES up to an amount, nothing above it
