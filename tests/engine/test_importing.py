"""An import file is taken whole or refused whole, with line and column."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import limits
from engine.cards import CardStatus
from engine.errors import exit_code_of
from engine.importing import (
    COLUMNS,
    HEADER,
    STATUSES,
    Import,
    ImportFileError,
    made_pan,
    parse_ref,
    read_import,
)
from engine.zones import zone_name
from ledger.pan import Pan, luhn_digit

GOOD = "A1,C1,standard,840,100000,4111111111111111,3012,active"


def read(folder: Path, *rows: str | bytes, header: str = HEADER) -> Import:
    """Write the rows to a file and read it."""
    path = folder / "cards.csv"
    lines = [header, *rows]
    path.write_bytes(b"\n".join(r.encode() if isinstance(r, str) else r for r in lines) + b"\n")
    return read_import(path, first_serial=1)


def test_good_file_gives_accounts_and_cards(tmp_path: Path) -> None:
    """Two cards of one account and one of another, with a made number and defaults."""
    result = read(
        tmp_path, GOOD, "A1,C1,standard,840,100000,,2901,blocked", "A2,C1,,978,0,,3101,stolen", ""
    )
    assert result.accounts == ["A1", "A2"]
    assert result.customers == ["C1", "C1"]
    assert result.products == ["standard", "standard"]
    assert result.currency.tolist() == [840, 978]
    assert result.limit_minor.tolist() == [100000, 0]
    assert result.card_account.tolist() == [0, 0, 1]
    assert result.expiry_yymm.tolist() == [3012, 2901, 3101]
    assert result.status.tolist() == [CardStatus.ACTIVE, CardStatus.BLOCKED, CardStatus.STOLEN]
    assert result.is_made.tolist() == [False, True, True]
    assert result.pans == [Pan("4111111111111111"), made_pan(2), made_pan(3)]


def test_byte_order_mark_and_crlf_are_taken(tmp_path: Path) -> None:
    """Files as spreadsheets write them are good."""
    path = tmp_path / "cards.csv"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER.encode() + b"\r\n" + GOOD.encode() + b"\r\n")
    assert read_import(path, first_serial=1).accounts == ["A1"]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("account", "", "printable characters"),
        ("account", "x" * 65, "1 to 64"),
        ("account", " A1", "no blank at the ends"),
        ("account", "A\x07", "printable characters"),
        ("account", "4111111111111111", "cannot be taken for a card number"),
        ("customer", "", "printable characters"),
        ("product", "a\tb", "printable characters"),
        ("currency", "USD", "ISO 4217 number"),
        ("currency", "84", "three digits"),
        ("currency", "999", "ISO 4217 number"),
        ("limit_minor", "", "whole minor units"),
        ("limit_minor", "-1", "whole minor units"),
        ("limit_minor", "10.5", "whole minor units"),
        ("limit_minor", "1000000000000001", "0 to 1000000000000000"),
        ("limit_minor", "9" * 5000, "0 to 1000000000000000"),
        ("pan", "4111111111111112", "check digit"),
        ("pan", "4111 1111 1111 1111", "12 to 19 digits"),
        ("pan", "41111111111", "12 to 19 digits"),
        ("expiry_yymm", "3013", "YYMM"),
        ("expiry_yymm", "3000", "YYMM"),
        ("expiry_yymm", "12/30", "YYMM"),
        ("status", "Active", "active, blocked, lost, stolen"),
        ("status", "", "active, blocked, lost, stolen"),
    ],
)
def test_bad_value_names_line_and_column(
    tmp_path: Path, column: str, value: str, expected: str
) -> None:
    """Each bad value is refused with its place and what would be right, without card numbers."""
    fields = ["A2", "C2", "standard", "840", "5", "5500005555555559", "3012", "active"]
    fields[COLUMNS.index(column)] = value
    if len(value) > limits.IMPORT_LINE_BYTES_MAX:
        expected = "longer than"
        column = ""
    with pytest.raises(ImportFileError) as refusal:
        read(tmp_path, GOOD, ",".join(fields))
    [problem] = refusal.value.problems
    assert (problem.line, problem.column) == (3, column)
    assert expected in str(refusal.value)
    assert "nothing was imported" in str(refusal.value)
    assert not [
        digits for digits in (value, fields[5]) if len(digits) > 10 and digits in str(refusal.value)
    ]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("A1,C2,standard,840,100000,,3012,active", "customer"),
        ("A1,C1,gold,840,100000,,3012,active", "product"),
        ("A1,C1,standard,978,100000,,3012,active", "currency"),
        ("A1,C1,standard,840,100001,,3012,active", "limit_minor"),
    ],
)
def test_rows_of_an_account_must_agree(tmp_path: Path, row: str, column: str) -> None:
    """A second card that tells another story of its account names the column and the first line."""
    with pytest.raises(ImportFileError, match=f"line 3, column {column}: .* line 2"):
        read(tmp_path, GOOD, row)


def test_card_twice_is_refused(tmp_path: Path) -> None:
    """One number on two lines is named by both lines."""
    with pytest.raises(ImportFileError, match=r"line 3, column pan: .* line 2"):
        read(tmp_path, GOOD, GOOD.replace("A1", "A2"))


@pytest.mark.parametrize(
    ("rows", "line", "text"),
    [
        (["A1,C1"], 2, "expected 8 fields, found 2"),
        ([GOOD, GOOD + ",more"], 3, "expected 8 fields, found 9"),
        ([b"A\xff," + GOOD.encode()], 2, "not UTF-8 at byte 2"),
        (["x" * 5000], 2, "longer than 4096 bytes"),
        (['"A1'], 2, "unexpected end of data"),
        ([], 1, "at least one row"),
    ],
)
def test_broken_line_is_named(tmp_path: Path, rows: list[str], line: int, text: str) -> None:
    """Lines that are no rows are errors of the line."""
    with pytest.raises(ImportFileError, match=text) as refusal:
        read(tmp_path, *rows)
    assert refusal.value.problems[0].line == line


@pytest.mark.parametrize("header", ["", "account", HEADER + ",x", HEADER.upper(), GOOD])
def test_header_is_required(tmp_path: Path, header: str) -> None:
    """Without the exact header nothing is guessed, and the line's text is not repeated."""
    with pytest.raises(ImportFileError, match="line 1: expected the header") as refusal:
        read(tmp_path, GOOD, header=header)
    assert "4111111111111111" not in str(refusal.value)


def test_many_errors_are_counted_to_a_bound(tmp_path: Path) -> None:
    """Reading stops when there is enough to report."""
    with pytest.raises(ImportFileError, match="19 or more others"):
        read(tmp_path, *["A1,C1"] * 100)


def test_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    """A file that is not there is one of the command line's."""
    with pytest.raises(FileNotFoundError, match="No such file") as refusal:
        read_import(tmp_path / "none.csv", first_serial=1)
    assert exit_code_of(refusal.value) == 2


def test_made_numbers_differ_and_hold() -> None:
    """Every serial has its own number, valid and of the range that is nobody's."""
    made = [made_pan(serial) for serial in (0, 1, 2, 999_999_999)]
    assert len(set(made)) == 4
    assert all(pan.is_luhn_ok and pan.bin == "999900" for pan in made)
    with pytest.raises(ValueError, match="serials"):
        made_pan(1_000_000_000)


names = st.text("abcABC019-_.é ,\"'", min_size=1, max_size=12).filter(lambda t: t == t.strip())


@given(
    st.lists(
        st.tuples(
            names, st.integers(0, 10**15), st.integers(0, 10**9), st.sampled_from(sorted(STATUSES))
        ),
        min_size=1,
        max_size=8,
        unique_by=(lambda row: row[0], lambda row: row[2]),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_good_rows_come_back(tmp_path: Path, rows: list[tuple[str, int, int, str]]) -> None:
    """Whatever is written by the rules, quoting included, is read as it was."""
    lines, numbers = [], []
    for name, limit, serial, status in rows:
        prefix = f"55{serial:013d}"
        numbers.append(prefix + luhn_digit(prefix))
        quoted = '"' + name.replace('"', '""') + '"'
        lines.append(f"{quoted},C,standard,978,{limit},{numbers[-1]},3006,{status}")
    result = read(tmp_path, *lines)
    assert result.accounts == [row[0] for row in rows]
    assert result.limit_minor.tolist() == [row[1] for row in rows]
    assert result.pans == [Pan(number) for number in numbers]
    assert result.status.tolist() == [STATUSES[row[3]] for row in rows]


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_one_kind_of_error(tmp_path: Path, data: bytes) -> None:
    """No file content raises anything but the error that names its line."""
    path = tmp_path / "cards.csv"
    path.write_bytes(HEADER.encode() + b"\n" + data)
    with contextlib.suppress(ImportFileError):
        read_import(path, first_serial=1)


def test_names_in_any_script_are_taken() -> None:
    """Names need not be ASCII."""
    assert parse_ref("Ωmega 7") == "Ωmega 7"


def test_progress_is_told(tmp_path: Path) -> None:
    """A long file reports rows and bytes now and then."""
    calls: list[tuple[int, int, int]] = []
    path = tmp_path / "cards.csv"
    rows = (f"A{i},C,standard,978,5,,3006,active" for i in range(66_000))
    path.write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    read_import(path, first_serial=1, on_progress=lambda *told: calls.append(told))
    assert calls
    assert calls[0][0] <= 65_536
    assert 0 < calls[0][1] <= calls[0][2] == path.stat().st_size


def test_a_ninth_column_has_the_zones(tmp_path: Path) -> None:
    """A header may name it; an empty field leaves the card without one."""
    header = HEADER + ",zone"
    result = read(tmp_path, GOOD + ",Europe/Berlin", "A2,C1,,978,0,,3101,active,", header=header)
    assert [zone_name(number) for number in result.zones.tolist()] == ["Europe/Berlin", ""]
    assert read(tmp_path, GOOD).zones.tolist() == [0]
    with pytest.raises(ImportFileError, match="expected 9 fields, found 8"):
        read(tmp_path, GOOD, header=header)
    with pytest.raises(ImportFileError, match="did you mean Europe/Berlin"):
        read(tmp_path, GOOD + ",Europe/Berlim", header=header)
