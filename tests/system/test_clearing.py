"""``de39 clearing`` and ``de39 repayment`` against a real switch, its API and its journal."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.frames import test_pan
from tests.support.commands import de39
from tests.system.link import payment
from tests.system.process import Card, Switch, is_one_line

_HEADER = "id,type,pan,amount_minor,currency,rrn,terminal,acquirer,final,original_id"


def _file(folder: Path, rows: list[str], header: str = _HEADER) -> Path:
    path = folder / "items.csv"
    path.write_text(header + "\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def _post(
    switch: Switch, verb: str, path: Path, *more: str, code: int = 0
) -> tuple[dict[str, Any], str]:
    done, out, err = de39(verb, path, "--json", *more, "--http", switch.http, "--data", switch.data)
    assert done == code, err
    return (json.loads(out) if out else {}), err


def _filed(switch: Switch) -> Counter[str]:
    """Return how many items are counted, by what became of them."""
    lines = switch.call("GET", "/metrics").body.splitlines()
    counts = [line for line in lines if line.startswith("de39_filed_items_total{")]
    return Counter({line.split('"')[1]: int(float(line.split()[1])) for line in counts})


def test_a_file_is_matched_posted_and_posted_once(switch: Switch, tmp_path: Path) -> None:
    """Matched, over, forced; the account shows it; the same file again moves nothing."""
    card = switch.open_card()
    first, second = payment(card.pan, 4_000), payment(card.pan, 2_000)
    with switch.link() as link:
        assert [link.ask(ask)["39"] for ask in (first, second)] == ["00", "00"]
    name = first["37"]
    rows = [
        f"{name}A,clearing,{card.pan},4000,840,{first['37']},TERM0001,400099,yes,",
        f"{name}B,clearing,{card.pan},2500,840,{second['37']},TERM0001,400099,yes,",
        f"{name}C,clearing,{card.pan},100,840,,,,yes,",
        f"{name}D,refund,{card.pan},300,840,,,,yes,{name}A",
    ]
    path = _file(tmp_path, rows)

    before = _filed(switch)
    dry, _ = _post(switch, "clearing", path, "--dry-run", code=1)  # D's purchase is not there yet
    assert (dry["dry_run"], dry["counts"]["matched"], dry["counts"]["forced"]) == (True, 1, 1)
    assert switch.account(card)["used_minor"] == 0

    done, _ = _post(switch, "clearing", path, "--report", str(tmp_path / "report.csv"))
    assert done["counts"] == {"forced": 1, "matched": 1, "over_captured": 1, "refunded": 1}
    account = switch.account(card)
    assert (account["held_minor"], account["used_minor"]) == (0, 6_300)
    assert account["available_minor"] == 100_000 - 6_300
    text = (tmp_path / "report.csv").read_text(encoding="utf-8")
    report = list(csv.DictReader(text.splitlines()))
    assert [row["line"] for row in report] == ["2", "3", "4", "5"]
    assert report[0]["matched_by"] == "rrn"
    assert "forced" in report[2]["flags"]

    again, _ = _post(switch, "clearing", path)
    assert again["counts"] == {"duplicate": 4}
    assert switch.account(card)["used_minor"] == 6_300
    assert _filed(switch) - before == Counter(done["counts"]) + Counter(duplicate=4)


def test_rejected_items_are_named_and_the_others_stand(switch: Switch, tmp_path: Path) -> None:
    """Unknown card, other currency, unknown original: exit 1 with line and reason."""
    card = switch.open_card()
    name = payment(card.pan)["37"]
    rows = [
        f"{name}A,clearing,{test_pan(424_242)},10,840,,,,yes,",
        f"{name}B,clearing,{card.pan},10,978,,,,yes,",
        f"{name}C,clearing,{card.pan},10,840,,,,yes,",
        f"{name}D,reversal,{card.pan},10,840,,,,yes,none",
    ]
    before = _filed(switch)
    done, said = _post(switch, "clearing", _file(tmp_path, rows), code=1)

    assert done["rejected"] == 3
    assert _filed(switch) - before == Counter(done["counts"])
    assert done["counts"]["forced"] == 1
    assert "line 2: rejected: no such card or account here (and 2 more)" in said
    assert card.pan not in said
    reasons = {view["line"]: view["reason"] for view in done["unusual"] if view["reason"]}
    assert reasons[3] == "its currency is not the account's"
    assert reasons[5] == "original_id names nothing that is known"
    assert switch.account(card)["used_minor"] == 10


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("X1,clearing,{pan},10,840,,,,yes,\nX1,clearing,{pan},10,840,,,,yes,", "the same id"),
        ("X1,clearing,{pan},ten,840,,,,yes,", "amount_minor"),
    ],
)
def test_a_bad_file_posts_nothing(switch: Switch, tmp_path: Path, row: str, said: str) -> None:
    """Exit 1, line and column; the account stays as it was."""
    card = switch.open_card()

    _, stderr = _post(switch, "clearing", _file(tmp_path, [row.format(pan=card.pan)]), code=1)

    assert said in stderr
    assert switch.account(card)["used_minor"] == 0


def test_repayments_and_their_return(switch: Switch, tmp_path: Path) -> None:
    """A payment pays what is used; its return undoes it; both once."""
    card = switch.open_card()
    with switch.link() as link:
        assert link.ask(payment(card.pan, 5_000, t="0200"))["39"] == "00"
    header = "id,account,amount_minor,currency,type,original_id"
    name = card.account
    rows = [f"{name}P,{name},3000,840,repayment,", f"{name}R,{name},1000,840,returned,{name}P"]

    done, _ = _post(switch, "repayment", _file(tmp_path, rows, header))

    assert done["counts"] == {"paid": 1, "returned": 1}
    account = switch.account(card)
    assert (account["used_minor"], account["available_minor"]) == (3_000, 97_000)


def test_the_api_takes_items_and_names_what_is_wrong(switch: Switch) -> None:
    """One call, one answer an item; a bad one refuses the call with its place and field."""
    card: Card = switch.open_card()
    item = {"id": f"{card.account}X", "account": card.account, "amount_minor": 5, "currency": "840"}
    answer = switch.call("POST", "/v1/clearings", {"items": [item]})
    assert (answer.status, answer.json["posted"]) == (200, 1)
    assert answer.json["items"][0]["result"] == "forced"
    bad = switch.call("POST", "/v1/clearings", {"items": [item, {**item, "currency": "USD"}]})
    assert (bad.status, bad.json["error"]["field"]) == (400, "items[1].currency")
    for items in ([], [{**item, "color": 1}], [{**item, "amount_minor": 0}], "x"):
        assert switch.call("POST", "/v1/clearings", {"items": items}).status == 400


def test_posted_ids_outlive_a_restart(tmp_path: Path) -> None:
    """Killed and started again, then stopped and started again: the item is a duplicate still."""
    with Switch(tmp_path) as switch:
        switch.start()
        card = switch.open_card()
        item = {"id": "ONCE", "account": card.account, "amount_minor": 7, "currency": "840"}
        assert switch.call("POST", "/v1/clearings", {"items": [item]}).json["posted"] == 1
        for stop in (switch.kill, switch.stop):
            stop()
            switch.start()
            answer = switch.call("POST", "/v1/clearings", {"items": [item]}).json
            assert (answer["posted"], answer["duplicates"]) == (0, 1)
            assert switch.account(card)["used_minor"] == 7


@pytest.mark.parametrize("report", ["none/report.csv", "."])
def test_a_report_that_cannot_be_written_is_told_before(
    switch: Switch, tmp_path: Path, report: str
) -> None:
    """Nothing is posted then."""
    card = switch.open_card()
    file = _file(tmp_path, [f"{card.account}B,clearing,{card.pan},10,840,,,,yes,"])
    place = ("--report", tmp_path / report, "--http", switch.http, "--data", switch.data)
    assert de39("clearing", file, *place)[0] == 2
    assert switch.account(card)["used_minor"] == 0


def test_an_engine_that_is_gone_is_told_with_what_to_do(switch: Switch, tmp_path: Path) -> None:
    """How much was answered, and that the file may be sent again."""
    file = _file(tmp_path, ["G1,clearing,4111111111111111,10,840,,,,yes,"])
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nowhere = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    code, _, err = de39("clearing", file, "--http", nowhere, "--data", switch.data)
    assert (code, is_one_line(err)) == (69, True)
    assert "0 of 1 items were answered" in err
    assert "send the whole file again" in err


def test_an_interrupted_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Ctrl-C while the engine has not answered: exit 130, one line, nothing left open."""
    file = _file(tmp_path, ["I1,clearing,4111111111111111,10,840,,,,yes,"])
    with socket.create_server(("127.0.0.1", 0)) as engine:
        where = f"http://127.0.0.1:{engine.getsockname()[1]}"
        command = [sys.executable, "-m", "engine.cli", "clearing", str(file), "--http", where]
        with subprocess.Popen(
            command, env={**os.environ, "DE39_ADMIN_TOKEN": "0" * 16}, stderr=subprocess.PIPE
        ) as process:
            link, _ = engine.accept()
            with link:
                link.recv(1)  # it has asked
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=60)
    assert (process.returncode, err.count(b"\n")) == (130, 1)
    assert b"0 of 1 items were answered, then: interrupted; send the whole file again" in err
