"""Time zones of cards: the number of each IANA name, and when the clocks of a zone change.

The table ships with the program (``zones.npz``, made by ``tools/zone_table.py`` from the IANA
database), so that the same program knows the same local times on every machine, whatever that
machine has installed. A name keeps its number for ever: ledger records hold it. Release and hash of
the table stand in the records of rule sets that read local times.
"""

import difflib
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NAME_MAX = 32  # bytes of the longest name

ZONE = np.dtype([("first", "<i4"), ("last", "<i4")])  # its slice of the transitions
TRANSITION = np.dtype([("at_s", "<u4"), ("offset_s", "<i4")])  # from this second on: ahead of UTC
assert (ZONE.itemsize, TRANSITION.itemsize) == (8, 8)


@dataclass(frozen=True, slots=True, eq=False)
class ZoneTable:
    """All zones that the program knows. Every slice begins at second 0 (1970-01-01 UTC)."""

    names: tuple[str, ...]  # by number; "" is 0, no zone
    zones: NDArray[np.void]  # ZONE, by number
    transitions: NDArray[np.void]  # TRANSITION, rising within each slice, up to 2106
    release: str  # of the IANA database, such as 2026f
    sha256: str  # hex, over names and arrays

    @property
    def version(self) -> str:
        """Release and hash, as the journal has them."""
        return f"{self.release} {self.sha256}"


@functools.cache
def zone_table() -> ZoneTable:
    """Return the table that ships with the program, read once."""
    with np.load(Path(__file__).with_name("zones.npz"), allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files}
    return table_of(arrays)


def table_of(arrays: dict[str, NDArray[np.generic]]) -> ZoneTable:
    """Return the table that a file holds.

    Parameters
    ----------
    arrays
        ``names`` S32[n] from number 1 on; ``first``, ``last`` i32[n]; ``step_s`` u32[k], seconds
        since the transition before, modulo 2 to the 32nd; ``offset_s`` i32[k]; ``release`` S8.
    """
    digest = hashlib.sha256()
    for name in ("names", "first", "last", "step_s", "offset_s"):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    names = tuple(name.decode() for name in arrays["names"].tolist())
    zones = np.zeros(len(names) + 1, ZONE)
    zones["first"][1:], zones["last"][1:] = arrays["first"], arrays["last"]
    transitions = np.zeros(len(arrays["step_s"]), TRANSITION)
    transitions["at_s"] = np.cumsum(arrays["step_s"], dtype=np.uint32)
    transitions["offset_s"] = arrays["offset_s"]
    release = bytes(arrays["release"].item()).decode()
    return ZoneTable(("", *names), zones, transitions, release, digest.hexdigest())


@functools.cache
def _numbers() -> dict[str, int]:
    return {name: number for number, name in enumerate(zone_table().names) if number}


def zone_number(name: str) -> int:
    """Return the number of an IANA name, 0 for ""; ValueError says what would be right."""
    if not name:
        return 0
    number = _numbers().get(name)
    if number is None:
        near = difflib.get_close_matches(name[:NAME_MAX], _numbers(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"expected an IANA time zone, such as Europe/Berlin{hint}")
    return number


def zone_name(number: int) -> str:
    """Return the name of a zone; "" = none, or one that this program does not know."""
    names = zone_table().names
    return names[number] if 0 <= number < len(names) else ""


def new_card_zones(capacity: int) -> NDArray[np.uint16]:
    """Return ``capacity`` zone numbers of cards, 0 = that of the rule set."""
    return np.zeros(capacity, np.uint16)
