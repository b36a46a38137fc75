"""The kit passes on an honest host and finds every way in which one can be broken."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.conformance.profile import PROFILES, Profile, load_profile
from bench.conformance.run import Report, as_text, check_host
from tests.support.broken_flags import FLAGS
from tests.support.broken_host import BrokenHost, Card

_SHIPPED = load_profile(Path("de39"))
_PROFILE = msgspec.structs.replace(
    _SHIPPED,
    name="the double",
    answer_timeout_s=1.0,
    silence_s=0.1,
    host=msgspec.structs.replace(
        _SHIPPED.host, frame_timeout_s=1, answers_in_order=True, incremental=True
    ),
)
# Flag -> the behaviours whose checks must fail; others may fail with them.
FOUND_BY = {
    "cuts_need_one_read": 1,
    "one_answer_a_read": 1,
    "keeps_link_on_bad_length": 2,
    "closes_on_keepalive": 3,
    "waits_in_a_frame": 4,
    "closes_when_client_ends": 5,
    "reverses_order": 6,
    "crosses_links": 7,
    "forgets_on_reset": 7,
    "closes_on_format_error": 11,
    "names_no_field": 11,
    "answers_responses": 12,
    "answers_unreadable": 12,
    "silent_on_unknown_type": 13,
    "refuses_empty_secondary": 14,
    "lax_lengths": 15,
    "needs_de2": 17,
    "ignores_mismatch": 17,
    "drops_de41_in_echo": 19,
    "refuses_echo_when_signed_off": 19,
    "forgets_sign_off": 22,
    "shares_sign_off": 22,
    "keeps_repeat_digit": 23,
    "restamps_de7": 24,
    "echoes_track": 24,
    "same_approval_code": 25,
    "approval_code_on_declines": 25,
    "takes_missing_amount": 26,
    "one_code_for_all": 27,
    "holds_for_zero": 29,
    "any_currency": 30,
    "overspends": 32,
    "forgets_repeats": 33,
    "answers_repeats_94": 33,
    "answers_out_of_thin_air": 35,
    "same_key_any_amount": 36,
    "key_without_terminal": 37,
    "key_without_class": 37,
    "keeps_hold_on_reversal": 45,
    "reverses_twice": 46,
    "refuses_orphans": 47,
    "approves_reversed_originals": 48,
    "returns_declined": 49,
    "ignores_de95": 50,
    "matches_any_amount": 51,
    "needs_de90": 51,
    "posts_advice_twice": 42,
    "declines_advices": 41,
    "refuses_0820": 21,
    "part_without_flag": 28,
    "part_without_amounts": 28,
    "part_decided_anew": 28,
    "no_balance": 29,
    "inquiry_holds": 29,
    "balance_with_holds": 29,
    "refuses_unknown_tags": 18,
    "takes_cut_tags": 18,
    "completion_beside_hold": 43,
    "advice_beside_hold": 42,
    "needs_rrn": 51,
    "holds_declined_advices": 41,
    "captures_nothing": 23,
    "refunds_twice": 49,
    "refunds_by_both": 49,
    "refunds_whole_captures": 50,
    "matches_any_card": 51,
    "increments_apart": 45,
}
_NEEDS_SIGN_ON = ("forgets_sign_off", "shares_sign_off")


def _cards() -> dict[str, Card]:
    cards = _PROFILE.cards
    made = {cards.good.pan: Card(10**6), cards.poor.pan: Card(cards.poor.available_minor)}
    refusals = (
        (cards.lost, "41"),
        (cards.stolen, "43"),
        (cards.blocked, "62"),
        (cards.expired, "54"),
    )
    return made | {card.pan: Card(0, refusal=code) for card, code in refusals if card is not None}


def _run(flags: tuple[str, ...], numbers: set[int], profile: Profile = _PROFILE) -> Report:
    async def run() -> Report:
        host_profile = profile.host
        async with BrokenHost(
            _cards(),
            flags,
            host_profile.require_sign_on,
            is_incremental=host_profile.incremental,
            refunds_captures=host_profile.captured_reversal == "refund",
        ) as host:
            return await check_host(("127.0.0.1", host.port), profile, numbers)

    return asyncio.run(run())


def _failed(report: Report) -> list[str]:
    return [f"{c.behaviour} {c.title}: {c.got}" for c in report.checks if c.verdict == "failed"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"require_sign_on": True}, {"incremental": False, "captured_reversal": "refuse"}],
)
def test_an_honest_host_passes_wholly(changes: dict[str, Any]) -> None:
    """No check fails on a host without a flag, whichever way its profile says."""
    host = msgspec.structs.replace(_PROFILE.host, **changes)
    report = _run((), set(), msgspec.structs.replace(_PROFILE, host=host))
    assert _failed(report) == []
    assert (report.score, report.passed > 40) == (1.0, True)


def test_every_flag_has_its_check() -> None:
    """A further way to be broken needs a check that finds it."""
    assert FOUND_BY.keys() == FLAGS.keys()


@pytest.mark.parametrize("flag", sorted(FLAGS))
def test_each_break_is_found(flag: str) -> None:
    """The check of that behaviour fails, and says what was sent, expected and seen."""
    profile = _PROFILE
    if flag in _NEEDS_SIGN_ON:
        host = msgspec.structs.replace(_PROFILE.host, require_sign_on=True)
        profile = msgspec.structs.replace(_PROFILE, host=host)
    report = _run((flag,), {FOUND_BY[flag]}, profile)
    failed = [check for check in report.checks if check.verdict == "failed"]
    assert failed, as_text(report)
    assert all(check.expected and check.got for check in failed)
    text = as_text(report)
    pans = [card.pan for card in (_PROFILE.cards.good, _PROFILE.cards.poor)]
    assert not any(pan in text for pan in pans)


def test_the_shipped_profile_names_shipped_cards() -> None:
    """Every card of the sample profile is in the file that its remarks tell to import."""
    rows = (PROFILES / "cards.csv").read_text(encoding="utf-8")
    for card in (_SHIPPED.cards.good, _SHIPPED.cards.poor, _SHIPPED.cards.lost):
        assert card is not None
        assert card.pan in rows
    assert _SHIPPED.cards.unknown not in rows
