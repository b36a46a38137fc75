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

from tests.support.broken_flags import FLAGS
from tests.support.broken_link import Fields, HostLink

_ECHO = ("2", "3", "4", "7", "11", "12", "13", "32", "33", "37", "41", "42", "49", "70", "90", "95")
_SERVED = ("0100", "0120", "0200", "0220", "0400", "0420")
_MANDATORY = {"0100": ("2", "3", "4", "7", "11", "49"), "0400": ("4", "7", "11")}
_KNOWN_TAGS = (b"\x9f\x26",)


@dataclass
class Card:
    """A card of the host: what is left on it, and why it may not pay ("" = it may)."""

    left: int
    limit: int = 0
    refusal: str = ""
    currency: str = "840"

    def __post_init__(self) -> None:
        self.limit = self.left


@dataclass(eq=False)
class _Payment:
    """A payment that was decided."""

    fields: Fields
    amount: int
    held: int
    answer: bytes
    is_approved: bool
    captured: int = 0
    completed: int = 0  # by a 0220
    added: int = 0  # to the hold of ``root``
    root: "_Payment | None" = None


@dataclass
class BrokenHost:
    """Serves on a free port while it is entered."""

    cards: dict[str, Card]
    flags: Collection[str] = ()
    require_sign_on: bool = False
    frame_bytes_max: int = 8192
    is_incremental: bool = False
    refunds_captures: bool = True
    port: int = 0
    _payments: dict[tuple[str, ...], _Payment] = field(default_factory=dict)
    _answers: dict[tuple[str, ...], tuple[bytes, Fields]] = field(default_factory=dict)
    _voided: set[tuple[str, ...]] = field(default_factory=set)
    links: list["HostLink"] = field(default_factory=list)
    _codes: int = 0

    def __post_init__(self) -> None:
        assert set(self.flags) <= FLAGS.keys(), "a flag that the host does not know"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for link in self.links:
            link.writer.close()
        await asyncio.sleep(0)

    def has(self, flag: str) -> bool:
        """Return whether the host is broken in this way."""
        return flag in self.flags

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = HostLink(self, reader, writer)
        self.links.append(link)
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

    def answer(self, request: Fields, link: "HostLink") -> bytes | None:
        """Return the answer to a message; None = silence."""
        mti, known = request["t"], request["t"][:3] + "0"
        if int(mti[2]) % 2:
            return self.reply(request, "00") if self.has("answers_responses") else None
        if known == "0800" or (known == "0820" and not self.has("refuses_0820")):
            return self._network(request, link)
        if known not in _SERVED:
            return None if self.has("silent_on_unknown_type") else self.reply(request, "12")
        if self.require_sign_on and not link.signed_on:
            return self.reply(request, "91")
        wanted = _MANDATORY.get(known, _MANDATORY["0400"])
        missing = [name for name in wanted if name not in request]
        if self.has("takes_missing_amount") and missing == ["4"]:
            return self.reply(request, "00", de38="ABCDEF")
        if missing or self._has_bad_tags(request.get("55", "")):
            return self.reply(request, "30")
        return self._once(request, known)

    def _network(self, request: Fields, link: "HostLink") -> bytes:
        code = request.get("70")
        if code == "001":
            link.signed_on = True
        elif code == "002" and not self.has("forgets_sign_off"):
            for other in self.links if self.has("shares_sign_off") else [link]:
                other.signed_on = False
        elif code == "301" and self.has("refuses_echo_when_signed_off") and not link.signed_on:
            return self.reply(request, "91")
        return self.reply(request, "00")

    def _has_bad_tags(self, text: str) -> bool:
        """Return whether chip data are cut short; tags of one or two bytes, short lengths."""
        data, at = bytes.fromhex(text), 0
        while at < len(data):
            size = 2 if data[at] & 31 == 31 else 1
            tag = data[at : at + size]
            at += size
            if at >= len(data) or at + 1 + data[at] > len(data):
                return not self.has("takes_cut_tags")
            if self.has("refuses_unknown_tags") and tag not in _KNOWN_TAGS:
                return True
            at += 1 + data[at]
        return False

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
        forgets = self.has("forgets_repeats")
        forgets |= self.has("part_decided_anew") and stored is not None and b"0057" in stored[0]
        if stored is not None and not (forgets and is_repeat):
            again_moves = self.has("posts_advice_twice") and known in ("0120", "0220")
            if again_moves:
                self._post(request, known)
            if self.has("answers_repeats_94") and is_repeat:
                return self.reply(request, "94")
            facts = ("2", "3", "4", "49") if known[1] in "12" else ("4",)
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
        is_free = request["3"][:2] in ("20", "30", "31")
        if int(request["4"]) > card.left and not self.has("overspends"):
            return "" if is_advice or is_free else "51"
        return ""

    def _post(self, request: Fields, known: str) -> bytes:
        key, amount = self._key(request, known), int(request["4"])
        was_declined = request.get("39", "00") != "00" and not self.has("holds_declined_advices")
        if known == "0120" and was_declined:
            amount = 0
        refusal = self._refusal(request, known)
        is_void = key in self._voided and known == "0100"
        if is_void and not self.has("approves_reversed_originals"):
            refusal = refusal or "12"
        card = self.cards.get(request["2"])
        if refusal == "51" and card is not None and self._takes_part(request) and card.left > 0:
            return self._approve_part(request, card, key)
        if refusal:
            answer = self._decline(request, refusal)
            self._payments[key] = _Payment(request, amount, 0, answer, is_approved=False)
            return answer
        assert card is not None, "without a card it is refused"
        if request["3"][:2] in ("30", "31"):
            return self._tell_balance(request, card)
        self._codes += 1
        number = 0 if self.has("same_approval_code") else self._codes
        answer = self.reply(request, "00", de38=f"A{number:05d}")
        root = self._root(request, known)
        payment = _Payment(request, amount, 0, answer, is_approved=True)
        self._payments[key] = payment
        self._move(payment, known, card, root)
        return answer

    def _move(self, payment: _Payment, known: str, card: Card, root: _Payment | None) -> None:
        """Take, hold, add or give back what the payment says."""
        amount = payment.amount
        if payment.fields["3"][:2] == "20":
            card.left += amount if known[1] == "2" else 0
        elif known == "0220":
            if root is not None and not self.has("completion_beside_hold"):
                card.left += root.held
                root.held = 0
                root.completed = amount
            card.left -= amount
            payment.captured = amount
        elif known == "0200":
            payment.captured = amount
            card.left -= 0 if self.has("captures_nothing") else amount
        elif known == "0120" and root is not None and not self.has("advice_beside_hold"):
            card.left += root.held - amount
            root.held = amount
        elif known == "0100" and root is not None and self.is_incremental:
            card.left -= amount
            if self.has("increments_apart"):
                payment.held = amount
                return
            root.held += amount
            payment.added, payment.root = amount, root
        else:
            payment.held = amount + (1 if amount == 0 and self.has("holds_for_zero") else 0)
            card.left -= payment.held

    def _root(self, request: Fields, known: str) -> _Payment | None:
        """Return the open payment that an advice, a completion or an increment is about."""
        named = request.get("90")
        if named is not None:
            key = self._key({**request, "11": named[4:10], "7": named[10:20]}, named[:4])
            found = self._payments.get(key)
        else:
            found = self._by_rrn(request, "0100") if known == "0100" else None
        return found if found is not None and found.held else None

    def _by_rrn(self, request: Fields, known: str = "") -> _Payment | None:
        same = ("37", "41", "32") if "37" in request else ("11", "41", "13")
        if "37" not in request and self.has("needs_rrn"):
            return None
        return next(
            (
                p
                for p in reversed(self._payments.values())
                if all(p.fields.get(name) == request.get(name) for name in same)
                and (not known or (p.fields["t"][:3] == known[:3] and p.held))
            ),
            None,
        )

    def _takes_part(self, request: Fields) -> bool:
        says_so = request.get("60", "")[:1] == "1" or self.has("part_without_flag")
        return says_so and request["3"][:2] == "00"

    def _approve_part(self, request: Fields, card: Card, key: tuple[str, ...]) -> bytes:
        self._codes += 1
        asked = f"0057{request['49']}D{request['4']}"
        amounts = {"de4": f"{card.left:012d}", "de54": asked}
        if self.has("part_without_amounts"):
            amounts = {}
        answer = self.reply(request, "10", de38=f"A{self._codes:05d}", **amounts)
        payment = _Payment(request, card.left, card.left, answer, is_approved=True)
        self._payments[key] = payment
        card.left = 0
        return answer

    def _tell_balance(self, request: Fields, card: Card) -> bytes:
        if self.has("inquiry_holds"):
            card.left -= int(request["4"])
        left = card.limit if self.has("balance_with_holds") else card.left
        told = {} if self.has("no_balance") else {"de54": f"0002{card.currency}C{left:012d}"}
        return self.reply(request, "00", **told)

    def _original(self, request: Fields) -> _Payment | None:
        amount = int(request["4"])
        if "90" in request:
            named = request["90"]
            key = self._key({**request, "11": named[4:10], "7": named[10:20]}, named[:4])
            found = self._payments.get(key)
        elif self.has("needs_de90"):
            found = None
        else:
            found = self._by_rrn(request)
        if found is None or self.has("matches_any_amount"):
            return found
        if request.get("2") not in (None, found.fields["2"]) and not self.has("matches_any_card"):
            return None
        return found if amount in (found.amount, int(found.fields["4"])) else None

    def _reverse(self, request: Fields, known: str) -> bytes:
        found = self._original(request)
        if found is None:
            if "90" in request:
                named = request["90"]
                key = self._key({**request, "11": named[4:10], "7": named[10:20]}, named[:4])
                if key not in self._payments:
                    self._voided.add(key)
            if known == "0400" or self.has("refuses_orphans"):
                return self.reply(request, "25")
            return self.reply(request, "00")
        card = self.cards[found.fields["2"]]
        if found.captured or found.fields["t"][1] == "2":
            if not self.refunds_captures:
                return self.reply(request, "12")
            keeps_part = not self.has("refunds_whole_captures")
            keep = int(request.get("95", "0" * 12)[:12]) if keeps_part else 0
            card.left += max(found.captured - keep, 0)
            found.captured = found.captured if self.has("refunds_twice") else keep
            return self.reply(request, "00")
        card.left += found.completed if self.has("refunds_by_both") else 0
        if found.root is not None:
            card.left += found.added
            found.root.held -= found.added
            found.added = 0
            return self.reply(request, "00")
        keep = 0 if self.has("ignores_de95") else int(request.get("95", "0" * 12)[:12])
        if keep > found.amount:
            return self.reply(request, "13")
        back = max(found.held - keep, 0)
        if self.has("reverses_twice") or (self.has("returns_declined") and not found.is_approved):
            back = found.amount - keep
        if not self.has("keeps_hold_on_reversal"):
            card.left += back
            found.held -= min(back, found.held)
        return self.reply(request, "00")

    def forget_last(self) -> None:
        """Undo the last payment: the host had not kept it."""
        if self._payments:
            _, payment = self._payments.popitem()
            self._answers = {k: v for k, v in self._answers.items() if v[0] != payment.answer}
            if payment.held:
                self.cards[payment.fields["2"]].left += payment.held
