"""Reading payments from parquet, and refusing what cannot be played in one line."""

from pathlib import Path

import duckdb
import pytest

from bench.stream import StreamError, load_stream

_GOOD = (
    "SELECT range::INTEGER AS t_seconds, (range % 7)::SMALLINT AS customer_id, "
    "(range % 11)::SMALLINT AS terminal_id, (100 + range)::INTEGER AS amount_cents, "
    "(range % 4)::TINYINT AS fraud_scenario FROM range(100)"
)


def _write(path: Path, query: str) -> Path:
    with duckdb.connect() as connection:
        connection.sql(query).write_parquet(str(path))
    return path


def test_columns_are_read_and_enriched(tmp_path: Path) -> None:
    """The published columns come in as they are and orders have the rest."""
    traffic = load_stream(_write(tmp_path / "good.parquet", _GOOD))
    assert (len(traffic), traffic.customers, traffic.terminals) == (100, 7, 11)
    assert traffic.amount_cents[:3].tolist() == [100, 101, 102]
    assert traffic.orders()["mcc"].min() > 0


_BAD = [
    (_GOOD.replace("AS terminal_id", "AS shop"), "column terminal_id is missing"),
    (_GOOD.replace("range::INTEGER AS t", "(100 - range)::INTEGER AS t"), "row 1: t_seconds falls"),
    (_GOOD.replace("(100 + range)::INTEGER", "'x'"), "amount_cents is VARCHAR, not an integer"),
    (_GOOD.replace("range % 4", "range % 9"), "row 4: fraud_scenario 4 is not in 0..3"),
    (_GOOD.replace("100 + range", "5 - range"), "row 6: amount_cents -1 is not in 0.."),
    (_GOOD.replace("(range % 7)", "nullif(range % 7, 3)"), "row 3: customer_id is null"),
    (_GOOD.replace("range(100)", "range(0)"), "has no rows"),
]


@pytest.mark.parametrize(("query", "message"), _BAD)
def test_bad_content_is_named(tmp_path: Path, query: str, message: str) -> None:
    """The error names the file, the column and the row."""
    file = _write(tmp_path / "bad.parquet", query)
    with pytest.raises(StreamError) as caught:
        load_stream(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)


def test_files_that_are_no_parquet_are_one_line(tmp_path: Path) -> None:
    """A missing, a truncated and a text file are one-line errors that name the file."""
    whole = _write(tmp_path / "good.parquet", _GOOD).read_bytes()
    cut, text = tmp_path / "cut.parquet", tmp_path / "text.parquet"
    cut.write_bytes(whole[: len(whole) // 2])
    text.write_text("t_seconds,customer_id\n1,2\n", encoding="utf-8")
    for file in (cut, text, tmp_path / "none.parquet", tmp_path):
        with pytest.raises(StreamError) as caught:
            load_stream(file)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
