"""Archiving: only what every kept snapshot has behind it goes, and only once its copy is good."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ledger.archive import archive, due_pieces, unpack
from ledger.disk import OsDisk
from ledger.errors import RotError
from ledger.journal import Position
from ledger.proof.log import ProofError, ProofLog, load_signer, origin_of, proof_folder
from ledger.proof.note import NoteError, parse
from ledger.recovery import Scan, scan_running
from ledger.segment import ARCHIVED_NAME, journal_folder, segment_indexes, segment_path
from ledger.snapshot import load_latest, write_snapshot
from ledger.stores.file import FileStore, open_file_store
from ledger.stores.file_reader import FileReader
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


def archivable(data: Path, keep_count: int) -> list[int]:
    """Return the numbers of the segments that may go."""
    return [piece.number for piece in due_pieces(data, FileReader(data), keep_count).pieces]


def sign(data: Path, end: Position, batches: int) -> None:
    """Sign a checkpoint over the first ``batches`` of the journal, which ends at ``end``."""
    with closing(ProofLog(data, load_signer(data, origin_of(CLUSTER, 0)))) as log:
        log.advance(end, batches - log.size)
        assert parse(log.publish()).size == batches


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


def test_what_no_checkpoint_covers_stays(tmp_path: Path) -> None:
    """Its leaves are made of the segments: the command asks as the timer does."""
    data, to = tmp_path / "data", tmp_path / "old"
    store = ledger(data, 4)
    assert archivable(data, 2) == [1, 2, 3]
    last = {
        piece.number: piece.after.batch_no - 1
        for piece in due_pieces(data, FileReader(data), 2).pieces
    }
    load_signer(data, origin_of(CLUSTER, 0))  # it will be signed, and is not yet
    facts = archive(data, to)
    assert (facts["archived"], facts["unsigned"]) == ([], [1, 2, 3])
    assert not to.exists()
    sign(data, store.position, last[2] - 1)
    assert archive(data, to, dry_run=True)["unsigned"] == [2, 3]
    sign(data, store.position, last[2])
    facts = archive(data, to)
    assert (facts["archived"], facts["unsigned"]) == ([1, 2], [3])
    assert segment_indexes(OsDisk(), data)[0] == 3
    sign(data, store.position, 24)
    assert archive(data, to)["archived"] == [3]
    store.close()


def test_a_checkpoint_of_somebody_else_lets_nothing_go(tmp_path: Path) -> None:
    """A note with a larger size that the folder's key did not sign is refused, not believed."""
    data, to = tmp_path / "data", tmp_path / "old"
    store = ledger(data, 4)
    sign(data, store.position, 2)
    store.close()
    note = proof_folder(data) / "checkpoint"
    note.write_text(note.read_text("utf-8").replace("\n2\n", "\n24\n"), "utf-8")
    with pytest.raises(NoteError):
        archive(data, to)
    (proof_folder(data) / "verifier").unlink()
    with pytest.raises(ProofError, match="no verifier"):
        archive(data, to)
    assert segment_indexes(OsDisk(), data)[0] == 1


def test_a_log_goes_on_behind_an_archive(tmp_path: Path) -> None:
    """From the batch after the last one signed; never from a hole, and never without its tree."""
    data = tmp_path / "data"
    store = ledger(data, 4)
    end = next(p.after for p in due_pieces(data, FileReader(data), 2).pieces if p.number == 2)
    sign(data, store.position, end.batch_no - 1)
    assert archive(data, tmp_path / "old")["archived"] == [1, 2]
    kept = {p: p.read_bytes() for p in proof_folder(data).rglob("*") if p.is_file()}
    sign(data, store.position, 24)
    for path in [p for p in proof_folder(data).rglob("*") if p.is_file()]:
        path.unlink()
    with (
        pytest.raises(ProofError, match=f"from 1 to {end.batch_no - 1} are archived and in no"),
        closing(ProofLog(data, load_signer(data, origin_of(CLUSTER, 0)))) as log,
    ):
        log.advance(store.position)
    for path, content in kept.items():
        if "tile" not in path.parts:
            path.write_bytes(content)
    with pytest.raises(ProofError, match="restore the folder tile"):
        ProofLog(data, load_signer(data, origin_of(CLUSTER, 0)))
    store.close()


def test_a_damaged_segment_is_not_archived(tmp_path: Path) -> None:
    """Its batch is named, and it stays: the archive holds nothing that was not checked."""
    data, to = tmp_path / "data", tmp_path / "old"
    ledger(data, 4).close()
    path = segment_path(data, 2)
    content = bytearray(path.read_bytes())
    content[4096 + 300] ^= 1
    path.write_bytes(content)
    with pytest.raises(RotError, match=r"00000002\.seg.*body differs"):
        archive(data, to)
    assert segment_indexes(OsDisk(), data)[0] == 2
    assert [p.name for p in to.iterdir()] == ["00000001.seg.gz"]
