"""The guided fuzzer runs and finds nothing in a short while."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_a_short_guided_run_has_no_finding(tmp_path: Path) -> None:
    """Seeds, then a thousand inputs that follow coverage; a finding would be an exit code."""
    pytest.importorskip("atheris", reason="the guided fuzzer needs atheris")
    corpus = tmp_path / "corpus"
    command = [sys.executable, "-m", "tests.fuzz.guided"]
    subprocess.run([*command, "--seeds", str(corpus)], cwd=ROOT, check=True, timeout=120)
    assert len(list(corpus.iterdir())) > 100
    options = ["-runs=1000", "-seed=1", "-max_len=2048", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        [*command, str(corpus), *options],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
