"""Behaviours 19 to 22: sign-on, sign-off, echo tests, notifications."""

from bench.conformance.probe import Failed, Probe, Skipped
from bench.conformance.registry import behaviour


@behaviour(19, "sign-on, echo and sign-off are answered 00, the echo after it too")
async def session(probe: Probe) -> None:
    """Sign on, test, sign off, test."""
    async with probe.link(sign_on=False) as link:
        for code in ("301", "001", "301", "002", "301"):
            await link.approve(*probe.network(code))


@behaviour(19, "7, 11, 70 and, if sent, 41 come back")
async def echoed(probe: Probe) -> None:
    """Compare the fields of an echo test, with a terminal and without."""
    async with probe.link() as link:
        for extra in ({}, {"de41": "CONF0001"}):
            mti, fields = probe.network(**extra)
            answer = await link.ask(mti, fields)
            for number in (7, 70, 41):
                if answer.fields.get(number) != fields.get(number):
                    raise Failed(f"DE{number} as it was sent", _what(answer.fields.get(number)))


@behaviour(20, "without sign-on: refused where the profile demands it, served where not")
async def not_signed_on(probe: Probe) -> None:
    """Ask on a fresh link."""
    probe.need("0100")
    async with probe.link(sign_on=False) as link:
        ask = probe.payment()
        if not probe.profile.host.require_sign_on:
            await link.approve(*ask)
            return
        await link.refuse(*ask, probe.codes.not_signed_on)
        await link.approve(*probe.network("001"))
        await link.approve(*probe.payment())


@behaviour(21, "a network notification is answered 00, and so is its repeat")
async def notification(probe: Probe) -> None:
    """Send a 0820 and a 0821: an echo, then that the business day has changed."""
    probe.need("0820")
    async with probe.link() as link:
        for code in ("301", "201"):
            told = probe.network(code, mti="0820")
            await link.approve(*told)
            await link.approve("0821", told[1])


@behaviour(22, "the sign-off of one link does not touch another; a reconnect starts signed off")
async def sessions_are_apart(probe: Probe) -> None:
    """Sign two on, one off; then come back."""
    probe.need("0100")
    if not probe.profile.host.require_sign_on:
        raise Skipped("host.require_sign_on is false")
    async with probe.link() as one, probe.link() as two:
        await one.approve(*probe.network("002"))
        await two.approve(*probe.payment())
        await one.refuse(*probe.payment(), probe.codes.not_signed_on)
    async with probe.link(sign_on=False) as link:
        await link.refuse(*probe.payment(), probe.codes.not_signed_on)


def _what(value: str | None) -> str:
    return "none" if value is None else "another value"
