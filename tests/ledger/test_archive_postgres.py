"""Archiving a journal in PostgreSQL: segments as a file store's, rows removed by who may."""

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from engine.rebuild import rebuild
from engine.retention import Retention
from ledger.archive import Limits, archive, due_pieces, unpack
from ledger.backup import backup, restore
from ledger.errors import NoJournalError, RotError, StorageError, StoreSettingsError
from ledger.journal import PAGE_BYTES, Position, bytes_of
from ledger.proof.log import ProofLog, load_signer, origin_of, read_note, read_verifier
from ledger.proof.receipt import as_text, consistency_proof, receipt
from ledger.segment import ARCHIVED_NAME, journal_folder, segment_path
from ledger.snapshot import snapshot_folder, write_snapshot
from ledger.stores.file_reader import FileReader
from ledger.stores.place import (
    StoreChoice,
    beginning_of,
    load_journal,
    open_reader,
    open_store,
    scan_journal,
)
from ledger.vault import Vault
from ledger.verify import verify
from tests.ledger.journals import CLUSTER, append, opened
from tests.ledger.proof.test_receipt import tool
from tests.ledger.test_backup_postgres import copy_key, key_of, other_database, played
from tests.support.disk_engine import BOUNDS, DiskEngine, import_of
from tests.support.postgres import USER, Database

TINY = 16 * 1024
_TS_NS = 1_700_000_000_000_000_000  # of every batch


class Case:
    """One journal in files and in a table, with four snapshots; of eight segments four may go."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.files, self.rows, self.to = folder / "files", folder / "rows", folder / "old"
        self.choice = StoreChoice(is_postgres=True, dsn=database.dsn)
        store = opened(self.files, segment_bytes=TINY)
        places = []
        for number in range(24):
            append(store, 5)
            if number % 6 == 5:
                places.append(store.position)
        store.close()
        self.end = store.position
        self.rows.mkdir()
        Vault.open(self.rows).close()
        load_journal(self.files, self.rows, self.end, self.choice)
        for place in places:
            at = place._replace(segment=0, offset=0)
            write_snapshot(self.rows, place.seq - 1, at, {"rows": np.arange(3)})

    def due(self, keep_count: int = 2) -> list[int]:
        """Return the numbers of the segments that may go."""
        with closing(open_reader(self.rows)) as journal:
            due = due_pieces(self.rows, journal, keep_count, segment_bytes=TINY)
        return [piece.number for piece in due.pieces]

    def archive(self, **words: object) -> dict[str, object]:
        """Archive what may go."""
        return archive(self.rows, self.to, segment_bytes=TINY, **words)  # type: ignore[arg-type]

    def sign(self, batches: int, data: Path | None = None) -> None:
        """Sign a checkpoint over the first ``batches``."""
        data = data or self.rows
        signer = load_signer(data, origin_of(CLUSTER, 0))
        with closing(ProofLog(data, signer)) as log:
            log.advance(self.end, batches - log.size)
            log.publish()


@pytest.fixture
def case(tmp_path: Path, database: Database) -> Case:
    """Make the journal."""
    return Case(tmp_path, database)


def all_bytes(data: Path) -> list[bytes]:
    """Return the bytes of each batch of a folder's journal."""
    return [bytes_of(batch) for batch in scan_journal(data)]


def test_segments_are_those_that_files_would_be(
    case: Case, database: Database, tmp_path: Path
) -> None:
    """Rows before the mark are gone, the archive has them, and with a backup all is whole."""
    wanted = all_bytes(case.files)
    assert case.due() == [1, 2, 3, 4]
    assert case.archive(dry_run=True)["archived"] == [1, 2, 3, 4]
    assert not case.to.exists()
    assert beginning_of(case.rows) is None
    facts = case.archive()
    assert facts["archived"] == [1, 2, 3, 4]
    assert sorted(path.name for path in case.to.iterdir()) == [
        f"0000000{n}.seg.gz" for n in (1, 2, 3, 4)
    ]
    following = FileReader(case.files).before_batch(13)
    assert following is not None
    begin = beginning_of(case.rows)
    assert begin is not None
    assert (begin[:5], database.fetchval("SELECT min(batch_no) FROM de39.batch")) == (
        following[:5],
        begin.batch_no,
    )
    assert all_bytes(case.rows) == wanted[begin.batch_no - 1 :]
    assert case.due() == []
    backup(case.rows, tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "new")
    assert all_bytes(tmp_path / "new") == wanted[begin.batch_no - 1 :]
    for number in (1, 2, 3, 4):
        path = segment_path(tmp_path / "new", number)
        unpack(case.to, number, path)
        files = segment_path(case.files, number).read_bytes()
        assert files[PAGE_BYTES:].rstrip(b"\0") == path.read_bytes()[PAGE_BYTES:].rstrip(b"\0")
    (journal_folder(tmp_path / "new") / ARCHIVED_NAME).unlink()
    assert all_bytes(tmp_path / "new") == wanted
    assert verify(tmp_path / "new")["head"] == case.end.head.hex()


def test_the_newest_stay_and_limits_hold(case: Case) -> None:
    """As many as are asked for; by age and by size the oldest that exceed it."""
    assert case.due(1) == [1, 2, 3, 4]
    assert case.due(4) == [1, 2]
    assert case.due(6) == []
    old = Limits(before_ns=_TS_NS)
    assert case.archive(limits=old, dry_run=True)["archived"] == []
    assert case.archive(limits=Limits(_TS_NS + 1), dry_run=True)["archived"] == [1, 2, 3, 4]
    size = sum(len(raw) for raw in all_bytes(case.rows))
    for bytes_max, gone in ((size, []), (size - 1, [1]), (1, [1, 2, 3, 4])):
        facts = case.archive(limits=Limits(bytes_max=bytes_max), dry_run=True)
        assert facts["archived"] == gone


def test_the_database_keeps_what_is_not_archived(case: Case, database: Database) -> None:
    """Only rows before the mark can be removed, whoever asks; nothing can be changed."""
    with pytest.raises(Exception, match="append-only: DELETE of batch 1 is refused"):
        database.execute("DELETE FROM de39.batch")
    case.archive()
    begin = database.fetchval("SELECT batch_no FROM de39.archived")
    for change in (f"DELETE FROM de39.batch WHERE batch_no = {begin}", "TRUNCATE de39.batch"):
        with pytest.raises(Exception, match="append-only"):
            database.execute(change)


def test_a_role_that_may_not_remove_is_told(
    case: Case, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's role may be one that only reads and adds; the owner's dsn then archives."""
    role = f"engine_{database.name}"
    database.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x';"
        f"GRANT USAGE ON SCHEMA de39 TO {role};"
        f"GRANT SELECT, INSERT ON de39.batch TO {role};"
        f"GRANT SELECT ON de39.archived TO {role};"
        f"GRANT SELECT, INSERT, UPDATE ON de39.head, de39.flushed TO {role}"
    )
    theirs = database.dsn.replace(f"//{USER}:", f"//{role}:").replace(
        database.dsn.split(":")[2].split("@")[0], "x"
    )
    monkeypatch.setenv("DE39_LEDGER__DSN", theirs)
    store = open_store(case.rows, StoreChoice(is_postgres=True, dsn=theirs))
    append(store, 2)
    store.close()
    with pytest.raises(StoreSettingsError, match=r"permission denied .*DE39_LEDGER__DSN"):
        case.archive()
    assert len(all_bytes(case.rows)) == 25
    assert beginning_of(case.rows) is None
    monkeypatch.setenv("DE39_LEDGER__DSN", database.dsn)
    assert case.archive()["archived"] == [1, 2, 3, 4]


def test_a_journal_from_before_there_was_an_archive(case: Case, database: Database) -> None:
    """Its tables get what they lack when the owner archives for the first time."""
    database.execute(
        "DROP TABLE de39.archived CASCADE; DROP TRIGGER only_archived ON de39.batch;"
        "CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON de39.batch"
        " FOR EACH STATEMENT EXECUTE FUNCTION de39.refuse_change()"
    )
    assert verify(case.rows)["ok"]
    assert case.archive()["archived"] == [1, 2, 3, 4]
    assert verify(case.rows)["ok"]


def test_altered_rows_are_not_archived(case: Case, database: Database) -> None:
    """The batch is named, what came before it is in the archive, the rest stays."""
    database.execute(
        "ALTER TABLE de39.batch DISABLE TRIGGER USER;"
        "UPDATE de39.batch SET bytes = set_byte(bytes, 300, get_byte(bytes, 300) # 1)"
        " WHERE batch_no = 5;"
        "ALTER TABLE de39.batch ENABLE TRIGGER USER"
    )
    with pytest.raises(RotError, match=r"batch 5 .*body differs"):
        case.archive()
    begin = beginning_of(case.rows)
    assert begin is not None
    assert begin.batch_no <= 5
    assert database.fetchval("SELECT min(batch_no) FROM de39.batch") == begin.batch_no
    assert [path.name for path in case.to.iterdir()] == ["00000001.seg.gz"]


def test_of_two_that_archive_one_is_told(case: Case) -> None:
    """A segment that another one has moved already is not moved again, and nothing else goes."""
    with closing(open_reader(case.rows)) as journal:
        pieces = due_pieces(case.rows, journal, 2, segment_bytes=TINY).pieces
        case.archive(limits=Limits(bytes_max=sum(map(len, all_bytes(case.rows))) - 1))
        with pytest.raises(StorageError, match="does not begin with batch 1 any more"):
            journal.remove(pieces[0])
    begin = beginning_of(case.rows)
    assert begin is not None
    assert begin[:4] == pieces[0].after[:4]


def test_proofs_go_on_behind_an_archive(case: Case) -> None:
    """What no checkpoint covers stays; of what went there is no receipt any more, of others yes."""
    case.sign(4)
    facts = case.archive()
    assert (facts["archived"], facts["unsigned"]) == ([1], [2, 3, 4])
    case.sign(24)
    facts = case.archive()
    assert (facts["archived"], facts["unsigned"]) == ([2, 3, 4], [])
    with pytest.raises(
        NoJournalError, match=r"record 3 of .* was archived: the journal begins with record 61"
    ):
        receipt(case.rows, 3)
    assert receipt(case.rows, 120)["format"] == "de39-receipt/1"


@pytest.mark.parametrize("source", ["files", "rows"])
@pytest.mark.parametrize("target", ["files", "rows"])
def test_proofs_go_on_in_a_restored_folder(
    case: Case, database: Database, tmp_path: Path, source: str, target: str
) -> None:
    """What the tree was made of is archived, so the backup has the tree; the log only grows."""
    data = case.files if source == "files" else case.rows
    for path in (snapshot_folder(case.rows), case.rows / "vault.db", case.rows / "vault.key"):
        if source == "files":
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, data / path.name)
    case.sign(20, data)
    assert archive(data, case.to, segment_bytes=TINY)["archived"]
    old = read_note(data)
    backup(data, tmp_path / "copy")
    choice = other_database(database) if target == "rows" else StoreChoice()
    restore(tmp_path / "copy", tmp_path / "new", into=choice)
    shutil.copy(data / "proof.key", tmp_path / "new" / "proof.key")
    case.sign(24, tmp_path / "new")
    assert old is not None
    (tmp_path / "c.json").write_text(as_text(consistency_proof(tmp_path / "new", old)), "utf-8")
    assert tool.main(["consistency", str(tmp_path / "c.json"), "--key", read_verifier(data)]) == 0


def test_the_timer_archives_a_table(case: Case) -> None:
    """As it does files: by age, at the machine's time."""
    notes: list[str] = []
    kept = Retention(case.rows, case.to, 86_400, 0, TINY, notes.append)
    kept.look(_TS_NS + 86_400 * 10**9)
    assert kept.archived == 0
    kept.look(_TS_NS + 86_400 * 10**9 + 1)
    assert (kept.archived, kept.failures, notes) == (4, 0, [])
    assert case.due() == []


@pytest.fixture
def engine(tmp_path: Path, database: Database) -> tuple[Path, StoreChoice, str]:
    """Return a folder whose first segments were archived, and the hash of its state."""
    data, choice = tmp_path / "data", StoreChoice(is_postgres=True, dsn=database.dsn)
    played(data, choice)
    for number in range(4):
        with DiskEngine(data, BOUNDS, choice) as running:
            running.register(import_of(2, 1, first=10 + 2 * number))
            running.drain()
            running.partition.snapshot()
            live = running.hash()
    moved = archive(data, tmp_path / "old", keep_count=1, segment_bytes=TINY)
    assert moved["archived"]
    return data, choice, live


def test_an_engine_opens_behind_its_archive(
    engine: tuple[Path, StoreChoice, str], database: Database, tmp_path: Path
) -> None:
    """From its snapshots, as does replay; a backup begins later too, in either store."""
    data, choice, live = engine
    with DiskEngine(data, BOUNDS, choice) as running:
        assert running.hash() == live
    told = rebuild(data, key_of(data))
    assert (told["state_hash"], told["ok"], len(told["compared"])) == (live, True, 2)
    backup(data, tmp_path / "copy")
    for name, into in (("f", StoreChoice()), ("p", other_database(database))):
        restore(tmp_path / "copy", tmp_path / name, into=into)
        assert all_bytes(tmp_path / name) == all_bytes(data)
        copy_key(data, tmp_path / name)
        assert beginning_of(tmp_path / name) == beginning_of_files(data, name)
        with DiskEngine(tmp_path / name, BOUNDS, into) as running:
            assert running.hash() == live


def beginning_of_files(data: Path, name: str) -> Position:
    """Return where the journal begins, with the offset that it has in files."""
    begin = beginning_of(data)
    assert begin is not None
    return begin._replace(offset=PAGE_BYTES if name == "f" else 0)


def test_without_snapshots_nothing_opens(engine: tuple[Path, StoreChoice, str]) -> None:
    """The records before are not here: the engine says so, fences nobody, and so does replay."""
    data, choice, _ = engine
    for path in snapshot_folder(data).glob("*.snap"):
        path.unlink()
    with pytest.raises(NoJournalError, match="bring them back from the archive"):
        DiskEngine(data, BOUNDS, choice)
    with pytest.raises(NoJournalError, match="no snapshot covers them"):
        rebuild(data, key_of(data), BOUNDS)
