"""SHELL: sockets, back-pressure and timers of the card links; no payment logic.

Each listener accepts TCP connections for one dialect. A link that does not take its answers is not
read any more, and closed when it still does not; others are never held up by it.
"""

import asyncio
import ipaddress
import socket
import time
from typing import cast

from engine.config import split_address
from engine.errors import UnavailableError
from engine.limits import (
    WRITE_BUFFER_CLOSE_BYTES,
    WRITE_BUFFER_HIGH_BYTES,
    WRITE_BUFFER_LOW_BYTES,
)
from engine.link_config import Listen
from engine.metrics import Counter, FrameError, Gauge, Metrics, Queue, Shed
from engine.observe import Log
from engine.pipeline import Pipeline
from engine.session import Link, Profile

_BACKLOG = 1024


class Server:
    """All listeners of the switch; one event loop, its thread only."""

    def __init__(
        self, pipeline: Pipeline, metrics: Metrics, log: Log, slow_reader_timeout_s: int = 10
    ) -> None:
        self.pipeline = pipeline
        self.slow_reader_ns = slow_reader_timeout_s * 1_000_000_000
        self.metrics = metrics
        self.log = log
        self.links: set[LinkProtocol] = set()
        self.is_draining = False
        self._servers: list[asyncio.Server] = []
        self._number = 0

    async def listen(self, listen: Listen, dialect: int, security: int = 0) -> tuple[str, int]:
        """Open one listener; return the address it got. Raises ``UnavailableError``.

        ``security`` is the number of its links' security profile; 0 = none.
        """
        host, port = split_address(listen.address)
        profile = Profile(
            sign_on_required=listen.require_sign_on,
            idle_timeout_s=listen.idle_timeout_s,
            frame_timeout_s=listen.frame_timeout_s,
            zero_length_max=listen.zero_length_max,
            echo_zero_length=listen.echo_zero_length,
            deadline_ms=listen.deadline_ms,
            overload_ms=listen.overload_wait_ms,
            late_is_silent=listen.late == "silence",
            security=security,
        )
        gate = Gate(listen)
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: LinkProtocol(self, gate, profile, dialect),
                host,
                port,
                backlog=_BACKLOG,
                reuse_address=True,
            )
        except OSError as error:
            raise UnavailableError(f"cannot listen on {listen.address}: {_why(error)}") from None
        self._servers.append(server)
        name = server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    def next_number(self) -> int:
        """Return a number for a new link."""
        self._number += 1
        return self._number

    def count_links(self) -> None:
        """Refresh the gauges of links and of what waits to be sent."""
        self.metrics.queues[Queue.SEND_BYTES] = sum(p.send_bytes for p in self.links)
        self.metrics.gauges[Gauge.CONNECTED] = len(self.links)
        signed_on = sum(protocol.link.signed_on for protocol in self.links)
        self.metrics.gauges[Gauge.SIGNED_ON] = signed_on

    def check_timers(self, now_ns: int) -> None:
        """Close links that are silent inside a frame, idle for too long, or do not read."""
        for protocol in list(self.links):
            protocol.check(now_ns)

    async def stop_accepting(self) -> None:
        """Close the listeners and read nothing more; links stay open for their answers."""
        self.is_draining = True
        for server in self._servers:
            server.close()
        for protocol in list(self.links):
            protocol.pause()

    def close_links(self) -> None:
        """Close every link after what was sent."""
        for protocol in list(self.links):
            protocol.close("drain")


class Gate:
    """Who may connect to a listener, and how many."""

    def __init__(self, listen: Listen) -> None:
        self.connections_max = listen.max_connections
        self.count = 0
        self._networks = [ipaddress.ip_network(text, strict=False) for text in listen.allow]

    def refusal(self, peer: str) -> Shed | None:
        """Return why ``peer`` may not connect, or None."""
        if self.count >= self.connections_max:
            return Shed.CONNECTIONS
        if self._networks:
            address = ipaddress.ip_address(peer)
            if not any(address in network for network in self._networks):
                return Shed.ADDRESS
        return None


class LinkProtocol(asyncio.Protocol):
    """One connection: hands bytes to the pipeline and answers to the socket."""

    def __init__(self, server: Server, gate: Gate, profile: Profile, dialect: int) -> None:
        self._server = server
        self._gate = gate
        self._transport: asyncio.Transport | None = None
        self._is_admitted = False
        self._blocked_ns = 0  # since when the peer does not take answers; 0 = it does
        self.link = Link(server.next_number(), self, dialect, profile)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit or refuse the peer."""
        self._transport = cast("asyncio.Transport", transport)
        server, gate = self._server, self._gate
        peer = str((transport.get_extra_info("peername") or ("?",))[0])
        refusal = Shed.DRAINING if server.is_draining else gate.refusal(peer)
        if refusal is not None:
            server.metrics.shed[refusal] += 1
            server.log.warning("link.refused", peer=peer, reason=refusal.name.lower())
            self._transport.abort()
            return
        self._is_admitted = True
        gate.count += 1
        server.links.add(self)
        server.metrics.counters[Counter.CONNECTIONS] += 1
        self.link.last_ns = time.time_ns()
        self._transport.set_write_buffer_limits(WRITE_BUFFER_HIGH_BYTES, WRITE_BUFFER_LOW_BYTES)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.log.info("link.opened", link=self.link.number, peer=peer)

    def data_received(self, data: bytes) -> None:
        """Hand the bytes on."""
        if not self.link.is_closing:
            self._server.pipeline.feed(self.link, data)

    def eof_received(self) -> bool:
        """The peer sends no more: answers to what it sent still leave, then the link is closed."""
        self._server.pipeline.end(self.link)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the link. A close between two frames is ordinary."""
        self._transport = None
        if not self._is_admitted:
            return
        self._gate.count -= 1
        self._server.links.discard(self)
        if self.link.has_part:
            self._server.metrics.frame_errors[FrameError.CUT_SHORT] += 1
        reason = "lost" if exc is not None else "closed"
        self._server.log.info("link.closed", link=self.link.number, reason=reason)

    def pause_writing(self) -> None:
        """The peer does not take its answers: read nothing more from it."""
        self._blocked_ns = time.time_ns()
        self.pause()

    def resume_writing(self) -> None:
        """The peer takes answers again."""
        self._blocked_ns = 0
        if not self.link.is_full:
            self.resume()

    def send(self, data: bytes) -> bool:
        """Write an answer; False when the peer has gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

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
            self._server.log.info("link.closing", link=self.link.number, reason=reason)
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
        if not self._server.is_draining and not transport.is_reading():
            transport.resume_reading()

    def check(self, now_ns: int) -> None:
        """Apply the timers."""
        link, profile = self.link, self.link.profile
        silent_ns = now_ns - link.last_ns
        if self._is_stuck(now_ns):
            self._server.metrics.shed[Shed.SLOW_READER] += 1
            self._abort("slow reader")
        elif link.has_part and silent_ns > profile.frame_timeout_ns:
            self._server.metrics.frame_errors[FrameError.TIMEOUT] += 1
            self.close("frame timeout")
        elif profile.idle_timeout_ns and silent_ns > profile.idle_timeout_ns:
            self._server.metrics.shed[Shed.IDLE] += 1
            self.close("idle")

    def _is_stuck(self, now_ns: int) -> bool:
        if not self._blocked_ns or self._transport is None:
            return False
        if self._transport.get_write_buffer_size() > WRITE_BUFFER_CLOSE_BYTES:
            return True
        return now_ns - self._blocked_ns > self._server.slow_reader_ns

    def _abort(self, reason: str) -> None:
        if self._transport is not None:
            self.link.is_closing = True
            self._server.log.warning("link.aborted", link=self.link.number, reason=reason)
            self._transport.abort()


def _why(error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    return text.split("]")[-1].strip(" :") or "refused by the system"
