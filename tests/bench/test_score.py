"""The scorer's benchmark measures the same work on both sides."""

import json

import numpy as np
import pytest

from bench import score


def test_work_scores_every_row_of_a_batch() -> None:
    """Both works run at every batch size and the margins agree."""
    case = score.score_case(8)
    for batch in score.BATCHES:
        score.kernel_work(case, batch)()
        margins = np.asarray(score.xgboost_work(case, batch)())
        assert margins.shape == (batch,)
    score.loop_work(case)()


def test_headline_is_one_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first figure is a single row against inplace_predict; every figure names its baseline."""
    monkeypatch.setattr(score, "_SECONDS_PER_RUN", 0.002)
    monkeypatch.setattr(score, "TREE_COUNTS", (8,))
    score.run(json=True, runs=1)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found[0]["name"] == "score, 8 trees, batch 1"
    assert found[0]["ratio"] > 1
    assert all(figure["baseline_name"] and figure["value"] > 0 for figure in found)
