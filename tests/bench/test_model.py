"""``de39 model train | show``: same arguments, same bytes; the shipped model says what it is."""

import json
from pathlib import Path

import pytest

from bench import model
from scoring.features import FEATURES


def _train(out: Path) -> None:
    model.train(out=out, customers=200, days=60, seed=3, trees=4, depth=3, json=True)


def test_same_arguments_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two trainings with the same arguments write the same file."""
    first, second = tmp_path / "a.de39model", tmp_path / "b.de39model"
    _train(first)
    facts = json.loads(capsys.readouterr().out)
    _train(second)
    assert first.read_bytes() == second.read_bytes()
    assert (facts["trees"], facts["depth"]) == (4, 3)


def test_too_few_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A training that leaves nothing after the history is refused in one line."""
    with pytest.raises(SystemExit) as caught:
        model.train(out=tmp_path / "a.de39model", customers=10, days=model.HISTORY_DAYS)
    printed = capsys.readouterr().err
    assert caught.value.code == 2
    assert printed == "de39: error: expected 1 or more customers and more than 20 days\n"
    assert not list(tmp_path.iterdir())


def test_shipped_model_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The model that ships has a hash, its features in order and thresholds."""
    model.show(json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["sha256"].startswith(facts["version"])
    assert len(facts["feature_names"]) == len(FEATURES)
    assert facts["thresholds"]


def test_show_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json each fact is a line, and each threshold a sentence."""
    model.show()
    out = capsys.readouterr().out
    assert f"{len(FEATURES)} features" in out
    assert "precision" in out


def test_report_of_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page with its plots and the seed; the model file is the same with and without it."""
    out, report = tmp_path / "a.de39model", tmp_path / "r.html"
    model.train(out=out, customers=200, days=60, seed=3, trees=4, depth=3, report=report, json=True)
    facts = json.loads(capsys.readouterr().out)
    _train(tmp_path / "b.de39model")
    assert out.read_bytes() == (tmp_path / "b.de39model").read_bytes()
    page = report.read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    assert "<td>seed<td>3" in page
    assert f"<td>{int(facts['metrics']['held_out_rows']):,}<td>" in page
    assert f"<td>{facts['metrics']['roc_auc']:.4f}<td>" in page
