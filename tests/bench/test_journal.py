"""The journal benchmark runs and says what it is compared with."""

import json
from functools import partial
from pathlib import Path

import pytest

from bench.journal import BATCHES, run
from bench.journal_postgres import BATCHES as SIZES
from bench.recovery import start_figures
from bench.snapshot import snapshot_figures
from tests.support.postgres import require_programs

_KINDS = ("", ".best", ".by-record")


def test_figures_name_their_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every batch size and recovery are reported, the headline first, nothing is left behind."""
    small = partial(start_figures, cards=50, payments=3_000)
    monkeypatch.setattr("bench.journal.start_figures", small)
    monkeypatch.setattr(
        "bench.journal.snapshot_figures", partial(snapshot_figures, accounts=10_000)
    )
    run(json=True, runs=1, seconds=0.02, folder=tmp_path, store="file")
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    names = [f"journal.commit.{batch}{kind}" for batch in BATCHES for kind in _KINDS]
    starts = ["journal.start", "journal.start.by-core"]
    starts += ["journal.snapshot.pause", "journal.snapshot.beside"]
    assert [figure["name"] for figure in figures] == [*names, "journal.recovery", *starts]
    assert figures[0]["name"] == "journal.commit.1024"
    assert figures[0]["baseline_name"] == "pwrite + fdatasync of the same bytes"
    assert all(figure["value"] > 0 and figure["baseline_name"] for figure in figures)
    assert not list(tmp_path.iterdir())


def test_the_postgres_store_names_its_baselines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch size against COPY and single INSERTs, and recovery against bare reading."""
    require_programs()
    monkeypatch.setattr("bench.journal_postgres.RECOVERY_RECORDS", 5_000)
    run(json=True, runs=1, seconds=0.05, folder=tmp_path, store="postgres")
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    names = [f"journal.postgres.{batch}{kind}" for batch in SIZES for kind in ("", ".by-record")]
    assert [figure["name"] for figure in figures] == [*names, "journal.postgres.recovery"]
    assert figures[0]["name"] == "journal.postgres.1024"
    assert {figure["baseline_name"] for figure in figures} == {
        "COPY, a row a record",
        "INSERT and commit a record",
        "the same COPY, unchecked",
    }
    assert all(figure["value"] > 0 for figure in figures)
    assert list(tmp_path.iterdir()) == []
