"""Which answer goes to which request: one REPLY row each, in order of arrival.

A repeat gets its first answer from the ring, approval code included: the code is a function of the
record's number, so it needs no room anywhere and survives a restart.
"""

import numpy as np
from numpy.typing import NDArray

from engine.almanac import transmission_of
from engine.decision import Decision
from engine.items import Role
from engine.wire.columns import EXTRA_FIELDS_MAX
from engine.wire.encode_kernels import reply_mti
from engine.wire.profile import Profile
from ledger.jit import Int, Row, kernel

_ALPHABET = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", np.uint8).copy()
_CODES = 36**6
_STEP = (
    1_586_752_429  # coprime with 36^6: neighbouring records get far codes, none twice in a cycle
)
_OFFSET = 604_661_760
_NS = 1_000_000_000
_FAULT_BYTES, _DE38_BYTES = 3, 6
_DE7_BYTES, _DE7_PLACE = 10, 60  # behind DE4 and DE54, before DE55, which ends the part
_DE54_BYTES = 20  # one amount
_LEDGER_BALANCE, _AVAILABLE, _ORIGINAL_AMOUNT = 1, 2, 57  # amount types of DE54
_CREDIT, _DEBIT = ord("C"), ord("D")
_DE4_MAX = 10**12 - 1


def seq_of_approval(code: str, last_seq: int) -> int:
    """Return the newest record up to ``last_seq`` whose approval code is ``code``; 0 = none.

    The code is six characters 0-9 A-Z; anything else gives 0.
    """
    if len(code) != 6 or not code.isascii() or not code.isalnum() or code != code.upper():
        return 0
    residue = (int(code, 36) - _OFFSET) * pow(_STEP, -1, _CODES) % _CODES
    seq = last_seq - (last_seq - residue) % _CODES
    return max(seq, 0)


# Each answer has a part of the batch's extra buffer, where its extra fields lie one after the
# other: the field at fault 6 at most, or DE4 12 and DE54 40; DE7 10; the chip's answer 30 at most.
EXTRA_BYTES = 400


@kernel
def approval_code(seq: Int) -> Int:
    """Return the six characters of DE38 for record ``seq``, packed, first in the lowest byte.

    A bijection of ``seq`` modulo 36^6 = 2,176,782,336: unique for that many records in a row.
    """
    number = (seq % _CODES * _STEP + _OFFSET) % _CODES
    packed = np.uint64(0)
    for place in range(6):
        character = np.uint64(_ALPHABET[number % 36])
        packed |= character << np.uint64(8 * (5 - place))
        number //= 36
    return packed


@kernel
def fill_replies(
    count: int,
    items: NDArray[np.void],
    request: NDArray[np.void],
    ring: NDArray[np.void],
    accounts: NDArray[np.void],
    first_seq: int,
    codes: NDArray[np.uint16],
    profiles: NDArray[np.int64],
    replies: NDArray[np.void],
    extra: NDArray[np.uint8],
) -> int:
    """Fill ``replies`` for the first ``count`` items; return how many answers there are.

    Parameters
    ----------
    items : ITEM, decided; request : REQUEST; ring : AUTHORIZATION ring; accounts : ACCOUNT.
    first_seq : number of the batch's first record.
    codes : u16 (dialects, 1000), DE39 by dialect and decision; profiles : i64 (dialects, P).
    replies : REPLY (count,), out; extra : u8 (EXTRA_BYTES x count,), out: data of extra fields.
    """
    written = 0
    for i in range(count):
        item = items[i]
        if item["role"] == Role.SILENT:
            continue
        row = request[i]
        reply = replies[written]
        reply["request"] = i
        reply["mti"] = reply_mti(row["mti"])
        reply["extra_count"] = 0
        reply["wants_mac"] = 0
        if item["role"] == Role.REPEAT:
            first = ring[item["original"] & (ring.shape[0] - 1)]
            item["decision"] = first["result"]
            item["response"] = first["response"]
            _approve(reply, item["decision"], np.int64(first["seq"]))
        else:
            if item["response"] == 0:
                item["response"] = codes[row["dialect"], item["decision"]]
            _approve(reply, item["decision"], first_seq + item["record"])
        reply["response"] = item["response"]
        reply["decision"] = item["decision"]
        profile = profiles[row["dialect"]]
        if profile[Profile.RESTAMP] != 0:
            is_repeat = item["role"] == Role.REPEAT
            first = ring[item["original"] & (ring.shape[0] - 1)]
            at_s = np.int64(first["t_s"]) if is_repeat else np.int64(item["ts_ns"]) // _NS
            _digits(extra, i * EXTRA_BYTES + _DE7_PLACE, transmission_of(at_s), _DE7_BYTES)
            add_extra(reply, 7, i * EXTRA_BYTES + _DE7_PLACE, _DE7_BYTES)
        if item["decision"] == Decision.FORMAT_ERROR and row["fault_field"] > 0:
            if profile[Profile.FORMAT_FIELD] != 0:
                number = profile[Profile.FORMAT_FIELD]
                _name_field(reply, number, row["fault_field"], i * EXTRA_BYTES, extra)
        elif (
            item["decision"] == Decision.PARTIALLY_APPROVED or item["decision"] == Decision.INQUIRED
        ):
            entry = item["original"] if item["role"] == Role.REPEAT else item["entry"]
            first = ring[entry & (ring.shape[0] - 1)]
            currency = accounts[first["account"]]["currency"]
            _tell_amounts(reply, item["decision"], first, currency, i * EXTRA_BYTES, extra)
        written += 1
    return written


@kernel
def _approve(reply: Row, decision: Int, seq: Int) -> None:
    """Give DE38 to the answer of a payment that is approved; nothing else has these decisions."""
    is_approved = (
        decision == Decision.APPROVED
        or decision == Decision.PARTIALLY_APPROVED
        or decision == Decision.CHECKED
        or decision == Decision.NOTED
    )
    reply["has_approval"] = 1 if is_approved else 0
    reply["approval"] = approval_code(seq) if is_approved else np.uint64(0)


@kernel
def _tell_amounts(
    reply: Row, decision: Int, first: Row, currency: Int, start: Int, extra: NDArray[np.uint8]
) -> None:
    """Put amounts into DE4 and DE54: what was approved of what, or the balances."""
    if decision == Decision.PARTIALLY_APPROVED:
        _digits(extra, start, first["amount_minor"], 12)
        add_extra(reply, 4, start, 12)
        _amount_of(extra, start + 12, _ORIGINAL_AMOUNT, currency, -first["requested_minor"])
        add_extra(reply, 54, start + 12, _DE54_BYTES)
        return
    _amount_of(extra, start, _LEDGER_BALANCE, currency, first["cleared_minor"])
    _amount_of(extra, start + _DE54_BYTES, _AVAILABLE, currency, first["granted_minor"])
    add_extra(reply, 54, start, 2 * _DE54_BYTES)


@kernel
def _amount_of(
    extra: NDArray[np.uint8], at: Int, amount_type: Int, currency: Int, amount_minor: Int
) -> None:
    """Write account type 00, amount type, currency, C or D (below zero), twelve digits."""
    _digits(extra, at, 0, 2)
    _digits(extra, at + 2, amount_type, 2)
    _digits(extra, at + 4, currency, 3)
    extra[at + 7] = _DEBIT if amount_minor < 0 else _CREDIT
    _digits(extra, at + 8, min(abs(amount_minor), _DE4_MAX), 12)


@kernel
def _digits(extra: NDArray[np.uint8], at: Int, value: Int, digits: Int) -> None:
    left = np.int64(value)
    for k in range(digits):
        extra[at + digits - 1 - k] = 48 + left % 10
        left //= 10


@kernel
def _name_field(reply: Row, number: Int, field: Int, start: Int, extra: NDArray[np.uint8]) -> None:
    """Name the field at fault in field ``number``, DE38 filled with zeros from the left."""
    size = _DE38_BYTES if number == 38 else _FAULT_BYTES
    _digits(extra, start, field, size)
    add_extra(reply, number, start, size)


@kernel
def add_extra(reply: Row, field: Int, start: Int, size: Int) -> None:
    """Let the answer carry one more field, ``size`` bytes of the extra buffer from ``start``.

    Nothing is added past ``EXTRA_FIELDS_MAX``.
    """
    k = np.int64(reply["extra_count"])
    if k < EXTRA_FIELDS_MAX:
        reply["extra_field"][k] = field
        reply["extra_start"][k] = start
        reply["extra_size"][k] = size
        reply["extra_count"] = k + 1


@kernel
def segment_ends(
    replies: NDArray[np.void],
    reply_count: int,
    request: NDArray[np.void],
    out_end: NDArray[np.int64],
    segment_count: int,
    ends: NDArray[np.int64],
) -> None:
    """Write where the answers of each segment end in the answer bytes, i64 (segment_count,)."""
    reply = 0
    end = np.int64(0)
    for segment in range(segment_count):
        while reply < reply_count and request[replies[reply]["request"]]["segment"] == segment:
            end = out_end[reply]
            reply += 1
        ends[segment] = end


@kernel
def decisions_of(
    items: NDArray[np.void], count: int, repeat: int, nothing: int, out: NDArray[np.uint16]
) -> None:
    """Write each request's decision, ``nothing`` for repeats and undecided silence; out u16."""
    for i in range(count):
        role, decision = items[i]["role"], items[i]["decision"]
        is_undecided = role == 0 and decision == Decision.APPROVED
        out[i] = nothing if is_undecided or role == repeat else decision
