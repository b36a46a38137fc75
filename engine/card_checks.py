"""What the cryptographic checks of a batch mean for its messages and its cards.

The checks themselves (``engine.security``) are made for the whole batch before anything is decided,
and say RIGHT or WRONG. Here a message whose MAC is wrong becomes an answer without a posting, wave
by wave a wrong PIN is counted on its card, and a chip's transaction counter is noted, so that a
cryptogram is good once. What a card remembers is the fold of the records: flags of a record say
whether a PIN was right or wrong, its ``status`` is the counter of a cryptogram that was right.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.items import Role, Setting
from ledger.jit import Int, Row, kernel
from ledger.record import Flag

WINDOW_BITS = 32


class Finding(IntEnum):
    """What a check found."""

    NONE = 0  # nothing to check, or not asked for
    RIGHT = 1
    WRONG = 2
    UNKNOWN = 3  # it could not be made: no key, or the security module does not answer


CHECK = np.dtype(
    [
        ("decision", "<u2"),  # answer with this and post nothing; 0 = no objection
        ("atc", "<u2"),  # the chip's transaction counter, where there is a cryptogram
        ("wants_mac", "<u2"),  # not 0: the answer carries a MAC; which key, the guard knows
        ("pin", "u1"),  # Finding
        ("cvv", "u1"),
        ("chip", "u1"),
        ("spare", "u1"),
    ]
)
CHIP = np.dtype(
    [
        ("window", "<u4"),  # bit k: counter ``atc`` - k was used
        ("atc", "<u2"),  # highest counter of a cryptogram that was right
        ("pin_tries", "u1"),  # wrong PINs in a row
        ("spare", "u1"),
    ]
)
assert CHIP.itemsize == 8


def new_chips(capacity: int) -> NDArray[np.void]:
    """Return ``capacity`` CHIP rows, one a card: no counter seen, no wrong PIN."""
    return np.zeros(capacity, CHIP)


@kernel
def apply_checks(checks: NDArray[np.void], count: Int, items: NDArray[np.void]) -> None:
    """Turn messages with an objection into answers: they are not posted.

    ``checks`` CHECK, ``items`` ITEM (count,), admitted and not matched yet; in and out.
    """
    for i in range(count):
        decision = checks[i]["decision"]
        if decision == 0 or items[i]["role"] == Role.SILENT:
            continue
        if items[i]["role"] == Role.ANSWER and items[i]["decision"] == Decision.FORMAT_ERROR:
            continue
        items[i]["role"] = Role.ANSWER
        items[i]["decision"] = decision


@kernel
def judge_checks(
    order: NDArray[np.int32],
    items: NDArray[np.void],
    checks: NDArray[np.void],
    chips: NDArray[np.void],
    settings: NDArray[np.int64],
) -> None:
    """Decide what the checks of one wave's payments decide, and let their cards remember.

    Parameters
    ----------
    order : i32 (k,), item rows, every card at most once; items : ITEM, in and out.
    checks : CHECK by request row; chips : CHIP by card, in and out.
    settings : PIN_TRIES_MAX is read.
    """
    for k in range(order.shape[0]):
        item = items[order[k]]
        if item["role"] != Role.AUTHORIZE or item["card"] == 0 or item["request"] < 0:
            continue
        if item["decision"] != Decision.APPROVED or item["flags"] & Flag.ADVICE:
            continue
        check = checks[item["request"]]
        chip = chips[item["card"]]
        item["decision"] = _objection(item, check, chip, settings[Setting.PIN_TRIES_MAX])
        remember_checks(item["flags"], item["atc"], chip)


@kernel
def _objection(item: Row, check: Row, chip: Row, tries_max: Int) -> Int:
    """Return the decline that the checks force, or APPROVED; set the flags of what counts."""
    has_unknown = check["pin"] == Finding.UNKNOWN or check["cvv"] == Finding.UNKNOWN
    if has_unknown or check["chip"] == Finding.UNKNOWN:
        return Decision.SECURITY_UNAVAILABLE
    if check["chip"] == Finding.WRONG:
        return Decision.CRYPTOGRAM_WRONG
    if check["chip"] == Finding.RIGHT:
        if is_used(chip, np.int64(check["atc"])):
            return Decision.CRYPTOGRAM_REPLAYED
        item["flags"] |= Flag.CHIP_CHECKED
        item["atc"] = check["atc"]
    if check["cvv"] == Finding.WRONG:
        return Decision.CARD_VALUE_WRONG
    if check["pin"] != Finding.NONE and chip["pin_tries"] >= tries_max:
        return Decision.PIN_TRIES_EXCEEDED
    if check["pin"] == Finding.WRONG:
        item["flags"] |= Flag.PIN_WRONG
        is_last = np.int64(chip["pin_tries"]) + 1 >= tries_max
        return Decision.PIN_TRIES_EXCEEDED if is_last else Decision.PIN_WRONG
    if check["pin"] == Finding.RIGHT:
        item["flags"] |= Flag.PIN_RIGHT
    return Decision.APPROVED


@kernel
def is_used(chip: Row, atc: Int) -> bool:
    """Whether a cryptogram of this counter was taken before, or is too old to know."""
    if chip["window"] == 0:
        return False
    age = np.int64(chip["atc"]) - atc
    if age < 0:
        return False
    return age >= WINDOW_BITS or (np.int64(chip["window"]) >> age) & 1 != 0


@kernel
def remember_checks(flags: Int, atc: Int, chip: Row) -> None:
    """Fold one message into its card: wrong PINs in a row, counters used."""
    if flags & Flag.PIN_WRONG:
        chip["pin_tries"] = min(np.int64(chip["pin_tries"]) + 1, 255)
    elif flags & Flag.PIN_RIGHT:
        chip["pin_tries"] = 0
    if flags & Flag.CHIP_CHECKED:
        ahead = np.int64(atc) - np.int64(chip["atc"])
        window = np.int64(chip["window"])
        if window == 0 or ahead >= WINDOW_BITS:
            window = np.int64(1)
            chip["atc"] = atc
        elif ahead > 0:
            window = (window << ahead | 1) & 0xFFFFFFFF
            chip["atc"] = atc
        elif -ahead < WINDOW_BITS:
            window |= np.int64(1) << -ahead
        chip["window"] = window
