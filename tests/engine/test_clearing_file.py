"""Clearing and repayment files: what is read, and what is refused with line and column."""

from pathlib import Path

import pytest

from engine.clearing_file import HEADERS, ClearingFileError, read_items
from engine.filing import Clearing, Repayment
from ledger.pan import Pan

_PAN = "4111111111111111"
_HEADER = "id,pan,amount_minor,currency"


def _read(tmp_path: Path, text: str | bytes, kind: type = Clearing) -> list:
    path = tmp_path / "items.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_items(path, kind)


def test_columns_in_any_order_and_defaults(tmp_path: Path) -> None:
    """A few columns, all columns, a byte order mark, Windows line ends, empty lines."""
    lines = _read(tmp_path, f"\ufeff{_HEADER}\r\nX1,{_PAN},100,840\r\n\r\nX2,{_PAN},5,978\r\n")
    assert [(line.line, line.item.id) for line in lines] == [(2, "X1"), (4, "X2")]
    item = lines[0].item
    assert (item.pan, item.amount_minor, item.final) == (Pan(_PAN), 100, True)

    full = _read(
        tmp_path,
        "final,type,original_id,account,settlement_date,scheme,pcode,mcc,approval_code,acquirer,"
        "terminal,rrn,lifecycle_id,authorization,currency,amount_minor,id\n"
        "no,refund,X1,A1,20260131,3,010000,5812,AB12CD,42,TERM1,000000000001,386200000000017,77,840,9,X3\n",
    )[0].item
    assert (full.final, full.type, full.original_id, full.scheme) == (False, "refund", "X1", 3)
    assert (full.authorization, full.approval_code, full.pan) == (77, "AB12CD", None)
    assert full.lifecycle_id == "386200000000017"


def test_a_repayment_file(tmp_path: Path) -> None:
    """Payments and returns."""
    text = "id,account,amount_minor,currency,type,original_id\nP1,A1,500,840,,\n"
    text += "P2,A1,500,840,returned,P1\n"
    first, second = (line.item for line in _read(tmp_path, text, Repayment))
    assert (first.type, second.type, second.original_id) == ("repayment", "returned", "P1")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (f"X1,{_PAN},100,840\nX1,{_PAN},100,840\n", "line 3, column id: the same id is on line 2"),
        (f"X1,{_PAN},100,840", "line 2: the last line does not end: the file was cut short"),
        ("X1,4111111111111112,100,840\n", "line 2, column pan: the check digit"),
        (f"X1,{_PAN},1.00,840\n", "line 2, column amount_minor: expected 1 to 999999999999 minor"),
        (f"X1,{_PAN},1000000000000,840\n", "amount_minor: expected 1 to 999999999999 minor units"),
        (f"X1,{_PAN},{'9' * 30},840\n", "amount_minor: expected 1 to 999999999999 minor units"),
        ("X1,41x,100,840\n", "line 2, column pan: expected a card number of 12 to 19 digits;"),
        (f"X1,{_PAN},-5,840\n", "line 2, column amount_minor"),
        (f"X1,{_PAN},0,840\n", "line 2, column amount_minor: expected"),
        (f"X1,{_PAN},100,USD\n", "line 2, column currency"),
        (f"X1,{_PAN},100\n", "line 2: expected 4 fields, found 3"),
        (f",{_PAN},100,840\n", "line 2"),
        ("X1,,100,840\n", "line 2, column pan: expected a card number or an account"),
        (f"{_PAN},{_PAN},100,840\n", "line 2, column id"),
        (f'"X1,{_PAN},100,840\n', "line 2"),
        ("", "line 1: expected at least one row"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, rows: str, said: str) -> None:
    """Line, column and what would be right; never a card number; nothing is given back."""
    with pytest.raises(ClearingFileError) as caught:
        _read(tmp_path, f"{_HEADER}\n{rows}")

    assert said in str(caught.value)
    assert "nothing was posted" in str(caught.value)
    assert _PAN not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("id,pan,amount_minor,currency,color", "value 5 of the header names no column"),
        ("id,id,pan,amount_minor,currency", "names a column twice"),
        ("id,pan,currency", "column amount_minor: the header lacks this column"),
    ],
)
def test_bad_headers_are_named(tmp_path: Path, header: str, said: str) -> None:
    """The first line says what the others are."""
    with pytest.raises(ClearingFileError, match=said):
        _read(tmp_path, f"{header}\nX1\n")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("type", "gift"), ("final", "maybe"), ("mcc", "12"), ("pcode", "1"), ("rrn", "1" * 13),
        ("lifecycle_id", "1" * 16), ("lifecycle_id", "MCC1"),
        ("settlement_date", "20261301"), ("settlement_date", "20260231"), ("scheme", "70000"),
        ("approval_code", "abc"),
        ("acquirer", "x"), ("authorization", "x"),
    ],
)  # fmt: skip
def test_bad_values_are_named(tmp_path: Path, column: str, value: str) -> None:
    """Every column says what it takes."""
    with pytest.raises(ClearingFileError, match=f"line 2, column {column}: expected"):
        _read(tmp_path, f"{_HEADER},{column}\nX1,{_PAN},100,840,{value}\n")


def test_a_repayment_says_what_it_takes(tmp_path: Path) -> None:
    """Its own types, and a day that there is."""
    header = "id,account,amount_minor,currency,type,value_date"
    for row, said in (
        ("P1,A1,1,840,gift,", "column type: expected repayment, returned;"),
        ("P1,A1,1,840,,20270229", "column value_date: expected a date as YYYYMMDD"),
    ):
        with pytest.raises(ClearingFileError, match=said):
            _read(tmp_path, f"{header}\n{row}\n", Repayment)
    assert _read(tmp_path, f"{header}\nP1,A1,1,840,,20280229\n", Repayment)


def test_a_header_is_not_repeated(tmp_path: Path) -> None:
    """It may be a first row that was taken for one; its place is told."""
    with pytest.raises(ClearingFileError, match="line 1: value 2 of the header names no") as caught:
        _read(tmp_path, f"id,{_PAN},amount_minor\nX1,2,3\n")
    assert _PAN not in str(caught.value)


def test_a_reversal_names_what_it_reverses(tmp_path: Path) -> None:
    """So does the return of a payment."""
    with pytest.raises(ClearingFileError, match="column original_id: expected the id"):
        _read(tmp_path, f"{_HEADER},type\nX1,{_PAN},100,840,reversal\n")
    header = "id,account,amount_minor,currency,type"
    with pytest.raises(ClearingFileError, match="column original_id: expected the id"):
        _read(tmp_path, f"{header}\nX1,A1,100,840,returned\n", Repayment)


def test_what_is_no_text_and_what_is_not_there(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 by their line; a missing file by its name."""
    with pytest.raises(ClearingFileError, match="line 2: not UTF-8"):
        _read(tmp_path, f"{_HEADER}\n".encode() + b"\xff\n")
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_items(tmp_path / "none.csv", Clearing)


def test_the_headers_are_the_fields() -> None:
    """What docs/ledger.md shows."""
    page = (Path(__file__).parents[2] / "docs/ledger.md").read_text(encoding="utf-8")
    for header in HEADERS.values():
        assert header in page.replace("\n", "").replace("      ", "")
