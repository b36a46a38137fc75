"""Peers that misbehave: noise, slowness, floods and links that come and go."""

import random
import threading

import pytest

from tests.system.link import SPEC_OF, Link, changed, network, payment
from tests.system.process import BIN, HEX, TIGHT, Switch, eventually

_SEED = 8583


def test_noise_never_stops_the_switch(switch: Switch) -> None:
    """Random bytes on many links cost those links at most; others are answered throughout."""
    random_ = random.Random(_SEED)
    card = switch.open_card(limit_minor=10_000_000)
    with switch.link() as other:
        for round_ in range(150):
            with switch.link(round_ % 2) as link:
                noise = random_.randbytes(random_.randint(1, 3_000))
                if round_ % 3:  # well framed, so that the decoder sees it
                    noise = min(len(noise), 8_000).to_bytes(2, "big") + noise
                link.socket.sendall(noise)
            if round_ % 10 == 0:
                assert other.ask(payment(card.pan, 1))["39"] == "00"
    assert switch.held(card) == 15
    assert "Traceback" not in switch.log()


@pytest.mark.parametrize("listener", [BIN, HEX])
def test_mutated_messages_are_answered_or_counted(switch: Switch, listener: int) -> None:
    """A valid payment with a few bytes changed never kills the link or the frames after it."""
    random_ = random.Random(_SEED + listener)
    card = switch.open_card(limit_minor=10_000_000)
    with switch.link(listener) as link:
        for _ in range(300):
            message = bytearray(link.frame(payment(card.pan, 1, de55="9F2701809F3602"))[2:])
            for _ in range(random_.randint(1, 4)):
                # The MTI stays, so that unreadable ones do not add up to a close.
                message[random_.randrange(4, len(message))] = random_.randrange(256)
            link.socket.sendall(len(message).to_bytes(2, "big") + bytes(message))
            ask = network()
            link.send(ask)
            while (answer := link.receive())["t"] != "0810":
                assert answer["t"] == "0110"
            assert answer["11"] == ask["11"]
    assert "Traceback" not in switch.log()


def test_every_cut_of_a_message_is_answered_or_counted(switch: Switch) -> None:
    """A message that ends after any of its bytes is a format error, not a wait or a crash."""
    card = switch.open_card()
    with switch.link() as link:
        message = link.frame(payment(card.pan))[2:]
        for size in range(12, len(message)):
            link.socket.sendall(size.to_bytes(2, "big") + message[:size])
            ask = network()
            link.send(ask)
            while (answer := link.receive())["t"] != "0810":
                assert answer["39"] == "30"
    assert switch.held(card) == 0


def test_more_links_than_allowed_are_refused_at_once(switch: Switch) -> None:
    """Past max_connections a link is closed and counted; those that are in go on."""
    before = switch.metric('de39_shed_total{reason="connections"}')
    links = [switch.link(TIGHT) for _ in range(3)]
    try:
        assert all(link.is_alive() for link in links)
        with switch.link(TIGHT) as refused:
            assert refused.is_closed()
        assert all(link.is_alive() for link in links)
    finally:
        for link in links:
            link.close()
    assert switch.metric('de39_shed_total{reason="connections"}') == before + 1
    assert eventually(lambda: switch.metric("de39_sessions_connected") == 0)


def test_many_links_at_once_are_all_served(switch: Switch) -> None:
    """Two hundred links, each with a few requests, get all their answers."""
    card = switch.open_card(limit_minor=10_000_000)
    links = [switch.link(number % 2) for number in range(200)]
    try:
        asks = [(link, payment(card.pan, 1)) for _ in range(3) for link in links]
        for link, ask in asks:
            link.send(ask)
        for link, ask in asks:
            answer = link.receive()
            assert (answer["11"], answer["39"]) == (ask["11"], "00")
    finally:
        for link in links:
            link.close()
    assert switch.held(card) == 600


def test_links_that_come_and_go_leak_nothing(switch: Switch) -> None:
    """After hundreds of links, some cut off with requests under way, none is left."""
    card = switch.open_card(limit_minor=10_000_000)
    asks = []

    def come_and_go(first: int) -> None:
        for number in range(60):
            name, port = switch.ports[(first + number) % 2]
            with Link(port, SPEC_OF[name]) as link:
                ask = payment(card.pan, 1)
                asks.append(ask)
                if number % 3 == 0:
                    link.send(ask)  # and gone
                elif number % 3 == 1:
                    assert link.ask(ask)["39"] == "00"
                else:
                    link.socket.sendall(link.frame(ask)[:-1])

    threads = [threading.Thread(target=come_and_go, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert eventually(lambda: switch.metric("de39_sessions_connected") == 0)
    with switch.link() as link:
        assert {link.ask(changed(ask, t="0101"))["39"] for ask in asks} == {"00"}
    assert switch.held(card) == len(asks) == 240
