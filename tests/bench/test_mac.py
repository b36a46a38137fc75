"""``de39 bench mac`` runs switches with and without MACs and compares them."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_mac_benchmark_compares_with_none(tmp_path: Path) -> None:
    """Every payment is approved, every MAC is right, and the figures stand beside each other."""
    words = "bench mac --cards 50 --connections 2 --chunk 64 --payments 1000 --runs 1 --json"
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", *words.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert [figure["name"] for figure in figures] == [
        "switch with AES-CMAC",
        "switch with retail MAC (TDES)",
        "switch with CBC-MAC (TDES)",
        "switch without MAC",
        "switch with AES-CMAC, processor",
        "switch with retail MAC (TDES), processor",
        "switch with CBC-MAC (TDES), processor",
    ]
    assert all(figure["value"] > 0 for figure in figures)
    assert {figure["baseline_name"] for figure in figures[:3]} == {"switch without MAC"}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
