"""``de39 bench switch`` runs a switch and an echo server and compares them."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_switch_benchmark_compares_with_an_echo(tmp_path: Path) -> None:
    """Its figures stand beside the echo server's of the same run; nothing is left behind."""
    words = "bench switch --cards 200 --connections 2 --in-flight 32 --seconds 0.5 --runs 1 --json"
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", *words.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert len(figures) >= 2
    for figure in figures:
        assert figure["value"] > 0
        assert figure["baseline_value"] > 0
        assert figure["runs"] == 1
        assert "echo" in figure["baseline_name"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
