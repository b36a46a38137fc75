"""One connection of the double: frames, and what can be read of a message."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import iso8583
from iso8583.specs import default

if TYPE_CHECKING:
    from tests.support.broken_host import BrokenHost

Fields = dict[str, str]


@dataclass
class HostLink:
    """One connection of the host."""

    host: "BrokenHost"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    signed_on: bool = False
    _buffer: bytes = b""

    async def run(self) -> None:
        """Serve until the client goes, or until its bytes are no frames."""
        host = self.host
        while True:
            timeout = 1.0 if self._buffer and not host.has("waits_in_a_frame") else None
            async with asyncio.timeout(timeout):
                data = await self.reader.read(65_536)
            if not data:
                return
            if host.has("cuts_need_one_read") and self._size(data) != len(data) - 2:
                data = data if self._size(data) < len(data) - 2 else b""
            self._buffer += data
            frames = self._frames()
            if frames is None:
                return
            if host.has("one_answer_a_read"):
                frames = frames[:1]
            if host.has("closes_when_client_ends"):
                await asyncio.sleep(0.02)
                if self.reader.at_eof():
                    return
            if host.has("reverses_order"):
                frames.reverse()
            for frame in frames:
                if not await self._take(frame):
                    return

    @staticmethod
    def _size(data: bytes) -> int:
        return int.from_bytes(data[:2], "big")

    def _frames(self) -> list[bytes] | None:
        """Cut whole messages off; None = the link must be closed."""
        frames: list[bytes] = []
        while len(self._buffer) >= 2:
            size = self._size(self._buffer)
            if size == 0:
                self._buffer = self._buffer[2:]
                if self.host.has("closes_on_keepalive"):
                    return None
                continue
            if size > self.host.frame_bytes_max:
                if not self.host.has("keeps_link_on_bad_length"):
                    return None
                self._buffer = b""
                break
            if len(self._buffer) < 2 + size:
                break
            frames.append(self._buffer[2 : 2 + size])
            self._buffer = self._buffer[2 + size :]
        return frames

    async def _take(self, raw: bytes) -> bool:
        """Answer one message; False = close."""
        host = self.host
        request, is_good = self._decoded(raw)
        if request is None:
            if host.has("answers_unreadable"):
                await self._send(bytes(iso8583.encode({"t": "0810", "39": "30"}, default)[0]))
            return True
        if not is_good:
            if int(request["t"][2]) % 2 == 0 and "11" in request:
                named = {} if host.has("names_no_field") else {"de44": "004"}
                await self._send(host.reply(request, "30", **named))
            return not host.has("closes_on_format_error")
        answer = host.answer(request, self)
        if host.has("forgets_on_reset"):
            await asyncio.sleep(0.01)
            if self.reader.exception() is not None or self.writer.is_closing():
                host.forget_last()
                return False
        if answer is not None:
            target = host.links[-1] if host.has("crosses_links") else self
            await target._send(answer)
        return True

    async def _send(self, answer: bytes) -> None:
        self.writer.write(len(answer).to_bytes(2, "big") + answer)
        await self.writer.drain()

    def _decoded(self, raw: bytes) -> tuple[Fields | None, bool]:
        """Return the fields, and whether all of the message was good."""
        if not raw[:4].isdigit():
            return None, False
        raw = self._lax(raw) if self.host.has("lax_lengths") else raw
        strict = self._has_odd_length(raw)
        if self.host.has("refuses_empty_secondary") and raw[4] & 0x80 and not any(raw[12:20]):
            return self._partly(raw), False
        try:
            decoded, _ = iso8583.decode(raw, default)
        except iso8583.DecodeError:
            return self._partly(raw), False
        fields = {n: v for n, v in decoded.items() if n not in ("h", "p", "1", "bm")}
        if strict or not fields.get("4", "0").isdigit():
            return {name: v for name, v in fields.items() if name != "4"}, False
        pan, expiry = fields.get("2"), None
        if "35" in fields and not self.host.has("needs_de2"):
            pan, _, rest = fields["35"].partition("=")
            expiry = rest[:4]
        if (
            pan is not None
            and fields.get("2", pan) != pan
            and not self.host.has("ignores_mismatch")
        ):
            return fields, False
        if pan is not None and "2" not in fields:
            fields["2"], fields["14"] = pan, expiry or ""
        return fields, True

    @staticmethod
    def _lax(raw: bytes) -> bytes:
        for odd in (b"+6400099", b" 6400099", b"6_400099"):
            raw = raw.replace(odd, b"06400099")
        return raw

    @staticmethod
    def _has_odd_length(raw: bytes) -> bool:
        return any(odd in raw for odd in (b"+6400099", b" 6400099"))

    @staticmethod
    def _partly(raw: bytes) -> Fields:
        """Return what can be read of a faulty message by position: type and STAN."""
        fields: Fields = {"t": raw[:4].decode()}
        bits = int.from_bytes(raw[4:12], "big")
        at, wanted = 12 + (8 if bits >> 63 and not any(raw[12:20]) else 0), bits
        sizes = {2: None, 3: 6, 4: 12, 7: 10, 11: 6}
        for number in range(2, 12):
            if not wanted >> (64 - number) & 1:
                continue
            size = sizes.get(number)
            if size is None:
                size = 2 + int(raw[at : at + 2]) if raw[at : at + 2].isdigit() else 0
                fields["2"] = raw[at + 2 : at + size].decode("ascii", "replace")
            elif number in (7, 11):
                fields[str(number)] = raw[at : at + size].decode("ascii", "replace")
            at += size
        return fields
