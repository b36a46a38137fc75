"""SHELL: connections that the host opens itself to a network, for ever, and what it sends on them.

A line connects, signs on, serves requests like a listener's link, and delivers its outbox; when it
is lost it waits (longer each time, with jitter, so that a network that comes back is not stormed)
and connects again. No failure ends it but the stop of the switch.
"""

import asyncio
import contextlib
import sqlite3
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TypeVar

from engine.config import split_address
from engine.gate import Places, Terms
from engine.link_config import Dial, OutboxSection
from engine.links import LinkProtocol
from engine.metrics import Counter, Shed, Upstream
from engine.originate import Answered, Exchange, Exchanges, Purpose, reversal_of
from engine.outbox import Outbox, Stored
from engine.security.errors import SecurityError
from engine.server import Server
from engine.session import Profile
from engine.tls import PeerFacts, client_context

T = TypeVar("T")
DELIVERED = ("", "00", "000", "0000")  # DE39 that ends the delivery; 0830 may have none
_AGAIN = ("91", "96", "68", "92", "907", "909", "911")  # the other side cannot now
_DISK_WAIT_S = 5.0


class Line:
    """One ``[[dial]]``; loop thread only."""

    def __init__(
        self,
        dial: Dial,
        terms: Terms,
        exchanges: Exchanges,
        context: ssl.SSLContext | None,
        desk: "Desk",
    ) -> None:
        self.dial = dial
        self.terms = terms
        self.context = context
        self.exchanges = exchanges
        self.state = "down"
        self.connects = 0
        self._desk = desk
        self._protocol: LinkProtocol | None = None
        self._wake = asyncio.Event()

    def admit(self, facts: PeerFacts) -> Terms | Shed:  # noqa: ARG002 - the host chose the peer
        """Give the line's terms to the link that was opened for it."""
        return self.terms

    def enter(self, terms: Terms) -> None:
        """Nothing is counted: there is one link."""

    def leave(self, terms: Terms) -> None:
        """Nothing is counted."""

    async def run(self) -> None:
        """Keep the line up until cancelled."""
        failures = 0
        while True:
            protocol = await self._connect()
            if protocol is not None:
                if await self._sign_on(protocol):
                    failures = 0
                    self.state = "up"
                    self._desk.log.info("line.up", link=protocol.link.number, peer=self.dial.name)
                    await self._serve(protocol)
                self.state = "down"
                protocol.close("line")
                await protocol.closed.wait()
                self._protocol = None
                self.exchanges.lose_all()
            await asyncio.sleep(backoff_s(self.dial, failures, self._desk.random))
            failures += 1

    def ask(self, exchange: Exchange) -> bool:
        """Send a question; False when the line is down, or without the MAC that it needs.

        ValueError names a field that cannot be.
        """
        if self._protocol is None or self.state == "down" or not self.exchanges.has_room:
            return False
        try:
            frame = self.exchanges.open(exchange)
        except SecurityError as problem:
            self._desk.log.error("line.no_mac", peer=self.dial.name, reason=str(problem))  # noqa: TRY400
            return False
        return self._protocol.send(frame)

    def wake(self) -> None:
        """Something new is in the outbox."""
        self._wake.set()

    def until_ns(self) -> int:
        """Return when an answer to a question that is asked now is late."""
        return self._desk.clock_ns() + self.dial.answer_timeout_s * 1_000_000_000

    async def _connect(self) -> LinkProtocol | None:
        loop = asyncio.get_running_loop()
        host, port = split_address(self.dial.address)
        name = (self.dial.tls_server_name or host) if self.context is not None else None
        self._desk.server.metrics.counters[Counter.DIALS] += 1
        try:
            async with asyncio.timeout(self.dial.answer_timeout_s):
                _, protocol = await loop.create_connection(
                    lambda: LinkProtocol(self._desk.server, self, self.exchanges),
                    host,
                    port,
                    ssl=self.context,
                    server_hostname=name,
                )
        except (OSError, TimeoutError, ssl.SSLError, ssl.CertificateError) as problem:
            reason = type(problem).__name__
            self._desk.log.warning("line.down", peer=self.dial.name, reason=reason)
            return None
        self.connects += 1
        self._protocol = protocol
        return protocol

    async def _sign_on(self, protocol: LinkProtocol) -> bool:
        if not self.dial.sign_on:
            return True
        self.state = "signing on"
        now_ns = self._desk.clock_ns()
        exchange = self.exchanges.network("001", Purpose.SIGN_ON, now_ns, self.until_ns())
        answered = await self._answer(exchange)
        if answered is not None and answered.code in DELIVERED:
            protocol.is_signed_on_upstream = True
            return True
        code = "none" if answered is None else answered.code
        self._desk.log.warning("line.refused", peer=self.dial.name, reason=f"sign-on: {code}")
        return False

    async def _answer(self, exchange: Exchange) -> Answered | None:
        future: asyncio.Future[Answered | None] = asyncio.get_running_loop().create_future()

        def done(answered: Answered | None) -> None:
            if not future.done():
                future.set_result(answered)

        exchange.done = done
        return await future if self.ask(exchange) else None

    async def _serve(self, protocol: LinkProtocol) -> None:
        """Deliver the outbox until the link is lost."""
        pump = asyncio.create_task(self._pump())
        try:
            await protocol.closed.wait()
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump

    async def _pump(self) -> None:
        while True:
            self._wake.clear()
            try:
                stored = await self._desk.on_disk(self._desk.outbox.first, self.dial.name)
                if stored is not None and stored.next_ns <= self._desk.clock_ns():
                    await self._deliver(stored)
                    continue
            except sqlite3.Error:
                self._desk.log.error("outbox.failed", peer=self.dial.name)  # noqa: TRY400
                await asyncio.sleep(_DISK_WAIT_S)
                continue
            wait_s = None
            if stored is not None:
                wait_s = max(stored.next_ns - self._desk.clock_ns(), 0) / 1e9
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _deliver(self, stored: Stored) -> None:
        """Try a message once and note what came of it."""
        desk, counts = self._desk, self._desk.server.metrics.upstream
        await desk.on_disk(desk.outbox.note_try, stored.id)
        exchange = Exchange(Purpose.MESSAGE, stored.mti_of_try, stored.fields, self.until_ns())
        answered = await self._answer(exchange)
        code = "" if answered is None else answered.code
        tries = stored.tries + 1
        if answered is not None and code in DELIVERED:
            counts[Upstream.DELIVERED] += 1
            await desk.end(stored, "delivered", code)
        elif answered is not None and code not in _AGAIN:
            counts[Upstream.REFUSED] += 1
            desk.log.error("outbox.refused", peer=self.dial.name, reason=code)
            await desk.end(stored, "refused", code)
        elif tries >= desk.section.tries_max:
            counts[Upstream.GAVE_UP] += 1
            desk.log.error("outbox.gave_up", peer=self.dial.name, reason=code or "no answer")
            await desk.end(stored, "given_up", code)
        else:
            wait_s = min(desk.section.wait_s << min(tries - 1, 20), desk.section.wait_max_s)
            next_ns = desk.clock_ns() + wait_s * 1_000_000_000
            await desk.on_disk(desk.outbox.note_wait, stored.id, next_ns, code)


class Desk:
    """All lines of the switch, the outbox they share, and what operators ask of them."""

    def __init__(
        self,
        server: Server,
        outbox: Outbox,
        section: OutboxSection,
        random: Random,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.server = server
        self.log = server.log
        self.outbox = outbox
        self.section = section
        self.random = random
        self.clock_ns = clock_ns
        self.lines: dict[str, Line] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self.waiting = outbox.count("waiting")
        self._disk = ThreadPoolExecutor(1, "outbox")

    def add(self, dial: Dial, places: Places) -> None:
        """Describe a line."""
        server = self.server
        dialect = places.rows[dial.dialect, dial.frame_bytes_max]
        profile = Profile(
            idle_echo_s=dial.idle_echo_s,
            answer_timeout_s=dial.answer_timeout_s,
            frame_timeout_s=dial.frame_timeout_s,
            deadline_ms=dial.deadline_ms,
            overload_ms=dial.overload_wait_ms,
            security=places.security[dial.security],
        )
        terms = Terms(dial.name, profile, dialect, 1)
        reverse = self._reverser(dial.name)
        counts = server.metrics.upstream
        mac = server.mac(profile.security)
        exchanges = Exchanges(server.codec(dialect), server.numbers, counts, reverse, mac)
        self.lines[dial.name] = Line(dial, terms, exchanges, client_context(dial), self)

    def start(self) -> None:
        """Open the lines and keep them up."""
        self._tasks |= {asyncio.create_task(line.run()) for line in self.lines.values()}

    def stop(self) -> None:
        """Connect no more; what is connected stays for the drain."""
        for task in self._tasks:
            task.cancel()

    @property
    def up_count(self) -> int:
        """How many lines are up."""
        return sum(line.state == "up" for line in self.lines.values())

    def close(self) -> None:
        """Close the outbox once its last write is done."""
        self._disk.shutdown()
        self.outbox.close()

    async def on_disk(self, work: Callable[..., T], *values: object) -> T:
        """Run ``work`` on the outbox's thread: a sync must not hold up card traffic."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *values)

    async def end(self, stored: Stored, state: str, code: str) -> None:
        """Note that a message is tried no more."""
        await self.on_disk(self.outbox.note_end, stored.id, state, code)
        self.waiting -= 1

    async def keep(
        self, line: Line, mti: str, fields: Mapping[int, str], operator: str
    ) -> int | None:
        """Put a message into the outbox, durable on return; None = it is full."""
        numbered = line.exchanges.numbered(fields, self.clock_ns())
        line.exchanges.codec.frame(mti, numbered)
        now_ns = self.clock_ns()
        name = line.dial.name
        number = await self.on_disk(self.outbox.put, name, mti, numbered, operator, now_ns)
        self.waiting += number is not None
        line.wake()
        return number

    def _reverser(self, name: str) -> Callable[[Exchange], None]:
        """Return what a line does about an approval that came too late: a 0420, stored."""

        def reverse(exchange: Exchange) -> None:
            self.log.warning("line.late_approval", peer=name)
            work = self.keep(self.lines[name], "0420", reversal_of(exchange), "host")
            task: asyncio.Task[object] = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return reverse


def backoff_s(dial: Dial, failures: int, random: Random) -> float:
    """Return how long to wait before connecting again: doubled each time, half of it by chance."""
    most_ms = min(dial.retry_wait_ms << min(failures, 20), dial.retry_wait_max_s * 1000)
    return most_ms / 1000 * random.uniform(0.5, 1.0)
