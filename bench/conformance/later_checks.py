"""Behaviours 41 to 52: advices and reversals. What is left on the poor card is the witness."""

from bench.conformance.money import again, keep_of, show_left
from bench.conformance.probe import Failed, Probe, Skipped
from bench.conformance.registry import behaviour


@behaviour(41, "an advice is answered 00 and posted, over the limit too")
async def advice(probe: Probe) -> None:
    """Send a 0120 for more than is left; nothing is left after it; reverse it."""
    probe.need("0120")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        told = probe.payment(poor, poor.available_minor + 200, mti="0120")
        await link.approve(*told)
        await link.refuse(*probe.payment(poor, 1), probe.codes.funds)
        await link.approve(*probe.reversal(told))
        await show_left(probe, link, poor.available_minor)


@behaviour(42, "a repeated advice is answered again and posted once")
async def adviceagain(probe: Probe) -> None:
    """Send 0120, 0121 and 0121 for half of what is left."""
    probe.need("0120")
    poor = probe.profile.cards.poor
    half = poor.available_minor // 2
    async with probe.link() as link:
        told = probe.payment(poor, half, mti="0120")
        for mti in ("0120", "0121", "0121"):
            await link.approve(mti, told[1])
        await show_left(probe, link, poor.available_minor - half)
        await link.approve(*probe.reversal(told))
        await show_left(probe, link, poor.available_minor)


@behaviour(43, "a completion is answered 00, with its authorization or without")
async def completion(probe: Probe) -> None:
    """Complete an authorization with a 0220 that names it, then send one out of nothing."""
    probe.need("0220")
    async with probe.link() as link:
        first = probe.payment()
        await link.approve(*first)
        _, named = probe.reversal(first)
        fresh = probe.payment()[1]
        await link.approve("0220", {**named, 11: fresh[11], 7: fresh[7]})
        await link.approve(*probe.payment(mti="0220"))


@behaviour(45, "a reversal gives the money back")
async def reversal(probe: Probe) -> None:
    """Spend all, reverse, and find all of it again."""
    probe.need("0420")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor)
        await link.approve(*ask)
        await link.refuse(*probe.payment(poor, 1), probe.codes.funds)
        await link.approve(*probe.reversal(ask))
        await show_left(probe, link, poor.available_minor)


@behaviour(46, "a second reversal is answered 00 and moves nothing")
async def reversed_twice(probe: Probe) -> None:
    """Send 0420, 0421 and a 0420 of its own key."""
    probe.need("0420")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor)
        await link.approve(*ask)
        back = probe.reversal(ask)
        await link.approve(*back)
        await link.approve("0421", back[1])
        fresh = probe.payment()[1]
        await link.approve("0420", {**back[1], 11: fresh[11]})
        await show_left(probe, link, poor.available_minor)


@behaviour(47, "an advice of reversal without its original is answered as the profile says")
async def orphan(probe: Probe) -> None:
    """Reverse what was never asked."""
    probe.need("0420")
    async with probe.link() as link:
        await link.refuse(*probe.reversal(probe.payment()), probe.codes.orphan)


@behaviour(48, "a payment that comes after its reversal is not approved")
async def overtaken(probe: Probe) -> None:
    """Send the reversal first."""
    probe.need("0420")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor)
        await link.refuse(*probe.reversal(ask), probe.codes.orphan)
        answer = await link.ask(*ask)
        if answer.fields.get(39) == probe.codes.approved:
            await link.ask(*again(probe, probe.reversal(ask)))
            raise Failed("a decline of what was reversed before", "an approval")
        await show_left(probe, link, poor.available_minor)


@behaviour(49, "the reversal of a declined payment moves nothing")
async def of_a_decline(probe: Probe) -> None:
    """Spend all, have one unit declined, reverse that."""
    probe.need("0420")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor)
        await link.approve(*ask)
        declined = probe.payment(poor, 1)
        await link.refuse(*declined, probe.codes.funds)
        await link.approve(*probe.reversal(declined))
        try:
            await link.refuse(*probe.payment(poor, 1), probe.codes.funds)
        finally:
            await link.ask(*probe.reversal(ask))


@behaviour(50, "DE95 keeps a part of the amount; more than the original is refused")
async def in_part(probe: Probe) -> None:
    """Keep all but 300 units, then try to keep more than there was."""
    probe.need("0420")
    poor = probe.profile.cards.poor
    if poor.available_minor < 400:
        raise Failed("cards.poor.available_minor of 400 or more in the profile", "less")
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor)
        await link.approve(*ask)
        await link.approve(*probe.reversal(ask, de95=keep_of(poor.available_minor - 300)))
        await show_left(probe, link, 300)
        too_much = again(probe, probe.reversal(ask, de95=keep_of(poor.available_minor + 1)))
        await link.refuse(*too_much, probe.codes.too_much)
        await link.ask(*again(probe, probe.reversal(ask)))
        await show_left(probe, link, poor.available_minor)


@behaviour(51, "a reversal finds its original by DE90, and without it by DE37 and DE41")
async def found(probe: Probe) -> None:
    """Reverse one payment by its key, one by its RRN; another amount finds nothing."""
    probe.need("0420")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        for by_key in (True, False):
            ask = probe.payment(poor, poor.available_minor)
            await link.approve(*ask)
            back = again(probe, probe.reversal(ask))
            if not by_key:
                back[1].pop(90)
            wrong = again(probe, (back[0], {**back[1], 4: f"{poor.available_minor + 1:012d}"}))
            await link.ask(*wrong)
            await link.refuse(*probe.payment(poor, 1), probe.codes.funds)
            await link.approve(*back)
        await show_left(probe, link, poor.available_minor)


@behaviour(51, "a reversal that names another card finds nothing")
async def of_another_card(probe: Probe) -> None:
    """Spend all; name a card that has other money, and one that nobody has."""
    probe.need("0420")
    cards = probe.profile.cards
    async with probe.link() as link:
        ask = probe.payment(cards.poor, cards.poor.available_minor)
        await link.approve(*ask)
        for pan in (cards.good.pan, cards.unknown):
            await link.ask(*again(probe, probe.reversal(ask, de2=pan)))
            await link.refuse(*probe.payment(cards.poor, 1), probe.codes.funds)
        await link.approve(*again(probe, probe.reversal(ask)))
        await show_left(probe, link, cards.poor.available_minor)


@behaviour(51, "without DE90 and DE37 a reversal goes by STAN, terminal and local date")
async def found_by_local_date(probe: Probe) -> None:
    """Reverse a payment that had no RRN; DE7 is the reversal's own."""
    probe.need("0420")
    if not probe.profile.host.finds_by_local_date:
        raise Skipped("host.finds_by_local_date is false")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor, de37="")
        await link.approve(*ask)
        back = probe.reversal(ask, de90="", de7="0101000000")
        await link.ask(back[0], {**back[1], 41: "CONF0002"})
        await link.refuse(*probe.payment(poor, 1), probe.codes.funds)
        await link.approve(*back)
        await show_left(probe, link, poor.available_minor)


@behaviour(52, "a 0400 without its original may be refused, a 0420 may not")
async def request_form(probe: Probe) -> None:
    """Reverse what was never asked, in both forms."""
    probe.need("0400")
    probe.need("0420")
    async with probe.link() as link:
        await link.refuse(*probe.reversal(probe.payment(), "0400"), probe.codes.original_unknown)
        await link.refuse(*probe.reversal(probe.payment(), "0420"), probe.codes.orphan)
