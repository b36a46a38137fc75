"""Encode kernels: the answers of a batch become frames in one call.

An echoed field is copied from the arena as it came, its length prefix included, so it is
byte-exact, and so is what stood before the MTI, but for addresses that change places. Only fields
that decoding found valid have their bit in the row, so a faulty request needs no case of its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.elements import Code
from engine.wire.profile import Profile
from engine.wire.scan_kernels import Int, reverse_bits
from engine.wire.table import DialectTable, Envelope
from engine.wire.write_kernels import (
    copy,
    fits,
    write_bitmap,
    write_field,
    write_length,
    write_mti,
)
from ledger.jit import kernel, load_word, lowest_bit, store_word

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

# Bytes an answer may have beyond those of its request, envelope included, and of its extra fields,
# counted twice: length 6, MTI 4, three bitmaps in hex 48, DE38 6, DE39 4, prefixes of the extra
# fields 4 x 6, MAC 16, trailer 1; and fifteen bytes written too far.
REPLY_OVERHEAD_BYTES = 128

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(1 << 63)
_APPROVAL, _RESPONSE = np.uint64(38), np.uint64(39)
_BIT_38, _BIT_39 = np.uint64(1 << 26), np.uint64(1 << 25)
_OWN = _BIT_38 | _BIT_39
_MAC, _MAC_SECOND = 64, 128
_ASCII, _EBCDIC = int(Code.ASCII), int(Code.EBCDIC)
_TPDU, _VISA = int(Envelope.TPDU), int(Envelope.VISA)
_REPEAT_ANSWER = int(Profile.REPEAT_ANSWER)


@kernel
def encode_batch(
    arena: Bytes,
    request: Array,
    spans: NDArray[np.uint16],
    reply: Array,
    reply_count: Int,
    table: DialectTable,
    extra: Bytes,
    out: Bytes,
    out_end: NDArray[np.int64],
) -> Int:
    """Write one frame a reply, one after the other; return the bytes written, or -1.

    -1 means ``out`` might not hold them: it needs, for every reply, the request's size with its
    envelope, twice the extra fields' sizes and ``REPLY_OVERHEAD_BYTES``. Nothing past its end is
    written in that case either.

    Parameters
    ----------
    arena, request, spans : what ``decode_batch`` read and filled.
    reply : REPLY[:]. An extra field wins over an echo of the same field; its data are ASCII or
        bytes, whatever the dialect writes, and it is left out if there is no field of that size.
        ``start`` and ``mac_at`` are out; the room for a MAC is filled with the character 0.
    table : compiled dialects.
    extra : uint8[:], data of the extra fields.
    out : uint8[:], out.
    out_end : int64[:], out: end of each frame in ``out``.
    """
    at: Int = 0
    fields, messages, message_of = table.fields, table.messages, table.message_of
    framing, from_ascii = table.framing, table.from_ascii
    profile = table.profile
    for r in range(np.uint64(reply_count)):
        answer = reply[r]
        i = np.uint64(answer.request)
        row = request[i]
        begin: Int = at
        start, dialect = np.int64(row.start), np.uint64(row.dialect)
        message = messages[dialect, message_of[dialect, max(row.mti, 0)]]
        high = (message.echo_hi & row.bitmap_hi) | _BIT_39
        low = message.echo_lo & row.bitmap_lo
        if answer.has_approval:
            high |= _BIT_38
        added_high, added_low, added_size = _ZERO, _ZERO, np.int64(0)
        if answer.extra_count != 0:
            added_high, added_low, added_size = _added(answer, fields, dialect)
        if at + row.size + row.envelope + 2 * added_size + REPLY_OVERHEAD_BYTES > out.shape[0]:
            return -1
        high |= added_high
        low |= added_low
        own_high, own_low = high & _OWN, _ZERO  # written here, not echoed
        if answer.wants_mac:
            mac = _mac_field(fields, dialect, low)
            if mac == _MAC_SECOND:
                own_low = _ONE
            elif mac == _MAC:
                own_high |= _ONE
            low |= own_low
            high |= own_high
        if low != _ZERO:
            high |= _TOP

        rule = framing[dialect]
        at += np.int64(rule.header_bytes) + np.int64(rule.reserved_bytes)
        envelope = np.int64(row.envelope)
        if envelope != 0:
            _write_envelope(arena, start - envelope, envelope, rule.envelope, out, at)
            at += envelope
        answer.start, answer.mac_at = at, -1
        mti = np.int64(answer.mti)
        if profile[dialect, _REPEAT_ANSWER] != 0:
            mti |= row.mti & 1
        at = write_mti(out, at, mti, rule.version, rule.mti_code)
        at = write_bitmap(out, at, high, rule.bitmap_hex, from_ascii, dialect)
        if low != _ZERO:
            at = write_bitmap(out, at, low, rule.bitmap_hex, from_ascii, dialect)

        # What stands side by side in the request and in the answer is copied in one run.
        run, run_end = np.int64(0), np.int64(0)
        left = reverse_bits(high & ~_TOP)
        base, added = 1, added_high
        own = added_high | own_high
        while True:
            if left == _ZERO:
                if base == 65 or low == _ZERO:
                    break
                left = reverse_bits(low)
                base, added = 65, added_low
                own = added_low | own_low
            position = lowest_bit(left)
            left &= left - _ONE
            number = np.uint64(base + position)
            field = fields[dialect, number]
            bit = _TOP >> np.uint64(position)
            source, size = np.int64(0), np.int64(0)
            if own & bit == _ZERO:
                prefix = np.int64(field.prefix_bytes)
                source = start + np.int64(spans[i, number, 0]) - prefix
                size = prefix + np.int64(spans[i, number, 1])
                if source == run_end:
                    run_end += size
                    continue
            at = copy(arena, run, out, at, run_end - run)
            run, run_end = source, source + size
            if own & bit == _ZERO:
                continue
            if added & bit:
                at = _write_added(answer, number, field, extra, from_ascii, dialect, out, at)
            elif number == _RESPONSE:
                width = np.int64(rule.action_width)
                code = np.uint64(answer.response)
                if width > 2:
                    code = _action(answer, mti, dialect, table)
                store_word(out, at, code)
                if field.data_code != _ASCII:
                    _recode(out, at, width, field, from_ascii, dialect)
                at += np.int64(field.size)
            elif number == _APPROVAL:
                store_word(out, at, answer.approval)
                if field.data_code != _ASCII:
                    _recode(out, at, 6, field, from_ascii, dialect)
                at += np.int64(field.size)
            else:
                answer.mac_at = at
                for k in range(np.int64(field.size)):
                    out[np.uint64(at + k)] = 48
                at += np.int64(field.size)
        at = copy(arena, run, out, at, run_end - run)
        if rule.has_trailer:
            out[np.uint64(at)] = rule.trailer
            at += 1
        size = at - begin - np.int64(rule.header_bytes) - np.int64(rule.reserved_bytes)
        if rule.envelope == _VISA:
            length_at = np.int64(answer.start) - envelope + 3
            out[np.uint64(length_at)] = size >> 8
            out[np.uint64(length_at + 1)] = size & 255
        write_length(out, begin, size, rule)
        out_end[r] = at
    return at


@kernel
def reply_mti(mti: Int) -> Int:
    """Return the MTI of the answer: function + 1, the repeat bit of the origin cleared.

    0100, 0101 -> 0110; 0420, 0421 -> 0430; origins 0/1 -> 0, 2/3 -> 2, 4/5 -> 4.
    """
    return mti + 10 - (mti & 1)


@kernel
def _added(answer: Any, fields: Array, dialect: np.uint64) -> tuple[np.uint64, np.uint64, Int]:
    """Return the bits of the extra fields that fit, in both words, and the sum of their sizes."""
    high, low = _ZERO, _ZERO
    total: Int = 0
    for e in range(answer.extra_count):
        number = np.int64(answer.extra_field[e])
        size = np.int64(answer.extra_size[e])
        if not 2 <= number <= 128 or not fits(fields[dialect, number], size):
            continue
        total += size
        if number <= 64:
            high |= _TOP >> np.uint64(number - 1)
        else:
            low |= _TOP >> np.uint64(number - 65)
    return high, low, total


@kernel
def _write_added(
    answer: Any,
    number: Int,
    field: Any,
    extra: Bytes,
    from_ascii: NDArray[np.uint8],
    dialect: np.uint64,
    out: Bytes,
    at: Int,
) -> Int:
    for e in range(answer.extra_count):
        if np.uint64(answer.extra_field[e]) == number:
            source, size = np.int64(answer.extra_start[e]), np.int64(answer.extra_size[e])
            if fits(field, size):
                return write_field(extra, source, size, field, from_ascii, dialect, out, at)
    return at


@kernel
def _mac_field(fields: Array, dialect: np.uint64, low: np.uint64) -> Int:
    """Return the field of the authentication code: the last one that the answer has room for."""
    if low != _ZERO and fields[dialect, _MAC_SECOND].size != 0:
        return _MAC_SECOND
    return _MAC if fields[dialect, _MAC].size != 0 and low == _ZERO else 0


@kernel
def _action(answer: Any, mti: Int, dialect: np.uint64, table: DialectTable) -> np.uint64:
    """Return a DE39 of three or four characters: of the decision, else of the two characters."""
    response, decision = answer.response, answer.decision
    if 0 <= decision < table.actions.shape[1] and response == table.responses[dialect, decision]:
        code = table.actions[dialect, decision]
        if code != 0:
            return np.uint64(code)
    first, second = _place(np.int64(response) & 255), _place(np.int64(response) >> 8)
    kind = mti // 100 % 10
    return np.uint64(table.action_of[dialect, kind, 36 * first + second])


@kernel
def _place(character: Int) -> Int:
    """Return the place of a digit or letter among all of them; another byte has place 0."""
    if 48 <= character <= 57:
        return np.int64(character) - 48
    letter = np.int64(character) & 0xDF
    return letter - 55 if 65 <= letter <= 90 else 0


@kernel
def _recode(
    out: Bytes, at: Int, size: Int, field: Any, from_ascii: NDArray[np.uint8], dialect: np.uint64
) -> None:
    """Write up to eight characters, which stand at ``at`` in ASCII, as the field has them."""
    if field.data_code == _EBCDIC:
        for k in range(size):
            out[np.uint64(at + k)] = from_ascii[dialect, out[np.uint64(at + k)]]
    else:
        # They move eight bytes on, where even hex characters do not overtake them.
        store_word(out, at + 8, load_word(out, at))
        write_field(out, at + 8, size, field, from_ascii, dialect, out, at)


@kernel
def _write_envelope(arena: Bytes, source: Int, size: Int, kind: Int, out: Bytes, at: Int) -> None:
    """Write what stood before the MTI: destination and source change places."""
    copy(arena, source, out, at, size)
    first, width = 0, 0
    if kind == _TPDU:
        first, width = 1, 2
    elif kind == _VISA:
        first, width = 5, 3
    for k in range(width):
        one, other = np.uint64(at + first + k), np.uint64(at + first + width + k)
        out[one], out[other] = out[other], out[one]
