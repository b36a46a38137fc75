"""The proof log follows the journal, and notices when it is another journal."""

import shutil
from pathlib import Path

import pytest

from ledger.errors import RotError
from ledger.journal import Position
from ledger.proof.log import (
    ProofError,
    ProofLog,
    check_end,
    entry_of,
    load_signer,
    origin_of,
    proof_folder,
)
from ledger.proof.note import NoteError, parse, verified
from ledger.proof.tiles import tile_names
from ledger.recovery import Scan
from ledger.stores.file import FileStore
from tests.ledger.journals import CLUSTER, append, opened
from tests.oracle.merkle import mth

ORIGIN = origin_of(CLUSTER, 0)


def fill(data: Path, batches: int) -> FileStore:
    """Return an open store after ``batches`` more batches of one record."""
    store = opened(data, segment_bytes=256 * 1024)
    for _ in range(batches):
        append(store, 1)
    return store


def log_of(data: Path) -> ProofLog:
    """Return the log of ``data``."""
    return ProofLog(data, load_signer(data, ORIGIN))


def test_root_is_that_of_all_batches_however_it_was_reached(tmp_path: Path) -> None:
    """Opened anew at odd sizes, past a full tile and a tile level: the root is RFC 6962's."""
    entries: list[bytes] = []
    for more in (1, 2, 252, 1, 1, 300):
        store = fill(tmp_path, more)
        log = log_of(tmp_path)
        assert log.size == len(entries)
        while log.advance(store.position, 100):
            pass
        note = log.publish()
        store.close()
        assert log.size == log.tiles.size
        tree = proof_folder(tmp_path) / "tile"
        assert all((tree / name).is_file() for name in tile_names(log.size))
        assert len(set(tile_names(log.size))) == len([p for p in tree.rglob("*") if p.is_file()])
        entries = [entry_of(batch) for batch in Scan(tmp_path)]
        assert verified(note, load_signer(tmp_path, ORIGIN).verifier).root == mth(entries)
        assert [log.tiles.entry(i) for i in range(0, len(entries), 7)] == entries[::7]
    names = {str(p.relative_to(tmp_path / "proof")) for p in (tmp_path / "proof").rglob("*")}
    assert {"tile/0/000", "tile/0/001", "tile/1/000.p/2", "tile/entries/001"} <= names
    assert not any("000.p/1" in name for name in names)


def test_lost_or_damaged_tiles_are_made_again(tmp_path: Path) -> None:
    """The tree is a copy of what the journal says; the checkpoint tells whether it is the same."""
    store = fill(tmp_path, 5)
    log = log_of(tmp_path)
    log.advance(store.position)
    note = log.publish()
    store.close()
    edge = proof_folder(tmp_path) / "tile" / "0" / "000.p" / "5"
    edge.write_bytes(bytes(160))
    assert log_of(tmp_path).publish() == note
    shutil.rmtree(proof_folder(tmp_path) / "tile")
    assert log_of(tmp_path).tiles.root() == parse(note).root


def test_another_journal_is_not_signed(tmp_path: Path) -> None:
    """A journal that was exchanged after its checkpoint is refused, as is a foreign key."""
    for name, batches in (("a", 3), ("b", 4)):
        store = fill(tmp_path / name, batches)
        log = log_of(tmp_path / name)
        log.advance(store.position)
        log.publish()
        store.close()
    shutil.rmtree(tmp_path / "a" / "journal")
    shutil.copytree(tmp_path / "b" / "journal", tmp_path / "a" / "journal")
    with pytest.raises(ProofError, match="batch 3"):
        log_of(tmp_path / "a").advance(Position(batch_no=5))
    shutil.rmtree(proof_folder(tmp_path / "a") / "tile")
    with pytest.raises(ProofError, match="not the one"):
        log_of(tmp_path / "a")
    shutil.copy(tmp_path / "b" / "proof.key", tmp_path / "a" / "proof.key")
    with pytest.raises(ProofError, match=r"proof\.key"):
        log_of(tmp_path / "a")


def test_a_journal_shorter_than_its_checkpoint_has_lost_records(tmp_path: Path) -> None:
    """What looks like a torn tail was acknowledged: the checkpoint knows."""
    store = fill(tmp_path, 3)
    log = log_of(tmp_path)
    log.advance(store.position)
    log.publish()
    store.close()
    check_end(tmp_path, store.position)
    with pytest.raises(RotError, match="its checkpoint states 3"):
        check_end(tmp_path, store.position._replace(batch_no=3))


def test_the_key_is_private(tmp_path: Path) -> None:
    """A key that others can read is refused; so is one that is none."""
    load_signer(tmp_path, ORIGIN)
    (tmp_path / "proof.key").chmod(0o644)
    with pytest.raises(ProofError, match="chmod 600"):
        load_signer(tmp_path, ORIGIN)
    (tmp_path / "proof.key").chmod(0o600)
    (tmp_path / "proof.key").write_text("none")
    with pytest.raises(ProofError, match="no key"):
        load_signer(tmp_path, ORIGIN)


@pytest.mark.parametrize("note", ["", "a\nb\nc\n\n", "a\n1\nAAAA\n\n\u2014 a b\n"])
def test_what_is_no_checkpoint_is_refused(note: str) -> None:
    """Origin, size, root and a signature must be there."""
    with pytest.raises(NoteError, match="not a checkpoint"):
        parse(note)
