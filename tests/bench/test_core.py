"""``de39 bench core`` runs and says what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.core import filled_state, twenty_rules
from ledger.accounts import identity_gap_minor
from ledger.authorizations import Cursor

# In a process of its own: the command keeps to one core for good.
_CALL = """
from engine import kernel_cache
kernel_cache.configure()
from bench.core import run
run(cards=500, batch=256, payments=2_000, runs=1, json=True)
"""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Return what one small run prints."""
    done = subprocess.run(
        [sys.executable, "-c", _CALL],
        cwd=tmp_path_factory.mktemp("core"),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_headline_comes_first(figures: list[dict[str, object]]) -> None:
    """The first figure is authorizations a second against the usual stack."""
    first = figures[0]
    assert (first["unit"], first["baseline_name"], first["runs"]) == (
        "auth/s",
        "usual stack, durable",
        1,
    )
    assert str(first["name"]).startswith("core, 500 cards, 20 rules, ")
    assert first["ratio"] == pytest.approx(
        float(str(first["value"])) / float(str(first["baseline_value"]))
    )
    assert float(str(first["ratio"])) > 1


def test_stages_add_up(figures: list[dict[str, object]]) -> None:
    """The costs of the stages sum to the whole that each names as its baseline."""
    stages = [f for f in figures if str(f["name"]).startswith("stage ")]
    whole = float(str(stages[0]["baseline_value"]))
    assert {f["baseline_value"] for f in stages} == {whole}
    assert sum(float(str(f["value"])) for f in stages) == pytest.approx(whole)
    assert "stage journal" in {f["name"] for f in stages}


def test_rules_are_twenty() -> None:
    """The measured rule set has the size that the figure claims."""
    assert twenty_rules().rule_count == 20


def test_cards_can_be_found() -> None:
    """Every card of the filled state has an account that keeps its books straight."""
    state = filled_state(300, 1_000)
    assert (int(state.cursor[Cursor.CARDS]), int(state.cursor[Cursor.ACCOUNTS])) == (300, 300)
    assert not identity_gap_minor(state.accounts[1:301]).any()
    assert np.array_equal(state.cards["account"][1:301], np.arange(1, 301))
