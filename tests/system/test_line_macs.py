"""What the host says by itself on links with keys: its MACs, and those of the answers (59)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psec.mac
import pytest

from engine.security.file_store import FileStore
from tests.support import secure_engine as s
from tests.support.commands import de39
from tests.system.link import Fields, network
from tests.system.process import PLAIN, Switch, eventually
from tests.system.test_lines import Network

pytestmark = [
    pytest.mark.behaviour(59),
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
]
_MORE = (
    PLAIN
    + """
[security]
store = "file"
[[security_profile]]
name = "keyed"
mac_key = "mac"
mac_classes = ["1", "2", "4", "6"]
[outbox]
wait_s = 1
wait_max_s = 1
tries_max = 3
[[dial]]
name = "net"
address = "127.0.0.1:{port}"
security = "keyed"
retry_wait_ms = 50
retry_wait_max_s = 1
answer_timeout_s = 1
idle_echo_s = 1
"""
)
_LISTENER = 'dialect = "iso87-bin"\nsecurity = "keyed"\nidle_echo_s = 1\nanswer_timeout_s = 5'


def _mac(raw: bytes) -> bytes:
    return bytes(psec.mac.generate_retail_mac(s.MAC[:8], s.MAC[8:], raw, 1))


def _is_proven(raw: bytes) -> bool:
    return raw[-8:] == _mac(raw[:-8])


class _Keyed(Network):
    """A network that checks each MAC and answers with its own, right, wrong or none by type."""

    def __init__(self) -> None:
        super().__init__()
        self.proven: list[tuple[str, bool]] = []
        self.bent: dict[str, str] = {}  # type of an answer -> "wrong" or "none"

    def note(self, raw: bytes) -> Fields:
        """Keep whether the MAC was right."""
        ask = super().note(raw)
        if int(ask["t"][2]) % 2 == 0:
            self.proven.append((ask["t"], _is_proven(raw)))
        return ask

    def encode(self, fields: Fields) -> bytes:
        """Return the bytes with a MAC."""
        how = self.bent.get(fields["t"])
        if how == "none":
            return super().encode(fields)
        place = "128" if any(n.isdigit() and int(n) > 64 for n in fields) else "64"
        raw = super().encode({**fields, place: "00" * 8})[:-8]
        return raw + (_mac(raw) if how is None else bytes(8))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Switch, _Keyed]]:
    """A network with a key, and a switch that dials it under the same key."""
    folder: Path = tmp_path_factory.mktemp("keyed")
    with _Keyed() as made, Switch(folder, (_LISTENER,), _MORE.format(port=made.port)) as switch:
        switch.data.mkdir(parents=True)
        assert de39("key", "init", "--data", switch.data)[0] == 0
        master = bytes.fromhex((switch.data / "keys.master").read_text())
        store = FileStore(switch.data / "keys.bin", master)
        s.fill(store)
        store.close()
        switch.start()
        assert eventually(lambda: _state(switch) == "up", within_s=15.0)
        yield switch, made
        assert switch.stop() == 0
        assert "Traceback" not in switch.log()


def _state(switch: Switch) -> str:
    return str(switch.call("GET", "/v1/lines").json["lines"][0]["state"])


def _send(switch: Switch, mti: str, **fields: str) -> Any:
    body = {"mti": mti, "fields": {n.removeprefix("de"): v for n, v in fields.items()}}
    return switch.call("POST", "/v1/lines/net/messages", body)


def _states(switch: Switch) -> list[str]:
    return [m["state"] for m in switch.call("GET", "/v1/messages").json["messages"]]


def _unproven(switch: Switch) -> float:
    return switch.metric('de39_upstream_total{event="unproven"}')


def test_all_that_the_host_says_on_a_line_carries_a_mac(pair: tuple[Switch, _Keyed]) -> None:
    """Sign-on, echo tests, questions and what the outbox delivers, in DE64 or DE128."""
    switch, made = pair
    answer = _send(switch, "0600", de3="000000", de49="840")
    assert (answer.status, answer.json["response_code"]) == (200, "00")
    assert _send(switch, "0620", de3="000000", de49="840").status == 201
    assert eventually(lambda: _states(switch)[:1] == ["delivered"])
    assert eventually(lambda: made.of("0800", de70="301"), within_s=20.0)
    kinds = {mti for mti, _ in made.proven}
    assert {"0800", "0600", "0620"} <= kinds
    assert all(is_right for _, is_right in made.proven)
    assert "128" in made.of("0800", de70="001")[0]
    assert "64" in made.of("0600")[0]


@pytest.mark.parametrize("how", ["wrong", "none"])
def test_an_answer_without_the_right_mac_is_no_answer(
    pair: tuple[Switch, _Keyed], how: str
) -> None:
    """The question goes unanswered, the message of the outbox is sent again; both are counted."""
    switch, made = pair
    before = _unproven(switch)
    made.bent = {"0610": how, "0630": how}
    try:
        assert _send(switch, "0600", de3="000000", de49="840").json["state"] == "no_answer"
        _send(switch, "0620", de3="000000", de49="840")
        assert eventually(lambda: made.of("0621"), within_s=20.0)
        assert _states(switch)[0] == "waiting"
    finally:
        made.bent = {}
    assert eventually(lambda: _states(switch)[0] == "delivered", within_s=20.0)
    assert _unproven(switch) >= before + 2
    made.got.clear()


def test_the_echo_test_of_a_listener_carries_a_mac(pair: tuple[Switch, _Keyed]) -> None:
    """On a link that the peer opened; an answer without a MAC will do where none is demanded."""
    switch, _ = pair
    with switch.link() as link:
        raw = link.receive_bytes()
        assert _is_proven(raw)
        ask = s.read_answers(len(raw).to_bytes(2, "big") + raw)[0]
        assert (ask["t"], ask["70"]) == ("0800", "301")
        link.send({"t": "0810", "7": ask["7"], "11": ask["11"], "39": "00", "70": "301"})
        assert link.ask(network())["39"] == "00"
