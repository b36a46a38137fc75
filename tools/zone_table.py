"""Make engine/zones.npz from the IANA time zone database, as the package ``tzdata`` has it.

    python tools/zone_table.py [--check]

Names keep the numbers they have and new ones follow, since ledger records hold the numbers. With
--check nothing is written: exit code 1 says that the file differs from the installed package.
Times reach from 1970 to the last second of 32 bits, in 2106. Needs NumPy and tzdata.
"""

import io
import struct
import sys
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import tzdata

FILE = Path(__file__).resolve().parent.parent / "engine" / "zones.npz"
END_S = 1 << 32
_PROBE_S = 7 * 86_400  # clocks that follow a yearly rule change twice a year
_LEFT_OUT = {"Factory", "localtime", "posixrules"}
_HEADER = struct.Struct(">4s c 15x 6l")


def main() -> int:
    """Write the table, or compare it."""
    known = []
    if FILE.is_file():
        with np.load(FILE) as kept:
            known = [name.decode() for name in kept["names"].tolist()]
    package = resources.files("tzdata")
    listed = package.joinpath("zones").read_text(encoding="ascii").split()
    names = known + sorted(set(listed) - set(known) - _LEFT_OUT)
    arrays = _arrays(names)
    if "--check" in sys.argv[1:]:
        with np.load(FILE) as kept:
            is_same = all(np.array_equal(kept[name], arrays[name]) for name in arrays)
        sys.stderr.write(f"{FILE.name}: {'the same' if is_same else 'differs from'} ")
        sys.stderr.write(f"{tzdata.IANA_VERSION}\n")
        return 0 if is_same else 1
    np.savez_compressed(FILE, **arrays)
    sys.stderr.write(f"{FILE.name}: {len(names)} zones, {len(arrays['step_s'])} transitions, ")
    sys.stderr.write(f"{FILE.stat().st_size} bytes, release {tzdata.IANA_VERSION}\n")
    return 0


def _arrays(names: list[str]) -> dict[str, np.ndarray]:
    """Return what ``engine.zones.table_of`` reads; zones that are alike share a slice."""
    slices: dict[tuple[tuple[int, int], ...], int] = {}
    first, last, flat = [], [], []
    for name in names:
        changes = tuple(changes_of(_file_of(name)))
        if changes not in slices:
            slices[changes] = len(flat)
            flat += changes
        first.append(slices[changes])
        last.append(slices[changes] + len(changes))
    at_s = np.array([at for at, _ in flat], np.uint32)
    return {
        "names": np.array([name.encode() for name in names], "S32"),
        "first": np.array(first, np.int32),
        "last": np.array(last, np.int32),
        "step_s": np.diff(at_s, prepend=np.uint32(0)),
        "offset_s": np.array([offset for _, offset in flat], np.int32),
        "release": np.array(tzdata.IANA_VERSION.encode(), "S8"),
    }


def _file_of(name: str) -> bytes:
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def changes_of(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (Unix second, offset from then on) of a zone from 1970 on, the first at 0."""
    zone = ZoneInfo.from_file(io.BytesIO(data))
    stated = _stated(data)
    offset = _offset(zone, 0)
    yield 0, offset
    for at in stated[bisect_left(stated, 1) :]:
        if at < END_S and _offset(zone, at) != offset:
            offset = _offset(zone, at)
            yield at, offset
    # Behind what the file states a yearly rule goes on: look once a week, and halve.
    low = max(stated[-1] if stated else 0, 0)
    while low < END_S - 1:
        high = min(low + _PROBE_S, END_S - 1)
        if _offset(zone, high) != offset:
            before, after = low, high
            while after - before > 1:
                middle = (before + after) // 2
                if _offset(zone, middle) == offset:
                    before = middle
                else:
                    after = middle
            offset = _offset(zone, after)
            yield after, offset
        low = high


def _offset(zone: ZoneInfo, at: int) -> int:
    offset = datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
    assert offset is not None, "the time has a zone"
    return offset.days * 86_400 + offset.seconds


def _stated(data: bytes) -> list[int]:
    """Return the seconds of the transitions that a TZif file states (RFC 8536, 64-bit block)."""
    magic, version, *counts = _HEADER.unpack_from(data)
    assert magic == b"TZif", "what the package holds are TZif files"
    assert version >= b"2", "with times of 64 bits"
    utc, std, leap, times, types, letters = counts
    second = _HEADER.size + times * 5 + types * 6 + letters + leap * 8 + std + utc
    *_, times, _, _ = _HEADER.unpack_from(data, second)
    return list(struct.unpack_from(f">{times}q", data, second + _HEADER.size))


if __name__ == "__main__":
    sys.exit(main())
