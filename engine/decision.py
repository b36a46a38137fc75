"""Every outcome the engine knows, finer than any response code.

The number goes into the ledger record and the metrics; a dialect maps the name to the two
characters of DE39. Bands: 0 approved kinds, 1xx card, 2xx amount and type, 3xx rules, 4xx repeats
and reversals, 5xx session and system.
"""

from enum import IntEnum


class Decision(IntEnum):
    """What became of a request; ``DEFAULT_RESPONSE`` has the code of each."""

    APPROVED = 0
    PARTIALLY_APPROVED = 1  # for what was open to buy, less than was asked
    CHECKED = 2  # zero amount: the card is good, nothing was held
    REVERSED = 3
    REVERSED_NOTHING = 4  # original declined, or reversed before: no money moves
    REVERSAL_RECORDED = 5  # advice without a known original, kept as an orphan
    NETWORK_OK = 6  # sign-on, sign-off, echo
    ADVICE_RECORDED = 7  # done elsewhere and posted here
    ADVICE_UNPOSTED = 8  # done elsewhere, recorded, and there is no account to post it to
    INQUIRED = 9  # balances are told, nothing moves
    NOTED = 10  # refund authorization: recorded, frees nothing
    CAPTURE_REFUNDED = 11  # reversal of what had been cleared: posted as a refund

    UNKNOWN_CARD = 101
    BAD_CHECK_DIGIT = 102
    EXPIRED = 104
    EXPIRY_MISMATCH = 105
    CARD_BLOCKED = 106
    CARD_LOST = 107
    CARD_STOLEN = 108
    ACCOUNT_BLOCKED = 109
    PIN_WRONG = 110
    PIN_TRIES_EXCEEDED = 111
    CARD_VALUE_WRONG = 112  # CVV, CVV2 or iCVV
    CRYPTOGRAM_WRONG = 113  # ARQC of the chip
    CRYPTOGRAM_REPLAYED = 114  # its counter was used before: a sign of fraud

    NOT_ENOUGH_FUNDS = 201
    AMOUNT_INVALID = 202
    CURRENCY_NOT_SERVED = 203
    TRANSACTION_NOT_SERVED = 204

    RULE_DECLINED = 301  # the rule names the response code
    STEP_UP = 302
    STAND_IN_DECLINED = 303  # no score could be had, and the stand-in takes no such payment

    DUPLICATE_DIFFERS = 401  # same identity, other amount or card
    VOIDED_BY_REVERSAL = 402  # its reversal had arrived first
    ORIGINAL_NOT_FOUND = 403  # reversal request (0400) without a known original
    DUPLICATE_REFUSED = 404  # a repeat that does not say so, where the profile refuses those
    ALREADY_CAPTURED = 405  # reversal of what was cleared, where the profile refuses that

    NOT_SIGNED_ON = 501
    OVERLOADED = 502
    CAPACITY = 503  # a table is at its stated bound
    FORMAT_ERROR = 504
    MESSAGE_NOT_SERVED = 505  # valid syntax, unknown MTI or network code
    DEADLINE_PASSED = 506  # waited for longer than its sender does: not posted
    MAC_WRONG = 507  # or missing where the link must send one
    KEY_REFUSED = 508  # key change whose check value or cryptogram does not hold
    SECURITY_UNAVAILABLE = 509  # a check could not be made: no key, or no security module


DEFAULT_RESPONSE: dict[Decision, str] = {
    Decision.APPROVED: "00",
    Decision.PARTIALLY_APPROVED: "10",
    Decision.CHECKED: "00",
    Decision.REVERSED: "00",
    Decision.REVERSED_NOTHING: "00",
    Decision.REVERSAL_RECORDED: "00",
    Decision.NETWORK_OK: "00",
    Decision.ADVICE_RECORDED: "00",
    Decision.ADVICE_UNPOSTED: "00",
    Decision.INQUIRED: "00",
    Decision.NOTED: "00",
    Decision.CAPTURE_REFUNDED: "00",
    Decision.UNKNOWN_CARD: "14",
    Decision.BAD_CHECK_DIGIT: "14",
    Decision.EXPIRED: "54",
    Decision.EXPIRY_MISMATCH: "54",
    Decision.CARD_BLOCKED: "62",
    Decision.CARD_LOST: "41",
    Decision.CARD_STOLEN: "43",
    Decision.ACCOUNT_BLOCKED: "62",
    Decision.PIN_WRONG: "55",
    Decision.PIN_TRIES_EXCEEDED: "75",
    Decision.CARD_VALUE_WRONG: "05",
    Decision.CRYPTOGRAM_WRONG: "05",
    Decision.CRYPTOGRAM_REPLAYED: "59",
    Decision.NOT_ENOUGH_FUNDS: "51",
    Decision.AMOUNT_INVALID: "13",
    Decision.CURRENCY_NOT_SERVED: "57",
    Decision.TRANSACTION_NOT_SERVED: "12",
    Decision.RULE_DECLINED: "59",
    Decision.STEP_UP: "1A",
    Decision.STAND_IN_DECLINED: "91",
    Decision.DUPLICATE_DIFFERS: "94",
    Decision.VOIDED_BY_REVERSAL: "12",
    Decision.ORIGINAL_NOT_FOUND: "25",
    Decision.DUPLICATE_REFUSED: "94",
    Decision.ALREADY_CAPTURED: "12",
    Decision.NOT_SIGNED_ON: "91",
    Decision.OVERLOADED: "91",
    Decision.CAPACITY: "96",
    Decision.FORMAT_ERROR: "30",
    Decision.MESSAGE_NOT_SERVED: "12",
    Decision.DEADLINE_PASSED: "91",
    Decision.MAC_WRONG: "63",
    Decision.KEY_REFUSED: "63",
    Decision.SECURITY_UNAVAILABLE: "96",
}
assert set(DEFAULT_RESPONSE) == set(Decision)
