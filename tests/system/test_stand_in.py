"""A scorer that fails: behaviour 55."""

import base64
from pathlib import Path

from scoring.registry import default_model_path
from tests.system.link import payment
from tests.system.process import Switch, eventually

_BLOCK = 'dialect = "iso87-bin"'


def _more(extra: str) -> str:
    return f'[rules]\nfile = "none"\n[scoring]\nmodel = "my.model"\n{extra}'


def test_behaviour_55_a_model_that_must_be_there_ends_the_start(tmp_path: Path) -> None:
    """By default nothing is decided without the scorer that was asked for: exit code 78."""
    (tmp_path / "my.model").write_bytes(b"not a model")
    code, stderr = Switch(tmp_path, (_BLOCK,), _more("")).run_to_end()
    assert (code, "my.model" in stderr) == (78, True)


def test_behaviour_55_the_stand_in_decides_is_marked_and_ends(tmp_path: Path) -> None:
    """Without the model a floor decides, marked in ledger, metric and log; a reload ends it."""
    (tmp_path / "my.model").write_bytes(b"not a model")
    extra = 'required = false\nstand_in = "floor"\nfloor_minor = 5000\n'
    with Switch(tmp_path, (_BLOCK,), _more(extra)) as switch:
        switch.start()
        assert eventually(lambda: "scorer.lost" in switch.log())
        card = switch.open_card()
        with switch.link() as link:
            small, large = payment(card.pan, 5_000), payment(card.pan, 5_001)
            assert [link.ask(ask)["39"] for ask in (small, large)] == ["00", "91"]
            rows = {row["rrn"]: row for row in switch.records()}
            assert rows[large["37"]]["decision"] == "stand_in_declined"
            for ask in (small, large):
                assert "stand_in" in rows[ask["37"]]["flags"].lower()
            assert switch.metric("de39_stand_in_total") == 2
            assert switch.metric("de39_unscored_total") == 2

            (tmp_path / "my.model").write_bytes(default_model_path().read_bytes())
            assert switch.call("POST", "/v1/reload").status == 200
            scored = payment(card.pan, 5_002)
            assert link.ask(scored)["39"] in ("00", "59")
            rows = {row["rrn"]: row for row in switch.records()}
            assert "stand_in" not in rows[scored["37"]]["flags"].lower()
            assert rows[scored["37"]]["score"] not in (None, "")
        assert switch.held(card) >= 5_000
        assert switch.stop() == 0


def test_a_promoted_model_ends_the_stand_in(tmp_path: Path) -> None:
    """A lost scorer is replaced while serving, and its stand-in has nothing more to say."""
    (tmp_path / "my.model").write_bytes(b"not a model")
    extra = 'required = false\nstand_in = "decline"\n'
    with Switch(tmp_path, (_BLOCK,), _more(extra)) as switch:
        switch.start()
        card = switch.open_card()
        with switch.link() as link:
            assert link.ask(payment(card.pan))["39"] == "91"
            body = {"model": base64.b64encode(default_model_path().read_bytes()).decode()}
            assert switch.call("POST", "/v1/models/promote", body).status == 200
            assert link.ask(payment(card.pan))["39"] == "00"
        assert switch.metric("de39_stand_in_total") == 1
        assert switch.metric("de39_scorer_off") == 0
        assert switch.stop() == 0
