"""Keys, MACs, PINs and cryptograms through a real switch, over TCP, before and after a restart.

Behaviours 21 (key change), 59 (MAC), 60 (PIN and secrets), 61 (chip cryptograms).
"""

from collections.abc import Iterator
from pathlib import Path

import psec.pin
import pytest

from engine.security.file_store import FileStore
from tests.support import secure_engine as s
from tests.support.commands import de39
from tests.support.keys import PIN, TOKEN, soft_module, with_token
from tests.system.process import PLAIN, Switch, eventually

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
_MORE = (
    PLAIN
    + """
[security]
{store}
[[security_profile]]
name = "acquirer"
mac_key = "mac"
pin_key = "pin"
kek = "kek"
[[issuer]]
bins = ["9999"]
pvk = "pvk"
cvk = "cvk"
cvv_skip_count = 0
imk_ac = "imk"
"""
)
_LISTENERS = ('dialect = "iso87-bin"\nsecurity = "acquirer"',)
_FILE = 'store = "file"'


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Switch]:
    """A switch that is not started, with keys of known value in its key file."""
    with Switch(tmp_path, _LISTENERS, _MORE.format(store=_FILE)) as switch:
        switch.data.mkdir(parents=True)
        assert de39("key", "init", "--data", switch.data)[0] == 0
        master = bytes.fromhex((switch.data / "keys.master").read_text())
        store = FileStore(switch.data / "keys.bin", master)
        s.fill(store)
        store.close()
        yield switch


def _open_card(switch: Switch) -> None:
    """Open the account and the card that ``secure_engine`` calls card 1, with its PIN."""
    account = {"account": "S1", "customer": "D1", "currency": "840", "limit_minor": 50_000}
    assert switch.call("POST", "/v1/accounts", account).status == 201
    number = s.pan(1)
    pvv = psec.pin.generate_visa_pvv(s.PVK, str(s.PVKI), s.card_pin(1), number)
    card = {"account": "S1", "pan": number, "expiry_yymm": s.EXPIRY, "pin_value": f"{s.PVKI}{pvv}"}
    answer = switch.call("POST", "/v1/cards", card)
    assert answer.status == 201, answer
    assert pvv not in answer.body.replace(number[:6], "")


def _ask(switch: Switch, *frames: bytes) -> list[dict[str, str]]:
    with switch.link() as link:
        answers = []
        for frame in frames:
            link.socket.sendall(frame)
            raw = link.receive_bytes()
            answers += s.read_answers(len(raw).to_bytes(2, "big") + raw)
    return answers


def test_pin_tries_counters_and_keys_survive_a_restart(switch: Switch) -> None:
    """21, 59, 60, 61: what was counted, seen and changed before a kill counts after it."""
    switch.start()
    _open_card(switch)
    wrong = s.pin_block(1, "9999")
    before = _ask(
        switch,
        s.message("0100", s.payment(1, 1, de52=s.pin_block(1))),
        s.message("0100", s.payment(1, 2, de52=wrong)),
        s.message("0100", s.payment(1, 3, de52=wrong)),
        s.message("0100", s.payment(1, 4, de55=s.chip_data(1, 5))),
        s.message("0100", s.payment(1, 5), key=None),
        s.message("0800", s.key_change(6, s.MAC_NEXT)),
    )
    assert [a["39"] for a in before] == ["00", "55", "55", "00", "63", "00"]
    assert before[3]["55"].startswith("910A")
    assert all(s.has_right_mac(answer) for answer in before)
    switch.kill()
    switch.start()

    key = s.MAC_NEXT
    after = _ask(
        switch,
        s.message("0100", s.payment(1, 7, de52=wrong), key=key),
        s.message("0100", s.payment(1, 8, de55=s.chip_data(1, 5)), key=key),
        s.message("0100", s.payment(1, 4, de55=s.chip_data(1, 5)), key=key),
        s.message("0100", s.payment(1, 9)),
    )
    assert [a["39"] for a in after] == ["75", "59", "00", "00"]
    card = switch.call("GET", "/v1/accounts/S1").json["cards"][0]
    assert card["pin_tries"] == 3
    assert switch.call("PATCH", "/v1/cards/1", {"pin_tries": 0}).json["pin_tries"] == 0
    right = s.message("0100", s.payment(1, 10, de52=s.pin_block(1)), key=key)
    assert _ask(switch, right)[0]["39"] == "00"
    assert switch.stop() == 0
    switch.start()
    again = s.message("0100", s.payment(1, 11, de52=s.pin_block(1)), key=key)
    assert _ask(switch, again)[0]["39"] == "00", "a snapshot keeps what cards remember"
    code, out, err = de39("ledger", "verify", "--data", switch.data)
    assert code == 0, out + err


def test_a_new_pin_value_counts_at_once(switch: Switch) -> None:
    """A PIN is changed through the API; a body that is wrong names the field and not the value."""
    switch.start()
    _open_card(switch)
    pvv = psec.pin.generate_visa_pvv(s.PVK, "2", "4711", s.pan(1))
    assert switch.call("PATCH", "/v1/cards/1", {"pin_value": f"2{pvv}"}).status == 200

    old, new = _ask(
        switch,
        s.message("0100", s.payment(1, 1, de52=s.pin_block(1))),
        s.message("0100", s.payment(1, 2, de52=s.pin_block(1, "4711"))),
    )

    assert (old["39"], new["39"]) == ("55", "00")
    answer = switch.call("PATCH", "/v1/cards/1", {"pin_value": "47x11"})
    assert (answer.status, "47x11" in answer.body) == (400, False)
    assert "pin_value" in answer.body


def test_a_running_switch_holds_its_key_file(switch: Switch) -> None:
    """Keys are not changed behind its back; they can be looked at."""
    switch.start()

    code, _, err = de39("key", "rotate", "mac", "--data", switch.data)
    assert (code, "in use" in err) == (75, True)
    code, out, _ = de39("key", "show", "--data", switch.data)
    assert (code, "MAC_3" in out) == (0, True)


def test_a_switch_does_not_start_without_its_keys(switch: Switch) -> None:
    """A key file open to others, or without its master key, ends the start with one line."""
    (switch.data / "keys.bin").chmod(0o644)
    code, err = switch.run_to_end()
    assert (code, "chmod 600" in err) == (77, True)
    (switch.data / "keys.bin").chmod(0o600)
    (switch.data / "keys.master").unlink()
    code, err = switch.run_to_end()
    assert (code, "key init" in err) == (74, True)


def test_a_key_file_is_for_development_and_the_start_says_so(switch: Switch) -> None:
    """One warning in the log; nothing is counted of a module that is not there."""
    switch.start()
    assert eventually(lambda: switch.log().count('"keys.file"') == 1)
    assert "development" in switch.log()
    assert switch.metric('de39_key_module_calls_total{result="ok"}') == 0


def test_a_switch_with_a_security_module(tmp_path: Path) -> None:
    """The same with keys that never leave a SoftHSM2 token."""
    module = soft_module()
    if module is None:
        pytest.skip("SoftHSM2 is not installed: on Debian apt-get install softhsm2")
    from engine.security.token_store import TokenStore

    with with_token(tmp_path / "token"):
        store = TokenStore(module, TOKEN, PIN)
        s.fill(store)
        store.close()
        said = f'store = "pkcs11"\nmodule = "{module}"\ntoken = "{TOKEN}"\npin_file = "token.pin"'
        with Switch(tmp_path / "switch", _LISTENERS, _MORE.format(store=said)) as switch:
            switch.data.mkdir(parents=True)
            pin_file = switch.data / "token.pin"
            pin_file.write_text(PIN)
            pin_file.chmod(0o600)
            switch.start()
            _open_card(switch)
            chip = s.payment(1, 1, de52=s.pin_block(1), de55=s.chip_data(1, 3))
            good, bad = _ask(
                switch, s.message("0100", chip), s.message("0100", s.payment(1, 2), key=None)
            )
            assert (good["39"], bad["39"]) == ("00", "63")
            assert s.has_right_mac(good)
            assert good["55"].startswith("910A")
            assert switch.metric('de39_key_module_calls_total{result="ok"}') > 0
            assert switch.metric('de39_key_module_calls_total{result="failed"}') == 0
            assert switch.metric("de39_key_module_seconds_total") > 0
            assert switch.stop() == 0
            assert "keys.file" not in switch.log()
