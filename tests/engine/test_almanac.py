"""Dates of the kernels against the standard library."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.almanac import (
    SECONDS_A_DAY,
    days_of_civil,
    seconds_of_transmission,
    transmission_of,
    year_and_month,
)

pytestmark = pytest.mark.kernels

_EPOCH = date(1970, 1, 1)
_DAYS = (date(2106, 1, 1) - _EPOCH).days


def test_every_day_from_1970_to_2105_agrees_with_the_calendar() -> None:
    """Both ways, leap days and the year 2100, which has none, among them."""
    for days in range(_DAYS):
        day = _EPOCH + timedelta(days=days)
        assert year_and_month(days) == (day.year, day.month)
        assert days_of_civil(day.year, day.month, day.day) == days


def _transmitted(moment: datetime) -> int:
    return int(moment.strftime("%m%d%H%M%S"))


def _nearest(transmitted: int, now: datetime) -> int:
    """Try the three years around; the 29th of February counts as the 1st of March elsewhere."""
    digits = f"{transmitted:010d}"
    month, day, clock = int(digits[:2]), int(digits[2:4]), digits[4:]
    seconds = []
    for year in (now.year - 1, now.year, now.year + 1):
        start = datetime(year, month, 1, tzinfo=UTC) + timedelta(days=day - 1)
        passed = int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:])
        seconds.append(int(start.timestamp()) + passed)
    return min(seconds, key=lambda s: abs(s - int(now.timestamp())))


_moments = st.datetimes(datetime(1971, 1, 2), datetime(2104, 12, 30)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC, microsecond=0)
)


@given(_moments, st.datetimes(datetime(2000, 1, 1), datetime(2000, 12, 31, 23, 59, 59)))  # noqa: DTZ001
@pytest.mark.behaviour(64)
def test_a_transmission_time_lies_in_the_nearest_year(now: datetime, sent: datetime) -> None:
    """DE7 has no year: the one that comes closest to the engine's time is taken."""
    transmitted = _transmitted(sent)

    seconds = seconds_of_transmission(transmitted, int(now.timestamp()))

    assert seconds == _nearest(transmitted, now)


@pytest.mark.parametrize(
    ("now", "sent", "gap_s"),
    [
        (datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC), 1231235959, -2),
        (datetime(2026, 12, 31, 23, 59, 58, tzinfo=UTC), 101000001, 3),
        (datetime(2028, 2, 29, 12, 0, 0, tzinfo=UTC), 229120005, 5),
        (datetime(2028, 3, 1, 0, 0, 0, tzinfo=UTC), 229235959, -1),
        (datetime(2100, 3, 1, 0, 0, 0, tzinfo=UTC), 228235959, -1),
    ],
)
@pytest.mark.behaviour(64)
def test_years_end_and_leap_days(now: datetime, sent: int, gap_s: int) -> None:
    """Across the turn of a year and around the end of February the gap is some seconds."""
    now_s = int(now.timestamp())

    assert seconds_of_transmission(sent, now_s) - now_s == gap_s
    assert abs(gap_s) < SECONDS_A_DAY


@given(st.integers(0, _DAYS * SECONDS_A_DAY - 1))
def test_a_time_of_transmission_is_the_calendars(seconds: int) -> None:
    """MMDDhhmmss of any second, the last of February among them."""
    assert transmission_of(seconds) == _transmitted(datetime.fromtimestamp(seconds, UTC))
