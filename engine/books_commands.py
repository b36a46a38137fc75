"""``de39 ledger books``: bring the double-entry books up to the journal, follow it, check it."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.command_options import DATA_DEFAULT, Flag, Progress, print_answer
from engine.errors import ProblemFoundError, UsageError, run_command
from engine.ledger_commands import fold_of
from ledger.books.check import Difference, differences
from ledger.books.projector import Books
from ledger.journal import Batch
from ledger.postgres.server import EmbeddedServer
from ledger.stores.place import database_of, read_place, scan_journal

DSN_VARIABLE = "DE39_BOOKS_DSN"
_LOOK_S = 0.25
_SHOWN = 20


@run_command
def books(
    *,
    data: Path = DATA_DEFAULT,
    dsn: str | None = None,
    embedded: Flag = False,
    follow: Flag = False,
    check: Flag = False,
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Write the journal into double-entry books in PostgreSQL; each record goes in once.

    Parameters
    ----------
    data
        The data folder; an engine may be running on it and is not slowed.
    dsn
        The database of the books; else DE39_BOOKS_DSN, else that of the journal.
    embedded
        Books in the data folder's own PostgreSQL, started if it does not run.
    follow
        Go on with each record that comes, until SIGINT (exit code 130) or SIGTERM (0).
    check
        Then compare the books with the fold of the journal; exit code 1 on a difference.
    dry_run
        Say how many records are due, write nothing.
    json
        Print one JSON object.
    """
    if follow and (check or dry_run):
        raise UsageError("--follow does not end: give it without --check and --dry-run")
    with _database(data, dsn, is_embedded=embedded) as place, Books(place, note=_say) as opened:
        if dry_run:
            due = sum(len(batch.records) for batch in _news(data, opened))
            print_answer({"records": opened.watermark.seq, "due": due}, as_json=json)
            return
        progress = Progress(lambda seq: f"books up to record {seq:,}")
        count = opened.project(_news(data, opened), on_progress=progress)
        facts: dict[str, Any] = {"records": opened.watermark.seq, "projected": count}
        if check:
            found = _checked(data, place)
            facts |= {"ok": not found, "differences": [str(one) for one in found[:_SHOWN]]}
        print_answer(facts, as_json=json)
        sys.stdout.flush()  # with --follow this is not the end
        if follow:
            _follow(data, opened)
        if check and found:
            raise ProblemFoundError(
                f"{len(found)} figures differ between books and engine; the first: {found[0]}"
            )


def _follow(data: Path, opened: Books) -> None:
    """Project what comes until a signal asks to stop: then what is begun is finished first.

    Handlers of our own, since the event loop of the database loses an interrupt that comes just
    as its work is done.
    """
    stop, signals = threading.Event(), list[int]()

    def asked(number: int, _frame: object) -> None:
        signals.append(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, asked)
    while not stop.wait(_LOOK_S):
        if opened.project(_news(data, opened)):
            _say(f"books up to record {opened.watermark.seq:,}")
    if signals[0] == signal.SIGINT:
        raise KeyboardInterrupt


@contextmanager
def _database(data: Path, dsn: str | None, *, is_embedded: bool) -> Iterator[str]:
    """Give the dsn of the books; an embedded server runs until the end at least."""
    dsn = dsn or os.environ.get(DSN_VARIABLE)
    if dsn and is_embedded:
        raise UsageError(f"--embedded is a database of its own: leave out --dsn and {DSN_VARIABLE}")
    if dsn:
        yield dsn
    elif is_embedded:
        server = EmbeddedServer(data)
        try:
            yield server.dsn
        finally:
            server.close()
    elif read_place(data) is not None:
        with database_of(data) as found:
            yield found
    else:
        raise UsageError("where are the books? give --dsn, DE39_BOOKS_DSN or --embedded")


def _news(data: Path, opened: Books) -> Iterator[Batch]:
    position = opened.watermark.position if opened.watermark.cluster is not None else None
    return scan_journal(data, start=position)


def _checked(data: Path, place: str) -> list[Difference]:
    """Fold the journal up to the books' last record and compare."""
    with Books(place) as again:
        last = again.watermark.seq
        fold = fold_of(data)
        if fold is None:
            raise UsageError(f"{data} has no vault: the engine's state cannot be folded without")
        for batch in scan_journal(data):
            if batch.header.first_seq > last:
                break
            fold(batch)
        fold.state_hash()  # applies what waits
        return differences(again, fold.state.accounts, fold.state.ring)


def _say(text: str) -> None:
    sys.stderr.write(f"de39: {text}\n")
    sys.stderr.flush()
