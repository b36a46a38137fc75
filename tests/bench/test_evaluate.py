"""``de39 model evaluate``: the stated JSON, scores as parquet, any split, refusals in one line."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from bench import evaluate as command
from bench.workload import Workload

MEASURES = {"auc", "ap", "cp100"}


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a parquet file of 40 generated days."""
    traffic = Workload(150, 300, 40, 7)
    columns = {
        "t_seconds": traffic.t_seconds,
        "customer_id": traffic.customer,
        "terminal_id": traffic.terminal,
        "amount_cents": traffic.amount_cents,
        "fraud_scenario": traffic.scenario.astype(np.int16),
    }
    path = tmp_path_factory.mktemp("stream") / "stream.parquet"
    with duckdb.connect() as connection:
        connection.from_query("select * from columns").write_parquet(str(path))
    assert columns
    return path


def test_another_split_of_another_stream(
    stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sizes and measures in the stated shape; one score a test row from each model."""
    scores = tmp_path / "scores.parquet"
    command.evaluate(
        protocol="handbook",
        stream=stream,
        train_from="2018-04-15",
        train_days=6,
        delay_days=2,
        test_days=5,
        scores=scores,
        report=tmp_path / "report.html",
        threads=1,  # the trees are so small that two threads would mostly wait for each other
        json=True,
    )
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"single", "prequential"}
    single = found["single"]
    assert {"train_rows", "train_frauds", "test_rows", "test_frauds"} < set(single)
    assert set(single["own"]) == set(single["published"]) == MEASURES
    assert set(found["prequential"]["own"]) == MEASURES
    columns = duckdb.read_parquet(str(scores)).fetchnumpy()
    assert list(columns) == ["row", "score_published", "score_own"]
    assert len(columns["row"]) == single["test_rows"]
    assert ((columns["score_own"] > 0) & (columns["score_own"] < 1)).all()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 8
    assert "<td>published features" in page
    assert f"<td>single test rows<td>{single['test_rows']:,}" in page


def test_a_model_file_on_a_stream(
    stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a protocol the shipped model is measured; the report names it."""
    report = tmp_path / "report.html"
    command.evaluate(stream=stream, report=report, json=True)
    found = json.loads(capsys.readouterr().out)
    assert f"model default {found['version']}" in report.read_text(encoding="utf-8")
    assert 0 <= found["auc"] <= 1
    assert found["frauds"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_from": "2020-01-01"}, "train-from: 2020-01-01 is not in the stream"),
        ({"train_from": "soon"}, "train-from: 'soon' is not a date"),
        ({"train_days": 0}, "train-days and test-days must be 1 or more"),
    ],
)
def test_bad_options_are_one_line(
    stream: Path,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, int],
    message: str,
) -> None:
    """A day outside the stream, no date, no days."""
    with pytest.raises(SystemExit) as caught:
        command.evaluate(protocol="handbook", stream=stream, **options)
    printed = capsys.readouterr().err
    assert caught.value.code == 2
    assert message in printed
    assert printed.count("\n") == 1
