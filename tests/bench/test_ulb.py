"""Real card payments of two days: learn the first, find the frauds of the second."""

from pathlib import Path

import pytest

from bench.data_sets import data_set
from bench.ulb import evaluate_ulb
from engine.errors import ProblemFoundError


def test_day_two_from_day_one() -> None:
    """Average precision of 0.80 on 140,021 real payments with 211 frauds."""
    path = data_set("ulb_creditcard/creditcard.parquet")
    if not path.exists():
        pytest.skip(f"the ULB payments are not at {path}")
    found, measured = evaluate_ulb(path, 2)
    assert (found["train_rows"], found["test_rows"]) == (144_786, 140_021)
    assert (found["train_frauds"], found["test_frauds"]) == (281, 211)
    assert found["ap"] >= 0.80
    assert len(measured.labels) == 140_021
    assert measured.importance[0][1] > measured.importance[-1][1] >= 0.0


def test_other_files_are_refused(tmp_path: Path) -> None:
    """What is not the set is named."""
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(ProblemFoundError, match=r"x[.]parquet"):
        evaluate_ulb(path, 1)
