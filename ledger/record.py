"""The ledger record: 192 bytes, fixed, little-endian, one for every decision and every change.

A record keeps what was decided (kind, result, amounts, check values), everything that rules and
features read to get there (amount, merchant, entry mode, time and so on) and which rule set and
model decided. It holds internal numbers only: no PAN, no token, no name. Postings are not stored:
``kind`` and ``result`` imply them (``ledger.lifecycle``). State is the fold of the records.
"""

from enum import IntEnum

import numpy as np

RECORD_BYTES = 192
SCORE_NONE = 65535  # no scorer ran: the fallback policy decided


class Kind(IntEnum):
    """What a record is about. Numbers up to 30 are the event numbers of the postings table."""

    AUTHORIZE = 1
    PARTIAL = 2  # approved for less than was asked
    CHECK = 3  # recorded, moves nothing: zero amount, balance inquiry, refund authorization
    INCREMENT = 4  # more on an authorization that is open
    ADVICE = 5  # authorized elsewhere: cannot be declined
    REVERSAL = 6  # whole or in part (event 7)
    EXPIRE = 8
    CLEARING = 9  # within the hold; what is left of it is given back
    CLEARING_PART = 10  # within the hold; the rest stays held for the next one
    OVER_CAPTURE = 11  # more than was held
    FORCE_POST = 12  # no authorization is open for it
    REFUND = 13
    CLEARING_REVERSAL = 14
    REPAYMENT = 18
    PAYMENT_RETURNED = 19
    LIMIT = 23
    FINANCIAL = 31  # authorized and cleared by one message (0200): 1 and 9 at once
    ACCOUNT_OPEN = 101
    ACCOUNT_STATUS = 102
    CARD_ISSUE = 111
    CARD_STATUS = 112
    CARD_FLAGS = 113
    PIN_RESET = 114  # wrong PINs in a row count from zero again
    CARD_ZONE = 115  # the time zone of the card, its number in ``status``; 0 = none of its own
    RULES = 121
    MODEL = 122
    RULE_MODE = 123  # what one rule does from here on: promote, demote, off, a breaker
    LIST = 124  # entries of a list come or go; a snooze is an entry of the rule's own list
    ZONES = 125  # the table of time zones that rules read from here on
    LABEL = 131  # what a payment turned out to be: fraud reported, or confirmed as genuine


class Flag(IntEnum):
    """Bits of ``flags``: facts of the request that rules, features or the answer need."""

    CNP = 1  # card not present
    PRESENT = 2
    WALLET = 4
    TRAVEL_NOTICE = 8
    REPEAT = 16  # came as xxx1
    ADVICE = 32  # 0120, 0220, 0420: reports a done deal
    ORPHAN = 64  # reversal without a known original
    REVIEW = 128  # a rule opened a case
    STEP_UP = 256
    VOIDED = 512  # authorization that met the reversal which had arrived before it
    UNUSABLE = 1024  # no card, wrong expiry or a blocked card: known before any account is read
    NEW_MERCHANT = 2048  # the card had not paid here today or yesterday
    FINAL = 4096  # clearing: the last of its authorization
    FORCED = 8192  # posted without an open authorization: goes to the review queue
    LATE = 16384  # its authorization had expired or was reversed before
    OVER_TOLERANCE = 32768  # clearing above the hold by more than its merchant category allows
    OVER_LIMIT = 65536  # posted although it exceeds what was open to buy
    PARTIAL_OK = 131072  # the terminal takes a partial approval
    INQUIRY = 262144  # balance inquiry
    CREDIT = 524288  # money for the cardholder: refund or its authorization
    PIN_RIGHT = 1048576
    PIN_WRONG = 2097152  # counted: wrong PINs in a row
    CHIP_CHECKED = 4194304  # chip cryptogram right; ``status`` is its transaction counter
    REVERSES = 8388608  # a reversal message that undid what had been cleared
    FILED = 16777216  # came by clearing or repayment, not as a card message
    STAND_IN = 33554432  # decided without the scorer, by the stand-in of the configuration
    IDLE = 67108864  # an expiry that the timer found, with all that were due; no message came


RECORD = np.dtype(
    [
        ("id_hi", "<u8"),  # 128-bit keyed hash of the message identity: duplicates, originals
        ("id_lo", "<u8"),
        ("seq", "<u8"),  # gapless, from 1
        ("ts_ns", "<u8"),  # engine time, ns since 1970-01-01 UTC
        ("ref_seq", "<u8"),  # the authorization, or the posted item, this event is about; 0 = none
        ("customer", "<u4"),  # of an account; of a payment a hash of its feature row, 0 = none
        ("product", "u1"),
        ("entry_class", "u1"),  # how the card was read, from DE22 and DE25 (scoring.payment.Entry)
        ("hold_life_h", "<u2"),  # hours an approved hold lives
        ("amount_minor", "<i8"),  # requested, replaced, or the new limit
        # Original amount, what left the hold (< 0: what is held again), or the old limit.
        ("amount2_minor", "<i8"),
        ("otb_after_minor", "<i8"),  # check value on replay: open to buy after this record
        ("hold_after_minor", "<i8"),  # check value on replay
        ("merchant", "<u8"),  # keyed hash of acquirer and card acceptor id (DE32, DE42); 0 = none
        ("terminal", "<u8"),  # DE41, its 8 bytes; 0 = none
        ("rrn_a", "<u8"),  # DE37, bytes 0-7; 0 = none
        ("hits_lo", "<u8"),  # rules 0-63 that held, in every mode; the rule set tells the mode
        ("hits_hi", "<u8"),  # rules 64-127
        ("acquirer", "<i8"),  # DE32 as a number; -1 = none
        ("rrn_b", "<u4"),  # DE37, bytes 8-11
        ("stan", "<u4"),  # DE11
        ("transmitted", "<u4"),  # DE7 as MMDDhhmmss; 0 = none
        ("account", "<u4"),  # internal number from 1; 0 = none
        ("card", "<u4"),  # internal number from 1; 0 = none
        ("flags", "<u4"),  # bits of Flag
        ("rules_version", "<u4"),  # first 4 bytes of the rule set's SHA-256; 0 = no rules
        ("model_version", "<u4"),  # first 4 bytes of the model's SHA-256; 0 = no model
        ("expiry_yymm", "<u2"),
        ("status", "<u2"),  # new status of an account or card event; ATC under CHIP_CHECKED
        ("reasons", "<u4"),  # up to four feature numbers + 1, one a byte; 0 = none
        ("pcode", "<u4"),  # DE3
        ("kind", "<u2"),
        ("result", "<u2"),  # engine.decision.Decision
        ("response", "<u2"),  # the two characters of DE39 that were sent, first in the low byte
        ("currency", "<u2"),  # ISO 4217 number of amount_minor
        ("mcc", "<u2"),
        ("country", "<u2"),  # ISO 3166 number of the acceptor; 0 = unknown
        ("score", "<u2"),  # fraud probability x 10,000; SCORE_NONE = not scored
        ("entry_mode", "<u2"),  # DE22
        ("bin", "<u4"),  # first six digits of the card number tried
    ]
)
assert RECORD.itemsize == RECORD_BYTES
