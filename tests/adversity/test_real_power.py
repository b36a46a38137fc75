"""Power loss on a real file system: ext4 on a loop device, whose disk is copied in mid-flight.

What the file system has not handed to its disk yet is not in the copy, as it would not be on the
medium; mounting the copy replays ext4's own journal. Needs root and loop mounts.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.stores.file import open_file_store
from tests.support.ledger_process import SEGMENT_BYTES, check_numbered
from tests.support.ledger_processes import Processes
from tests.system.process import eventually

_IMAGE_BYTES = 96 * 1024 * 1024


def _call(*words: object) -> bool:
    """Run a program; return whether it succeeded."""
    done = subprocess.run([str(word) for word in words], capture_output=True, check=False)
    return done.returncode == 0


def _mounted(image: Path, place: Path) -> bool:
    place.mkdir()
    return _call("mount", "-o", "loop", image, place)


def _unmounted(place: Path) -> bool:
    """Unmount; a process that was just killed may hold it for a moment."""
    return _call("umount", place)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Return the image of a disk and the folder where it is mounted."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4")
    image, place = tmp_path / "disk", tmp_path / "mounted"
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    if not _call("mkfs.ext4", "-q", "-F", image) or not _mounted(image, place):
        pytest.skip("no loop mounts here")
    yield image, place
    eventually(lambda: _unmounted(place))


def test_what_was_acknowledged_is_on_the_disk(
    disk: tuple[Path, Path], tmp_path: Path, fault_rounds: int
) -> None:
    """Each round the disk of the moment is mounted: the journal opens with all acknowledged."""
    image, place = disk
    draw = random.Random(5)
    copy, found = tmp_path / "copy", tmp_path / "found"
    processes = Processes()

    def power_cut(acknowledged: int) -> None:
        shutil.copyfile(image, copy)
        assert _mounted(copy, found)
        try:
            last = check_numbered(found / "data", acknowledged)
            store = open_file_store(found / "data", segment_bytes=SEGMENT_BYTES)
            assert store.position.seq == last + 1
            store.close()
        finally:
            eventually(lambda: _unmounted(found))
            found.rmdir()

    for number in range(max(3, fault_rounds // 5)):
        shutil.rmtree(place / "data", ignore_errors=True)
        life_s = draw.uniform(0.0, 0.15)
        code, seen, _ = processes.run(place / "data", number, life_s=life_s, at_death=power_cut)
        assert code == -9
        assert seen
    processes.close()
