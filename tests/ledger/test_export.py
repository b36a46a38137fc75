"""Export: readable rows, exact integers, the same in each format, nothing half done."""

import csv
import json
import os
import threading
from pathlib import Path

import duckdb
import numpy as np
import pytest

from ledger.errors import LedgerError, RotError
from ledger.export import Format, export
from ledger.journal import Blob
from ledger.record import RECORD, SCORE_NONE, Flag, Kind
from ledger.rows import COLUMNS
from ledger.segment import segment_path
from tests.ledger.journals import append, opened

DECISIONS = {0: "approved", 301: "rule_declined"}
BIG = 9_007_199_254_740_993  # not a double


def number(text: bytes) -> int:
    """Return the bytes as the record keeps them, first in the lowest."""
    return int.from_bytes(text, "little")


def journal(data: Path) -> None:
    """Write one authorization and one declined one, the second with an operator's name."""
    records = np.zeros(2, RECORD)
    records["seq"] = (1, 2)
    records["ts_ns"] = 1_700_000_000_123_456_789
    records["kind"] = Kind.AUTHORIZE
    records["result"] = (0, 301)
    records["response"] = (number(b"00"), number(b"59"))
    records["amount_minor"] = (1050, BIG)
    records["otb_after_minor"] = -5
    records["currency"] = (840, 36)
    records["card"] = (4, 0)
    records["bin"] = (411111, 0)
    records["rrn_a"] = (number(b"4123\x1b567"), 0)
    records["rrn_b"] = (number(b"8901"), 0)
    records["merchant"] = (2**64 - 1, 0)
    records["hits_lo"] = (0, 1 << 63 | 1 << 3)
    records["hits_hi"] = (0, 1)
    records["reasons"] = (0, 0x0201)
    records["score"] = (SCORE_NONE, 9876)
    records["flags"] = Flag.CNP | Flag.WALLET
    records["transmitted"] = (102030405, 0)
    store = opened(data)
    append(store, 2, [Blob(1, 1, b'Ann "A", ops\n')], records)
    store.close()


def exported(data: Path, format_: Format) -> Path:
    """Export with a stand-in for the vault."""
    out = data / f"out.{format_}"
    count = export(
        data,
        format_,
        out,
        card_text=lambda card, bin_: f"{bin_}******{card:04d}" if card else "",
        decisions=DECISIONS,
    )
    assert count == 2
    assert out.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in data.iterdir() if p.is_file()) == ["lock", out.name]
    return out


def test_json_rows_read_well(tmp_path: Path) -> None:
    """Names for numbers, text decoded, amounts as whole minor units, lists as lists."""
    journal(tmp_path)
    lines = exported(tmp_path, "jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert list(first) == list(COLUMNS)
    expected = {
        "ts": "2023-11-14T22:13:20.123456Z",
        "kind": "authorize",
        "decision": "approved",
        "response": "00",
        "card_masked": "411111******0004",
        "amount_minor": 1050,
        "otb_after_minor": -5,
        "currency": "840",
        "rrn": "4123?5678901",
        "transmitted": "0102030405",
        "merchant": "f" * 16,
        "score": None,
        "flags": "cnp wallet",
        "hits": [],
    }
    assert {name: first[name] for name in expected} == expected
    assert second["hits"] == [3, 63, 64]
    assert second["reasons"] == [0, 1]
    assert (second["amount_minor"], second["currency"]) == (BIG, "036")
    assert (second["operator"], second["rrn"], second["score"]) == ('Ann "A", ops?', "", 9876)


def test_csv_has_the_same_rows(tmp_path: Path) -> None:
    """A header line and plain text, quoted where it must be."""
    journal(tmp_path)
    with exported(tmp_path, "csv").open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert list(first) == list(COLUMNS)
    assert (first["amount_minor"], first["hits"], first["score"]) == ("1050", "", "")
    assert (second["amount_minor"], second["hits"]) == (str(BIG), "3 63 64")
    assert second["operator"] == 'Ann "A", ops?'


def test_parquet_has_typed_columns(tmp_path: Path) -> None:
    """Amounts are 64-bit integers, times are timestamps, lists are lists."""
    journal(tmp_path)
    out = exported(tmp_path, "parquet")
    with duckdb.connect() as connection:
        table = connection.read_parquet(str(out))
        types = dict(zip(table.columns, map(str, table.types), strict=True))
        rows = table.project("seq, amount_minor, hits, currency, operator").fetchall()
    assert types == COLUMNS
    assert rows[0][:4] == (1, 1050, [], "840")
    assert rows[1] == (2, BIG, [3, 63, 64], "036", 'Ann "A", ops?')


def test_csv_goes_to_standard_output(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Without a file the rows go to stdout; parquet cannot."""
    journal(tmp_path)
    assert export(tmp_path, "csv", None) == 2
    assert b"411111******" in capfdbinary.readouterr().out
    with pytest.raises(ValueError, match="needs a file"):
        export(tmp_path, "parquet", None)


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_damaged_journal_leaves_the_old_export(tmp_path: Path, format_: Format) -> None:
    """The error names the damage and the file of an earlier export stays as it was."""
    journal(tmp_path)
    out = exported(tmp_path, format_)
    before = out.read_bytes()
    path = segment_path(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[4096 + 300] ^= 1
    path.write_bytes(content)
    with pytest.raises(RotError):
        export(tmp_path, format_, out)
    assert out.read_bytes() == before
    assert not list(tmp_path.glob("*.part*"))


def test_a_device_keeps_its_place(tmp_path: Path) -> None:
    """A pipe is written to and stays a pipe; parquet, which needs a file, says so."""
    journal(tmp_path / "data")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    assert export(tmp_path / "data", "jsonl", pipe, decisions=DECISIONS) == 2
    reader.join()
    assert [json.loads(line)["seq"] for line in got[0].splitlines()] == [1, 2]
    assert pipe.is_fifo()
    with pytest.raises(ValueError, match=r"parquet needs a file, and .*pipe is none"):
        export(tmp_path / "data", "parquet", pipe)


def test_a_file_that_cannot_be_made_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    """A folder that is not there, or in the place of the file, is named."""
    journal(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*none"):
        export(tmp_path, "csv", tmp_path / "none" / "out.csv")
    with pytest.raises(IsADirectoryError):
        export(tmp_path, "csv", tmp_path / "journal")


def test_without_a_journal_nothing_is_written(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Not even the header, which a reader would take for an empty ledger."""
    with pytest.raises(LedgerError):
        export(tmp_path, "csv", None)
    assert capfdbinary.readouterr().out == b""
