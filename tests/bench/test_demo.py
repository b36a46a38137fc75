"""``de39 demo``: one command from nothing to a summary, and nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_COMMAND = [sys.executable, "-m", "engine.cli", "demo", "--seconds", "1", "--rate", "2000"]
_PROMISED = {
    "sent",
    "answered",
    "approved",
    "declined",
    "lost",
    "errors",
    "seconds",
    "tps",
    "p50_us",
    "p99_us",
    "p999_us",
    "max_us",
    "connections",
    "rate",
}


def demo(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a short demo in ``folder``."""
    return subprocess.run(
        [*_COMMAND, *more],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run it once with ``--json``; return what it wrote and where it ran."""
    folder = tmp_path_factory.mktemp("demo")
    return demo(folder, "--json"), folder


def test_demo_answers_everything(
    told: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    """Nothing is lost, doubled or swapped, the ledger agrees, and the exit code is 0."""
    done, _ = told
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert set(summary) >= _PROMISED
    assert summary["sent"] == summary["answered"] == 2000
    assert summary["approved"] + summary["declined"] == 2000
    assert [summary[name] for name in ("lost", "errors", "doubled", "swapped")] == [0] * 4
    assert summary["ledger_ok"]


def test_demo_catches_some_fraud_and_says_which(
    told: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    """Frauds stopped and genuine payments declined add up by scenario."""
    summary = json.loads(told[0].stdout.splitlines()[-1])
    by_scenario = summary["frauds_caught_by_scenario"].values()
    assert sum(each["payments"] for each in by_scenario) == summary["frauds"]
    assert sum(each["stopped"] for each in by_scenario) == summary["frauds_caught"]
    assert summary["false_declines"] <= summary["genuine"] // 50


def test_demo_leaves_nothing_behind(
    told: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    """Its folder is removed, and it says on stderr what it does."""
    done, folder = told
    assert list(folder.rglob("*")) == []
    assert "starting the switch" in done.stderr


def test_demo_keeps_its_folder_when_asked(tmp_path: Path) -> None:
    """With ``--keep`` the data folder stays, and the summary says what to type next."""
    done = demo(tmp_path, "--keep")
    assert done.returncode == 0, done.stderr
    journals = list(tmp_path.rglob("journal/*.seg"))
    assert journals
    assert str(journals[0].parent.parent) in done.stdout
    assert "de39 ledger verify" in done.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [(("--rate", "0"), 2), (("--seconds", "-1"), 2), (("--stream", "no.parquet"), 1)],
)
def test_demo_refuses_what_cannot_be(tmp_path: Path, words: tuple[str, str], code: int) -> None:
    """A bad number or file ends in one line and leaves nothing behind."""
    done = demo(tmp_path, *words)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("*")) == []
