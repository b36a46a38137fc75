"""Local times by the standard library, from the same release of the zone database."""

import functools
from datetime import datetime, timedelta, timezone, tzinfo
from importlib import resources
from zoneinfo import ZoneInfo


@functools.cache
def zone_of(name: str) -> ZoneInfo:
    """Return a zone as the package ``tzdata`` has it, whatever the machine has installed."""
    file = resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with file.open("rb") as opened:
        return ZoneInfo.from_file(opened, key=name)


def local_time(t_s: int, zone: str | int) -> datetime:
    """Return what the clocks show at a Unix second in a zone, or so many seconds ahead of UTC."""
    place: tzinfo = timezone(timedelta(seconds=zone)) if isinstance(zone, int) else zone_of(zone)
    return datetime.fromtimestamp(t_s, place)


def seconds_ahead(t_s: int, name: str) -> int:
    """Return what a zone is ahead of UTC then."""
    offset = local_time(t_s, name).utcoffset()
    assert offset is not None, "the time has a zone"
    return offset.days * 86_400 + offset.seconds
