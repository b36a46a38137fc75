"""Checkpoints and receipts of a journal in PostgreSQL: the same bytes as of one in files."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from ledger.disk import OsDisk
from ledger.errors import ForeignJournalError, NoJournalError, RotError, StorageError
from ledger.journal import Position
from ledger.proof.log import ProofError, ProofLog, check_end, load_signer, origin_of, read_verifier
from ledger.proof.receipt import as_text, consistency_proof, receipt
from ledger.stores.base import JournalReader
from ledger.stores.epoch import Ownership, write_epoch
from ledger.stores.file_reader import FileReader
from ledger.stores.place import StoreChoice, load_journal, open_store
from ledger.stores.postgres import PostgresStore
from ledger.witness import Witness, check_witnesses, witness_of
from tests.ledger.journals import CLUSTER, append, opened
from tests.ledger.proof.test_receipt import is_refused, verify
from tests.support.postgres import Database

COUNTS = [3, 1, 5, 2, 4, 1, 3]


@pytest.fixture
def places(tmp_path: Path, database: Database) -> tuple[Path, Path]:
    """Return two folders with one journal, in files and in a table, and one signing key."""
    files, rows = tmp_path / "files", tmp_path / "rows"
    store = opened(files, segment_bytes=16 * 1024)
    for count in COUNTS:
        append(store, count)
    store.close()
    rows.mkdir()
    load_journal(files, rows, store.position, StoreChoice(is_postgres=True, dsn=database.dsn))
    load_signer(files, origin_of(CLUSTER, 0))
    shutil.copy(files / "proof.key", rows / "proof.key")
    return files, rows


def log_of(data: Path) -> ProofLog:
    """Return the log of ``data``."""
    return ProofLog(data, load_signer(data, origin_of(CLUSTER, 0)))


def signed(data: Path, batches: int) -> str:
    """Sign the first ``batches`` of the journal; return the checkpoint."""
    end = list(FileReader(data.parent / "files").scan())[batches - 1].after
    with closing(log_of(data)) as log:
        while log.advance(end, 2):
            pass
        return log.publish()


def reopened(data: Path, database: Database) -> PostgresStore:
    """Open the journal in the table for writing."""
    store = open_store(data, StoreChoice(is_postgres=True, dsn=database.dsn))
    assert isinstance(store, PostgresStore)
    return store


def test_checkpoints_and_receipts_are_those_of_the_files(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    """Tree, note, receipts, consistency proof: byte for byte, and the verifier takes them."""
    files, rows = places
    old = [signed(data, 4) for data in places]
    new = [signed(data, 7) for data in places]
    assert (old[0], new[0]) == (old[1], new[1])
    trees = [
        {p.relative_to(data): p.read_bytes() for p in (data / "proof").rglob("*") if p.is_file()}
        for data in places
    ]
    assert trees[0] == trees[1]
    key, file = read_verifier(rows), tmp_path / "r.json"
    for seq in range(1, sum(COUNTS) + 1):
        text = as_text(receipt(rows, seq))
        assert text == as_text(receipt(files, seq))
        file.write_text(text, "utf-8")
        assert verify(file, key) == 0
    with pytest.raises(NoJournalError, match="no record 20"):
        receipt(rows, 20)
    file.write_text(as_text(consistency_proof(rows, old[1])), "utf-8")
    assert verify(file, key, "consistency") == 0
    file.write_text(as_text({**consistency_proof(rows, old[1]), "new": old[1]}), "utf-8")
    assert is_refused(file, key, "consistency")


def test_the_log_follows_a_store_that_is_written(
    places: tuple[Path, Path], database: Database
) -> None:
    """Through a new owner's epoch; what is acknowledged is signed, a lost tree is made again."""
    _, rows = places
    signed(rows, 7)
    store = reopened(rows, database)
    log = log_of(rows)
    for count in (1, 2, 3):
        append(store, count)
        assert log.advance(store.position) == 1
    note = log.publish()
    log.close()
    shutil.rmtree(rows / "proof" / "tile")
    with closing(log_of(rows)) as again:
        assert again.publish() == note
        with pytest.raises(StorageError, match="ends before batch 11, which was acknowledged"):
            again.advance(store.position._replace(batch_no=12))
    check_end(rows, store.position)
    with pytest.raises(RotError, match=r"table de39.batch.*its checkpoint states 10"):
        check_end(rows, store.position._replace(batch_no=9, segment=0))
    store.close()


def test_a_journal_that_ends_in_another_batch_is_not_signed(places: tuple[Path, Path]) -> None:
    """A server that was replaced and still answers has another newest batch: nothing is signed."""
    for data in places:
        old = signed(data, 4)
        end = list(FileReader(places[0]).scan())[5].after
        with closing(log_of(data)) as log:
            with pytest.raises(ProofError, match=r"batch 6 .* the one that was acknowledged"):
                log.advance(end._replace(head=bytes(32)))
            assert log.note == old
        assert signed(data, 7) != old


def test_an_altered_table_gets_no_signature(places: tuple[Path, Path], database: Database) -> None:
    """A changed row is named with its batch; a journal put in its place is refused."""
    _, rows = places
    signed(rows, 4)
    database.execute("ALTER TABLE de39.batch DISABLE TRIGGER USER")
    put = "UPDATE de39.batch SET bytes = set_byte(bytes, 300, {}) WHERE batch_no = 6"
    byte = database.fetchval("SELECT get_byte(bytes, 300) FROM de39.batch WHERE batch_no = 6")
    database.execute(put.format(byte ^ 1))
    with pytest.raises(RotError, match=r"batch 6 .*body differs"):
        signed(rows, 7)
    with pytest.raises(RotError, match=r"batch 6 .*body differs"):
        receipt(rows, 16)
    database.execute(put.format(byte))
    database.execute("DELETE FROM de39.batch WHERE batch_no = 6")
    with pytest.raises(RotError, match="batch 7 stands where batch 6 should"):
        signed(rows, 7)


def test_another_journal_in_the_database_is_not_signed(
    places: tuple[Path, Path], database: Database, tmp_path: Path
) -> None:
    """Of another cluster by the folder's own memory, of this one by the batch that was signed."""
    _, rows = places
    signed(rows, 4)
    database.execute("DROP SCHEMA de39 CASCADE")
    store = opened(tmp_path / "else", segment_bytes=16 * 1024)
    for _ in range(9):
        append(store, 1)
    store.close()
    (tmp_path / "new").mkdir()
    choice = StoreChoice(is_postgres=True, dsn=database.dsn)
    load_journal(tmp_path / "else", tmp_path / "new", store.position, choice)
    with pytest.raises(ProofError, match=r"batch 4 .* is not the one in its checkpoint"):
        signed(rows, 7)
    write_epoch(OsDisk(), rows, Ownership(b"another cluster!", 0, 1))
    with pytest.raises(ForeignJournalError, match="connect to the right database"):
        signed(rows, 7)


def checked(seen: list[Witness], end: Position, journal: JournalReader) -> None:
    """Compare what was seen with a journal that is being opened."""
    check_witnesses(journal, end, seen)


def test_a_witness_knows_its_batch_in_a_table(
    places: tuple[Path, Path], database: Database
) -> None:
    """The head that a witness saw is compared before the epoch is raised: nobody is fenced."""
    _, rows = places
    ends = [batch.after for batch in FileReader(places[0]).scan()]
    seen = [witness_of(0, end) for end in ends]
    epoch = database.fetchval("SELECT epoch FROM de39.head")
    wrong = Witness(0, 1, seen[2].seq, b"12345678")
    choice = StoreChoice(is_postgres=True, dsn=database.dsn)
    for bad, text in (
        ([*seen, wrong], "record 9 is not in the batch that a witness saw"),
        ([seen[-1]._replace(seq=99)], "ends at record 19, a witness saw record 99"),
    ):
        with pytest.raises(RotError, match=text):
            open_store(
                rows,
                choice,
                on_end=lambda end, journal, bad=bad: check_witnesses(journal, end, bad),
            )
    assert database.fetchval("SELECT epoch FROM de39.head") == epoch
    open_store(
        rows, choice, on_end=lambda end, journal: check_witnesses(journal, end, seen)
    ).close()
    assert database.fetchval("SELECT epoch FROM de39.head") == epoch + 1
