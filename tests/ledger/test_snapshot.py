"""Snapshots: what is written comes back, damage falls back to the one before."""

import errno
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ledger.errors import StorageError
from ledger.journal import Position
from ledger.record import RECORD
from ledger.snapshot import (
    SNAPSHOT_FORMAT,
    latest_seq,
    load_latest,
    of_other_format,
    snapshot_folder,
    state_hash,
    write_snapshot,
)
from tests.ledger.fake_disk import FakeDisk, PowerCut
from tests.ledger.journals import DATA, records_from
from tests.support.effort import examples

AT = Position(batch_no=4, seq=9, epoch=2, head=bytes(range(32)), segment=1, offset=8192)
dtypes = st.sampled_from(
    [
        np.dtype("<i8"),
        np.dtype("u1"),
        np.dtype("<f4"),
        RECORD,
        np.dtype([("a", "<u4", (2,)), ("b", [("c", "u1"), ("d", "<i2", (2, 2))])]),
    ]
)
states = st.dictionaries(
    st.text(min_size=1, max_size=5),
    st.builds(
        lambda dtype, shape, fill: np.frombuffer(
            (fill * dtype.itemsize * int(np.prod(shape)))[: dtype.itemsize * int(np.prod(shape))],
            dtype,
        ).reshape(shape),
        dtypes,
        hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=5),
        st.binary(min_size=1, max_size=7),
    ),
    max_size=4,
)


@settings(max_examples=examples(40))
@given(arrays=states)
def test_any_state_comes_back(arrays: dict[str, np.ndarray]) -> None:
    """Names, dtypes, shapes and bytes return, writable, under the same hash."""
    disk = FakeDisk()
    write_snapshot(DATA, 8, AT, arrays, {"model": "m1"}, disk=disk)
    found = load_latest(DATA, disk=disk)
    assert found is not None
    assert (found.seq, found.position, found.meta) == (8, AT, {"model": "m1"})
    assert found.state_hash == state_hash(arrays) == state_hash(found.arrays)
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()
        assert found.arrays[name].flags.writeable


def test_hash_covers_names_dtypes_shapes_and_bytes() -> None:
    """States that differ in anything hash differently; order of insertion does not matter."""
    one = np.arange(6, dtype="<i4")
    states_that_differ = [
        {"a": one},
        {"b": one},
        {"a": one.view("<u4")},
        {"a": one.reshape(2, 3)},
        {"a": one + 1},
        {"a": one, "b": one},
    ]
    assert len({state_hash(state) for state in states_that_differ}) == len(states_that_differ)
    assert state_hash({"a": one, "b": one + 1}) == state_hash({"b": one + 1, "a": one})
    assert state_hash({"a": one[::2]}) == state_hash({"a": one[::2].copy()})


def test_three_newest_are_kept_private(tmp_path: Path) -> None:
    """Older ones and leftovers go; files are the owner's only."""
    folder = snapshot_folder(tmp_path)
    for seq in (10, 20, 30, 100, 40):
        write_snapshot(tmp_path, seq, AT, {"a": records_from(1, 3)})
        (folder / "x.tmp").write_bytes(b"left over")
    names = sorted(int(path.stem) for path in folder.glob("*.snap"))
    assert names == [30, 40, 100]
    assert latest_seq(tmp_path) == 100
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.glob("*.snap"))


def test_damaged_snapshot_is_reported_and_the_one_before_is_used(tmp_path: Path) -> None:
    """Any damaged byte that matters, or a cut, makes the loader fall back."""
    write_snapshot(tmp_path, 10, AT, {"a": np.arange(10)})
    path = write_snapshot(tmp_path, 20, AT, {"a": np.arange(600), "b": np.arange(7)})
    whole = path.read_bytes()
    places = [*range(60), *range(4096, 4096 + 4800, 97), 8192 + 4096 + 3, len(whole) - 2]
    for at in places:
        broken = bytearray(whole)
        broken[at] ^= 0x41
        path.write_bytes(broken)
        reports: list[str] = []
        found = load_latest(tmp_path, on_damaged=reports.append)
        assert found is not None, at
        assert found.seq == 10, at
        assert len(reports) == 1
        assert str(path) in reports[0]
    path.write_bytes(whole[:5000])
    found = load_latest(tmp_path)
    assert found is not None
    assert found.seq == 10


def as_written_by_format(version: int, path: Path) -> None:
    """Make the snapshot ``path`` one of format ``version``, whole in itself."""
    raw = bytearray(path.read_bytes())
    head = struct.Struct("<7sBQQ32s")
    raw[7] = version
    struct.pack_into("<I", raw, head.size, zlib.crc32(raw[: head.size]))
    path.write_bytes(raw)


@pytest.mark.parametrize("version", [1, 3, SNAPSHOT_FORMAT + 1])
def test_another_format_is_named_and_passed_over(tmp_path: Path, version: int) -> None:
    """Of an older or a newer program: not damaged, and not what this one reads."""
    write_snapshot(tmp_path, 10, AT, {"a": np.arange(10)})
    path = write_snapshot(tmp_path, 20, AT, {"a": np.arange(3)})
    assert path.read_bytes()[:8] == b"DE39snp\x04"
    as_written_by_format(version, path)
    reports: list[str] = []

    found = load_latest(tmp_path, on_damaged=reports.append)

    assert found is not None
    assert found.seq == 10
    text = f"has snapshot format {version}, this program reads format {SNAPSHOT_FORMAT}"
    assert reports == [f"snapshot {path} {text}: skipped, the journal is read instead"]
    assert of_other_format(tmp_path) == [20]


def test_no_snapshot_is_none(tmp_path: Path) -> None:
    """A fresh folder has none."""
    assert load_latest(tmp_path) is None
    assert latest_seq(tmp_path) == 0


def test_power_loss_while_writing_leaves_a_whole_snapshot() -> None:
    """At any call, whatever of the un-synced bytes survives: the old or the new one loads whole."""
    arrays = {"a": np.arange(1000), "r": records_from(1, 9)}
    for call in range(1, 12):
        disk = FakeDisk()
        write_snapshot(DATA, 10, AT, {"a": np.arange(3)}, disk=disk)
        disk.fail_at, disk.failure = disk.calls + call, "stop"
        with suppress(PowerCut):
            write_snapshot(DATA, 20, AT, arrays, disk=disk)
        for names in {0, len(disk.name_changes)}:
            for part in (1, 2, 3):
                after = disk.after_power_loss(lambda n, part=part: n % part == 0, names)
                found = load_latest(DATA, disk=after)
                assert found is not None
                expected = {"a": np.arange(3)} if found.seq == 10 else arrays
                assert found.state_hash == state_hash(expected)


@pytest.mark.parametrize("failure", [errno.EIO, errno.ENOSPC, "short"])
def test_disk_failure_keeps_the_earlier_snapshot(failure: int | str) -> None:
    """A snapshot that cannot be written is an error and harms nothing."""
    disk = FakeDisk()
    write_snapshot(DATA, 10, AT, {"a": np.arange(3)}, disk=disk)
    disk.fail_at, disk.failure = disk.calls + 1, failure
    with pytest.raises(StorageError):
        write_snapshot(DATA, 20, AT, {"a": np.arange(3)}, disk=disk)
    found = load_latest(DATA, disk=disk)
    assert found is not None
    assert found.seq == 10


def test_snapshot_older_than_its_position_is_refused() -> None:
    """Records between the snapshot and the position would never be replayed."""
    with pytest.raises(ValueError, match="older"):
        write_snapshot(DATA, 7, AT, {}, disk=FakeDisk())
