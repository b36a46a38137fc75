"""``de39 bench changes``: answers while rules and models change, beside those of a calm run."""

import json
from pathlib import Path

import pytest

from tests.support.commands import de39


def test_every_answer_comes_while_rules_and_models_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures stand beside the calm runs'; nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    words = "bench changes --cards 50 --rate 500 --seconds 1 --reloads 20 --swaps 10 --runs 1"
    code, out, err = de39(*words.split(), "--json")
    assert code == 0, err
    figures = json.loads(out.splitlines()[-1])
    assert len(figures) == 4
    for figure in figures:
        assert figure["value"] > 0
        assert figure["baseline_value"] > 0
        assert "no change" in figure["baseline_name"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_numbers_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is measured with no change at all."""
    code, _, err = de39("bench", "changes", "--reloads", "0")
    assert code == 2
    assert "over 0" in err
