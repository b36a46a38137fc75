"""SHELL: the listeners of the switch; who they let in is the gate's, what a link does the link's.

A listener keeps its socket apart from the server that accepts on it, so that a reload can put
another gate, another dialect or another certificate behind the same port: links that stand stay.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence

from engine.errors import UnavailableError
from engine.gate import Gate, Places
from engine.link_config import Listen, Peer
from engine.links import LinkProtocol
from engine.messages import Mac, MessageCodec
from engine.metrics import Gauge, Metrics, Queue, Shed
from engine.observe import Log
from engine.originate import Numbers
from engine.pipeline import Pipeline
from engine.ports import bound, why
from engine.tls import server_context
from engine.wire.dialect import Dialect

_BACKLOG = 1024
_HANDSHAKE_S = 10.0


class Listener:
    """One port: its socket, the gate behind it, and the server that accepts on it now."""

    def __init__(self, listen: Listen, port: socket.socket, gate: Gate) -> None:
        self.listen = listen
        self.port = port
        self.gate = gate
        self.server: asyncio.Server | None = None


class Server:
    """All listeners of the switch, and all links; one event loop, its thread only."""

    def __init__(
        self,
        pipeline: Pipeline,
        metrics: Metrics,
        log: Log,
        slow_reader_timeout_s: int = 10,
        numbers: Numbers | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.slow_reader_ns = slow_reader_timeout_s * 1_000_000_000
        self.metrics = metrics
        self.log = log
        self.numbers = numbers or Numbers(0)
        self.links: set[LinkProtocol] = set()
        self.is_draining = False
        self.listeners: list[Listener] = []
        self._dialects: Sequence[Dialect] = ()
        self._codecs: dict[int, MessageCodec] = {}
        self._number = 0

    def set_dialects(self, dialects: Sequence[Dialect]) -> None:
        """Say which dialect each row of the table is."""
        self._dialects = dialects
        self._codecs = {}

    def codec(self, dialect: int) -> MessageCodec:
        """Return the codec of a row of the dialect table."""
        if dialect not in self._codecs:
            self._codecs[dialect] = MessageCodec(self._dialects[dialect])
        return self._codecs[dialect]

    def mac(self, security: int) -> Mac | None:
        """Return what makes the MACs of own messages on links of a security profile, if any."""
        guard = self.pipeline.authorizer.guard
        if guard is None or not guard.has_macs(security):
            return None

        def mac(data: bytes) -> bytes:
            return guard.mac_of(security, data, self.pipeline.now_ns() // 1_000_000_000)

        return mac

    async def listen(
        self, listen: Listen, peers: Sequence[Peer], places: Places
    ) -> tuple[str, int]:
        """Open one listener; return the address it got.

        Raises ``UnavailableError``; ``ConfigError`` or ``PermissionRefused`` for its certificate.
        """
        gate, context = Gate(listen, peers, places), server_context(listen)
        try:
            port = bound(listen.address)
            port.listen(_BACKLOG)
            port.setblocking(False)  # noqa: FBT003
        except OSError as error:
            raise UnavailableError(f"cannot listen on {listen.address}: {why(error)}") from None
        listener = Listener(listen, port, gate)
        self.listeners.append(listener)
        await self._accept(listener, context)
        name = port.getsockname()
        return str(name[0]), int(name[1])

    def change(self, settings: Sequence[Listen], peers: Sequence[Peer], places: Places) -> None:
        """Put other settings behind the ports, one each in their order; links that stand stay.

        Between two batches, together with the dialect table: ``places`` has its rows.
        """
        for listener, listen in zip(self.listeners, settings, strict=True):
            old, listener.listen = listener.gate, listen
            gate = listener.gate = Gate(listen, peers, places)
            for protocol in [p for p in self.links if p.door is old]:
                terms = gate.admit(protocol.facts)
                protocol.change(gate, gate.own if isinstance(terms, Shed) else terms)

    async def accept_anew(self, contexts: Sequence[ssl.SSLContext | None]) -> None:
        """Accept with other certificates; handshakes that have begun end as they began."""
        for listener, context in zip(self.listeners, contexts, strict=True):
            before = listener.server
            await self._accept(listener, context)
            if before is not None:
                before.close()

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
        """Apply the timers of every link."""
        for protocol in list(self.links):
            protocol.check(now_ns)

    async def stop_accepting(self) -> None:
        """Close the listeners and read nothing more; links stay open for their answers."""
        self.is_draining = True
        for listener in self.listeners:
            if listener.server is not None:
                listener.server.close()
            listener.port.close()
        for protocol in list(self.links):
            protocol.pause()

    def sign_off(self) -> None:
        """Tell the peers that are to be told that the host leaves."""
        for protocol in list(self.links):
            protocol.sign_off()

    def close_links(self) -> None:
        """Close every link after what was sent."""
        for protocol in list(self.links):
            protocol.close("drain")

    async def _accept(self, listener: Listener, context: ssl.SSLContext | None) -> None:
        """Accept on a copy of the listener's socket."""
        loop = asyncio.get_running_loop()
        port = socket.socket(fileno=os.dup(listener.port.fileno()))
        listener.server = await loop.create_server(
            lambda: LinkProtocol(self, listener.gate),
            sock=port,
            backlog=_BACKLOG,
            ssl=context,
            ssl_handshake_timeout=None if context is None else _HANDSHAKE_S,
        )
