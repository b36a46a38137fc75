"""Records found by number are those of a whole reading, and little else is read."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.disk import OsDisk
from ledger.errors import RotError
from ledger.lookup import batches_with
from ledger.segment import segment_indexes, segment_path
from ledger.stores.place import records_at
from tests.ledger.journals import append, opened, read_all

COUNT = 3_000


class CountingDisk(OsDisk):
    """A disk that says how much was read."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def read_into(self, handle: int, buffer: memoryview, offset: int) -> int:
        """Read, and count."""
        count = super().read_into(handle, buffer, offset)
        self.read_bytes += count
        return count


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a journal of many small segments, in batches of one to ninety records."""
    folder, rng = tmp_path_factory.mktemp("lookup"), np.random.default_rng(4)
    store, left = opened(folder), COUNT
    while left:
        count = min(int(rng.integers(1, 90)), left)
        append(store, count)
        left -= count
    store.close()
    assert len(segment_indexes(OsDisk(), folder)) > 5
    return folder


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, COUNT + 5), max_size=40))
def test_any_numbers_are_found(data: Path, numbers: list[int]) -> None:
    """In rising order, each once; what was never written is left out."""
    found = records_at(data, np.array(numbers, np.int64), COUNT + 1)
    there = np.unique([n for n in numbers if 1 <= n <= COUNT]).astype(np.int64)
    assert found.tobytes() == read_all(data)[there - 1].tobytes()


def test_little_is_read(data: Path) -> None:
    """One record costs headers of its segment, not the journal."""
    disk = CountingDisk()
    (batch,) = batches_with(data, np.array([1_500]), disk)
    assert 1_500 in batch.records["seq"]
    whole = sum(path.stat().st_size for path in (data / "journal").glob("*"))
    assert disk.read_bytes < whole / 2


def test_what_is_read_is_checked(data: Path, tmp_path: Path) -> None:
    """A changed byte of a wanted batch or of a header on the way is rot, as in any reading."""
    for place, wanted in ((4096 + 300, 1), (4096 + 100, 2_900)):
        folder = tmp_path / str(place)
        (folder / "journal").mkdir(parents=True)
        for path in (data / "journal").glob("*"):
            (folder / "journal" / path.name).write_bytes(path.read_bytes())
        newest = segment_indexes(OsDisk(), folder)[0 if wanted == 1 else -1]
        path = segment_path(folder, newest)
        changed = bytearray(path.read_bytes())
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(RotError):
            records_at(folder, np.array([wanted, COUNT]), COUNT + 1)
        assert len(records_at(folder, np.array([1_000]), COUNT + 1)) == 1  # in another segment
