"""Archiving: only what every kept snapshot has behind it goes, and only once its copy is good."""

from pathlib import Path

import numpy as np
import pytest

from ledger.archive import archivable, archive, unpack
from ledger.disk import OsDisk
from ledger.errors import RotError
from ledger.recovery import Scan, scan_running
from ledger.segment import ARCHIVED_NAME, journal_folder, segment_indexes, segment_path
from ledger.snapshot import load_latest, write_snapshot
from ledger.stores.file import FileStore, open_file_store
from tests.ledger.journals import CLUSTER, append, opened, read_all

TINY = 16 * 1024


def ledger(data: Path, snapshots: int) -> FileStore:
    """Return an open store of many segments, with snapshots along the way."""
    store = opened(data, segment_bytes=TINY)
    for number in range(24):
        append(store, 5)
        if number % 6 == 5 and number // 6 < snapshots:
            write_snapshot(data, store.position.seq - 1, store.position, {"rows": np.arange(3)})
    return store


def test_segments_before_every_snapshot_go(tmp_path: Path) -> None:
    """The journal then begins later, goes on, and the archive gives back each byte."""
    data, to = tmp_path / "data", tmp_path / "old"
    store = ledger(data, 3)
    whole = read_all(data)
    wanted = archivable(data, 2)
    assert wanted == [1]
    kept = {number: segment_path(data, number).read_bytes() for number in wanted}
    assert archive(data, to, dry_run=True)["archived"] == wanted
    assert segment_path(data, 1).exists()
    facts = archive(data, to)
    assert facts["archived"] == wanted
    assert 0 < facts["archive_bytes"] < facts["bytes"]
    assert segment_indexes(OsDisk(), data)[0] == 2
    append(store, 2)
    store.close()
    found = np.concatenate([batch.records for batch in scan_running(data)])
    assert found[:-2].tobytes() == whole[int(found["seq"][0]) - 1 :].tobytes()
    snapshot = load_latest(data)
    assert snapshot is not None
    again = open_file_store(data, cluster=CLUSTER, start=snapshot.position, write_ahead=False)
    assert again.position.seq == 123
    again.close()
    for number, content in kept.items():
        unpack(to, number, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content
    assert archivable(data, 2) == []


def test_without_enough_snapshots_nothing_goes(tmp_path: Path) -> None:
    """A start may have to fall back to the beginning, so the beginning stays."""
    for count in (0, 1, 2):
        data = tmp_path / str(count)
        ledger(data, count).close()
        assert archive(data, tmp_path / "old")["archived"] == []
        assert not (tmp_path / "old").exists()


def test_the_newest_segments_stay_in_any_case(tmp_path: Path) -> None:
    """As many as are asked for."""
    data = tmp_path / "data"
    ledger(data, 4).close()
    assert len(segment_indexes(OsDisk(), data)) == 8
    assert archivable(data, 1) == [1, 2, 3]
    assert archivable(data, 7) == [1]
    assert archivable(data, 8) == []


def test_a_missing_segment_is_still_rot(tmp_path: Path) -> None:
    """Only what the mark says may be gone; a damaged mark is refused."""
    data = tmp_path / "data"
    ledger(data, 3).close()
    archive(data, tmp_path / "old")
    segment_path(data, 2).unlink()
    with pytest.raises(RotError, match="segment missing"):
        list(Scan(data))
    mark = journal_folder(data) / ARCHIVED_NAME
    mark.write_bytes(mark.read_bytes().replace(b"2", b"3", 1))
    with pytest.raises(RotError, match="archived segments is damaged"):
        list(Scan(data))
