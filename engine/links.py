"""SHELL: one card link: hands bytes to the pipeline, answers to the socket, and keeps its timers.

Links of listeners and links that the host has opened itself are the same; who may have one, and on
which terms, is said by the door that it came through.
"""

import asyncio
import socket
import time
from typing import Protocol, cast

from engine.gate import Terms
from engine.limits import (
    WRITE_BUFFER_CLOSE_BYTES,
    WRITE_BUFFER_HIGH_BYTES,
    WRITE_BUFFER_LOW_BYTES,
)
from engine.messages import Mac, MessageCodec
from engine.metrics import Counter, FrameError, Metrics, Shed
from engine.observe import Log
from engine.originate import Answered, Exchanges, Numbers, Purpose
from engine.pipeline import Pipeline
from engine.security.errors import SecurityError
from engine.session import Link
from engine.tls import PeerFacts, facts_of

_SIGN_OFF, _ECHO = "002", "301"  # DE70
_RESPONSE = 39


class Door(Protocol):
    """What a link came through: a listener's gate, or a line of the host."""

    def admit(self, facts: PeerFacts) -> Terms | Shed:
        """Return the terms of a peer, or why it may not connect."""
        ...

    def enter(self, terms: Terms) -> None:
        """Count a connection."""
        ...

    def leave(self, terms: Terms) -> None:
        """Count it no more."""
        ...


class Hall(Protocol):
    """What all links share."""

    pipeline: Pipeline
    metrics: Metrics
    log: Log
    numbers: Numbers
    slow_reader_ns: int
    is_draining: bool
    links: "set[LinkProtocol]"

    def next_number(self) -> int:
        """Return a number for a new link."""
        ...

    def codec(self, dialect: int) -> MessageCodec:
        """Return the codec of a row of the dialect table."""
        ...

    def mac(self, security: int) -> Mac | None:
        """Return what makes the MACs of own messages on links of a security profile, if any."""
        ...


class LinkProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, hall: Hall, door: Door, exchanges: Exchanges | None = None) -> None:
        self.facts = PeerFacts("?")
        self.closed = asyncio.Event()
        self.is_signed_on_upstream = False  # the host has signed on to the peer
        self._hall = hall
        self._door = door
        self._terms: Terms | None = None  # None = not admitted
        self._transport: asyncio.Transport | None = None
        self._exchanges = exchanges
        self._echo_until_ns = 0  # 0 = no echo test is under way
        self._blocked_ns = 0  # since when the peer does not take answers; 0 = it does
        self.link: Link

    @property
    def door(self) -> Door:
        """What the link came through."""
        return self._door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit or refuse the peer."""
        self._transport = cast("asyncio.Transport", transport)
        hall = self._hall
        address = str((transport.get_extra_info("peername") or ("?",))[0])
        self.facts = facts_of(address, transport.get_extra_info("ssl_object"))
        terms = Shed.DRAINING if hall.is_draining else self._door.admit(self.facts)
        if isinstance(terms, Shed):
            hall.metrics.shed[terms] += 1
            hall.log.warning("link.refused", peer=address, reason=terms.name.lower())
            self._transport.abort()
            return
        self._terms = terms
        self._door.enter(terms)
        self.link = Link(hall.next_number(), self, terms.dialect, terms.profile)
        hall.links.add(self)
        hall.metrics.counters[Counter.CONNECTIONS] += 1
        self.link.last_ns = time.time_ns()
        self._transport.set_write_buffer_limits(WRITE_BUFFER_HIGH_BYTES, WRITE_BUFFER_LOW_BYTES)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hall.log.info("link.opened", link=self.link.number, peer=terms.name or address)

    def change(self, door: Door, terms: Terms) -> None:
        """Go on under other terms, after a reload."""
        self._door, self._terms = door, terms
        door.enter(terms)
        self.link.dialect, self.link.profile = terms.dialect, terms.profile
        if self._exchanges is not None and not len(self._exchanges):
            self._exchanges.codec = self._hall.codec(terms.dialect)
            self._exchanges.mac = self._hall.mac(terms.profile.security)

    def data_received(self, data: bytes) -> None:
        """Hand the bytes on."""
        if self._terms is not None and not self.link.is_closing:
            self._echo_until_ns = 0  # whatever it says, it lives
            self._hall.pipeline.feed(self.link, data)

    def eof_received(self) -> bool:
        """The peer sends no more: answers to what it sent still leave, then the link is closed."""
        if self._terms is None:
            return False
        self._hall.pipeline.end(self.link)
        # Over TLS a connection cannot stay half open.
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the link. A close between two frames is ordinary."""
        self._transport = None
        self.closed.set()
        if self._terms is None:
            return
        self._door.leave(self._terms)
        self._hall.links.discard(self)
        if self.link.has_part:
            self._hall.metrics.frame_errors[FrameError.CUT_SHORT] += 1
        reason = "lost" if exc is not None else "closed"
        self._hall.log.info("link.closed", link=self.link.number, reason=reason)

    def pause_writing(self) -> None:
        """The peer does not take its answers: read nothing more from it."""
        self._blocked_ns = time.time_ns()
        self.pause()

    def resume_writing(self) -> None:
        """The peer takes answers again."""
        self._blocked_ns = 0
        if self._terms is not None and not self.link.is_paused:
            self.resume()

    def send(self, data: bytes) -> bool:
        """Write an answer; False when the peer has gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    def answered(self, mti: int, stan: int, message: bytes) -> bool:
        """Take an answer to what the host asked; False when it asked nothing like it."""
        if self._exchanges is None:
            return False
        fields = self._exchanges.codec.read_message(message).fields
        return self._exchanges.take(Answered(mti, stan, fields.get(_RESPONSE, "")))

    @property
    def send_bytes(self) -> int:
        """Answer bytes that the peer has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self, reason: str) -> None:
        """Close once what was written has left."""
        if self._transport is not None and not self._transport.is_closing():
            self.link.is_closing = True
            # What was written has as long to leave as a slow reader gets.
            self._blocked_ns = self._blocked_ns or time.time_ns()
            self._hall.log.info("link.closing", link=self.link.number, reason=reason)
            self._transport.close()

    def pause(self) -> None:
        """Stop reading."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on, unless the peer is blocked or the switch drains."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._blocked_ns:
            return
        if not self._hall.is_draining and not transport.is_reading():
            transport.resume_reading()

    def sign_off(self) -> None:
        """Say that the host leaves, where it has signed on or the listener says so."""
        if self.is_signed_on_upstream or self.link.profile.sign_off:
            self._say(_SIGN_OFF, Purpose.SIGN_OFF, time.time_ns())

    def check(self, now_ns: int) -> None:
        """Apply the timers."""
        link, profile = self.link, self.link.profile
        silent_ns = now_ns - link.last_ns
        if self._exchanges is not None:
            self._exchanges.give_up(now_ns)
        if self._is_stuck(now_ns):
            self._hall.metrics.shed[Shed.SLOW_READER] += 1
            self._abort("slow reader")
        elif link.has_part and silent_ns > profile.frame_timeout_ns:
            self._hall.metrics.frame_errors[FrameError.TIMEOUT] += 1
            self.close("frame timeout")
        elif profile.idle_timeout_ns and silent_ns > profile.idle_timeout_ns:
            self._hall.metrics.shed[Shed.IDLE] += 1
            self.close("idle")
        elif 0 < self._echo_until_ns <= now_ns:
            self._hall.metrics.shed[Shed.IDLE] += 1
            self.close("no answer to the echo test")
        elif profile.idle_echo_ns and silent_ns > profile.idle_echo_ns and not self._echo_until_ns:
            self._echo_until_ns = self._say(_ECHO, Purpose.ECHO, now_ns)

    def _say(self, code: str, purpose: Purpose, now_ns: int) -> int:
        """Send a network message; return until when its answer is awaited."""
        exchanges = self._exchanges
        if exchanges is None:
            codec, counts = self._hall.codec(self.link.dialect), self._hall.metrics.upstream
            mac = self._hall.mac(self.link.profile.security)
            exchanges = Exchanges(codec, self._hall.numbers, counts, mac=mac)
            self._exchanges = exchanges
        until_ns = now_ns + self.link.profile.answer_timeout_ns
        try:
            self.send(exchanges.open(exchanges.network(code, purpose, now_ns, until_ns)))
        except SecurityError as problem:  # nothing is sent, so nothing will be answered
            self._hall.log.error("link.no_mac", link=self.link.number, reason=str(problem))  # noqa: TRY400
        return until_ns

    def _is_stuck(self, now_ns: int) -> bool:
        if not self._blocked_ns or self._transport is None:
            return False
        if self._transport.get_write_buffer_size() > WRITE_BUFFER_CLOSE_BYTES:
            return True
        return now_ns - self._blocked_ns > self._hall.slow_reader_ns

    def _abort(self, reason: str) -> None:
        if self._transport is not None:
            self.link.is_closing = True
            self._hall.log.warning("link.aborted", link=self.link.number, reason=reason)
            self._transport.abort()
