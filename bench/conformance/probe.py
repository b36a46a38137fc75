"""The client's side of a check: links to the host, messages with numbers of their own, verdicts."""

import asyncio
import itertools
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from bench.conformance.profile import Card, Profile
from engine.messages import Message, MessageCodec
from engine.wire.columns import Fault

Fields = dict[int, str]
ACQUIRER, TERMINAL, MERCHANT = "400099", "CONF0001", "CONFORMANCE0001"
_LISTED = 3  # messages of a failure


class Failed(Exception):  # noqa: N818 - a verdict, not an error
    """The host did something else: what was expected, and what came."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}; got {got}")
        self.expected, self.got = expected, got


class Skipped(Exception):  # noqa: N818
    """The profile does not have what the check needs; the text says what."""


class Probe:
    """What one check has: the host's address, its profile, and the messages it has sent."""

    def __init__(self, address: tuple[str, int], profile: Profile, codec: MessageCodec) -> None:
        self.address, self.profile, self.codec = address, profile, codec
        self.sent: list[str] = []  # shown, secrets hidden, the latest last
        self.codes = profile.codes

    @asynccontextmanager
    async def link(self, *, sign_on: bool | None = None) -> AsyncIterator["ProbeLink"]:
        """Connect; sign on where the profile demands it, unless ``sign_on`` says otherwise."""
        link = await ProbeLink.open(self)
        try:
            if self.profile.host.require_sign_on if sign_on is None else sign_on:
                await link.approve(*self.network("001"))
            yield link
        finally:
            await link.close()

    def payment(
        self, card: Card | None = None, amount_minor: int = 100, mti: str = "0100", **changes: str
    ) -> tuple[str, Fields]:
        """Return a new payment as (MTI, fields); ``de4="..."`` changes a field, "" removes it."""
        card = card or self.profile.cards.good
        number = next(_NUMBERS)
        now = time.gmtime()
        fields = {
            2: card.pan,
            3: "000000",
            4: f"{amount_minor:012d}",
            7: time.strftime("%m%d%H%M%S", now),
            11: f"{number % 1_000_000:06d}",
            12: time.strftime("%H%M%S", now),
            13: time.strftime("%m%d", now),
            14: card.expiry,
            18: "5411",
            22: "051",
            32: ACQUIRER,
            37: f"{_RUN % 10**6:06d}{number % 10**6:06d}",
            41: TERMINAL,
            42: MERCHANT,
            49: self.profile.currency,
        }
        return mti, changed(fields, **changes)

    def reversal(
        self, original: tuple[str, Fields], mti: str = "0420", **changes: str
    ) -> tuple[str, Fields]:
        """Return the reversal of a payment: its STAN and RRN, its key in DE90."""
        first, fields = original
        key = f"{first[:3]}0{fields[11]}{fields.get(7, '0' * 10)}{fields.get(32, '').zfill(11)}"
        kept = {number: value for number, value in fields.items() if number not in (14, 35)}
        return mti, changed({**kept, 90: key + "0" * 11}, **changes)

    def network(self, code: str = "301", mti: str = "0800", **changes: str) -> tuple[str, Fields]:
        """Return a new network management message."""
        stan = f"{next(_NUMBERS) % 1_000_000:06d}"
        fields = {7: time.strftime("%m%d%H%M%S", time.gmtime()), 11: stan, 70: code}
        return mti, changed(fields, **changes)

    def need(self, mti: str) -> None:
        """Skip the check when the host does not serve the message type."""
        if mti not in self.profile.host.serves:
            raise Skipped(f"host.serves has no {mti}")


class ProbeLink:
    """One connection to the host."""

    def __init__(
        self, probe: Probe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._probe, self._reader, self._writer = probe, reader, writer

    @classmethod
    async def open(cls, probe: Probe) -> "ProbeLink":
        """Connect, or fail."""
        try:
            async with asyncio.timeout(probe.profile.answer_timeout_s):
                reader, writer = await asyncio.open_connection(*probe.address)
        except (OSError, TimeoutError):
            raise Failed("a connection", "none") from None
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(probe, reader, writer)

    async def close(self) -> None:
        """Close in order."""
        self._writer.close()
        try:
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            pass  # the host was first

    def reset(self) -> None:
        """Cut the connection off as a crash does."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def end(self) -> None:
        """Send no more; answers may still come."""
        self._writer.write_eof()

    async def send(self, *messages: tuple[str, Fields]) -> None:
        """Send messages in one piece."""
        await self.send_bytes(b"".join(self.frame(mti, fields) for mti, fields in messages))

    def frame(self, mti: str, fields: Fields) -> bytes:
        """Return the bytes of a message, and keep it for the report."""
        self._probe.sent.append(self._probe.codec.shown(mti, fields))
        return self._probe.codec.frame(mti, fields)

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            raise Failed("a link that takes messages", "a closed link") from None

    async def receive(self) -> Message:
        """Return the next message; keep-alives are passed over."""
        codec = self._probe.codec
        try:
            async with asyncio.timeout(self._probe.profile.answer_timeout_s):
                size = 0
                while size == 0:
                    size = codec.size_of(await self._reader.readexactly(codec.header_bytes))
                message = codec.read(await self._reader.readexactly(size))
        except TimeoutError:
            raise Failed("an answer", "silence") from None
        except (asyncio.IncompleteReadError, OSError):
            raise Failed("an answer", "a closed link") from None
        if message.fault not in (Fault.NONE, Fault.MISSING, Fault.VALUE):
            raise Failed("a message of the dialect", f"a {message.fault.name.lower()} fault")
        return message

    async def ask(self, mti: str, fields: Fields) -> Message:
        """Send a message and return its answer, which must be one: type, 11 and 39 are checked."""
        await self.send((mti, fields))
        answer = await self.receive()
        self.match(mti, fields, answer)
        return answer

    async def approve(self, mti: str, fields: Fields) -> Message:
        """Ask, and expect the code of an approval."""
        answer = await self.ask(mti, fields)
        self.expect_code(answer, self._probe.codes.approved)
        return answer

    async def refuse(self, mti: str, fields: Fields, codes: str) -> Message:
        """Ask, and expect one of ``codes``, separated by blanks."""
        answer = await self.ask(mti, fields)
        self.expect_code(answer, codes)
        return answer

    def match(self, mti: str, fields: Fields, answer: Message) -> None:
        """Check that ``answer`` is the one to this request."""
        wanted = reply_mti(mti)
        if answer.mti != wanted:
            raise Failed(f"message type {wanted}", answer.mti)
        if answer.fields.get(11) != fields.get(11):
            raise Failed(f"DE11 {fields.get(11)}", _field(answer, 11))
        if 39 not in answer.fields:
            raise Failed("DE39", "none")

    def expect_code(self, answer: Message, codes: str) -> None:
        """Check DE39 against one of several."""
        if answer.fields.get(39) not in codes.split():
            raise Failed(f"DE39 {' or '.join(codes.split())}", _field(answer, 39))

    async def is_silent(self) -> bool:
        """Return whether nothing comes for the profile's time of silence."""
        try:
            async with asyncio.timeout(self._probe.profile.silence_s):
                return await self._reader.read(1) == b""
        except TimeoutError:
            return True
        except OSError:
            return True

    async def read_bytes(self, count: int) -> bytes:
        """Return bytes as they come; fewer when the host closes or time is over."""
        try:
            async with asyncio.timeout(self._probe.profile.answer_timeout_s):
                return await self._reader.readexactly(count)
        except asyncio.IncompleteReadError as cut:
            return cut.partial
        except (TimeoutError, OSError):
            return b""

    async def is_closed(self, within_s: float | None = None) -> bool:
        """Return whether the host closes the link; what it still sends is read and dropped."""
        try:
            async with asyncio.timeout(within_s or self._probe.profile.answer_timeout_s):
                while await self._reader.read(4096):
                    pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    async def is_alive(self) -> bool:
        """Return whether an echo test is answered."""
        return (await self.ask(*self._probe.network())).fields.get(39) is not None


_RUN = time.time_ns() // 1_000_000_000
_NUMBERS = itertools.count(_RUN % 900_000 + 1)


def changed(fields: Mapping[int, str], **changes: str) -> Fields:
    """Return ``fields`` with ``de4="..."`` and so on replaced, or left out where empty."""
    new = dict(fields) | {int(name[2:]): value for name, value in changes.items()}
    return {number: value for number, value in new.items() if value != ""}


def reply_mti(mti: str) -> str:
    """Return the type of an answer: function + 1, the repeat digit cleared."""
    number = int(mti)
    return f"{number + 10 - (number & 1):04d}"


def shown_sent(sent: Iterable[str]) -> list[str]:
    """Return the last few messages."""
    return list(sent)[-_LISTED:]


def _field(answer: Message, number: int) -> str:
    return f"DE{number} {answer.fields[number]}" if number in answer.fields else f"no DE{number}"
