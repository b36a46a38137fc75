"""The journal as a table: CSV, JSON lines or parquet, one row a record.

Rows stream through: memory does not grow with the journal. A file is written aside and takes its
name when it is whole, so a damaged journal leaves no half export behind.
"""

import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import ENOENT
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from ledger.disk import storage_errors
from ledger.rows import COLUMNS, CardText, chunks_of, rows_of
from ledger.stores.place import scan_journal

Format = Literal["csv", "jsonl", "parquet"]
Chunk = Mapping[str, Sequence[Any]]
_LIST_COLUMNS = tuple(name for name, kind in COLUMNS.items() if kind.endswith("[]"))


def export(
    data: Path,
    format: Format,  # noqa: A002 - the name of the command-line option
    out: Path | None,
    *,
    card_text: CardText | None = None,
    decisions: Mapping[int, str] | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write every record to ``out``; return how many.

    Parameters
    ----------
    data
        The data folder; an engine may be running on it.
    format
        ``csv`` (lists as numbers with spaces between), ``jsonl`` or ``parquet``.
    out
        The file, mode 0600; None = standard output (not for parquet).
    card_text, decisions
        See ``ledger.rows.chunks_of``.
    on_progress
        Called about every 16,000 records with the count so far.

    Raises
    ------
    LedgerError
        The journal is damaged or the disk full; ``out`` is then as it was before.
    OSError
        ``out`` cannot be made where it shall be.
    ValueError
        Parquet to standard output, a pipe or a device.
    """
    chunks = _counted(chunks_of(scan_journal(data), card_text, decisions), on_progress)
    if out is None:
        if format == "parquet":
            raise ValueError("parquet needs a file: give --out")
        return _WRITERS[format](chunks, sys.stdout.buffer)
    if out.exists() and not out.is_file():  # a device or a pipe keeps its place
        if format == "parquet" and not out.is_dir():
            raise ValueError(f"parquet needs a file, and {out} is none")
        with out.open("wb") as stream:
            return _WRITERS[format](chunks, stream)
    if not out.parent.is_dir():
        raise FileNotFoundError(ENOENT, "no such folder", str(out.parent))
    with storage_errors("writing", out), _aside(out) as aside:
        if format == "parquet":
            return _write_parquet(chunks, aside)
        with _private_file(aside) as stream:
            return _WRITERS[format](chunks, stream)


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    aside = out.with_name(out.name + ".part")
    try:
        yield aside
        aside.chmod(0o600)  # DuckDB makes its files with the umask's mode
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)


def _private_file(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _counted(chunks: Iterable[Chunk], on_progress: Callable[[int], None]) -> Iterator[Chunk]:
    count = 0
    for chunk in chunks:
        yield chunk
        count += len(chunk["seq"])
        on_progress(count)


def _write_csv(chunks: Iterable[Chunk], stream: BinaryIO) -> int:
    return _write_table(chunks, stream, lambda numbers: " ".join(map(str, numbers)))


def _write_table(
    chunks: Iterable[Chunk], stream: BinaryIO, list_text: Callable[[Sequence[int]], str]
) -> int:
    count = 0
    lines = _Lines(stream)
    writer = csv.writer(lines, lineterminator="\n")
    rest = iter(chunks)
    first = next(rest, None)  # before the header: without a journal nothing is written
    writer.writerow(COLUMNS)
    for chunk in rest if first is None else chain((first,), rest):
        texts = {name: list(map(list_text, chunk[name])) for name in _LIST_COLUMNS}
        writer.writerows(zip(*({**chunk, **texts}).values(), strict=True))
        count += len(chunk["seq"])
    return count


class _Lines:
    """What ``csv`` writes to: text in, UTF-8 bytes out."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(text.encode())


def _write_jsonl(chunks: Iterable[Chunk], stream: BinaryIO) -> int:
    count = 0
    encoder = msgspec.json.Encoder()
    for chunk in chunks:
        stream.write(encoder.encode_lines(list(rows_of(chunk))))
        count += len(chunk["seq"])
    return count


def _write_parquet(chunks: Iterable[Chunk], out: Path) -> int:
    """Write a CSV beside ``out`` and have DuckDB turn it into parquet with the right types."""
    import duckdb  # noqa: PLC0415 - slow to load and needed for this format only

    table = out.with_name(out.name + ".csv")
    try:
        with _private_file(table) as stream:
            count = _write_table(chunks, stream, lambda numbers: str(list(numbers)))
        with duckdb.connect() as connection:
            relation = connection.read_csv(
                str(table), header=True, dtype=COLUMNS, parallel=False, quotechar='"'
            )
            relation.write_parquet(str(out), compression="zstd")
    finally:
        table.unlink(missing_ok=True)
    return count


_WRITERS: dict[str, Callable[[Iterable[Chunk], BinaryIO], int]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
}
