"""Behaviours 28, 29, 42, 43, 49 and 50: parts, balances, advices, completions, 0200, increments."""

from bench.conformance.money import again, give_back, keep_of, named, show_left
from bench.conformance.probe import Failed, Probe, Skipped
from bench.conformance.registry import behaviour


@behaviour(28, "a part is approved where terminal and profile allow it")
async def partial(probe: Probe) -> None:
    """Ask for more than there is, with the flag of the profile; the repeat says the same."""
    host, poor = probe.profile.host, probe.profile.cards.poor
    if not host.partial_approval:
        raise Skipped("host.partial_approval is false")
    async with probe.link() as link:
        over = poor.available_minor + 500
        ask = probe.payment(poor, over, **{f"de{host.partial_field}": host.partial_value})
        answer = await link.refuse(*ask, probe.codes.partial)
        repeat = await link.ask("0101", ask[1])
        part = answer.fields.get(4, "")
        await link.ask(*probe.reversal(ask, de4=part))  # of what was approved
        if answer.fields.get(4) != f"{poor.available_minor:012d}":
            raise Failed("DE4 with the approved amount", "another amount")
        if f"{over:012d}" not in answer.fields.get(54, ""):
            raise Failed("DE54 with the amount that was asked for", "none, or another amount")
        if repeat.raw != answer.raw:
            raise Failed("the same answer to the repeat", "another")
        await show_left(probe, link, poor.available_minor)


@behaviour(28, "no part is approved where the terminal does not say that it takes one")
async def whole_only(probe: Probe) -> None:
    """Ask for more than there is, without the flag, and for cash with it."""
    host, poor = probe.profile.host, probe.profile.cards.poor
    if not host.partial_approval:
        raise Skipped("host.partial_approval is false")
    async with probe.link() as link:
        over = poor.available_minor + 500
        flag = {f"de{host.partial_field}": host.partial_value}
        for ask in (probe.payment(poor, over), probe.payment(poor, over, de3="010000", **flag)):
            answer = await link.ask(*ask)
            if answer.fields.get(39) == probe.codes.partial:
                await link.ask(*probe.reversal(ask))
            link.expect_code(answer, probe.codes.funds)
        await show_left(probe, link, poor.available_minor)


@behaviour(29, "a balance inquiry says what is left and posts nothing")
async def balance(probe: Probe) -> None:
    """Ask with processing code 310000; DE54 must be there, and all is left afterwards."""
    if not probe.profile.host.balance_inquiry:
        raise Skipped("host.balance_inquiry is false")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        for amount_minor in (0, 100):
            ask = probe.payment(poor, amount_minor, de3="310000")
            answer = await link.approve(*ask)
            if f"{poor.available_minor:012d}" not in answer.fields.get(54, ""):
                raise Failed("DE54 with what is available", "none, or another amount")
        await show_left(probe, link, poor.available_minor)


@behaviour(29, "an amount that is held is not in the balance")
async def balance_less_hold(probe: Probe) -> None:
    """Hold a part, ask, give it back."""
    if not probe.profile.host.balance_inquiry:
        raise Skipped("host.balance_inquiry is false")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        held = probe.payment(poor, 300)
        await link.approve(*held)
        answer = await link.approve(*probe.payment(poor, 0, de3="310000"))
        await link.ask(*probe.reversal(held))
        if f"{poor.available_minor - 300:012d}" not in answer.fields.get(54, ""):
            raise Failed("DE54 with what is available less the hold", "none, or another amount")


@behaviour(42, "an advice of an approved payment replaces its hold")
async def advice_replaces(probe: Probe) -> None:
    """Hold all, then advise half of it: the other half is free again."""
    probe.need("0100")
    probe.need("0120")
    poor = probe.profile.cards.poor
    half = poor.available_minor // 2
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor)
        await link.approve(*ask)
        await link.approve(*named(probe, ask, "0120", de4=f"{half:012d}"))
        await show_left(probe, link, poor.available_minor - half)
        await link.approve(*probe.reversal(ask))
        await show_left(probe, link, poor.available_minor)


@behaviour(41, "an advice that reports a decline is answered 00 and holds nothing")
async def declined_advice(probe: Probe) -> None:
    """Send a 0120 with DE39 of a decline, alone and of a payment that is held."""
    probe.need("0100")
    probe.need("0120")
    poor = probe.profile.cards.poor
    code = probe.codes.funds.split()[0]
    async with probe.link() as link:
        await link.approve(*probe.payment(poor, 300, mti="0120", de39=code))
        await show_left(probe, link, poor.available_minor)
        ask = probe.payment(poor, 300)
        await link.approve(*ask)
        await link.approve(*named(probe, ask, "0120", de39=code))
        await show_left(probe, link, poor.available_minor)
        await link.ask(*probe.reversal(ask))


@behaviour(43, "a completion takes its hold, once, and gives the rest back")
async def completion_takes_the_hold(probe: Probe) -> None:
    """Hold all, complete all but 200 of it and repeat that; then undo it."""
    probe.need("0100")
    probe.need("0220")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor)
        await link.approve(*ask)
        done = named(probe, ask, "0220", de4=f"{poor.available_minor - 200:012d}")
        await link.approve(*done)
        await link.approve("0221", done[1])
        await show_left(probe, link, 200)
        await give_back(probe, link, done)
        await show_left(probe, link, poor.available_minor)


@behaviour(23, "a 0200 takes the money at once; its reversal is a refund, or refused by profile")
async def financial(probe: Probe) -> None:
    """Pay all but 100 by 0200; undo it by its reversal (49), or by a refund."""
    probe.need("0200")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor - 100, mti="0200")
        await link.approve(*ask)
        await show_left(probe, link, 100)
        await give_back(probe, link, ask)
        await show_left(probe, link, poor.available_minor)


@behaviour(49, "the reversal of a captured payment is a refund once, or refused by profile")
async def captured(probe: Probe) -> None:
    """Reverse a 0200 twice: money comes back at most once."""
    probe.need("0200")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, 300, mti="0200")
        await link.approve(*ask)
        await give_back(probe, link, ask)
        is_refund = probe.profile.host.captured_reversal == "refund"
        second = named(probe, ask, "0420")
        await link.refuse(*second, probe.codes.approved if is_refund else probe.codes.captured)
        await show_left(probe, link, poor.available_minor)


@behaviour(49, "a payment and its completion, both reversed, give the money back once")
async def captured_by_both(probe: Probe) -> None:
    """Hold all and complete it; undo the completion, then reverse the payment too."""
    probe.need("0100")
    probe.need("0220")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, poor.available_minor)
        await link.approve(*ask)
        done = named(probe, ask, "0220")
        await link.approve(*done)
        await give_back(probe, link, done)
        await link.ask(*again(probe, probe.reversal(ask)))
        await show_left(probe, link, poor.available_minor)


@behaviour(50, "of what was captured DE95 keeps a part")
async def captured_in_part(probe: Probe) -> None:
    """Reverse a 0200 of 300 so that 100 stay, then the rest."""
    probe.need("0200")
    if probe.profile.host.captured_reversal != "refund":
        raise Skipped("host.captured_reversal is not refund")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        ask = probe.payment(poor, 300, mti="0200")
        await link.approve(*ask)
        await link.approve(*probe.reversal(ask, de95=keep_of(100)))
        await show_left(probe, link, poor.available_minor - 100)
        await link.approve(*again(probe, probe.reversal(ask)))
        await show_left(probe, link, poor.available_minor)


@behaviour(45, "a payment and its increments are one hold")
async def increments(probe: Probe) -> None:
    """Hold 300, add 200 and 100 under the same DE37; undo an increment, then all."""
    probe.need("0100")
    if not probe.profile.host.incremental:
        raise Skipped("host.incremental is false")
    poor = probe.profile.cards.poor
    async with probe.link() as link:
        first = probe.payment(poor, 300)
        second, third = (probe.payment(poor, n, de37=first[1][37]) for n in (200, 100))
        for ask in (first, second, third):
            await link.approve(*ask)
        await show_left(probe, link, poor.available_minor - 600)
        await link.approve(*probe.reversal(second))
        await show_left(probe, link, poor.available_minor - 400)
        await link.approve(*probe.reversal(first))
        await show_left(probe, link, poor.available_minor)
