"""A small honest host, and the ways in which it can be broken on purpose, by flag.

It is written from the list of behaviours with pyiso8583 as its codec, and shares nothing with the
engine: the conformance kit must pass on it as it is, and find every flag.
"""

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Self

import iso8583
from iso8583.specs import default

Fields = dict[str, str]

FLAGS = {
    "cuts_need_one_read": "takes a read for a message",
    "one_answer_a_read": "answers the first message of a piece only",
    "keeps_link_on_bad_length": "passes over an impossible length",
    "closes_on_keepalive": "takes an empty frame for an error",
    "waits_in_a_frame": "never times half a message out",
    "closes_when_client_ends": "drops answers once the client sends no more",
    "reverses_order": "answers the messages of one piece from the last to the first",
    "crosses_links": "sends answers on the link that came last",
    "forgets_on_reset": "drops what it decided when the link dies",
    "closes_on_format_error": "closes the link on a faulty field",
    "answers_responses": "answers 0110 and 0810",
    "answers_unreadable": "answers what has no message type",
    "silent_on_unknown_type": "does not answer what it does not serve",
    "refuses_empty_secondary": "takes an empty second bitmap for a fault",
    "lax_lengths": "reads +6 and blank 6 as 6",
    "needs_de2": "does not read track 2",
    "ignores_mismatch": "takes DE2 whatever the track says",
    "drops_de41_in_echo": "leaves DE41 out of the 0810",
    "refuses_echo_when_signed_off": "answers 0800/301 only when signed on",
    "forgets_sign_off": "stays signed on after 002",
    "shares_sign_off": "signs all links off at once",
    "keeps_repeat_digit": "answers 0101 with 0111",
    "restamps_de7": "answers with a time of its own",
    "echoes_track": "sends DE35 back",
    "same_approval_code": "gives each approval the same DE38",
    "approval_code_on_declines": "sends DE38 with a decline",
    "takes_missing_amount": "approves without DE4",
    "one_code_for_all": "declines everything with 05",
    "holds_for_zero": "holds one unit for an account check",
    "any_currency": "takes any currency",
    "overspends": "never looks at the funds",
    "forgets_repeats": "decides a repeat anew",
    "answers_repeats_94": "refuses a repeat as a duplicate",
    "answers_out_of_thin_air": "declines a 0101 whose 0100 never came",
    "same_key_any_amount": "answers another amount with the stored approval",
    "key_without_terminal": "leaves DE41 out of the key",
    "key_without_class": "takes a reversal for a repeat of its original",
    "keeps_hold_on_reversal": "answers 0430 00 and moves nothing",
    "reverses_twice": "gives the money back with each reversal",
    "refuses_orphans": "declines a 0420 without its original",
    "approves_reversed_originals": "approves what was reversed before it came",
    "returns_declined": "gives back what was never held",
    "ignores_de95": "gives all back whatever DE95 says",
    "matches_any_amount": "reverses an original of another amount",
    "needs_de90": "finds no original by DE37",
    "posts_advice_twice": "posts each repeat of an advice",
    "declines_advices": "declines an advice over the limit",
}

_ECHO = ("2", "3", "4", "7", "11", "12", "13", "32", "33", "37", "41", "42", "49", "70", "90", "95")
_SERVED = ("0100", "0120", "0220", "0400", "0420")
_MANDATORY = {"0100": ("2", "3", "4", "7", "11", "49"), "0400": ("4", "7", "11")}


@dataclass
class Card:
    """A card of the host: what is left on it, and why it may not pay ("" = it may)."""

    left: int
    refusal: str = ""
    currency: str = "840"


@dataclass(eq=False)
class _Payment:
    """A payment that was decided."""

    fields: Fields
    amount: int
    held: int
    answer: bytes
    is_approved: bool


@dataclass
class BrokenHost:
    """Serves on a free port while it is entered."""

    cards: dict[str, Card]
    flags: Collection[str] = ()
    require_sign_on: bool = False
    frame_bytes_max: int = 8192
    port: int = 0
    _payments: dict[tuple[str, ...], _Payment] = field(default_factory=dict)
    _answers: dict[tuple[str, ...], tuple[bytes, Fields]] = field(default_factory=dict)
    _voided: set[tuple[str, ...]] = field(default_factory=set)
    _links: list["_HostLink"] = field(default_factory=list)
    _codes: int = 0

    def __post_init__(self) -> None:
        assert set(self.flags) <= FLAGS.keys(), "a flag that the host does not know"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for link in self._links:
            link.writer.close()
        await asyncio.sleep(0)

    def has(self, flag: str) -> bool:
        """Return whether the host is broken in this way."""
        return flag in self.flags

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _HostLink(self, reader, writer)
        self._links.append(link)
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            await link.run()
        writer.close()

    def reply(self, request: Fields, code: str, **more: str) -> bytes:
        """Return the answer to a request: its fields back, the code, and ``more``."""
        mti = int(request["t"])
        keep = mti & 1 if self.has("keeps_repeat_digit") else 0
        fields = {name: request[name] for name in _ECHO if name in request}
        fields["t"] = f"{mti + 10 - (mti & 1) + keep:04d}"
        fields["39"] = code
        fields |= {name.removeprefix("de"): value for name, value in more.items()}
        if self.has("restamps_de7") and "7" in fields:
            fields["7"] = "0101010101"
        if self.has("echoes_track") and "35" in request:
            fields["35"] = request["35"]
        if self.has("drops_de41_in_echo") and mti // 100 == 8:
            fields.pop("41", None)
        return bytes(iso8583.encode(fields, default)[0])

    def answer(self, request: Fields, link: "_HostLink") -> bytes | None:
        """Return the answer to a message; None = silence."""
        mti, known = request["t"], request["t"][:3] + "0"
        if int(mti[2]) % 2:
            return self.reply(request, "00") if self.has("answers_responses") else None
        if known == "0800":
            return self._network(request, link)
        if known not in _SERVED:
            return None if self.has("silent_on_unknown_type") else self.reply(request, "12")
        if self.require_sign_on and not link.signed_on:
            return self.reply(request, "91")
        wanted = _MANDATORY.get(known, _MANDATORY["0400"])
        missing = [name for name in wanted if name not in request]
        if self.has("takes_missing_amount") and missing == ["4"]:
            return self.reply(request, "00", de38="ABCDEF")
        if missing:
            return self.reply(request, "30")
        return self._once(request, known)

    def _network(self, request: Fields, link: "_HostLink") -> bytes:
        code = request.get("70")
        if code == "001":
            link.signed_on = True
        elif code == "002" and not self.has("forgets_sign_off"):
            for other in self._links if self.has("shares_sign_off") else [link]:
                other.signed_on = False
        elif code == "301" and self.has("refuses_echo_when_signed_off") and not link.signed_on:
            return self.reply(request, "91")
        return self.reply(request, "00")

    def _key(self, request: Fields, mti: str) -> tuple[str, ...]:
        kind = "" if self.has("key_without_class") else mti[:3]
        terminal = "" if self.has("key_without_terminal") else request.get("41", "")
        rest = (request.get(name, "") for name in ("32", "7", "11"))
        return (kind, *rest, terminal)

    def _once(self, request: Fields, known: str) -> bytes:
        """Answer repeats as before; decide what is new."""
        key = self._key(request, known)
        stored = self._answers.get(key)
        is_repeat = request["t"][3] == "1"
        if stored is not None and not (self.has("forgets_repeats") and is_repeat):
            again_moves = self.has("posts_advice_twice") and known in ("0120", "0220")
            if again_moves:
                self._post(request, known)
            if self.has("answers_repeats_94") and is_repeat:
                return self.reply(request, "94")
            facts = ("2", "3", "4", "49") if known[1] == "1" else ("4",)
            same = all(stored[1].get(name) == request.get(name) for name in facts)
            if same or self.has("same_key_any_amount") or self.has("key_without_class"):
                return stored[0]
            return self.reply(request, "94")
        if is_repeat and stored is None and self.has("answers_out_of_thin_air"):
            return self.reply(request, "25")
        answer = self._reverse(request, known) if known[1] == "4" else self._post(request, known)
        self._answers[key] = (answer, dict(request))
        return answer

    def _decline(self, request: Fields, code: str) -> bytes:
        if self.has("one_code_for_all"):
            code = "05"
        more = {"de38": "ZZZZZZ"} if self.has("approval_code_on_declines") else {}
        return self.reply(request, code, **more)

    def _refusal(self, request: Fields, known: str) -> str:
        """Return why the payment is refused, "" if it is not."""
        card = self.cards.get(request["2"])
        if card is None:
            return "14"
        if card.refusal:
            return card.refusal
        if request.get("49") != card.currency and not self.has("any_currency"):
            return "57"
        is_advice = known[2] == "2" and not self.has("declines_advices")
        if int(request["4"]) > card.left and not self.has("overspends") and not is_advice:
            return "51"
        return ""

    def _post(self, request: Fields, known: str) -> bytes:
        key, amount = self._key(request, "0100"), int(request["4"])
        refusal = self._refusal(request, known)
        is_void = key in self._voided and known == "0100"
        if is_void and not self.has("approves_reversed_originals"):
            refusal = refusal or "12"
        if refusal:
            answer = self._decline(request, refusal)
            self._payments[key] = _Payment(request, amount, 0, answer, is_approved=False)
            return answer
        held = amount + (1 if amount == 0 and self.has("holds_for_zero") else 0)
        self.cards[request["2"]].left -= held
        self._codes += 1
        number = 0 if self.has("same_approval_code") else self._codes
        answer = self.reply(request, "00", de38=f"A{number:05d}")
        self._payments[key] = _Payment(request, amount, held, answer, is_approved=True)
        return answer

    def _original(self, request: Fields) -> _Payment | None:
        amount = int(request["4"])
        if "90" in request:
            named = request["90"]
            key = self._key({**request, "11": named[4:10], "7": named[10:20]}, "0100")
            found = self._payments.get(key)
        elif self.has("needs_de90"):
            found = None
        else:
            same = ("37", "41", "32")
            found = next(
                (
                    p
                    for p in reversed(self._payments.values())
                    if all(p.fields.get(name) == request.get(name) for name in same)
                ),
                None,
            )
        if found is not None and found.amount != amount and not self.has("matches_any_amount"):
            return None
        return found

    def _reverse(self, request: Fields, known: str) -> bytes:
        found = self._original(request)
        if found is None:
            if "90" in request:
                named = request["90"]
                key = self._key({**request, "11": named[4:10], "7": named[10:20]}, "0100")
                if key not in self._payments:
                    self._voided.add(key)
            if known == "0400" or self.has("refuses_orphans"):
                return self.reply(request, "25")
            return self.reply(request, "00")
        keep = 0 if self.has("ignores_de95") else int(request.get("95", "0" * 12)[:12])
        if keep > found.amount:
            return self.reply(request, "13")
        back = max(found.held - keep, 0)
        if self.has("reverses_twice") or (self.has("returns_declined") and not found.is_approved):
            back = found.amount - keep
        if not self.has("keeps_hold_on_reversal"):
            self.cards[found.fields["2"]].left += back
            found.held -= min(back, found.held)
        return self.reply(request, "00")

    def forget_last(self) -> None:
        """Undo the last payment: the host had not kept it."""
        if self._payments:
            _, payment = self._payments.popitem()
            self._answers = {k: v for k, v in self._answers.items() if v[0] != payment.answer}
            if payment.held:
                self.cards[payment.fields["2"]].left += payment.held


@dataclass
class _HostLink:
    """One connection of the host."""

    host: BrokenHost
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
                await self._send(host.reply(request, "30"))
            return not host.has("closes_on_format_error")
        answer = host.answer(request, self)
        if host.has("forgets_on_reset"):
            await asyncio.sleep(0.01)
            if self.reader.exception() is not None or self.writer.is_closing():
                host.forget_last()
                return False
        if answer is not None:
            target = host._links[-1] if host.has("crosses_links") else self
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
