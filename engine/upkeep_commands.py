"""``de39 ledger replay | backup | restore | archive``: upkeep of a data folder."""

import os
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine.command_options import DATA_DEFAULT, Flag, Whole, print_answer, records_progress
from engine.config import load_config
from engine.errors import Exit, ProblemFoundError, UsageError, run_command
from engine.partition import bounds_of
from engine.rebuild import rebuild
from ledger import archive as archiving
from ledger import backup as copying
from ledger.errors import LedgerError
from ledger.stores.place import StoreChoice, open_reader
from ledger.vault import KEY_FILE, Vault


@run_command
def replay(
    *,
    data: Path = DATA_DEFAULT,
    from_record: Whole | None = None,
    config: Path | None = None,
    json: Flag = False,
) -> None:
    """Make the state again from the journal and compare it with every snapshot.

    Exit code 1 when one differs. An engine may be running on the folder.

    Parameters
    ----------
    data
        The data folder.
    from_record
        Begin with the newest snapshot at or before this record; else with the first record.
    config
        The engine's TOML file, for the bounds of its tables; else the newest snapshot's.
    json
        Print one JSON object.
    """
    if not (data / KEY_FILE).exists():
        raise ProblemFoundError(f"{data / KEY_FILE} is not there: the state needs it")
    with Vault.read(data) as vault:
        hash_key = np.frombuffer(vault.keys.hash_key, np.uint64).copy()
    bounds = None if config is None else bounds_of(load_config(config))
    facts = rebuild(
        data, hash_key, bounds, from_record=from_record, on_progress=records_progress("replayed")
    )
    print_answer(facts, as_json=json)
    if not facts["ok"]:
        raise SystemExit(Exit.PROBLEM_FOUND)


@run_command
def backup(
    to: Path, /, *, data: Path = DATA_DEFAULT, dry_run: Flag = False, json: Flag = False
) -> None:
    """Copy journal, newest snapshot and vault to a new folder, verified; keys are left out.

    An engine may be running on the folder. A journal in PostgreSQL becomes segment files, too.

    Parameters
    ----------
    to
        The new folder.
    data
        The data folder.
    dry_run
        Say what would be copied and write nothing.
    json
        Print one JSON object.
    """
    if dry_run:
        with closing(open_reader(data)) as journal:
            print_answer({"dry_run": True, **journal.sizes()}, as_json=json)
        return
    is_new = not to.exists()
    try:
        manifest = copying.backup(data, to, records_progress("read"))
    except LedgerError:
        if is_new:
            copying.remove_half(to)
        raise
    names = ("records", "last_record", "batches", "head")
    facts: dict[str, Any] = {name: manifest[name] for name in names}
    print_answer({**facts, "files": len(manifest["files"])}, as_json=json)


@run_command
def restore(
    source: Path,
    /,
    *,
    data: Path,
    until_record: Whole | None = None,
    until: datetime | None = None,
    store: Literal["file", "postgres"] = "file",
    dsn: str | None = None,
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Make a data folder from a backup, whole or up to a record or a time.

    It ends with the last batch that holds nothing later. Put ``vault.key`` into the new folder
    before an engine opens it. A backup of either store can be restored into either.

    Parameters
    ----------
    source
        The backup.
    data
        The data folder to make; not there yet, or empty.
    until_record
        The last record wanted.
    until
        The last time wanted, RFC 3339 with its zone.
    store
        Where the journal goes: file or postgres.
    dsn
        The database, which must hold no journal; else DE39_LEDGER__DSN, else an embedded
        PostgreSQL in the new folder. Only with --store postgres.
    dry_run
        Check the backup, say where it would end, write nothing.
    json
        Print one JSON object.
    """
    if until is not None and until.tzinfo is None:
        raise UsageError("--until: a zone is needed, such as 2026-01-31T12:00:00Z")
    if store == "file" and dsn:
        raise UsageError("--dsn is for --store postgres")
    place = (dsn or os.environ.get("DE39_LEDGER__DSN", "")) if store == "postgres" else ""
    into = StoreChoice(is_postgres=store == "postgres", dsn=place)
    until_ns = None if until is None else int(until.timestamp()) * 10**9
    is_new = not data.exists()
    try:
        facts = copying.restore(
            source,
            data,
            until_record=until_record,
            until_ns=until_ns,
            into=into,
            dry_run=dry_run,
        )
    except LedgerError:
        if is_new:
            copying.remove_half(data)
        raise
    print_answer({"dry_run": dry_run, **facts}, as_json=json)


@run_command
def archive(
    to: Path,
    /,
    *,
    data: Path = DATA_DEFAULT,
    keep_count: Whole = 2,
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Move old segments to another folder, compressed and verified.

    Only segments that lie before every kept snapshot go, and of a journal with proofs only what its
    newest checkpoint covers. An engine may be running on the folder. Of a journal in PostgreSQL
    batches go by as many as fill a segment; the role must be allowed to remove them.

    Parameters
    ----------
    to
        The archive folder.
    data
        The data folder.
    keep_count
        The newest segments that stay in any case.
    dry_run
        Say which would go and change nothing.
    json
        Print one JSON object.
    """
    if keep_count < 1:
        raise UsageError(f"--keep-count {keep_count}: expected 1 or more")
    if to.exists() and not to.is_dir():
        raise UsageError(f"{to} is a file: expected a folder for the archive")
    with closing(open_reader(data)) as journal:
        if journal.before_batch(sys.maxsize) is None:  # a look at the end, not a sum of it all
            raise ProblemFoundError(f"{data} holds no journal: is it the data folder?")
    facts = archiving.archive(data, to, keep_count=keep_count, dry_run=dry_run)
    if facts["unsigned"]:
        text = f"{len(facts['unsigned'])} segments stay until a checkpoint covers them"
        sys.stderr.write(f"de39: {text}\n")
    print_answer({"dry_run": dry_run, **facts}, as_json=json)
