"""Behaviours 23 to 39: authorizations, their answers, repeats and duplicates."""

import asyncio

from bench.conformance.money import show_left
from bench.conformance.probe import Failed, Probe, Skipped, changed
from bench.conformance.registry import behaviour

_SECRET = (35, 45, 52, 55)
_AT_ONCE = 8


@behaviour(23, "0100 and 0101 are answered 0110, 0200 with 0210")
async def reply_types(probe: Probe) -> None:
    """The type of each answer is checked with every question; here once for each."""
    async with probe.link() as link:
        for mti in ("0100", "0101", "0200", "0201"):
            if mti[:3] + "0" in probe.profile.host.serves:
                await link.approve(*probe.payment(mti=mti))


@behaviour(24, "fields come back byte for byte, secrets never")
async def echo(probe: Probe) -> None:
    """Compare every field of the echo list; approved and declined."""
    probe.need("0100")
    card = probe.profile.cards.good
    track = f"{card.pan}={card.expiry}2010000"
    async with probe.link() as link:
        for ask in (probe.payment(de35=track), probe.payment(de2=probe.profile.cards.unknown)):
            answer = await link.ask(*ask)
            for number in probe.profile.host.echo:
                if answer.fields.get(number) != ask[1].get(number):
                    raise Failed(f"DE{number} as it was sent", "another value or none")
            for number in _SECRET:
                if number in answer.fields:
                    raise Failed(f"no DE{number}", f"DE{number}")


@behaviour(25, "DE38 on approvals only, another each time; DE39 always")
async def approval_codes(probe: Probe) -> None:
    """Compare the codes of twenty approvals, and look for one on a decline."""
    probe.need("0100")
    async with probe.link() as link:
        codes = [(await link.approve(*probe.payment())).fields.get(38, "") for _ in range(20)]
        if any(len(code) != 6 or not code.isalnum() for code in codes):
            raise Failed("six letters or digits in DE38", "something else")
        if len(set(codes)) != len(codes):
            raise Failed("20 different approval codes", f"{len(set(codes))}")
        refused = await link.ask(*probe.payment(de2=probe.profile.cards.unknown))
        if refused.fields.get(38, "").strip("0 "):
            raise Failed("no DE38 on a decline", "one")


@behaviour(26, "a missing mandatory field is a format fault; a further one is passed over")
async def presence(probe: Probe) -> None:
    """Leave out amount, then processing code; then add DE43."""
    probe.need("0100")
    async with probe.link() as link:
        for ask in (probe.payment(de4=""), probe.payment(de3="")):
            await link.refuse(*ask, probe.codes.format)
        await link.approve(*probe.payment(de43="CONFORMANCE".ljust(40)))


@behaviour(27, "each reason has its code")
async def reasons(probe: Probe) -> None:
    """Unknown card, wrong check digit, funds, and the cards that the profile names."""
    probe.need("0100")
    cards, codes = probe.profile.cards, probe.codes
    async with probe.link() as link:
        await link.refuse(*probe.payment(de2=cards.unknown), codes.unknown_card)
        wrong = cards.unknown[:-1] + str((int(cards.unknown[-1]) + 1) % 10)
        await link.refuse(*probe.payment(de2=wrong), codes.check_digit)
        over = cards.poor.available_minor + 1
        await link.refuse(*probe.payment(cards.poor, over), codes.funds)
        for card, code in (
            (cards.lost, codes.lost),
            (cards.stolen, codes.stolen),
            (cards.blocked, codes.blocked),
            (cards.expired, codes.expired),
        ):
            if card is not None:
                await link.refuse(*probe.payment(card), code)


@behaviour(29, "amount zero checks the card and holds nothing")
async def account_check(probe: Probe) -> None:
    """Ask for nothing, then for all there is."""
    probe.need("0100")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        await link.refuse(*probe.payment(poor, 0), f"{probe.codes.approved} 85")
        await show_left(probe, link, poor.available_minor)


@behaviour(30, "another currency and the largest amount are refused, nothing breaks")
async def amounts(probe: Probe) -> None:
    """Ask in a currency that the account has not, and for all nines."""
    probe.need("0100")
    async with probe.link() as link:
        answer = await link.ask(*probe.payment(de49=probe.profile.other_currency))
        if answer.fields.get(39) == probe.codes.approved:
            raise Failed("a decline in another currency", "an approval")
        await link.refuse(*probe.payment(amount_minor=10**12 - 1), probe.codes.funds + " 61 13")
        await link.approve(*probe.payment())


@behaviour(32, "payments at the same moment never spend more than there is")
async def at_once(probe: Probe) -> None:
    """Ask for all there is on several links at once; exactly one is approved."""
    probe.need("0100")
    poor = probe.profile.cards.poor
    asks = [probe.payment(poor, poor.available_minor) for _ in range(_AT_ONCE)]

    async def one(ask: tuple[str, dict[int, str]]) -> bool:
        async with probe.link() as link:
            return (await link.ask(*ask)).fields.get(39) == probe.codes.approved

    said = await asyncio.gather(*(one(ask) for ask in asks))
    async with probe.link() as link:
        for ask, was_approved in zip(asks, said, strict=True):
            if was_approved:
                await link.ask(*probe.reversal(ask))
    if sum(said) != 1:
        raise Failed(f"1 approval of {_AT_ONCE}", f"{sum(said)}")


@behaviour(33, "a repeat gets the same bytes and posts nothing")
async def repeat(probe: Probe) -> None:
    """Repeat an approval of all there is and a decline; the reversal then gives all back."""
    probe.need("0100")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        for ask in (
            probe.payment(poor, poor.available_minor),
            probe.payment(poor, poor.available_minor + 1),
        ):
            first = await link.ask(*ask)
            for _ in range(2):
                if (await link.ask("0101", ask[1])).raw != first.raw:
                    raise Failed("the first answer again, byte for byte", "another")
            if first.fields[39] == probe.codes.approved:
                await link.ask(*probe.reversal(ask))
        await show_left(probe, link, poor.available_minor)


@behaviour(34, "a request and its repeat in one piece are one decision")
async def in_flight(probe: Probe) -> None:
    """Both are answered the same; money moves once."""
    probe.need("0100")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor)
        await link.send(ask, ("0101", ask[1]))
        first, second = await link.receive(), await link.receive()
        link.expect_code(first, probe.codes.approved)
        if first.raw != second.raw:
            raise Failed("the same answer twice", "two answers")
        await link.approve(*probe.reversal(ask))
        await show_left(probe, link, poor.available_minor)


@behaviour(35, "a repeat whose request never came is decided as new")
async def lone_repeat(probe: Probe) -> None:
    """Send a 0101 alone; the 0100 that comes later is its duplicate."""
    probe.need("0100")
    async with probe.link() as link:
        _, fields = probe.payment()
        first = await link.approve("0101", fields)
        if (await link.ask("0100", fields)).raw != first.raw:
            raise Failed("the answer of the repeat", "another")


@behaviour(36, "the same request again is a duplicate; with other facts it is refused")
async def duplicates(probe: Probe) -> None:
    """Send an identical 0100, then one with another amount under the same key."""
    probe.need("0100")
    async with probe.link() as link:
        ask = probe.payment()
        first = await link.approve(*ask)
        again = await link.ask(*ask)
        if again.raw != first.raw and again.fields[39] not in probe.codes.differs.split():
            raise Failed("the first answer, or a refusal as duplicate", "another answer")
        other = changed(ask[1], de4=f"{int(ask[1][4]) + 1:012d}")
        await link.refuse("0100", other, probe.codes.differs)


@behaviour(37, "class, time, STAN, acquirer and terminal are the key")
async def key(probe: Probe) -> None:
    """Change one part of the key at a time; a reversal with the STAN of its original is none."""
    probe.need("0100")
    async with probe.link() as link:
        ask = probe.payment()
        first = await link.approve(*ask)
        parts = {"de7": "0101000000", "de11": "999998", "de32": "400098", "de41": "CONF0002"}
        for name, value in parts.items():
            answer = await link.approve("0100", changed(ask[1], **{name: value}))
            if answer.fields.get(38) == first.fields.get(38):
                raise Failed(f"a new decision with another {name.upper()}", "the first answer")
        await link.approve(*probe.reversal(ask))


@behaviour(38, "a message without DE7 is served, and its repeat known")
async def no_time(probe: Probe) -> None:
    """Leave DE7 out."""
    if not probe.profile.host.takes_dates_absent:
        raise Skipped("host.takes_dates_absent is false")
    async with probe.link() as link:
        ask = probe.payment(de7="")
        first = await link.approve(*ask)
        if (await link.ask("0101", ask[1])).raw != first.raw:
            raise Failed("the first answer to the repeat", "another")


@behaviour(39, "a STAN that comes round with another time is new; turns of year and leap days pass")
async def stan_again(probe: Probe) -> None:
    """Reuse one STAN on 31 December, 1 January and 29 February."""
    probe.need("0100")
    async with probe.link() as link:
        ask = probe.payment(de7="1231235959")
        await link.approve(*ask)
        for when in ("0101000000", "0229120000"):
            await link.approve("0100", changed(ask[1], de7=when))
