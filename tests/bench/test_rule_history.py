"""``de39 rules explain`` and ``report`` over a journal: values as of then, each rule's record."""

import json
from pathlib import Path

import pytest

from bench import backtest
from bench.rule_history import explain, report
from engine.rule_events import apply_rule_events, mode_event, rules_event
from engine.rules.book import Source
from engine.rules.language import parse
from engine.rules.program import program_from_file
from engine.rules.tree import Mode
from ledger.commit import CommitJob
from tests.support.disk_engine import DiskEngine, import_of
from tests.support.small_engine import START_NS, pan
from tests.support.streams import Message, Player

pytestmark = pytest.mark.kernels

_RULES = """
rule A pre shadow decline(59) "second of the day" when attempts_24h >= 2 and amount < 9.00
rule B pre decline(62) "large" when amount >= 9.00
"""


def _request(stan: int, amount: int) -> dict[str, object]:
    base = {"mti": 100, "pcode": 0, "transmitted": 601120000, "acquirer": 42, "currency": 840}
    return {**base, "pan": pan(1), "stan": stan, "amount": amount, "rrn": f"{stan:012d}"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with three payments of one card under _RULES."""
    folder = tmp_path_factory.mktemp("rules") / "data"
    with DiskEngine(folder) as engine:
        engine.register(import_of(1, 1))
        program = program_from_file(parse(_RULES))
        event = rules_event(program, Source.FILE, "test", "", START_NS)
        records, blobs = apply_rule_events([event], engine.state)
        engine._committer.submit(CommitJob(records, START_NS, blobs))
        player = Player(engine)
        for stan, amount in enumerate((500, 600, 1_200), start=1):
            player.play([Message(START_NS + stan, 0, _request(stan, amount))])
        engine.commit(player)
    return folder


def test_explain_shows_values_as_of_then(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the second payment the counter is 2, whatever came after; both rules are told."""
    file = data.parent / "x.rules"
    file.write_text(_RULES, encoding="utf-8")
    explain(file, authorization="000000000002", data=data, model="none", json=True)
    told = json.loads(capsys.readouterr().out)
    first, second = told["rules"]
    assert (first["held"], second["held"]) == (True, False)
    assert first["lines"][1]["values"] == {"attempts_24h": "2"}
    explain(file, authorization="000000000003", data=data, model="none")
    assert "B (active) held: large" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        explain(file, authorization="999", data=data, model="none")
    assert "no authorization 999" in capsys.readouterr().err


def test_report_counts_what_rules_did(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shadow hits stand beside refusals, from the records alone."""
    report(data=data, json=True)
    told = json.loads(capsys.readouterr().out)
    a, b = told["rules"]
    assert (a["mode"], a["hits"], a["refused"]) == ("shadow", 1, 0)
    assert (b["hits"], b["refused"]) == (1, 1)
    assert told["payments"] == 3


def test_a_backtest_of_the_journal(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rule in shadow, promoted, would have refused the second payment; labels say of what."""
    file, labels = data.parent / "x.rules", data.parent / "labels.csv"
    file.write_text(_RULES, encoding="utf-8")
    labels.write_text("rrn,fraud\n000000000002,1\n", encoding="utf-8")
    backtest.run(file, data=data, promote=("A",), labels=labels, model="none", json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["caught_before"], told["caught_after"]) == (0, 1)
    assert told["changes"] == [{"before": "approved", "after": "rule_declined", "payments": 1}]
    assert told["examples"][0]["card"].endswith(pan(1)[-4:])
    labels.write_text("rrn,fraud\nx,2\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        backtest.run(file, data=data, labels=labels, model="none")
    assert "labels.csv: line 2: expected an RRN and 1 or 0" in capsys.readouterr().err


def test_a_report_goes_on_over_sets_and_modes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What reads the same is counted under every set; the mode is the one in force."""
    sets = [
        _RULES,
        'rule N pre tag n "n" when amount > 1.00' + _RULES,  # other places
        _RULES.replace(">= 9.00", ">= 8.00"),  # B reads otherwise
    ]
    with DiskEngine(tmp_path / "data") as engine:
        engine.register(import_of(1, 1))
        for number, text in enumerate(sets):
            moment = START_NS + 10 * number
            program = program_from_file(parse(text))
            events = [rules_event(program, Source.OPERATOR, "test", "", moment)]
            events.append(mode_event("A", Mode.ACTIVE, "test", "", moment))
            records, blobs = apply_rule_events(events, engine.state)
            engine._committer.submit(CommitJob(records, moment, blobs))
            player = Player(engine)
            for stan in (2 * number + 1, 2 * number + 2):
                amount = 1_200 if stan % 2 else 500
                player.play([Message(moment + stan, 0, _request(stan, amount))])
            engine.commit(player)
    report(data=tmp_path / "data", json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["payments"] == 6
    a, b = told["rules"]
    assert (a["mode"], a["hits"], a["refused"]) == ("active", 3, 3)
    assert (b["mode"], b["hits"], b["refused"]) == ("active", 1, 1)
    for options in ({"days": 0}, {"html": tmp_path / "none" / "x.html"}):
        with pytest.raises(SystemExit):
            report(data=tmp_path / "data", **options)


def test_a_period_without_payments_says_where_they_are(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A year mistyped is no report of noughts."""
    file = data.parent / "x.rules"
    file.write_text(_RULES, encoding="utf-8")
    for period in ({"begin": "2199-01-01"}, {"end": "2001-01-01"}):
        with pytest.raises(SystemExit) as caught:
            backtest.run(file, data=data, model="none", **period)
        assert caught.value.code == 1
        told = capsys.readouterr()
        assert "no payment was decided anew: those of the journal are of 20" in told.err
        assert told.out == ""
