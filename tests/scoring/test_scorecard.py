"""A scorecard: points that keep their sign, the scale, a file that is used whole or refused."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from scoring.errors import ModelError
from scoring.scorecard import (
    Scorecard,
    fit_scorecard,
    load_scorecard,
    pd_of_score,
    points_of,
    save_scorecard,
    score_of,
)

NAMES = ("risk", "same_risk", "noise")


def _accounts() -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    rng = np.random.default_rng(4)
    risk = rng.normal(size=5_000)
    values = np.stack([risk, risk + 0.3 * rng.normal(size=5_000), rng.normal(size=5_000)], axis=1)
    bad = (rng.random(5_000) < 1 / (1 + np.exp(2.0 - risk))).astype(np.uint8)
    return values, bad


def _card() -> Scorecard:
    return fit_scorecard("test", NAMES, *_accounts())


def test_worse_bins_never_earn_more() -> None:
    """Points fall where risk rises, also where two characteristics say the same."""
    card = _card()
    assert card.characteristics
    for line in card.characteristics:
        if line.name != "noise":
            assert all(a >= b for a, b in itertools.pairwise(line.points[:-1]))


def test_600_points_are_50_to_1_and_20_double_them() -> None:
    """The scale is the stated one, and the card's own scores keep to it."""
    assert pd_of_score(600) == pytest.approx(1 / 51)
    assert pd_of_score(620) == pytest.approx(1 / 101)
    values, bad = _accounts()
    card = _card()
    scores = score_of(card, points_of(card, NAMES, values))
    told = np.array([pd_of_score(int(score)) for score in scores])
    assert told.mean() == pytest.approx(bad.mean(), rel=0.05)


def test_round_trip_and_refusals(tmp_path: Path) -> None:
    """What is saved is loaded; a changed, cut or missing file is one line that names it."""
    card, path = _card(), tmp_path / "card.json"
    save_scorecard(card, path)
    assert load_scorecard(path) == card
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"base": ', b'"base": 1', 1))
    with pytest.raises(ModelError, match=r"card[.]json: SHA-256 does not match"):
        load_scorecard(path)
    path.write_bytes(text[: len(text) // 2])
    with pytest.raises(ModelError, match=r"card[.]json: cannot be read"):
        load_scorecard(path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_scorecard(tmp_path / "none")


def test_what_cannot_be_learnt_is_refused() -> None:
    """One kind of account, infinities and missing characteristics are named."""
    values, bad = _accounts()
    with pytest.raises(ModelError, match="0 bad ones"):
        fit_scorecard("test", NAMES, values, bad * 0)
    with pytest.raises(ModelError, match="infinite"):
        fit_scorecard("test", NAMES, values * np.inf, bad)
    with pytest.raises(ModelError, match="asks for"):
        points_of(_card(), NAMES[2:], values[:, 2:])
