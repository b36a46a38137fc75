"""What was captured of an authorization: its posted clearings and its completions (0220).

A reversal message that names the authorization gives back what is left of all of them. Each has to
know, since each may be named by itself later, when the authorization may be forgotten already. So
an authorization leads to its newest clearing and its newest completion, and each of these to the
one before.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.authorizations import Cursor, State
from ledger.jit import Int, kernel

_LINKS = 2**32 - 1  # a ring has fewer rows, so an entry number modulo this is one row of it


@kernel
def link_clearing(number: Int, root: Int, ring: NDArray[np.void], posted: NDArray[np.void]) -> None:
    """Make the posted item ``number`` the newest clearing of the authorization ``root``.

    An authorization whose place an advice has taken is cleared and named no more.
    """
    original = ring[root & (ring.shape[0] - 1)]
    newest = np.int64(original["parent"])
    if newest <= 0:
        posted[number & (posted.shape[0] - 1)]["before"] = -newest
        original["parent"] = -number


@kernel
def take_place(entry: Int, root: Int, ring: NDArray[np.void]) -> None:
    """Let what names ``root`` from now on mean ``entry``, an advice.

    A reversal of ``root`` may have been matched and not be decided yet: the way to the clearings of
    ``root`` leads through the advice then.
    """
    mask = ring.shape[0] - 1
    ring[entry & mask]["parent"] = min(np.int64(ring[root & mask]["parent"]), 0)
    ring[root & mask]["parent"] = entry


@kernel
def _newest_clearing(root: Int, ring: NDArray[np.void]) -> Int:
    """Return the number of a posted item, 0 = none; maybe of what ``root`` took the place of."""
    parent = np.int64(ring[root & (ring.shape[0] - 1)]["parent"])
    while parent > 0:  # each is newer than the one before
        parent = np.int64(ring[parent & (ring.shape[0] - 1)]["parent"])
    return -parent


@kernel
def link_completion(entry: Int, root: Int, ring: NDArray[np.void]) -> None:
    """Make ``entry`` the newest completion of the authorization ``root``."""
    mask = ring.shape[0] - 1
    ring[entry & mask]["completion"] = ring[root & mask]["completion"]
    ring[root & mask]["completion"] = np.int64(entry) % _LINKS + 1


@kernel
def _completion(link: Any, head: Int) -> Int:
    """Return the entry that a ``completion`` field names; 0 = none."""
    if link == 0:
        return np.int64(0)
    return np.int64(head - (head - (np.int64(link) - 1)) % _LINKS)


@kernel
def give_back_captures(
    root: Int,
    amount_minor: Int,
    ring: NDArray[np.void],
    posted: NDArray[np.void],
    cursor: NDArray[np.int64],
) -> None:
    """Take ``amount_minor`` off what clearings and completions of ``root`` have left, newest first.

    A clearing that is forgotten can be named no more, nor can those before it. Looks at the items
    of one authorization only, at most as many as are remembered.
    """
    original = ring[root & (ring.shape[0] - 1)]
    number = _newest_clearing(root, ring)
    entry = _completion(original["completion"], cursor[Cursor.HEAD])
    left_minor = np.int64(amount_minor)
    while left_minor > 0:
        item = posted[number & (posted.shape[0] - 1)]
        is_kept = number > cursor[Cursor.POSTED] - posted.shape[0]
        if not is_kept or item["authorization"] != root:
            number = np.int64(0)
        if number == 0 and entry == 0:
            break
        row = ring[entry & (ring.shape[0] - 1)]
        if entry == 0 or (number > 0 and item["seq"] > row["seq"]):
            part_minor = np.int64(item["amount_minor"]) - np.int64(item["back_minor"])
            part_minor = max(min(left_minor, part_minor), np.int64(0))
            item["back_minor"] += part_minor
            number = np.int64(item["before"])
        else:
            part_minor = min(left_minor, np.int64(row["cleared_minor"]))
            row["cleared_minor"] -= part_minor
            if row["cleared_minor"] == 0:
                row["state"] = State.REVERSED
            entry = _completion(row["completion"], cursor[Cursor.HEAD])
        left_minor -= part_minor
