"""Four eyes: what lets a rule act waits for another operator."""

from pathlib import Path

import pytest

from engine.rules.language import parse
from tests.support.commands import de39
from tests.system.link import payment
from tests.system.process import PATIENT, Switch, eventually

_FILE = 'rule R01 pre decline(59) "blocked category" when mcc == 7995\n'
_MORE = '[scoring]\nmodel = "none"\n[rules]\nfile = "own.rules"\nfour_eyes = true\n'
_ANN, _BOB = {"X-Operator": "ann"}, {"X-Operator": "bob"}


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    """Return a switch with a rule file of its own, not started."""
    (tmp_path / "own.rules").write_text(_FILE, encoding="utf-8")
    return Switch(tmp_path, ('dialect = "iso87-bin"\n' + PATIENT,), _MORE)


def _mode(switch: Switch, rule: str) -> str:
    rules = switch.call("GET", "/v1/rules").json["rules"]
    return next(row["mode"] for row in rules if row["rule"] == rule)


def test_four_eyes_on_what_lets_a_rule_act(switch: Switch, tmp_path: Path) -> None:
    """A reload and a promotion wait for another operator; a rule is stopped by one, at once."""
    with switch:
        switch.start()
        assert switch.call("PATCH", "/v1/rules/R01", {"mode": "shadow"}).json["mode"] == "shadow"
        assert _mode(switch, "R01") == "shadow"
        answer = switch.call("PATCH", "/v1/rules/R01", {"mode": "active"}, _BOB)
        assert answer.json["state"] == "proposed"
        assert _mode(switch, "R01") == "shadow"
        (waiting,) = switch.call("GET", "/v1/rules").json["proposals"]
        assert waiting["changes"] == ["- R01 is shadow", "+ R01 is active"]
        named = {"sha256": waiting["sha256"][:8]}
        assert switch.call("POST", "/v1/rules/approve", named, _BOB).status == 403
        assert switch.call("GET", f"/v1/rules/text?sha256={named['sha256']}").status == 404
        assert switch.call("POST", "/v1/rules/approve", named).json["mode"] == "active"
        assert _mode(switch, "R01") == "active"
        assert switch.call("POST", "/v1/rules/approve", named).status == 404
        (tmp_path / "own.rules").write_text(
            _FILE + '\nrule NEW pre shadow decline(59) "new" when mcc == 5411\n'
        )
        sha256 = switch.call("POST", "/v1/rules/reload", {}, _BOB).json["sha256"]
        rules = switch.call("GET", "/v1/rules").json
        assert "NEW" not in [rule["rule"] for rule in rules["rules"]]
        assert switch.call("POST", "/v1/rules/approve", {"sha256": sha256}, _BOB).status == 403
        assert switch.call("POST", "/v1/rules/approve", {"sha256": sha256}).status == 200
        assert _mode(switch, "NEW") == "shadow"
        assert switch.stop() == 0
        switch.start()  # it counts as the file's: a start takes nothing else
        assert _mode(switch, "NEW") == "shadow"
        assert switch.stop() == 0
        (last,) = [row for row in switch.records() if row["kind"] == "rules"][-1:]
        assert last["operator"] == "admin"


def test_four_eyes_and_a_breaker(switch: Switch) -> None:
    """A proposal waits for another operator; a rule that declines everything falls to shadow."""
    wrong = 'breaker default 5% of 1000 rule ALL pre decline(59) "all" when amount > 0.00'
    with switch:
        switch.start()
        card = switch.open_card()
        answer = switch.call("POST", "/v1/rules", {"text": wrong}, _ANN)
        assert answer.json["state"] == "proposed"
        sha256 = answer.json["sha256"]
        with switch.link() as link:
            assert link.ask(payment(card.pan))["39"] == "00"
        assert switch.call("POST", "/v1/rules/approve", {"sha256": sha256}, _ANN).status == 403
        shouted = {"X-Operator": "ANN"}
        answer = switch.call("POST", "/v1/rules/approve", {"sha256": sha256}, shouted)
        assert answer.status == 403
        where = ("--http", switch.http, "--data", switch.data)
        _, out, _ = de39("rules", "show", *where)  # what the second pair of eyes looks at
        assert (
            f"waits for approval: {sha256[:12]} of ann\n    + breaker default 5% of 1000\n" in out
        )
        assert '    + rule ALL pre decline(59) "all" when amount > 0.00\n' in out
        assert '    - rule R01 pre decline(59) "blocked category" when mcc == 7995\n' in out
        _, out, _ = de39("rules", "show", "--text", "--of", sha256[:8], *where)
        assert parse(out) == parse(wrong)
        _, out, _ = de39("rules", "show", "--text", *where)
        assert parse(out) == parse(_FILE)
        assert de39("rules", "show", "--text", "--of", "00000000", *where)[0] == 1
        approved = switch.call("POST", "/v1/rules/approve", {"sha256": sha256[:8]})
        assert approved.json["state"] == "in force"
        with switch.link() as link:
            codes = [link.ask(payment(card.pan, 1))["39"] for _ in range(600)]
        assert codes[0] == "59"
        assert codes[-1] == "00"
        assert codes.index("00") < 512
        assert _mode(switch, "ALL") == "shadow"
        assert switch.metric("de39_rule_breaker_trips_total") == 1
        assert eventually(lambda: "rules.breaker" in switch.log())
        assert switch.stop() == 0
