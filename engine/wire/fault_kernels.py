"""What a value must be, and how a message is blamed for one that cannot be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.columns import Fault
from engine.wire.scan_kernels import Int
from ledger.jit import kernel

_TOP = np.uint64(1 << 63)
_VALUE = int(Fault.VALUE)
_FEBRUARY = 2


@kernel
def set_fault(row: Any, fault: Int, number: Int, offset: Int) -> None:
    """Note a fault; of several, the one in the lowest field is kept."""
    if row.fault == 0 or (0 < number < row.fault_field):
        row.fault, row.fault_field, row.fault_offset = fault, number, offset


@kernel
def reject(number_of: NDArray[np.uint8], row: Any, use: Int) -> None:
    """Blame the field with this use for its value, and take it out of the valid ones."""
    number = np.int64(number_of[row.dialect, use])
    if number <= 64:
        row.bitmap_hi &= ~(_TOP >> np.uint64(number - 1))
    else:
        row.bitmap_lo &= ~(_TOP >> np.uint64(number - 65))
    set_fault(row, _VALUE, number, 0)  # the decoder knows where it stands


@kernel
def is_date(mmdd: Int) -> bool:
    """Return whether MMDD can be a day, of a leap year or not."""
    month, day = mmdd // 100, mmdd % 100
    days = 29 if month == _FEBRUARY else 30 + (month + month // 8) % 2
    return 1 <= month <= 12 and 1 <= day <= days


@kernel
def is_time(hhmmss: Int) -> bool:
    """Return whether hhmmss can be a time."""
    return hhmmss < 240000 and hhmmss // 100 % 100 < 60 and hhmmss % 100 < 60


@kernel
def is_moment(mmddhhmmss: Int) -> bool:
    """Return whether MMDDhhmmss can be."""
    return is_date(mmddhhmmss // 1_000_000) and is_time(mmddhhmmss % 1_000_000)


@kernel
def of_version(mti: Int, version: Int) -> Int:
    """Return an MTI without the version of its dialect; of another version the difference stays."""
    return (mti // 1000 - np.int64(version)) % 10 * 1000 + mti % 1000
