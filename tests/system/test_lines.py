"""Lines that the host opens itself, and what it sends on them: behaviours 4, 10, 57 and 58."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import iso8583
import pytest
from iso8583.specs import default

from tests.support.commands import de39
from tests.system.link import Fields, changed, payment
from tests.system.process import PLAIN, Switch, eventually

Answer = Callable[[Fields], list[Fields]]


def _reply(ask: Fields, code: str = "00") -> Fields:
    mti = int(ask["t"])
    kept = {name: ask[name] for name in ("7", "11", "70", "37") if name in ask}
    return {**kept, "t": f"{mti + 10 - (mti & 1):04d}", "39": code}


class Network:
    """The other side: accepts lines, keeps what it is sent, answers as it is told to.

    ``answers`` gets each message and returns what goes back; it may be replaced at any time.
    """

    def __init__(self, port: int = 0) -> None:
        self.got: list[Fields] = []
        self.answers: Answer = lambda ask: [_reply(ask)]
        self.connects = 0
        self._links: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        self._thread.join(10)

    def hang_up(self) -> None:
        """Close every line."""
        for link in self._links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def send(self, fields: Fields) -> None:
        """Send a message on the newest line."""
        data = self.encode(fields)
        self._links[-1].sendall(len(data).to_bytes(2, "big") + data)

    def encode(self, fields: Fields) -> bytes:
        """Return the bytes of a message."""
        return bytes(iso8583.encode(dict(fields), default)[0])

    def note(self, raw: bytes) -> Fields:
        """Keep a message that came; return its fields."""
        fields, _ = iso8583.decode(raw, default)
        ask = {n: v for n, v in fields.items() if n not in ("h", "p", "1", "bm")}
        self.got.append(ask)
        return ask

    def of(self, mti: str, **wanted: str) -> list[Fields]:
        """Return what was got of a type, with fields as given."""
        named = {name.removeprefix("de"): value for name, value in wanted.items()}
        return [m for m in self.got if m["t"] == mti and named.items() <= m.items()]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                self._links.append(link)
                self.connects += 1
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as stream, contextlib.suppress(OSError, ValueError):
            while len(head := stream.read(2)) == 2:
                raw = stream.read(int.from_bytes(head, "big"))
                ask = self.note(raw)
                if int(ask["t"][2]) % 2 == 0:
                    for answer in self.answers(ask):
                        data = self.encode(answer)
                        link.sendall(len(data).to_bytes(2, "big") + data)


def _dial(port: int, more: str = "") -> str:
    return (
        PLAIN
        + f"""
[outbox]
wait_s = 1
wait_max_s = 1
tries_max = 3
[[dial]]
name = "net"
address = "127.0.0.1:{port}"
retry_wait_ms = 50
retry_wait_max_s = 1
answer_timeout_s = 1
idle_echo_s = 1
deadline_ms = 30000
overload_wait_ms = 30000
{more}
"""
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Switch, Network]]:
    """Run a network, and a switch that dials it, for all tests that leave both as they were."""
    folder = tmp_path_factory.mktemp("lines")
    with Network() as made, Switch(folder, more=_dial(made.port)) as switch:
        yield switch.start(), made
        assert switch.stop() == 0
        assert "Traceback" not in switch.log()


@pytest.fixture
def network(pair: tuple[Switch, Network]) -> Network:
    """The other side, honest again and with nothing got; the line is up."""
    switch, made = pair
    made.answers = lambda ask: [_reply(ask)]
    assert eventually(lambda: _state(switch) == "up", within_s=15.0)
    made.got.clear()
    return made


@pytest.fixture
def host(pair: tuple[Switch, Network], network: Network) -> Switch:
    """The switch, its line up."""
    return pair[0]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Switch, Network]]:
    """Run a switch and a network of one test."""
    with Network() as made, Switch(tmp_path, more=_dial(made.port)) as switch:
        switch.start()
        assert eventually(lambda: _state(switch) == "up", within_s=15.0)
        yield switch, made


def _state(switch: Switch) -> str:
    return str(switch.call("GET", "/v1/lines").json["lines"][0]["state"])


def _messages(switch: Switch) -> list[dict[str, Any]]:
    return list(switch.call("GET", "/v1/messages").json["messages"])


def _upstream(switch: Switch, event: str) -> float:
    return switch.metric(f'de39_upstream_total{{event="{event}"}}')


def _send(switch: Switch, mti: str, **fields: str) -> Any:
    body = {"mti": mti, "fields": {n.removeprefix("de"): v for n, v in fields.items()}}
    return switch.call("POST", "/v1/lines/net/messages", body)


@pytest.mark.behaviour(10)
def test_behaviour_04_the_host_signs_on_tests_an_idle_line_and_serves_on_it(
    own: tuple[Switch, Network],
) -> None:
    """0800/001 first, 0800/301 on silence; a payment on the line is answered as on any link."""
    host, network = own
    assert network.got[0]["70"] == "001"
    assert eventually(lambda: bool(network.of("0800", de70="301")))
    card = host.open_card()
    ask = payment(card.pan, 700)
    network.send(ask)
    assert eventually(lambda: bool(network.of("0110")))
    answer = network.of("0110")[0]
    assert (answer["11"], answer["39"]) == (ask["11"], "00")
    assert host.held(card) == 700
    assert eventually(lambda: host.metric("de39_lines_up") == 1)
    assert host.stop() == 0
    assert eventually(lambda: network.got[-1].get("70") == "002")  # 10: it signs off


def test_behaviour_04_a_line_without_an_answer_to_its_test_is_opened_anew(
    host: Switch, network: Network
) -> None:
    """A half-open line is found by the echo test, closed and dialled again."""
    before = network.connects
    network.answers = lambda ask: [_reply(ask)] if ask.get("70") == "001" else []
    assert eventually(lambda: network.connects > before, within_s=15.0)
    network.answers = lambda ask: [_reply(ask)]
    assert eventually(lambda: _state(host) == "up")


def test_a_line_comes_back_whatever_happens(host: Switch, network: Network) -> None:
    """Closed ten times, refused at sign-on, silent at sign-on: it is dialled again, for ever."""
    for _ in range(5):
        assert eventually(lambda: _state(host) == "up")
        before = network.connects
        network.hang_up()
        assert eventually(lambda b=before: network.connects > b)
    network.answers = lambda ask: [_reply(ask, "91")]
    network.hang_up()
    before = network.connects
    assert eventually(lambda: network.connects >= before + 2, within_s=15.0)
    assert _state(host) != "up"
    network.answers = lambda ask: [_reply(ask)]
    assert eventually(lambda: _state(host) == "up", within_s=15.0)


def test_a_network_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """The switch starts without it, and connects when it comes."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Switch(tmp_path, more=_dial(port)) as switch:
        switch.start()
        assert _state(switch) == "down"
        with Network(port):
            assert eventually(lambda: _state(switch) == "up", within_s=15.0)
            assert switch.stop() == 0


def test_behaviour_10_a_listener_signs_off_where_it_says_so(tmp_path: Path) -> None:
    """With sign_off = true a client gets 0800/002, then the end."""
    with Switch(tmp_path, ('dialect = "iso87-bin"\nsign_off = true',)) as switch:
        switch.start()
        with switch.link() as link:
            assert link.is_alive()
            assert switch.stop() == 0
            last = link.receive()
            assert (last["t"], last["70"]) == ("0800", "002")
            assert link.is_closed()


def test_behaviour_04_a_listener_tests_idle_clients_where_it_says_so(tmp_path: Path) -> None:
    """A silent client is asked 0800/301; one that answers stays, one that does not is closed."""
    block = 'dialect = "iso87-bin"\nidle_echo_s = 1\nanswer_timeout_s = 1'
    with Switch(tmp_path, (block,)) as switch:
        switch.start()
        with switch.link() as lively, switch.link() as dead:
            for _ in range(2):
                ask = lively.receive()
                assert (ask["t"], ask["70"]) == ("0800", "301")
                lively.send(_reply(ask))
            assert dead.receive()["70"] == "301"
            assert dead.is_closed()
            assert lively.is_alive()
        assert _upstream(switch, "answered") >= 2
        assert switch.stop() == 0


def test_behaviour_57_an_advice_is_delivered_once_answered(host: Switch, network: Network) -> None:
    """POST /v1/lines/net/messages keeps it, it goes out with a STAN, and 0630 ends it."""
    sent = _send(host, "0620", de37="000000000077")
    assert (sent.status, sent.json["state"]) == (201, "kept")
    assert eventually(lambda: _messages(host)[0]["state"] == "delivered")
    (got,) = network.of("0620")
    assert (got["37"], len(got["11"]), len(got["7"])) == ("000000000077", 6, 10)
    # The message is delivered before the table of metrics is filled again.
    assert eventually(lambda: host.metric("de39_outbox_messages") == 0)


def test_behaviour_57_repeats_until_answered_then_gives_up(host: Switch, network: Network) -> None:
    """No answer, then 91: 0621 with the same STAN; after the last try it is an operator's."""
    said: list[str] = []
    before = _upstream(host, "gave_up")

    def answers(ask: Fields) -> list[Fields]:
        if ask["t"][:2] != "06":
            return [_reply(ask)]
        said.append(ask["t"])
        return [] if len(said) == 1 else [_reply(ask, "91")] if len(said) < 4 else [_reply(ask)]

    network.answers = answers
    _send(host, "0620", de37="000000000078")
    assert eventually(lambda: _messages(host)[0]["state"] == "given_up", within_s=20.0)
    assert said == ["0620", "0621", "0621"]
    assert len({m["11"] + m["7"] for m in network.got if m["t"][:2] == "06"}) == 1
    assert eventually(lambda: "outbox.gave_up" in host.log())
    assert _upstream(host, "gave_up") == before + 1
    _send(host, "0820", de70="301")  # the next one is not held up by it
    assert eventually(lambda: _messages(host)[0]["state"] == "delivered")


def test_behaviour_57_the_outbox_outlives_a_kill(own: tuple[Switch, Network]) -> None:
    """Killed before the answer, the next start goes on with a repeat of the same message."""
    host, network = own
    network.answers = lambda ask: [_reply(ask)] if ask["t"][:2] == "08" else []
    _send(host, "0620", de37="000000000079")
    assert eventually(lambda: bool(network.of("0620")))
    host.kill()
    network.answers = lambda ask: [_reply(ask)]
    host.start()
    assert eventually(lambda: _messages(host)[0]["state"] == "delivered")
    first, repeat = network.of("0620")[0], network.of("0621")[-1]
    assert changed(first, t="0621") == repeat


def test_behaviour_57_a_refusal_is_final(host: Switch, network: Network) -> None:
    """A code that no repeat would change ends it as refused, with a line in the log."""
    network.answers = lambda ask: [_reply(ask, "00" if ask["t"][:2] == "08" else "12")]
    _send(host, "0620", de37="000000000080")
    assert eventually(lambda: _messages(host)[0]["state"] == "refused")
    assert _messages(host)[0]["response_code"] == "12"
    assert len(network.of("0620")) == 1


def test_behaviour_58_a_late_approval_is_reversed(host: Switch, network: Network) -> None:
    """A 0200 that was given up and is approved after that is taken back by a 0420."""
    asked: list[Fields] = []
    before = _upstream(host, "late"), _upstream(host, "reversed")

    def answers(ask: Fields) -> list[Fields]:
        if ask["t"] == "0200":
            asked.append(ask)
            return []
        return [_reply(ask)]

    network.answers = answers
    fields = {"de3": "000000", "de4": f"{500:012d}", "de37": "000000000081", "de49": "840"}
    assert _send(host, "0200", **fields).json["state"] == "no_answer"
    network.send(_reply(asked[0]))
    assert eventually(lambda: bool(network.of("0420")))
    (back,) = network.of("0420")
    assert back["90"][:20] == "0200" + asked[0]["11"] + asked[0]["7"]
    assert (back["4"], back["37"], "2" in back) == (f"{500:012d}", "000000000081", False)
    assert eventually(lambda: _messages(host)[0]["state"] == "delivered")
    after = _upstream(host, "late"), _upstream(host, "reversed")
    assert after == (before[0] + 1, before[1] + 1)


def test_behaviour_58_late_declines_and_strange_answers_are_counted(
    host: Switch, network: Network
) -> None:
    """A late decline moves nothing; an answer to nothing is counted, never answered."""
    late, unmatched = _upstream(host, "late"), _upstream(host, "unmatched")
    network.answers = lambda ask: [] if ask["t"] == "0200" else [_reply(ask)]
    fields = {"de3": "000000", "de4": f"{500:012d}", "de49": "840"}
    assert _send(host, "0200", **fields).json["state"] == "no_answer"
    network.send(_reply(network.of("0200")[0], "51"))
    assert eventually(lambda: _upstream(host, "late") == late + 1)
    network.send({"t": "0210", "7": "1124120000", "11": "424242", "39": "00"})
    assert eventually(lambda: _upstream(host, "unmatched") == unmatched + 1)
    assert network.of("0420") == []
    assert _state(host) == "up"


def test_a_request_is_answered_while_the_operator_waits(host: Switch, network: Network) -> None:
    """A 0600 is asked once; its code comes back, and nothing of it is kept."""
    before = _messages(host)
    said = _send(host, "0600", de37="000000000082").json
    assert (said["state"], said["response_code"]) == ("answered", "00")
    assert _messages(host) == before


@pytest.mark.parametrize(
    ("mti", "fields", "word"),
    [
        ("0630", {}, "mti"),
        ("0621", {}, "mti"),
        ("0620", {"de2": "4111111111111111"}, "DE2"),
        ("0620", {"de48": "pay 4111111111111111 now"}, "card number"),
        ("0620", {"de11": "000001"}, "DE11"),
        ("0620", {"de37": "1"}, "DE37"),
        ("0600", {"de52": "0102030405060708"}, "DE52"),
        ("0620", {"x": "1"}, "numbers"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    host: Switch, mti: str, fields: dict[str, str], word: str
) -> None:
    """400 with the field; nothing that was sent is repeated, nothing is kept."""
    before = _messages(host)
    refused = _send(host, mti, **fields)
    assert (refused.status, word in refused.json["error"]["message"]) == (400, True), refused
    assert "4111111111111111" not in refused.body
    assert _messages(host) == before
    assert host.call("POST", "/v1/lines/no/messages", {"mti": "0620"}).status == 404


def test_the_commands_of_a_line(host: Switch, network: Network) -> None:
    """``de39 line list | send | messages`` say what the API says; a dry run sends nothing."""
    data = ("--http", host.http, "--data", host.data)
    assert "net" in de39("line", "list", *data)[1]
    words = ("line", "send", "net", "--mti", "0620", "--field", "37=000000000090", *data)
    before = _messages(host)
    assert "would send" in de39(*words, "--dry-run")[1]
    assert _messages(host) == before
    assert de39(*words)[0] == 0
    assert eventually(lambda: _messages(host)[0]["state"] == "delivered")
    assert "37=000000000090" in de39("line", "messages", *data)[1]
    assert de39("line", "send", "no", "--mti", "0620", *data)[0] == 1
    assert de39("config", "reload", *data)[0] == 0
