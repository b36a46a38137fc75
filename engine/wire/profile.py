"""The switches of a dialect's ``[profile]``: where hosts of one standard differ in behaviour.

Each has a name, a kind and a default, and one place in ``DialectTable.profile``; the kernels read
``profile[row.dialect, Profile.NAME]``. A code is kept as REPLY keeps DE39: two characters, the
first in the low byte.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, Literal, NamedTuple


class Profile(IntEnum):
    """Places in the profile row of a dialect."""

    UNSUPPORTED_VERSION = 0
    REPEAT_ANSWER = 1
    RESTAMP = 2
    DUPLICATE = 3
    ORPHAN_ADVICE = 4
    ORPHAN_REQUEST = 5
    REVERSAL_AMOUNT = 6
    CAPTURED_REVERSAL = 7
    COMPLETION_OVER_PERCENT = 8
    COMPLETION_KEEPS_REST = 9
    PARTIAL_APPROVAL = 10
    INCREMENTAL = 11
    INQUIRY_BALANCE = 12
    INQUIRY_STATEMENT = 13
    MAC_REQUIRED = 14
    FORMAT_FIELD = 15
    SIGN_ON = 16
    SIGN_OFF = 17
    ECHO_TEST = 18
    KEY_CHANGE = 19
    CUT_OVER = 20


class Switch(NamedTuple):
    """One key of ``[profile]``: what it may be and what it is when nothing is said."""

    kind: Literal["choice", "code", "number", "yes"]
    default: str | int | bool
    choices: tuple[str, ...] = ()  # of a choice, in order of their numbers
    most: int = 0  # of a number
    meaning: str = ""


def _choice(default: str, *others: str, meaning: str) -> Switch:
    return Switch("choice", default, (default, *others), meaning=meaning)


def _code(default: str, meaning: str) -> Switch:
    return Switch("code", default, meaning=meaning)


def _number(default: int, most: int, meaning: str) -> Switch:
    return Switch("number", default, most=most, meaning=meaning)


def _yes(meaning: str, *, default: bool = False) -> Switch:
    return Switch("yes", default, meaning=meaning)


SWITCHES: Final[dict[Profile, Switch]] = {
    Profile.UNSUPPORTED_VERSION: _choice(
        "answer", "drop", meaning="a message of another version of the standard: 12, or no answer"
    ),
    Profile.REPEAT_ANSWER: _choice(
        "cleared", "kept", meaning="0101 is answered 0110 (cleared) or 0111 (kept)"
    ),
    Profile.RESTAMP: _yes("DE7 of the answer is the time of the decision, not the request's"),
    Profile.DUPLICATE: _choice(
        "answer", "refuse", meaning="an unmarked repeat: the first answer again, or 94"
    ),
    Profile.ORPHAN_ADVICE: _code("00", "answer to 0420 without a known original"),
    Profile.ORPHAN_REQUEST: _code("25", "answer to 0400 without a known original"),
    Profile.REVERSAL_AMOUNT: _choice(
        "de95", "de4", meaning="which field says what a partial reversal leaves"
    ),
    Profile.CAPTURED_REVERSAL: _choice(
        "refund", "refuse", meaning="reversal of a captured payment: a refund entry, or 12"
    ),
    Profile.COMPLETION_OVER_PERCENT: _number(
        15, 999, "by how much of the hold a completion may exceed it without being flagged"
    ),
    Profile.COMPLETION_KEEPS_REST: _yes("a completion below its hold leaves the rest held"),
    Profile.PARTIAL_APPROVAL: _choice(
        "never",
        "flag",
        "always",
        meaning="approve a part: never, where the terminal says so, always",
    ),
    Profile.INCREMENTAL: _yes(
        "a further 0100 with the same lifecycle id, or DE37 and terminal, adds to the hold"
    ),
    Profile.INQUIRY_BALANCE: _number(31, 99, "first pair of DE3 that asks for the balance"),
    Profile.INQUIRY_STATEMENT: _number(
        30, 99, "another pair of DE3 that asks for the balance; the same as above = none"
    ),
    Profile.MAC_REQUIRED: _yes(
        "payments, advices and reversals carry an authentication code, whatever the link says"
    ),
    Profile.FORMAT_FIELD: _number(
        44, 128, "which field of the answer names the one at fault, in three digits; 0 = none"
    ),
    Profile.SIGN_ON: _number(1, 999, "network code (DE70; DE24 of 1993) of a sign-on"),
    Profile.SIGN_OFF: _number(2, 999, "network code of a sign-off"),
    Profile.ECHO_TEST: _number(301, 999, "network code of an echo test"),
    Profile.KEY_CHANGE: _number(161, 999, "network code of a key change"),
    Profile.CUT_OVER: _number(201, 999, "network code of a change of the business day"),
}
assert set(SWITCHES) == set(Profile)

Value = str | int | bool


def profile_row(given: Mapping[str, Value]) -> list[int]:
    """Return the numbers of all switches in order of ``Profile``.

    Raises
    ------
    KeyError, ValueError
        No such switch, with its name; or a value that it cannot have, with the reason.
    """
    known = {switch.name.lower(): switch for switch in Profile}
    for name in given:
        if name not in known:
            raise KeyError(name)
    row = []
    for member, switch in SWITCHES.items():
        value = given.get(member.name.lower(), switch.default)
        try:
            row.append(_as_number(switch, value))
        except ValueError as problem:
            raise ValueError(f"{member.name.lower()}: {problem}") from None
    return row


def _as_number(switch: Switch, value: Value) -> int:
    if switch.kind == "choice":
        if value not in switch.choices:
            raise ValueError(f"{value!r} is not one of {', '.join(switch.choices)}")
        return switch.choices.index(str(value))
    if switch.kind == "code":
        if (
            not isinstance(value, str)
            or len(value) != 2
            or not (value.isascii() and value.isalnum())
        ):
            raise ValueError(f"{value!r} is not two letters or digits")
        return int.from_bytes(str(value).encode("ascii"), "little")
    if switch.kind == "yes":
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not true or false")
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= switch.most:
        raise ValueError(f"{value!r} is not a number from 0 to {switch.most}")
    return value
