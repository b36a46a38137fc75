"""Backtests: over streams and journals, their counts, and the reports."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench import backtest
from bench.stream import load_stream
from engine.backtest import Tally, result_of
from engine.backtest_report import html_of, text_of
from engine.decision import Decision
from engine.history import HistoryRun
from engine.rules.book import hits_of
from engine.rules.language import parse
from engine.rules.program import no_rules, program_from_file
from ledger.record import RECORD
from scoring.registry import default_model_path, load_model

pytestmark = pytest.mark.kernels

STREAM = Path(os.environ.get("DE39_STREAM_BACKTEST", "not asked for"))
VELOCITY = """
rule V01 pre decline(65) "velocity" when count_12h >= 5 and amount > 2 * mean_15d
rule V02 pre decline(59) "far above habit" when amount >= 220.00 and z_amount >= 2
"""

_RULES = 'rule A pre decline(59) "a <b>" when km > 1 rule B pre shadow decline(65) "b" when cnp'


def _records(results: list[Decision], hits: list[int]) -> np.ndarray:
    records = np.zeros(len(results), RECORD)
    records["result"], records["hits_lo"] = results, hits
    records["amount_minor"] = 100 * (1 + np.arange(len(results)))
    records["seq"] = 1 + np.arange(len(results))
    records["ts_ns"] = np.arange(len(results), dtype=np.uint64) * np.uint64(86_400 * 10**9)
    records["bin"] = 411_111
    return records


def test_counts_and_reports() -> None:
    """Caught, missed, false declines and changes are counted by payment and amount."""
    program = program_from_file(parse(_RULES))
    approved, declined = Decision.APPROVED, Decision.RULE_DECLINED
    before = _records([approved] * 3 + [declined], [0] * 4)
    after = _records([declined, declined, approved, approved], [1, 3, 2, 0])
    tally = Tally(program)
    refusing = np.array([0, 0, -1, -1], np.int16)
    hits = hits_of(after, [], program.words)
    tally.add(before, after, np.array([1, 0, 1, -1], np.int8), refusing, hits)
    result = result_of(tally, ["A"])
    assert (result["caught_before"], result["caught_after"]) == (0, 1)
    assert (result["missed_after"], result["missed_after_minor"]) == (1, 300)
    assert (result["false_declines_after"], result["false_declines_after_minor"]) == (1, 200)
    assert (result["approval_rate_before"], result["approval_rate_after"]) == (0.75, 0.5)
    a, b = result["rules"]
    assert (a["hits"], a["frauds"], a["refused"], a["precision"]) == (2, 1, 2, 0.5)
    assert (b["hits"], b["frauds"], b["refused"], b["mode"]) == (2, 1, 0, "shadow")
    assert sum(change["payments"] for change in result["changes"]) == 3
    assert {example["card"] for example in result["examples"]} == {"411111******"}
    assert "approved -> rule_declined: 2" in text_of(result, "a title")
    page = html_of(result, "a <title>")
    assert "a &lt;title&gt;" in page
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "http" not in page


def test_command_over_demo_traffic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A velocity rule over days of traffic: frauds, changes and a page; promote turns it on."""
    file = tmp_path / "v.rules"
    file.write_text('rule V pre shadow decline(65) "v" when amount > 220.00', encoding="utf-8")
    page = tmp_path / "report.html"
    backtest.run(file, demo_days=3, html=page, json=True)
    watched = json.loads(capsys.readouterr().out)
    backtest.run(file, demo_days=3, promote=("V",), json=True)
    acting = json.loads(capsys.readouterr().out)
    assert watched["payments"] == acting["payments"] > 10_000
    assert watched["rules"][0]["hits"] == acting["rules"][0]["refused"] > 0
    assert watched["caught_after"] == watched["caught_before"]
    assert acting["caught_after"] > acting["caught_before"]
    assert "<svg" in page.read_text(encoding="utf-8")


def test_rules_past_the_bits_of_a_record_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hundred and thirtieth rule does what the same rule alone does."""
    last = 'rule V pre decline(65) "v" when amount > 220.00\n'
    many = "".join(f'rule X{n} pre tag x "x" when amount > {9000 + n}.00\n' for n in range(140))
    told = []
    for text in (last, many + last):
        file = tmp_path / "v.rules"
        file.write_text(text, encoding="utf-8")
        backtest.run(file, demo_days=2, model="none", json=True)
        told.append(json.loads(capsys.readouterr().out)["rules"][-1])
    assert told[0] == told[1]
    assert told[0]["refused"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "name one of --data, --stream and --demo-days"),
        ({"demo_days": 1, "promote": ("X",)}, "--promote: no rule is named X"),
        ({"stream": Path("none.parquet")}, "none.parquet: no such file"),
        ({"demo_days": -1}, "--demo-days: expected 1 to 366"),
        ({"demo_days": 1, "begin": "2026-01-01"}, "--from: does not go with traffic that is"),
        ({"demo_days": 1, "labels": Path("x.csv")}, "--labels: does not go with traffic that is"),
        ({"data": Path("none"), "against": Path("x")}, "--against: does not go with --data"),
        (
            {"data": Path("none"), "begin": "2026-01-02", "end": "2026-01-02"},
            "--to: expected a day after --from",
        ),
        ({"demo_days": 1, "html": Path("none/x.html")}, "--html: none is no folder"),
        ({"data": Path("none")}, "no journal in none/journal: check --data"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict, message: str
) -> None:
    """A user's mistake ends with one line that says what would be right."""
    file = tmp_path / "v.rules"
    file.write_text(_RULES, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        backtest.run(file, **options)
    assert caught.value.code
    assert message in capsys.readouterr().err


@pytest.mark.skipif(
    not STREAM.is_file(), reason="DE39_STREAM_BACKTEST=transactions.parquet runs it on all of it"
)
def test_the_whole_stream_from_records_equals_a_live_run() -> None:
    """1.75 million payments: the journal of one set, run again under another, is its live run."""
    velocity = program_from_file(parse(VELOCITY))
    traffic = load_stream(STREAM)
    model = load_model(default_model_path())
    recorded = backtest.run_stream(traffic, no_rules(), model).records
    run_live = backtest.run_stream(traffic, velocity, model)
    live = run_live.records
    run = HistoryRun(backtest.stream_authorizer(traffic, no_rules(), model), velocity)
    at = 0
    for part in run.run(recorded, []):
        expected = live[at : at + len(part.after)]
        for name in ("result", "hits_lo", "score", "otb_after_minor"):
            np.testing.assert_array_equal(part.after[name], expected[name], name)
        refused = run_live.refusing[at : at + len(part.after)]
        np.testing.assert_array_equal(part.refusing, refused)
        at += len(part.after)
    assert at == len(traffic)
