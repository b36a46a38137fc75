"""The next segment: full of zeros in time, and usable when it is not."""

import threading
from pathlib import Path

from ledger.disk import Buffer, OsDisk
from ledger.stores.file import open_file_store
from ledger.stores.spare import SPARE_NAME, SpareSegment
from tests.ledger.journals import append, read_all

SIZE = 1024 * 1024


class SlowDisk(OsDisk):
    """Lets one write of zeros through; the others wait for ``gate``."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.has_begun = threading.Event()
        self.spare = -1

    def open(
        self, path: Path, *, write: bool = False, create: bool = False, direct: bool = False
    ) -> int:
        """Note the handle of the spare file."""
        handle = super().open(path, write=write, create=create, direct=direct)
        if path.name == SPARE_NAME and create:
            self.spare = handle
        return handle

    def pwrite(self, handle: int, data: Buffer, offset: int) -> int:
        """Wait, if it is a later piece of the spare file."""
        if handle == self.spare and offset and threading.current_thread().name == "segment-spare":
            self.has_begun.set()
            assert self.gate.wait(30)
        return super().pwrite(handle, data, offset)


def test_a_spare_that_is_wanted_early_is_whole_and_reads_as_zeros(tmp_path: Path) -> None:
    """The writer gets it after the piece at hand, not after the last one."""
    (tmp_path / "journal").mkdir()
    disk = SlowDisk()
    spare = SpareSegment(disk, tmp_path, SIZE, in_background=True)
    spare.begin()
    assert disk.has_begun.wait(30)
    taken: list[Path] = []
    taker = threading.Thread(target=lambda: taken.append(spare.take()))
    taker.start()
    while not spare.early_count:
        taker.join(0.001)
    disk.gate.set()
    taker.join()
    assert taken[0].read_bytes() == bytes(SIZE)
    spare.begin()  # the next one is filled to its end
    while spare.is_filling:
        taker.join(0.001)
    assert spare.take().read_bytes() == bytes(SIZE)
    assert spare.early_count == 1
    spare.close()


def test_a_journal_goes_on_in_a_segment_that_was_taken_early(tmp_path: Path) -> None:
    """No record waits for the zeros, and all are read back."""
    disk = SlowDisk()
    store = open_file_store(tmp_path, segment_bytes=SIZE, disk=disk)
    while store.position.segment < 3:
        append(store, 400)
        if store.position.offset > SIZE // 2:
            assert disk.has_begun.wait(30)
            disk.gate.set()
    end = store.position.seq
    store.close()
    assert read_all(tmp_path)["seq"].tolist() == list(range(1, end))
