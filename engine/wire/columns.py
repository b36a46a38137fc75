"""Columns of a batch at the wire: what decode writes and what encode reads.

One REQUEST row a frame. Offsets are positions in the batch's arena (one uint8 array that holds the
bytes of all links, copied together); field bytes stay there for the echo. ``spans[i, de]`` is the
(offset from ``start``, length) of the data of field ``de`` without its length prefix, valid only
where the bitmap says the field is present.
"""

from enum import IntEnum

import numpy as np

FIELD_COUNT = 193  # index = data element number; 0 and 1 (bitmaps) unused
EXTRA_FIELDS_MAX = 4  # fields of an answer that no request had: 4, 44, 54, 55


class Fault(IntEnum):
    """Why a frame could not be taken as a valid message; 0 = it could."""

    NONE = 0
    MTI = 1  # not four digits, or cut short
    BITMAP = 2  # cut short, not hex, or names a field the dialect lacks
    LENGTH = 3  # length prefix not digits, over the maximum, or past the end
    CHARSET = 4  # a byte the field's format does not allow
    TRAILING = 5  # bytes left after the last field
    MISSING = 6  # a mandatory field is absent
    VALUE = 7  # a date, track, original-data or currency value that cannot be
    STRUCTURE = 8  # an element inside the field is cut short, or not what the dialect says


class Told(IntEnum):
    """What an advice says was decided elsewhere, by its DE39."""

    NOTHING = 0  # no advice, or no DE39: it reports what was approved
    APPROVED = 1
    DECLINED = 2


REQUEST = np.dtype(
    [
        ("bitmap_hi", "<u8"),  # DE n <= 64 present: (bitmap_hi >> (64 - n)) & 1
        ("bitmap_lo", "<u8"),  # DE 64 < n <= 128 present: (bitmap_lo >> (128 - n)) & 1
        ("bitmap_third", "<u8"),  # DE n > 128 present: (bitmap_third >> (192 - n)) & 1
        ("amount", "<i8"),  # DE4, minor units of ``currency``; -1 = absent
        ("billing_amount", "<i8"),  # DE6; -1 = absent
        ("replacement_amount", "<i8"),  # DE95, first 12 digits; -1 = absent
        ("acquirer", "<i8"),  # DE32 as a number; -1 = absent
        ("forwarder", "<i8"),  # DE33 as a number; -1 = absent
        ("terminal", "<u8"),  # DE41, its (last) 8 characters, first in the low byte; 0 = absent
        ("merchant", "<u8"),  # SipHash-2-4 of DE42 and the acquirer under the hash key; 0 = absent
        ("rrn_a", "<u8"),  # DE37, bytes 0-7; 0 = absent
        ("rrn_b", "<u4"),  # DE37, bytes 8-11
        ("transmitted", "<u4"),  # DE7 as MMDDhhmmss, or what the dialect has for it; 0 = absent
        ("approval", "<u8"),  # DE38 of the request, first character in the low byte; 0 = absent
        ("original_amount", "<i8"),  # DE30 of 1993, minor units; -1 = absent
        ("stan", "<i8"),  # DE11; -1 = absent
        ("lifecycle", "<i8"),  # the network's lifecycle id, its digits as a number; 0 = absent
        ("original_acquirer", "<i8"),  # DE90; -1 = absent
        ("original_forwarder", "<i8"),  # DE90; -1 = absent
        ("original_stan", "<i8"),
        ("original_mti", "<i4"),  # DE90; -1 = absent
        ("original_transmitted", "<u4"),
        ("start", "<i4"),  # arena offset of the message (its MTI)
        ("size", "<i4"),  # bytes of the message, from its MTI to its last field
        ("envelope", "<i4"),  # bytes between the length and the MTI: TPDU or another header
        ("segment", "<i4"),  # which segment (link) of the batch it came from
        ("dialect", "<i4"),  # row of the dialect table
        ("mti", "<i4"),  # 100 for 0100, 1100 or 2100, whichever is the dialect's; -1 = unreadable
        ("fault", "<i4"),
        ("fault_field", "<i4"),  # the data element at fault; 0 = none
        ("fault_offset", "<i4"),  # from ``start``
        ("pcode", "<i4"),  # DE3; -1 = absent
        ("local_time", "<i4"),  # DE12 hhmmss; -1 = absent
        ("local_date", "<i4"),  # DE13 MMDD; -1 = absent
        ("expiry_yymm", "<i4"),  # DE14, else from the track; -1 = absent
        ("mcc", "<i4"),  # DE18; -1 = absent
        ("country", "<i4"),  # DE19; -1 = absent
        ("entry_mode", "<i4"),  # DE22; -1 = absent
        ("condition", "<i4"),  # DE25; -1 = absent
        ("currency", "<i4"),  # DE49, ISO 4217 number; -1 = absent
        ("billing_currency", "<i4"),  # DE51; -1 = absent
        ("network_code", "<i4"),  # DE70 (DE24 of 1993) as of 1987: 1, 2, 301, 161; -1 = absent
        ("function", "<i4"),  # DE24 of 1993 and 2003; -1 = absent
        ("reason", "<i4"),  # DE25 of 1993 and 2003; -1 = absent
        ("partial", "<i4"),  # 1 = the terminal takes less than it asked for; -1 = not said
        ("told", "<i4"),  # Told: what DE39 of an advice says of the transaction it reports
        ("spare", "<i4"),  # whole words
        ("deadline_ms", "<i4"),  # of this kind of message in its dialect; 0 = the engine's own
        ("key_bits", "<i4"),  # what makes two messages one: bits in order of ``KEY_PARTS``
        ("pan_length", "<i4"),  # digits of the card number (DE2, else track); 0 = absent
        ("bin", "<i4"),  # its first six digits; 0 = absent
        ("luhn", "<i4"),  # 1 = the check digit holds
    ]
)

REPLY = np.dtype(
    [
        ("request", "<i4"),  # row of REQUEST whose fields are echoed
        ("mti", "<i4"),  # 110 for 0110
        ("response", "<u2"),  # DE39's two characters, first in the low byte
        ("has_approval", "u1"),  # 1 = DE38 goes out
        ("extra_count", "u1"),  # fields beyond those echoed (44, 54, 55), at most EXTRA_FIELDS_MAX
        ("approval", "<u8"),  # DE38's six characters, first in the lowest byte
        ("extra_field", "<i4", (EXTRA_FIELDS_MAX,)),  # their numbers
        ("extra_start", "<i4", (EXTRA_FIELDS_MAX,)),  # their data in the batch's extra buffer,
        ("extra_size", "<i4", (EXTRA_FIELDS_MAX,)),  # ASCII or bytes: the encoder codes them
        ("wants_mac", "<i4"),  # 1 = room for a MAC is left in DE64, in DE128 behind a second bitmap
        ("mac_at", "<i4"),  # out: where that room begins in the answer bytes; -1 = there is none
        ("start", "<i4"),  # out: where the MTI of the answer stands in the answer bytes
        ("decision", "<i4"),  # finer than ``response``, for a DE39 of more than two characters
    ]
)
