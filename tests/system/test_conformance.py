"""The conformance kit against the switch itself: every check of the shipped profile passes."""

import json
import re
from pathlib import Path

import pytest

from bench.conformance.profile import PROFILES
from tests.support.commands import de39
from tests.system.process import Switch

_SHIPPED = ""  # rules and model as they ship


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory):
    """Serve the cards of the shipped profile with everything as it ships."""
    folder: Path = tmp_path_factory.mktemp("conformance")
    with Switch(folder, ('dialect = "iso87-bin"', 'dialect = "mc-cis"'), _SHIPPED) as switch:
        code, _, err = de39("import", PROFILES / "cards.csv", "--config", switch.config)
        assert code == 0, err
        yield switch.start()
        assert switch.stop() == 0


def test_the_switch_passes_wholly(host: Switch) -> None:
    """Exit code 0, score 1, and nothing failed; the report names what was skipped and why."""
    target = f"127.0.0.1:{host.ports[0][1]}"
    code, out, err = de39("conformance", "--target", target, "--profile", "de39", "--json")
    report = json.loads(out.splitlines()[-1])
    failed = [check for check in report["checks"] if check["verdict"] == "failed"]
    assert failed == [], err
    assert (code, report["score"], report["failed"]) == (0, 1.0, 0)
    assert report["passed"] >= 57
    assert all(check["reason"] for check in report["checks"] if check["verdict"] == "skipped")


def test_a_dialect_with_increments_passes_wholly(host: Switch, tmp_path: Path) -> None:
    """The same host in EBCDIC, where element 61 of DE48 takes a part and DE37 ties increments."""
    text = (PROFILES / "de39.toml").read_text(encoding="utf-8")
    for old, new in (
        ('dialect = "iso87-bin"', 'dialect = "mc-cis"'),
        ("partial_field = 60", "partial_field = 48\nincremental = true"),
        ('partial_value = "1"', 'partial_value = "R42070103210610510000"'),
    ):
        assert old in text
        text = text.replace(old, new)
    mine = tmp_path / "mine.toml"
    mine.write_text(text, encoding="utf-8")
    target = f"127.0.0.1:{host.ports[1][1]}"
    code, out, err = de39("conformance", "--target", target, "--profile", mine, "--json")
    report = json.loads(out.splitlines()[-1])
    assert [check for check in report["checks"] if check["verdict"] == "failed"] == [], err
    assert (code, report["score"]) == (0, 1.0)
    passed = {check["title"] for check in report["checks"] if check["verdict"] == "passed"}
    assert {
        "a payment and its increments are one hold",
        "a part is approved where terminal and profile allow it",
    } <= passed


def test_a_failure_is_told_in_words_and_by_the_exit_code(host: Switch, tmp_path: Path) -> None:
    """With a profile that is not the host's, exit code 1, and what was sent is masked."""
    text = (PROFILES / "de39.toml").read_text(encoding="utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text(text + '\n[codes]\nfunds = "61"\n', encoding="utf-8")
    target = f"127.0.0.1:{host.ports[0][1]}"
    code, out, err = de39("conformance", "--target", target, "--profile", mine, "--only", "27")
    assert code == 1
    assert re.search(r"27\s+failed.*\n\s+expected\s+DE39 61\n\s+got\s+DE39 51\n\s+sent", out), out
    assert "400000******0021" in out
    assert "1 of 1 checks failed" in err


def test_nobody_there_and_a_bad_profile_are_one_line(tmp_path: Path) -> None:
    """Exit code 69 without a host, 78 with a profile that cannot be used."""
    mine = tmp_path / "mine.toml"
    mine.write_text("name = 'x'", encoding="utf-8")
    code, _, err = de39("conformance", "--target", "127.0.0.1:1", "--profile", mine)
    assert (code, "mine.toml: profile: object missing required field" in err) == (78, True)
    code, _, err = de39("conformance", "--target", "127.0.0.1:1", "--profile", "de39")
    assert (code, "127.0.0.1:1" in err) == (69, True)
