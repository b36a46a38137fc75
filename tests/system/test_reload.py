"""Another configuration for a switch that works: behaviour 63."""

import signal
from pathlib import Path

import pytest

from engine.wire.dialect import DIALECT_FOLDER
from tests.system.link import changed, payment
from tests.system.process import PLAIN, Switch, eventually

_RULES = 'rule R1 pre decline(59) "casino" when mcc == 7995\n'
_MORE = '[scoring]\nmodel = "none"\n[rules]\nfile = "my.rules"\n'


def _reloads(switch: Switch, result: str) -> float:
    return switch.metric(f'de39_reloads_total{{result="{result}"}}')


def _hang_up(switch: Switch) -> None:
    """Send SIGHUP and wait until it was taken or refused."""
    before = _reloads(switch, "taken") + _reloads(switch, "refused")
    switch.send_signal(signal.SIGHUP)
    done = lambda: _reloads(switch, "taken") + _reloads(switch, "refused") == before + 1  # noqa: E731
    assert eventually(done)


def _rewrite(switch: Switch, old: str, new: str) -> None:
    text = switch.config.read_text(encoding="utf-8")
    assert old in text
    switch.config.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_behaviour_63_reload_without_dropping_links(tmp_path: Path) -> None:
    """Rules, profile and dialect change under one link; what cannot be used changes nothing."""
    dialect = (DIALECT_FOLDER / "iso87-bin.toml").read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text(dialect, encoding="utf-8")
    (tmp_path / "my.rules").write_text(_RULES, encoding="utf-8")
    with Switch(tmp_path, ('dialect = "own.toml"',), _MORE) as switch:
        switch.start()
        first_rules = switch.call("GET", "/version").json["ruleset_sha256"]
        card = switch.open_card(limit_minor=1_000)
        with switch.link() as link:
            link.spec = __import__("iso8583.specs", fromlist=["default"]).default
            first = payment(card.pan, 100)
            assert link.ask(first)["39"] == "00"
            assert link.ask(payment(card.pan, 100, de18="7995"))["39"] == "59"

            (tmp_path / "my.rules").write_text(_RULES.replace("59", "57"), encoding="utf-8")
            _hang_up(switch)
            assert link.ask(payment(card.pan, 100, de18="7995"))["39"] == "57"
            assert switch.call("GET", "/version").json["ruleset_sha256"] != first_rules

            (tmp_path / "my.rules").write_text("rule R1 pre declin", encoding="utf-8")
            _hang_up(switch)
            assert eventually(lambda: "my.rules:1:" in switch.log())
            assert link.ask(payment(card.pan, 100, de18="7995"))["39"] == "57"

            (tmp_path / "my.rules").write_text(_RULES, encoding="utf-8")
            codes = '[response_codes]\nNOT_ENOUGH_FUNDS = "61"'
            (tmp_path / "own.toml").write_text(dialect.replace("[response_codes]", codes, 1))
            answer = switch.call("POST", "/v1/reload")
            assert (answer.status, answer.json["ruleset_sha256"]) == (200, first_rules)
            assert link.ask(payment(card.pan, 5_000))["39"] == "61"

            (tmp_path / "own.toml").write_text(dialect.replace("min_bytes = 12", "min_bytes = 1"))
            refused = switch.call("POST", "/v1/reload")
            assert refused.status == 409
            assert "own.toml" in refused.json["error"]["message"]
            assert link.ask(payment(card.pan, 5_000))["39"] == "61"

            (tmp_path / "own.toml").write_text(dialect, encoding="utf-8")
            _rewrite(switch, 'dialect = "own.toml"', 'dialect = "own.toml"\nrequire_sign_on = true')
            _hang_up(switch)
            assert link.ask(payment(card.pan, 1))["39"] == "91"
            assert link.ask(changed(first, t="0101"))["39"] == "91"
            _rewrite(switch, "require_sign_on = true\n", "")
            _hang_up(switch)
            assert link.ask(changed(first, t="0101"))["39"] == "00"  # remembered all along
            assert switch.metric("de39_connections_total") == 1
        assert (_reloads(switch, "taken"), _reloads(switch, "refused")) == (4, 2)
        assert switch.stop() == 0


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('data = "data"', 'data = "other"', "data"),
        ('[http]\naddress = "127.0.0.1:0"', '[http]\naddress = "127.0.0.1:1"', "http"),
        ('address = "127.0.0.1:0"\ndialect', 'address = "127.0.0.1:9"\ndialect', "listen"),
        ('[rules]\nfile = "none"', '[rules]\nfil = "none"', "rules.fil"),
    ],
)
def test_behaviour_63_what_needs_a_restart_is_refused(
    restless: Switch, old: str, new: str, word: str
) -> None:
    """The key is named, and nothing has changed."""
    before = restless.config.read_text(encoding="utf-8")
    try:
        _rewrite(restless, old, new)
        refused = restless.call("POST", "/v1/reload")
        assert (refused.status, word in refused.json["error"]["message"]) == (409, True), refused
    finally:
        restless.config.write_text(before, encoding="utf-8")
    assert restless.call("POST", "/v1/reload").status == 200
    with restless.link() as link:
        assert link.is_alive()


@pytest.fixture(scope="module")
def restless(tmp_path_factory: pytest.TempPathFactory):
    """A switch whose configuration is rewritten."""
    with Switch(tmp_path_factory.mktemp("reload"), more=PLAIN) as switch:
        yield switch.start()
        assert switch.stop() == 0


def test_behaviour_63_links_under_load_lose_nothing(restless: Switch) -> None:
    """Ten reloads while payments flow: every request has its answer, every hold is there."""
    card = restless.open_card(limit_minor=10**9)
    with restless.link() as link:
        for round_ in range(10):
            asks = [payment(card.pan, 1) for _ in range(200)]
            link.send(*asks)
            if round_ % 2:
                assert restless.call("POST", "/v1/reload").status == 200
            else:
                restless.send_signal(signal.SIGHUP)
            assert [link.receive()["39"] for _ in asks] == ["00"] * 200
    assert restless.held(card) == 2_000
