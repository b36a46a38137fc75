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
    TRACK_MISMATCH = 3
    DUPLICATE = 4
    ORPHAN_ADVICE = 5
    ORPHAN_REQUEST = 6
    REVERSAL_AMOUNT = 7
    CAPTURED_REVERSAL = 8
    COMPLETION_OVER_PERCENT = 9
    COMPLETION_KEEPS_REST = 10
    PARTIAL_APPROVAL = 11
    INCREMENTAL = 12
    INQUIRY_BALANCE = 13
    INQUIRY_STATEMENT = 14
    LATE = 15
    LATE_CODE = 16
    CRYPTOGRAM_CODE = 17
    MAC = 18
    MAC_CODE = 19
    KEY_CHANGE_CODE = 20
    FORMAT_FIELD = 21
    SIGN_ON = 22
    SIGN_OFF = 23
    ECHO_TEST = 24
    KEY_CHANGE = 25
    CUT_OVER = 26


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
    Profile.RESTAMP: _yes("the answer carries its own transmission time in DE7, not the request's"),
    Profile.TRACK_MISMATCH: _choice(
        "format", "track", "field", meaning="DE2 and track differ: 30, or which of them counts"
    ),
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
    Profile.INCREMENTAL: _yes("a further 0100 with the same DE37 and terminal adds to the hold"),
    Profile.INQUIRY_BALANCE: _number(31, 99, "first pair of DE3 that asks for the balance"),
    Profile.INQUIRY_STATEMENT: _number(
        30, 99, "another pair of DE3 that asks for the balance; the same as above = none"
    ),
    Profile.LATE: _choice(
        "answer", "silent", meaning="a message past its deadline: a code, or nothing"
    ),
    Profile.LATE_CODE: _code("91", "answer to a message past its deadline"),
    Profile.CRYPTOGRAM_CODE: _code("05", "the cryptogram of the chip is wrong"),
    Profile.MAC: _choice(
        "optional", "required", "none", meaning="authentication codes on messages"
    ),
    Profile.MAC_CODE: _code("63", "the authentication code is wrong or absent"),
    Profile.KEY_CHANGE_CODE: _code("63", "the check value of a new key is wrong"),
    Profile.FORMAT_FIELD: _number(
        44, 128, "where a format error names its field: 44, 38, 0 = nowhere"
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
