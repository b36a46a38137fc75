"""``de39 conformance``: the behaviours that can be seen from outside, against any host, scored."""

import asyncio
import json as json_text
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.conformance import (
    amount_checks,
    framing_checks,
    later_checks,
    network_checks,
    payment_checks,
)
from bench.conformance.probe import Failed, Probe, Skipped, shown_sent
from bench.conformance.profile import Profile, load_profile
from bench.conformance.registry import CHECKS, Check
from engine.config import split_address
from engine.errors import ConfigError, ProblemFoundError, UnavailableError, UsageError, run_command
from engine.messages import MessageCodec
from engine.wire.dialect import Dialect, load_builtin, load_dialect

# Registered when they are imported.
_GROUPS = (framing_checks, network_checks, payment_checks, amount_checks, later_checks)
_CHECK_TIMEOUT_S = 120.0


class Verdict(msgspec.Struct, frozen=True):
    """What became of one check; ``sent`` is masked."""

    behaviour: int
    title: str
    verdict: str  # passed, failed or skipped
    expected: str = ""
    got: str = ""
    sent: list[str] = []
    reason: str = ""


class Report(msgspec.Struct, frozen=True):
    """The whole run; ``score`` is passed / (passed + failed)."""

    target: str
    profile: str
    passed: int
    failed: int
    skipped: int
    score: float
    seconds: float
    checks: list[Verdict]


@run_command
def run(
    *, target: str, profile: Path, only: str = "", json: bool = False, quiet: bool = False
) -> None:
    """Check a host from outside; exit code 1 when it fails some checks.

    Parameters
    ----------
    target
        HOST:PORT of the host under test. Payments are made with the cards of the profile.
    profile
        TOML file that says what the host is set up for, or the name of a shipped one: de39.
    only
        Numbers of behaviours, separated by commas; all when left out.
    json
        Print one JSON object in place of the table.
    quiet
        Do not say on stderr how far it is.
    """
    settings = load_profile(profile)
    try:
        address = split_address(target)
        numbers = {int(part) for part in only.split(",")} if only else set()
    except ValueError as problem:
        raise UsageError(f"--target or --only: {problem}") from None
    report = asyncio.run(check_host(address, settings, numbers, None if quiet else _say))
    if json:
        sys.stdout.write(json_text.dumps(msgspec.to_builtins(report)) + "\n")
    else:
        sys.stdout.write(as_text(report))
    if report.failed:
        raise ProblemFoundError(f"{target}: {report.failed} of {len(report.checks)} checks failed")


async def check_host(
    address: tuple[str, int],
    profile: Profile,
    numbers: set[int],
    say: Callable[[str], None] | None = None,
) -> Report:
    """Run the checks of ``numbers`` (empty = all), one after the other.

    Raises ``UnavailableError`` when nobody listens there.
    """
    codec = MessageCodec(_dialect(profile.dialect))
    started = time.monotonic()
    await _knock(address, profile)
    verdicts: list[Verdict] = []
    chosen = sorted((c for c in CHECKS if not numbers or c.number in numbers), key=_number)
    for check in chosen:
        verdicts.append(await _one(check, Probe(address, profile, codec)))
        if say is not None:
            last = verdicts[-1]
            say(f"{len(verdicts)}/{len(chosen)}  {last.behaviour:>2}  {last.verdict}: {last.title}")
    passed = sum(v.verdict == "passed" for v in verdicts)
    failed = sum(v.verdict == "failed" for v in verdicts)
    return Report(
        target=f"{address[0]}:{address[1]}",
        profile=profile.name,
        passed=passed,
        failed=failed,
        skipped=len(verdicts) - passed - failed,
        score=round(passed / max(passed + failed, 1), 4),
        seconds=round(time.monotonic() - started, 3),
        checks=verdicts,
    )


def as_text(report: Report) -> str:
    """Return the report for people: a line a check, what went wrong under it, and the score."""
    lines = [f"{report.profile} at {report.target}", ""]
    for check in report.checks:
        lines.append(f"{check.behaviour:>3}  {check.verdict:<7}  {check.title}")
        if check.verdict == "skipped":
            lines.append(f"              {check.reason}")
        if check.verdict == "failed":
            lines.append(f"              expected  {check.expected}")
            lines.append(f"              got       {check.got}")
            lines += [f"              sent      {message}" for message in check.sent]
    counts = f"{report.passed} passed, {report.failed} failed, {report.skipped} skipped"
    lines += ["", f"{counts}: {100 * report.score:.1f} % of what was checked"]
    return "\n".join(lines) + "\n"


async def _one(check: Check, probe: Probe) -> Verdict:
    sent: list[str] = []
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            await check.run(probe)
    except Skipped as skipped:
        return Verdict(check.number, check.title, "skipped", reason=str(skipped))
    except Failed as failed:
        expected, got = failed.expected, failed.got
    except TimeoutError:
        expected, got = f"an end within {_CHECK_TIMEOUT_S:.0f} s", "none"
    except ValueError as problem:
        expected, got = "a message that the dialect can carry", str(problem)
    else:
        return Verdict(check.number, check.title, "passed")
    sent = shown_sent(probe.sent)
    return Verdict(check.number, check.title, "failed", expected, got, sent)


async def _knock(address: tuple[str, int], profile: Profile) -> None:
    try:
        async with asyncio.timeout(profile.answer_timeout_s):
            _, writer = await asyncio.open_connection(*address)
    except (OSError, TimeoutError):
        raise UnavailableError(f"nobody listens on {address[0]}:{address[1]}") from None
    writer.close()


def _dialect(name: str) -> Dialect:
    if name.endswith(".toml"):
        return load_dialect(Path(name))
    try:
        return load_builtin(name)
    except ValueError as problem:
        raise ConfigError(f"profile: dialect: {problem}") from None


def _number(check: Check) -> int:
    return check.number


def _say(text: str) -> None:
    sys.stderr.write(f"de39: {text}\n")
