"""``de39 credit``: the published split's figures, a reason for every refused account."""

import json
from pathlib import Path

import pytest

from bench import credit
from bench.data_sets import data_set


def _accounts() -> Path:
    path = data_set(credit.DATA)
    if not path.exists():
        pytest.skip(f"the card accounts are not at {path}")
    return path


def test_published_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scorecard and challenger reach their bars; each refused account is told why."""
    data, card = _accounts(), tmp_path / "card.json"
    credit.train(out=card, data=data, json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["train_rows"], found["test_rows"]) == (22_500, 7_500)
    assert found["scorecard"]["auc"] >= 0.765
    assert found["challenger"]["auc"] >= 0.778
    credit.score(card, data=data, json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    refused = [line for line in lines if line["refused"]]
    assert len(lines) == 30_000
    assert len(refused) > 1_000
    assert all(1 <= len(line["reasons"]) <= 4 for line in refused)
    assert not any(line["reasons"] for line in lines if not line["refused"])


def test_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures are told and no file is made."""
    credit.train(out=tmp_path / "card.json", data=_accounts(), challenger=False, dry_run=True)
    assert "scorecard" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_missing_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there is named, with the option to give it."""
    with pytest.raises(SystemExit) as caught:
        credit.train(out=tmp_path / "card.json", data=tmp_path / "none.parquet")
    assert caught.value.code == 2
    assert "none.parquet: no such file; name one with --data" in capsys.readouterr().err
