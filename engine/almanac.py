"""Dates as kernels need them: proleptic Gregorian calendar, UTC, no leap seconds.

ISO 8583 gives month and day without a year, and an expiry as year and month; the engine knows its
own time. Days are counted from 1970-01-01.
"""

from ledger.jit import Int, kernel

SECONDS_A_DAY = 86_400


@kernel
def days_of_civil(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01; the year is counted from March so that leap days come last."""
    shifted_year = year - 1 if month <= 2 else year
    era = shifted_year // 400
    year_of_era = shifted_year - era * 400
    month_from_march = (month + 9) % 12
    day_of_year = (153 * month_from_march + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146_097 + day_of_era - 719_468


@kernel
def year_and_month(days: int) -> tuple[int, int]:
    """Return (year, month 1-12) of a day counted from 1970-01-01."""
    shifted = days + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400
    return (year + 1, month) if month <= 2 else (year, month)


@kernel
def transmission_of(seconds: Int) -> Int:
    """Return a Unix second as DE7 has it: MMDDhhmmss, UTC."""
    days = seconds // SECONDS_A_DAY
    year, month = year_and_month(days)
    day = days - days_of_civil(year, month, 1) + 1
    clock = seconds - days * SECONDS_A_DAY
    return (
        month * 100_000_000
        + day * 1_000_000
        + clock // 3600 * 10_000
        + (clock // 60 % 60 * 100 + clock % 60)
    )


@kernel
def seconds_of_transmission(transmitted: Int, now_s: Int) -> Int:
    """Return the Unix second of a DE7 (MMDDhhmmss), in the year that is nearest to ``now_s``."""
    month = transmitted // 100_000_000
    day = transmitted // 1_000_000 % 100
    clock = transmitted // 10_000 % 100 * 3600 + transmitted // 100 % 100 * 60 + transmitted % 100
    year, _ = year_and_month(now_s // SECONDS_A_DAY)
    best = 0
    best_gap = -1
    for candidate_year in range(year - 1, year + 2):
        seconds = days_of_civil(candidate_year, month, day) * SECONDS_A_DAY + clock
        gap = abs(seconds - now_s)
        if best_gap < 0 or gap < best_gap:
            best, best_gap = seconds, gap
    return best
