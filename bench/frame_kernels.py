"""Building frames: copy the template, patch the digits. See ``bench.frames`` for the layout."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.jit import allocating_kernel, kernel

Whole = int | np.integer[Any]  # what a kernel takes for a number

FRAME_CAP = 256  # bytes; the longest frame built here has 235 (0420, hex bitmap)

# Columns of ``places``; equal to bench.frames.Place, which a test compares.
_SIZE = 0
_MTI = 1
_PAN = 2
_AMOUNT = 3
_TRANSMITTED = 4
_STAN = 5
_LOCAL_TIME = 6
_LOCAL_DATE = 7
_MCC = 8
_COUNTRY = 9
_ENTRY_MODE = 10
_CONDITION = 11
_RRN = 12
_TERMINAL = 13
_MERCHANT = 14
_ORIGINAL_STAN = 15
_ORIGINAL_TRANSMITTED = 16
_BIN_SUM = 8  # doubled digits of the test BIN 400000, for the Luhn check digit


@kernel
def put_number(out: NDArray[np.uint8], end: Whole, value: Whole) -> None:
    """Write the significant digits of ``value`` before ``end``; zeros stand in the template."""
    while value > 0:
        rest = value // 10
        end -= 1
        out[end] = 48 + (value - rest * 10)
        value = rest


@kernel
def put_two(out: NDArray[np.uint8], at: int, value: Whole) -> None:
    """Write ``value`` (0-99) as two digits."""
    out[at] = 48 + value // 10
    out[at + 1] = 48 + value % 10


@kernel
def put_clock(out: NDArray[np.uint8], t_s: Whole) -> None:
    """Write Unix seconds as MMDDhhmmss (UTC) into ``out`` u8[10].

    Source: Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    """
    days = t_s // 86_400
    second = t_s - days * 86_400
    shifted = days + 719_468
    era_day = shifted % 146_097
    era_year = (era_day - era_day // 1460 + era_day // 36_524 - era_day // 146_096) // 365
    year_day = era_day - (365 * era_year + era_year // 4 - era_year // 100)
    march_month = (5 * year_day + 2) // 153
    put_two(out, 0, march_month + 3 if march_month < 10 else march_month - 9)
    put_two(out, 2, year_day - (153 * march_month + 2) // 5 + 1)
    put_two(out, 4, second // 3600)
    put_two(out, 6, second // 60 % 60)
    put_two(out, 8, second % 60)


@kernel
def check_digit(index: Whole) -> Whole:
    """Return the Luhn check digit of test card ``index``: BIN 400000 and nine digits."""
    total = _BIN_SUM
    doubled = True
    while index > 0:
        rest = index // 10
        digit = index - rest * 10
        if doubled:
            digit = 2 * digit - 9 if digit > 4 else 2 * digit
        total += digit
        doubled = not doubled
        index = rest
    return (10 - total % 10) % 10


@kernel
def write_frame(
    kind: int,
    order: Any,
    number: Whole,
    clock: NDArray[np.uint8],
    original_clock: NDArray[np.uint8],
    templates: NDArray[np.uint8],
    places: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> Whole:
    """Write one frame at the start of ``out`` and return its bytes.

    Parameters: ``kind`` 0 = 0100, 1 = 0420, 2 = 0101; ``order`` an ORDER row; ``number`` the
    running number; ``clock`` u8[10], its MMDDhhmmss; ``original_clock`` that of the original (0420
    only); ``out`` u8[>= FRAME_CAP].
    """
    row = 1 if kind == 1 else 0
    place = places[row]
    size = place[_SIZE]
    for i in range(size):
        out[i] = templates[row, i]
    if kind == 2:
        out[place[_MTI] - 1] = 49
    stan = number % 999_999 + 1
    put_number(out, place[_PAN], np.int64(order.customer) * 10 + check_digit(order.customer))
    put_number(out, place[_AMOUNT], order.amount_minor)
    for i in range(10):
        out[place[_TRANSMITTED] - 10 + i] = clock[i]
    for i in range(6):
        out[place[_LOCAL_TIME] - 6 + i] = clock[4 + i]
    for i in range(4):
        out[place[_LOCAL_DATE] - 4 + i] = clock[i]
    put_number(out, place[_STAN], stan)
    put_number(out, place[_MCC], np.int64(order.mcc))
    put_number(out, place[_COUNTRY], np.int64(order.country))
    put_number(out, place[_ENTRY_MODE], np.int64(order.entry_mode))
    put_number(out, place[_CONDITION], np.int64(order.condition))
    put_number(out, place[_RRN], number)
    put_number(out, place[_TERMINAL], np.int64(order.terminal))
    put_number(out, place[_MERCHANT], np.int64(order.terminal))
    if kind == 1:
        put_number(out, place[_ORIGINAL_STAN], stan)
        for i in range(10):
            out[place[_ORIGINAL_TRANSMITTED] - 10 + i] = original_clock[i]
    return np.int64(size)


@allocating_kernel
def encode_orders(
    orders: NDArray[Any],
    first_number: int,
    clock_s: int,
    mti: int,
    templates: NDArray[np.uint8],
    places: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write one frame an ORDER row, back to back; ``clock_s`` < 0 = each payment's own time."""
    clock = np.zeros(10, dtype=np.uint8)
    kind = 1 if mti == 420 else (2 if mti == 101 else 0)
    last_s = np.int64(-1)
    at = 0
    size = places[1 if kind == 1 else 0, _SIZE]
    for row in range(orders.size):
        t_s = np.int64(clock_s if clock_s >= 0 else orders[row].t_s)
        if t_s != last_s:
            put_clock(clock, t_s)
            last_s = t_s
        target = out[at : at + size]
        write_frame(kind, orders[row], first_number + row, clock, clock, templates, places, target)
        at += size
