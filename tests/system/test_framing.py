"""Frames and links: behaviours 1 to 8 of an authorization host, over real sockets."""

import contextlib
import socket
import struct

import pytest

from tests.system.link import SPEC_OF, Link, changed, network, payment
from tests.system.process import BIN, HEX, TIGHT, Switch, eventually


def _frame_errors(switch: Switch, reason: str) -> float:
    return switch.metric(f'de39_frame_errors_total{{reason="{reason}"}}')


@pytest.mark.parametrize("listener", [BIN, HEX])
def test_behaviour_01_a_frame_may_be_cut_at_every_byte(switch: Switch, listener: int) -> None:
    """A payment sent in two pieces, cut at each offset, gets the answer of the whole."""
    card = switch.open_card(limit_minor=10_000_000)
    with switch.link(listener) as link, switch.link(listener) as other:
        for cut in range(1, len(link.frame(payment(card.pan)))):
            ask = payment(card.pan)
            frame = link.frame(ask)
            link.socket.sendall(frame[:cut])
            assert other.is_alive()  # the switch has read the first piece by now
            link.socket.sendall(frame[cut:])
            answer = link.receive()
            assert (answer["11"], answer["39"]) == (ask["11"], "00"), f"cut at {cut}"


def test_behaviour_01_a_frame_may_come_byte_by_byte(switch: Switch) -> None:
    """A payment that trickles in is answered once, when its last byte is there."""
    card = switch.open_card()
    with switch.link() as link:
        ask = payment(card.pan)
        for byte in link.frame(ask):
            link.socket.sendall(bytes([byte]))
        assert link.receive()["39"] == "00"
        assert link.is_alive()


@pytest.mark.parametrize("listener", [BIN, HEX])
def test_behaviour_01_many_frames_in_one_segment_get_as_many_answers(
    switch: Switch, listener: int
) -> None:
    """300 messages sent in one piece are answered one by one, none left out."""
    asks = [network() for _ in range(300)]
    with switch.link(listener) as link:
        link.send(*asks)
        answers = [link.receive() for _ in asks]
    assert [answer["11"] for answer in answers] == [ask["11"] for ask in asks]


@pytest.mark.parametrize(
    ("listener", "size", "reason"),
    [
        (BIN, 8193, "too_long"),
        (HEX, 0xFFFF, "too_long"),
        (BIN, 11, "too_short"),
        (TIGHT, 301, "too_long"),
    ],
)
def test_behaviour_02_a_bad_length_closes_only_that_link(
    switch: Switch, listener: int, size: int, reason: str
) -> None:
    """A length over the listener's bound, or under any message's, closes the link and counts."""
    before = _frame_errors(switch, reason)
    with switch.link(listener) as link, switch.link(listener) as other:
        ask = network()
        link.socket.sendall(link.frame(ask) + size.to_bytes(2, "big") + b"x" * 20)
        assert link.receive()["11"] == ask["11"]  # what came before is answered
        assert link.is_closed()
        assert other.is_alive()
    assert _frame_errors(switch, reason) == before + 1


def test_behaviour_02_the_longest_frame_is_taken(switch: Switch) -> None:
    """A frame of exactly the listener's bound is a message like any other."""
    card = switch.open_card()
    with switch.link(TIGHT) as link:
        ask = payment(card.pan, de48="")
        filler = 302 - len(link.frame(ask))
        ask = changed(ask, de48="x" * filler)
        assert len(link.frame(ask)) == 302
        assert link.ask(ask)["39"] == "00"


def test_behaviour_03_an_empty_frame_is_a_keep_alive(switch: Switch) -> None:
    """Length 0 is counted and otherwise ignored, also between messages."""
    before = switch.metric("de39_keepalives_total")
    with switch.link() as link:
        link.socket.sendall(b"\0\0" * 7)
        assert link.is_alive()
    assert switch.metric("de39_keepalives_total") == before + 7


def test_behaviour_03_keep_alives_are_echoed_where_configured(switch: Switch) -> None:
    """A listener with echo_zero_length answers each empty frame with one."""
    with switch.link(TIGHT) as link:
        link.socket.sendall(b"\0\0" * 2)
        assert [link.receive_bytes(), link.receive_bytes()] == [b"", b""]
        assert link.is_alive()


def test_behaviour_03_too_many_keep_alives_in_a_row_close(switch: Switch) -> None:
    """Empty frames up to the bound are fine, again and again; one more without a message closes."""
    with switch.link(TIGHT) as link:
        for _ in range(3):
            for _ in range(5):
                link.socket.sendall(b"\0\0")
                assert link.receive_bytes() == b""
            assert link.is_alive()
        link.socket.sendall(b"\0\0" * 6)
        rest = b""
        while part := link.socket.recv(64):
            rest += part
        assert rest.strip(b"\0") == b""


def test_behaviour_04_silence_inside_a_frame_closes(switch: Switch) -> None:
    """Half a frame, then nothing, ends the link after frame_timeout_s; between frames it waits."""
    before = _frame_errors(switch, "timeout")
    with switch.link(TIGHT) as half, switch.link(TIGHT) as quiet:
        half.socket.sendall(half.frame(network())[:20])
        assert half.is_closed()
        assert quiet.is_alive()
    assert _frame_errors(switch, "timeout") == before + 1


def test_behaviour_05_connect_send_receive_close_is_ordinary(switch: Switch) -> None:
    """Clients that come for one message and leave cause no error and do not pile up."""
    errors = [_frame_errors(switch, reason) for reason in ("cut_short", "timeout")]
    for _ in range(20):
        with switch.link(TIGHT) as link:  # has room for three
            assert link.is_alive()
        assert eventually(lambda: switch.metric("de39_sessions_connected") == 0)
    assert [_frame_errors(switch, reason) for reason in ("cut_short", "timeout")] == errors


def test_behaviour_05_a_half_closed_link_still_gets_its_answers(switch: Switch) -> None:
    """A client that shuts its sending side at once gets every answer, then the link ends."""
    card = switch.open_card()
    asks = [payment(card.pan, 1) for _ in range(200)]
    with switch.link() as link:
        link.send(*asks)
        link.socket.shutdown(socket.SHUT_WR)
        answers = [link.receive() for _ in asks]
        assert [answer["11"] for answer in answers] == [ask["11"] for ask in asks]
        assert link.is_closed()


def test_behaviour_05_a_link_cut_inside_a_frame_is_counted(switch: Switch) -> None:
    """A client that leaves half a frame behind is noted, and nothing else happens."""
    before = _frame_errors(switch, "cut_short")
    with switch.link() as link:
        link.socket.sendall(link.frame(network())[:9])
    assert eventually(lambda: _frame_errors(switch, "cut_short") == before + 1)


def test_behaviour_06_requests_on_one_link_are_pipelined(switch: Switch) -> None:
    """500 requests sent before the first answer is read are all answered, each once."""
    cards = [switch.open_card(limit_minor=10_000_000) for _ in range(3)]
    asks = [payment(cards[i % 3].pan, i + 1) for i in range(500)]
    with switch.link() as link:
        link.send(*asks)
        answers = {answer["11"]: answer for answer in (link.receive() for _ in asks)}
        assert link.is_alive()
    assert answers.keys() == {ask["11"] for ask in asks}
    for ask in asks:
        assert (answers[ask["11"]]["4"], answers[ask["11"]]["39"]) == (ask["4"], "00")
    assert sum(switch.held(card) for card in cards) == 500 * 501 // 2


def test_behaviour_07_a_posting_outlives_its_link(switch: Switch) -> None:
    """When the link dies after the request, the money is held, and a repeat gets the answer."""
    card = switch.open_card()
    ask = payment(card.pan, 700)
    with switch.link() as link:
        link.send(ask)
        # A reset instead of an orderly end: the answer finds nobody.
        link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # The reset may overtake the request: then nothing is posted, and the repeat is the first.
    eventually(lambda: switch.held(card) == 700, within_s=2.0)
    with switch.link() as link:
        first, again = link.ask(changed(ask, t="0101")), link.ask(ask)
    assert (first["39"], first) == ("00", again)
    assert switch.held(card) == 700


def test_behaviour_07_answers_go_to_the_link_of_their_request(switch: Switch) -> None:
    """Of two links with requests under way, each gets its own answers only."""
    with switch.link() as one, switch.link(HEX) as two:
        asks = [(link, network()) for _ in range(100) for link in (one, two)]
        for link, ask in asks:
            link.send(ask)
        for link, ask in asks:
            assert link.receive()["11"] == ask["11"]


def test_behaviour_08_a_peer_that_does_not_read_is_paused_then_closed(switch: Switch) -> None:
    """Its answers stay bounded, others are served meanwhile, and in the end it is closed."""
    name, port = switch.ports[BIN]
    before = switch.metric('de39_shed_total{reason="slow_reader"}')
    memory = switch.resident_bytes()
    with Link(port, SPEC_OF[name], receive_bytes=4096) as stuck, switch.link() as other:
        flood = b"".join(stuck.frame(network()) for _ in range(2_000))
        stuck.socket.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            for _ in range(2_000):
                stuck.socket.send(flood)
                assert other.is_alive()
            pytest.fail("the switch reads on, whatever waits for the peer")
        assert other.is_alive()
        assert switch.resident_bytes() - memory < 64 << 20
        slow = 'de39_shed_total{reason="slow_reader"}'
        assert eventually(lambda: switch.metric(slow) == before + 1, within_s=20.0)
        assert other.is_alive()
