"""Which messages of a batch have or need a MAC, where it stands, and whether it is right."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.security.lay_kernels import is_hex_code, wire_byte
from engine.wire.columns import Fault
from ledger.jit import Int, Row, hot_kernel, kernel

_NS = 1_000_000_000
_MAC_1, _MAC_2, _MAC_BYTES = 64, 128, 8
_OF_MONEY = 1 << 1 | 1 << 2 | 1 << 4  # classes of messages
_NETWORK, _NEW_KEY, _KEY_EXCHANGE = 8, 101, 161
_SOUND, _MAC_WRONG = int(Fault.NONE), int(Decision.MAC_WRONG)


class Found(NamedTuple):
    """Messages with a MAC, one place each."""

    rows: NDArray[np.int64]  # of the batch
    starts: NDArray[np.int64]  # of their bytes
    sizes: NDArray[np.int64]  # of what the MAC is over
    widths: NDArray[np.int64]  # bytes of the MAC, 8 or less
    codes: NDArray[np.uint8]  # how it is written


def room_for(count: int) -> Found:
    """Return room for as many messages."""
    rows, starts, sizes, widths = np.empty((4, count), np.int64)
    return Found(rows, starts, sizes, widths, np.empty(count, np.uint8))


class Asked(NamedTuple):
    """Whose messages are looked at, and of which of them a MAC is demanded."""

    number: int  # of the security profile
    now_s: int  # the second in which they came
    classes: int  # bit k: of messages whose MTI has the second digit k
    key: int  # under which they are answered unless they come under another one


@kernel
def find_macs(
    request: NDArray[np.void],
    first: Int,
    last: Int,
    links: NDArray[np.void],
    asked: Asked,
    must_have: NDArray[np.uint8],
    fields: NDArray[np.void],
    spans: NDArray[np.uint16],
    checks: NDArray[np.void],
    found: Found,
) -> int:
    """Find the MACs of rows ``first`` to ``last`` - 1; object where one is missing.

    Parameters
    ----------
    request : REQUEST; links : LINK, one a segment; fields : FIELD (dialects, fields).
    must_have : u1 (dialects,), 1 = payments, advices and reversals must have a MAC.
    checks : CHECK, in and out; found : out.

    Returns
    -------
    How many were found.
    """
    count = 0
    for row in range(first, last):
        message = request[row]
        if not _is_asked(links[message.segment], asked):
            continue
        field = _mac_field(message)
        is_due = _is_due(message, asked, must_have)
        if field or is_due:
            checks[row].wants_mac = asked.key
        if message.fault != _SOUND:
            continue
        if field:
            width = np.int64(spans[row, field, 1])
            found.rows[count] = row
            found.starts[count] = message.start
            found.sizes[count] = spans[row, field, 0]
            _note_width(fields[message.dialect, field].data_code, width, count, found)
            count += 1
        elif is_due:
            checks[row].decision = _MAC_WRONG
    return count


@kernel
def refuse_unchecked(
    request: NDArray[np.void],
    first: Int,
    last: Int,
    links: NDArray[np.void],
    asked: Asked,
    must_have: NDArray[np.uint8],
    decision: Int,
    checks: NDArray[np.void],
) -> None:
    """Answer with ``decision`` all that have a MAC or need one: none of them could be checked."""
    for row in range(first, last):
        message = request[row]
        if _is_asked(links[message.segment], asked):
            has_one = (message.bitmap_hi | message.bitmap_lo) & np.uint64(1)
            if has_one or _is_due(message, asked, must_have):
                checks[row].decision = decision


@hot_kernel
def _is_asked(link: Row, asked: Asked) -> Int:
    return link.security == asked.number and np.int64(link.arrival_ns) // _NS == asked.now_s


@hot_kernel
def _is_due(message: Row, asked: Asked, must_have: NDArray[np.uint8]) -> Int:
    """Return whether the link or the dialect demands a MAC of a message."""
    group = 1 << (message.mti // 100 % 10)
    if must_have[message.dialect] and group & _OF_MONEY:
        return True
    return asked.classes & group != 0


@hot_kernel
def _mac_field(message: Row) -> Int:
    """Return the field of the MAC, 0 without one.

    It is the last field: DE64 counts only where no second bitmap has fields behind it.
    """
    if message.bitmap_lo & np.uint64(1):
        return _MAC_2
    return _MAC_1 if message.bitmap_hi & np.uint64(1) and not message.bitmap_lo else 0


@hot_kernel
def _note_width(code: Int, size: Int, place: Int, found: Found) -> None:
    """Note how a MAC is written; some dialects have room for 4 bytes only."""
    found.codes[place] = code
    found.widths[place] = min(size >> 1 if is_hex_code(code) else size, _MAC_BYTES)


@kernel
def settle_macs(
    made: NDArray[np.uint8],
    data: NDArray[np.uint8],
    key: Int,
    count: Int,
    checks: NDArray[np.void],
    found: Found,
) -> int:
    """Compare the MACs of ``found`` with those ``made`` u8 (n, 8) under a key.

    All bytes are compared whatever the first ones were. Rows whose MAC is right are answered under
    ``key``; the others are left in ``found``, and objected to until a further key fits.

    Returns
    -------
    How many are left.
    """
    left = 0
    for i in range(count):
        at, width, code = found.starts[i] + found.sizes[i], found.widths[i], found.codes[i]
        wrong = np.int64(0)
        for b in range(width):
            wrong |= np.int64(made[i, b]) ^ wire_byte(data, at, b, code)
        check = checks[found.rows[i]]
        if wrong == 0 and width > 0:
            check.wants_mac, check.decision = key, 0
            continue
        check.decision = _MAC_WRONG
        found.rows[left], found.starts[left] = found.rows[i], found.starts[i]
        found.sizes[left], found.widths[left] = found.sizes[i], width
        found.codes[left] = code
        left += 1
    return left


@kernel
def ask_for_macs(checks: NDArray[np.void], count: Int, replies: NDArray[np.void]) -> None:
    """Have room left for a MAC in the answers of requests that get one."""
    for place in range(count):
        replies[place].wants_mac = checks[replies[place].request].wants_mac


@kernel
def find_rooms(
    replies: NDArray[np.void],
    count: Int,
    key: Int,
    request: NDArray[np.void],
    fields: NDArray[np.void],
    found: Found,
) -> int:
    """Find the room for MACs under a key in the encoded answers; return how many there are."""
    places = 0
    for place in range(count):
        reply = replies[place]
        if reply.wants_mac != key or reply.mac_at < 0:
            continue
        field = fields[request[reply.request].dialect, _MAC_1]
        found.rows[places] = place
        found.starts[places] = reply.start
        found.sizes[places] = reply.mac_at - reply.start
        _note_width(field.data_code, np.int64(field.size), places, found)
        places += 1
    return places


@kernel
def find_key_changes(request: NDArray[np.void], count: Int, rows: NDArray[np.int64]) -> int:
    """Write the rows of sound network messages that change a key; return how many there are."""
    places = 0
    for row in range(count):
        message = request[row]
        kind = message.mti // 10
        is_change = message.network_code == _NEW_KEY or message.network_code == _KEY_EXCHANGE
        if is_change and kind // 10 % 10 == _NETWORK and not kind & 1 and message.fault == _SOUND:
            rows[places] = row
            places += 1
    return places
