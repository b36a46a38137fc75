"""Models and labels of a running engine: promote, roll back, challenge, tell what was fraud."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from scoring.registry import Model, default_model_path, load_model, model_bytes, save_model
from scoring.registry import model_from_bytes as read
from tests.support.commands import de39
from tests.system.link import payment
from tests.system.process import Card, Switch, is_one_line

MODEL = load_model(default_model_path())
SWAPS = 100


def _other(name: str) -> Model:
    meta = msgspec.structs.replace(MODEL.meta, name=name)
    return read(model_bytes(MODEL.forest, MODEL.cuts, MODEL.mcc_risk, meta))


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """Run a switch with the shipped model and no rules."""
    more = '[rules]\nfile = "none"\n'
    with Switch(tmp_path_factory.mktemp("models"), more=more) as running:
        yield running.start()


@pytest.fixture(scope="module")
def card(switch: Switch) -> Card:
    """Open one card for the module."""
    return switch.open_card(limit_minor=900_000_000)


def _version(switch: Switch, card: Card) -> str:
    """Pay and return the version of the model that scored it."""
    with switch.link() as link:
        assert link.ask(payment(card.pan))["39"] == "00"
    found = switch.call("GET", f"/v1/authorizations?account={card.account}&limit=1").json
    return str(found["authorizations"][0]["model_version"])


def _model_command(switch: Switch, *words: object) -> tuple[int, str, str]:
    return de39(*words, "--http", switch.http, "--data", switch.data)


def test_promote_roll_back_and_restart(switch: Switch, card: Card, tmp_path: Path) -> None:
    """The version in the records follows, at once and after a restart."""
    other = _other("other")
    path = tmp_path / "other.de39model"
    save_model(other, path)
    assert _version(switch, card) == f"{MODEL.version:08x}"
    assert _model_command(switch, "model", "promote", path, "--dry-run")[0] == 0
    assert _version(switch, card) == f"{MODEL.version:08x}"
    code, out, _ = _model_command(switch, "model", "promote", path, "--reason", "try", "--json")
    assert (code, json.loads(out)["state"]) == (0, "in force")
    assert _version(switch, card) == f"{other.version:08x}"
    switch.stop()
    switch.start()
    assert _version(switch, card) == f"{other.version:08x}"
    assert _model_command(switch, "model", "rollback")[0] == 0
    assert _version(switch, card) == f"{MODEL.version:08x}"
    code, _, err = _model_command(switch, "model", "rollback")
    assert code != 0
    assert is_one_line(err)
    assert "no model was in force before" in err


def test_what_is_no_model_changes_nothing(switch: Switch, card: Card, tmp_path: Path) -> None:
    """A cut file, a foreign file and an unknown version are refused with the reason."""
    data = default_model_path().read_bytes()
    for content, reason in ((data[:-9], "SHA-256 does not match"), (b"pickle", "is not a model")):
        path = tmp_path / "bad.de39model"
        path.write_bytes(content)
        code, _, err = _model_command(switch, "model", "promote", path)
        assert (code, is_one_line(err)) == (78, True)
        assert reason in err
        body = {"model": base64.b64encode(content).decode()}
        answer = switch.call("POST", "/v1/models/promote", body)
        assert answer.status == 400
        assert reason in answer.json["error"]["message"]
    assert _model_command(switch, "model", "promote", "00000000")[0] != 0
    assert _version(switch, card) == f"{MODEL.version:08x}"


def test_challenger_in_shadow(switch: Switch, card: Card, tmp_path: Path) -> None:
    """It scores what the champion scores, decides nothing, and goes when told."""
    other = _other("challenger")
    path = tmp_path / "c.de39model"
    save_model(other, path)
    assert _model_command(switch, "model", "challenge", path)[0] == 0
    for _ in range(3):
        assert _version(switch, card) == f"{MODEL.version:08x}"
    code, out, _ = _model_command(switch, "model", "list", "--json")
    (found,) = json.loads(out)["challengers"]
    assert (code, found["version"], found["payments"]) == (0, f"{other.version:08x}", 3)
    assert _model_command(switch, "model", "withdraw", other.sha256[:8])[0] == 0
    assert json.loads(_model_command(switch, "model", "list", "--json")[1])["challengers"] == []


def test_labels_are_taken_whole_or_not(switch: Switch, card: Card, tmp_path: Path) -> None:
    """A fraud becomes a record; unknown payments, second labels and bad lines change nothing."""
    _version(switch, card)
    account = f"/v1/authorizations?account={card.account}&limit=1"
    number = switch.call("GET", account).json["authorizations"][0]["record"]
    path = tmp_path / "labels.csv"
    path.write_text(f"record,label\n{number},fraud\n{10**9},fraud\n")
    code, _, err = _model_command(switch, "labels", path)
    assert (code, is_one_line(err)) == (1, True)
    assert f"labels.csv: line 3: record {10**9} is no payment of this ledger" in err
    path.write_text(f"record,label\n{number},fraud\n")
    assert _model_command(switch, "labels", path, "--dry-run")[0] == 0
    code, out, _ = _model_command(switch, "labels", path, "--json")
    assert (code, json.loads(out)["frauds"]) == (0, 1)
    assert switch.metric('de39_labels_total{label="fraud"}') == 1
    assert switch.metric('de39_drift_psi{column="amount"}') > 0
    code, _, err = _model_command(switch, "labels", path)
    assert (code != 0, f"record {number} has its label" in err) == (True, True)
    for end in (switch.stop, switch.kill):  # known after a stop and after a crash
        end()
        switch.start()
        code, _, err = _model_command(switch, "labels", path)
        assert (code != 0, f"record {number} has its label" in err) == (True, True)
    path.write_bytes(b"record,label\n5,\xff\n")
    assert "labels.csv: line 2: not UTF-8" in _model_command(switch, "labels", path)[2]
    assert _model_command(switch, "labels", tmp_path / "none")[0] == 2
    path.write_text("record,label\n5,maybe\n")
    code, _, err = _model_command(switch, "labels", path)
    assert (code, is_one_line(err)) == (1, True)
    assert "labels.csv: line 2: label: expected fraud or genuine" in err


def test_a_hundred_swaps_lose_no_answer(switch: Switch, card: Card) -> None:
    """Two models take turns while payments come; each is answered and names one of both."""
    other = _other("turn")
    body = {"model": base64.b64encode(other.file_bytes()).decode()}
    assert switch.call("POST", "/v1/models/promote", body).status == 200
    body = {"model": base64.b64encode(MODEL.file_bytes()).decode()}
    assert switch.call("POST", "/v1/models/promote", body).status == 200
    ended, counts = threading.Event(), [0, 0]

    def pay() -> None:
        with switch.link() as link:
            while not ended.is_set():
                counts[0] += 1
                counts[1] += link.ask(payment(card.pan))["39"] == "00"

    payer = threading.Thread(target=pay)
    payer.start()
    for turn in range(SWAPS):
        version = (other, MODEL)[turn % 2].sha256
        assert switch.call("POST", "/v1/models/promote", {"version": version}).status == 200
    ended.set()
    payer.join(30)
    assert counts[0] == counts[1] > SWAPS
    found = switch.call("GET", f"/v1/authorizations?account={card.account}&limit=900").json
    versions = {row["model_version"] for row in found["authorizations"] if row["score"] is not None}
    assert versions >= {f"{other.version:08x}", f"{MODEL.version:08x}"}


def test_the_journal_scored_again(switch: Switch, card: Card, tmp_path: Path) -> None:
    """Every score and hash of every model comes out again; a challenger is measured beside."""
    other = tmp_path / "other.de39model"
    save_model(_other("other"), other)
    code, out, err = de39("model", "replay", other, "--data", switch.data, "--json")
    found = json.loads(out)
    assert (code, found["ok"], err) == (0, True, "")
    assert found["payments"] == found["scores_equal"] == found["hashes_equal"] > SWAPS
    assert found["of_unknown_models"] == 0
    assert [row["name"] for row in found["models"]] == ["as decided", "other"]
    assert found["models"][0]["frauds"] == found["models"][1]["frauds"] == 1
    code, out, _ = de39("model", "drift", "--data", switch.data, "--json")
    told = json.loads(out)
    assert (code, told["payments"]) == (0, found["payments"])
    assert "amount" in told["act"]  # the test pays one amount again and again
    assert len(told["psi"]) == 39
