"""T2: the same history gives the same records and state under any Python hash seed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernels

_ROOT = Path(__file__).parents[2]
_PLAY = """
import hashlib
from random import Random
from engine import kernel_cache
kernel_cache.configure()
from ledger.snapshot import state_hash
from tests.support.histories import History
random, history = Random(3), History()
for _ in range(30):
    for _ in range(5):
        history.say(random)
    history.file(random, 3)
    history.wait(3600)
records = history.player.played.all_records()
print(hashlib.sha256(records.tobytes()).hexdigest(), state_hash(history.engine.state.arrays()))
"""


def test_the_hash_seed_of_python_changes_nothing() -> None:
    """Two processes, two seeds: one hash of the records, one hash of the state."""
    said = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _PLAY],
            cwd=_ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=250,
            check=True,
        )
        said.append(done.stdout)
    assert len(said[0].split()) == 2
    assert said[0] == said[1]
