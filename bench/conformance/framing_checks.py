"""Behaviours 1 to 9 and 11 to 17: frames, connections and what cannot be read."""

import asyncio
from contextlib import AsyncExitStack

from bench.conformance.probe import Failed, Probe, Skipped
from bench.conformance.registry import behaviour

_APART_S = 0.003  # between two pieces, so that the network does not put them together again
_PIPELINED = 100
_VISITS = 10


@behaviour(1, "a message in two pieces, cut at any byte, is one message")
async def cut_anywhere(probe: Probe) -> None:
    """Cut an echo test behind each byte."""
    async with probe.link() as link:
        mti, fields = probe.network()
        for cut in range(1, len(probe.codec.frame(mti, fields))):
            mti, fields = probe.network()
            frame = link.frame(mti, fields)
            await link.send_bytes(frame[:cut])
            await asyncio.sleep(_APART_S)
            await link.send_bytes(frame[cut:])
            link.match(mti, fields, await link.receive())


@behaviour(1, "messages in one piece are answered each")
async def many_in_one(probe: Probe) -> None:
    """Send twenty echo tests at once."""
    async with probe.link() as link:
        asks = [probe.network() for _ in range(20)]
        await link.send(*asks)
        got = sorted([(await link.receive()).fields.get(11, "") for _ in asks])
        wanted = sorted(fields[11] for _, fields in asks)
        if got != wanted:
            raise Failed("an answer to each of 20 messages", f"{len(set(got) & set(wanted))}")


@behaviour(2, "a length over the bound closes this link and no other")
async def impossible_length(probe: Probe) -> None:
    """Announce the longest frame that the header can, where that is over the bound."""
    is_binary = probe.codec.dialect.framing.length == "binary"
    header = (b"\xff" if is_binary else b"9") * probe.codec.header_bytes
    if probe.codec.size_of(header) <= probe.profile.host.frame_bytes_max:
        raise Skipped("the length header cannot say more than host.frame_bytes_max")
    async with probe.link() as other, probe.link() as link:
        await link.send_bytes(header + b"0800")
        if not await link.is_closed():
            raise Failed("a closed link", "an open one")
        await other.is_alive()


@behaviour(3, "an empty frame is a keep-alive")
async def keep_alive(probe: Probe) -> None:
    """Send an empty frame; it is echoed where the profile says so."""
    async with probe.link() as link:
        empty = probe.codec.keepalive
        await link.send_bytes(empty)
        if probe.profile.host.echoes_empty_frames:
            if await link.read_bytes(len(empty)) != empty:
                raise Failed("an empty frame", "something else, or nothing")
        elif not await link.is_silent():
            raise Failed("silence", "bytes")
        await link.is_alive()


@behaviour(4, "half a message, then silence, closes the link")
async def silent_in_a_frame(probe: Probe) -> None:
    """Send ten bytes of a message and wait."""
    timeout_s = probe.profile.host.frame_timeout_s
    if not timeout_s:
        raise Skipped("host.frame_timeout_s is 0")
    async with probe.link() as link:
        await link.send_bytes(link.frame(*probe.network())[:10])
        if not await link.is_closed(timeout_s + probe.profile.answer_timeout_s):
            raise Failed(f"a closed link after {timeout_s} s", "an open one")


@behaviour(4, "an idle link gets an echo test, or is closed")
async def idle(probe: Probe) -> None:
    """Say nothing for as long as the profile says."""
    timeout_s = probe.profile.host.idle_timeout_s
    if not timeout_s:
        raise Skipped("host.idle_timeout_s is 0")
    async with probe.link() as link:
        data = b""
        if not await link.is_closed(timeout_s + 1.0):
            data = await link.read_bytes(probe.codec.header_bytes)
            if not data:
                raise Failed("a message or a closed link", "neither")


@behaviour(5, "connect, ask, close is ordinary")
async def short_visits(probe: Probe) -> None:
    """Come and go a few times."""
    for _ in range(_VISITS):
        async with probe.link() as link:
            await link.is_alive()


@behaviour(5, "a link whose sending side is closed still gets its answers")
async def half_closed(probe: Probe) -> None:
    """Send three echo tests, close the sending side, read."""
    async with probe.link() as link:
        asks = [probe.network() for _ in range(3)]
        await link.send(*asks)
        link.end()
        for mti, fields in asks:
            link.match(mti, fields, await link.receive())


@behaviour(6, "many requests may be under way on one link")
async def pipelined(probe: Probe) -> None:
    """Send a hundred payments of one unit before reading the first answer."""
    probe.need("0100")
    async with probe.link() as link:
        asks = [probe.payment(amount_minor=1) for _ in range(_PIPELINED)]
        await link.send(*asks)
        got = [(await link.receive()).fields.get(11, "") for _ in asks]
        wanted = [fields[11] for _, fields in asks]
        if sorted(got) != sorted(wanted):
            raise Failed("one answer to each request", "missing or strange ones")
        if probe.profile.host.answers_in_order and got != wanted:
            raise Failed("answers in the order of their requests", "another order")


@behaviour(7, "an answer goes to the link of its request")
async def own_link(probe: Probe) -> None:
    """Ask on two links at the same time."""
    async with probe.link() as one, probe.link() as two:
        for _ in range(20):
            first, second = probe.network(), probe.network()
            await one.send(first)
            await two.send(second)
            two.match(*second, await two.receive())
            one.match(*first, await one.receive())


@behaviour(7, "what was posted stands when its link dies; the repeat gets the answer")
async def dead_link(probe: Probe) -> None:
    """Ask, cut the link off, repeat on another, and reverse."""
    probe.need("0100")
    ask = probe.payment()
    async with probe.link() as link:
        await link.send(ask)
        link.reset()
    async with probe.link() as link:
        first = await link.ask("0101", ask[1])
        again = await link.ask("0101", ask[1])
        if first.raw != again.raw:
            raise Failed("the same answer to each repeat", "different ones")


@behaviour(8, "a client that does not read holds up nobody else")
async def slow_reader(probe: Probe) -> None:
    """Send for a while without reading; another link is served meanwhile."""
    async with probe.link() as stuck, probe.link() as other:
        flood = b"".join(stuck.frame(*probe.network()) for _ in range(500))
        for _ in range(20):
            try:
                async with asyncio.timeout(0.05):
                    await stuck.send_bytes(flood)
            except (TimeoutError, Failed):
                break  # the host has stopped reading, or has closed
            await other.is_alive()
        await other.is_alive()


@behaviour(9, "connections past the bound are refused at once")
async def too_many(probe: Probe) -> None:
    """Open as many as there may be, then one more."""
    most = probe.profile.host.max_connections
    if not most:
        raise Skipped("host.max_connections is 0")
    async with AsyncExitStack() as stack:
        for _ in range(most):
            link = await stack.enter_async_context(probe.link(sign_on=False))
            await link.is_alive()
        link = await stack.enter_async_context(probe.link(sign_on=False))
        if not await link.is_closed():
            raise Failed("a closed link", "an open one")


@behaviour(11, "a fault in a field is answered with the format code; the link stays")
async def bad_field(probe: Probe) -> None:
    """Put a letter into the amount; where the profile says so, the answer names field 4."""
    probe.need("0100")
    number = probe.profile.host.format_field
    async with probe.link() as link:
        answer = await link.refuse(*probe.payment(de4="00000000x100"), probe.codes.format)
        told = answer.fields.get(number, "").strip()
        if number and not (told.isdigit() and int(told) == 4):
            raise Failed(f"DE{number} that names field 4", "another one, or none")
        await link.is_alive()


@behaviour(11, "bytes behind the last field are answered with the format code")
async def trailing_bytes(probe: Probe) -> None:
    """Add two bytes to a payment."""
    probe.need("0100")
    async with probe.link() as link:
        ask = probe.payment()
        link.frame(*ask)  # for the report
        await link.send_bytes(probe.codec.framed(probe.codec.message(*ask) + b"00"))
        answer = await link.receive()
        link.match(*ask, answer)
        link.expect_code(answer, probe.codes.format)
        await link.is_alive()


@behaviour(12, "an answer is never answered")
async def answers_are_not_answered(probe: Probe) -> None:
    """Send 0810, 0110 and 0430."""
    async with probe.link() as link:
        for mti, source in (("0810", probe.network()), ("0110", probe.payment())):
            await link.send((mti, {**source[1], 39: "00"}))
        if not await link.is_silent():
            raise Failed("silence", "an answer")
        await link.is_alive()


@behaviour(12, "a message whose type cannot be read is not answered")
async def unreadable(probe: Probe) -> None:
    """Send a message of type ``z!``."""
    async with probe.link() as link:
        await link.send_bytes(probe.codec.framed(b"z!z!" + bytes(12)))
        if not await link.is_silent():
            raise Failed("silence", "an answer")
        await link.is_alive()


@behaviour(13, "a type that is not served is answered in its own type")
async def unknown_type(probe: Probe) -> None:
    """Send a 0700; where that is served, the check is in vain and passes."""
    async with probe.link() as link:
        _, fields = probe.network()
        fields.pop(70)
        await link.refuse("0700", fields, probe.codes.not_served)


@behaviour(14, "an empty secondary bitmap is taken")
async def empty_secondary(probe: Probe) -> None:
    """Set bit 1 of a payment and add sixteen zeros, or eight zero bytes."""
    probe.need("0100")
    encoding = probe.codec.dialect.encoding
    if encoding.mti != "ascii":
        raise Skipped("only for dialects with a message type in ASCII")
    async with probe.link() as link:
        ask = probe.payment()
        link.frame(*ask)  # for the report
        message = probe.codec.message(*ask)
        if encoding.bitmap == "hex":
            first = f"{int(message[4:5], 16) | 8:X}".encode()
            message = message[:4] + first + message[5:20] + b"0" * 16 + message[20:]
        else:
            first = bytes([message[4] | 0x80])
            message = message[:4] + first + message[5:12] + bytes(8) + message[12:]
        await link.send_bytes(probe.codec.framed(message))
        answer = await link.receive()
        link.match(*ask, answer)
        link.expect_code(answer, probe.codes.approved)


@behaviour(15, "a length prefix with a sign or a blank is a format fault, and nothing else is lost")
async def odd_lengths(probe: Probe) -> None:
    """Write the length of DE32 as +6, blank 6 and _6."""
    probe.need("0100")
    async with probe.link() as link:
        for prefix in (b"+6", b" 6", b"6_"):
            ask = probe.payment()
            frame = link.frame(*ask)
            if b"06" + ask[1][32].encode() not in frame:
                raise Skipped("only for dialects whose lengths are ASCII digits")
            wrong = frame.replace(b"06" + ask[1][32].encode(), prefix + ask[1][32].encode())
            await link.send_bytes(wrong)
            answer = await link.receive()
            link.match(*ask, answer)
            link.expect_code(answer, probe.codes.format)
        await link.is_alive()


@behaviour(17, "the card number may come from track 2")
async def from_the_track(probe: Probe) -> None:
    """Send a payment with DE35 in place of DE2 and DE14."""
    probe.need("0100")
    card = probe.profile.cards.good
    async with probe.link() as link:
        track = f"{card.pan}={card.expiry}2010000"
        await link.approve(*probe.payment(de2="", de14="", de35=track))


@behaviour(17, "field and track must name the same card")
async def two_cards(probe: Probe) -> None:
    """Send DE2 of one card and DE35 of another."""
    probe.need("0100")
    card = probe.profile.cards.poor
    async with probe.link() as link:
        track = f"{card.pan}={card.expiry}2010000"
        await link.refuse(*probe.payment(de35=track), probe.codes.format)


@behaviour(18, "unknown chip data tags are taken; a cut one is a format fault")
async def chip_data(probe: Probe) -> None:
    """Send DE55 with a private tag, then with a tag longer than the field."""
    if not probe.profile.host.reads_chip_data:
        raise Skipped("host.reads_chip_data is false")
    async with probe.link() as link:
        good = "9F2608" + "11" * 8 + "DF7F03AABBCC"
        await link.approve(*probe.payment(de55=good))
        await link.refuse(*probe.payment(de55="9F26" + "08" + "11"), probe.codes.format)
