"""Links that behave badly, many at once: the switch answers what it can and forgets the rest."""

import contextlib
import random
import resource
import selectors
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.system.link import Link, network, payment
from tests.system.process import PLAIN, Switch, eventually

_MANY = 1_000


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """Serve one listener with room for many."""
    block = 'dialect = "iso87-bin"\nmax_connections = 2000\nframe_timeout_s = 60'
    with Switch(tmp_path_factory.mktemp("links"), (block,), PLAIN) as switch:
        yield switch.start()
        assert switch.stop() == 0
        assert "Traceback" not in switch.log()


@contextlib.contextmanager
def _files(count: int) -> Iterator[None]:
    """Allow this process so many open files for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"needs {count} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _reset(link: Link) -> None:
    """Close a link as a crash does."""
    link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


@pytest.mark.behaviour(9)
def test_a_thousand_links_at_once_are_all_served(host: Switch) -> None:
    """Each asks twice, all at the same time; each gets its own answers, then all are forgotten."""
    card = host.open_card(limit_minor=10**9)
    with _files(2 * _MANY), contextlib.ExitStack() as stack:
        links = [stack.enter_context(host.link()) for _ in range(_MANY)]
        asks = [(payment(card.pan, 1), network()) for _ in links]
        for link, pair in zip(links, asks, strict=True):
            link.send(*pair)
        for link, pair in zip(links, asks, strict=True):
            answers = [link.receive() for _ in pair]
            assert [a["11"] for a in answers] == [ask["11"] for ask in pair]
            assert {a["39"] for a in answers} == {"00"}
        assert eventually(lambda: host.metric("de39_sessions_connected") == _MANY)
        stack.close()
    assert host.held(card) == _MANY
    assert eventually(lambda: host.metric("de39_sessions_connected") == 0)


@pytest.mark.behaviour(1, 5)
def test_a_storm_of_resets_inside_frames_harms_nobody(host: Switch) -> None:
    """300 links send a part of a message and are reset; another is served all the while."""
    rng = random.Random(7)
    card = host.open_card(limit_minor=10**9)
    before = host.metric("de39_ledger_records_total")
    with host.link() as steady:
        for number in range(300):
            link = host.link()
            frame = link.frame(payment(card.pan, 1))
            link.socket.sendall(frame[: rng.randint(1, len(frame) - 1)])
            _reset(link)
            if number % 10 == 0:
                assert steady.ask(payment(card.pan, 1))["39"] == "00"
    assert eventually(lambda: host.metric("de39_sessions_connected") == 0)
    assert (host.held(card), host.metric("de39_ledger_records_total") - before) == (30, 30)


@pytest.mark.behaviour(1)
def test_fifty_clients_that_send_byte_by_byte(host: Switch) -> None:
    """Their bytes arrive interleaved, one at a time; every message is read and answered."""
    card = host.open_card(limit_minor=10**9)
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(host.link()) for _ in range(50)]
        asks = [payment(card.pan, 1) for _ in links]
        frames = [link.frame(ask) for link, ask in zip(links, asks, strict=True)]
        for place in range(max(map(len, frames))):
            for link, frame in zip(links, frames, strict=True):
                link.socket.sendall(frame[place : place + 1])
        for link, ask in zip(links, asks, strict=True):
            answer = link.receive()
            assert (answer["11"], answer["39"]) == (ask["11"], "00")
    assert host.held(card) == 50


@pytest.mark.behaviour(4)
def test_half_open_links_cost_nobody_anything(host: Switch) -> None:
    """200 links with half a message each say nothing more; others are answered at once."""
    card = host.open_card(limit_minor=10**9)
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            link = stack.enter_context(host.link())
            link.socket.sendall(link.frame(payment(card.pan))[:40])
        with host.link() as other:
            for _ in range(50):
                assert other.ask(payment(card.pan, 1))["39"] == "00"
    assert host.held(card) == 50


@pytest.mark.behaviour(5, 9)
def test_a_storm_of_connects_and_closes(host: Switch) -> None:
    """2,000 connections come and go as fast as they can; the next client finds an empty house."""
    for _ in range(20):
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                connection = socket.create_connection(("127.0.0.1", host.ports[0][1]), 15.0)
                stack.enter_context(connection)
    assert eventually(lambda: host.metric("de39_sessions_connected") == 0)
    with host.link() as link:
        assert link.is_alive()


@pytest.mark.behaviour(7, 33)
def test_links_that_die_before_their_answers_lose_no_money(host: Switch) -> None:
    """Of 200 payments whose links are reset at once, every repeat finds one decision."""
    card = host.open_card(limit_minor=10**9)
    asks = [payment(card.pan, 1) for _ in range(200)]
    for ask in asks:
        link = host.link()
        link.send(ask)
        _reset(link)
    with host.link() as link:
        for _ in range(2):
            link.send(*({**ask, "t": "0101"} for ask in asks))
            assert {link.receive()["39"] for _ in asks} == {"00"}
    assert host.held(card) == 200


@pytest.mark.behaviour(8)
def test_many_slow_readers_do_not_slow_others(host: Switch) -> None:
    """Fifty links that are flooded and never read stay bounded; a lively one is served."""
    memory = host.resident_bytes()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as ready:
        flood = b""
        for _ in range(50):
            link = stack.enter_context(host.link())
            flood = flood or b"".join(link.frame(network()) for _ in range(200))
            link.socket.setblocking(False)
            ready.register(link.socket, selectors.EVENT_WRITE)
        with host.link() as other:
            for _ in range(100):
                for key, _ in ready.select(0):
                    with contextlib.suppress(BlockingIOError, ConnectionError):
                        key.fileobj.send(flood)  # type: ignore[union-attr]
                assert other.is_alive()
        assert host.resident_bytes() - memory < 400 << 20
