"""Values as ISO 8583:1993 and 2003 have them, in the columns that 1987 fills.

Sources: ISO 8583:1993 (DE12, DE22, DE24, DE30, DE56), ISO 8583:2003 with the flags of DE22 as the
public message format of the jPOS project documents them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.fault_kernels import is_moment, of_version, reject
from engine.wire.scan_kernels import Int, digits_value
from engine.wire.uses import Use
from ledger.jit import kernel

Bytes = NDArray[np.uint8]

_TRANSMITTED, _FUNCTION = int(Use.TRANSMITTED), int(Use.FUNCTION)
_NETWORK_CODE, _LOCAL_MOMENT = int(Use.NETWORK_CODE), int(Use.LOCAL_MOMENT)
_POS_CODES, _POS_BITS = int(Use.POS_CODES), int(Use.POS_BITS)
_ORIGINAL_LOCAL, _ORIGINAL_AMOUNT = int(Use.ORIGINAL_LOCAL), int(Use.ORIGINAL_AMOUNT)
_AMOUNT, _BILLING = int(Use.AMOUNT_AND_CURRENCY), int(Use.BILLING_AND_CURRENCY)

# DE22 of 1987 for the card data input mode of 1993: place 7, a digit or a letter.
_ENTRY_OF_INPUT = np.zeros(128, np.int64)
for _modes, _entry in (("16", 10), ("2", 20), ("3", 30), ("4", 40), ("5C", 50), ("AMP", 70)):
    for _mode in _modes:
        _ENTRY_OF_INPUT[ord(_mode)] = _entry
for _mode, _entry in (("B", 900), ("S", 810), ("T", 810), ("U", 810), ("V", 810), ("7", 100)):
    _ENTRY_OF_INPUT[ord(_mode)] = _entry
# DE25 of 1987 for the cardholder's presence of 1993: place 5.
_CONDITION_OF_PRESENCE = np.zeros(128, np.int64)
for _mode, _entry in (("1", 1), ("2", 8), ("3", 8), ("4", 8), ("5", 59), ("S", 59)):
    _CONDITION_OF_PRESENCE[ord(_mode)] = _entry
_ENTRY_TABLE, _CONDITION_TABLE = _ENTRY_OF_INPUT.copy(), _CONDITION_OF_PRESENCE.copy()

_ECOMMERCE, _MAIL_OR_PHONE = 59, 8
_CLASS_NETWORK = 8


@kernel
def take_later_values(
    text: Bytes, number_of: NDArray[np.uint8], row: Any, rule: Any, found: NDArray[np.int64]
) -> None:
    """Write the columns that fields of 1993 and 2003 fill; ``found`` as of ``take_values``."""
    dialect = row.dialect
    if number_of[dialect, _NETWORK_CODE] == 0 and row.mti // 100 % 10 == _CLASS_NETWORK:
        row.network_code = found[_FUNCTION, 0]
    _take_moment(text, number_of, row, found)
    at = found[_POS_CODES, 1]
    if at >= 0:
        row.entry_mode = _ENTRY_TABLE[text[np.uint64(at + 6)] & 127]
        row.condition = _CONDITION_TABLE[text[np.uint64(at + 4)] & 127]
    at = found[_POS_BITS, 1]
    if at >= 0:
        row.entry_mode = _entry_of_bits(np.int64(text[np.uint64(at)]), text[np.uint64(at + 1)])
        row.condition = _condition_of_bits(np.int64(text[np.uint64(at + 8)]))
    at = found[_ORIGINAL_AMOUNT, 1]
    if at >= 0:
        row.original_amount = digits_value(text, at, 12)
    at = found[_AMOUNT, 1]
    if at >= 0:
        row.currency, row.amount = digits_value(text, at, 3), digits_value(text, at + 4, 12)
    at = found[_BILLING, 1]
    if at >= 0:
        row.billing_currency = digits_value(text, at, 3)
        row.billing_amount = digits_value(text, at + 4, 12)
    _take_original_local(text, number_of, row, rule, found)


@kernel
def _take_moment(
    text: Bytes, number_of: NDArray[np.uint8], row: Any, found: NDArray[np.int64]
) -> None:
    """Local date and time in one field; it stands for the time of transmission without that."""
    at = found[_LOCAL_MOMENT, 1]
    if at < 0:
        return
    moment = digits_value(text, at + found[_LOCAL_MOMENT, 2] - 10, 10)
    if not is_moment(moment):
        reject(number_of, row, _LOCAL_MOMENT)
        return
    row.local_date, row.local_time = moment // 1_000_000, moment % 1_000_000
    if number_of[row.dialect, _TRANSMITTED] == 0:
        row.transmitted = moment


@kernel
def _entry_of_bits(read: Int, failed: Int) -> Int:
    """DE22 of 1987 for the way a card was read: two bytes of flags, the lowest bit first."""
    if read & 0x20:
        return 50
    if read & 0x02:
        return 70
    if read & 0x10:
        return 800 if failed & 0x08 else 20
    if read & 0x40:
        return 100
    if read & 0x08:
        return 30
    return 10 if read & 0x04 else 0


@kernel
def _condition_of_bits(environment: Int) -> Int:
    if environment & 0x18:
        return _ECOMMERCE
    return _MAIL_OR_PHONE if environment & 0x24 else 0


@kernel
def _take_original_local(
    text: Bytes, number_of: NDArray[np.uint8], row: Any, rule: Any, found: NDArray[np.int64]
) -> None:
    """DE56: MTI 4, STAN as DE11, local date and time as DE12, acquirer (LL in 1993)."""
    at, length = found[_ORIGINAL_LOCAL, 1], found[_ORIGINAL_LOCAL, 2]
    if at < 0:
        return
    stan_digits, moment_digits = np.int64(rule.stan_digits), np.int64(rule.moment_digits)
    acquirer_at = at + 4 + stan_digits + moment_digits
    mti, stan, moment, acquirer = -1, np.int64(-1), np.int64(-1), np.int64(-1)
    if length >= acquirer_at - at:
        mti = digits_value(text, at, 4)
        stan = digits_value(text, at + 4, stan_digits)
        moment = digits_value(text, acquirer_at - 10, 10)
    rest = at + length - acquirer_at
    if rule.version == 2:  # the acquirer is what is left
        if 1 <= rest <= 11:
            acquirer = digits_value(text, acquirer_at, rest)
    elif 3 <= rest <= 13 and digits_value(text, acquirer_at, 2) == rest - 2:
        acquirer = digits_value(text, acquirer_at + 2, rest - 2)
    whole = (length == acquirer_at - at) | (acquirer >= 0)
    known = (mti >= 0) & (stan >= 0) & whole & (moment == 0 or is_moment(moment))
    if not known:
        reject(number_of, row, _ORIGINAL_LOCAL)
        return
    row.original_mti = of_version(mti, rule.version)
    row.original_stan, row.original_transmitted = stan, moment
    row.original_acquirer = acquirer
