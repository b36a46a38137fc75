"""Witnesses: a journal that is behind what somebody saw acknowledged is refused."""

import json
from pathlib import Path

import pytest

from ledger.errors import RotError
from ledger.segment import segment_path
from ledger.stores.file import FileStore, open_file_store
from ledger.stores.file_reader import FileReader
from ledger.witness import (
    Witness,
    WitnessError,
    check_witnesses,
    read_witnesses,
    witness_of,
    write_witness,
)
from tests.ledger.journals import CLUSTER, append, opened


def store_of(data: Path, counts: list[int]) -> FileStore:
    """Return an open store with batches of ``counts`` records."""
    store = opened(data)
    for count in counts:
        append(store, count)
    return store


def test_the_last_one_is_kept_and_agrees(tmp_path: Path) -> None:
    """What the engine writes is read back, and the journal it came from passes."""
    store = store_of(tmp_path, [2, 3])
    file = tmp_path / "witness"
    write_witness(file, witness_of(0, store.position))
    seen = read_witnesses(file, 0)
    assert seen == [Witness(0, 1, 5, store.position.head[:8])]
    check_witnesses(FileReader(tmp_path), store.position, seen)
    assert read_witnesses(file, 1) == []
    assert read_witnesses(tmp_path / "none", 0) == []
    store.close()


def test_a_cleanly_cut_tail_is_seen_and_nothing_is_changed(tmp_path: Path) -> None:
    """A zeroed last batch reads as a clean end; the witness knows of its record."""
    store = store_of(tmp_path, [2, 3])
    before_last = store.position.offset - 4096
    seen = [witness_of(0, store.position)]
    store.close()
    path = segment_path(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[before_last : before_last + 512] = bytes(512)  # looks like a torn write
    path.write_bytes(content)

    def check(end: object) -> None:
        check_witnesses(FileReader(tmp_path), end, seen)

    with pytest.raises(RotError, match="ends at record 2, a witness saw record 5"):
        open_file_store(tmp_path, cluster=CLUSTER, on_end=check)
    assert path.read_bytes() == content


def test_another_history_is_seen(tmp_path: Path) -> None:
    """Enough records, but not those that were acknowledged."""
    store = store_of(tmp_path / "a", [2, 3])
    seen = [witness_of(0, store.position)]
    store.close()
    other = store_of(tmp_path / "b", [3, 2, 2])
    with pytest.raises(RotError, match="record 5 is not in the batch that a witness saw"):
        check_witnesses(FileReader(tmp_path / "b"), other.position, seen)
    other.close()


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    """A file that is none is refused by line; a last line cut short is passed."""
    file = tmp_path / "w"
    good = Witness(0, 1, 5, b"12345678").line()
    file.write_text(good + good[:20])
    assert len(read_witnesses(file, 0)) == 1
    for bad in ("{}\n", "x\n", json.dumps({"partition": 0, "epoch": 1, "seq": 1}) + "\n"):
        file.write_text(good + bad)
        with pytest.raises(WitnessError, match="w:2: not a witness"):
            read_witnesses(file, 0)
