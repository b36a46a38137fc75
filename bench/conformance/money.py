"""What is left on the poor card: the witness of the checks that move money."""

from bench.conformance.probe import Fields, Probe, ProbeLink

Ask = tuple[str, Fields]


async def show_left(probe: Probe, link: ProbeLink, amount_minor: int) -> None:
    """Show that exactly ``amount_minor`` is left on the poor card; it is left again afterwards."""
    poor = probe.profile.cards.poor
    if amount_minor:
        ask = probe.payment(poor, amount_minor)
        await link.approve(*ask)
    try:
        await link.refuse(*probe.payment(poor, 1), probe.codes.funds)
    finally:
        if amount_minor:
            await link.ask(*probe.reversal(ask))


async def give_back(probe: Probe, link: ProbeLink, captured: Ask) -> None:
    """Undo what was captured: by its reversal, or by a refund where the host refuses that."""
    poor = probe.profile.cards.poor
    back = probe.reversal(captured)
    if probe.profile.host.captured_reversal == "refund":
        await link.approve(*back)
        return
    await link.refuse(*back, probe.codes.captured)
    amount_minor = int(captured[1][4])
    await link.approve(*probe.payment(poor, amount_minor, mti="0220", de3="200000"))


def named(probe: Probe, ask: Ask, mti: str, **changes: str) -> Ask:
    """Return an advice or a completion of its own key that names ``ask`` in DE90."""
    fresh = probe.payment()[1]
    _, fields = probe.reversal(ask, **changes)
    return mti, {**fields, 7: fresh[7], 11: fresh[11]}


def again(probe: Probe, ask: Ask) -> Ask:
    """Return the message under a STAN of its own."""
    return ask[0], {**ask[1], 11: probe.payment()[1][11]}


def keep_of(amount_minor: int) -> str:
    """Return a DE95 that says how much stays."""
    return f"{amount_minor:012d}" + "0" * 12 + "D00000000" * 2
